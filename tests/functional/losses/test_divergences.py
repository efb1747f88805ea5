"""Divergences against scipy, and their gradients against closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import log_softmax, rel_entr

from unlearn_pl.functional import (
    js_divergence,
    kl_from_uniform,
    kl_to_uniform,
    logit_margin_loss,
    one_hot_js_divergence,
    skewed_kl_divergence,
    undial_loss,
)

B, T, V = 3, 6, 7
LENGTHS = [6, 1, 3]
SKEW, BETA = 0.3, 2.0
LABELS = torch.arange(B * T).view(B, T) % V

LOSSES = {
    "kl_to_uniform": lambda logits, ref_logits, mask: kl_to_uniform(logits, mask),
    "kl_from_uniform": lambda logits, ref_logits, mask: kl_from_uniform(logits, mask),
    "skewed_kl": lambda logits, ref_logits, mask: skewed_kl_divergence(logits, ref_logits, mask, SKEW),
    "js": js_divergence,
    "one_hot_js": lambda logits, ref_logits, mask: one_hot_js_divergence(label_logps(logits), mask),
    "undial": lambda logits, ref_logits, mask: undial_loss(logits, ref_logits, LABELS, mask, BETA),
    "logit_margin": lambda logits, ref_logits, mask: logit_margin_loss(logits, mask),
}


def make_logits(scale=2.0):
    generator = torch.Generator().manual_seed(1)
    logits, ref_logits = scale * torch.randn(2, B, T, V, generator=generator, dtype=torch.float64)
    mask = torch.arange(T) < torch.tensor(LENGTHS)[:, None]
    return logits, ref_logits, mask


def label_logps(logits):
    logps = torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), -1)
    return logps.gather(-1, LABELS[..., None]).squeeze(-1)


def of_position(name, logits, ref_logits, label):
    """The divergence at one position, in numpy."""
    p, q = np.exp(log_softmax(logits)), np.exp(log_softmax(ref_logits))
    uniform, one_hot = np.full(V, 1 / V), np.eye(V)[label]
    match name:
        case "kl_to_uniform":
            return rel_entr(p, uniform).sum()
        case "kl_from_uniform":
            return rel_entr(uniform, p).sum()
        case "skewed_kl":
            return rel_entr(q, (1 - SKEW) * q + SKEW * p).sum()
        case "js":
            return jensenshannon(p, q) ** 2
        case "one_hot_js":
            return jensenshannon(p, one_hot) ** 2
        case "undial":
            teacher = np.exp(log_softmax(ref_logits - BETA * one_hot))
            return -(teacher * np.log(p)).sum()
        case "logit_margin":
            return (logits.max() - logits.mean()) ** 2


def gradient_of(name, logits, ref_logits, mask):
    leaf = logits.clone().requires_grad_()
    LOSSES[name](leaf, ref_logits, mask).backward()
    return leaf.grad


@pytest.mark.parametrize("name", LOSSES)
def test_formula(name):
    logits, ref_logits, mask = make_logits()
    terms = [
        of_position(name, logits[b, t].numpy(), ref_logits[b, t].numpy(), LABELS[b, t].item())
        for b in range(B)
        for t in range(LENGTHS[b])
    ]
    assert LOSSES[name](logits, ref_logits, mask).item() == pytest.approx(np.mean(terms), rel=1e-10)


def closed_form_gradient(name, logits, ref_logits):
    """The gradient of one position's loss by its logits; d/dlogits = p (d/dp - sum_v p_v d/dp_v)."""
    p, q = torch.softmax(logits, -1), torch.softmax(ref_logits, -1)
    one_hot = torch.eye(V, dtype=p.dtype)[LABELS]
    match name:
        case "kl_to_uniform":
            by_probs = p.log()
        case "kl_from_uniform":
            return p - 1 / V
        case "skewed_kl":
            by_probs = -SKEW * q / ((1 - SKEW) * q + SKEW * p)
        case "js":
            by_probs = (2 * p / (p + q)).log() / 2
        case "one_hot_js":
            by_probs = (p / (p + one_hot)).log() / 2
        case "undial":
            return p - torch.softmax(ref_logits - BETA * one_hot, -1)
        case "logit_margin":
            highest = torch.eye(V, dtype=p.dtype)[logits.argmax(-1)]
            return 2 * (logits.amax(-1) - logits.mean(-1))[..., None] * (highest - 1 / V)
    return p * (by_probs - (p * by_probs).sum(-1, keepdim=True))


