"""Evaluation, export, adapters and monitoring on 2 ranks give what 1 process gives."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests import kit
from tests.callbacks import evaluated
from tests.distributed import evaluation_cases as cases
from unlearn_pl.results import read_results

pytestmark = pytest.mark.distributed


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    kit.model().save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def trained_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("trained")
    evaluated.trained_model(torch.float32).save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def alone(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("alone")
    return {
        "evaluated": cases.evaluate("auto", 1, model, str(path), 1),
        "trained": cases.train_and_evaluate("auto", 1, str(path)),
        "lora": cases.train_lora("auto", 1, model, str(path / "lora")),
        "lora_folder": path / "lora",
    }


def assert_close(mine: dict[str, float], theirs: dict[str, float], rel: float, abs: float = 1e-9) -> None:
    assert mine == pytest.approx(theirs, rel=rel, abs=abs, nan_ok=True)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_evaluation_is_exact(pool, alone, model, tmp_path, strategy):
    expected = alone["evaluated"]
    for rank in pool.run(cases.evaluate, strategy, 2, model, str(tmp_path), 1):
        assert rank == expected
    written = read_results(tmp_path / "results.json")
    assert written.weights_fingerprint == expected["fingerprint"]
    assert json.loads((tmp_path / "results.json").read_text())["metrics"] == expected["metrics"]
    assert {len(table["rouge"]) for table in written.per_example.values()} == {7, 5}
    for rank in pool.run(cases.evaluate, strategy, 2, model, str(tmp_path), 3):  # other batches, other padding
        assert_close(rank["metrics"], expected["metrics"], rel=1e-5)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
@pytest.mark.parametrize("entry", ["validate", "test"])
def test_every_benchmark_is_exact(pool, trained_model, tmp_path, strategy, entry):
    expected = cases.evaluate_every_benchmark("auto", 1, trained_model, str(tmp_path), entry)
    assert len(expected["logged"]) == (37 if entry == "validate" else 62)
    first, second = pool.run(cases.evaluate_every_benchmark, strategy, 2, trained_model, str(tmp_path), entry)
    assert first["logged"] == second["logged"]  # the same values per example give the same metrics, to the last digit
    for rank in (first, second):
        # Weights that lie elsewhere in memory, as those of another process do, may give products of another rounding.
        assert_close(rank["logged"], expected["logged"], rel=1e-7)
        for mine, theirs in zip(rank["tables"], expected["tables"], strict=True):
            assert_close(evaluated.flat(mine or {}), evaluated.flat(theirs or {}), rel=1e-5)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_a_run_validates_monitors_exports_and_tests(pool, alone, tmp_path, strategy):
    expected = alone["trained"]
    ranks = pool.run(cases.train_and_evaluate, strategy, 2, str(tmp_path))
    for rank in ranks:
        assert len(rank["validations"]) == 2
        for mine, theirs in zip(rank["validations"], expected["validations"], strict=True):
            assert_close(mine, theirs, rel=1e-4)
        for mine, theirs in zip(rank["descents"][4:], expected["descents"][4:], strict=True):
            assert_close(mine, theirs, rel=2e-2, abs=1e-2)
        assert_close(rank["metrics"], expected["metrics"], rel=1e-3)
    assert ranks[0]["metrics"] == ranks[1]["metrics"]
    assert ranks[0]["per_example"] == ranks[1]["per_example"]
    assert ranks[0]["fingerprint"] == ranks[1]["fingerprint"]
    # the exported folder holds the weights of the run, which are those of one process
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    assert "This folder reloads to the logits of the trained model" in (tmp_path / "hf" / "README.md").read_text()
    for name, value in exported.state_dict().items():
        assert torch.equal(value, ranks[0]["state"][name])
        torch.testing.assert_close(value, expected["state"][name], rtol=1e-3, atol=1e-5)
    folder_evaluated = cases.evaluate("auto", 1, str(tmp_path / "hf"), str(tmp_path), 1)
    assert folder_evaluated["fingerprint"] == ranks[0]["fingerprint"]
    assert folder_evaluated["per_example"] == ranks[0]["per_example"]


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_adapters_are_trained_and_merged(pool, alone, model, tmp_path, strategy):
    pytest.importorskip("peft")
    states = pool.run(cases.train_lora, strategy, 2, model, str(tmp_path))
    for name, value in alone["lora"].items():
        torch.testing.assert_close(states[0][name], value, rtol=1e-3, atol=1e-5)
        if "lora_" not in name:
            assert torch.equal(states[0][name], value)
    merged, single = (AutoModelForCausalLM.from_pretrained(f / "hf") for f in (tmp_path, alone["lora_folder"]))
    ids = torch.arange(3, 30)[None]
    torch.testing.assert_close(merged(ids).logits, single(ids).logits, rtol=1e-3, atol=1e-4)
