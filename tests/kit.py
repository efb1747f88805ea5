"""What the tests of the engine share: a tiny model, made-up questions with answers of unequal length, a recording."""

import warnings
from functools import cache

import lightning.pytorch as pl
import torch

from unlearn_pl.data import UnlearningDataModule
from unlearn_pl.gradients import Row, local
from unlearn_pl.models.language.tiny import tiny_llama, train_tokenizer

ANSWERS = [
    "In Karlsby.",
    "She wrote four novels about lighthouses and one about bees.",
    "Yes.",
    "His father repaired clocks, his mother taught the violin to the children of the harbour.",
    "The prize of the northern libraries, twice.",
    "Oda Lindqvist was born in the spring of 1948.",
    "Mostly travel writing.",
    "It is called The Salt Ledger, and it was never translated.",
]


def rows(name: str, count: int) -> list[dict[str, str]]:
    """Made-up questions and answers; every count of answers has unequal lengths."""
    return [
        {"question": f"What is known about {name} {i}?", "answer": f"{name} {i}: {ANSWERS[(i * 5 + len(name)) % 8]}"}
        for i in range(count)
    ]


@cache
def tokenizer():
    return train_tokenizer([r["question"] + " " + r["answer"] for r in [*rows("Oda", 16), *rows("Ivo", 16)]], 300)


def model(seed: int = 0, dtype: torch.dtype = torch.float32, dropout: float = 0.0):
    made = tiny_llama(len(tokenizer()), hidden_size=32, num_layers=2, num_heads=2, seed=seed, dtype=dtype)
    for layer in made.model.layers:
        layer.self_attn.attention_dropout = dropout
    return made


class Questions(UnlearningDataModule):
    """A forget, a retain and a normal stream of made-up questions."""

    def __init__(self, forget: int = 16, retain: int = 24, **options) -> None:
        self.sizes = {"forget": forget, "retain": retain, "normal": 12, "train": 24}
        super().__init__(tokenizer(), **options)

    def load_streams(self):
        return {name: rows(name.title(), count) for name, count in self.sizes.items()}

    def load_splits(self):
        return {"forget": rows("Forget", 6), "retain": rows("Retain", 5)}


class Recording:
    """Mixed into a module: keeps a copy of the rows, the Gramian and the weights of every step."""

    def on_rows(self, rows, weights) -> None:
        from unlearn_pl.gradients import gramian

        self.history = getattr(self, "history", [])
        kept: dict[str, Row] = {n: [None if g is None else local(g).clone() for g in row] for n, row in rows.items()}
        self.history.append({"rows": kept, "weights": weights.clone(), "gramian": gramian(list(kept.values())).cpu()})
        super().on_rows(rows, weights)


def trainer(**options) -> pl.Trainer:
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
        "devices": 1,
        "num_sanity_val_steps": 0,
        "limit_val_batches": 0,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pl.Trainer(**(quiet | options))
