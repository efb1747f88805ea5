"""A swept attacker is at least as strong as a fixed one, within its bound, and goes on where it was interrupted."""

import math

import pytest

from tests.robustness.subjects import authors, subject
from unlearn_pl.robustness import (
    Audit,
    BenignNeighbours,
    BoundedRelearning,
    Findings,
    RandomFraction,
    Relearning,
    RelearningSweep,
    ShortestFraction,
    best_within,
    read_outcomes,
)

FORGET, RETAIN = "forget_probability", "retain_probability"
QUICK = {"steps": 4, "evaluate_every": 2, "batch_size": 2}


def test_a_bounded_attack_is_the_best_step_of_plain_relearning(folder):
    given = subject(folder, data=authors(max_eval_examples=5))
    plain = Relearning(**QUICK, learning_rate=1e-2, answers=False).run(given)
    found = BoundedRelearning(**QUICK, learning_rate=1e-2, utility_loss=0.5).run(given)
    assert found.curve[FORGET] == plain.curve[FORGET]
    losses = [1 - value / found.curve[RETAIN][0] for value in found.curve[RETAIN]]
    allowed = [value for value, loss in zip(found.curve[FORGET], losses, strict=True) if loss <= 0.5]
    assert found.after[FORGET] == max(allowed)
    place = found.curve[FORGET].index(max(allowed))
    assert found.after["step"] == found.curve["step"][place]
    assert found.after["utility_loss"] == losses[place] <= 0.5
    assert found.after[f"{FORGET}_last"] == plain.curve[FORGET][-1]
    assert sum(found.rows[FORGET]) / len(found.rows[FORGET]) == pytest.approx(found.after[FORGET])


def test_the_best_point_is_within_the_bound_and_finite():
    assert best_within([0.1, 0.5, 0.9, math.nan], [0.0, 0.1, 0.2, 0.0], 0.1) == 1
    assert best_within([0.3, 0.3], [0.0, 0.0], 0.0) == 0
    assert best_within([0.3, 0.2], [0.0, -1.0], 0.0) == 0
    with pytest.raises(ValueError, match="No point has a loss of at most 0"):
        best_within([0.3], [0.1], 0.0)


def test_a_sweep_is_never_weaker_than_its_fixed_attacker_and_scores_all_on_the_same_rows(folder):
    given = subject(folder, data=authors(max_eval_examples=4))
    sets = [RandomFraction(0.2), ShortestFraction(0.2), BenignNeighbours(0.2)]
    sweep = RelearningSweep(sets, [1e-3, 1e-2], **QUICK, utility_loss=0.3)
    each = [setting.run(given) for setting in sweep.settings]
    found = sweep.combine(each)
    assert len(each) == 6
    assert all(one.before == each[0].before for one in each)  # the same rows
    fixed = each[0]
    allowed = [
        v for v, u in zip(fixed.curve[FORGET], fixed.curve[RETAIN], strict=True) if u >= 0.7 * fixed.curve[RETAIN][0]
    ]
    assert found.after[FORGET] >= max(allowed) == found.after[f"{FORGET}_fixed_within"]
    assert found.after[FORGET] == max(one.after[FORGET] for one in each)
    assert found.after["utility_loss"] <= 0.3
    assert found.after[f"{FORGET}_fixed"] == fixed.curve[FORGET][-1]
    best = int(found.after["setting"])
    assert found.after["learning_rate"] == sweep.settings[best].learning_rate
    assert found.rows == each[best].rows
    shown = {i for one in sets for i in one.select(given).shown}
    assert len(found.rows[FORGET]) == min(4, 10 - len(shown))


class Stopping(BoundedRelearning):
    """Notes every run; power fails at one learning rate when told so."""

    runs: list[float] = []  # noqa: RUF012
    fails_at: float | None = None

    def run(self, given):
        if self.learning_rate == self.fails_at:
            raise KeyboardInterrupt
        type(self).runs.append(self.learning_rate)
        return Findings({FORGET: self.learning_rate, f"{FORGET}_last": 0.0, "utility_loss_last": 0.0})


@pytest.mark.parametrize("bound", [0.0, 0.1])
def test_a_fixed_attacker_that_destroys_the_model_counts_only_within_the_bound(folder, bound):
    given = subject(folder, data=authors(max_eval_examples=3))
    found = RelearningSweep(learning_rates=[1.0, 1e-3], **QUICK, utility_loss=bound).run(given).after
    assert found["utility_loss_fixed"] > 0.1 >= bound >= found["utility_loss"]
    assert found[f"{FORGET}_fixed_within"] <= found[FORGET]


def test_an_interrupted_sweep_goes_on_at_its_setting(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(Stopping, "runs", [])
    sweep = RelearningSweep(learning_rates=[1.0, 2.0, 3.0])
    sweep._settings = [Stopping(learning_rate=rate) for rate in sweep.learning_rates]

    def audit():
        return list(Audit(subject(folder, data=authors(max_eval_examples=1)), [sweep], tmp_path).run())

    monkeypatch.setattr(Stopping, "fails_at", 2.0)
    with pytest.raises(KeyboardInterrupt):
        audit()
    assert Stopping.runs == [1.0]
    monkeypatch.setattr(Stopping, "fails_at", None)
    finished = audit()
    assert Stopping.runs == [1.0, 2.0, 3.0]
    assert finished[-1].after[FORGET] == 3.0
    assert finished[-1].after["learning_rate"] == 3.0
    assert len(read_outcomes(tmp_path / "attacks.json")) == 5  # unattacked, three settings, and the sweep
    assert audit() == finished
    assert len(Stopping.runs) == 3


def test_what_cannot_be_swept_is_refused(folder):
    given = subject(folder)
    with pytest.raises(ValueError, match="at least one of each"):
        RelearningSweep(learning_rates=[])
    with pytest.raises(ValueError, match=r"utility_loss=1\.0"):
        RelearningSweep(utility_loss=1.0)
    with pytest.raises(ValueError, match="there is none; name retain_split"):
        RelearningSweep().check(subject(folder, retain_split=None))
    with pytest.raises(ValueError, match="all 10 are shown"):
        RelearningSweep([RandomFraction(1.0), RandomFraction(0.2)]).check(given)
    with pytest.raises(ValueError, match="selects none"):
        RelearningSweep([RandomFraction(0.01)]).check(given)
