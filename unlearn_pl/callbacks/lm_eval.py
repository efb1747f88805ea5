"""Tasks of the lm-evaluation-harness."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

import lightning.pytorch as pl
from lightning.pytorch.utilities.seed import isolate_rng

from unlearn_pl.callbacks.evaluation import Collected, EvaluationCallback
from unlearn_pl.metrics import Direction, PerExampleMetric
from unlearn_pl.models import evaluation_mode
from unlearn_pl.modules import ModelModule
from unlearn_pl.results import PerExample, Results

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager


class LMEvaluation(EvaluationCallback):
    """Runs tasks of the lm-evaluation-harness (extra ``lm-eval``) on the model in memory, in ``test``.

    Metrics are ``{task}_{metric}`` of every task and group and, if the harness estimates it,
    ``{task}_{metric}_stderr``; the name of a filter of answers follows that of the metric. The results hold the numbers
    per question, too. The harness loads its own data; the dataloaders of the Trainer are not read. Supports a single
    process.

    Args:
        tasks: names of tasks and groups, such as ``wmdp_bio``, ``mmlu`` and ``hellaswag``.
        output: file that ``test`` writes; by default ``results.json`` in the logger's directory.
        limit: maximum number of questions of every task; None for all.
        num_fewshot: number of worked examples before every question; None for the task's default.
        batch_size: sequences per batch.
        include_path: folder with your own tasks, as YAML files.
        apply_chat_template: whether to lay out questions in the chat template of the tokenizer.

    Raises:
        ValueError: if there are no tasks, or a number is out of range; from ``setup``, if the harness is not installed,
            a task is unknown, the Trainer has several processes, or the module holds no language model.

    References:
        Gao et al., "The Language Model Evaluation Harness", Zenodo 2024, doi 10.5281/zenodo.12608602.
    """

    benchmark: ClassVar[str] = "lm_eval"
    directions: ClassVar[Mapping[str, Direction]] = {
        **dict.fromkeys(("wmdp*", "*perplexity*", "*bits_per_byte*", "*brier_score*", "*_ter"), "lower"),
        "*": "higher",
    }
    neutral_arguments: ClassVar[frozenset[str]] = EvaluationCallback.neutral_arguments | {"include_path", "batch_size"}

    def __init__(
        self,
        tasks: Sequence[str],
        output: str | None = None,
        limit: int | None = None,
        num_fewshot: int | None = None,
        batch_size: int = 16,
        include_path: str | None = None,
        apply_chat_template: bool = False,
    ) -> None:
        super().__init__(output)
        if isinstance(tasks, str) or not tasks:
            raise ValueError(f"tasks={tasks!r}; accepted is a list of names, such as ['wmdp_bio'].")
        if batch_size < 1 or (limit is not None and limit < 1) or (num_fewshot is not None and num_fewshot < 0):
            raise ValueError(
                f"batch_size={batch_size} and limit={limit} must be at least 1, num_fewshot={num_fewshot} at least 0."
            )
        self.tasks = list(tasks)
        self.limit = limit
        self.num_fewshot = num_fewshot
        self.batch_size = batch_size
        self.include_path = include_path
        self.apply_chat_template = apply_chat_template
        self._found: Mapping[str, Any] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check that the tasks can be run, before the work starts.

        Raises:
            ValueError: if they cannot.
        """
        super().setup(trainer, pl_module, stage)
        if find_spec("lm_eval") is None:
            raise ValueError("LMEvaluation needs lm-eval: pip install 'unlearn_pl[lm-eval]'.")
        if trainer.world_size > 1:
            raise ValueError(
                f"LMEvaluation runs in one process, but the Trainer has {trainer.world_size}. Save the model, and test "
                "it with PretrainedModule and devices=1."
            )
        if not isinstance(pl_module, ModelModule):
            raise ValueError(f"LMEvaluation needs a ModelModule, but the module is a {type(pl_module).__name__}.")
        if unknown := self._unknown(self._manager):
            raise ValueError(f"Unknown tasks {unknown}; 'lm-eval ls tasks' lists those that lm-eval has.")

    def make_metrics(self, loader: str) -> Mapping[str, PerExampleMetric]:
        """Empty: the dataloaders of the Trainer are not read."""
        return {}

    def summarize(self, collected: Collected) -> tuple[dict[str, float], PerExample]:
        """Metrics and numbers per question of the harness; empty before it has run."""
        metrics = {
            _name(task, key): float(value)
            for task, row in self._found.get("results", {}).items()
            for key, value in row.items()
            if isinstance(value, int | float)
        }
        per_example: dict[str, dict[str, dict[int, float]]] = {}
        for task, samples in self._found.get("samples", {}).items():
            for sample in samples:
                for name in sample["metrics"]:
                    if isinstance(sample[name], int | float):
                        table = per_example.setdefault(task, {}).setdefault(_name("", f"{name},{sample['filter']}"), {})
                        table[sample["doc_id"]] = float(sample[name])
        return metrics, per_example

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Run the tasks; log the metrics; keep and write the results."""
        assert isinstance(pl_module, ModelModule)
        self._found = self._run(trainer, pl_module)
        super().on_test_epoch_end(trainer, pl_module)

    def _run(self, trainer: pl.Trainer, pl_module: ModelModule) -> Mapping[str, Any]:
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM

        assert pl_module.model is not None
        # A copy, because the harness sets a padding token; isolated, because it sets the global seeds.
        tokenizer = deepcopy(pl_module.load_tokenizer())
        with isolate_rng(), evaluation_mode(pl_module.model), trainer.precision_plugin.forward_context():
            found = simple_evaluate(
                model=HFLM(pretrained=pl_module.model, tokenizer=tokenizer, batch_size=self.batch_size),
                tasks=self.tasks,
                num_fewshot=self.num_fewshot,
                limit=self.limit,
                bootstrap_iters=1000,
                apply_chat_template=self.apply_chat_template,
                task_manager=self._manager,
            )
        assert found is not None
        return found

    @cached_property
    def _manager(self) -> "TaskManager":
        from lm_eval.tasks import TaskManager

        if self.include_path is not None:
            # Reading the list of all tasks takes seconds, and is not needed if all tasks are in the folder.
            own = TaskManager(include_path=self.include_path, include_defaults=False)
            if not self._unknown(own):
                return own
        return TaskManager(include_path=self.include_path)

    def _unknown(self, manager: "TaskManager") -> list[str]:
        return [task for task in self.tasks if not manager.match_tasks([task])]

    def _results(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, metrics: dict[str, float], per_example: PerExample
    ) -> Results:
        results = super()._results(trainer, pl_module, metrics, per_example)
        questions = {
            task: {sample["doc_id"]: sample["doc_hash"][:8] for sample in samples}
            for task, samples in self._found["samples"].items()
        }
        tasks = {f"lm_eval {task}": str(number) for task, number in self._found["versions"].items()}
        versions = {**results.versions, "lm_eval": version("lm_eval"), **tasks}
        return replace(results, questions=questions, versions=versions)


def _name(task: str, key: str) -> str:
    """``task_metric`` of the harness's ``metric,filter``."""
    metric, _, kind = key.partition(",")
    return "_".join(part for part in (task, metric, "" if kind == "none" else kind) if part)
