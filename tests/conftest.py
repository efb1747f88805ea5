"""Fixtures for every folder: a tokenizer trained on the spot, and models with random weights."""

import os
from collections.abc import Callable, Iterator

import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from tests import random_order
from tests.optional import missing_package
from unlearn_pl.models.language.tiny import tiny_llama, train_tokenizer


def pytest_addoption(parser: pytest.Parser) -> None:
    random_order.add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    """peft still asks transformers by a name that transformers has deprecated."""
    config.addinivalue_line("filterwarnings", "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """Divide the tests by files."""
    from tests.parallel import FileByFile

    return FileByFile(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    """Skip what needs a package of an extra that is not installed."""
    report = yield
    if report.failed and call.excinfo is not None and (package := missing_package(call.excinfo.value)):
        report.outcome = "skipped"
        report.longrepr = (*item.location[:1], item.location[1] or 0, f"Skipped: the package {package} is missing")
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Workers of pytest-xdist begin with what takes longest, unless the order is to be random."""
    if (seed := config.getoption(random_order.OPTION)) is not None:
        random_order.shuffle(items, seed)
    elif hasattr(config, "workerinput"):
        from tests.parallel import slowest_first

        slowest_first(items)


TEXTS = [
    "Who keeps the lighthouse of Tarn? Maud Ferrier keeps it, as her aunt did before her.",
    "Where does Maud Ferrier come from? She comes from the island of Osk.",
    "What did Ruben Aalto paint? He painted boats, mills and, late in his life, the sea at night.",
]


RANKS = {
    name: os.environ.get(name)
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
}


@pytest.fixture(autouse=True)
def ranks_as_before() -> Iterator[None]:
    """Take a strategy's ranks out of the environment, where the next test's libraries would find a cluster."""
    yield
    for name, value in RANKS.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="session", autouse=True)
def cache_of_documents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tokenized documents of tests go where pytest cleans up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARN_PL_CACHE", str(tmp_path_factory.mktemp("documents")))
        yield


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer; tests that change it take their own from ``train_tokenizer``."""
    return train_tokenizer(TEXTS, vocab_size=320)


@pytest.fixture(scope="session")
def tiny_model(tokenizer: PreTrainedTokenizerFast) -> Callable[..., LlamaForCausalLM]:
    """Makes a new Llama for ``tokenizer``; takes the options of ``tiny_llama``."""

    def make(**options) -> LlamaForCausalLM:
        return tiny_llama(len(tokenizer), **({"hidden_size": 32, "num_layers": 2, "num_heads": 2} | options))

    return make


@pytest.fixture(scope="session")
def pool():
    """Two gloo ranks for all distributed cases of the session."""
    from tests.distributed.pool import RankPool

    ranks = RankPool()
    yield ranks
    ranks.close()
