"""Losses against their formulas written out."""

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr

from unlearn_pl.functional import kl_divergence, uce_loss

B, T, V = 3, 6, 7
LENGTHS = [6, 1, 3]


def make_views():
    generator = torch.Generator().manual_seed(1)
    logits, ref_logits = 2 * torch.randn(2, B, T, V, generator=generator, dtype=torch.float64)
    mask = torch.arange(T) < torch.tensor(LENGTHS)[:, None]
    return logits, ref_logits, mask


def test_uce_formula():
    logits, _, mask = make_views()
    logps = torch.log_softmax(logits, dim=-1)[..., 0]
    probs = logps.exp().numpy()
    terms = [-math.log(1 - probs[b, t] / 2) for b in range(B) for t in range(LENGTHS[b])]
    assert uce_loss(logps, mask).item() == pytest.approx(np.mean(terms), rel=1e-12)


def test_uce_gradient_is_that_of_log_p_times_p_over_2_minus_p():
    logits, _, mask = make_views()
    logps = torch.log_softmax(logits, dim=-1)[..., 0].requires_grad_()
    uce_loss(logps, mask).backward()
    probs = logps.detach().exp()
    torch.testing.assert_close(logps.grad, mask * probs / (2 - probs) / mask.sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uce_is_bounded_with_finite_gradients_at_extreme_logits(dtype):
    logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0], [0.0, 0.0, 0.0], [-torch.inf, 0.0, 1.0]], dtype=dtype)
    logits.requires_grad_()
    logps = torch.log_softmax(logits, dim=-1)[:, 0]
    for row in range(len(logits)):
        loss = uce_loss(logps, torch.arange(len(logits)) == row)
        assert 0 <= loss.item() <= math.log(2) + 1e-6
    uce_loss(logps, torch.ones(len(logits), dtype=torch.bool)).backward()
    assert logits.grad.isfinite().all()
    assert logits.grad.abs().max() <= 0.1716 / len(logits) + 1e-6  # p (1 - p) / (2 - p) is at most 3 - 2 sqrt(2)


def test_kl_formula_runs_from_the_reference_to_the_model():
    logits, ref_logits, mask = make_views()
    model, reference = np.exp(log_softmax(logits.numpy(), -1)), np.exp(log_softmax(ref_logits.numpy(), -1))
    terms = [rel_entr(reference[b, t], model[b, t]).sum() for b in range(B) for t in range(LENGTHS[b])]
    assert kl_divergence(logits, ref_logits, mask).item() == pytest.approx(np.mean(terms), rel=1e-12)


def test_kl_and_its_gradient_vanish_at_the_reference():
    logits, _, mask = make_views()
    logits.requires_grad_()
    loss = kl_divergence(logits, logits.detach().clone(), mask)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max() < 1e-15


def test_kl_gradient_is_the_difference_of_the_distributions():
    logits, ref_logits, mask = make_views()
    logits.requires_grad_()
    kl_divergence(logits, ref_logits, mask).backward()
    difference = torch.softmax(logits.detach(), -1) - torch.softmax(ref_logits, -1)
    torch.testing.assert_close(logits.grad, difference * mask[..., None] / mask.sum())


def test_kl_ignores_what_is_not_scored():
    logits, ref_logits, mask = make_views()
    expected = kl_divergence(logits, ref_logits, mask)
    spoiled = logits.masked_fill(~mask[..., None], torch.nan).requires_grad_()
    loss = kl_divergence(spoiled, ref_logits.masked_fill(~mask[..., None], torch.inf), mask)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert (spoiled.grad[~mask] == 0).all()


def test_kl_is_finite_at_extreme_logits():
    extreme = torch.tensor([[[1e4, -1e4, 0.0], [0.0, -torch.inf, 1e4]]]).requires_grad_()
    loss = kl_divergence(extreme, extreme.detach() / 2, torch.ones(1, 2, dtype=torch.bool))
    loss.backward()
    assert loss.item() == pytest.approx(0.0)
    assert extreme.grad.isfinite().all()
    shared = kl_divergence(torch.zeros(1, 1, 3), torch.tensor([[[0.0, -torch.inf, 0.0]]]), torch.tensor([[True]]))
    assert shared.item() == pytest.approx(math.log(3 / 2))


@pytest.mark.parametrize(
    ("dtype", "result"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
def test_precision_is_fp32_or_better(dtype, result):
    logits, ref_logits, mask = make_views()
    logits, ref_logits = logits.to(dtype), ref_logits.to(dtype)
    loss = kl_divergence(logits, ref_logits, mask)
    assert loss.dtype == result
    torch.testing.assert_close(loss, kl_divergence(logits.to(result), ref_logits.to(result), mask))


def test_nothing_scored_gives_zero_with_zero_gradient():
    logits, ref_logits, mask = make_views()
    logits.requires_grad_()
    nothing = torch.zeros_like(mask)
    loss = kl_divergence(logits, ref_logits, nothing) + uce_loss(torch.log_softmax(logits, -1)[..., 0], nothing)
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()
