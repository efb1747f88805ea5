"""Verdicts from outcomes written by hand: what counts, what is strongest, and what intervals cover."""

import gzip
import json
import math
import os
import re
from pathlib import Path

import pytest
import torch

from unlearn_pl.functional import bootstrap_interval
from unlearn_pl.robustness import NotRun, Outcome, reference_models, verdict_markdown, verdict_of
from unlearn_pl.robustness.reference_models import TOFU, percentile
from unlearn_pl.robustness.time_budget import TimeBudget
from unlearn_pl.robustness.verdict import AUDITED, ORIGINAL, RETAIN_MODEL

FORGET, RETAIN = "forget_probability", "retain_probability"


def outcome(attack, role, rows, **after):
    values = {FORGET: sum(rows) / len(rows), **after}
    return Outcome(attack, role, "m", {}, values, {}, 0, {}, attack, "w", 1.0, {FORGET: rows})


PLAIN = outcome("Unattacked", AUDITED, [0.1, 0.2, 0.0, 0.1], **{RETAIN: 0.8})
KNOWN = outcome("Unattacked", ORIGINAL, [0.9, 0.9, 1.0, 0.8])
BASE = outcome("Unattacked", RETAIN_MODEL, [0.1, 0.1, 0.1, 0.1], **{RETAIN: 0.8})


def pair(attack, mine, theirs, **after):
    return [outcome(attack, AUDITED, mine, **after), outcome(attack, RETAIN_MODEL, theirs)]


def test_the_strongest_bounded_attack_is_that_with_the_largest_excess_over_the_retain_model():
    outcomes = [
        PLAIN,
        KNOWN,
        BASE,
        *pair("Prompt", [0.3, 0.5, 0.4, 0.4], [0.1, 0.2, 0.1, 0.2]),
        *pair("Teaches both", [0.6, 0.6, 0.6, 0.6], [0.6, 0.5, 0.6, 0.5]),
        *pair("Breaks", [0.9, 0.9, 0.9, 0.9], [0.1, 0.1, 0.1, 0.1], **{RETAIN: 0.4}),
        *pair("Unmeasured", [0.9, 0.9, 0.9, 0.9], [0.1, 0.1, 0.1, 0.1]),
    ]
    verdict = verdict_of(outcomes, {"Breaks", "Unmeasured"}, utility_loss=0.1)
    leaks = {leak.attack: leak for leak in verdict.leaks if leak.score == FORGET}
    assert {name: leak.bounded for name, leak in leaks.items()} == {
        "Unattacked": True, "Prompt": True, "Teaches both": True, "Breaks": False, "Unmeasured": None,
    }  # fmt: skip
    assert leaks["Breaks"].utility_loss == pytest.approx(0.5)
    best = verdict.strongest[FORGET]
    assert best.attack == "Prompt"
    assert best.excess.value == pytest.approx(0.4 - 0.15)
    assert best.original == pytest.approx(0.9)
    assert best.recovered == pytest.approx(0.25 / (0.9 - 0.15))
    assert best.leaks
    assert not leaks["Unattacked"].leaks
    wider = verdict_of(outcomes, {"Breaks", "Unmeasured"}, utility_loss=0.5)
    assert wider.strongest[FORGET].attack == "Breaks"


def test_intervals_are_paired_bootstraps_and_the_strongest_allows_for_the_choice():
    mine, theirs = [0.3, 0.5, 0.4, 0.9], [0.1, 0.2, 0.1, 0.8]
    verdict = verdict_of([PLAIN, BASE, *pair("Prompt", mine, theirs)], seed=3)
    leak = next(leak for leak in verdict.leaks if leak.attack == "Prompt")
    gaps = [a - b for a, b in zip(mine, theirs, strict=True)]
    own = bootstrap_interval(lambda x: x.mean().item(), gaps, resamples=1000, seed=3)
    assert (leak.excess.low, leak.excess.high) == pytest.approx(own)
    best = verdict.strongest[FORGET]
    assert best.excess.low <= leak.excess.low
    assert best.audited.high >= leak.audited.high
    adjusted = bootstrap_interval(lambda x: x.mean().item(), gaps, level=0.975, resamples=1600, seed=3)
    assert (best.excess.low, best.excess.high) == pytest.approx(adjusted)  # two attacks count


