"""Evaluation of models that make images of styles and objects: UA, IRA, CRA, FID, and a figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import WandbLogger
from torch import Tensor, nn

from unlearn_pl.callbacks.canvas.grid import save_grid
from unlearn_pl.callbacks.canvas.judges import Judge
from unlearn_pl.callbacks.described.headline import Headline
from unlearn_pl.callbacks.evaluation import NO_ARGUMENTS, Arguments, Collected, EvaluationCallback
from unlearn_pl.data import CanvasDataModule
from unlearn_pl.metrics import ConceptCorrect, Direction, KeptRows, OtherCorrect, PerExampleMetric
from unlearn_pl.metrics.scores import mean_score
from unlearn_pl.models import ImageClassifier
from unlearn_pl.modules.lightning_internals import attached_datamodule
from unlearn_pl.results import PerExample

REAL = "real"
"""The split of images to compare with."""


class CanvasEvaluation(EvaluationCallback):
    """What a model still makes of the prompts of a :class:`~unlearn_pl.data.CanvasDataModule`; shares in [0, 1].

    - ``unlearning_accuracy`` (UA): share of the images for prompts of the forget set that do not show what is
      forgotten: the style, the object, or both of a pair;
    - ``in_domain_retain_accuracy`` (IRA): share of the images for the other prompts that show the style, if a style
      is forgotten, or the object, if an object is;
    - ``cross_domain_retain_accuracy`` (CRA): share of the images for the other prompts that show the object, if a
      style is forgotten, or the style, if an object is; ``cross_domain_retain_accuracy_all`` is over all prompts, as in
      the benchmark's code;
    - if a pair is forgotten, instead of the last three, the shares of images that show both in
      ``same_style_accuracy``, ``same_object_accuracy`` and ``retain_accuracy`` (all other prompts);
    - ``real_accuracy``: share of the real images that show what they are labeled with, a bound for the others;
    - ``fid``, in ``test``: Fréchet distance between the images for the retained prompts and the real ones, on the
      features of the object classifier. It compares models, and is not that of Inception.

    ``test`` also writes a figure with an image of every pair, beside the results, named ``<results>.png``; Weights &
    Biases gets it as well.

    Attributes:
        figure: the figure that the last ``test`` wrote, on rank 0.

    Args:
        style: classifier of styles, with trained weights; its classes are the data module's styles in their order.
        object: classifier of objects.
        size: height and width that images are resized to for the classifiers.
        output: file that ``test`` writes; by default ``results.json`` in the logger's directory.

    References:
        Zhang et al., UnlearnCanvas, NeurIPS 2024, arXiv 2402.11846, section 4; Heusel et al., NeurIPS 2017,
        arXiv 1706.08500 (FID).
    """

    benchmark: ClassVar[str] = "canvas"
    definitions: ClassVar[Mapping[str, str]] = {
        "unlearning_accuracy": "Share of the images for prompts of the forget set that do not show what is forgotten.",
        "*_accuracy_all": "The same over all prompts, as in the code of the benchmark.",
        "fid": "Fréchet distance between generated and real images.",
    }
    headline: ClassVar[Headline] = Headline(
        forgotten=("unlearning_accuracy", "same_style_accuracy"),
        kept=("in_domain_retain_accuracy", "retain_accuracy"),
        utility=("cross_domain_retain_accuracy", "real_accuracy"),
    )
    neutral_arguments: ClassVar[frozenset[str]] = frozenset({"output"})
    directions: ClassVar[Mapping[str, Direction]] = {"*_accuracy": "higher", "*_accuracy_all": "higher", "fid": "lower"}

    def __init__(
        self,
        style: ImageClassifier,
        object: ImageClassifier,
        size: Sequence[int] | None = None,
        output: str | None = None,
    ) -> None:
        super().__init__(output)
        self.judges = {"style": Judge(style, size), "object": Judge(object, size)}
        self.figure: Path | None = None
        self._kept: dict[str, dict[str, KeptRows]] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check the data module.

        Raises:
            ValueError: if it has no styles and objects.
        """
        super().setup(trainer, pl_module, stage)
        self._data(trainer)

    def make_metrics(self, loader: str) -> Mapping[str, PerExampleMetric]:
        """Whether what is forgotten is there, and whether the other is."""
        self._kept[loader] = {}
        return {"concept": ConceptCorrect(), "other": OtherCorrect()}

    @classmethod
    def metrics_of(
        cls, per_example: PerExample, retain: PerExample | None = None, arguments: Arguments = NO_ARGUMENTS
    ) -> dict[str, float]:
        """The shares; the distance is slower, and added by :meth:`summarize`.

        Args:
            per_example: split to score to index to value.
            retain: not read.
            arguments: not read.
        """
        concept = {split: mean_score(table["concept"]) for split, table in per_example.items() if table.get("concept")}
        metrics = {f"{split}_accuracy": value for split, value in concept.items() if split != "forget"}
        if "forget" in concept:
            metrics["unlearning_accuracy"] = 1 - concept["forget"]
        if {"same_style", "same_object"} & per_example.keys():
            return metrics
        others = {split: per_example[split]["other"] for split in ("forget", "retain") if split in concept}
        if "retain" in others:
            metrics["in_domain_retain_accuracy"] = metrics.pop("retain_accuracy")
            metrics["cross_domain_retain_accuracy"] = mean_score(others["retain"])
            together = [value for scores in others.values() for value in scores.values()]
            metrics["cross_domain_retain_accuracy_all"] = mean_score(dict(enumerate(together)))
        return metrics

    def summarize(self, collected: Collected) -> tuple[dict[str, float], PerExample]:
        """The metrics; in ``test`` with the distance."""
        metrics, per_example = super().summarize(collected)
        if self.stage == "test":
            made = [self._rows(split, "features") for split in self._kept if split not in (REAL, "forget")]
            real = self._rows(REAL, "features") if REAL in self._kept else torch.empty(0)
            sets = [torch.cat(made) if made else torch.empty(0), real]
            if all(len(features) > 1 and bool(features.isfinite().all()) for features in sets):
                metrics["fid"] = frechet_distance(*sets)
        return metrics, per_example

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log, keep and write the results and the figure."""
        super().on_test_epoch_end(trainer, pl_module)
        images = self._one_of_each(trainer)
        if trainer.is_global_zero and self.written is not None:
            data = self._data(trainer)
            self.figure = self.written.with_suffix(".png")
            save_grid(self.figure, images, data.canvas.styles, data.canvas.objects, data.forgotten)
            for logger in trainer.loggers:
                if isinstance(logger, WandbLogger):
                    logger.log_image(f"test/{self.benchmark}/images", [str(self.figure)])

    def _collect(self, dataloader_idx: int, outputs: Any, batch: Any) -> None:
        if isinstance(outputs, Mapping) and "image" in outputs:
            image = outputs["image"].float()
            style, _ = self.judges["style"].look(image)
            thing, features = self.judges["object"].look(image)
            self._keep(self.loaders[dataloader_idx], outputs["index"], image, features)
            outputs = {**outputs, "style_found": style, "object_found": thing}
        super()._collect(dataloader_idx, outputs, batch)

    def _keep(self, loader: str, index: Tensor, image: Tensor, features: Tensor) -> None:
        if self.stage != "test":
            return
        height, width = (min(side, 64) for side in image.shape[2:])
        small = nn.functional.adaptive_avg_pool2d(image, (height, width))
        for name, rows in {"features": features, "small": small}.items():
            if name not in self._kept[loader]:
                self._kept[loader][name] = KeptRows(*rows.shape[1:]).to(index.device)
            self._kept[loader][name].update(index, rows)

    def _rows(self, loader: str, name: str) -> Tensor:
        """``[n, ...]`` of all ranks; every rank has a batch of every loader, for samplers pad by repetition."""
        return self._kept[loader][name].compute() if name in self._kept[loader] else torch.empty(0)

    def _one_of_each(self, trainer: pl.Trainer) -> Tensor:
        """``[styles, objects, C, H, W]``: the image of the first seed of every pair; NaN where there is none."""
        data = self._data(trainer)
        found: dict[tuple[int, int], Tensor] = {}
        for split, rows in data.load_splits().items():
            if split in self._kept and split != REAL and len(images := self._rows(split, "small")) == len(rows):
                pairs = zip(rows.numbers["style"].tolist(), rows.numbers["object"].tolist(), images, strict=True)
                for style, thing, image in pairs:
                    found.setdefault((style, thing), image)
        blank = torch.full_like(next(iter(found.values())), torch.nan) if found else torch.full((3, 1, 1), torch.nan)
        rows_, columns = range(len(data.canvas.styles)), range(len(data.canvas.objects))
        return torch.stack([torch.stack([found.get((i, j), blank) for j in columns]) for i in rows_])

    def _data(self, trainer: pl.Trainer) -> CanvasDataModule:
        data = attached_datamodule(trainer)
        if not isinstance(data, CanvasDataModule):
            raise ValueError(
                f"CanvasEvaluation needs a CanvasDataModule, such as MiniCanvasDataModule; the data are a "
                f"{type(data).__name__}."
            )
        return data


def frechet_distance(made: Tensor, real: Tensor) -> float:
    """Fréchet distance between Gaussians with the means and covariances of two sets of features, by torchmetrics.

    Args:
        made: ``[n, D]``.
        real: ``[m, D]``.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=_AsTheyAre(made.shape[1]), sync_on_compute=False)
    metric.update(made, real=False)
    metric.update(real, real=True)
    return float(metric.compute())


class _AsTheyAre(nn.Module):
    """Features are features."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        """``features``."""
        return features
