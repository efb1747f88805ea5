"""The length of a combined gradient, measured on explicit vectors."""

import pytest
import torch

from unlearn_pl.functional import rescale_weights


@pytest.mark.parametrize("to", ["mean_gradient", "mean_norm"])
@pytest.mark.parametrize("live", [[True, True, True], [True, False, True]])
def test_length_is_that_of_an_average(to, live):
    generator = torch.Generator().manual_seed(1)
    jacobians = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64)  # two blocks of five weights
    gramians = jacobians @ jacobians.mT
    live = torch.tensor(live)
    weights = torch.rand(2, 3, generator=generator, dtype=torch.float64) * live
    rows = jacobians.transpose(0, 1).reshape(3, 10)[live]
    expected = rows.mean(0).norm() if to == "mean_gradient" else rows.norm(dim=-1).mean()

    rescaled = rescale_weights(weights, gramians, live, to)
    step = torch.einsum("bk,bkp->bp", rescaled, jacobians)
    torch.testing.assert_close(step.norm(), expected)
    factor = rescaled[weights > 0] / weights[weights > 0]
    torch.testing.assert_close(factor, factor[:1].expand_as(factor))


def test_no_direction_stays_none():
    nothing = torch.zeros(1, 2, dtype=torch.float64)
    live = torch.tensor([True, True])
    assert torch.equal(rescale_weights(nothing, torch.eye(2).double()[None], live, "mean_norm"), nothing)
    opposite = torch.tensor([[[1.0, -1.0], [-1.0, 1.0]]], dtype=torch.float64)
    even = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    assert torch.equal(rescale_weights(even, opposite, live, "mean_norm"), even)


def test_gradients_that_are_left_out_may_be_anything():
    gramian = torch.tensor([[4.0, 1.0], [1.0, 9.0]], dtype=torch.float64)
    broken = torch.full((1, 3, 3), torch.nan, dtype=torch.float64)
    broken[0, :2, :2] = gramian
    weights, live = torch.tensor([[0.5, 0.5, 0.0]], dtype=torch.float64), torch.tensor([True, True, False])
    expected = rescale_weights(weights[:, :2], gramian[None], live[:2], "mean_norm")
    assert not torch.allclose(expected, weights[:, :2])
    torch.testing.assert_close(rescale_weights(weights, broken, live, "mean_norm")[:, :2], expected)
