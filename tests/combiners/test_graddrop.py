"""Gradient sign dropout."""

import pytest
import torch

from unlearn_pl.combiners import GradDrop, graddrop
from unlearn_pl.recording import record

NAMES, ROLES = ["forget", "retain", "kl"], ["forget", "retain", "retain"]
GRAMIAN, LOSSES = torch.eye(3), torch.ones(3)


def make_combiner(**options):
    combiner = GradDrop(**options)
    combiner.setup(NAMES, ROLES)
    return combiner


def randn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def merged(combiner, rows):
    return combiner.merge([None if row is None else row.clone() for row in rows])


def candidates(rows):
    """Sum of the positive and sum of the negative gradients of every element."""
    stacked = torch.stack(list(rows))
    return (stacked * (stacked > 0)).sum(dim=0), (stacked * (stacked < 0)).sum(dim=0)


@pytest.mark.parametrize("shape", [(), (5,), (4, 3), (2, 3, 4)])
def test_every_element_follows_one_sign(shape):
    rows = randn(3, *shape)
    positive, negative = candidates(rows)
    step = merged(make_combiner(), rows)
    assert step.shape == shape
    assert (torch.isclose(step, positive, 1e-12, 0) | torch.isclose(step, negative, 1e-12, 0)).all()


def test_signs_are_drawn_with_the_odds_of_their_share():
    """20000 elements of the same three gradients: P = (1 + (2 + 1 - 1) / 4) / 2 = 3/4."""
    rows = [torch.full((20000,), value, dtype=torch.float64) for value in (2.0, 1.0, -1.0)]
    step = merged(make_combiner(), rows)
    assert set(step.tolist()) == {3.0, -1.0}
    share = (step > 0).double().mean().item()
    assert share == pytest.approx(0.75, abs=4 * (0.75 * 0.25 / 20000) ** 0.5)
    assert step.mean().item() == pytest.approx(2.0, abs=0.05)  # in expectation, the plain sum


def test_agreement_is_the_sum():
    rows = randn(3, 50).abs() * torch.tensor([1.0, -1.0]).repeat(25)
    torch.testing.assert_close(merged(make_combiner(), rows), rows.sum(dim=0))
    assert merged(make_combiner(), torch.zeros(3, 4)).tolist() == [0.0] * 4


def test_leak_lets_a_share_of_the_sum_pass():
    rows = randn(3, 40)
    dropped, leaky = merged(make_combiner(), rows), merged(make_combiner(leak=0.3), rows)
    torch.testing.assert_close(leaky, 0.3 * rows.sum(dim=0) + 0.7 * dropped)
    torch.testing.assert_close(merged(make_combiner(leak=1.0), rows), rows.sum(dim=0))


def test_draws_depend_on_seed_step_and_parameter_alone():
    rows = randn(3, 64)

    def draws(seed, steps):
        combiner, out = make_combiner(seed=seed), []
        for _ in range(steps):
            combiner(GRAMIAN, LOSSES)
            out.append([merged(combiner, rows) for _ in range(2)])
        return out

    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = draws(0, 2)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    for ours, again in zip(first, draws(0, 2), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, again, strict=True))
    different = [*first[0], *first[1], *draws(1, 1)[0]]
    assert len({tuple(step.tolist()) for step in different}) == len(different)


def test_a_parameter_that_nobody_reaches_counts():
    rows = randn(3, 64)
    with_gap, without = make_combiner(), make_combiner()
    assert with_gap.merge([None] * 3) is None
    without.merge([None, randn(3), None])
    assert torch.equal(merged(with_gap, rows), merged(without, rows))


def test_one_live_objective_is_followed_as_it_is():
    row = randn(30)
    assert torch.equal(merged(make_combiner(), [None, row, None]), row)
    combiner = make_combiner()
    assert combiner(torch.diag(torch.tensor([0.0, 4.0, torch.nan])), LOSSES).tolist() == [0.0, 1.0, 0.0]


def test_two_of_three():
    rows = randn(2, 30)
    positive, negative = candidates(rows)
    step = merged(make_combiner(), [rows[0], None, rows[1]])
    assert (torch.isclose(step, positive) | torch.isclose(step, negative)).all()


def test_raw_gradients_by_default():
    gramian = torch.diag(torch.tensor([1.0, 4.0, 100.0]))
    assert make_combiner()(gramian, LOSSES).tolist() == [1.0, 1.0, 1.0]
    expected = torch.tensor([13 / 3, 13 / 6, 13 / 30], dtype=torch.float64)
    torch.testing.assert_close(make_combiner(normalization="l2")(gramian, LOSSES), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_writes_in_place_and_keeps_the_type(dtype):
    rows = list(randn(3, 6, 4, dtype=dtype))
    positive, negative = candidates(row.double() for row in rows)
    step = make_combiner().merge(rows)
    assert step is rows[0]
    assert step.dtype == dtype
    kept = torch.where(step > 0, positive, negative).to(dtype)
    torch.testing.assert_close(step, kept)


def test_chunks_change_no_more_than_the_draws(monkeypatch):
    """Also for gradients that are not contiguous."""
    rows = [row.T for row in randn(3, 5, 70)]
    positive, negative = candidates(rows)
    monkeypatch.setattr(graddrop, "CHUNK", 12)
    step = make_combiner().merge([row.clone() for row in rows])
    assert (torch.isclose(step, positive) | torch.isclose(step, negative)).all()
    up = (step > 0)[(positive > 0) & (negative < 0)]
    assert 0.2 < up.double().mean() < 0.8


def test_empty_shards():
    assert make_combiner().merge(list(torch.zeros(3, 0, 4))).shape == (0, 4)


@pytest.mark.parametrize("leak", [-0.1, 1.1, float("nan")])
def test_constructor_checks_its_arguments(leak):
    with pytest.raises(ValueError, match=r"must be in \[0, 1\]"):
        GradDrop(leak)


def test_arguments_are_recorded():
    assert record(GradDrop(0.2, seed=3))["init_args"] == {"leak": 0.2, "seed": 3}