def test_without_a_retain_model_or_rows_nothing_is_claimed():
    alone = verdict_of([PLAIN, outcome("Prompt", AUDITED, [0.5, 0.5])])
    assert alone.strongest[FORGET].attack == "Prompt"
    assert alone.strongest[FORGET].leaks is None
    text = verdict_markdown(alone)
    assert "no judgment without a retain model" in text
    assert "Without a retain model, it is not known" in text
    bare = Outcome("Mine", AUDITED, "m", {}, {FORGET: 0.7}, {}, 0, {}, "c", "w", 1.0)
    leak = verdict_of([bare]).leaks[0]
    assert math.isnan(leak.audited.low)
    assert leak.audited.value == 0.7
    for given, message in (({"level": 1.0}, "level=1"), ({"utility_loss": 1.0}, "utility_loss=1")):
        with pytest.raises(ValueError, match=message):
            verdict_of([PLAIN], **given)
    with pytest.raises(ValueError, match="there are none"):
        verdict_of([BASE])


def test_values_that_are_not_finite_are_never_strongest():
    nan = float("nan")
    verdict = verdict_of([PLAIN, BASE, *pair("Broken", [nan, 0.5], [0.1, 0.1])])
    assert verdict.strongest[FORGET].attack == "Unattacked"


def test_the_text_says_what_leaks_and_what_was_not_run():
    outcomes = [PLAIN, KNOWN, BASE, *pair("Pro|mpt", [0.3, 0.5, 0.4, 0.4], [0.1, 0.2, 0.1, 0.2])]
    text = verdict_markdown(verdict_of(outcomes), [NotRun("SoftPrompt", 61.0)])
    assert "**Probability: leaks more than the retain model.** Under Pro\\|mpt" in text
    assert re.search(r"\| Pro\\\|mpt \| 0\.40 \[0\.3\d, 0\.4\d\] \| 0\.15 ", text)
    assert "33% of what was to be forgotten" in text
    assert "- SoftPrompt, about 61 s" in text


@pytest.mark.parametrize(
    ("value", "place"), [(-1.0, 0.0), (0.0, 0.0), (0.1, 25.0), (0.6, 75.0), (1.0, 100.0), (2.0, 100.0)]
)
def test_percentiles_are_interpolated(value, place):
    assert percentile([0.0, 0.2, 1.0], value) == pytest.approx(place)


def test_reference_models_are_those_of_the_published_logs():
    folder = Path(os.environ.get("UNLEARN_PL_DATA", "../shared/data")) / "tofu_logs"
    if not folder.is_dir():
        pytest.skip(f"the folder {folder} with the logs that TOFU's authors published is missing")
    files = {"Llama-2-7B": "ft_epoch5_lr1e-05_llama2-7b", "Phi-1.5": "ft_epoch5_lr2e-05_phi"}
    for model in TOFU:
        name, trained = model.name.split(", ")
        with gzip.open(folder / f"{files[name]}_{trained}_wd0.01.json.gz") as file:
            log = json.load(file)["eval_log_forget.json"]
        tenths = torch.linspace(0, 1, 11, dtype=torch.float64)
        losses = torch.tensor(list(log["avg_gt_loss"].values()), dtype=torch.float64)
        rouge = torch.tensor(list(log["rougeL_recall"].values()), dtype=torch.float64)
        assert model.rows == len(losses)
        assert list(model.probability) == pytest.approx((-losses).exp().quantile(tenths).tolist(), abs=6e-4)
        assert list(model.rouge) == pytest.approx(rouge.quantile(tenths).tolist(), abs=6e-4)
        assert 45 < model.percentile("forget_rouge", rouge.median().item()) < 55 or trained == "full"
    assert [model.name for model in reference_models("forget05")] == ["Llama-2-7B, retain95", "Phi-1.5, retain95"]
    assert reference_models("mine") == []


def test_a_budget_estimates_from_the_slowest_so_far(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("unlearn_pl.robustness.time_budget.time.monotonic", lambda: now[0])
    budget = TimeBudget(60)
    assert budget.allows(1000)  # nothing is known yet
    budget.learn(1.0, 5.0)
    budget.learn(2.0, 4.0)
    assert budget.estimate(3.0) == 15.0
    assert budget.allows(12)
    assert not budget.allows(12.1)
    now[0] += 50
    assert budget.allows(2)
    assert not budget.allows(2.1)
    assert TimeBudget().allows(1e9)
    with pytest.raises(ValueError, match="A budget of 0 seconds"):
        TimeBudget(0)
