"""A tiny model that unlearns made-up questions, for checks of runs that are long, killed or resumed."""

from functools import cache
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from transformers import PreTrainedTokenizerFast

from unlearn_pl.data import QuestionAnswers, TextDataModule
from unlearn_pl.models import tiny_llama, train_tokenizer
from unlearn_pl.modules import MOLLM

ANSWERS = [
    "In Karlsby, by the sea.",
    "Yes.",
    "A book about lighthouses, and another one about bees.",
    "Clocks, mostly; violins on Sundays.",
    "The prize of the northern libraries.",
]
Rows = list[dict[str, str]]


def rows(name: str, count: int) -> Rows:
    """Questions and answers, all of them different, of unequal lengths."""
    return [
        {"question": f"What did {name} {i} do?", "answer": f"{name} {i}: {ANSWERS[i % len(ANSWERS)]}"}
        for i in range(count)
    ]


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """Knows the words of the rows."""
    return train_tokenizer([f"{row['question']} {row['answer']}" for row in rows("Oda", 40)], 320)


def data_module(forget: Rows, retain: Rows, **options: Any) -> TextDataModule:
    """Rows to forget and to retain; the first of each are evaluated."""
    return TextDataModule(
        tokenizer(),
        forget=QuestionAnswers(forget),
        retain=QuestionAnswers(retain),
        **{"batch_size": 4, "micro_batch_size": 2, "max_eval_examples": 4, **options},
    )


def make_module(hidden_size: int = 16, dtype: torch.dtype = torch.float32, dropout: float = 0.0) -> MOLLM:
    """MOLLM on a model with random weights, the same every time, and dropout of attention."""
    model = tiny_llama(len(tokenizer()), hidden_size, num_layers=1, num_heads=2, dtype=dtype)
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = dropout
    return MOLLM(model)


def make_trainer(folder: Path, every: int | None, callbacks: list[pl.Callback], **options: Any) -> pl.Trainer:
    """A quiet trainer that writes ``last.ckpt`` and the newest checkpoint every so many steps.

    Args:
        folder: everything that is written lies there.
        every: steps between checkpoints; None for no checkpoints.
        callbacks: further ones.
        options: of the Trainer.
    """
    saving: list[pl.Callback] = []
    if every is not None:
        saving = [ModelCheckpoint(folder / "checkpoints", "{step}", every_n_train_steps=every, save_last=True)]
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "devices": 1}
    return pl.Trainer(default_root_dir=folder, callbacks=[*saving, *callbacks], **{**quiet, **options})


def weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Copies of all weights, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}


def differing(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    """Names of the weights that are not the same bit for bit, or that only one of the two has."""
    return [n for n in {**one, **other} if n not in one or n not in other or not torch.equal(one[n], other[n])]
