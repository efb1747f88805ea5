"""One trial of the study of combiners: tiny models that know fictitious authors, one unlearning run, its figures."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn

from unlearn_pl.callbacks import ConflictMonitor, TOFUEvaluation
from unlearn_pl.combiners import Combiner
from unlearn_pl.commands.story import quiet
from unlearn_pl.data import SyntheticAuthorsDataModule
from unlearn_pl.functional import model_utility
from unlearn_pl.models import save_pretrained, tiny_llama
from unlearn_pl.modules import FineTuning, PretrainedModule, UnlearningModule
from unlearn_pl.optim import LinearWarmup
from unlearn_pl.results import read_results
from unlearn_pl.robustness import Subject

AUTHORS, GENERAL_FACTS, BATCH, EPOCHS = 4, 12, 10, 6
MEMORIZING_EPOCHS, MEMORIZING_RATE = 30, 4e-3
UTILITY = tuple(
    f"{split}_{s}" for split in ("retain", "real_authors", "world_facts") for s in ("probability", "truth_ratio")
)


class Descent(ConflictMonitor):
    """Keeps what :class:`ConflictMonitor` logs, for every step and the objectives that took part in it.

    Attributes:
        steps: per step taken, name of each live objective to ``-cos(g_k, change of the weights)``.
    """

    def __init__(self) -> None:
        super().__init__(every_n_steps=1)
        self.steps: list[dict[str, float]] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Read the figures of the step, if one was taken."""
        moved = bool(self._before)
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if moved:
            live = zip(pl_module.objectives, pl_module.combiner.live.tolist(), strict=True)  # type: ignore[union-attr, arg-type]
            figures = {n: trainer.callback_metrics[f"train/descent/{n}"].item() for n, is_live in live if is_live}
            self.steps.append({name: value for name, value in figures.items() if not math.isnan(value)})

    def shares(self) -> dict[str, float]:
        """Share of the steps on which each objective, and on which all that were live, descend to first order."""
        names = sorted({name for step in self.steps for name in step})
        own = {name: [step[name] > 0 for step in self.steps if name in step] for name in names}
        own["all"] = [all(value > 0 for value in step.values()) for step in self.steps]
        return {name: sum(values) / len(values) for name, values in own.items() if values}


