"""The projection in Gramian form, against optimality conditions, nnls on the explicit gradients, and brute force."""

import numpy as np
import pytest
import torch
from scipy.optimize import lsq_linear, minimize, nnls

from unlearn_pl.functional import dual_cone_projection

FAMILIES = {
    "plain": lambda rows, rng: rows,
    "conflict": lambda rows, rng: rows - 0.999 * rows.mean(axis=0),
    "scales": lambda rows, rng: rows * 10 ** rng.uniform(-6, 6, (len(rows), 1)),
    "duplicate": lambda rows, rng: np.vstack([rows[:-1], rows[:1]]),
    "opposite": lambda rows, rng: np.vstack([rows[:-1], -3 * rows[:1]]),
    "nearly_opposite": lambda rows, rng: np.vstack([rows[:-1], -rows[:1] + 1e-4 * rows[-1:]]),
    "rank_one": lambda rows, rng: rows[:, :1] * rows[:1],
    "low_rank": lambda rows, rng: rows[:, :2] @ rng.standard_normal((2, rows.shape[1])),
    "zero": lambda rows, rng: np.vstack([0 * rows[:1], rows[1:]]),
    "stationary": lambda rows, rng: rows - rows.mean(axis=0),
    "tiny": lambda rows, rng: 1e-60 * rows,
}


def problems(family, count=40, sizes=(1, 2, 3, 5, 8)):
    rng = np.random.default_rng(list(FAMILIES).index(family))
    for i in range(count):
        size = sizes[i % len(sizes)]
        yield FAMILIES[family](rng.standard_normal((size, 6)), rng), rng.standard_normal(size)


def solve(rows, preference, margins=None):
    margins = None if margins is None else torch.from_numpy(margins)
    return dual_cone_projection(torch.from_numpy(rows @ rows.T), torch.from_numpy(preference), margins).numpy()


def unit(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)


@pytest.mark.parametrize("family", FAMILIES)
def test_optimality_conditions(family):
    """``v >= u``, ``g_k . d >= 0``, and ``g_k . d = 0`` wherever ``v_k > u_k``."""
    for rows, preference in problems(family):
        weights = solve(rows, preference)
        assert (weights >= preference).all()
        lengths = (weights - preference) * np.linalg.norm(rows, axis=1)
        size = np.abs(preference) @ np.linalg.norm(rows, axis=1) + lengths.sum() + 1e-300
        slopes = unit(rows) @ (weights @ rows) / size
        assert slopes.min() >= -1e-11
        assert (np.minimum(lengths / size, slopes) <= 1e-11).all()


def nonnegative_least_squares(matrix, target):
    """``nnls``, which may not end in scipy 1.13 if two columns are nearly opposite."""
    try:
        return nnls(matrix, target)[0]
    except RuntimeError:
        return lsq_linear(matrix, target, bounds=(0, np.inf), method="bvls", tol=1e-15).x


@pytest.mark.parametrize("family", FAMILIES)
def test_direction_is_that_of_nnls_on_the_explicit_gradients(family):
    """``min_y |J^T u + J^T y|`` over ``y >= 0``; no Gramian, and another algorithm."""
    for rows, preference in problems(family):
        start = preference @ rows
        scale = np.abs(preference) @ np.linalg.norm(rows, axis=1)
        if scale == 0:
            continue
        forces = nonnegative_least_squares(unit(rows).T, -start / scale)
        expected = start / scale + forces @ unit(rows)
        np.testing.assert_allclose(solve(rows, preference) @ rows / scale, expected, atol=1e-6)


def test_no_point_of_the_dual_cone_is_closer():
    rng = np.random.default_rng(0)
    for _ in range(20):
        rows, preference = rng.standard_normal((3, 3)), rng.standard_normal(3)
        start, found = preference @ rows, solve(rows, preference) @ rows
        distance = np.linalg.norm(found - start)
        others = start + 1.5 * distance * rng.standard_normal((5000, 3))
        inside = others[(others @ rows.T >= 0).all(axis=1)]
        assert (np.linalg.norm(inside - start, axis=1) >= distance - 1e-12).all()


