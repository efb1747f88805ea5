"""Audits keep what is done, repeat nothing, and leave models as they are."""

import hashlib
import json
import math
from pathlib import Path

import pytest

from tests.robustness.subjects import authors, make_folder, subject
from unlearn_pl.commands.errors import one_line
from unlearn_pl.data import Request, SequentialRequests, TextDataModule
from unlearn_pl.models import LoRA
from unlearn_pl.results import config_hash, read_json, weights_fingerprint, write_json
from unlearn_pl.robustness import (
    Attack,
    Audit,
    FewShotPrompts,
    Findings,
    IntegerRounding,
    LogitLens,
    NormalFloat4,
    Outcome,
    ParaphrasedPrompts,
    PrefixAttack,
    Quantization,
    Relearning,
    SampledAnswers,
    read_outcomes,
    write_outcomes,
)


class Noted(Attack):
    """Notes every run; power fails in the run of one model when told so."""

    runs: list[str] = []  # noqa: RUF012
    fails_on: str | None = None

    def __init__(self, number: int = 0) -> None:
        self.number = number

    @property
    def name(self) -> str:
        return f"Noted ({self.number})"

    def run(self, subject):
        if subject.model == self.fails_on:
            raise KeyboardInterrupt
        type(self).runs.append(f"{Path(subject.model).name} {self.number}")
        return Findings({"forget_probability": 0.5 + self.number, "other": math.inf})


@pytest.fixture
def noted(monkeypatch):
    monkeypatch.setattr(Noted, "runs", [])
    monkeypatch.setattr(Noted, "fails_on", None)
    return Noted


def contents(folder: str | Path) -> dict[str, str]:
    """Every file of a folder, with hash and time of its last change."""
    return {
        str(path.relative_to(folder)): f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_mtime_ns}"
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def test_no_attack_changes_the_audited_folder(tmp_path):
    folder = make_folder(tmp_path / "audited")
    before = contents(folder)
    given = subject(folder, data=authors(max_eval_examples=2), max_new_tokens=2)
    quick = {"steps": 2, "evaluate_every": 1, "learning_rate": 1e-2}
    attacks = [
        Relearning(**quick),
        Relearning(**quick, lora=LoRA(2)),
        Quantization(IntegerRounding(4)),
        Quantization(NormalFloat4()),
        ParaphrasedPrompts(),
        FewShotPrompts(1),
        PrefixAttack(),
        SampledAnswers(2),
    ]
    outcomes = list(Audit(given, attacks, tmp_path / "out").run())
    assert len(outcomes) == 1 + len(attacks)
    assert contents(folder) == before
    assert {path.name for path in tmp_path.iterdir()} == {"audited", "out"}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["attacks.json"]


def test_outcomes_say_what_was_attacked_and_how(tmp_path, folder):
    retain, original = make_folder(tmp_path / "retain", seed=1), make_folder(tmp_path / "original", seed=2)
    given = subject(folder, seed=4, data=authors(max_eval_examples=3))
    attack = Relearning(steps=2, evaluate_every=1, answers=False)
    outcomes = list(Audit(given, [attack], tmp_path / "out", retain, original).run())
    kinds = [(outcome.attack, outcome.role) for outcome in outcomes]
    name = "Relearning (random 20%)"
    assert kinds == [("Unattacked", r) for r in ("audited", "retain", "original")] + [
        (name, "audited"),
        (name, "retain"),
    ]
    for outcome, path in zip(outcomes, (folder, retain, original, folder, retain), strict=True):
        assert outcome.model == path
        assert outcome.seed == outcome.config["seed"] == 4
        assert outcome.weights_fingerprint == weights_fingerprint(subject(path).build())
        assert len(outcome.config_hash) == 64
    assert len({outcome.config_hash for outcome in outcomes}) == 2
    full = outcomes[2].after["forget_probability"]
    start, level = outcomes[3].curve["forget_probability"][0], outcomes[3].after["forget_probability_half"]
    assert (level == 0) == (start >= (start + full) / 2)
    assert read_outcomes(tmp_path / "out" / "attacks.json") == outcomes


