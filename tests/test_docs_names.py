"""What the documents name exists: classes, arguments, files, layers, and the keys that are logged."""

import ast
import builtins
import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, get_args

import lightning.pytorch as pl
import pytest
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import DummyLogger

from tests import kit
from tests.documents import DOCUMENTS, PAGES, ROOT, blocks, code_spans
from unlearn_pl import callbacks
from unlearn_pl.combiners import Scalarization
from unlearn_pl.data import SyntheticAuthorsDataModule
from unlearn_pl.metrics.membership import ATTACKS, MORE_ATTACKS
from unlearn_pl.modules import MOLLM

PACKAGE = ROOT / "unlearn_pl"
OTHERS = (
    "lightning.pytorch",
    "lightning.pytorch.callbacks",
    "lightning.pytorch.loggers",
    "lightning.pytorch.strategies",
    "lightning.pytorch.utilities",
    "torch.optim",
)
"""Packages whose classes the pages name without their path."""


# What there is -------------------------------------------------------------------------------------------------------


@cache
def parsed() -> list[ast.Module]:
    return [ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))]


@cache
def functions() -> dict[str, list[set[str]]]:
    """Name of a function, method or class of the package to the parameters that each of that name has."""
    found: dict[str, list[set[str]]] = {}
    for tree in parsed():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                found.setdefault(node.name, []).append({a.arg for a in (*node.args.args, *node.args.kwonlyargs)})
            elif isinstance(node, ast.ClassDef):
                found.setdefault(node.name, [])
    return found


@cache
def words() -> set[str]:
    """Names of parameters, functions, classes and attributes, whole strings of the package, and keys of recipes."""
    known = set(functions()) | {argument for kinds in functions().values() for kind in kinds for argument in kind}
    for tree in parsed():
        for node in ast.walk(tree):
            match node:
                case ast.Attribute(attr=name) | ast.Name(id=name) | ast.Constant(value=str(name)):
                    known.add(name)
    for path in (ROOT / "experiments").rglob("*.yaml"):
        known |= set(re.findall(r"[A-Za-z_]\w*", path.read_text(encoding="utf-8")))
    for cls in (pl.Trainer, ModelCheckpoint, WandbLogger):
        known |= {*inspect.signature(cls).parameters, *dir(cls)}
    return known | {path.name for path in PACKAGE.iterdir()} | set(dir(builtins))


def external(name: str) -> Any:
    """The class called ``name`` of another package; None if there is none."""
    return next((found for other in OTHERS if (found := getattr(importlib.import_module(other), name, None))), None)


@cache
def classes() -> dict[str, type]:
    """The public classes of the package by name."""
    found: dict[str, type] = {}
    for folder in ("types", *sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))):
        package = importlib.import_module(f"unlearn_pl.{folder}")
        found |= {name: value for name, value in vars(package).items() if inspect.isclass(value)}
    return found


def parameters_of(function: Callable[..., Any]) -> set[str] | None:
    """Names of the arguments, with those of the options that are passed on; None where any name is accepted."""
    parameters = inspect.signature(function).parameters
    others = [get_args(p.annotation) for p in parameters.values() if p.kind is p.VAR_KEYWORD]
    if not all(others):
        return None
    return set(parameters).union(*(options.__annotations__ for kind in others for options in kind))


# What the pages say --------------------------------------------------------------------------------------------------


def defined_in(page: str) -> set[str]:
    """Names that occur in the Python blocks of a page, such as classes that it defines."""
    return {name for block in blocks("python", page) for name in re.findall(r"[A-Za-z_]\w*", block.code)}


def expressions(page: str) -> Iterator[tuple[str, ast.expr]]:
    """The inline code that is Python, an argument with its value included."""
    for span in code_spans(page):
        if "/" in span or span.startswith("{") or re.search(r"\w-\w|\.\w{2,5}$", span.partition("(")[0]):
            continue  # paths, files, log keys, packages
        for code in (span, f"_({span.removesuffix('=')}{'=0' * span.endswith('=')})"):
            try:
                yield span, ast.parse(code, mode="eval").body
            except SyntaxError:
                continue
            break


