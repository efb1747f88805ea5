"""The parts of FLAT against brute force: conjugates as suprema, optimal functions as their maximizers."""

import math
from typing import get_args

import numpy as np
import pytest
import torch
from scipy.special import xlogy

from unlearn_pl.functional import FDivergence, flat_losses, mean_probability
from unlearn_pl.functional.losses.f_divergence import conjugate, variational

GENERATORS = {
    "kl": lambda t: xlogy(t, t),
    "tv": lambda t: np.abs(t - 1) / 2,
    "js": lambda t: xlogy(t, t) - (t + 1) * np.log((t + 1) / 2),
    "pearson": lambda t: (t - 1) ** 2,
}
SCORES = torch.linspace(0, 1, 11, dtype=torch.float64)


def test_every_divergence_has_a_generator_here():
    assert set(GENERATORS) == set(get_args(FDivergence))


@pytest.mark.parametrize("divergence", GENERATORS)
def test_conjugate_is_the_supremum(divergence):
    t = np.concatenate([np.linspace(0, 20, 400_001), np.geomspace(20, 1e4, 1000)])
    generator = GENERATORS[divergence](t)
    for u in variational(SCORES, divergence):
        supremum = (u.item() * t - generator).max()
        assert conjugate(u, divergence).item() == pytest.approx(supremum, abs=1e-8)


def written_out(template, forget, divergence):
    match divergence:
        case "kl":
            return -template + math.exp(forget - 1)
        case "tv":
            return -math.tanh(template) / 2 + math.tanh(forget) / 2
        case "js":
            return -math.log(2 / (1 + math.exp(-template))) - math.log(2 - 2 / (1 + math.exp(-forget)))
        case "pearson":
            return -template + forget**2 / 4 + forget


@pytest.mark.parametrize("divergence", GENERATORS)
def test_losses_of_pairs(divergence):
    template, forget = torch.rand(2, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    losses = flat_losses(template, forget, divergence)
    expected = [written_out(a, b, divergence) for a, b in zip(template.tolist(), forget.tolist(), strict=True)]
    torch.testing.assert_close(losses, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("divergence", GENERATORS)
def test_the_template_is_learned_and_the_other_answer_unlearned(divergence):
    template, forget = SCORES.clone().requires_grad_(), SCORES.clone().requires_grad_()
    flat_losses(template, forget, divergence).sum().backward()
    assert (template.grad < 0).all()
    assert (forget.grad > 0).all()


def test_mean_probability_by_a_loop():
    generator = torch.Generator().manual_seed(0)
    logps = -3 * torch.rand(3, 5, generator=generator, dtype=torch.float64)
    lengths = [5, 2, 0]
    mask = torch.arange(5) < torch.tensor(lengths)[:, None]
    expected = [sum(math.exp(logps[b, t]) for t in range(n)) / max(n, 1) for b, n in enumerate(lengths)]
    spoiled = logps.masked_fill(~mask, torch.nan)
    torch.testing.assert_close(mean_probability(spoiled, mask), torch.tensor(expected, dtype=torch.float64))
