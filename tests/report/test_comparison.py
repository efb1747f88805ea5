"""Intervals against numpy and scipy on the same draws, and against scipy's own draws."""

import csv
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tests.report.made_up_runs import SIZES, evaluation, made_by, ratios, results, scores
from unlearn_pl.report import compare_results, comparison_csv, comparison_json, comparison_markdown, comparison_text
from unlearn_pl.report.resampling import draw_questions, redrawn

RESAMPLES, SEED, LEVEL = 60, 5, 0.9
INDICES = {split: [3 * i for i in range(size)] for split, size in SIZES.items()}


@pytest.fixture(scope="module")
def comparison():
    runs = {"one": results(1), "two": results(2), "retain": results(9, None)}
    return compare_results(runs, dict.fromkeys(("one", "two"), scores(9)), LEVEL, RESAMPLES, SEED)


def formulas(seed: int, draw: dict[str, list[int]]) -> dict[str, float]:
    """TOFU's metrics of the model ``seed`` on drawn questions, by numpy and scipy."""
    found = {}
    for split, table in scores(seed).items():
        drawn = {score: np.array([values[i] for i in draw[split]]) for score, values in table.items()}
        ratio = drawn["truth_ratio"]
        found[f"{split}_truth_ratio"] = (
            np.minimum(ratio, 1 / ratio) if split == "forget" else (1 - ratio).clip(0)
        ).mean()
        found |= {f"{split}_{score}": drawn[score].mean() for score in ("probability", "rouge")}
    found["model_utility"] = stats.hmean([v for name, v in found.items() if not name.startswith("forget")])
    ours, theirs = ([ratios(s)[i] for i in draw["forget"]] for s in (seed, 9))
    found["forget_quality"] = stats.ks_2samp(ours, theirs).pvalue
    found["log10_forget_quality"] = math.log10(found["forget_quality"])
    return found


def test_intervals_by_numpy_on_the_same_draws(comparison):
    draws = [draw_questions(INDICES, SEED, number) for number in range(RESAMPLES)]
    one, two = ([formulas(seed, draw) for draw in draws] for seed in (1, 2))
    assert len(one[0]) == 15
    for metric in one[0]:
        for name, drawn in (("one", one), ("two", two)):
            expected = np.quantile([draw[metric] for draw in drawn], [0.05, 0.95])
            assert comparison.values[metric][name].interval == pytest.approx(expected, rel=1e-10)
        differences = [b[metric] - a[metric] for a, b in zip(one, two, strict=True)]
        expected = np.quantile(differences, [0.05, 0.95])
        assert comparison.differences[metric]["two"].interval == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_values_are_those_of_the_whole_data(comparison):
    for metric, value in formulas(2, INDICES).items():
        found = comparison.values[metric]["two"].value
        assert found == pytest.approx(value, rel=1e-12)
        difference = comparison.differences[metric]["two"].value
        assert difference == found - comparison.values[metric]["one"].value


def test_a_paired_difference_agrees_with_scipys_own_draws():
    ours, theirs = (np.array(list(scores(seed)["retain"]["probability"].values())) for seed in (2, 1))
    expected = stats.bootstrap(
        (ours - theirs,), np.mean, confidence_level=0.9, n_resamples=4000, method="percentile", random_state=1
    ).confidence_interval
    runs = {"one": results(1, None), "two": results(2, None)}
    only = {n: replace(r, benchmark="other", per_example={"retain": r.per_example["retain"]}) for n, r in runs.items()}
    found = compare_results(only, level=0.9, resamples=4000).differences["retain_probability"]["two"].interval
    assert found == pytest.approx((expected.low, expected.high), abs=0.01)


def test_a_run_without_a_metric_has_no_value_and_no_difference(comparison):
    assert set(comparison.values["forget_quality"]) == {"one", "two"}
    assert set(comparison.differences["forget_quality"]) == {"two"}
    assert set(comparison.differences["model_utility"]) == {"two", "retain"}


def test_the_same_run_twice_differs_by_nothing():
    run = results(1)
    same = compare_results({"a": run, "b": run}, {"a": scores(9), "b": scores(9)}, resamples=20)
    assert len(same.differences) == 15
    for row in same.differences.values():
        assert row["b"] == (0, (0, 0))
    assert all(row["a"] == row["b"] and row["a"].interval for row in same.values.values())


def test_the_retain_model_is_drawn_with_the_same_questions():
    """A model with the retain model's truth ratios cannot be told from it on any draw."""
    same = compare_results({"a": results(9), "b": results(1)}, {"a": scores(9), "b": scores(9)}, resamples=20)
    assert same.values["forget_quality"]["a"] == (1, (1, 1))


