"""PriorityConstrainedDescent against torchjd's, a generic QP solver, and its margins."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from tests.combiners.gradients import FORGET, RETAIN, cases, direction, ready, role_sums, rows_of, stationary
from unlearn_pl.combiners import PriorityConstrainedDescent
from unlearn_pl.recording import record


@pytest.mark.parametrize("margin", [0.0, 0.02, 0.5, 1.0])
def test_weights_are_those_of_torchjd_step_by_step(margin):
    """It takes the first gradient as the primary one, and keeps averages of its own."""
    weighting = pytest.importorskip("torchjd.aggregation").PCDWeighting(margin, eps=0.0)
    roles = [RETAIN, FORGET, FORGET]
    combiner = ready(PriorityConstrainedDescent(margin=margin), roles)
    for step in range(12):
        rows = rows_of("conflict" if step % 2 else "scales", roles, step)
        gramian = rows @ rows.T
        torch.testing.assert_close(combiner(gramian, torch.ones(3)), weighting(gramian), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("normalization", ["none", "l2"])
def test_direction_solves_the_quadratic_program(normalization):
    roles = [FORGET, RETAIN, FORGET, RETAIN]
    for seed in range(6):
        rows = rows_of("conflict", roles, seed, dimensions=5)
        combiner = PriorityConstrainedDescent(margin=0.3, normalization=normalization)
        found = direction(combiner, roles, rows)
        scaled = rows / rows.norm(dim=1, keepdim=True) if normalization == "l2" else rows
        first, others = scaled[[1, 3]].mean(dim=0).numpy(), scaled[[0, 2]].numpy()
        least = 0.3 * (others**2).sum(axis=1)
        solved = minimize(
            lambda d, first=first: ((d - first) ** 2).sum(),
            np.zeros(5),
            jac=lambda d, first=first: 2 * (d - first),
            constraints={"type": "ineq", "fun": lambda d, o=others, m=least: o @ d - m, "jac": lambda d, o=others: o},
            method="SLSQP",
            options={"ftol": 1e-15, "maxiter": 500},
        ).x
        length = role_sums(roles, rows)[1].norm()
        torch.testing.assert_close(found / length, torch.from_numpy(solved / np.linalg.norm(solved)), rtol=0, atol=1e-5)


def test_everyone_else_descends_and_the_step_is_as_long_as_the_primary_gradient():
    for roles, rows in cases("plain", "conflict", "scales", "duplicate", "cross_duplicate", "low_rank"):
        combiner = PriorityConstrainedDescent(margin=0.05)
        found = direction(combiner, roles, rows)
        if stationary(combiner) or not found.any():
            continue
        forget = torch.tensor([role == FORGET for role in roles])
        assert (rows[forget] @ found > 0).all()
        torch.testing.assert_close(found.norm(), role_sums(roles, rows)[1].norm())


def test_without_conflict_the_primary_is_followed():
    rows = torch.tensor([[1.0, 1.0], [3.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(direction(PriorityConstrainedDescent(), [FORGET, RETAIN], rows), rows[1])


def test_a_primary_of_ones_choice():
    roles, rows = [FORGET, RETAIN, RETAIN], rows_of("conflict", [FORGET, RETAIN, RETAIN], 3)
    named = direction(PriorityConstrainedDescent("retain2", normalization="l2"), roles, rows)
    swapped = direction(PriorityConstrainedDescent(normalization="l2"), [FORGET, FORGET, RETAIN], rows)
    torch.testing.assert_close(named, swapped)
    torch.testing.assert_close(named.norm(), rows[2].norm())


def test_degenerate_gradients_give_finite_weights():
    for margin in (0.0, 0.02, 1.0):
        for roles, rows in cases(count=3):
            assert direction(PriorityConstrainedDescent(margin=margin), roles, rows).isfinite().all()


def test_who_is_left_is_followed():
    roles, rows = [FORGET, RETAIN, FORGET], rows_of("plain", [FORGET, RETAIN, FORGET], 0)
    rows[1] = 0.0
    found = direction(PriorityConstrainedDescent(normalization="none"), roles, rows)
    torch.testing.assert_close(found, rows[0] + rows[2])
    rows[[0, 2]], rows[1] = 0.0, 2.0
    torch.testing.assert_close(direction(PriorityConstrainedDescent(), roles, rows), rows[1])


def test_a_block_without_a_direction_stays():
    roles, rows = [FORGET, RETAIN, FORGET], rows_of("plain", [FORGET, RETAIN, FORGET], 0)
    opposite = torch.stack([rows[0], rows[1], -rows[0]])
    combiner = ready(PriorityConstrainedDescent(), roles)
    weights = combiner(torch.stack([rows @ rows.T, opposite @ opposite.T]), torch.ones(3))
    assert weights[0].any()
    assert weights[1].tolist() == [0.0, 0.0, 0.0]


def test_illegal_objectives_and_arguments():
    with pytest.raises(ValueError, match="objectives of both roles"):
        ready(PriorityConstrainedDescent(), [FORGET, FORGET])
    with pytest.raises(ValueError, match=r"primary is 'utility', but the objectives are \['forget0', 'retain1'\]"):
        ready(PriorityConstrainedDescent("utility"), [FORGET, RETAIN])
    with pytest.raises(ValueError, match="combines 2 to 8"):
        ready(PriorityConstrainedDescent("retain0"), [RETAIN])
    with pytest.raises(ValueError, match=r"margin is 1.5.*\[0, 1\]"):
        PriorityConstrainedDescent(margin=1.5)


def test_arguments_are_recorded():
    assert record(PriorityConstrainedDescent("kl", norm_decay=0.9))["init_args"] == {"primary": "kl", "norm_decay": 0.9}
