"""DualBasis against explicit projections."""

import torch

from unlearn_pl.combiners import DualBasis
from unlearn_pl.recording import record


def make_combiner(unit=True, **options):
    combiner = DualBasis(unit, **options)
    combiner.setup(["forget", "retain"], ["forget", "retain"])
    return combiner


ROWS = torch.tensor([[3.0, 0.0, 1.0], [-1.0, 0.5, 0.2]], dtype=torch.float64)


def duals(rows):
    first, second = rows
    inner = first @ second
    return torch.stack([first - inner / (second @ second) * second, second - inner / (first @ first) * first])


def test_unit_is_the_mean_unit_dual_vector_at_the_mean_norm():
    units = torch.nn.functional.normalize(duals(ROWS))
    direction = make_combiner()(ROWS @ ROWS.T, torch.ones(2)) @ ROWS
    torch.testing.assert_close(direction, ROWS.norm(dim=1).mean() * units.mean(dim=0))


def test_raw_without_normalization_is_the_mean_dual_vector():
    direction = make_combiner(False, normalization="none")(ROWS @ ROWS.T, torch.ones(2)) @ ROWS
    torch.testing.assert_close(direction, duals(ROWS).mean(dim=0))


def test_raw_with_l2_projects_unit_gradients():
    units = torch.nn.functional.normalize(ROWS)
    direction = make_combiner(False)(ROWS @ ROWS.T, torch.ones(2)) @ ROWS
    torch.testing.assert_close(direction, ROWS.norm(dim=1).mean() * duals(units).mean(dim=0))


def test_each_dual_vector_leaves_the_other_objective_alone():
    """Both objectives descend although the gradients conflict."""
    gramian = ROWS @ ROWS.T
    assert gramian[0, 1] < 0
    assert (gramian @ make_combiner()(gramian, torch.ones(2)) > 0).all()


def test_arguments_are_recorded():
    assert record(DualBasis(False, norm_floor=0.1))["init_args"] == {"unit": False, "norm_floor": 0.1}