def test_an_interval_depends_on_the_seed_and_on_no_other_run():
    one, two = results(1, None), results(2, None)
    first = compare_results({"one": one, "two": two}, resamples=20, seed=1)
    again = compare_results({"two": two, "one": one, "more": results(3, None)}, resamples=20, seed=1)
    other = compare_results({"one": one, "two": two}, resamples=20, seed=2)
    for metric, row in first.values.items():
        assert row["one"] == again.values[metric]["one"]
        assert row["one"].interval != other.values[metric]["one"].interval


def test_what_has_no_scores_per_example_has_no_interval():
    runs = {}
    for name, seed in (("a", 1), ("b", 2)):
        run = results(seed)  # its retain model is not given
        runs[name] = replace(run, metrics={**run.metrics, "perplexity": 3.0 + seed})
    found = compare_results(runs, resamples=5)
    for metric in ("forget_quality", "log10_forget_quality", "perplexity"):
        assert found.values[metric]["a"].interval is None
        assert found.differences[metric]["b"].interval is None
    assert found.differences["perplexity"]["b"].value == 1
    assert found.values["model_utility"]["a"].interval is not None


def test_a_retain_model_of_other_questions_gives_no_interval():
    fewer = dict(list(ratios(9).items())[:-1])
    runs = {}
    for name, seed in (("a", 1), ("b", 2)):
        quality = stats.ks_2samp(list(ratios(seed).values()), list(fewer.values())).pvalue
        runs[name] = results(seed)
        metrics = {m: v for m, v in runs[name].metrics.items() if "quality" not in m}
        runs[name] = replace(runs[name], metrics={**metrics, "forget_quality": quality})
    found = compare_results(runs, {name: {"forget": {"truth_ratio": fewer}} for name in runs}, resamples=5)
    assert found.values["forget_quality"]["a"].interval is None


def muse(seed: int, retain_seed: int | None):
    """MUSE's splits and scores: a higher score of an attack means that the text looks less seen."""
    random = np.random.default_rng(seed)
    attacks = {
        split: {"min_k": {i: random.normal() + shift for i in range(size)}}
        for split, size, shift in (("privleak_forget", 14, 0.0), ("privleak_holdout", 11, 0.5))
    }
    per_example = {**attacks, "knowmem_retain": {"rouge": {i: random.random() for i in range(6)}}}
    against = 0.5 if retain_seed is None else aucs(muse(retain_seed, None).per_example)
    metrics = {
        "knowmem_retain": np.mean(list(per_example["knowmem_retain"]["rouge"].values())),
        "auc_min_k": aucs(per_example),
        "privleak": leak(aucs(per_example), against),
    }
    record = evaluation(None if retain_seed is None else "retain.json", "unlearn_pl.callbacks.muse.MUSEEvaluation")
    config = {"model": {}, "data": {}, "evaluation": record}
    return replace(results(1), benchmark="muse", metrics=metrics, per_example=per_example, config=config, questions={})


def aucs(per_example, forget=range(14), holdout=range(11)) -> float:
    """scipy's Mann-Whitney statistic."""
    members, others = per_example["privleak_forget"]["min_k"], per_example["privleak_holdout"]["min_k"]
    pairs = len(forget) * len(holdout)
    return stats.mannwhitneyu([others[i] for i in holdout], [members[i] for i in forget]).statistic / pairs


def leak(auc: float, against: float) -> float:
    return 100 * (against - auc) / (1 - against)


def test_privleak_is_drawn_with_the_retain_model():
    runs = {"a": muse(1, 3), "b": muse(2, 3), "retain": muse(3, None)}
    retain = runs["retain"].per_example
    found = compare_results(runs, {"a": retain, "b": retain}, resamples=40, seed=2)
    indices = {"privleak_forget": range(14), "privleak_holdout": range(11)}
    draws = [draw_questions(indices, 2, number).values() for number in range(40)]
    leaks = {n: [leak(aucs(runs[n].per_example, *d), aucs(retain, *d)) for d in draws] for n in ("a", "b")}
    expected = np.quantile(leaks["a"], [0.025, 0.975])
    assert found.values["privleak"]["a"].interval == pytest.approx(expected, rel=1e-10)
    expected = np.quantile(np.subtract(leaks["b"], leaks["a"]), [0.025, 0.975])
    assert found.differences["privleak"]["b"].interval == pytest.approx(expected, rel=1e-9)
    assert found.values["knowmem_retain"]["b"].interval is not None


