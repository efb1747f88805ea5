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
from unlearn_pl.metrics import PerExampleMetric
from unlearn_pl.models import evaluation_mode
from unlearn_pl.modules import LanguageModule
from unlearn_pl.results import PerExample, Results

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager


class LMEvaluation(EvaluationCallback):
    """Runs tasks of the lm-evaluation-harness on the model in memory, in ``test``; the extra ``lm-eval`` installs it.

    Metrics are ``{task}_{metric}`` and, where the harness estimates it, ``{task}_{metric}_stderr``, of every task and
    group; a filter of answers that a task names stands behind the metric. Numbers per question go to the results, too.
    The data is the harness's own; the Trainer's dataloaders are not read. It runs in one process.

    Args:
        tasks: names of tasks and groups, such as ``wmdp_bio``, ``mmlu`` and ``hellaswag``.
        output: file that ``test`` writes; ``results.json`` in the logger's directory when not given.
        limit: only so many questions of every task; None for all.
        num_fewshot: worked examples in front of every question; None for what the task says.
        batch_size: sequences in a batch.
        include_path: folder with tasks of your own, as YAML files.
        apply_chat_template: ask in the tokenizer's chat template.

    Raises:
        ValueError: if there are no tasks, or a number is not positive; from ``setup``, if the harness is not
            installed, a task is unknown, several devices run, or the module holds no language model.

    References:
        Gao et al., "The Language Model Evaluation Harness", Zenodo 2024, doi 10.5281/zenodo.12608602.
    """

    benchmark: ClassVar[str] = "lm_eval"

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
        """Find out whether the tasks can be run, before the work starts.

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
        if not isinstance(pl_module, LanguageModule):
            raise ValueError(f"LMEvaluation needs a LanguageModule, but the module is a {type(pl_module).__name__}.")
        if unknown := self._unknown(self._manager):
            raise ValueError(f"Unknown tasks {unknown}; 'lm-eval ls tasks' lists those that lm-eval has.")

    def make_metrics(self, loader: str) -> Mapping[str, PerExampleMetric]:
        """None: the Trainer's dataloaders are not read."""
        return {}

    def summarize(self, collected: Collected) -> tuple[dict[str, float], PerExample]:
        """The harness's metrics and its numbers per question, when it has run."""
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
        """Run the tasks; log the metrics, keep the results and write them."""
        assert isinstance(pl_module, LanguageModule)
        self._found = self._run(trainer, pl_module)
        super().on_test_epoch_end(trainer, pl_module)

    def _run(self, trainer: pl.Trainer, pl_module: LanguageModule) -> Mapping[str, Any]:
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM

        assert pl_module.model is not None
        # The harness sets a padding token and seeds of its own.
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
            # Reading the list of all tasks takes seconds, and is not needed where all of them are of one's own.
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
