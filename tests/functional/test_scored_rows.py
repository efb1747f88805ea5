"""Row by row in chunks equals everything at once, and keeps nothing of the vocabulary's size but what there was."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd.graph import saved_tensors_hooks

from unlearn_pl.functional import kl_divergence, label_log_probs
from unlearn_pl.functional.scored_rows import ROWS, over_scored

V = 5


def make_logits(positions: int, dtype=torch.float64):
    generator = torch.Generator().manual_seed(positions)
    logits, ref_logits = torch.randn(2, 3, positions, V, generator=generator, dtype=torch.float64).to(dtype)
    labels = torch.randint(V, (3, positions), generator=generator)
    mask = torch.rand(3, positions, generator=generator) < 0.6
    return logits.requires_grad_(), ref_logits, labels, mask


def gradient(value, logits):
    return torch.autograd.grad(value, logits)[0]


@pytest.mark.parametrize("positions", [1, ROWS // 2, ROWS, 2 * ROWS + 1])
def test_chunks_equal_all_rows_at_once(positions):
    logits, ref_logits, labels, mask = make_logits(positions)
    weights = torch.arange(1.0, mask.sum() + 1).double()

    values = label_log_probs(logits, labels, mask)
    expected = torch.log_softmax(logits[mask], -1).gather(-1, labels[mask].unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(values, expected)
    torch.testing.assert_close(gradient(values @ weights, logits), gradient(expected @ weights, logits))

    divergence = kl_divergence(logits, ref_logits, mask)
    logps, ref_logps = (torch.log_softmax(x[mask], -1) for x in (logits, ref_logits))
    expected = F.kl_div(logps, ref_logps, log_target=True, reduction="batchmean")
    torch.testing.assert_close(divergence, expected)
    torch.testing.assert_close(gradient(divergence, logits), gradient(expected, logits))


def test_the_gradient_that_is_derived_is_that_of_the_values():
    logits, ref_logits, labels, mask = make_logits(ROWS)

    def value(row, ref_row, label):
        return (row * ref_row).sin().sum(-1) * label

    assert torch.autograd.gradcheck(lambda x: over_scored(value, mask, x, ref_logits, labels), logits)


def test_nothing_scored_gives_no_values_and_a_gradient_of_zero():
    logits, _, labels, mask = make_logits(4)
    values = label_log_probs(logits, labels, torch.zeros_like(mask))
    assert values.shape == (0,)
    assert not gradient(values.sum(), logits).any()


def test_a_graph_that_is_kept_can_be_differentiated_again():
    logits, _, labels, mask = make_logits(ROWS)
    total = label_log_probs(logits, labels, mask).sum()
    first = torch.autograd.grad(total, logits, retain_graph=True)[0]
    torch.testing.assert_close(gradient(total, logits), first, rtol=0, atol=0)


def test_low_precision_logits_are_computed_with_in_fp32():
    logits, ref_logits, _, mask = make_logits(ROWS, torch.bfloat16)
    divergence = kl_divergence(logits, ref_logits, mask)
    exact_logits = logits.detach().float().requires_grad_()
    exact = kl_divergence(exact_logits, ref_logits.float(), mask)
    assert divergence.dtype == torch.float32
    torch.testing.assert_close(divergence, exact, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient(divergence, logits), gradient(exact, exact_logits).bfloat16())


def test_only_the_given_logits_are_kept_for_the_backward_pass():
    logits, ref_logits, _, mask = make_logits(3 * ROWS)
    kept: list[torch.Tensor] = []

    def keep(tensor):
        kept.append(tensor)
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        kl_divergence(logits, ref_logits, mask)
    large = {tensor.data_ptr() for tensor in kept if tensor.numel() >= mask.sum() * V}
    assert large == {logits.data_ptr(), ref_logits.data_ptr()}


@pytest.mark.parametrize("positions", [0, 1, ROWS, 2 * ROWS + 1])
def test_without_a_mask_all_rows_are_read(positions):
    logits, _, labels, _ = make_logits(positions)
    rows, targets = logits.detach()[0].requires_grad_(), labels[0]
    masked = rows.detach().clone().requires_grad_()
    everywhere = torch.ones(positions, dtype=torch.bool)
    weights = torch.arange(1.0, positions + 1).double()
    values, expected = label_log_probs(rows, targets), label_log_probs(masked, targets, everywhere)
    torch.testing.assert_close(values, expected, rtol=0, atol=0)
    torch.testing.assert_close(gradient(values @ weights, rows), gradient(expected @ weights, masked), rtol=0, atol=0)


def test_a_reference_that_asks_for_a_gradient_is_refused():
    logits, ref_logits, _, mask = make_logits(4)
    with pytest.raises(ValueError, match="flows to the first logits only"):
        kl_divergence(ref_logits, logits, mask)
    with torch.no_grad():
        kl_divergence(ref_logits, logits, mask)


def test_shapes_that_do_not_belong_together_are_refused():
    logits, ref_logits, labels, mask = make_logits(6)
    with pytest.raises(ValueError, match="shift all of them or none"):
        kl_divergence(logits, ref_logits, mask[:, 1:])
    with pytest.raises(ValueError, match="shift all of them or none"):
        kl_divergence(logits, ref_logits[:, 1:], mask)
    with pytest.raises(ValueError, match="shift all of them or none"):
        label_log_probs(logits[0], labels[0, 1:])
