"""Membership metrics against counted pairs and the formulas."""

import math

import pytest
import torch
from scipy import stats

from unlearn_pl.metrics import membership_metrics, memorization_metrics, read_membership_scores
from unlearn_pl.metrics.membership import ATTACKS
from unlearn_pl.results import Results, write_results


def scores(seed: int, count: int, shift: float = 0.0) -> dict[str, dict[int, float]]:
    values = torch.randn(len(ATTACKS), count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rounded = (values * 2).round() / 2 + shift  # with ties
    return {attack: dict(enumerate(row)) for attack, row in zip(ATTACKS, rounded.tolist(), strict=True)}


def area(members: dict[int, float], others: dict[int, float]) -> float:
    """Mann-Whitney's U of the non-members, as a share of all pairs."""
    u = stats.mannwhitneyu(list(others.values()), list(members.values())).statistic
    return u / (len(members) * len(others))


def test_aucs_privleak_and_privacy():
    members, others, members_r, others_r = scores(0, 9), scores(1, 14, 0.5), scores(2, 9), scores(3, 14)
    metrics = membership_metrics(members, others, members_r, others_r)
    aucs = {attack: area(members[attack], others[attack]) for attack in ATTACKS}
    retain = {attack: area(members_r[attack], others_r[attack]) for attack in ATTACKS}
    assert {f"auc_{attack}": value for attack, value in aucs.items()}.items() <= metrics.items()
    assert metrics["privleak"] == pytest.approx(100 * ((1 - aucs["min_k"]) / (1 - retain["min_k"]) - 1), rel=1e-12)
    close = [min(aucs[a], retain[a]) / max(aucs[a], retain[a]) for a in ATTACKS]
    assert metrics["privacy"] == pytest.approx(stats.hmean(close), rel=1e-12)


def test_without_a_retain_model_privleak_compares_with_chance():
    metrics = membership_metrics(scores(0, 9), scores(1, 14, 100.0))
    assert metrics["auc_min_k"] == 1
    assert metrics["privleak"] == -100
    assert "privacy" not in metrics


def test_missing_scores_leave_out_what_needs_them():
    assert membership_metrics({}, scores(0, 3)) == {}
    only = {"loss": {0: 1.0, 1: 2.0}}
    assert membership_metrics(only, {"loss": {0: 2.0}}) == {"auc_loss": 0.75}
    metrics = membership_metrics(scores(0, 4), scores(1, 4), only, only)
    assert metrics["privleak"] == pytest.approx(100 * (1 - 2 * metrics["auc_min_k"]))
    assert "privacy" not in metrics


def test_nan_reaches_the_metrics():
    members = scores(0, 9) | {"min_k": {0: math.nan, 1: 2.0}}
    metrics = membership_metrics(members, scores(1, 14), scores(2, 9), scores(3, 14))
    assert math.isnan(metrics["auc_min_k"])
    assert math.isnan(metrics["privleak"])
    assert math.isnan(metrics["privacy"])
    assert metrics["auc_loss"] == area(members["loss"], scores(1, 14)["loss"])


def write(path, per_example, arguments):
    config = {"evaluation": {"init_args": arguments}}
    write_results(
        path,
        Results(
            benchmark="muse",
            metrics={},
            per_example=per_example,
            config=config,
            config_hash="",
            weights_fingerprint="",
            model="",
        ),
    )


def test_scores_are_read_from_results(tmp_path):
    members, others = scores(0, 4), scores(1, 5)
    write(tmp_path / "a.json", {"forget": members | {"rouge": {0: 0.5}}, "holdout": others}, {"compat": None})
    assert read_membership_scores(tmp_path / "a.json", ("forget", "holdout")) == (members, others)
    assert read_membership_scores(tmp_path / "a.json", ("forget", "elsewhere")) == (members, {})
    with pytest.raises(ValueError, match="was made with compat=None, but compat='openunlearning' was requested"):
        read_membership_scores(tmp_path / "a.json", ("forget", "holdout"), "openunlearning")
    (tmp_path / "log.json").write_text('{"forget_truth_ratio": {}}')
    assert read_membership_scores(tmp_path / "log.json", ("forget", "holdout")) == ({}, {})
    with pytest.raises(ValueError, match="There is no file"):
        read_membership_scores(tmp_path / "b.json", ("forget", "holdout"))


def test_memorization_is_averaged_by_split():
    per_example = {
        "forget": {"extraction_strength": {0: 0.5, 1: 1.0}, "exact_memorization": {0: 0.75, 1: 1.0}, "loss": {0: 9.0}},
        "holdout": {"extraction_strength": {3: math.nan, 5: 0.0}, "exact_memorization": {}},
    }
    metrics = memorization_metrics(per_example)
    assert metrics.pop("holdout_extraction_strength") != metrics.get("holdout_extraction_strength")
    assert metrics == {"forget_extraction_strength": 0.75, "forget_exact_memorization": 0.875}
