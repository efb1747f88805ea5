"""The training loops that are compared: this library's, and what one would write or use instead."""

import tempfile
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch
import transformers
from torch import Tensor, nn

from benchmarks.harness import Contestant
from benchmarks.step_cost_task import (
    STEPS_PER_EPOCH,
    RandomTokens,
    Streams,
    Task,
    TokenExamples,
    collate,
    divergence,
    negative_log_likelihood,
    unlearning_cross_entropy,
)
from unlearn_pl.combiners import Combiner, GoalBarrier, MinNorm, Scalarization
from unlearn_pl.goals import AtMost
from unlearn_pl.gradients import FirstOrder, OffloadedRows, RoleSums, SketchedRows
from unlearn_pl.models.modes import evaluation_mode
from unlearn_pl.modules import NPO, SimNPO, UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, KLDivergenceLoss, Objective, UnlearningCrossEntropyLoss
from unlearn_pl.optim import Constant
from unlearn_pl.references import AdapterReference, CachedReference, FrozenReference, Reference, ReferenceContext
from unlearn_pl.types import Batch, Needs, TokenBatch

OPTIMIZER = partial(torch.optim.AdamW, lr=1e-5)
CLIP = 1.0


# This library --------------------------------------------------------------------------------------------------------


class GivenReference(Reference):
    """Log-probabilities of the whole vocabulary, computed once for the only batch that there is."""

    borrows_model = True

    def __init__(self, task: Task, device: torch.device) -> None:
        self._batch = task.batch(device)["retain"]

    def prepare(self, context: ReferenceContext) -> None:
        self._logps = log_probs(context.original().to(self._batch["labels"].device), self._batch)

    def annotate(
        self, stream: str, batch: Batch, needs: Needs, model: nn.Module
    ) -> dict[str, Tensor | dict[int, Tensor]]:
        return {"ref_logits": self._logps[:, :-1]}


class AfterStep(pl.Callback):
    """Says when a step of the Trainer is done."""

    def __init__(self, step_done: Callable[[], None]) -> None:
        self.step_done = step_done

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: Streams, batch_idx: int
    ) -> None:
        self.step_done()


