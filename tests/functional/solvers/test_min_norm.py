"""Exactness of the min-norm solver, against KKT conditions and other solvers."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch.utils._python_dispatch import TorchDispatchMode

from unlearn_pl.functional import min_norm_weights


def plain(rng, size):
    return rng.standard_normal((size, rng.integers(2, 12)))


def conflicting(rng, size):
    rows = rng.standard_normal((size, size + 2))
    return rows - rng.uniform(0.8, 1.2) * rows.mean(axis=0)


def near_pareto(rng, size):
    """A convex combination is nearly, but not quite, zero."""
    rows = rng.standard_normal((size, size + 3))
    return rows - (1 - 10 ** rng.uniform(-5, -1)) * rng.dirichlet(np.ones(size)) @ rows


def few_dimensions(rng, size):
    return rng.standard_normal((size, rng.integers(1, 4)))


def uneven_norms(rng, size):
    rows = rng.standard_normal((size, 8)) + rng.uniform(0, 2)
    norms = np.exp(np.log(1e-6) * rng.permutation(np.linspace(0, 1, size)))
    return rows * (norms / np.linalg.norm(rows, axis=1))[:, None]


def rank_one(rng, size):
    return np.outer(rng.choice([-1, 1], size) * 10 ** rng.uniform(-6, 0, size), rng.standard_normal(4))


def duplicates(rng, size):
    rows = rng.standard_normal((size, 7))
    rows[-1] = rows[0] * rng.choice([1.0, -1.0, 1e-3, -1e-6])
    return rows


def near_duplicates(rng, size):
    rows = rng.standard_normal((size, 7))
    rows[-1] = rows[0] + 1e-8 * rng.standard_normal(7)
    return rows


def zero_rows(rng, size):
    rows = rng.standard_normal((size, 7))
    rows[rng.choice(size, rng.integers(1, size), replace=False)] = 0.0
    return rows


FAMILIES = [
    plain,
    conflicting,
    near_pareto,
    few_dimensions,
    uneven_norms,
    rank_one,
    duplicates,
    near_duplicates,
    zero_rows,
]


def gramians(family, count, sizes=(2, 3, 4, 5, 6)):
    rng = np.random.default_rng(FAMILIES.index(family))
    for i in range(count):
        rows = family(rng, sizes[i % len(sizes)])
        yield rows @ rows.T


def solve(gramian):
    return min_norm_weights(torch.from_numpy(gramian)).numpy()


@pytest.mark.parametrize("family", FAMILIES)
def test_kkt_conditions(family):
    for gramian in gramians(family, 1200):  # 10,800 in all
        weights = solve(gramian)
        squares = gramian.diagonal()
        smallest = squares[squares > 0].min()
        # In extended precision, so that the check itself adds no rounding error.
        products = gramian.astype(np.longdouble) @ weights
        value = weights @ products

        assert weights.min() >= 0
        assert abs(weights.sum() - 1) < 1e-12
        assert max(0.0, value - products.min()) <= 1e-9 * smallest
        if value > 1e-12 * smallest:  # not stationary: no objective may increase
            live = squares > 0
            assert (products[live] >= -1e-9 * np.sqrt(squares[live] * value)).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_value_equals_that_of_a_generic_qp_solver(family):
    for gramian in gramians(family, 15):
        gramian = gramian / gramian.diagonal().max()
        size = len(gramian)
        value = solve(gramian) @ gramian @ solve(gramian)
        others = [
            minimize(
                lambda w, g=gramian: w @ g @ w,
                start,
                jac=lambda w, g=gramian: 2 * g @ w,
                bounds=[(0, 1)] * size,
                constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones_like(w)},
                method="SLSQP",
                options={"ftol": 1e-14, "maxiter": 500},
            ).fun
            for start in (np.full(size, 1 / size), np.eye(size)[0])
        ]
        assert value == pytest.approx(min(others), abs=1e-7)
        assert value <= min(others) + 1e-10


@pytest.mark.parametrize("size", [2, 3, 4, 6])
def test_direction_equals_that_of_torchjd(size):
    weighting = pytest.importorskip("torchjd.aggregation").MGDAWeighting(epsilon=1e-6, max_iters=5000)
    rng = np.random.default_rng(size)
    compared = 0
    for _ in range(4):
        rows = rng.standard_normal((size, 10))
        gramian = rows @ rows.T
        other = weighting(torch.from_numpy(gramian)).numpy()
        products = gramian @ other
        if other @ products - products.min() < 1e-4:  # Frank-Wolfe came close
            np.testing.assert_allclose(solve(gramian) @ rows, other @ rows, atol=1.1e-2)
            compared += 1
    assert compared


@pytest.mark.parametrize("family", FAMILIES)
def test_permutation_moves_the_weights_along(family):
    rng = np.random.default_rng(0)
    for gramian in gramians(family, 30):
        order = rng.permutation(len(gramian))
        products = gramian @ solve(gramian)
        permuted = gramian[np.ix_(order, order)] @ solve(gramian[np.ix_(order, order)])
        squares = gramian.diagonal()
        np.testing.assert_allclose(permuted, products[order], atol=1e-8 * squares[squares > 0].min(), rtol=1e-8)


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 3.0, 1e12])
@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_scale_of_the_gramian_does_not_matter(scale, size):
    rows = np.random.default_rng(size).standard_normal((size, 4))
    np.testing.assert_allclose(solve(scale * rows @ rows.T), solve(rows @ rows.T), rtol=1e-9, atol=1e-14)


def test_two_objectives_by_hand():
    """Clipped projection of the origin on the segment between the two gradients."""
    np.testing.assert_allclose(solve(np.array([[4.0, -1.0], [-1.0, 1.0]])), [2 / 7, 5 / 7])
    np.testing.assert_array_equal(solve(np.array([[4.0, 2.0], [2.0, 1.0]])), [0.0, 1.0])
    np.testing.assert_array_equal(solve(np.array([[1.0, -1.0], [-1.0, 1.0]])), [0.5, 0.5])


def test_three_orthogonal_objectives_weigh_inversely_to_their_squares():
    squares = np.array([1.0, 4.0, 1e-10])
    np.testing.assert_allclose(solve(np.diag(squares)), (1 / squares) / (1 / squares).sum(), rtol=1e-12)


def test_duplicates_share():
    np.testing.assert_allclose(solve(np.ones((2, 2))), [1 / 2, 1 / 2])
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    np.testing.assert_allclose(solve(rows @ rows.T), [1 / 4, 1 / 2, 1 / 4])


def test_zero_rows_take_all_the_weight():
    np.testing.assert_array_equal(solve(np.diag([1.0, 0.0, 2.0])), [0, 1, 0])
    np.testing.assert_array_equal(solve(np.diag([0.0, 5.0, 0.0])), [0.5, 0, 0.5])
    np.testing.assert_array_equal(solve(np.zeros((4, 4))), [0.25] * 4)


@pytest.mark.parametrize("size", [1, 2, 3, 6])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nonfinite_entries_give_nan(size, bad):
    gramian = np.eye(size)
    gramian[0, 0] = bad
    assert np.isnan(solve(gramian)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rounded_gramians_give_weights_of_the_simplex_in_fp64(dtype):
    """Rounding makes a rank-one matrix indefinite."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        row = torch.randn(5, 1, generator=generator)
        weights = min_norm_weights((row @ row.T + 1e-3 * torch.randn(5, 5, generator=generator)).to(dtype))
        assert weights.dtype == torch.float64
        assert weights.min() >= 0
        torch.testing.assert_close(weights.sum(), torch.tensor(1.0, dtype=torch.float64))


