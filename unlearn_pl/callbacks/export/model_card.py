"""``README.md`` of an exported model: method, data, metrics, limits, and how to use it."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import lightning.pytorch as pl
import yaml
from torch import nn
from transformers import PreTrainedModel

import unlearn_pl
from unlearn_pl.callbacks.export.front_matter import OTHER, commit_of, front_matter
from unlearn_pl.callbacks.export.measured import Measured
from unlearn_pl.callbacks.export.prompting import Prompting
from unlearn_pl.callbacks.export.reload import Reload
from unlearn_pl.models import ImageClassifier, LanguageSpec, ModelSpec, UNet
from unlearn_pl.models.adapters import has_adapter
from unlearn_pl.modules import ModelModule
from unlearn_pl.printable import markdown_block, markdown_code, markdown_text
from unlearn_pl.recording import class_path
from unlearn_pl.results.atomic_file import atomic_file
from unlearn_pl.types import StreamProvider

_ATTACK = re.compile(r"^(auc_|mia_|privleak|privacy)|_leak_at_|_best_of_|^membership")
"""Names of metrics that are attacks."""

TEXT_LIMITS = """\
A lower probability of the forget answers does not show that they are gone: relearning on a few examples, rounding of
the weights, other wordings or sampling may bring them back. The metrics are of the questions named above, and say
nothing about others. What the model knew apart from them, its license and its biases are those of the model that it was
trained from."""
LIMITS = """\
A lower accuracy on what was to be forgotten does not show that it is gone: training on a few examples, or rounding of
the weights, may bring it back, and membership may still show. The metrics are of the data named above, and say nothing
about other data. The license and the biases of the model are those of the model that it was trained from."""


def model_card(
    module: pl.LightningModule,
    data: object,
    prompting: Prompting | None,
    metrics: Sequence[Measured],
    reload: Reload | None,
    fingerprint: str,
    name: str | None = None,
    is_adapter: bool = False,
) -> str:
    """The text of the file.

    Args:
        module: what was trained.
        data: the data module, if there is one.
        prompting: the prompt format of training; None if it is not known.
        metrics: those of the run.
        reload: outcome of the check of the export; None without one.
        fingerprint: that of the exported weights.
        name: of the model; by default that of the method.
        is_adapter: whether the folder holds adapters alone.
    """
    method = type(module).__name__
    base = module.model_name if isinstance(module, ModelModule) else None
    spec = module.spec if isinstance(module, ModelModule) else None
    of_text = spec is None or isinstance(spec, LanguageSpec)
    origin = f", from {markdown_code(base)}{_revision(module)}" if base else ""
    top = front_matter(module, data, metrics, _library(module, is_adapter), name or method, _task(spec), is_adapter)
    parts = [
        f"---\n{top}\n---",
        f"# Trained with {method}",
        f"Written by unlearn_pl {unlearn_pl.__version__} after training with `{method}`{origin}.",
        "## How to prompt" if of_text else "## How to load",
        _prompting(prompting) if of_text else _loading(cast(ModelSpec, spec)),
        "## Method",
        _method(module),
        "## Data",
        _data(data),
        "## Metrics",
        _metrics(metrics),
        "## Attacks",
        _attacks(metrics),
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


def _library(module: pl.LightningModule, is_adapter: bool) -> str:
    model = cast(nn.Module, getattr(module, "model", None))
    if isinstance(module, ModelModule) and isinstance(module.spec, UNet):
        return "diffusers"
    if is_adapter and has_adapter(model):
        return "peft"
    return "transformers" if isinstance(model, PreTrainedModel) or has_adapter(model) else "unlearn_pl"


def _task(spec: ModelSpec | None) -> str:
    """The kind of the model, as the hub calls it."""
    if spec is None or isinstance(spec, LanguageSpec):
        return "text-generation"
    if isinstance(spec, UNet):
        return "text-to-image"
    return "image-classification" if isinstance(spec, ImageClassifier) else OTHER


def _revision(module: pl.LightningModule) -> str:
    """What was asked for, and the commit that it was."""
    asked = getattr(module.spec, "revision", None) if isinstance(module, ModelModule) else None
    commit = commit_of(module)
    parts = [f"revision {markdown_code(asked)}"] if isinstance(asked, str) else []
    parts += [f"commit `{commit}`"] if commit is not None else []
    return f" ({', '.join(parts)})" if parts else ""


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


def _metrics(metrics: Sequence[Measured]) -> str:
    if not metrics:
        return "No evaluation was part of the run."
    rows = [
        f"| {markdown_text(f'{each.benchmark}/{each.name}')} | {_cell(each.before)} | {_cell(each.after)} | "
        f"{_interval(each.interval)} |"
        for each in metrics
    ]
    return "\n".join(["| metric | before | after | 95 % interval |", "|---|---|---|---|", *rows])


def _interval(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.4g} to {interval[1]:.4g}"


def _attacks(metrics: Sequence[Measured]) -> str:
    """The metrics above that are attacks."""
    found = [f"{each.benchmark}/{each.name}" for each in metrics if _ATTACK.search(each.name)]
    if not found:
        return "None was part of the run. `unlearn-pl attack` and `unlearn-pl audit` try many on this folder."
    listed = ", ".join(map(markdown_text, found))
    return f"Attacks among the metrics: {listed}. No other was part of the run."


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
