"""The preference trainers of TRL as loops of the benchmark, and the same losses through this library.

TRL is no dependency of this project: ``pip install --no-deps trl`` into an environment that has the rest.
"""

import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, Literal

import datasets
import torch
from peft import LoraConfig
from torch import Tensor

from benchmarks.harness import Contestant
from benchmarks.step_cost_loops import CLIP, OPTIMIZER, AfterTrainerStep, fit, make_loop
from benchmarks.step_cost_task import MODELS, RANK, STEPS_PER_EPOCH, Task, TokenExamples
from unlearn_pl.combiners import Scalarization
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.objectives import DPOLoss, Objective
from unlearn_pl.optim import Constant
from unlearn_pl.references import AdapterReference, FrozenReference
from unlearn_pl.types import LanguageView

BETA = 0.1
Kind = Literal["DPO", "KTO"]


def has_trl() -> bool:
    """Whether TRL is installed."""
    return find_spec("trl") is not None


class UnpairedPreferenceLoss(Objective):
    """``sigma(-beta r)`` of preferred and ``sigma(beta r)`` of forget answers, ``r = log p - log p_ref``; their mean.

    It is the loss ``apo_zero_unpaired`` of TRL's ``KTOTrainer``: KTO with a reference point of 0.
    """

    stream = ("forget.alternate", "forget")
    needs = frozenset({"ref_logps"})
    mean_over = "sequences"

    def loss(self, alternate: LanguageView, forget: LanguageView) -> Tensor:
        """The mean over all answers, ``[]``."""
        assert alternate.ref_logps is not None
        assert forget.ref_logps is not None
        up = BETA * (alternate.logps - alternate.ref_logps).sum(-1)
        down = BETA * (forget.logps - forget.ref_logps).sum(-1)
        return (torch.sigmoid(-up) + torch.sigmoid(down)).mean() / 2


def preference_module(kind: Kind, task: Task, device: torch.device) -> UnlearningModule:
    """The loss of TRL's trainer of this kind (DPO: times ``2 / beta``), alone."""
    objective = DPOLoss(BETA) if kind == "DPO" else UnpairedPreferenceLoss()
    return UnlearningModule(
        task.make_model(device),
        {"forget": objective},
        Scalarization(),
        AdapterReference() if task.lora else FrozenReference(),
        optimizer=OPTIMIZER,
        schedule=Constant(),
    )


def preference_loop(kind: Kind, task: Task, device: torch.device) -> Contestant:
    """Such a module in Lightning's loop."""
    return lambda step_done: fit(preference_module(kind, task, device), task, device, step_done)


def trl_loop(kind: Kind, task: Task, device: torch.device, see: Callable[[Any], None] | None = None) -> Contestant:
    """TRL's trainer of this kind.

    Args:
        kind: which trainer.
        task: what is trained.
        device: where.
        see: is given the trainer before it starts.

    Raises:
        ValueError: if TRL is not installed.
    """
    if not has_trl():
        raise ValueError("the package trl is not installed: pip install --no-deps trl")

    def loop(step_done: Callable[[], None]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            trainer = _trainer(kind, task, device, folder)
            trainer.add_callback(AfterTrainerStep(step_done))
            if see is not None:
                see(trainer)
            trainer.train()

    return loop


def _trainer(kind: Kind, task: Task, device: torch.device, folder: str) -> Any:
    import trl

    plain, config = (
        (trl.DPOTrainer, trl.DPOConfig) if kind == "DPO" else (trl.KTOTrainer, trl.KTOConfig)  # type: ignore[attr-defined]
    )

    class Tokenized(plain):  # type: ignore[misc, valid-type]
        def _prepare_dataset(self, dataset: datasets.Dataset, *args: object) -> datasets.Dataset:
            return dataset  # these are tokens already

    sequences = task.batch_size * (1 if kind == "DPO" else 2)  # a pair is one example, or two
    arguments = config(
        output_dir=folder,
        per_device_train_batch_size=sequences,
        max_steps=STEPS_PER_EPOCH,
        learning_rate=1e-5,
        weight_decay=0.01,
        lr_scheduler_type="constant",
        optim="adamw_torch",
        max_grad_norm=CLIP,
        beta=BETA,
        loss_type="sigmoid" if kind == "DPO" else "apo_zero_unpaired",
        max_length=task.length,
        use_cpu=device.type == "cpu",
        bf16=False,
        gradient_checkpointing=task.checkpointing,
        report_to=[],
        logging_strategy="no",
        save_strategy="no",
        dataloader_pin_memory=False,
        disable_tqdm=True,
    )
    return Tokenized(
        task.make_plain(device),
        ref_model=None if task.lora else task.make_plain(device),
        args=arguments,
        train_dataset=datasets.Dataset.from_list(_examples(kind, task)),
        processing_class=_tokenizer(task),
        peft_config=_adapters() if task.lora else None,
    )


def _adapters() -> LoraConfig:
    return LoraConfig(r=RANK, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")


def _examples(kind: Kind, task: Task) -> Sequence[dict[str, Any]]:
    """The sequences of the streams, of which the first token is the prompt."""
    chosen, rejected = (TokenExamples(task, i).tokens.tolist() for i in range(2))
    if kind == "DPO":
        return [
            {"prompt_ids": a[:1], "chosen_ids": a[1:], "rejected_ids": b[1:]}
            for a, b in zip(chosen, rejected, strict=True)
        ]
    return [
        {"prompt_ids": tokens[:1], "completion_ids": tokens[1:], "label": label}
        for tokens, label in [(tokens, True) for tokens in chosen] + [(tokens, False) for tokens in rejected]
    ]


def _tokenizer(task: Task) -> Any:
    """TRL asks for one, and reads the padding from it."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = {f"w{i}": i for i in range(MODELS[task.model]["vocab_size"])}
    own = Tokenizer(WordLevel(words, unk_token="w3"))
    return PreTrainedTokenizerFast(tokenizer_object=own, bos_token="w0", eos_token="w1", pad_token="w2")


def make_any_loop(name: str, task: Task, device: torch.device) -> Contestant:
    """The loop called ``name``: ``DPO`` and ``KTO`` of this library or ``TRL DPO`` and ``TRL KTO``, or any other.

    Raises:
        ValueError: if there is no such loop, or TRL is not installed.
    """
    if name in ("TRL DPO", "TRL KTO"):
        return trl_loop("DPO" if name == "TRL DPO" else "KTO", task, device)
    if name in ("DPO", "KTO"):
        return preference_loop("DPO" if name == "DPO" else "KTO", task, device)
    return make_loop(name, task, device)