def test_eight_objectives_are_the_most():
    weights = solve(np.diag(np.arange(1.0, 9.0)))
    np.testing.assert_allclose(weights, 1 / np.arange(1.0, 9.0) / sum(1 / np.arange(1.0, 9.0)))
    for shape in [(9, 9), (0, 0), (2, 3), (4,)]:
        with pytest.raises(ValueError, match="1 <= K <= 8"):
            min_norm_weights(torch.zeros(shape))


@pytest.mark.parametrize("size", [2, 4, 6])
def test_same_input_gives_the_same_bits(size):
    gramian = next(gramians(few_dimensions, 1, sizes=(size,)))
    first = min_norm_weights(torch.from_numpy(gramian))
    assert all(torch.equal(first, min_norm_weights(torch.from_numpy(gramian.copy()))) for _ in range(20))


class Operations(TorchDispatchMode):
    """Counts the operations on tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.all = self.solves = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.all += 1
        self.solves += "solve" in str(func)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("size", range(2, 9))
def test_the_number_of_operations_does_not_grow_with_the_supports(size):
    gramian = torch.from_numpy(next(gramians(plain, 1, sizes=(size,))))
    with Operations() as counted:
        min_norm_weights(gramian)
    assert counted.solves <= 1  # all 2^K - 1 supports at once
    assert counted.all < (30 if size == 2 else 100)