def test_prompt_attacks_are_compared_with_the_model_as_it_stands(tmp_path, folder):
    outcomes = list(Audit(subject(folder), [PrefixAttack()], tmp_path).run())
    assert outcomes[1].before == {name: outcomes[0].after[name] for name in outcomes[1].after}


def test_an_interrupted_audit_goes_on_where_it_stopped(tmp_path, folder, noted):
    retain = make_folder(tmp_path / "retain", seed=1)
    attacks = [noted(0), noted(1)]

    def audit():
        return list(Audit(subject(folder), attacks, tmp_path / "out", retain).run())

    noted.fails_on = retain
    with pytest.raises(KeyboardInterrupt):
        audit()
    assert noted.runs == ["audited 0"]
    kept = read_outcomes(tmp_path / "out" / "attacks.json")
    assert [outcome.attack for outcome in kept] == ["Unattacked", "Unattacked", "Noted (0)"]
    noted.fails_on = None
    finished = audit()
    assert noted.runs == ["audited 0", "retain 0", "audited 1", "retain 1"]
    assert finished[:3] == kept
    assert audit() == finished
    assert len(noted.runs) == 4


def test_outcomes_of_an_earlier_version_are_not_repeated(tmp_path, folder, noted):
    def audit():
        return list(Audit(subject(folder), [PrefixAttack(), noted()], tmp_path / "out").run())

    file, paths = tmp_path / "out" / "attacks.json", {"PrefixAttack": "prefix_attack", "Unattacked": "unattacked"}
    audit()
    text = file.read_text()
    for name, module in paths.items():
        text = text.replace(f"unlearn_pl.robustness.{name}", f"unlearn_pl.robustness.{module}.{name}")
    assert text != file.read_text()
    before = json.loads(text)
    del before["seal"]  # earlier versions wrote none
    for outcome in before["outcomes"]:
        outcome["config_hash"] = config_hash(outcome["config"])
    file.write_text(json.dumps(before))
    kept = read_outcomes(file)
    assert audit() == kept
    assert noted.runs == ["audited 0"]


def test_another_seed_data_or_weights_are_attacked_anew(tmp_path, folder, noted):
    other = make_folder(tmp_path / "other", seed=7)
    for given in (
        subject(folder),
        subject(folder, seed=1),
        subject(folder, data=authors(facts_seed=1)),
        subject(folder, max_new_tokens=3),
        subject(other),
        subject(folder),
    ):
        list(Audit(given, [noted()], tmp_path / "out").run())
    assert noted.runs == ["audited 0"] * 4 + ["other 0"]


def test_what_cannot_be_done_is_refused_before_a_model_is_loaded(tmp_path, folder, noted):
    for given, attacks, retain, message in (
        (subject(str(tmp_path / "nowhere")), [noted()], None, "nowhere"),
        (subject(folder), [noted()], str(tmp_path / "absent"), "absent"),
        (subject(folder), [noted(), PrefixAttack(tokens=999)], None, "leaves no rest of any answer"),
        (subject(folder), [noted()], str(tmp_path), "There is no model in"),
    ):
        with pytest.raises(ValueError, match=message):
            list(Audit(given, attacks, tmp_path / "out", retain).run())
    before = contents(folder)
    for output in (folder, f"{folder}/attacks"):
        with pytest.raises(ValueError, match="is in the model's folder"):
            list(Audit(subject(folder), [noted()], output).run())
    assert contents(folder) == before
    assert not noted.runs
    assert not (tmp_path / "out").exists()


class Raising(Attack):
    """Raises an error of its own, as a judge of a user might."""

    def run(self, subject):
        raise ValueError("the judge is out of tokens")


