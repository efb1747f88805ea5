"""Token-weighted losses against their formulas written out, and their gradient identities."""

import numpy as np
import pytest
import torch
from scipy.special import log_expit, log_softmax

from unlearn_pl.functional import ceu_loss, masked_mean, satimp_loss, tnpo_loss, wga_loss

B, T, V = 3, 6, 7
LENGTHS = [6, 1, 3]
MASK = torch.arange(T) < torch.tensor(LENGTHS)[:, None]


def make_tensors():
    generator = torch.Generator().manual_seed(1)
    logits, ref_logits = 2 * torch.randn(2, B, T, V, generator=generator, dtype=torch.float64)
    labels = torch.randint(V, (B, T), generator=generator)
    return logits, ref_logits, labels


def log_probs(logits, labels):
    return torch.log_softmax(logits, dim=-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)


def make_logps():
    logits, ref_logits, labels = make_tensors()
    return log_probs(logits, labels).requires_grad_(), log_probs(ref_logits, labels)


def check(loss, logps, terms, weights):
    """``loss`` is the mean of ``terms``; its gradient is that of ascent times ``weights``."""
    loss.backward()
    mask = MASK.numpy()
    assert loss.item() == pytest.approx(terms[mask].mean(), rel=1e-12)
    np.testing.assert_allclose(logps.grad.numpy(), np.where(mask, weights, 0) / mask.sum(), rtol=1e-12)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 5.0])
def test_wga_formula_and_gradient(beta):
    logps, _ = make_logps()
    p = logps.detach().exp().numpy()
    check(wga_loss(logps, MASK, beta), logps, p**beta * np.log(p), p**beta)


@pytest.mark.parametrize(("beta1", "beta2"), [(5.0, 1.0), (1.0, 2.5), (0.0, 1.0), (0.0, 0.0)])
def test_satimp_formula_and_gradient(beta1, beta2):
    logps, _ = make_logps()
    p = logps.detach().exp().numpy()
    weights = p**beta1 * (1 - p) ** beta2
    check(satimp_loss(logps, MASK, beta1, beta2), logps, weights * np.log(p), weights)


def test_satimp_without_importance_is_wga_and_wga_of_beta_0_is_ascent():
    logps, _ = make_logps()
    torch.testing.assert_close(satimp_loss(logps, MASK, beta1=2.0, beta2=0.0), wga_loss(logps, MASK, beta=2.0))
    torch.testing.assert_close(wga_loss(logps, MASK, beta=0.0), masked_mean(logps, MASK))


@pytest.mark.parametrize("beta", [0.1, 1.0, 4.0])
def test_tnpo_formula_and_gradient(beta):
    logps, ref_logps = make_logps()
    p, q = logps.detach().exp().numpy(), ref_logps.exp().numpy()
    terms = -2 / beta * log_expit(-beta * np.log(p / q))
    check(tnpo_loss(logps, ref_logps, MASK, beta), logps, terms, 2 * p**beta / (p**beta + q**beta))


def used_tokens(ignore_first_n):
    return [(b, t) for b in range(B) for t in range(ignore_first_n, LENGTHS[b])]


@pytest.mark.parametrize("ignore_first_n", [0, 1, 2])
def test_ceu_formula(ignore_first_n):
    logits, _, labels = make_tensors()
    logps = log_softmax(logits.numpy(), axis=-1)
    total = 0.0
    for b, t in used_tokens(ignore_first_n):
        p, y = np.exp(logps[b, t]), labels[b, t].item()
        total -= sum(p[v] / (1 - p[y]) * logps[b, t, v] for v in range(V) if v != y)
    assert ceu_loss(logits, labels, MASK, ignore_first_n).item() == pytest.approx(total / sum(LENGTHS), rel=1e-12)


