"""Requests one after another on a model that has learned what they ask to be forgotten."""

import math
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch

from tests import kit
from unlearn_pl.callbacks import AuditTrail, RequestEvaluation, SavePretrained
from unlearn_pl.data import Request, SequentialRequests, SyntheticAuthorsDataModule
from unlearn_pl.models import CausalLM, LoRA, save_pretrained, tiny_llama
from unlearn_pl.modules import FineTuning, GradAscent, GradDiff, PretrainedModule
from unlearn_pl.results import read_results, read_trail, weights_fingerprint

REQUESTS = [Request(id=f"author-{i}", rows=(10 * i, 10 * i + 10), asked=f"2026-01-0{i + 1}") for i in range(3)]
IDS = [request["id"] for request in REQUESTS]
ADAMW = partial(torch.optim.AdamW, lr=2e-3)


def authors(**options) -> SyntheticAuthorsDataModule:
    sizes = {"forget_authors": 3, "retain_authors": 2, "holdout_authors": 1, "general_facts": 1, "vocab_size": 512}
    batches = {"batch_size": 10, "micro_batch_size": 10, "eval_batch_size": 64}
    return SyntheticAuthorsDataModule(**sizes, **batches, **options)


@pytest.fixture(scope="module")
def data() -> SequentialRequests:
    return SequentialRequests(authors(splits=["retain"]), REQUESTS)


@pytest.fixture(scope="module")
def target(tmp_path_factory, data) -> str:
    """A model that knows everything."""
    module = FineTuning(tiny_llama(len(data.tokenizer)), optimizer=partial(torch.optim.AdamW, lr=5e-3))
    kit.trainer(max_epochs=25).fit(module, authors(streams=["train"], splits=[]))
    folder = str(tmp_path_factory.mktemp("target") / "hf")
    save_pretrained(module.model, folder)
    return folder


class Witness(RequestEvaluation):
    """Also keeps the probability of the retain answers."""

    def make_metrics(self, loader):
        return super().make_metrics("request.retain" if loader == "retain" else loader)

    def summarize(self, collected):
        metrics, per_example = super().summarize(collected)
        metrics["highest_probability"] = max(v for k, v in metrics.items() if k.startswith("author") and "prob" in k)
        return metrics, per_example


def fit_and_test(trail: AuditTrail, data: SequentialRequests, target: str, folder: Path, method=None) -> None:
    """The loop of the documentation."""
    for request in trail.open_requests(data):
        model = folder / request
        callbacks = [trail, SavePretrained(str(model)), Witness(output=str(folder / f"{request}.json"))]
        trainer = kit.trainer(max_epochs=12, callbacks=callbacks)
        if request not in trail.forgotten():
            trainer.fit((method or unlearn)(trail.last_model() or target), data.at(request))
        trainer.test(PretrainedModule(str(model), max_new_tokens=1), data.at(request), verbose=False)


def unlearn(model: str) -> GradDiff:
    return GradDiff(model, forget_weight=0.3, optimizer=ADAMW)


@pytest.fixture(scope="module")
def done(tmp_path_factory, data, target) -> Path:
    """All requests carried out, in a run that was interrupted when two were done."""
    folder = tmp_path_factory.mktemp("requests")
    trail = AuditTrail(str(folder / "trail.jsonl"))

    def interrupted(model: str):
        if trail.open_requests(data) == ["author-2"]:
            raise InterruptedError
        return unlearn(model)

    with pytest.raises(InterruptedError):
        fit_and_test(trail, data, target, folder, interrupted)
    assert trail.open_requests(data) == ["author-2"]
    fit_and_test(AuditTrail(trail.path), data, target, folder)
    assert trail.open_requests(data) == []
    return folder


def probabilities(done: Path, request: str) -> dict[str, float]:
    metrics = read_results(done / f"{request}.json").metrics
    return {name.removesuffix("_probability"): value for name, value in metrics.items() if name.endswith("probability")}


def test_every_request_is_forgotten_and_stays_forgotten(done, data, target):
    evaluation = RequestEvaluation(output=str(done / "before.json"))
    kit.trainer(callbacks=[evaluation]).test(PretrainedModule(target, max_new_tokens=1), data, verbose=False)
    before = {name: evaluation.results.metrics[f"{name}_probability"] for name in IDS}
    assert min(before.values()) > 0.5

    for i, request in enumerate(IDS):
        found = probabilities(done, request)
        assert set(found) == {*IDS[: i + 1], "retain", "highest"}
        assert all(found[name] < before[name] / 4 for name in IDS[: i + 1])
        assert found["highest"] == max(found[name] for name in IDS[: i + 1])
        assert found["retain"] > 0.5


