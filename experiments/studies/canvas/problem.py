"""A tiny text-to-image model of digits in styles, and classifiers of its images: one seed of the study."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import lightning.pytorch as pl
import torch
from safetensors.torch import save_file

from experiments.studies.sparsity.digits import quiet
from unlearn_pl.attribution import SalUn as Salience
from unlearn_pl.attribution import write_mask
from unlearn_pl.callbacks import CanvasEvaluation
from unlearn_pl.data import ConceptRequest, ImageArrays, ImageDataModule, MiniCanvasDataModule
from unlearn_pl.models import ConvNet, ImageClassifier, TinyUNet
from unlearn_pl.modules import FineTuning, PretrainedModule, SalUn, UnlearningModule
from unlearn_pl.optim import Constant
from unlearn_pl.results import Results

TARGET_STEPS, CLASSIFIER_STEPS = 500, 300
BATCH = 32
SAMPLE_SEEDS = (188, 288, 588, 688, 888)
ATTENTION = "attn2"


def adam(rate: float) -> Callable[..., torch.optim.Optimizer]:
    """The optimizer of every arm."""
    return functools.partial(torch.optim.AdamW, lr=rate, weight_decay=0.0)


@dataclass
class Problem:
    """One seed: the model that knows everything, and the classifiers.

    Attributes:
        folder: where models and results are kept; classifiers are those of seed 0 for all.
        seed: of the weights, the order of examples, and their noise.
    """

    folder: Path
    seed: int

    def data(self, forget: ConceptRequest | None, **options: object) -> MiniCanvasDataModule:
        """Digits in styles."""
        sizes = {"batch_size": BATCH, "micro_batch_size": BATCH, "seed": self.seed}
        sizes |= {"sample_seeds": SAMPLE_SEEDS, "real_per_pair": 20}  # type: ignore[dict-item]
        return MiniCanvasDataModule(forget, **{**sizes, **options})  # type: ignore[arg-type]

    @property
    def own(self) -> Path:
        """Folder of this seed."""
        return self.folder / f"seed {self.seed}"

    def unet(self, name: str | None = "target", **options: float) -> TinyUNet:
        """The model with the weights kept as ``name``; with random ones without a name."""
        weights = None if name is None else str(self.own / f"{name}.safetensors")
        return TinyUNet(MiniCanvasDataModule.WORDS, weights, seed=self.seed, **options)  # type: ignore[arg-type]

    def prepare(self) -> None:
        """Train the model and the classifiers, unless it is done."""
        if not (self.own / "target.safetensors").exists():
            one_cycle = functools.partial(
                torch.optim.lr_scheduler.OneCycleLR, max_lr=6e-3, total_steps=TARGET_STEPS + 1
            )
            module = FineTuning(self.unet(None, prompt_dropout=0.1), optimizer=adam(6e-3), schedule=one_cycle)
            data = self.data(None, batch_size=64, micro_batch_size=64, splits=["retain"])
            self.fit("target", module, data, TARGET_STEPS)
        for kind in ("style", "object"):
            if not (self.folder / f"{kind}.safetensors").exists():
                self._train_classifier(kind)

    def classifier(self, kind: str, weights: bool = True) -> ImageClassifier:
        """A convolutional network for 4 styles or 6 objects."""
        network = functools.partial(ConvNet, num_channels=3, num_classes=4 if kind == "style" else 6, widths=(32, 64))
        return ImageClassifier(network, weights=str(self.folder / f"{kind}.safetensors") if weights else None)

    def _train_classifier(self, kind: str) -> None:
        canvas = self.data(None).canvas
        labels = canvas.style if kind == "style" else canvas.object
        data = ImageDataModule(train=ImageArrays(canvas.images.images, labels), streams=["train"], splits=[])  # type: ignore[attr-defined]
        module = FineTuning(self.classifier(kind, weights=False), optimizer=adam(3e-3), schedule=Constant())
        self.fit(f"../{kind}", module, data, CLASSIFIER_STEPS)

    def fit(self, name: str, module: UnlearningModule, data: pl.LightningDataModule, steps: int) -> float:
        """Train ``module``, keep its weights as ``name``, and give the seconds of processor time."""
        start = time.process_time()
        with quiet():
            self.trainer(max_epochs=-1, max_steps=steps).fit(module, data)
        assert module.model is not None
        self.own.mkdir(parents=True, exist_ok=True)
        weights = {key: value.contiguous() for key, value in module.model.state_dict().items()}
        save_file(weights, self.own / f"{name}.safetensors")
        return time.process_time() - start

    def mask(self, forget: ConceptRequest, name: str) -> Path:
        """SalUn's mask: half of the weights of cross attention."""
        path = self.own / f"{name}.mask"
        if not path.exists():
            module = SalUn(self.unet(), optimizer=adam(1e-3), schedule=Constant())
            data = self.data(forget, splits=["retain"])
            with quiet():
                write_mask(path, Salience(0.5, include=[ATTENTION]), module, data, self.trainer(max_epochs=1))
        return path

    def evaluate(self, name: str, forget: ConceptRequest, output: Path) -> Results:
        """Metrics of the weights kept as ``name``, and a figure beside ``output``."""
        evaluation = CanvasEvaluation(*self._judges, output=str(output))
        with quiet():
            trainer = self.trainer(callbacks=[evaluation])
            trainer.test(PretrainedModule(self.unet(name)), self.data(forget), verbose=False)
        assert evaluation.results is not None
        return evaluation.results

    @cached_property
    def _judges(self) -> tuple[ImageClassifier, ImageClassifier]:
        return self.classifier("style"), self.classifier("object")

    def trainer(self, **options: object) -> pl.Trainer:
        """A Trainer that says nothing."""
        with quiet():
            return pl.Trainer(
                accelerator="cpu",
                devices=1,
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                enable_checkpointing=False,
                num_sanity_val_steps=0,
                limit_val_batches=0,
                **options,  # type: ignore[arg-type]
            )
