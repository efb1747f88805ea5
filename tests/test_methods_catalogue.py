"""METHODS.md and the package say the same: the same classes, losses, rules, references and papers."""

import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest
from lightning.pytorch import Callback
from torch.optim import Optimizer

from unlearn_pl import attribution, combiners, data, gradients, masks, modules, objectives, optim
from unlearn_pl.attribution import Attribution
from unlearn_pl.callbacks import sparsity, steps
from unlearn_pl.combiners import Combiner
from unlearn_pl.data import Selector
from unlearn_pl.gradients import GradientSource
from unlearn_pl.masks import Pruned
from unlearn_pl.models import tiny_llama
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.objectives import Objective

CATALOG = (Path(__file__).parents[1] / "METHODS.md").read_text(encoding="utf-8")
SECTIONS: dict[str, list[tuple[ModuleType, type]]] = {
    "Methods": [(modules, UnlearningModule)],
    "Objectives": [(objectives, Objective)],
    "Combiners": [(combiners, Combiner)],
    "Weight attribution": [(attribution, Attribution)],
    "Data selection": [(data, Selector)],
    "Sparsity": [(sparsity, Callback), (masks, Pruned)],
    "Gradient sources and optimizers": [(gradients, GradientSource), (optim, Optimizer), (steps, Callback)],
}
"""Heading of a table to the packages whose exports it lists, with the base class of these."""


def table(section: str) -> dict[str, dict[str, str]]:
    """Rows of a section's table: class to column to cell."""
    text = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", CATALOG, re.DOTALL | re.MULTILINE)[1]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    header, _, *body = cells
    assert all(len(row) == len(header) for row in body), section
    rows = [dict(zip(header, row, strict=True)) for row in body]
    assert len({row["class"] for row in rows}) == len(rows), "a class has two rows"
    return {row["class"].strip("`"): row for row in rows}


def exported(section: str) -> dict[str, type]:
    """Concrete classes that the section's packages export."""
    classes = [(getattr(package, name), base) for package, base in SECTIONS[section] for name in package.__all__]
    found = [c for c, base in classes if isinstance(c, type) and issubclass(c, base) and c is not base]
    return {c.__name__: c for c in found if not inspect.isabstract(c)}


def named_classes(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


@pytest.mark.parametrize("section", SECTIONS)
def test_rows_are_the_exported_classes(section):
    assert set(table(section)) == set(exported(section))


@pytest.mark.parametrize("section", SECTIONS)
def test_papers_are_those_of_the_docstrings(section):
    classes = exported(section)
    for name, row in table(section).items():
        cited = set(re.findall(r"\b\d{4}\.\d{5}\b", inspect.getdoc(classes[name]) or ""))
        assert cited == set(re.findall(r"\b\d{4}\.\d{5}\b", row["paper"])), name


@pytest.mark.parametrize("section", SECTIONS)
def test_every_row_says_how_it_relates_to_its_paper(section):
    for name, row in table(section).items():
        assert row["status"] in ("faithful", "simplified", "our reading", "-"), name
        assert (row["status"] == "-") == (row["paper"] == "-"), name
        assert row["equation"], name


def test_methods_are_built_as_their_rows_say():
    model = tiny_llama(300, hidden_size=16, num_layers=1, num_heads=2)
    for name, row in table("Methods").items():
        module = exported("Methods")[name](model)
        assert named_classes(row["objectives"]) == [type(o).__name__ for o in module.objectives.values()], name
        streams = [" + ".join(o.streams) for o in module.objectives.values()]
        assert re.findall(r"` on ([\w.]+(?: \+ [\w.]+)*)", row["objectives"]) == streams, name
        assert named_classes(row["combiner"]) == [type(module.combiner).__name__], name
        references = [] if module.reference is None else [type(module.reference).__name__]
        assert named_classes(row["reference"]) == references, name


def test_methods_of_a_single_loss_have_its_status():
    losses = table("Objectives")
    for name, row in table("Methods").items():
        named = named_classes(row["objectives"])
        if len(named) == 1:
            assert row["status"] == losses[named[0]]["status"], name


def test_objectives_are_what_their_rows_say():
    for name, row in table("Objectives").items():
        objective = exported("Objectives")[name]
        streams = [objective.stream] if isinstance(objective.stream, str) else objective.stream
        assert row["stream, role"] == f"{' + '.join(streams)}, {objective.role}", name
        assert row["reference needed"] == ("yes" if any(n.startswith("ref_") for n in objective.needs) else "no"), name


def test_combiners_are_what_their_rows_say():
    for name, row in table("Combiners").items():
        combiner = exported("Combiners")[name]
        assert row["needs the Gramian"] == ("yes" if combiner.uses_gramian else "no"), name


def test_attributions_need_what_their_rows_say():
    for name, row in table("Weight attribution").items():
        needs = exported("Weight attribution")[name].needs
        assert row["needs"] == (", ".join(sorted(needs)) or "nothing"), name


def test_selectors_read_what_their_rows_say():
    for name, row in table("Data selection").items():
        selector = exported("Data selection")[name]
        reads = "embeddings" if selector.uses_features else "the model" if selector.uses_model else "nothing"
        assert row["reads"] == reads, name