def test_probability_is_that_of_the_rows_of_the_request(done, data):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(done / "author-1").eval()
    for request, rows in (("author-0", slice(0, 10)), ("author-1", slice(10, 20))):
        found = []
        for row in data.data.facts.forget[rows]:
            prompt = data.tokenizer(f"Question: {row['question']}\nAnswer:")["input_ids"]
            whole = data.tokenizer(f"Question: {row['question']}\nAnswer: {row['answer']}<|eos|>")["input_ids"]
            with torch.no_grad():
                logps = model(torch.tensor([whole])).logits[0, :-1].double().log_softmax(-1)
            scored = logps[torch.arange(len(whole) - 1), torch.tensor(whole[1:])][len(prompt) - 1 :]
            found.append(scored.mean().exp().item())
        assert math.isclose(probabilities(done, "author-1")[request], sum(found) / 10, rel_tol=1e-4)


def test_the_trail_says_everything(done, data, target):
    entries = read_trail(done / "trail.jsonl")

    assert [(e["event"], e["request"]) for e in entries] == [(e, r) for r in IDS for e in ("forgotten", "evaluated")]
    before = weights_fingerprint(CausalLM(target).build())
    for request, forgotten, evaluated in zip(REQUESTS, entries[::2], entries[1::2], strict=True):
        folder = str(done / request["id"])
        after = weights_fingerprint(CausalLM(folder).build())
        assert forgotten["asked"] == request["asked"]
        assert forgotten["begun"] <= forgotten["finished"] <= evaluated["finished"]
        assert (forgotten["rows"], forgotten["rows_sha256"]) == data.at(request["id"]).requested_rows()
        assert forgotten["method"] == "unlearn_pl.modules.GradDiff"
        assert len(forgotten["config_hash"]) == 64
        assert (forgotten["weights_before"], forgotten["weights_after"]) == (before, after)
        assert forgotten["model"] == folder
        results = read_results(done / f"{request['id']}.json")
        assert evaluated["weights"] == after == results.weights_fingerprint
        assert evaluated["metrics"] == {f"requests/{name}": value for name, value in results.metrics.items()}
        before = after
    written = (done / "trail.jsonl").read_text()
    assert not any(row["answer"] in written for row in data.data.facts.forget)


def test_an_interruption_changes_nothing(done, data, target, tmp_path):
    fit_and_test(AuditTrail(str(tmp_path / "trail.jsonl")), data, target, tmp_path)
    fingerprints = [
        [entry["weights_after"] for entry in AuditTrail(str(folder / "trail.jsonl")).forgotten().values()]
        for folder in (done, tmp_path)
    ]
    assert fingerprints[0] == fingerprints[1]


# What is refused -----------------------------------------------------------------------------------------------------


def fit(trail: Path, module, data, *callbacks, **options) -> None:
    kit.trainer(max_epochs=1, callbacks=[*callbacks, AuditTrail(str(trail))], **options).fit(module, data)


def test_a_request_that_was_forgotten_is_refused(done, data):
    with pytest.raises(ValueError, match=r"'author-1' was forgotten on 20.*, according to"):
        fit(done / "trail.jsonl", unlearn(str(done / "author-2")), data.at("author-1"))


def test_a_request_before_its_turn_is_refused(target, data, tmp_path):
    with pytest.raises(ValueError, match=r"'author-2' comes after \['author-0', 'author-1'\]"):
        fit(tmp_path / "trail.jsonl", unlearn(target), data.at("author-2"))


def test_another_model_than_the_last_one_is_refused(done, target, data, tmp_path):
    trail = tmp_path / "trail.jsonl"
    trail.write_bytes(b"".join((done / "trail.jsonl").read_bytes().splitlines(keepends=True)[:4]))
    with pytest.raises(ValueError, match=r"The model is not the one after the request 'author-1'.*Continue from"):
        fit(trail, unlearn(target), data.at("author-2"))
    assert AuditTrail(str(trail)).open_requests(data) == ["author-2"]


