"""A data module that was not told which streams to load gives the module those that it reads."""

import logging

import pytest

from tests import kit
from unlearn_pl.combiners import MinNorm
from unlearn_pl.data import SyntheticAuthorsDataModule
from unlearn_pl.modules import MOLLM, FineTuning, GradDiff, UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, UnlearningCrossEntropyLoss


def attach(module, data):
    kit.trainer(max_epochs=1, max_steps=1).fit(module, data)
    return data.streams


def small(**options):
    return SyntheticAuthorsDataModule(
        kit.tokenizer(), forget_authors=1, retain_authors=1, holdout_authors=1, general_facts=2, micro_batch_size=2,
        batch_size=2, splits=[], **options,
    )  # fmt: skip


def test_streams_are_those_of_the_objectives():
    assert small().streams == ["forget", "retain"]
    assert attach(GradDiff(kit.model()), small()) == ["forget", "retain"]
    assert attach(FineTuning(kit.model()), small()) == ["train"]
    refusals = {"forget": CausalLMLoss("forget.alternate"), "retain": UnlearningCrossEntropyLoss("retain")}
    assert attach(UnlearningModule(kit.model(), refusals, MinNorm()), small()) == ["forget.alternate", "retain"]


def test_one_data_module_serves_modules_that_read_other_streams():
    data = small()
    assert attach(FineTuning(kit.model()), data) == ["train"]
    assert attach(GradDiff(kit.model()), data) == ["forget", "retain"]


def test_mollm_reads_the_normal_stream_where_there_is_one():
    data = kit.Questions(batch_size=4, micro_batch_size=4)
    assert attach(MOLLM(kit.model()), data) == ["forget", "normal", "retain"]
    assert attach(MOLLM(kit.model(), normal_stream="retain"), data) == ["forget", "retain"]


def test_a_stream_that_the_data_lacks_is_named_with_its_objective():
    module = UnlearningModule(kit.model(), {"odd": CausalLMLoss("elsewhere")}, MinNorm())
    with pytest.raises(ValueError, match=r"'odd' reads stream 'elsewhere', but the data has .*'forget', 'normal'"):
        attach(module, kit.Questions())


def test_streams_that_were_asked_for_are_kept():
    data = small(streams=["forget"])
    with pytest.raises(ValueError, match=r"'retain' reads stream 'retain', but the data has \['forget'\]"):
        attach(GradDiff(kit.model()), data)


def test_a_batch_of_more_than_a_stream_holds_is_announced(caplog):
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    logger.addHandler(caplog.handler)
    try:
        kit.trainer(max_epochs=1, max_steps=1).fit(GradDiff(kit.model()), small())
        assert "more than once" not in caplog.text
        data = kit.Questions(batch_size=64, micro_batch_size=64)
        kit.trainer(max_epochs=1, max_steps=1).fit(GradDiff(kit.model()), data)
    finally:
        logger.removeHandler(caplog.handler)
    lengths = " and ".join(f"{length} of {name!r}" for name, length in data.order["examples"].items())
    assert f"batch_size=64 is more than the {lengths}: a step sees them more than once." in caplog.text
