"""PyTorch's Muon, which takes matrices alone, with the masks that leave only these."""

import functools

import pytest
import torch

from tests import kit
from unlearn_pl.masks import TrainableParameters
from unlearn_pl.modules import GradDiff


def fitted(mask=None) -> GradDiff:
    optimizer = functools.partial(torch.optim.Muon, lr=0.02, weight_decay=0.0)
    module = GradDiff(kit.model(), mask=mask, optimizer=optimizer)
    kit.trainer(max_steps=1).fit(module, kit.Questions(batch_size=8, micro_batch_size=4))
    return module


def test_the_matrices_that_a_mask_leaves_take_orthogonal_steps():
    before, after = kit.model(), fitted(TrainableParameters(["down_proj"])).model
    steps = {name: (after.get_parameter(name) - p).detach() for name, p in before.named_parameters()}
    moved = [name for name, step in steps.items() if step.any()]
    assert moved == [name for name in steps if "down_proj" in name]
    for name in moved:  # about the same singular values, whatever those of the gradient
        values = torch.linalg.svdvals(steps[name])
        assert values.max() < 3 * values.median()


def test_vectors_are_named():
    with pytest.raises(ValueError, match="2D"):
        fitted()
