"""What the documents show runs: Python blocks are executed in order, YAML blocks and commands are parsed."""

import json
import re
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

import unlearn_pl
from tests.documents import DOCUMENTS, PAGES, ROOT, anchors, blocks, continued, links, shell_lines
from unlearn_pl.cli import COMMANDS as COMMANDS_OF_THIS_LIBRARY
from unlearn_pl.cli import TRAINER_COMMANDS, main

WITH_CODE = [page for page in PAGES if blocks("python", page)]
WITH_COMMANDS = [*PAGES, "experiments/README.md", "benchmarks/README.md"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Iterator[Path]:
    """A user's folder: the files that the pages show, made-up tickets, and the recipes."""
    folder = tmp_path_factory.mktemp("user")
    for block in blocks("python") + blocks("yaml"):
        if block.filename:
            (folder / block.filename).write_text(block.code, encoding="utf-8")
    (folder / "experiments").symlink_to(ROOT / "experiments")
    (folder / "tickets").mkdir()
    for name, count in (("forget", 8), ("retain", 12), ("check", 4)):
        rows = [{"question": f"Who opened {name} {i}?", "answer": "Oda" + " Berg" * (i % 3)} for i in range(count)]
        (folder / "tickets" / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        yield folder


@pytest.fixture(scope="module")
def namespaces() -> dict[str, dict[str, Any]]:
    """Page to the names that its blocks have left, for pages that continue others."""
    return {}


def run(page: str, namespaces: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Execute the blocks of ``page`` in order, in a namespace of its own or in a copy of that which it continues."""
    if page not in namespaces:
        before = continued(page)
        namespaces[page] = dict(run(before, namespaces)) if before else {}
        for block in blocks("python", page):
            if block.run and not block.filename:
                exec(compile(shortened(block.code), page, "exec"), namespaces[page])
    return namespaces[page]


def shortened(code: str) -> str:
    """``code`` with two batches for every epoch, and without progress bars and tables of the model's layers.

    A model that has learned this little gives unseen answers no probability, so goals refer to the start instead.
    """
    code = code.replace('AtMost("holdout")', "AtMost(share=0.5)")
    code = re.sub(r"max_epochs=\d+", "max_epochs=1, limit_train_batches=2", code)
    return code.replace("pl.Trainer(", "pl.Trainer(enable_progress_bar=False, enable_model_summary=False, ")


@pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers and logging intervals is not the pages' matter
@pytest.mark.parametrize("page", WITH_CODE)
def test_python_blocks_run_one_after_the_other(page, folder, namespaces):
    for block in blocks("python", page):
        compile(block.code, page, "exec")
    names = run(page, namespaces)
    match page:
        case "README.md":
            metrics = names["trainer"].callback_metrics
            assert all(0 < metrics[f"val/tofu/{name}_probability"] < 1 for name in ("forget", "retain"))
        case "docs/data.md":
            assert type(names["tickets"]).__name__ == "SupportTickets"
        case "docs/models.md":
            assert names["before"] == {"forget": 1, "retain": 1}
            assert names["after"]["forget"] < 0.2
            assert names["after"]["retain"] > 0.8
        case "docs/subclassing.md":
            loaded = names["loaded"]
            assert loaded.temperature == 3.0
            assert list(loaded.objectives) == ["forget", "normal", "retain", "refuse"]
            assert "test/tofu/forget_probability" in names["trainer"].callback_metrics
        case "CONTRIBUTING.md":
            walked = {"SquaredProbability", "EqualShares", "LookAhead", "NoisyWeights", "cities", "comparison"}
            assert walked <= names.keys()


def lines_of(code: str) -> int:
    return len([line for line in code.splitlines() if line.strip() and not line.startswith(("#", "from", "import"))])


def test_examples_are_as_short_as_the_pages_say():
    assert lines_of(blocks("python", "README.md")[0].code) <= 12
    files = {block.filename: block.code for block in blocks("python") if block.filename}
    assert lines_of(files["my_losses.py"]) <= 10
    assert lines_of(files["my_data.py"]) <= 15
    specification = files["points.py"].partition("class PointClassifier")[2].partition("\nclass ")[0]
    assert lines_of(specification) <= 25


def exit_code(arguments: list[str]) -> int | str | None:
    try:
        main(arguments)
    except SystemExit as exit_:
        return exit_.code
    return 0


COMMANDS = [shlex.split(line)[1:] for line in shell_lines(*WITH_COMMANDS) if line.startswith("unlearn-pl ")]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_commands_are_accepted(folder, arguments, capsys):
    runs_at_once = arguments[0] in ("recipes", "doctor") or any("help" in argument for argument in arguments)
    question = [] if runs_at_once else ["--help"] if arguments[0] == "demo" else ["--print_config"]
    code = exit_code([*arguments, *question])
    output = capsys.readouterr()
    lacks = arguments[0] == "doctor" and "missing" in output.err  # the files of an example
    assert code in (0, None) or lacks, output.err
    if question == ["--print_config"] and arguments[0] != "sweep":  # which prints that of a run
        given = [value for flag, value in pairwise(arguments) if flag.startswith("--") and "[" not in value]
        assert all(value in output.out for value in given), given


def test_every_line_of_a_bash_block_is_checked():
    """Commands of this library are parsed, make targets are looked up; what else is shown must exist."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for words in map(shlex.split, shell_lines(*WITH_COMMANDS)):
        while "=" in words[0]:  # variables of the environment
            words = words[1:]
        match words:
            case ["unlearn-pl", *_]:
                assert words[1:] in COMMANDS
            case ["make", target, *_]:
                assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
            case ["python", "-m", module, *_]:
                assert find_spec(module), module
            case ["python", path, *_] | [path, *_] if path.endswith((".py", ".sh")):
                assert (ROOT / path).is_file(), path
            case _:
                assert words[0] in ("mkdir",), words


def test_the_page_on_the_command_line_lists_every_command():
    listed = re.findall(r"^\| `(\w+)` \|", DOCUMENTS["docs/command_line.md"], re.MULTILINE)
    assert sorted(listed) == sorted(TRAINER_COMMANDS | COMMANDS_OF_THIS_LIBRARY)


def leaves(node: Any, key: str = "") -> Iterator[str]:
    """What a configuration prints for every scalar of a YAML block."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from leaves(value, name)
    else:
        yield node if isinstance(node, str) else f"{key}: {yaml.safe_dump(node).splitlines()[0]}"


FILES = {block.filename: block.code for block in blocks("yaml")}


@pytest.mark.parametrize("name", FILES)
def test_yaml_blocks_reach_the_configuration(name, folder, capsys):
    assert name, "a YAML block names its file in its first line"
    (command,) = [arguments for arguments in COMMANDS if name in arguments]
    exit_code([*command, "--print_config"])
    printed = capsys.readouterr().out
    assert not [leaf for leaf in leaves(yaml.safe_load(FILES[name])) if leaf not in printed]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_and_make_targets_exist(document):
    for path, anchor in links(document):
        assert (ROOT / path).exists(), path
        assert not anchor or anchor in anchors(path), f"{path}#{anchor}"
    wanted = set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", DOCUMENTS[document], re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert not [target for target in wanted if not re.search(rf"^{target}:", makefile, re.MULTILINE)]


def test_the_readme_is_short_and_leads_to_every_page():
    assert len(DOCUMENTS["README.md"].splitlines()) <= 150
    pages = {page for page in PAGES if page.startswith("docs/")}
    for start in ("README.md", "docs/README.md"):
        assert not pages - {start} - {path for path, _ in links(start)}, start


def test_version_is_the_same_everywhere():
    assert f"version: {unlearn_pl.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## {unlearn_pl.__version__} - " in DOCUMENTS["CHANGELOG.md"]
