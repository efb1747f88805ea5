"""Unlearning depth of a model, by activation patching."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.utilities import rank_zero_info
from torch import nn

from unlearn_pl.callbacks.depth.known_drops import KnownDrops
from unlearn_pl.callbacks.depth.picture import plot_depth
from unlearn_pl.callbacks.described.headline import Headline
from unlearn_pl.callbacks.evaluation import NO_ARGUMENTS, Arguments, Collected, EvaluationCallback
from unlearn_pl.callbacks.leaks.asked import core_of, rows_of
from unlearn_pl.data import EvaluationRow
from unlearn_pl.functional import unlearning_depth
from unlearn_pl.functional.evaluation.unlearning_depth import KNOWLEDGE_THRESHOLD
from unlearn_pl.metrics import Core, CoreDrops, Direction, PerExampleMetric
from unlearn_pl.metrics.scores import mean_score
from unlearn_pl.models import CausalLM, decoder_layers
from unlearn_pl.modules import ModelModule
from unlearn_pl.results import PerExample, weights_fingerprint

SCORE, RETAIN_DROP, DROP = "uds", "retain_drop_", "drop_"
"""Names of the scores per example; the last two are followed by the number of the layer, from 1."""


class UDSEvaluation(EvaluationCallback):
    """Unlearning depth score: how much of what the forget set wrote into the layers is gone, in ``test``.

    For every layer, the full model answers with the hidden states of another model behind that layer, at the positions
    that predict the core of the answer (entity, number, title). What its log-probability loses with the states of the
    retain model is the knowledge that the layer holds; the score is the share of it that is lost with the states of
    the unlearned model, too, see :func:`~unlearn_pl.functional.unlearning_depth`. Metrics are

    - ``{split}_uds``: mean over the examples that some layer holds; 1 for the retain model, 0 for the full one;
    - ``{split}_encoded``: share of these examples. Without any, there is no ``{split}_uds``, and a warning.

    The core of an answer is the column ``span`` of its row, or else that of :func:`~unlearn_pl.functional.core_span`.
    Costs two more models in memory, and ``2 (L + 2)`` forwards per example for a model of L layers, half of them with
    ``cache``.

    Args:
        full: the model before unlearning: a name or path, a :class:`~unlearn_pl.models.CausalLM`, or a live model.
        retain: a model that was trained without the forget set, with as many layers.
        output: file that ``test`` writes; by default ``results.json`` in the logger's directory.
        splits: evaluation splits with questions and answers.
        threshold: least drop, in nats per token, of a layer that holds the knowledge of an example.
        cache: safetensors file with a digest that keeps what was measured on the retain model; None for no such file.
        picture: whether to write ``uds_{split}.png`` beside the results, layers by examples.

    Raises:
        ValueError: if ``threshold`` is negative; from ``setup``, if the models differ in their number of layers or in
            their width, or the cache was made from other models; in ``test``, if a core is no part of its answer.

    References:
        "Unlearning Depth Score", arXiv 2605.24614.
    """

    benchmark: ClassVar[str] = "uds"
    headline: ClassVar[Headline] = Headline(forgotten=("forget_uds", "*_uds"), kept=())
    directions: ClassVar[Mapping[str, Direction]] = {"*_uds": "higher", "*_encoded": "higher"}
    neutral_arguments: ClassVar[frozenset[str]] = EvaluationCallback.neutral_arguments | {"cache", "picture"}

    def __init__(
        self,
        full: CausalLM | str | nn.Module,
        retain: CausalLM | str | nn.Module,
        output: str | None = None,
        splits: Sequence[str] = ("forget",),
        threshold: float = KNOWLEDGE_THRESHOLD,
        cache: str | None = None,
        picture: bool = True,
    ) -> None:
        super().__init__(output)
        if not threshold >= 0:
            raise ValueError(f"threshold={threshold}; accepted is a number of at least 0.")
        if isinstance(splits, str) or not splits:
            raise ValueError(f"splits={splits!r}; accepted is a list of names, such as ['forget'].")
        self.full = full
        self.retain = retain
        self.splits = list(splits)
        self.threshold = threshold
        self.cache = cache
        self.picture = picture
        self._known: KnownDrops | None = None
        self._measures: dict[str, dict[str, PerExampleMetric]] = {}

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Load the models, and start with new metrics.

        Raises:
            ValueError: if the models do not fit each other, or a split is not loaded.
        """
        if not isinstance(pl_module, ModelModule):
            raise ValueError(f"UDSEvaluation needs a ModelModule, but the module is a {type(pl_module).__name__}.")
        assert pl_module.model is not None
        dtype = next(pl_module.model.parameters()).dtype
        full, retain = (_built(model, dtype, pl_module.device) for model in (self.full, self.retain))
        check_depths({"full": full, "retain": retain, "evaluated": pl_module.model})
        facts = {"full": weights_fingerprint(full), "retain": weights_fingerprint(retain), "precision": str(dtype)}
        facts["precision"] += f", {trainer.precision}"
        self._known = KnownDrops(Path(self.cache) if self.cache else None, facts)
        sharded = isinstance(trainer.strategy, ModelParallelStrategy)
        tokenizer, context = pl_module.load_tokenizer(), trainer.precision_plugin.forward_context
        for split in self.splits:
            rows = rows_of(trainer, split, "UDSEvaluation")
            cores = {index: _core(row, index, split) for index, row in enumerate(rows)}
            self._measures[split] = {
                RETAIN_DROP: CoreDrops(retain, full, cores, tokenizer, self._known, context),
                DROP: CoreDrops(pl_module.model, full, cores, tokenizer, None, context, sharded),
            }
        super().on_test_epoch_start(trainer, pl_module)

    def make_metrics(self, loader: str) -> Mapping[str, PerExampleMetric]:
        """The drops with both models, of the splits, in ``test``."""
        return self._measures.get(loader, {}) if self.stage == "test" else {}

    @classmethod
    def metrics_of(
        cls, per_example: PerExample, retain: PerExample | None = None, arguments: Arguments = NO_ARGUMENTS
    ) -> dict[str, float]:
        """``{split}_uds`` and ``{split}_encoded``.

        Args:
            per_example: split to score to index to value.
            retain: not read.
            arguments: not read.
        """
        found: dict[str, float] = {}
        for split, table in per_example.items():
            if asked := table.get(f"{DROP}1"):
                scores = table.get(SCORE, {})
                found |= {f"{split}_uds": mean_score(scores)} if scores else {}
                found[f"{split}_encoded"] = len(scores) / len(asked)
        return found

    def scores_of(self, collected: Collected) -> PerExample:
        """The score of every example that a layer holds, and the drops of all layers and examples."""
        per_example: dict[str, dict[str, dict[int, float]]] = {}
        for split, metrics in collected.items():
            drops = {name: metric.drops() for name, metric in metrics.items() if isinstance(metric, CoreDrops)}
            if drops.get(DROP):
                per_example[split] = self._table(drops[RETAIN_DROP], drops[DROP])
        return per_example

    def _table(
        self, retain_drops: Mapping[int, list[float]], drops: Mapping[int, list[float]]
    ) -> dict[str, dict[int, float]]:
        table: dict[str, dict[int, float]] = {SCORE: {}}
        for index in drops:
            retain, own = (torch.tensor(of[index], dtype=torch.float64) for of in (retain_drops, drops))
            score = unlearning_depth(retain, own, self.threshold).item()
            if (retain > self.threshold).any() or retain.isnan().any() or own.isnan().any():  # else nothing is encoded
                table[SCORE][index] = score
            for name, values in ((RETAIN_DROP, retain), (DROP, own)):
                for layer, value in enumerate(values.tolist(), start=1):
                    table.setdefault(f"{name}{layer}", {})[index] = value
        return {name: values for name, values in table.items() if values}

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep what was measured on the retain model; log the metrics, keep and write the results and the picture."""
        assert self._known is not None
        measured = [metrics[RETAIN_DROP] for metrics in self._measures.values()]
        self._known.keep([part for metric in measured if isinstance(metric, CoreDrops) for part in metric.measured])
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._known.write()
        super().on_test_epoch_end(trainer, pl_module)
        self._measures, self._collected, self._known = {}, {}, None  # they hold the two models
        if self.results is None:
            return
        for split, table in self.results.per_example.items():
            if SCORE not in table:
                self.warn_once(
                    f"{split}_uds is not computed: no layer of the full model holds an answer that the retain model "
                    f"lacks (no drop exceeds threshold={self.threshold}). Check that full and retain are not the same."
                )
            elif self.picture and self.written is not None:
                self._draw(split, table, self.written.parent)

    def _draw(self, split: str, table: Mapping[str, Mapping[int, float]], folder: Path) -> None:
        drops = {name: _by_index(table, name) for name in (RETAIN_DROP, DROP)}
        path = folder / f"uds_{split}.png"
        mean = mean_score(table[SCORE])
        plot_depth(drops[RETAIN_DROP], drops[DROP], table[SCORE], path, self.threshold, f"{split}: UDS {mean:.3f}")
        rank_zero_info(f"The depth of {split} by layers and examples is drawn in {path}.")


def check_depths(models: Mapping[str, nn.Module]) -> None:
    """Check that models can lend each other their hidden states.

    Args:
        models: what to call a model, to the model.

    Raises:
        ValueError: naming the numbers of layers, or the widths, if they are not equal, or a model without layers.
    """
    depths = {name: len(decoder_layers(model)) for name, model in models.items()}
    widths = {name: _width(model) for name, model in models.items()}
    for what, found in (("numbers of decoder layers", depths), ("widths", widths)):
        if len(set(found.values())) > 1 or 0 in found.values():
            raise ValueError(
                f"The {what} of the models are {found}; unlearning depth compares them layer by layer. Accepted are "
                "models of one architecture and size."
            )


def _width(model: nn.Module) -> int:
    embedding = model.get_input_embeddings()  # type: ignore[operator]
    return int(embedding.weight.shape[-1])


def _built(model: CausalLM | str | nn.Module, dtype: torch.dtype, device: torch.device) -> nn.Module:
    given = CausalLM(model) if isinstance(model, str) else model
    return (given.build(dtype) if isinstance(given, CausalLM) else given).to(device)


def _core(row: EvaluationRow, index: int, split: str) -> Core:
    first, end = core_of(row, f"row {index} of the split {split!r}")
    return Core(row.expected(), first, end)


def _by_index(table: Mapping[str, Mapping[int, float]], prefix: str) -> dict[int, list[float]]:
    """Index of the example to its values of all layers in order."""
    layers = sum(name.startswith(prefix) for name in table)
    columns = [table[f"{prefix}{layer}"] for layer in range(1, layers + 1)]
    return {index: [column[index] for column in columns] for index in columns[0]}