@pytest.mark.parametrize("name", LOSSES)
def test_gradient(name):
    logits, ref_logits, mask = make_logits()
    expected = closed_form_gradient(name, logits, ref_logits) * mask[..., None] / mask.sum()
    torch.testing.assert_close(gradient_of(name, logits, ref_logits, mask), expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_logits_give_finite_values_and_gradients(name, dtype):
    logits, ref_logits, mask = make_logits()
    logits, ref_logits = (1e4 * each.sign().to(dtype) for each in (logits, ref_logits))
    logits[0, 0], ref_logits[0, 0] = 0, 1e4 * torch.eye(V)[3]
    leaf = logits.requires_grad_()
    loss = LOSSES[name](leaf, ref_logits, mask)
    loss.backward()
    assert loss.isfinite()
    assert leaf.grad.isfinite().all()


@pytest.mark.parametrize("name", ["kl_to_uniform", "skewed_kl", "js", "one_hot_js"])
def test_impossible_tokens_are_no_exception_for_bounded_losses(name):
    logits, ref_logits, mask = make_logits()
    logits[..., 2:], ref_logits[..., 4:] = -torch.inf, -torch.inf  # the model's, both, and the rest
    logits.requires_grad_()
    loss = LOSSES[name](logits, ref_logits, mask)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("kl_to_uniform", math.log(V)),
        ("skewed_kl", -math.log1p(-SKEW)),
        ("js", math.log(2)),
        ("one_hot_js", math.log(2)),
    ],
)
def test_bounds_are_reached(name, bound):
    certain = 1e4 * torch.eye(V, dtype=torch.float64)[(LABELS + 1) % V]
    other = 1e4 * torch.eye(V, dtype=torch.float64)[LABELS]
    mask = torch.ones(B, T, dtype=torch.bool)
    assert LOSSES[name](certain, other, mask).item() == pytest.approx(bound, rel=1e-12)
    logits, ref_logits, mask = make_logits(scale=8.0)
    assert 0 < LOSSES[name](logits, ref_logits, mask).item() < bound


@pytest.mark.parametrize("name", ["skewed_kl", "js"])
@pytest.mark.parametrize(("dtype", "noise"), [(torch.float32, 1e-7), (torch.float64, 1e-15)])
def test_divergences_and_their_gradients_vanish_at_the_reference(name, dtype, noise):
    logits, _, mask = make_logits()
    logits = logits.to(dtype)
    assert abs(LOSSES[name](logits, logits, mask).item()) < noise
    assert gradient_of(name, logits, logits, mask).abs().max() < noise


def test_js_is_symmetric():
    logits, ref_logits, mask = make_logits()
    torch.testing.assert_close(js_divergence(logits, ref_logits, mask), js_divergence(ref_logits, logits, mask))


def test_skewed_kl_tends_to_the_plain_one():
    logits, ref_logits, mask = make_logits()
    p, q = torch.softmax(logits, -1), torch.softmax(ref_logits, -1)
    plain = (q * (q / p).log()).sum(-1)[mask].mean()
    torch.testing.assert_close(skewed_kl_divergence(logits, ref_logits, mask, 1 - 1e-9), plain, rtol=1e-6, atol=0)


def test_one_hot_js_gradient_by_log_p():
    logps = torch.tensor([0.0, -1e-3, -1.0, -10.0, -200.0, -torch.inf], dtype=torch.float64, requires_grad=True)
    one_hot_js_divergence(logps, torch.ones(6, dtype=torch.bool)).backward()
    p = logps.detach().exp()
    expected = torch.where(p > 0, -p * torch.log1p(1 / p) / 2, 0.0) / 6
    torch.testing.assert_close(logps.grad, expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("name", LOSSES)
def test_what_is_not_scored_is_ignored(name):
    logits, ref_logits, mask = make_logits()
    expected = LOSSES[name](logits, ref_logits, mask)
    spoiled = logits.masked_fill(~mask[..., None], torch.nan).requires_grad_()
    torch.testing.assert_close(
        LOSSES[name](spoiled, ref_logits.masked_fill(~mask[..., None], torch.nan), mask), expected
    )


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_scored_gives_zero_with_zero_gradient(name):
    logits, ref_logits, mask = make_logits()
    nothing = torch.zeros_like(mask)
    assert LOSSES[name](logits, ref_logits, nothing).item() == 0
    assert (gradient_of(name, logits, ref_logits, nothing) == 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_precision_is_fp32_or_better(name):
    logits, ref_logits, mask = make_logits()
    half, ref_half = logits.bfloat16(), ref_logits.bfloat16()
    loss = LOSSES[name](half, ref_half, mask)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, LOSSES[name](half.float(), ref_half.float(), mask))
    exact = LOSSES[name](half.double(), ref_half.double(), mask)
    assert exact.dtype == torch.float64
    torch.testing.assert_close(loss.double(), exact, rtol=1e-5, atol=1e-7)
