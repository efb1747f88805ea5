"""One trial of the control: a tiny model unlearns made-up hazards, and answers multiple-choice questions."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from experiments.studies.sago_control.hazards import SPLITS, HazardsDataModule
from unlearn_pl.callbacks import EvaluationCallback
from unlearn_pl.combiners import SAGO, Combiner, GramianCombiner, MinNorm, Scalarization
from unlearn_pl.commands.story import quiet
from unlearn_pl.metrics import CandidateNLL, PerExampleMetric
from unlearn_pl.models import tiny_llama
from unlearn_pl.modules import NPO, FineTuning, GradDiff, PretrainedModule, SimNPO, UnlearningModule
from unlearn_pl.optim import LinearWarmup
from unlearn_pl.results import PerExample

STEPS, BATCH = 40, 16
MEMORIZING_EPOCHS, MEMORIZING_RATE = 40, 4e-3


class PCGrad(GramianCombiner):
    """Two gradients, each without its component against the other: in the form of weights, exact for two objectives.

    Args:
        retain_weight: factor of the retain gradient, before the projection.
    """

    def __init__(self, retain_weight: float = 1.0) -> None:
        super().__init__(normalization="none")
        self.retain_weight = retain_weight

    def weigh(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """``1 - min(0, <g_1, g_2>) / <g_k, g_k>``, times the factors."""
        factors = torch.where(self.members_of("forget"), 1.0, self.retain_weight).to(torch.float64)
        if len(losses) < 2:
            return factors
        scaled = factors[:, None] * gramian * factors
        against = scaled[0, 1].clamp(max=0)
        return factors * (1 - against / scaled.diagonal().clamp(min=1e-30))


COMBINERS = {
    "sum": lambda knob: Scalarization({"retain": float(knob)}),
    "PCGrad": lambda knob: PCGrad(float(knob)),
    "SAGO": lambda knob: SAGO(alpha=float(knob)),
    "MinNorm": lambda knob: MinNorm(normalization=knob),
}
WEIGHTS = ("0.1", "1", "10")
KNOBS = {"sum": WEIGHTS, "PCGrad": WEIGHTS, "SAGO": WEIGHTS, "MinNorm": ("none", "l2", "ema")}
"""Three per rule: the weight of the retain gradient, or how gradients are normalized."""
METHODS: dict[str, type[UnlearningModule]] = {"GradDiff": GradDiff, "NPO": NPO, "SimNPO": SimNPO}
BETAS: dict[str, tuple[float | None, ...]] = {
    "GradDiff": (None,),
    "NPO": (1e-4, 1e-2, 1e-1),
    "SimNPO": (2e-2, 1e-1, 7e-1),
}
RATES = (1e-3, 3e-3)
"""At 3e-4, the sum and PCGrad leave the hazards at .7 to .8 in this many steps; others were not tried there."""


@dataclass(frozen=True)
class Setting:
    """How a model unlearns.

    Attributes:
        method: name in ``METHODS``.
        rule: name in ``COMBINERS``.
        knob: of the rule.
        rate: learning rate.
        beta: of the method; None for GradDiff.
    """

    method: str
    rule: str
    knob: str
    rate: float
    beta: float | None

    def combiner(self) -> Combiner:
        """The rule with its knob."""
        made: Combiner = COMBINERS[self.rule](self.knob)  # type: ignore[no-untyped-call]
        return made


class ChoiceAccuracy(EvaluationCallback):
    """Whether the correct answer is the most probable one per token, for every question of every split."""

    benchmark = "hazards"

    def make_metrics(self, loader: str) -> Mapping[str, PerExampleMetric]:
        """The loss of every candidate."""
        return {} if loader.endswith(".generate") else {"accuracy": CandidateNLL()}

    def scores_of(self, collected: Mapping[str, Mapping[str, PerExampleMetric]]) -> PerExample:
        """1 where candidate 0 has the lowest loss."""
        found: dict[str, dict[str, dict[int, float]]] = {}
        for split, metrics in collected.items():
            for metric in metrics.values():
                assert isinstance(metric, CandidateNLL)
                right = {i: float(min(nll, key=lambda c: nll[c]) == 0) for i, nll in metric.candidates().items()}
                found[split] = {"accuracy": right}
        self.hits = {split: [table["accuracy"][i] for i in sorted(table["accuracy"])] for split, table in found.items()}
        return found


class World:
    """Facts and a model that knows them, made once per seed.

    Args:
        folder: where models are kept.
        seed: of facts, initial weights and order of examples.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self._tokenizer = self._data(None).tokenizer

    @cached_property
    def target(self) -> nn.Module:
        """The model that is to forget."""
        path, model = self.folder / f"seed{self.seed}.pt", tiny_llama(len(self._tokenizer), seed=self.seed)
        if path.exists():
            model.load_state_dict(torch.load(path))
            return model
        pl.seed_everything(self.seed, verbose=False)
        module = FineTuning(
            model,
            optimizer=partial(torch.optim.AdamW, lr=MEMORIZING_RATE),
            schedule=LinearWarmup(warmup_epochs=1.0),
        )
        with quiet():
            self._trainer(max_epochs=MEMORIZING_EPOCHS, limit_val_batches=0).fit(module, self._data(["train"]))
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), path)
        return model

    def evaluate(self, model: nn.Module) -> dict[str, list[float]]:
        """Split to whether each question is answered correctly."""
        accuracy = ChoiceAccuracy()
        with quiet():
            self._trainer(callbacks=[accuracy]).validate(PretrainedModule(model), self._data(None), verbose=False)
        return {split: accuracy.hits[split] for split in SPLITS}

    def unlearn(self, setting: Setting) -> dict[str, list[float]]:
        """The same after an unlearning run."""
        pl.seed_everything(self.seed, verbose=False)
        options: dict[str, Any] = {} if setting.beta is None else {"beta": setting.beta}
        module = METHODS[setting.method](
            deepcopy(self.target),
            combiner=setting.combiner(),
            optimizer=partial(torch.optim.AdamW, lr=setting.rate),
            **options,
        )
        with quiet():
            self._trainer(max_steps=STEPS, limit_val_batches=0).fit(module, self._data(None))
        assert module.model is not None
        return self.evaluate(module.model)

    def _data(self, streams: list[str] | None) -> HazardsDataModule:
        tokenizer = self.__dict__.get("_tokenizer")
        options: dict[str, Any] = {} if streams is None else {"streams": streams}
        return HazardsDataModule(
            tokenizer,
            facts_seed=self.seed,
            seed=self.seed,
            batch_size=BATCH,
            micro_batch_size=BATCH,
            eval_batch_size=512,
            **options,
        )

    @staticmethod
    def _trainer(**options: Any) -> pl.Trainer:
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