def fit(module: pl.LightningModule, task: Task, device: torch.device, step_done: Callable[[], None]) -> None:
    """Train ``module`` until somebody raises."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=1,
            precision="32-true" if task.dtype == "float32" else "bf16-true",
            max_steps=-1,
            limit_val_batches=0,
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[AfterStep(step_done)],
        )
        trainer.fit(module, RandomTokens(task))


def make_module(combiner: Combiner, task: Task, device: torch.device, **options: Any) -> UnlearningModule:
    """The objectives of ``task``, descended with ``combiner``."""
    objectives: dict[str, Objective] = {"forget": UnlearningCrossEntropyLoss()}
    reference: Reference | None = None
    if task.objectives == 3:
        objectives["normal"] = KLDivergenceLoss()
        in_memory = AdapterReference() if task.lora else FrozenReference()
        reference = GivenReference(task, device) if task.reference == "given" else in_memory
    objectives["retain"] = CausalLMLoss()
    model = task.make_model(device)
    options = {"optimizer": OPTIMIZER, "schedule": Constant(), **options}
    return UnlearningModule(model, objectives, combiner, reference, **options)


def module_loop(combiner: Callable[[], Combiner], task: Task, device: torch.device, **options: Any) -> Contestant:
    """The objectives of ``task`` in an :class:`UnlearningModule`."""
    return lambda step_done: fit(make_module(combiner(), task, device, **options), task, device, step_done)


def unguarded_loop(task: Task, device: torch.device) -> Contestant:
    """MinNorm without the watch over weights that are not finite, to see what it costs."""

    def loop(step_done: Callable[[], None]) -> None:
        module = make_module(MinNorm(), task, device)
        module._run.soundness.after_step = lambda step: None  # type: ignore[method-assign]
        fit(module, task, device, step_done)

    return loop


def preset_loop(make: Callable[[nn.Module], UnlearningModule], task: Task, device: torch.device) -> Contestant:
    """A preset with its own objectives, on the streams of ``task``."""
    return lambda step_done: fit(make(task.make_model(device)), task, device, step_done)


def eight_bit_adamw() -> partial[torch.optim.Optimizer]:
    """AdamW with moments in 8 bits, of bitsandbytes."""
    from bitsandbytes.optim import AdamW8bit

    return partial(AdamW8bit, lr=1e-5)


# In plain PyTorch ----------------------------------------------------------------------------------------------------


@torch.no_grad()
def log_probs(model: nn.Module, batch: TokenBatch) -> Tensor:
    """``[B, T, V]`` of the next token."""
    with evaluation_mode(model):
        return torch.log_softmax(logits_of(model, batch).float(), dim=-1)


def logits_of(model: nn.Module, batch: TokenBatch) -> Tensor:
    """``[B, T, V]``."""
    return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits


class Losses:
    """The losses of ``task`` in plain PyTorch, each stream run once.

    Args:
        task: which losses.
        model: is trained.
        batch: of the reference, where it is given.
    """

    def __init__(self, task: Task, model: nn.Module, batch: Streams) -> None:
        self.task = task
        self.model = model
        with_model = task.objectives == 3 and task.reference == "memory"
        self.frozen = deepcopy(model).eval().requires_grad_(False) if with_model and not task.lora else None
        self.given = log_probs(model, batch["retain"]) if task.objectives == 3 and not with_model else None

    def forget(self, batch: Streams) -> list[Tensor]:
        """Those of the forget stream."""
        return [unlearning_cross_entropy(logits_of(self.model, batch["forget"]), batch["forget"])]

    def retain(self, batch: Streams) -> list[Tensor]:
        """Those of the retain stream, in the order of the objectives."""
        reference = self._reference(batch["retain"])
        logits = logits_of(self.model, batch["retain"])
        nll = negative_log_likelihood(logits, batch["retain"])
        return [nll] if reference is None else [divergence(logits, reference), nll]

    def all(self, batch: Streams) -> list[Tensor]:
        """All of them."""
        return self.forget(batch) + self.retain(batch)

    def _reference(self, batch: TokenBatch) -> Tensor | None:
        if self.frozen is not None:
            return log_probs(self.frozen, batch)
        if self.task.objectives == 3 and self.given is None:
            with self.model.disable_adapter():  # type: ignore[operator]
                return log_probs(self.model, batch)
        return self.given


Backward = Callable[[Losses, Streams, list[nn.Parameter]], None]


def backward_of_sum(losses: Losses, batch: Streams, parameters: list[nn.Parameter]) -> None:
    """The graphs of all streams at once."""
    torch.stack(losses.all(batch)).sum().backward()


def backward_by_stream(losses: Losses, batch: Streams, parameters: list[nn.Parameter]) -> None:
    """One stream after the other: least memory."""
    for of_stream in (losses.forget, losses.retain):
        torch.stack(of_stream(batch)).sum().backward()


def torchjd_backward(losses: Losses, batch: Streams, parameters: list[nn.Parameter]) -> None:
    """A Jacobian, then MGDA on its Gramian."""
    from torchjd.aggregation import MGDA
    from torchjd.autojac import backward, jac_to_grad

    backward(losses.all(batch), inputs=parameters, parallel_chunk_size=1)
    jac_to_grad(parameters, MGDA(), optimize_gramian_computation=True)


class TorchJDEngine:
    """The Gramian without a Jacobian, then the gradient of the weighted sum. Refuses tied weights."""

    def __init__(self) -> None:
        self.engine: Any = None

    def __call__(self, losses: Losses, batch: Streams, parameters: list[nn.Parameter]) -> None:
        from torchjd.aggregation import MGDAWeighting
        from torchjd.autogram import Engine

        if self.engine is None:
            self.engine = Engine(losses.model, batch_dim=None)
        stacked = torch.stack(losses.all(batch))
        weights = MGDAWeighting()(self.engine.compute_gramian(stacked))
        stacked.backward(weights)


def torch_loop(backward: Backward, task: Task, device: torch.device) -> Contestant:
    """Backward, clipping, AdamW."""

    def loop(step_done: Callable[[], None]) -> None:
        model, batch = task.make_model(device), task.batch(device)
        losses = Losses(task, model, batch)
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimizer = OPTIMIZER(parameters)
        while True:
            backward(losses, batch, parameters)
            nn.utils.clip_grad_norm_(parameters, CLIP)
            optimizer.step()
            optimizer.zero_grad()
            step_done()

    return loop


# transformers --------------------------------------------------------------------------------------------------------


class SumTrainer(transformers.Trainer):
    """``transformers.Trainer`` with a sum of losses, as OpenUnlearning trains."""

    losses: Losses

    def compute_loss(self, model: nn.Module, inputs: Any, *args: Any, **kwargs: Any) -> Tensor:
        return torch.stack(self.losses.all(inputs)).sum()


class AfterTrainerStep(transformers.TrainerCallback):
    """Says when a step of ``transformers.Trainer`` is done."""

    def __init__(self, step_done: Callable[[], None]) -> None:
        self.step_done = step_done

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.step_done()


class PairedExamples(torch.utils.data.Dataset[dict[str, Any]]):
    """An example of every stream."""

    def __init__(self, task: Task) -> None:
        self.streams = {name: TokenExamples(task, i) for i, name in enumerate(task.streams)}

    def __len__(self) -> int:
        return STEPS_PER_EPOCH

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: examples[index % len(examples)] for name, examples in self.streams.items()}


def collate_pairs(pairs: list[Mapping[str, Any]]) -> Streams:
    """A batch per stream."""
    return {name: collate([pair[name] for pair in pairs], torch.device("cpu")) for name in pairs[0]}


def trainer_loop(task: Task, device: torch.device) -> Contestant:
    """The loop of ``transformers.Trainer``."""

    def loop(step_done: Callable[[], None]) -> None:
        model = task.make_model(device)
        with tempfile.TemporaryDirectory() as folder:
            arguments = transformers.TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=task.batch_size,
                max_steps=STEPS_PER_EPOCH,
                learning_rate=1e-5,
                weight_decay=0.01,
                lr_scheduler_type="constant",
                optim="adamw_torch",
                max_grad_norm=CLIP,
                use_cpu=device.type == "cpu",
                bf16=False,
                report_to=[],
                logging_strategy="no",
                save_strategy="no",
                remove_unused_columns=False,
                dataloader_pin_memory=False,
                disable_tqdm=True,
            )
            trainer = SumTrainer(
                model,
                arguments,
                data_collator=collate_pairs,
                train_dataset=PairedExamples(task),
                callbacks=[AfterTrainerStep(step_done)],
            )
            trainer.losses = Losses(task, model, task.batch(device))
            trainer.train()

    return loop


# By name -------------------------------------------------------------------------------------------------------------


def make_loop(name: str, task: Task, device: torch.device) -> Contestant:
    """The loop called ``name``.

    Raises:
        ValueError: if there is no such loop.
    """
    loops: dict[str, Callable[[], Contestant]] = {
        "plain": lambda: torch_loop(backward_of_sum, task, device),
        "plain, stream by stream": lambda: torch_loop(backward_by_stream, task, device),
        "transformers.Trainer": lambda: trainer_loop(task, device),
        "torchjd backward": lambda: torch_loop(torchjd_backward, task, device),
        "torchjd autogram": lambda: torch_loop(TorchJDEngine(), task, device),
        "MinNorm": lambda: module_loop(MinNorm, task, device),
        "MinNorm, unguarded": lambda: unguarded_loop(task, device),
        "MinNorm, refresh_every=4": lambda: module_loop(MinNorm, task, device, refresh_every=4),
        "MinNorm, sketch": lambda: module_loop(MinNorm, task, device, gradient=SketchedRows()),
        "MinNorm, OffloadedRows": lambda: module_loop(MinNorm, task, device, gradient=FirstOrder(rows=OffloadedRows())),
        "MinNorm, AdamW8bit": lambda: module_loop(MinNorm, task, device, optimizer=eight_bit_adamw()),
        "GoalBarrier, RoleSums": lambda: module_loop(
            GoalBarrier, task, device, goals={"forget": AtMost(share=0.1)}, gradient=RoleSums(8)
        ),
        "Scalarization": lambda: module_loop(Scalarization, task, device),
        "NPO, cached reference": lambda: preset_loop(
            lambda m: NPO(m, reference=CachedReference(), optimizer=OPTIMIZER, schedule=Constant()), task, device
        ),
        "SimNPO": lambda: preset_loop(lambda m: SimNPO(m, optimizer=OPTIMIZER, schedule=Constant()), task, device),
    }
    if name not in loops:
        raise ValueError(f"there is no loop called {name!r}; accepted: {', '.join(loops)}")
    return loops[name]()
