"""An audited text-to-image model, its prompts, and what classifiers see in the images that it makes of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from lightning.fabric.utilities import move_data_to_device

from unlearn_pl.callbacks import CanvasEvaluation
from unlearn_pl.data import CanvasDataModule
from unlearn_pl.data.canvas.dataset import PromptsToSample, collate_prompted
from unlearn_pl.metrics import ConceptCorrect, OtherCorrect
from unlearn_pl.models import UNet
from unlearn_pl.models.diffusion.model import DiffusionModel
from unlearn_pl.models.diffusion.spec import DiffusionSpec
from unlearn_pl.models.precision import WEIGHTS_OF_PRECISION
from unlearn_pl.modules import PretrainedModule
from unlearn_pl.recording import record
from unlearn_pl.results import weights_fingerprint
from unlearn_pl.robustness.attacked import FORGET, RETAIN, Attacked

FILES = ("model_index.json", "adapter_config.json", "model.safetensors")


@dataclass(frozen=True)
class ImageLeakage:
    """What classifiers see in images; see :meth:`ImageSubject.score`.

    Attributes:
        scores: ``<split>_<score>`` to a value per prompt.
    """

    scores: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def metrics(self) -> Mapping[str, float]:
        """Means over the prompts."""
        return {name: sum(values) / len(values) for name, values in self.scores.items()}

    def rows(self, split: str) -> Mapping[str, Sequence[float]]:
        """The scores of the prompts of ``split``."""
        return {name: values for name, values in self.scores.items() if name.startswith(f"{split}_")}


@dataclass(frozen=True)
class ImageSubject(Attacked):
    """A text-to-image model under attack.

    ``forget_accuracy`` is the share of the images for prompts of the forget set that show what is forgotten, 1 - UA;
    ``forget_other_accuracy`` the share of those that show the other: the object, if a style is forgotten, and the
    reverse; ``forget_both_accuracy`` the share of those that show both. ``retain_accuracy``, ``retain_other_accuracy``
    and ``retain_both_accuracy`` are the same for the other prompts (the first two are IRA and CRA).

    Attributes:
        model: an exported folder.
        data: data module with styles and objects; says what was to be forgotten.
        kind: kind of model in the folder, whose weights are replaced by those of the folder; by default
            :class:`~unlearn_pl.models.UNet`. ``TinyUNet`` needs it for its words.
        evaluation: its classifiers look at the images.
    """

    data: CanvasDataModule
    kind: DiffusionSpec | None = None
    evaluation: CanvasEvaluation | None = None

    def check(self) -> None:
        """Check the folder, the prompts and that there are classifiers."""
        if not any((Path(self.model) / name).is_file() for name in FILES):
            raise ValueError(
                f"There is no text-to-image model in {self.model!r}; accepted: a folder with {' or '.join(FILES)}, "
                "such as SavePretrained writes."
            )
        if self.kind is None and (Path(self.model) / "model.safetensors").is_file():
            raise ValueError(
                f"{self.model!r} does not say of what kind of model its weights are; accepted as kind: the model of "
                "training, such as TinyUNet with its words."
            )
        if not isinstance(self.evaluation, CanvasEvaluation):
            raise ValueError(
                f"evaluation is {self.evaluation!r}; accepted for images: CanvasEvaluation, whose classifiers look at "
                "what the model makes."
            )
        if self.data.forget is None:
            raise ValueError("The data says nothing that was to be forgotten; accepted as forget: such as ForgetStyle.")
        _ = self.splits

    @property
    def spec(self) -> DiffusionSpec:
        """How the model is loaded from its folder."""
        return UNet(self.model) if self.kind is None else self.kind.exported(self.model)

    @cached_property
    def splits(self) -> Mapping[str, PromptsToSample]:
        """The prompts of the forget and, if there is one, the retain split.

        Raises:
            ValueError: if there is no such split.
        """
        found, wanted = self.data.load_splits(), {FORGET: self.forget_split, RETAIN: self.retain_split}
        prompts = {name: rows for name, rows in found.items() if isinstance(rows, PromptsToSample)}
        if missing := [name for name in wanted.values() if name is not None and name not in prompts]:
            raise ValueError(f"The data has no split {missing[0]!r} of prompts; accepted are {', '.join(prompts)}.")
        return {role: prompts[name] for role, name in wanted.items() if name is not None}

    def contents(self) -> Iterator[str]:
        """See :meth:`Attacked.contents`; also how images are made and judged."""
        return iter(self._contents)

    @cached_property
    def _contents(self) -> Sequence[str]:
        assert self.evaluation is not None, "check comes first"
        judges = (judge.classifier.build() for judge in self.evaluation.judges.values())
        sizes = [str(judge.size) for judge in self.evaluation.judges.values()]
        images = self.data.load_streams()["forget"].fingerprint()
        rows = [rows.hash_of(i) for rows in self.splits.values() for i in range(len(rows))]
        return [str(record(self.kind)), *map(weights_fingerprint, judges), *sizes, images, *rows]

    def build(self) -> DiffusionModel:
        """The model, loaded from its folder in the dtype of the precision."""
        model = self.spec.build(WEIGHTS_OF_PRECISION.get(self.precision))
        assert isinstance(model, DiffusionModel)
        return model

    def pretrained(self) -> PretrainedModule:
        """See :meth:`Attacked.pretrained`."""
        return PretrainedModule(self.spec)

    def unattacked(self) -> ImageLeakage:
        """The leakage of both splits without an attack."""
        return self.score(self.build().to(self.device).eval(), self.splits)

    @torch.no_grad()
    def score(self, model: DiffusionModel, rows: Mapping[str, PromptsToSample]) -> ImageLeakage:
        """Make images, and look at them.

        Args:
            model: in evaluation mode, on the device.
            rows: split to its prompts.
        """
        assert self.evaluation is not None, "check comes first"
        scores: dict[str, list[float]] = {}
        for split, prompts in rows.items():
            metrics = {"accuracy": ConceptCorrect(), "other_accuracy": OtherCorrect()}
            for batch in self._batches(prompts):
                with self.forward_context():
                    image = self.spec.sample(model, batch["prompt"], batch["seeds"]).float()
                found = {f"{name}_found": judge.look(image)[0] for name, judge in self.evaluation.judges.items()}
                for metric in metrics.values():
                    metric.take({"index": batch["index"], **found}, batch)
            columns = {name: list(metric.per_example().values()) for name, metric in metrics.items()}
            columns["both_accuracy"] = [a * b for a, b in zip(*columns.values(), strict=True)]
            scores |= {f"{split}_{name}": values for name, values in columns.items()}
        return ImageLeakage(scores)

    def _batches(self, rows: PromptsToSample) -> Iterator[dict]:
        size = self.data.eval_batch_size
        for start in range(0, len(rows), size):
            batch = collate_prompted([rows[i] for i in range(start, min(start + size, len(rows)))])
            yield move_data_to_device(batch, self.device)
