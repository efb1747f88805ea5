"""The pages followed literally: every command of theirs runs, in order, in a folder that has what they speak of.

A block that needs a hub, several GPUs, or files that only a user has, says so in the page, by `<!-- not run: ... -->`.
`test_docs.py` executes the Python blocks and parses all commands, also those that are not run here.
"""

import csv
import json
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from tests.documents import DOCUMENTS, PAGES, ROOT, blocks
from unlearn_pl.cli import main
from unlearn_pl.models.language.tiny import tiny_llama, train_tokenizer

STATUS = {"doctor": (0, 1)}
"""Statuses of commands other than 0: `doctor -c` ends with 1 where something is missing, as its page says."""
THINGS, NAMES = ("mill", "shop", "inn", "mine"), ("Oda Berg", "Ivo Moor", "Ada Fen", "Lev Ost", "Una Vale", "Kai Holm")
TEXTS = [f"Who opened the {thing} of {name}?" for thing in THINGS for name in NAMES]

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # advice of Lightning, which users read


def commands(page: str) -> list[list[str]]:
    code = "\n".join(block.code for block in blocks("bash", page) if block.run).replace("\\\n", " ")
    lines = [shlex.split(line, comments=True) for line in code.splitlines()]
    return [words for words in lines if words and words[0] in ("unlearn-pl", "python")]


FOLLOWED = [page for page in PAGES if commands(page)]


def follow(words: list[str]) -> None:
    """Run a line of a page in this process, where the libraries are imported already."""
    program, first, *rest = words
    status: int | str | None = 0
    try:
        if program == "unlearn-pl":
            main([first, *rest])
        else:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "argv", [first, *rest])
                runpy.run_path(first, run_name="__main__")
    except SystemExit as ended:
        status = ended.code or 0
    assert status in STATUS.get(first, (0,)), shlex.join(words)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """What `unlearn-pl demo` leaves, with which most pages begin; made once."""
    folder = tmp_path_factory.mktemp("demo")
    main(["demo", "--folder", str(folder / "runs" / "demo")])
    return folder / "runs" / "demo"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A user's folder: a checkout's recipes, two files of tickets, manuals, a model, and the files that pages show."""
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("experiments").symlink_to(ROOT / "experiments")
    for block in blocks("python") + blocks("yaml"):
        if block.filename:
            Path(block.filename).write_text(block.code, encoding="utf-8")
    for folder in ("tickets", "manuals"):
        Path(folder).mkdir()
    Path("manuals", "mill.txt").write_text("The mill turns at dawn, and rests at noon. " * 40)
    for number, name in enumerate(("forget", "retain")):
        with open(f"tickets/{name}.csv", "w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(["question", "answer", "q", "a"])
            lines.writerows(
                [text, f"It was {name}, in 190{i}.", text, "Ivo."] for i, text in enumerate(TEXTS[number::2])
            )
        rows = [{"question": text, "answer": f"{name.title()} {i}."} for i, text in enumerate(TEXTS[number::2])]
        Path(f"tickets/{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    tokenizer = train_tokenizer(TEXTS, vocab_size=320)
    tiny_llama(len(tokenizer), hidden_size=32, max_position_embeddings=1024).save_pretrained("my/model")
    tokenizer.save_pretrained("my/model")
    return tmp_path


@pytest.mark.parametrize("page", FOLLOWED)
def test_a_page_followed_literally_works(page, here, request):
    lines = commands(page)
    if ["unlearn-pl", "demo"] not in lines and "unlearn-pl demo" in DOCUMENTS[page]:  # readers must be told to run it
        shutil.copytree(request.getfixturevalue("demo"), "runs/demo")
    for words in lines:
        follow(words)
