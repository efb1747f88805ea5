"""The dual basis in Gramian form, against explicit projections of the gradients."""

import pytest
import torch

from unlearn_pl.functional import dual_basis_weights


def dual_vectors(rows):
    """Each row minus its projection on the span of the others."""
    duals = []
    for k in range(len(rows)):
        others = torch.cat([rows[:k], rows[k + 1 :]])
        duals.append(rows[k] - torch.linalg.pinv(others) @ (others @ rows[k]))
    return torch.stack(duals)


def random_rows(size, dimensions=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scales = 10 ** torch.linspace(-3, 0, size, dtype=torch.float64)
    return scales[:, None] * torch.randn(size, dimensions, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("size", [2, 3, 4, 6])
def test_direction_is_the_mean_of_the_dual_vectors(size):
    rows = random_rows(size, seed=size)
    duals = dual_vectors(rows)
    gramian = rows @ rows.T
    torch.testing.assert_close(dual_basis_weights(gramian, unit=False) @ rows, duals.mean(dim=0))
    units = duals / duals.norm(dim=1, keepdim=True)
    torch.testing.assert_close(dual_basis_weights(gramian) @ rows, units.mean(dim=0))


@pytest.mark.parametrize("unit", [True, False])
def test_every_objective_descends_however_much_they_conflict(unit):
    for seed in range(50):
        rows = random_rows(5, seed=seed)
        gramian = (rows - 0.99 * rows.mean(dim=0)) @ (rows - 0.99 * rows.mean(dim=0)).T
        assert (gramian @ dual_basis_weights(gramian, unit) > 0).all()


def test_two_objectives_are_projected_on_each_other():
    """``w = (1 - c/a, 1 - c/b) / 2``: PCGrad with the projection always on."""
    a, b, c = 4.0, 9.0, 3.0
    weights = dual_basis_weights(torch.tensor([[a, c], [c, b]]), unit=False)
    torch.testing.assert_close(weights, torch.tensor([1 - c / a, 1 - c / b], dtype=torch.float64) / 2)


def test_scaling_a_gradient_scales_its_weight_inversely():
    rows = random_rows(3)
    scales = torch.tensor([2.0, 1e-5, 1e4], dtype=torch.float64)
    scaled = scales[:, None] * rows
    torch.testing.assert_close(dual_basis_weights(scaled @ scaled.T) * scales, dual_basis_weights(rows @ rows.T))


def test_permutation_moves_the_weights_along():
    rows, order = random_rows(4), torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(
        dual_basis_weights(rows[order] @ rows[order].T), dual_basis_weights(rows @ rows.T)[order]
    )


def test_dependent_gradients_keep_the_weights_finite():
    row = random_rows(2)[1:]
    same = torch.cat([row, row])
    torch.testing.assert_close(dual_basis_weights(same @ same.T) @ same, row[0] / row.norm(), check_dtype=False)
    opposite = torch.cat([row, -row])
    torch.testing.assert_close((dual_basis_weights(opposite @ opposite.T) @ opposite).norm().item(), 0.0)


def test_zero_rows_are_left_out():
    weights = dual_basis_weights(torch.diag(torch.tensor([4.0, 0.0])))
    torch.testing.assert_close(weights, torch.tensor([0.5, 0.0], dtype=torch.float64))
    assert dual_basis_weights(torch.zeros(3, 3)).tolist() == [0.0, 0.0, 0.0]


def test_nonfinite_entries_give_nan():
    assert dual_basis_weights(torch.tensor([[1.0, torch.nan], [torch.nan, 1.0]])).isnan().all()


def test_matrix_must_be_square():
    with pytest.raises(ValueError, match=r"\[2, 3\]"):
        dual_basis_weights(torch.zeros(2, 3))
