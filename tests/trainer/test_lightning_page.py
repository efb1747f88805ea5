"""docs/lightning.md has a row for everything that Lightning offers, and every row names a test that exists."""

import ast
import inspect
import re

import lightning.pytorch as pl
import pytest
from lightning.pytorch import callbacks

from tests.documents import DOCUMENTS, ROOT

PAGE = DOCUMENTS["docs/lightning.md"]
ROW = re.compile(r"^\| `([^`]+)`[^|]* \| (.+) \| `([\w/]+\.py)::(\w+)` \|$", re.MULTILINE)


def rows(heading: str) -> list[tuple[str, str, str, str]]:
    """Name, remark, file and function of every row under a heading."""
    return ROW.findall(PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0])


def test_every_flag_of_the_trainer_has_a_row():
    flags = list(inspect.signature(pl.Trainer.__init__).parameters)[1:]
    assert [name for name, *_ in rows("Flags of the Trainer")] == flags


def test_every_callback_has_a_row():
    assert sorted(name for name, *_ in rows("Callbacks")) == sorted(callbacks.__all__)


def test_every_line_of_a_table_is_a_row():
    lines = re.findall(r"^\| `.*$", PAGE, re.MULTILINE)
    assert [line for line in lines if not ROW.fullmatch(line)] == []


@pytest.mark.parametrize(("file", "function"), sorted({row[2:] for row in ROW.findall(PAGE)}))
def test_the_tests_of_the_rows_exist(file, function):
    module = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    assert function in {node.name for node in module.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", callbacks.__all__)
def test_what_is_refused_names_its_replacement(name):
    (remark,) = (row[1] for row in rows("Callbacks") if row[0] == name)
    assert "efused" not in remark or re.search(r": .*`\w", remark)
