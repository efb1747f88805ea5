"""What the documents show runs: Python blocks are executed in order, YAML blocks and commands are parsed."""

import itertools
import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

import unlearn_pl
from unlearn_pl.cli import main

ROOT = Path(__file__).parents[1]
DOCUMENTS = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [*ROOT.glob("*.md"), *ROOT.glob("benchmarks/*.md"), *ROOT.glob("experiments/*.md")]
}
README = DOCUMENTS["README.md"]
NOT_RUN = "<!-- not run"


@dataclass(frozen=True)
class Block:
    language: str
    code: str
    run: bool

    @property
    def filename(self) -> str | None:
        """Named by the first line, `# my_losses.py`, when the block is a file."""
        named = re.match(r"# ([\w/]+\.(?:py|yaml))\n", self.code)
        return named[1] if named else None


def blocks(language: str, document: str = "README.md") -> list[Block]:
    text = DOCUMENTS[document]
    found = re.finditer(r"(<!--[^>]*-->\n)?^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    every = [Block(m[2], m[3], not (m[1] or "").startswith(NOT_RUN)) for m in found]
    return [block for block in every if block.language == language]


def commands() -> list[list[str]]:
    lines = [line for block in blocks("bash") for line in block.code.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("unlearn-pl ")]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder: the files that the README shows, made-up tickets, and the recipes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for block in blocks("python") + blocks("yaml"):
        if block.filename:
            Path(block.filename).write_text(block.code, encoding="utf-8")
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    (tmp_path / "tickets").mkdir()
    for name, count in (("forget", 8), ("retain", 12), ("check", 4)):
        rows = [{"question": f"Who opened {name} {i}?", "answer": "Oda" + " Berg" * (i % 3)} for i in range(count)]
        (tmp_path / "tickets" / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


@pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers and logging intervals is not the README's matter
def test_python_blocks_run_one_after_the_other(folder, capsys):
    namespace: dict[str, object] = {}
    for block in blocks("python"):
        compiled = compile(block.code, "README.md", "exec")
        if block.run and not block.filename:
            shortened = re.sub(r"max_epochs=\d+", "max_epochs=1, limit_train_batches=2", block.code)
            exec(compile(shortened, "README.md", "exec"), namespace)
        assert compiled.co_code
    printed = dict(re.findall(r"^(forget|retain) ([\d.e-]+)$", capsys.readouterr().out, re.MULTILINE))
    assert all(0 < float(printed[name]) < 1 for name in ("forget", "retain"))
    assert type(namespace["tickets"]).__name__ == "SupportTickets"


def test_examples_are_as_short_as_the_readme_says():
    example, objective, data = (blocks("python")[i].code for i in (0, 2, 4))
    assert len([line for line in example.split("\n\n", 2)[2].splitlines() if line and "import" not in line]) <= 12
    assert "class EntropyLoss" in objective
    assert len([line for line in objective.splitlines()[1:] if line.strip()]) <= 10
    assert "class SupportTickets" in data
    assert len([line for line in data.splitlines()[1:] if line.strip()]) <= 15


def exit_code(arguments: list[str]) -> int | str | None:
    try:
        main(arguments)
    except SystemExit as exit_:
        return exit_.code
    return 0


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_commands_are_accepted(folder, arguments, capsys):
    asks_for_help = any("help" in argument for argument in arguments)
    question = [] if asks_for_help else ["--help"] if arguments[0] == "demo" else ["--print_config"]
    code = exit_code([*arguments, *question])
    output = capsys.readouterr()
    assert code in (0, None), output.err
    if question == ["--print_config"]:
        given = [value for flag, value in itertools.pairwise(arguments) if flag.startswith("--")]
        assert all(value in output.out for value in given), given


def test_yaml_blocks_reach_the_configuration(folder, capsys):
    for name, expected in (("entropy", "my_losses.EntropyLoss"), ("lora", "AdapterReference")):
        exit_code(["fit", "-c", "experiments/tofu/mollm.yaml", "-c", f"{name}.yaml", "--print_config"])
        printed = capsys.readouterr().out
        assert expected in printed
        # an entropy loss is negative, and would count as satisfied from the first step on
        assert ("satisfied: null" in printed) == (name == "entropy")


def test_the_walkthroughs_of_contributing_run(tmp_path, monkeypatch):
    """The objective trains, the combiner has its weights, the metrics have intervals: each ends in an assertion."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    namespace: dict[str, object] = {}
    for block in blocks("python", "CONTRIBUTING.md"):
        if block.filename:
            Path(block.filename).write_text(block.code, encoding="utf-8")
        else:
            exec(compile(block.code, "CONTRIBUTING.md", "exec"), namespace)
    assert {"SquaredProbabilityLoss", "EqualShares", "weights", "module", "comparison"} <= namespace.keys()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_and_make_targets_exist(document):
    text = DOCUMENTS[document]
    targets = set(re.findall(r"\]\((?!https?://)([^)#]+)\)", text))
    assert not [target for target in targets if not ((ROOT / document).parent / target).exists()]
    wanted = set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", text, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert not [target for target in wanted if not re.search(rf"^{target}:", makefile, re.MULTILINE)]


def test_version_is_the_same_everywhere():
    assert f"version: {unlearn_pl.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## {unlearn_pl.__version__} - " in DOCUMENTS["CHANGELOG.md"]


def test_logged_keys_and_refusals_are_spelled_as_in_the_code():
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "unlearn_pl").rglob("*.py"))
    for key in ("train/loss/", "train/weight/", "train/grad_norm/", "train/cosine/", "train/stationarity"):
        assert key in README
        assert f'"{key}' in source, key
    for name in set(re.findall(r"`([A-Z]\w+(?:Loss|Module|Reference|Evaluation|Monitor|Norm|Basis|Mask))`", README)):
        assert re.search(rf"^class {name}\b", source, re.MULTILINE), name
