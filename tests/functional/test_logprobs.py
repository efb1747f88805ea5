"""Log-probabilities against loops in numpy."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from scipy.stats import entropy as scipy_entropy

from unlearn_pl.functional import entropy, masked_mean, sequence_log_probs, token_log_probs

B, T, V = 4, 9, 11
PROMPT, LENGTH = [1, 2, 3, 2], [4, 9, 5, 2]  # the last sequence has no scored token


def make_batch(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(B, T, V, generator=generator, dtype=torch.float64)
    labels = torch.randint(V, (B, T), generator=generator)
    for row, (prompt, length) in enumerate(zip(PROMPT, LENGTH, strict=True)):
        labels[row, :prompt] = -100
        labels[row, length:] = -100
    return logits.to(dtype), labels


def test_every_scored_token_by_a_loop():
    logits, labels = make_batch()
    logps, mask = token_log_probs(logits, labels)
    assert logps.shape == mask.shape == (B, T - 1)
    for row in range(B):
        for position in range(T - 1):
            scored = PROMPT[row] <= position + 1 < LENGTH[row]
            assert mask[row, position].item() == scored
            expected = log_softmax(logits[row, position].numpy())[labels[row, position + 1]] if scored else 0.0
            assert logps[row, position].item() == pytest.approx(expected, rel=1e-12, abs=1e-14)


def test_sequences_are_sums():
    logits, labels = make_batch()
    expected = [
        sum(log_softmax(logits[row, t - 1].numpy())[labels[row, t]] for t in range(PROMPT[row], LENGTH[row]))
        for row in range(B)
    ]
    np.testing.assert_allclose(sequence_log_probs(logits, labels).numpy(), expected, rtol=1e-12)


def test_padding_and_order_do_not_matter():
    logits, labels = make_batch()
    longer_logits = torch.cat([logits, torch.full((B, 3, V), torch.nan, dtype=logits.dtype)], dim=1)
    longer_labels = torch.cat([labels, torch.full((B, 3), -100)], dim=1)
    expected = sequence_log_probs(logits, labels)
    torch.testing.assert_close(sequence_log_probs(longer_logits, longer_labels), expected)
    order = torch.tensor([3, 1, 0, 2])
    torch.testing.assert_close(sequence_log_probs(logits[order], labels[order]), expected[order])


@pytest.mark.parametrize(
    ("dtype", "result"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
def test_precision_is_fp32_or_better(dtype, result):
    logits, labels = make_batch(dtype)
    logps, _ = token_log_probs(logits, labels)
    assert logps.dtype == entropy(logits).dtype == result
    torch.testing.assert_close(logps, token_log_probs(logits.to(result), labels)[0], rtol=0, atol=0)


def test_gradient_of_the_unscored_is_zero():
    logits, labels = make_batch()
    logits.requires_grad_()
    logps, mask = token_log_probs(logits, labels)
    logps.sum().backward()
    assert (logits.grad[:, :-1][~mask] == 0).all()
    assert (logits.grad[:, -1] == 0).all()
    assert (logits.grad[:, :-1][mask].abs().sum(dim=-1) > 0).all()


def test_masked_mean():
    values = torch.tensor([[1.0, 2.0, torch.inf], [6.0, torch.nan, 7.0]], requires_grad=True)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    mean = masked_mean(values, mask)
    assert mean.item() == pytest.approx(3.0)
    mean.backward()
    torch.testing.assert_close(values.grad, mask / 3)


def test_masked_mean_of_nothing_is_zero_with_zero_gradient():
    values = torch.ones(2, 3, requires_grad=True)
    mean = masked_mean(values, torch.zeros(2, 3, dtype=torch.bool))
    mean.backward()
    assert mean.item() == 0
    assert (values.grad == 0).all()


def test_entropy_equals_scipy():
    logits = make_batch()[0]
    probs = torch.softmax(logits, dim=-1).numpy()
    np.testing.assert_allclose(entropy(logits).numpy(), scipy_entropy(probs, axis=-1), rtol=1e-10)


def test_entropy_is_finite_with_impossible_entries():
    logits = torch.tensor([[0.0, 0.0, -torch.inf], [1e4, -1e4, 0.0]], requires_grad=True)
    result = entropy(logits)
    torch.testing.assert_close(result, torch.tensor([np.log(2), 0.0], dtype=torch.float32))
    result.sum().backward()
    assert logits.grad.isfinite().all()