def test_privleak_against_chance_does_not_stand_beside_privleak_against_a_retain_model():
    runs = {"a": muse(1, 3), "retain": muse(3, None)}
    found = compare_results(runs, resamples=5)
    assert set(found.values["privleak"]) == {"a"}
    assert set(found.values["auc_min_k"]) == {"a", "retain"}
    assert found.notes[-1].startswith("Without privleak of retain, which was evaluated without retain_results")
    assert found.values["privleak"]["a"].interval is None  # the retain model's scores were not given
    chance = compare_results({"a": muse(1, None), "b": muse(2, None)}, resamples=20)
    assert chance.values["privleak"]["a"].interval is not None


def test_perplexity_counts_tokens():
    table = {"wikitext": {"nll": {0: 1.0, 1: 2.0, 5: 0.5}, "num_tokens": {5: 10.0, 0: 3.0, 1: 7.0}}}
    metrics = {"wikitext_perplexity": math.exp((3 + 14 + 5) / 20), "bio_accuracy": 2 / 3}
    table["bio"] = {"correct": {0: 1.0, 4: 0.0, 5: 1.0}}
    run = made_by("unlearn_pl.callbacks.wmdp.WMDPEvaluation", results(1, None))
    run = replace(run, benchmark="wmdp", metrics=metrics, per_example=table, questions={})
    found = compare_results({"a": run, "b": run}, resamples=30)
    drawn = [draw_questions({"wikitext": [0, 1, 5]}, 0, n)["wikitext"] for n in range(30)]
    nll, tokens = table["wikitext"]["nll"], table["wikitext"]["num_tokens"]
    expected = [math.exp(sum(nll[i] * tokens[i] for i in d) / sum(tokens[i] for i in d)) for d in drawn]
    assert found.values["wikitext_perplexity"]["a"].interval == pytest.approx(np.quantile(expected, [0.025, 0.975]))
    assert found.values["bio_accuracy"]["a"].interval is not None


def test_own_benchmarks_have_intervals_of_the_metrics_that_are_means():
    table = {"bio": {"accuracy": {0: 1.0, 4: 0.0, 5: 1.0}, "margin": {0: 0.5, 4: 2.0, 5: 0.25}}}
    metrics = {"bio_accuracy": 2 / 3, "bio_margin": 0.5, "fluency": 0.1}  # that margin is a median
    run = replace(results(1), benchmark="mine", metrics=metrics, per_example=table, questions={})
    run = made_by("not_installed.evaluation.Mine", run)
    found = compare_results({"a": run, "b": run}, level=0.9, resamples=300)
    assert found.values["bio_accuracy"]["a"].interval == pytest.approx((1 / 3, 1))  # 0 has a probability of 1 / 27
    assert found.values["bio_margin"]["a"].interval is None
    assert found.values["fluency"]["a"].interval is None


def test_nan_stays_visible():
    per_example = scores(1)
    per_example["retain"]["rouge"][0] = math.nan
    run = results(1, None)
    broken = replace(
        run, per_example=per_example, metrics={**run.metrics, "retain_rouge": math.nan, "model_utility": math.nan}
    )
    found = compare_results({"a": run, "b": broken}, resamples=30)
    assert math.isnan(found.differences["model_utility"]["b"].value)
    assert all(map(math.isnan, found.values["retain_rouge"]["b"].interval))
    assert "nan [nan, nan]" in comparison_text(found)
    assert json.loads(comparison_json(found))["values"]["retain_rouge"]["b"] == {
        "value": "NaN",
        "interval": ["NaN"] * 2,
    }


@pytest.mark.parametrize(
    ("metric", "factor", "message"),
    [
        ("model_utility", 1.001, "model_utility of b is .* follows from its scores per example: a file was changed"),
        (
            "forget_quality",
            1.01,
            "forget_quality of b is .* per example and those of the retain model: a file was changed",
        ),
    ],
)
def test_metrics_that_do_not_follow_from_their_scores_are_refused(metric, factor, message):
    run = results(2)
    changed = replace(run, metrics={**run.metrics, metric: run.metrics[metric] * factor})
    with pytest.raises(ValueError, match=message):
        compare_results({"a": results(1), "b": changed}, {"a": scores(9), "b": scores(9)})


