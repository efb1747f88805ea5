"""The control of SAGO: its data, its PCGrad, its choice of settings, and one trial from end to end."""

import json

import pytest
import torch

from experiments.studies.sago_control import run, study
from experiments.studies.sago_control.hazards import SPLITS, WRONG, made_up
from experiments.studies.sago_control.run import BETAS, COMBINERS, KNOBS, RATES, PCGrad, Setting, World


def test_hazards_are_four_facts_each_with_other_values_as_wrong_answers():
    facts = made_up(5, seed=1)
    assert {split: len(rows) for split, rows in facts.items()} == dict.fromkeys(SPLITS, 20)
    names = {split: {row["answer"].split()[0] for row in rows} for split, rows in facts.items()}
    assert all(len(found) == 5 for found in names.values())
    assert not names["forget"] & names["retain"]
    assert not names["general"] & (names["forget"] | names["retain"])
    for rows in facts.values():
        for row in rows:
            assert len({row["answer"], *row["perturbed_answer"]}) == 1 + WRONG
    assert made_up(5, seed=1) == facts != made_up(5, seed=2)


@pytest.mark.parametrize("weight", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_pcgrad_projects_each_gradient_off_the_other(weight, sign):
    generator = torch.Generator().manual_seed(2)
    forget, retain = torch.randn(2, 7, generator=generator, dtype=torch.float64)
    retain = sign * torch.sign(forget @ retain) * retain  # a conflict, or none
    rows = torch.stack([forget, retain])
    combiner = PCGrad(weight)
    combiner.setup(["forget", "retain"], ["forget", "retain"])
    weights = combiner(rows @ rows.T, torch.ones(2))
    a, b = forget, weight * retain
    projected = [x - min(0.0, (x @ y).item()) / (y @ y) * y for x, y in ((a, b), (b, a))]
    torch.testing.assert_close(weights @ rows, sum(projected))


def test_every_rule_has_the_same_sweep():
    for method in BETAS:
        counts = {rule: sum(setting.rule == rule for setting in study.settings(method)) for rule in COMBINERS}
        assert set(counts.values()) == {3 * len(RATES) * len(BETAS[method])}
    assert {len(knobs) for knobs in KNOBS.values()} == {3}


def test_the_choice_is_the_most_general_accuracy_near_chance():
    def trial(rate, forget, general, rule="sum"):
        setting = {"method": "NPO", "rule": rule, "knob": "1", "rate": rate, "beta": 0.1}
        return {"seed": 0, "setting": setting, "forget": forget, "general": general}

    trials = [trial(1.0, [0, 0, 0, 1], [1, 0]), trial(2.0, [0, 0, 1, 1], [1, 1]), trial(3.0, [0, 0, 0, 0], [0, 0])]
    assert study.chosen(trials, "sum", "NPO").rate == 1.0
    assert study.chosen(trials[1:2], "sum", "NPO").rate == 2.0  # none is near chance
    assert study.chosen([*trials, trial(4.0, [0], [1], "SAGO")], "sum", "NPO").rate == 1.0


def test_a_trial_keeps_a_hit_per_question_and_is_not_repeated(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "MEMORIZING_EPOCHS", 1)
    monkeypatch.setattr(run, "STEPS", 1)
    runner, setting = study.Runner(tmp_path), Setting("NPO", "SAGO", "1", 1e-3, 0.1)
    runner.run([setting, None], [0])
    lines = [json.loads(line) for line in (tmp_path / "trials.jsonl").read_text().splitlines()]
    assert [line["setting"] is None for line in lines] == [False, True]
    for line in lines:
        assert all(len(line[split]) == 80 and set(line[split]) <= {0.0, 1.0} for split in SPLITS)
    world = World(tmp_path, 0)
    model, data = world.target.eval(), world._data(None)
    row = data.facts["forget"][0]
    losses = []
    for answer in (row["answer"], *row["perturbed_answer"]):
        asked, end = f"Question: {row['question']}\nAnswer:", data.tokenizer.eos_token_id
        prompt, ids = data.tokenizer(asked)["input_ids"], [*data.tokenizer(f"{asked} {answer}")["input_ids"], end]
        labels = [-100] * len(prompt) + ids[len(prompt) :]
        losses.append(model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss.item())
    assert lines[1]["forget"][0] == float(min(losses) == losses[0])
    again = study.Runner(tmp_path)
    again.run([setting, None], [0])
    assert again.trials == runner.trials