def test_an_attack_that_raises_is_named_and_what_was_done_is_kept(tmp_path, folder, noted):
    audit = Audit(subject(folder), [noted(), Raising()], tmp_path)
    with pytest.raises(ValueError, match="the judge is out of tokens") as raised:
        list(audit.run())
    assert f"Raised by Raising, on the audited model {folder!r}." in one_line(raised.value)
    assert [outcome.attack for outcome in read_outcomes(tmp_path / "attacks.json")] == ["Unattacked", "Noted (0)"]


def test_models_of_different_depth_are_told_before_one_is_loaded(tmp_path, folder, noted):
    deeper = make_folder(tmp_path / "deeper", num_layers=2)
    with pytest.raises(ValueError, match=r"has 1 layers\. Accepted are 1 to 1"):
        list(Audit(subject(deeper), [noted(), LogitLens([2])], tmp_path / "out", retain_model=folder).run())
    assert not noted.runs
    assert not (tmp_path / "out" / "attacks.json").exists()


def test_time_that_is_short_leaves_the_expensive_attacks_out(tmp_path, folder, noted, monkeypatch):
    monkeypatch.setattr(Noted, "cost", lambda self, given: 1e6 if self.number else 1e-6)
    audit = Audit(subject(folder), [noted(1), noted(0)], tmp_path, seconds=600)
    assert [outcome.attack for outcome in audit.run()] == ["Unattacked", "Noted (0)"]
    assert [one.attack for one in audit.not_run] == ["Noted (1)"]
    assert audit.not_run[0].estimate > 600
    audit.seconds = None
    assert [outcome.attack for outcome in audit.run()] == ["Unattacked", "Noted (1)", "Noted (0)"]  # as given
    assert audit.not_run == []
    audit.seconds = 600
    assert len(list(audit.run())) == 3  # what is saved takes no time
    assert noted.runs == ["audited 0", "audited 1"]


def test_outcomes_keep_the_leakage_of_rows_and_those_without_are_read(tmp_path, folder):
    outcomes = list(Audit(subject(folder, data=authors(max_eval_examples=3)), [PrefixAttack()], tmp_path).run())
    for outcome in outcomes:
        for name in ("forget_probability", "forget_rouge"):
            assert sum(outcome.rows[name]) / len(outcome.rows[name]) == pytest.approx(outcome.after[name])
    content = read_json(tmp_path / "attacks.json")
    for item in content["outcomes"]:
        del item["rows"]
    write_json(tmp_path / "old.json", content)
    assert [outcome.rows for outcome in read_outcomes(tmp_path / "old.json")] == [{}, {}]


def test_files_keep_infinity_and_refuse_what_they_are_not(tmp_path):
    numbers = {"step": [0.0, 1.0], "forget_probability": [0.1, math.inf]}
    outcome = Outcome("A", "audited", "m", {}, {"half": math.inf}, numbers, 0, {}, "c", "w", 1.0)
    write_outcomes(tmp_path / "a.json", [outcome])
    assert read_outcomes(tmp_path / "a.json") == [outcome]
    content = read_json(tmp_path / "a.json")
    del content["outcomes"][0]["seed"]
    write_json(tmp_path / "b.json", content)
    write_json(tmp_path / "c.json", {"schema_version": 9, "outcomes": []})
    with pytest.raises(ValueError, match="has an outcome with"):
        read_outcomes(tmp_path / "b.json")
    with pytest.raises(ValueError, match="schema version 1"):
        read_outcomes(tmp_path / "c.json")


def test_a_view_of_other_data_lays_it_out_with_the_tokenizer_of_the_model(folder, tmp_path):
    rows = {
        name: [{"question": f"How {name} is {x}?", "answer": f"{x} it is."} for x in "ab"] for name in ("old", "new")
    }
    for name, of_file in rows.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in of_file))
    files = TextDataModule(forget=str(tmp_path / "old.jsonl"), retain=str(tmp_path / "new.jsonl"))
    data = SequentialRequests(files, [Request(id="first", forget=str(tmp_path / "old.jsonl"))])
    given = subject(folder, data=data)
    given.check()
    assert [row.row["question"] for row in given.forget] == [row["question"] for row in rows["old"]]
