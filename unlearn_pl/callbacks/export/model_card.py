"""``README.md`` of an exported model: method, data, metrics, limits, and how to use it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import lightning.pytorch as pl
import yaml
from torch import nn
from transformers import PreTrainedModel

import unlearn_pl
from unlearn_pl.callbacks.export.prompting import Prompting
from unlearn_pl.callbacks.export.reload import Reload
from unlearn_pl.models import LanguageSpec, ModelSpec
from unlearn_pl.models.adapters import has_adapter
from unlearn_pl.modules import ModelModule
from unlearn_pl.printable import markdown_block, markdown_code, markdown_text
from unlearn_pl.recording import class_path
from unlearn_pl.results.atomic_file import atomic_file
from unlearn_pl.types import StreamProvider

TEXT_LIMITS = """\
A lower probability of the forget answers does not show that they are gone: relearning on a few examples, rounding of
the weights, other wordings or sampling may bring them back. `unlearn-pl attack` tries; nothing of the kind was part of
this run. The metrics are of the questions named above, and say nothing about others. What the model knew apart from
them, its license and its biases are those of the model that it was trained from."""
LIMITS = """\
A lower accuracy on what was to be forgotten does not show that it is gone: training on a few examples, or rounding of
the weights, may bring it back, and membership may still show. Nothing of the kind was tried in this run. The metrics
are of the data named above, and say nothing about other data. The license and the biases of the model are those of the
model that it was trained from."""


def model_card(
    module: pl.LightningModule,
    data: object,
    prompting: Prompting | None,
    metrics: Mapping[str, tuple[float | None, float | None]],
    reload: Reload | None,
    fingerprint: str,
) -> str:
    """The text of the file.

    Args:
        module: what was trained.
        data: the data module, if there is one.
        prompting: the prompt format of training; None if it is not known.
        metrics: name to value before and after training; None where it was not computed.
        reload: outcome of the check of the export; None without one.
        fingerprint: that of the exported weights.
    """
    name = type(module).__name__
    base = module.model_name if isinstance(module, ModelModule) else None
    spec = module.spec if isinstance(module, ModelModule) else None
    of_text = spec is None or isinstance(spec, LanguageSpec)
    origin = f", from {markdown_code(base)}" if base else ""
    parts = [
        f"---\nlibrary_name: {_library(module)}\ntags: [unlearning]\n---",
        f"# Trained with {name}",
        f"Written by unlearn_pl {unlearn_pl.__version__} after training with `{name}`{origin}.",
        "## How to prompt" if of_text else "## How to load",
        _prompting(prompting) if of_text else _loading(cast(ModelSpec, spec)),
        "## Method",
        _method(module),
        "## Data",
        _data(data),
        "## Metrics",
        _metrics(metrics),
        "## Limits",
        TEXT_LIMITS if of_text else LIMITS,
        "## Weights",
        f"SHA-256 of the weights before they were exported: `{fingerprint}`."
        + (f" This folder {reload.sentence}." if reload else ""),
    ]
    return "\n\n".join(parts) + "\n"


def _prompting(prompting: Prompting | None) -> str:
    if prompting is None:
        return "The data of training does not say how its prompts were laid out."
    shown = f"Training laid out every question like this:\n\n{markdown_block(prompting.text)}"
    if prompting.messages is None:
        how = "Write prompts in this form and tokenize them with `add_special_tokens=False`."
        return f"{shown}\n\n{how} The tokenizer's chat template gives another one."
    arguments = "".join(f"\n    {name}={value!r}," for name, value in prompting.arguments.items())
    code = f"""\
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # this folder
model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
messages = {prompting.messages!r}
prompt = tokenizer.apply_chat_template(
    messages,
    add_generation_prompt=True,
    return_tensors="pt",
    return_dict=True,{arguments}
)
answer = model.generate(**prompt, max_new_tokens=64, do_sample=False)
print(tokenizer.decode(answer[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))"""
    return f"{shown}\n\nThe chat template of the tokenizer here does the same:\n\n{markdown_block(code, 'python')}"


def _library(module: pl.LightningModule) -> str:
    model = cast(nn.Module, getattr(module, "model", None))
    return "transformers" if isinstance(model, PreTrainedModel) or has_adapter(model) else "unlearn_pl"


def _loading(spec: ModelSpec) -> str:
    files = "".join(f" `{name}` holds the settings of its inputs." for name in spec.export_files())
    name = type(spec).__name__
    return f"As `unlearn_pl.models.{name}`, with the arguments of training and this folder for the weights.{files}"


def _method(module: pl.LightningModule) -> str:
    arguments = {name: value for name, value in module.hparams.items() if not name.startswith("_")}
    text = yaml.safe_dump({class_path(type(module)): _plain(arguments)}, sort_keys=False)
    return markdown_block(text.rstrip("\n"), "yaml")


def _data(data: object) -> str:
    if not isinstance(data, StreamProvider):
        return "Not recorded."
    lines = [f"`{type(data).__name__}`. SHA-256 of what was trained on, and of the evaluated questions:", ""]
    lines += [
        f"- stream {markdown_code(name)}: `{data.stream_fingerprint(name) or 'not known'}`" for name in data.streams
    ]
    for split, questions in data.question_hashes().items():
        lines.append(f"- split {markdown_code(split)}: {len(questions)} questions")
    return "\n".join(lines)


def _metrics(metrics: Mapping[str, tuple[float | None, float | None]]) -> str:
    if not metrics:
        return "No evaluation was part of the run."
    rows = [
        f"| {markdown_text(name)} | {_cell(before)} | {_cell(after)} |" for name, (before, after) in metrics.items()
    ]
    return "\n".join(["| metric | before | after |", "|---|---|---|", *rows])


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _plain(value: object) -> object:
    """``value`` as YAML can write it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def write_model_card(directory: Path, text: str) -> None:
    """Write ``text`` as the folder's ``README.md``."""
    with atomic_file(directory / "README.md") as unfinished:
        unfinished.write_text(text, encoding="utf-8")
