"""Steps of the demo, also for studies: train tiny models, unlearn, evaluate."""

import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import CSVLogger
from transformers import PreTrainedTokenizerBase

from unlearn_pl.callbacks import SavePredictions, SavePretrained, TOFUEvaluation
from unlearn_pl.commands.run.cost import write_cost
from unlearn_pl.data import SyntheticAuthorsDataModule
from unlearn_pl.models import tiny_llama
from unlearn_pl.modules import FineTuning, PretrainedModule, UnlearningModule
from unlearn_pl.optim import LinearWarmup
from unlearn_pl.results import Results
from unlearn_pl.robustness import RandomFraction, Relearning, Subject

MAX_NEW_TOKENS = 64
RELEARNING_STEPS = 16


@dataclass
class Story:
    """Tiny models that know fictitious authors, unlearning runs and evaluations, in one folder.

    Attributes:
        folder: folder of models, logs and results.
        seed: random seed of initial weights and order of examples; the facts stay the same.
        authors: number of authors in the forget set, and in the retain set; ten questions each.
        hidden_size: width of the model.
        memorizing_epochs: epochs of fine-tuning.
        unlearning_epochs: epochs of unlearning, passes over the forget answers.
        batch_size: examples per stream and optimizer step.
        progress: whether to show progress bars.
        seconds: training time in seconds, by name of the model.
    """

    folder: Path
    seed: int = 0
    authors: int = 10
    hidden_size: int = 128
    memorizing_epochs: int = 16
    unlearning_epochs: int = 12
    batch_size: int = 20
    progress: bool = False
    seconds: dict[str, float] = field(default_factory=dict)

    def fine_tune(self, name: str, train_split: Literal["full", "retain"]) -> None:
        """Train a model from scratch on all answers, or on all but the forget answers; keep it as ``name``."""
        pl.seed_everything(self.seed, verbose=False)
        model = tiny_llama(len(self.tokenizer), hidden_size=self.hidden_size, seed=self.seed)
        optimizer = partial(torch.optim.AdamW, lr=3e-3)
        module = FineTuning(model, optimizer=optimizer, schedule=LinearWarmup(warmup_epochs=1.0))
        self._fit(name, module, self._data(streams=["train"], train_split=train_split), self.memorizing_epochs, 0)

    def unlearn(self, name: str, module: UnlearningModule, watch_every: int = 1) -> None:
        """Train ``module`` on the forget and retain streams; keep the model as ``name``.

        Args:
            name: name of the run.
            module: a module with ``model=story.path(...)``.
            watch_every: epochs between evaluations during training; 0 for none.
        """
        pl.seed_everything(self.seed, verbose=False)
        self._fit(name, module, self._data(max_eval_examples=40), self.unlearning_epochs, watch_every)

    def evaluate(self, name: str, retain_results: str | None = None) -> Results:
        """TOFU's metrics of the model kept as ``name``; writes its ``results.json`` and ``predictions.jsonl``."""
        evaluation = TOFUEvaluation(retain_results, output=str(self.folder / name / "results.json"))
        module = PretrainedModule(str(self.path(name)), max_new_tokens=MAX_NEW_TOKENS)
        answers = SavePredictions(str(self.folder / name / "predictions.jsonl"), in_test=True)
        trainer = self._trainer(callbacks=[evaluation, answers])
        with quiet():
            trainer.test(module, self._data(), verbose=False)
        assert evaluation.results is not None
        return evaluation.results

    def relearn(self, name: str) -> float:
        """Probability of the forget answers that a random fifth of them, fine-tuned on, brings back; it is left out."""
        with quiet():
            subject = Subject(str(self.path(name)), self._data(), seed=self.seed, accelerator="cpu", progress=False)
            attack = Relearning(
                RandomFraction(0.2),
                steps=RELEARNING_STEPS,
                evaluate_every=RELEARNING_STEPS,
                learning_rate=1e-3,
                batch_size=self.batch_size,
                answers=False,
            )
            return attack.run(subject).after["forget_probability"]

    def path(self, name: str) -> Path:
        """Hugging Face folder of the model kept as ``name``."""
        return self.folder / name / "hf"

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """A tokenizer that was trained on the texts of the fictitious authors."""
        return self._data(tokenizer=None).tokenizer

    def _data(self, **options: object) -> SyntheticAuthorsDataModule:
        sizes = dict.fromkeys(("forget_authors", "retain_authors", "holdout_authors"), self.authors)
        batches = {"batch_size": self.batch_size, "micro_batch_size": self.batch_size, "eval_batch_size": 64}
        tokenizer = options.pop("tokenizer") if "tokenizer" in options else self.tokenizer
        return SyntheticAuthorsDataModule(tokenizer, seed=self.seed, **sizes, **batches, **options)  # type: ignore[arg-type]

    def _fit(
        self, name: str, module: UnlearningModule, data: SyntheticAuthorsDataModule, epochs: int, watch_every: int
    ) -> None:
        trainer = self._trainer(
            max_epochs=epochs,
            logger=CSVLogger(self.folder / name, name="", version="logs"),
            log_every_n_steps=1,
            limit_val_batches=1.0 if watch_every else 0,
            check_val_every_n_epoch=watch_every or 1,
            callbacks=[TOFUEvaluation(), SavePretrained(str(self.path(name)))],
        )
        start = time.monotonic()
        with quiet():
            trainer.fit(module, data)
        self.seconds[name] = time.monotonic() - start
        write_cost(self.folder / name, trainer, self.seconds[name])

    def _trainer(self, callbacks: Sequence[pl.Callback], **options: object) -> pl.Trainer:
        with quiet():
            return pl.Trainer(
                accelerator="cpu",
                devices=1,
                enable_progress_bar=self.progress,
                enable_model_summary=False,
                enable_checkpointing=False,
                num_sanity_val_steps=0,
                callbacks=list(callbacks),
                **({"logger": False} | options),  # type: ignore[arg-type]
            )


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the messages and warnings of libraries, for an output of a few lines."""
    from transformers.utils.logging import disable_progress_bar, enable_progress_bar

    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)
            enable_progress_bar()