def unknown_names(expression: ast.expr, known: set[str]) -> Iterator[str]:
    for node in ast.walk(expression):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
                if name not in known and external(name) is None:
                    yield name


def unknown_arguments(expression: ast.expr, local: set[str]) -> Iterator[str]:
    """Arguments in calls that no function, method or class of this name has."""
    for call in (node for node in ast.walk(expression) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        # A page writes `FirstOrder(rows)` for a class with an argument of that name.
        named = {a.id for a in call.args if isinstance(a, ast.Name)} - local
        given = named | {keyword.arg for keyword in call.keywords if keyword.arg}
        cls = classes().get(name) or external(name) or getattr(pl.Trainer, name, None)
        accepted = [parameters_of(cls)] if cls is not None else functions().get(name, [None])
        if not any(kind is None or given <= kind for kind in accepted):
            yield from given


@pytest.mark.parametrize("page", PAGES)
def test_names_and_arguments_in_inline_code_exist(page):
    local = defined_in(page)
    known = words() | local | SYMBOLS | {key for benchmark in BENCHMARKS for key in documented_keys(benchmark)}
    wrong = {span: [*unknown_names(e, known), *unknown_arguments(e, local)] for span, e in expressions(page)}
    assert not {span: names for span, names in wrong.items() if names}


SYMBOLS = {"_", "K", "N", "k", "m", "t", "python", "make", "null", "print_config", "continues", "UNLEARN_PL_DATA"}
"""Letters of formulas, and what is no name of this package."""

BENCHMARKS = {
    cls.benchmark: cls
    for cls in map(vars(callbacks).get, callbacks.__all__)
    if issubclass(cls, callbacks.EvaluationCallback) and cls is not callbacks.EvaluationCallback
}


@pytest.mark.parametrize("page", PAGES)
def test_files_and_folders_in_inline_code_exist(page):
    """Relative to the repository, the package, or the page; what a run writes has no folder in its name."""
    made = ("out/", "runs/", "logs/", "checkpoints/", "path/to", "my/", "wandb/", "masks/")
    for span in code_spans(page):
        if re.fullmatch(r"[\w.]+(/[\w.]+)*(/|\.(py|md|yaml|sh|toml|txt|ipynb))", span) and not span.startswith(made):
            places = (ROOT, PACKAGE, (ROOT / page).parent)
            named_in_page = {block.filename for block in blocks("python", page) + blocks("yaml", page)}
            assert span in named_in_page or any((place / span).exists() for place in places), span


def test_the_table_of_layers_is_that_of_the_package():
    table = re.search(r"^## Layers\n(.*?)^## ", DOCUMENTS["CONTRIBUTING.md"], re.DOTALL | re.MULTILINE)[1]
    named = re.findall(r"`(\w+/|\w+\.py)`", "\n".join(re.findall(r"^\| [\d, ]+ \|([^|]*)\|", table, re.MULTILINE)))
    folders = {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    files = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert sorted(named) == sorted(folders | files)


# Logged keys ---------------------------------------------------------------------------------------------------------


def pattern(text: str) -> str:
    """A regular expression for a key with ``{placeholders}``."""
    return re.sub(r"\\\{\w+\\\}", r"[\\w.-]+", re.escape(text))


def documented_keys(benchmark: str | None = None) -> list[str]:
    """The keys of docs/logging.md: all of training, or the metrics in a benchmark's row."""
    if benchmark is None:
        return [span for span in code_spans("docs/logging.md") if span.startswith("train/")]
    (row,) = re.findall(rf"^\| `{benchmark}` \| `\w+` \|(.*)\|$", DOCUMENTS["docs/logging.md"], re.MULTILINE)
    return re.findall(r"`([^`]+)`", row)


def undocumented(keys: Iterable[str], benchmark: str | None = None) -> set[str]:
    known = re.compile("|".join(map(pattern, documented_keys(benchmark))))
    return {key for key in keys if not known.fullmatch(key)}


class Noted(DummyLogger):
    """Keeps the keys that it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: set[str] = set()

    def log_metrics(self, metrics, step=None):
        self.keys |= set(metrics)


@pytest.fixture(scope="module")
def logged_keys(tmp_path_factory) -> set[str]:
    """The keys of two runs, with a gradient per objective and with one of the sum, and of a full evaluation."""
    sizes = dict.fromkeys(("forget_authors", "retain_authors", "holdout_authors"), 1)
    splits = [*SyntheticAuthorsDataModule.default_splits, "holdout"]
    data = SyntheticAuthorsDataModule(
        kit.tokenizer(), **sizes, general_facts=2, batch_size=2, micro_batch_size=2, splits=splits, max_eval_examples=2
    )
    evaluation = callbacks.TOFUEvaluation(output=str(tmp_path_factory.mktemp("tofu") / "results.json"))
    logger = Noted()
    observers = [evaluation, callbacks.ConflictMonitor(1)]
    for combiner in (Scalarization(), None):
        trainer = kit.trainer(max_steps=1, limit_val_batches=1.0, logger=logger, callbacks=observers)
        module = MOLLM(kit.model(), combiner=combiner, max_new_tokens=2)
        trainer.fit(module, data)
    trainer.test(module, data, verbose=False)
    return logger.keys


@pytest.mark.filterwarnings("ignore")
def test_every_key_that_a_run_logs_is_documented(logged_keys):
    train = {key for key in logged_keys if key.startswith("train/")}
    assert len(train) > 15
    assert not undocumented(train)
    tofu = {re.sub(r"^(val|test)/tofu/", "", key) for key in logged_keys - train} - {"epoch"}
    assert len(tofu) > 20
    assert not undocumented(tofu, "tofu")


def scores(*names: str) -> dict[str, dict[int, float]]:
    return {name: {0: 0.2, 1: 0.6} for name in names}


MEMBERSHIP = (*ATTACKS, *MORE_ATTACKS)
MEMORIZED = ("exact_memorization", "extraction_strength")
MADE_UP = {
    "muse": {
        "verbmem_forget": scores("rouge", *MEMORIZED),
        **dict.fromkeys(("knowmem_forget", "knowmem_retain"), scores("rouge")),
        **dict.fromkeys(("privleak_forget", "privleak_holdout"), scores(*MEMBERSHIP)),
    },
    "wmdp": {"wmdp_bio": scores("correct"), "wikitext": scores("nll", "num_tokens")},
    "preference": {
        **dict.fromkeys(("forget", "retain", "normal"), scores("probability", "refusal")),
        "preference": scores("margin", "preferred"),
    },
    "requests": {"author-1": scores("probability", *MEMORIZED)},
}
"""Scores per example, as in a results.json."""


@pytest.mark.parametrize("benchmark", MADE_UP)
def test_metrics_of_other_benchmarks_are_documented(benchmark):
    metrics = BENCHMARKS[benchmark].metrics_of(MADE_UP[benchmark], MADE_UP[benchmark])
    assert len(metrics) >= len(MADE_UP[benchmark])
    assert not undocumented(metrics, benchmark)


def test_every_key_of_training_in_the_source_is_documented():
    found = set()
    for tree in parsed():
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                text = "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
                found.add(text)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    train = {key for key in found if re.fullmatch(r"train/[\w/-]*\w", key)}
    assert {"train/stationarity", "train/descent/x", "train/cosine/x-x"} <= train
    assert not undocumented(train - {"train/forget", "train/retain1", "train/retain2"})  # streams of MUSE