def test_evaluations_of_another_model_are_refused(done, target, data, tmp_path):
    trail = AuditTrail(str(tmp_path / "trail.jsonl"))
    fit(Path(trail.path), unlearn(target), data.at("author-0"), SavePretrained(str(tmp_path / "hf")))
    assert trail.open_requests(data)[0] == "author-0"

    def test(module, request, *callbacks):
        kit.trainer(callbacks=[trail, *callbacks]).test(module, data.at(request), verbose=False)

    evaluation = RequestEvaluation(output=str(tmp_path / "results.json"))
    with pytest.raises(ValueError, match="This is not the model after the request 'author-0'"):
        test(PretrainedModule(target), "author-0", evaluation)
    with pytest.raises(ValueError, match="'author-1' was not forgotten yet"):
        test(PretrainedModule(target), "author-1", evaluation)
    with pytest.raises(ValueError, match="no evaluation to record; add a callback such as RequestEvaluation"):
        test(PretrainedModule(str(tmp_path / "hf"), max_new_tokens=1), "author-0")
    test(PretrainedModule(str(tmp_path / "hf"), max_new_tokens=1), "author-0", evaluation)
    assert trail.open_requests(data)[0] == "author-1"


def test_other_data_is_refused(target, tmp_path):
    with pytest.raises(ValueError, match="AuditTrail needs the data module SequentialRequests; the Trainer has Synth"):
        fit(tmp_path / "trail.jsonl", unlearn(target), authors())


def test_a_short_trial_writes_nothing(target, data, tmp_path):
    fit(tmp_path / "trail.jsonl", unlearn(target), data.at("author-0"), fast_dev_run=True)
    assert list(tmp_path.iterdir()) == []


# Other ways to train -------------------------------------------------------------------------------------------------


class Crash(pl.Callback):
    """Saves a checkpoint after the first epoch, and fails in the second one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        if trainer.current_epoch == 1:
            trainer.save_checkpoint(self.path)
            raise InterruptedError


def test_a_request_that_is_resumed_from_a_checkpoint_began_on_the_model_before(target, data, tmp_path):
    trail, checkpoint = tmp_path / "trail.jsonl", tmp_path / "half.ckpt"
    with pytest.raises(InterruptedError):
        kit.trainer(max_epochs=3, callbacks=[Crash(checkpoint), AuditTrail(str(trail))]).fit(
            unlearn(target), data.at("author-0")
        )
    assert not trail.exists()
    again = AuditTrail(str(trail))
    kit.trainer(max_epochs=3, callbacks=[again]).fit(unlearn(target), data.at("author-0"), ckpt_path=checkpoint)
    assert again.forgotten()["author-0"]["weights_before"] == weights_fingerprint(CausalLM(target).build())


def test_adapters_are_merged_from_one_request_to_the_next(target, data, tmp_path):
    pytest.importorskip("peft")

    def with_adapters(model: str) -> GradAscent:
        return GradAscent(CausalLM(model, lora=LoRA(r=2)), optimizer=ADAMW)

    trail = AuditTrail(str(tmp_path / "trail.jsonl"))
    first_two = SequentialRequests(data.data, REQUESTS[:2])
    fit_and_test(trail, first_two, target, tmp_path, with_adapters)
    first, second = trail.forgotten().values()
    assert first["weights_before"] == weights_fingerprint(CausalLM(target).build())
    assert first["weights_after"] == second["weights_before"] != first["weights_before"]
    assert second["weights_after"] == weights_fingerprint(CausalLM(str(tmp_path / "author-1")).build())


@pytest.mark.parametrize("exports", [False, True])
def test_adapters_that_nothing_merges_are_refused_before_training(target, data, tmp_path, exports):
    pytest.importorskip("peft")
    callbacks = [SavePretrained(str(tmp_path / "hf"), merge_lora=False)] if exports else []
    trainer = kit.trainer(max_epochs=1, callbacks=[AuditTrail(str(tmp_path / "trail.jsonl")), *callbacks])
    module = GradAscent(CausalLM(target, lora=LoRA(r=2)), optimizer=ADAMW)
    with pytest.raises(ValueError, match=r"needs the callback SavePretrained, .*merge_lora=True"):
        trainer.fit(module, data.at("author-0"))
    assert trainer.global_step == 0