class World:
    """Facts, a model that knows them, and one that never saw those to be forgotten; made once per seed.

    Args:
        folder: where models are kept.
        seed: of facts, initial weights and order of examples.
        forget_authors: authors that are to be forgotten.
        retain_authors: authors that are rehearsed.
        holdout_authors: authors that no model is trained on.
        data: class of the data module.
        hidden_size: width of the models.
        num_layers: of the models.
        vocab_size: of the tokenizer.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        *,
        forget_authors: int = AUTHORS,
        retain_authors: int = AUTHORS,
        holdout_authors: int = 1,
        data: type[SyntheticAuthorsDataModule] = SyntheticAuthorsDataModule,
        hidden_size: int = 64,
        num_layers: int = 2,
        vocab_size: int = 1500,
    ) -> None:
        self.folder, self.seed = folder, seed
        self._hidden_size, self._num_layers, self._vocab_size = hidden_size, num_layers, vocab_size
        self._data_class = data
        self._authors = {
            "forget_authors": forget_authors,
            "retain_authors": retain_authors,
            "holdout_authors": holdout_authors,
        }
        self.retain_results = folder / "retain" / "results.json"
        self._tokenizer = self._data(None).tokenizer

    @cached_property
    def target(self) -> nn.Module:
        """The model that is to forget."""
        if not self.retain_results.exists():
            self._evaluate_retain_model()
        return self._memorized("full")

    @cached_property
    def target_metrics(self) -> Mapping[str, float]:
        """Metrics of the target, before anything is forgotten."""
        return self.evaluate(PretrainedModule(self.target))

    def evaluate(self, module: PretrainedModule) -> dict[str, float]:
        """Metrics of a model that is not trained any further."""
        trainer = self._trainer(callbacks=[self._evaluation()])
        with quiet():
            trainer.validate(module, self._unlearning_data, verbose=False)
        return metrics_of(trainer)

    @cached_property
    def retrained_metrics(self) -> Mapping[str, float]:
        """Metrics of the model that never saw what is to be forgotten."""
        if not self.retain_results.exists():
            self._evaluate_retain_model()
        return read_results(self.retain_results).metrics

    def unlearn(
        self,
        method: Callable[..., UnlearningModule],
        combiner: Combiner,
        rate: float,
        descent: Descent | None = None,
        epochs: int = EPOCHS,
    ) -> dict[str, float]:
        """Metrics after an unlearning run, which ``descent`` watches."""
        optimizer = partial(torch.optim.AdamW, lr=rate)
        module = method(deepcopy(self.target), combiner=combiner, optimizer=optimizer)
        return self.fit(module, epochs, [] if descent is None else [descent])

    def fit(self, module: UnlearningModule, epochs: int, callbacks: Sequence[pl.Callback] = ()) -> dict[str, float]:
        """Metrics after a run of ``module``, whose model is a copy of the target."""
        pl.seed_everything(self.seed, verbose=False)
        callbacks = [self._evaluation(), *callbacks]
        trainer = self._trainer(max_epochs=epochs, check_val_every_n_epoch=epochs, callbacks=callbacks)
        with quiet():
            trainer.fit(module, self._unlearning_data)
        return metrics_of(trainer)

    @cached_property
    def retain_model(self) -> nn.Module:
        """The model that never saw the forget answers."""
        _ = self.target  # which sees to it that there is one
        return self._memorized("retain")

    def subject(self, model: nn.Module) -> Subject:
        """``model``, saved for attacks."""
        folder = self.folder / "attacked"
        with quiet():
            save_pretrained(model, folder, self._tokenizer)
        full = {"forget_probability": self.target_metrics["forget_probability"]}
        return Subject(str(folder), self._unlearning_data, seed=self.seed, accelerator="cpu", full=full)

    def _memorized(self, train_split: str) -> nn.Module:
        path = self.folder / train_split / "model.pt"
        model = tiny_llama(len(self._tokenizer), self._hidden_size, self._num_layers, seed=self.seed)
        if path.exists():
            model.load_state_dict(torch.load(path))
            return model
        pl.seed_everything(self.seed, verbose=False)
        optimizer = partial(torch.optim.AdamW, lr=MEMORIZING_RATE)
        module = FineTuning(model, optimizer=optimizer, schedule=LinearWarmup(warmup_epochs=1.0))
        trainer = self._trainer(max_epochs=MEMORIZING_EPOCHS, limit_val_batches=0)
        with quiet():
            trainer.fit(module, self._data(self._tokenizer, streams=["train"], train_split=train_split))
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), path)
        return model

    def _evaluate_retain_model(self) -> None:
        evaluation = TOFUEvaluation(output=str(self.retain_results))
        # Only `test` writes a file, and it generates: one token, because ROUGE is not used here.
        module = PretrainedModule(self._memorized("retain"), max_new_tokens=1)
        with quiet():
            self._trainer(callbacks=[evaluation]).test(module, self._unlearning_data, verbose=False)
        metrics = {
            name: round(value, 3) for name, value in (evaluation.results.metrics if evaluation.results else {}).items()
        }
        print(f"seed {self.seed}, retain model: {json.dumps(metrics)}", flush=True)

    def _evaluation(self) -> TOFUEvaluation:
        return TOFUEvaluation(str(self.retain_results))

    @cached_property
    def _unlearning_data(self) -> SyntheticAuthorsDataModule:
        return self._data(self._tokenizer)

    def _data(self, tokenizer: object, **options: object) -> SyntheticAuthorsDataModule:
        return self._data_class(
            tokenizer,  # type: ignore[arg-type]
            **self._authors,
            general_facts=GENERAL_FACTS,
            facts_seed=self.seed,
            vocab_size=self._vocab_size,
            batch_size=BATCH,
            micro_batch_size=BATCH,
            eval_batch_size=256,
            seed=self.seed,
            **options,  # type: ignore[arg-type]
        )

    def _trainer(self, **options: Any) -> pl.Trainer:
        with quiet():
            return pl.Trainer(
                accelerator="cpu",
                devices=1,
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                enable_checkpointing=False,
                num_sanity_val_steps=0,
                **options,
            )


def metrics_of(trainer: pl.Trainer) -> dict[str, float]:
    """TOFU's metrics without generation, by their names, and the utility that is made of them."""
    prefix = "val/tofu/"
    metrics = {k.removeprefix(prefix): v.item() for k, v in trainer.callback_metrics.items() if k.startswith(prefix)}
    return metrics | {"utility": model_utility([metrics[name] for name in UTILITY])}