@pytest.mark.parametrize("ignore_first_n", [0, 1, 2])
def test_ceu_gradient_is_the_difference_of_the_distributions(ignore_first_n):
    logits, _, labels = make_tensors()
    logits.requires_grad_()
    ceu_loss(logits, labels, MASK, ignore_first_n).backward()
    expected = torch.zeros(B, T, V, dtype=torch.float64)
    for b, t in used_tokens(ignore_first_n):
        p, y = logits[b, t].detach().softmax(-1), labels[b, t]
        expected[b, t] = -p * p[y] / (1 - p[y])
        expected[b, t, y] = p[y]
    torch.testing.assert_close(logits.grad, expected / sum(LENGTHS))


def test_ceu_counts_the_ignored_tokens_wherever_the_answer_starts():
    logits, _, labels = make_tensors()
    answer = torch.zeros(B, T, dtype=torch.bool)
    answer[:, 2:5] = True
    later = torch.zeros(B, T, dtype=torch.bool)
    later[:, 3:5] = True
    expected = ceu_loss(logits, labels, later, ignore_first_n=0) * later.sum() / answer.sum()
    torch.testing.assert_close(ceu_loss(logits, labels, answer, ignore_first_n=1), expected)


def test_ceu_is_finite_where_the_model_is_sure():
    logits = torch.tensor([[[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0], [0.0, 30.0, -torch.inf]]]).requires_grad_()
    loss = ceu_loss(logits, torch.tensor([[0, 0, 1]]), torch.ones(1, 3, dtype=torch.bool), ignore_first_n=0)
    loss.backward()
    assert loss.item() == pytest.approx((1e4 + 0 + 30) / 3)
    assert logits.grad.isfinite().all()
    # All of the pull is on the label of the sure token, and none on the forgotten one.
    torch.testing.assert_close(logits.grad[0, 0] * 3, torch.tensor([1.0, 0.0, -1.0]))
    torch.testing.assert_close(logits.grad[0, 1] * 3, torch.zeros(3))


def test_ceu_ignores_what_is_not_used():
    logits, _, labels = make_tensors()
    expected = ceu_loss(logits, labels, MASK)
    unused = ~MASK | (torch.arange(T) == 0)
    spoiled = logits.masked_fill(unused[..., None], torch.nan).requires_grad_()
    loss = ceu_loss(spoiled, labels.masked_fill(~MASK, -100), MASK)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert (spoiled.grad[unused] == 0).all()


LOSSES = {
    "wga": lambda logps, mask: wga_loss(logps, mask),
    "satimp": lambda logps, mask: satimp_loss(logps, mask, beta2=0.5),
    "tnpo": lambda logps, mask: tnpo_loss(logps, logps.detach() / 3, mask, beta=0.1),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_extremes_give_finite_values_and_gradients(loss, dtype):
    # The positive one is what rounding may leave of a probability of 1.
    logps = torch.tensor([0.0, 1e-7, -1e-30, -1.0, -1e4, -1e6], dtype=dtype, requires_grad=True)
    value = loss(logps, torch.ones(6, dtype=torch.bool))
    value.backward()
    assert value.isfinite()
    assert (logps.grad.isfinite() & (logps.grad >= 0)).all()


@pytest.mark.parametrize("loss", [wga_loss, satimp_loss], ids=["wga", "satimp"])
def test_impossible_tokens_do_not_pull(loss):
    logps = torch.tensor([-torch.inf, -1.0], requires_grad=True)
    value = loss(logps, torch.ones(2, dtype=torch.bool))
    value.backward()
    assert value.isfinite()
    assert logps.grad[0] == 0


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_what_is_not_scored_is_ignored(loss):
    logps, _ = make_logps()
    expected = loss(logps, MASK)
    torch.testing.assert_close(loss(logps.detach().masked_fill(~MASK, torch.nan), MASK), expected)
    nothing = loss(logps, torch.zeros_like(MASK))
    nothing.backward()
    assert nothing.item() == 0
    assert (logps.grad == 0).all()


def test_ceu_precision_is_fp32_or_better():
    logits, _, labels = make_tensors()
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        assert ceu_loss(logits.to(dtype), labels, MASK).dtype == torch.promote_types(dtype, torch.float32)