def test_two_objectives_by_hand():
    """Projected on the plane orthogonal to the other gradient, if that conflicts; as it is, if not."""
    rows = np.array([[2.0, 0.0], [-1.0, 1.0]])
    np.testing.assert_allclose(solve(rows, np.array([1.0, 0.0])) @ rows, [1.0, 1.0])
    np.testing.assert_array_equal(solve(np.abs(rows), np.array([0.3, 0.7])), [0.3, 0.7])
    np.testing.assert_allclose(solve(np.array([[1.0], [-1.0]]), np.array([1.0, 0.0])), [1.0, 1.0])


@pytest.mark.parametrize("size", [2, 3, 4])
def test_margins_against_a_generic_qp_solver(size):
    rng = np.random.default_rng(size)
    for _ in range(8):
        rows, preference = rng.standard_normal((size, 5)), rng.standard_normal(size)
        margins = rng.uniform(-0.5, 0.5, size)
        margins[0] = -np.inf
        start = preference @ rows
        other = minimize(
            lambda d, start=start: ((d - start) ** 2).sum(),
            np.zeros(5),
            jac=lambda d, start=start: 2 * (d - start),
            constraints={
                "type": "ineq",
                "fun": lambda d, r=rows, m=margins: (r @ d - m)[1:],
                "jac": lambda d, r=rows: r[1:],
            },
            method="SLSQP",
            options={"ftol": 1e-15, "maxiter": 500},
        )
        weights = solve(rows, preference, margins)
        assert weights[0] == preference[0]
        np.testing.assert_allclose(weights @ rows, other.x, atol=1e-6)


def test_margins_that_no_direction_meets_give_zeros():
    opposite = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_array_equal(solve(opposite, np.array([0.0, 0.0, 1.0]), np.array([0.1, 0.1, -np.inf])), [0, 0, 0])
    np.testing.assert_allclose(solve(opposite, np.array([0.0, 0.0, 1.0]), np.array([0.1, -0.1, -np.inf])), [0.1, 0, 1])
    zero = np.array([[0.0, 0.0], [0.0, 1.0]])
    np.testing.assert_array_equal(solve(zero, np.ones(2), np.array([0.1, 0.0])), [0, 0])
    np.testing.assert_array_equal(solve(zero, np.ones(2), np.array([-0.1, 0.5])), [1, 1])


def test_duplicates_share():
    rows = np.array([[1.0, 0.0], [-1.0, 1.0], [-1.0, 1.0]])
    np.testing.assert_allclose(solve(rows, np.array([1.0, 0.0, 0.0])), [1.0, 0.25, 0.25])


@pytest.mark.parametrize("scale", [1e-40, 1e-8, 5.0, 1e30])
def test_scale_of_the_gramian_does_not_matter(scale):
    for rows, preference in problems("plain", 10):
        expected = solve(rows, preference) @ rows
        np.testing.assert_allclose(solve(scale * rows, preference) @ rows, expected, rtol=1e-9, atol=1e-11)


def test_permutation_moves_the_weights_along():
    rng = np.random.default_rng(0)
    for rows, preference in problems("conflict", 20):
        order = rng.permutation(len(rows))
        moved = solve(rows[order], preference[order]) @ rows[order]
        np.testing.assert_allclose(moved, solve(rows, preference) @ rows, rtol=1e-8, atol=1e-10)


def test_same_input_gives_the_same_bits():
    rows, preference = next(problems("low_rank", 5, sizes=(8,)))
    assert all(np.array_equal(solve(rows, preference), solve(rows.copy(), preference)) for _ in range(10))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nonfinite_entries_give_nan(bad):
    assert dual_cone_projection(torch.diag(torch.tensor([1.0, bad])), torch.ones(2)).isnan().all()
    assert dual_cone_projection(torch.eye(2), torch.tensor([1.0, bad])).isnan().all()
    assert dual_cone_projection(torch.eye(2), torch.ones(2), torch.tensor([0.0, np.nan])).isnan().all()


def test_any_dtype_in_fp64_out():
    weights = dual_cone_projection(torch.eye(2, dtype=torch.bfloat16), torch.ones(2).requires_grad_())
    assert (weights.dtype, weights.requires_grad) == (torch.float64, False)


@pytest.mark.parametrize(
    ("gramian", "preference", "margins"), [((2, 3), 2, 2), ((3, 3), 2, 2), ((9, 9), 9, 9), ((2, 2), 2, 3)]
)
def test_shapes_must_fit(gramian, preference, margins):
    with pytest.raises(ValueError, match="1 <= K <= 8"):
        dual_cone_projection(torch.zeros(gramian), torch.ones(preference), torch.zeros(margins))
