"""A page for every method, from its row in METHODS.md, its docstring, its recipes and the studies."""

import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from functools import cache

import griffe

from unlearn_pl.commands.recipes import PAPERS, description, recipes
from unlearn_pl.engine import backward_passes
from unlearn_pl.models import tiny_llama
from unlearn_pl.modules import UnlearningModule
from website import catalog
from website.docstring_roles import markdown
from website.pitfalls import PITFALLS

FOLDER = "docs/methods"
STUDY = "Which method first?"
IMAGES = {"ESD", "SalUn", "EraseDiff"}
"""Methods for text-to-image models, with another run to go with."""


def path_of(method: str) -> str:
    """Path of the page of a method, by its class."""
    return f"{FOLDER}/{method.lower()}.md"


def pages() -> dict[str, str]:
    """Path of each page to its Markdown, the list of all first."""
    rows = {catalog.classes_in(row["class"])[0]: row for row in catalog.tables()["Methods"]}
    made = {path_of(name): page(name, row) for name, row in rows.items()}
    return {f"{FOLDER}/all.md": _list(rows), **made}


def _list(rows: Mapping[str, catalog.Row]) -> str:
    lines = [
        "# All methods",
        "",
        "A page for each: its equation, how faithful it is, how to run it, what it needs and costs, and when it fails. "
        "[Which method first?](../methods.md#which-method-first) says where to begin.",
        "",
        *(f"- {catalog.badge(status)} {meaning}" for status, meaning in catalog.STATUSES.items()),
        "",
        "| method | status | passes: forward, backward | reference | in the study: end, relearned |",
        "|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        forward, backward = passes(name)
        result = study(name)
        ended = f"{result['end']}, {result['relearned']}" if result else "-"
        link = f"[{_title(name, row)}]({name.lower()}.md)"
        status = catalog.badge(row["status"])
        lines.append(f"| {link} | {status} | {forward}, {backward} | {row['reference']} | {ended} |")
    note = (
        "*End* is 1 where a method forgets as far as the retrained model and keeps all utility, *relearned* what an "
        "attacker brings back; see the [study](../../experiments/README.md#which-method-first) for both, with what it "
        "does not show. Passes are per micro-batch and stream."
    )
    return "\n".join([*lines, "", note, ""])


def page(name: str, row: catalog.Row) -> str:
    """The page of the method with class ``name``."""
    parts = _docstring(name)
    description = "\n\n".join(part.value for part in parts if part.kind is griffe.DocstringSectionKind.text)
    sections = [
        f"# {_title(name, row)}\n\n{catalog.badge(row['status'])} [`{name}`][unlearn_pl.modules.{name}]",
        markdown(description),
        "## Equation\n\n" + "\n\n".join(_equations(row)),
        "## What it needs and costs\n\n" + _facts(name, row),
        "## Run it\n\n" + _runs(name),
        "## Arguments\n\n" + _arguments(parts),
        "## When it fails\n\n" + PITFALLS[name],
        "## Measured here\n\n" + _measured(name),
        "## Beside the paper\n\n" + _paper(row),
    ]
    return "\n\n".join(sections) + "\n"


def _title(name: str, row: catalog.Row) -> str:
    given = row["name"]
    return given if given.lower().replace("-", "") == name.lower() else f"{given} ({name})"


def _docstring(name: str) -> list[griffe.DocstringSection]:
    cls = getattr(importlib.import_module("unlearn_pl.modules"), name)
    text = inspect.getdoc(cls) or ""
    return griffe.Docstring(text).parse("google", warnings=False)


def _equations(row: catalog.Row) -> Iterator[str]:
    formulas = {catalog.classes_in(other["class"])[0]: other for other in catalog.tables()["Objectives"]}
    for part in row["objectives"].split(";"):
        (loss,) = catalog.classes_in(part)
        where = part.partition(" on ")[2].strip()
        text = formulas[loss]["formula"].replace("\\|", "|")
        yield _boxed(f"[`{loss}`][unlearn_pl.objectives.{loss}], on {where}:", text)
    (combiner,) = catalog.classes_in(row["combiner"])
    rule = next(other for other in catalog.tables()["Combiners"] if combiner in other["class"])
    text = rule["rule"].replace("\\|", "|")
    yield _boxed(f"Their gradients are combined by [`{combiner}`][unlearn_pl.combiners.{combiner}]:", text)
    yield "The notation is that of [METHODS.md](../../METHODS.md)."


def _boxed(label: str, equation: str) -> str:
    return f'<div class="equation" markdown>\n{label}\n\n{equation}\n</div>'


@cache
def built(name: str) -> UnlearningModule:
    """The method with its defaults, on a model that has next to no weights."""
    model = tiny_llama(64, hidden_size=8, num_layers=1, num_heads=1)
    module: UnlearningModule = getattr(importlib.import_module("unlearn_pl.modules"), name)(model)
    return module


def passes(name: str) -> tuple[int, int]:
    """Forward and backward passes for a micro-batch of every stream, without those of a reference model."""
    module = built(name)
    streams = {stream for objective in module.objectives.values() for stream in objective.streams}
    keeps_rows = module.combiner.uses_gramian
    return len(streams), len(backward_passes(module.objectives, keeps_rows, accumulates=False))


def _facts(name: str, row: catalog.Row) -> str:
    module = built(name)
    streams = sorted({stream for objective in module.objectives.values() for stream in objective.streams})
    forward, backward = passes(name)
    if module.reference is None:
        reference = "none"
    else:
        kind = type(module.reference).__name__
        reference = f"yes: [`{kind}`][unlearn_pl.references.{kind}] by default; [others](../references.md) cost less"
    rows = "one gradient, of the weighted sum"
    if module.combiner.uses_gramian:
        rows = f"{len(module.objectives)} gradients, one per objective"
    data = ", ".join(f"`{stream}`" for stream in streams)
    if "forget.alternate" in streams:
        data += "; `forget.alternate` are the forget questions [with other answers](../methods.md#what-a-method-needs)"
    return "\n".join(
        [
            "| | |",
            "|---|---|",
            f"| streams of the data | {data} |",
            f"| forward passes per micro-batch | {forward}, one per stream |",
            f"| backward passes per micro-batch | {backward} |",
            f"| gradients in memory | {rows} |",
            f"| reference model | {reference} |",
            "| more | [memory](../scaling.md#memory), [what a step costs](../combining.md#what-a-step-costs) |",
        ]
    )


def recipes_of(name: str) -> dict[str, str]:
    """Name of every recipe whose model is the method ``name`` to its file's text."""
    texts = {recipe: path.read_text(encoding="utf-8") for recipe, path in recipes().items()}
    pattern = re.compile(rf"^model:\n(?:.*\n)?  class_path: {name}$", re.MULTILINE)
    return {recipe: text for recipe, text in texts.items() if pattern.search(text)}


def _runs(name: str) -> str:
    found = list(recipes_of(name))
    files = recipes()
    own = [recipe for recipe in found if recipe.startswith("methods/")]
    whole = [recipe for recipe in found if not recipe.startswith(("methods/", "debug/", f"{PAPERS}/", "studies/"))]
    if name == "FineTuning":
        commands = ["unlearn-pl fit -c synthetic/fine_tune", "unlearn-pl fit -c tofu/fine_tune"]
    elif name in IMAGES:
        commands = [f"unlearn-pl fit -c canvas/mini -c {own[0]}"]
    else:
        layer = " --model.layer 1" if name == "RMU" else ""  # the tiny model has two
        commands = ["# offline, on a tiny model", "unlearn-pl fit -c synthetic/fine_tune"]
        commands += [f"unlearn-pl fit -c synthetic/mollm -c {own[0]}{layer}", "# on TOFU, which needs a GPU"]
        commands.append(f"unlearn-pl fit -c base -c data/tofu_forget10 -c {own[0]} -c models/llama32_1b")
    lines = ["```bash", *commands, f"unlearn-pl fit --model.help {name}", "```"]
    listed = [*own, *whole, *(recipe for recipe in found if recipe.startswith(f"{PAPERS}/"))]
    if listed:
        lines += ["", "| recipe | |", "|---|---|"]
        lines += [f"| `-c {recipe}` | {description(files[recipe])} |" for recipe in listed]
    if any(recipe.startswith(f"{PAPERS}/") for recipe in listed):
        lines += ["", "Published numbers beside the recipes of papers: [paper index](../papers.md)."]
    return "\n".join(lines)


def _arguments(parts: list[griffe.DocstringSection]) -> str:
    listed = [p for part in parts if part.kind is griffe.DocstringSectionKind.parameters for p in part.value]
    lines = ["| argument | meaning |", "|---|---|"]
    for parameter in listed:
        text = markdown(parameter.description).replace("\n", " ").replace("|", "\\|")
        lines.append(f"| `{parameter.name}` | {text} |")
    return "\n".join(lines)


@cache
def _study() -> dict[str, catalog.Row]:
    rows = catalog.rows(catalog.sections("experiments/README.md")[STUDY])
    return {row["method"]: row for row in rows}


def study(name: str) -> catalog.Row | None:
    """The row of a method in the study of all methods; None if it is not in it."""
    return _study().get(name)


def _measured(name: str) -> str:
    found = [row for row in (_study().get(name), _study().get(f"{name} with goals")) if row]
    anchor = "which-method-first"
    if name in IMAGES - {"EraseDiff"}:
        return "In the [study of styles and objects](../../experiments/README.md#styles-and-objects)."
    if not found:
        return "Nothing yet: the method is not in a study of [experiments/README.md](../../experiments/README.md)."
    keys = [key for key in found[0] if key != "method"]
    table = ["| | " + " | ".join(row["method"] for row in found) + " |", "|---" * (len(found) + 1) + "|"]
    table += [f"| {key} | " + " | ".join(row[key] for row in found) + " |" for key in keys]
    return "\n".join(
        [
            f"From the [study of every method at equal trials](../../experiments/README.md#{anchor}): tiny models, "
            "three seeds, default options, means with 95 % intervals. A retrained model has a P(forget) of .06 to .09; "
            "*end* is 1 where a method forgets as far and keeps all utility; *relearned* is what an attacker brings "
            "back.",
            "",
            *table,
        ]
    )


def _paper(row: catalog.Row) -> str:
    if row["paper"] == "-":
        return row["what we follow"]
    where = "" if row["equation"] == "-" else f", {row['equation']}"
    return f"{catalog.with_papers(row['paper'])}{where}.\n\n{row['what we follow']}"
