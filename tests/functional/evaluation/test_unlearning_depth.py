"""The depth score equals its definition, written as a loop, at both ends and in between."""

import math

import pytest
import torch

from unlearn_pl.functional import unlearning_depth


def by_definition(retain, drops, threshold):
    encoding = [layer for layer, drop in enumerate(retain) if drop > threshold]
    if not encoding:
        return math.nan
    shares = {layer: min(1.0, max(0.0, drops[layer] / retain[layer])) for layer in encoding}
    return sum(retain[layer] * shares[layer] for layer in encoding) / sum(retain[layer] for layer in encoding)


@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.7])
def test_the_score_is_the_definition(threshold):
    generator = torch.Generator().manual_seed(0)
    retain, drops = (torch.randn(50, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    expected = [by_definition(r, u, threshold) for r, u in zip(retain.tolist(), drops.tolist(), strict=True)]
    assert any(map(math.isnan, expected))
    assert unlearning_depth(retain, drops, threshold).tolist() == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_both_ends():
    retain = torch.tensor([[0.02, 0.4, 2.0], [-1.0, 0.1, 3.0]])
    assert unlearning_depth(retain, retain).tolist() == [1.0, 1.0]  # the retain model: nothing is left to unlearn
    assert unlearning_depth(retain, torch.zeros(2, 3)).tolist() == [0.0, 0.0]  # the full model
    assert unlearning_depth(retain, retain + 5).tolist() == [1.0, 1.0]  # beyond the retain model counts as equal
    assert unlearning_depth(retain, -retain.abs()).tolist() == [0.0, 0.0]  # knows it better than before


def test_examples_that_no_layer_encodes_have_none():
    retain = torch.tensor([[0.05, 0.04], [0.06, 0.0]], dtype=torch.float64)
    found = unlearning_depth(retain, torch.tensor([[1.0, 1.0], [0.03, 9.0]]))
    assert found.isnan().tolist() == [True, False]  # above the threshold, not at it
    assert found[1].item() == pytest.approx(0.5)
    assert unlearning_depth(torch.tensor([1.0]), torch.tensor([math.nan])).isnan()


def test_bad_input():
    with pytest.raises(ValueError, match=r"\[2, 3\] and \[2, 4\]"):
        unlearning_depth(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="threshold=-1"):
        unlearning_depth(torch.zeros(3), torch.zeros(3), -1)
