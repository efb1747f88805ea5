"""A tiny model in a folder, and fictitious authors that it might have been made to forget."""

from pathlib import Path

from unlearn_pl.data import SyntheticAuthorsDataModule
from unlearn_pl.models import save_pretrained, tiny_llama
from unlearn_pl.robustness import Subject


def authors(**options) -> SyntheticAuthorsDataModule:
    """Ten questions to forget, ten to retain."""
    sizes = {"forget_authors": 1, "retain_authors": 1, "holdout_authors": 1, "general_facts": 1, "vocab_size": 400}
    return SyntheticAuthorsDataModule(**(sizes | {"eval_batch_size": 16} | options))


def make_folder(path: Path, seed: int = 0, hidden_size: int = 16, num_layers: int = 1, context: int = 512) -> str:
    """A model with random weights, and its tokenizer."""
    tokenizer = authors().tokenizer
    sizes = {"hidden_size": hidden_size, "num_layers": num_layers, "max_position_embeddings": context}
    model = tiny_llama(len(tokenizer), num_heads=2, seed=seed, tie=False, **sizes)
    save_pretrained(model, path, tokenizer)
    return str(path)


def subject(model: str, **options) -> Subject:
    """The model and the authors."""
    data = options.pop("data", None) or authors()
    return Subject(model, data, **({"max_new_tokens": 4, "accelerator": "cpu"} | options))