def test_other_retain_models_and_other_questions_are_refused():
    with pytest.raises(ValueError, match="a and b cannot be compared: they were compared with different retain models"):
        compare_results({"a": results(1, 9), "b": results(2, 8)}, {"a": scores(9), "b": scores(8)})
    other = results(2, questions={"forget": {3 * i: f"other{i}" for i in range(SIZES["forget"])}})
    with pytest.raises(ValueError, match="23 of the 23 questions of the split 'forget'"):
        compare_results({"a": results(1), "b": other})


@pytest.mark.parametrize("arguments", [{"level": 1.0}, {"level": 0.0}, {"resamples": 0}])
def test_level_and_resamples_out_of_range(arguments):
    with pytest.raises(ValueError, match="level must be between 0 and 1 and resamples at least 1"):
        compare_results({"a": results(1), "b": results(2)}, **arguments)


# Draws ----------------------------------------------------------------------------------------------------------------


def test_draws_are_uniform_with_replacement_and_by_split():
    indices = {"forget": [4, 7, 30], "retain": [4, 7, 30]}
    draws = [draw_questions(indices, 0, number) for number in range(3000)]
    assert draws == [draw_questions(indices, 0, number) for number in range(3000)]
    assert {len(draw["forget"]) for draw in draws} == {3}
    counts = np.unique([draw["forget"] for draw in draws], return_counts=True)
    assert counts[0].tolist() == [4, 7, 30]
    assert stats.chisquare(counts[1]).pvalue > 0.01
    equal = np.mean([draw["forget"] == draw["retain"] for draw in draws])  # independent: 1 / 27
    assert equal == pytest.approx(1 / 27, abs=0.012)
    assert draw_questions({"retain": [4, 7, 30]}, 0, 1)["retain"] == draws[1]["retain"]


def test_scores_that_an_example_lacks_stay_lacking():
    assert redrawn({4: 0.5, 7: 0.25}, [7, 9, 7, 4]) == {0: 0.25, 2: 0.25, 3: 0.5}


# Tables ---------------------------------------------------------------------------------------------------------------


def test_text_and_markdown_show_a_row_per_metric_and_a_column_per_run(comparison):
    lines = comparison_text(comparison).splitlines()
    assert "0.9 bootstrap intervals, 60 draws" in lines[0]
    assert len(lines) == 3 + 15
    assert lines[2].split("  ")[0] == "metric"
    assert [cell.strip() for cell in lines[2].split("  ") if cell.strip()][-2:] == ["two - one", "retain - one"]
    quality = next(line for line in lines if line.startswith("forget_quality"))
    value, (low, high) = comparison.values["forget_quality"]["two"]
    assert f" {value:.4g} [{low:.4g}, {high:.4g}] " in quality
    assert quality.endswith(" -")
    table = comparison_markdown(comparison).splitlines()[2:]
    assert {line.count("|") for line in table} == {7}
    assert [cell.strip() for cell in table[0].split("|")[1:4]] == ["metric", "one", "two"]
    assert len(table) == 2 + 15


def test_better_values_are_named(comparison):
    expected = {"forget_quality": "higher", "forget_rouge": "retain", "model_utility": "higher"}
    assert {metric: comparison.directions[metric] for metric in expected} == expected
    assert None not in comparison.directions.values()
    assert comparison.directions.keys() == comparison.values.keys()
    for table in (comparison_text(comparison), comparison_markdown(comparison)):
        for metric, better in expected.items():
            assert re.search(rf"^(\| )?{metric} \({better}\) ", table, re.MULTILINE)
    rows = csv.DictReader(comparison_csv(comparison).splitlines())
    assert {row["metric"]: row["better"] for row in rows} == comparison.directions
    assert json.loads(comparison_json(comparison))["directions"] == comparison.directions


def test_csv_and_json_hold_all_digits(comparison):
    rows = list(csv.DictReader(comparison_csv(comparison).splitlines()))
    assert len(rows) == 15 + 15 + 13
    content = json.loads(comparison_json(comparison))
    assert content["runs"] == ["one", "two", "retain"]
    assert (content["level"], content["resamples"], content["seed"]) == (LEVEL, RESAMPLES, SEED)
    for row in rows:
        estimate = comparison.values[row["metric"]][row["run"]]
        stored = content["values"][row["metric"]][row["run"]]
        assert stored["value"] == float(row["value"]) == estimate.value
        if estimate.interval is None:
            assert (row["low"], stored["interval"]) == ("", None)
        else:
            assert stored["interval"] == [float(row["low"]), float(row["high"])] == list(estimate.interval)
        assert bool(row["difference"]) == (row["run"] in comparison.differences[row["metric"]])
