"""Preference losses against their formulas written out, their gradient identities and their limits."""

import numpy as np
import pytest
import torch
from scipy.special import expit, log_expit

from unlearn_pl.functional import dpo_loss, kto_loss, npo_loss, simnpo_loss

LENGTHS = torch.tensor([1, 40, 7, 3, 12])
BETAS = [0.1, 1.0, 4.5]


def make_logps(count):
    """Log-probabilities of answers of ``LENGTHS`` tokens: ``count`` leaves ``[5]`` fp64."""
    generator = torch.Generator().manual_seed(5)
    per_token = -2 * torch.rand(count, len(LENGTHS), generator=generator, dtype=torch.float64)
    return [row.clone().requires_grad_() for row in per_token * LENGTHS]


def arrays(*tensors):
    return [tensor.detach().numpy() for tensor in tensors]


@pytest.mark.parametrize("beta", BETAS)
def test_npo_formula_and_gradient(beta):
    logps, ref_logps = make_logps(2)
    loss = npo_loss(logps, ref_logps.detach(), beta)
    loss.backward()
    p, ref = arrays(logps, ref_logps)
    assert loss.item() == pytest.approx(np.mean(-2 / beta * log_expit(-beta * (p - ref))), rel=1e-12)
    weights = 2 * np.exp(beta * p) / (np.exp(beta * p) + np.exp(beta * ref))
    np.testing.assert_allclose(logps.grad.numpy(), weights / len(LENGTHS), rtol=1e-12)


def test_npo_gradient_becomes_that_of_ascent_on_the_sum():
    logps, ref_logps = make_logps(2)
    npo_loss(logps, ref_logps.detach(), beta=1e-9).backward()
    torch.testing.assert_close(logps.grad, torch.full_like(logps, 1 / len(LENGTHS)), rtol=1e-6, atol=0)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("delta", [0.0, 0.7])
def test_simnpo_formula_and_gradient(beta, delta):
    (logps,) = make_logps(1)
    loss = simnpo_loss(logps, LENGTHS, beta, delta)
    loss.backward()
    p, lengths = arrays(logps, LENGTHS)
    gamma = beta * delta
    assert loss.item() == pytest.approx(np.mean(-2 / beta * log_expit(-beta * p / lengths - gamma)), rel=1e-12)
    power = np.exp(beta * p / lengths + gamma)
    np.testing.assert_allclose(logps.grad.numpy(), 2 * power / (1 + power) / lengths / len(LENGTHS), rtol=1e-12)


def test_simnpo_is_npo_of_the_length_normalized_log_probability_with_a_sure_reference():
    (logps,) = make_logps(1)
    expected = npo_loss(logps / LENGTHS, torch.zeros(5, dtype=torch.float64), beta=2.0)
    torch.testing.assert_close(simnpo_loss(logps, LENGTHS, beta=2.0), expected)


@pytest.mark.parametrize("beta", BETAS)
def test_dpo_formula_and_gradient(beta):
    chosen, ref_chosen, rejected, ref_rejected = make_logps(4)
    loss = dpo_loss(chosen, ref_chosen.detach(), rejected, ref_rejected.detach(), beta)
    loss.backward()
    c, rc, r, rr = arrays(chosen, ref_chosen, rejected, ref_rejected)
    margins = beta * (c - r - (rc - rr))
    assert loss.item() == pytest.approx(np.mean(-2 / beta * log_expit(margins)), rel=1e-12)
    np.testing.assert_allclose(rejected.grad.numpy(), 2 * expit(-margins) / len(LENGTHS), rtol=1e-12)
    torch.testing.assert_close(chosen.grad, -rejected.grad)


def test_dpo_without_a_change_of_the_chosen_answers_is_npo():
    chosen, rejected, ref_rejected = make_logps(3)
    expected = npo_loss(rejected, ref_rejected, beta=0.3)
    torch.testing.assert_close(dpo_loss(chosen, chosen, rejected, ref_rejected, beta=0.3), expected)


@pytest.mark.parametrize("beta", BETAS)
def test_kto_formula_and_gradient(beta):
    logps, ref_logps, reference_point = make_logps(3)
    loss = kto_loss(logps, ref_logps.detach(), reference_point, beta)
    loss.backward()
    p, ref, z = arrays(logps, ref_logps, reference_point)
    assert loss.item() == pytest.approx(np.mean(1 - 2 / beta * log_expit(z - beta * (p - ref))), rel=1e-12)
    np.testing.assert_allclose(logps.grad.numpy(), 2 * expit(beta * (p - ref) - z) / len(LENGTHS), rtol=1e-12)
    assert reference_point.grad is None


def test_kto_takes_one_reference_point_for_all():
    logps, ref_logps, _ = make_logps(3)
    point = torch.tensor(0.4, dtype=torch.float64)
    torch.testing.assert_close(
        kto_loss(logps, ref_logps, point, beta=0.1), kto_loss(logps, ref_logps, point.expand(5), beta=0.1)
    )


LOSSES = {
    "npo": lambda p, q, r, s: npo_loss(p, q, beta=0.1),
    "simnpo": lambda p, q, r, s: simnpo_loss(p, torch.ones(len(p)), beta=4.5),
    "dpo": lambda p, q, r, s: dpo_loss(r, s, p, q, beta=0.1),
    "kto": lambda p, q, r, s: kto_loss(p, q, r - s, beta=0.1),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_no_sequences_give_zero_with_zero_gradient(loss):
    logps = torch.zeros(3, requires_grad=True)
    none = logps[torch.zeros(3, dtype=torch.bool)]
    value = loss(*[none] * 4)
    value.backward()
    assert value.item() == 0
    assert (logps.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_extremes_are_finite_and_the_gradient_never_exceeds_twice_that_of_ascent(loss, dtype):
    extremes = torch.tensor([0.0, -1e-30, -1.0, -1e4, -1e6], dtype=dtype)
    p, q, r, s = (grid.flatten() for grid in torch.meshgrid(*[extremes] * 4, indexing="ij"))
    p = p.requires_grad_()
    value = loss(p, q, r, s)
    value.backward()
    assert value.isfinite()
    assert ((p.grad >= 0) & (p.grad <= 2.001 / len(p))).all()
