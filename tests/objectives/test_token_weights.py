"""Weights of tokens: objectives that average over tokens read them with the mask, and no other passes over them."""

from dataclasses import replace

import pytest
import torch

from tests.exported import cases
from tests.objectives.test_properties import DENOISING, made_streams, views_of
from tests.objectives.views import NEEDED, B, T, make_tensors, make_view
from unlearn_pl import objectives
from unlearn_pl.functional.losses.representation import hidden_state_error
from unlearn_pl.gradients.weighted_loss import checked_loss
from unlearn_pl.objectives import CausalLMLoss, CEULoss, FLATLoss, Objective, RMULoss, WTNPOLoss
from unlearn_pl.token_weights import weigh, weights_of
from unlearn_pl.types import scored_mask

ALL = [case for case in cases(objectives, Objective, NEEDED) if not case.cls.__module__.startswith(DENOISING)]
WHOLE_ANSWERS = {"ContrastiveLoss", "DPOLoss", "KTOLoss", "NPOLoss", "SimNPOLoss"}
WEIGHTED = [case for case in ALL if case.cls.__name__ not in WHOLE_ANSWERS]
COUNTS_TOKENS = {"RefusalJensenShannonLoss"}  # its labels depend on how many tokens are scored
OVER_TOKENS = [c for c in WEIGHTED if c.cls.mean_over == "tokens" and c.cls.__name__ not in COUNTS_TOKENS]
each = pytest.mark.parametrize("case", WEIGHTED, ids=str)

GENERATOR = torch.Generator().manual_seed(5)
WEIGHTS = torch.tensor([0.0, 1.0, 2.5])[torch.randint(3, (B, T - 1), generator=GENERATOR)]


def loss_of(case, weights=None, rows=slice(None)):
    """Loss, count, and gradient by the logits of the first stream that has one, with weights in every stream."""
    objective = CEULoss(ignore_first_n=0) if case.cls is CEULoss else case.make()
    streams = made_streams(objective)
    leaves = [logits.requires_grad_() for logits, *_ in streams]
    views = views_of(objective, streams, rows)
    if weights is not None:
        for view in views:
            weigh(view.mask, weights[rows])
    loss = objective.loss(*views)
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
    return loss.detach(), views[0].count(objective.mean_over), [g for g in gradients if g is not None]


@each
def test_weights_of_1_change_no_bit(case):
    for weight, same in zip(loss_of(case, torch.ones(B, T - 1)), loss_of(case), strict=True):
        assert torch.equal(weight, same) if isinstance(same, torch.Tensor) else all(map(torch.equal, weight, same))


@each
def test_a_common_factor_changes_nothing_but_the_count(case):
    loss, count, gradients = loss_of(case, WEIGHTS)
    scaled, scaled_count, scaled_gradients = loss_of(case, 1e-3 * WEIGHTS)
    torch.testing.assert_close(scaled, loss)
    torch.testing.assert_close(scaled_gradients, gradients)
    factor = 1e-3 if case.cls.mean_over == "tokens" else 1.0
    torch.testing.assert_close(scaled_count, factor * count, rtol=1e-6, atol=0.0)
    assert not torch.allclose(loss, loss_of(case)[0])


@pytest.mark.parametrize("case", OVER_TOKENS, ids=str)
def test_the_loss_is_the_weighted_mean_of_those_of_equal_weight(case):
    objective = CEULoss(ignore_first_n=0) if case.cls is CEULoss else case.make()
    (view,) = views_of(objective, made_streams(objective))
    total = weight_sum = torch.zeros((), dtype=torch.float64)
    for weight in (1.0, 2.5):
        mask = view.mask & (weight == WEIGHTS)
        total = total + weight * mask.sum() * objective.loss(replace(view, mask=mask))
        weight_sum = weight_sum + weight * mask.sum()
    weigh(view.mask, WEIGHTS)
    torch.testing.assert_close(objective.loss(view), total / weight_sum)
    assert view.count("tokens") == weight_sum


@each
def test_micro_batches_weighted_by_their_counts_give_the_whole(case):
    loss, count, gradients = loss_of(case, WEIGHTS)
    parts = [loss_of(case, WEIGHTS, slice(b, b + 1)) for b in range(B)]
    counts = [part[1] for part in parts]
    torch.testing.assert_close(sum(counts), count)
    torch.testing.assert_close(sum(part[0] * n / count for part, n in zip(parts, counts, strict=True)), loss)
    for k, gradient in enumerate(gradients):
        summed = sum(part[2][k] * n / count for part, n in zip(parts, counts, strict=True))
        torch.testing.assert_close(summed, gradient)


@pytest.mark.parametrize("case", ALL, ids=str)
def test_no_objective_passes_over_weights_in_silence(case):
    objective = case.make()
    views = dict(zip(objective.streams, views_of(objective, made_streams(objective)), strict=True))
    plain = checked_loss("one", objective, views)
    for view in views.values():
        weigh(view.mask, torch.ones(B, T - 1))
    if case.cls.__name__ in WHOLE_ANSWERS:
        with pytest.raises(ValueError, match=r"stream .* have weights, but objective 'one'.*Accepted: rows without"):
            checked_loss("one", objective, views)
    elif case.cls.__name__ == "RefusalJensenShannonLoss":
        with pytest.raises(ValueError, match=r"'forget.alternate' have weights"):  # those of the refusal are not read
            checked_loss("one", objective, views)
    else:
        assert torch.equal(checked_loss("one", objective, views), plain)


def test_a_loss_of_ones_own_that_reads_the_weights_is_accepted():
    class Own(Objective):
        def loss(self, view):
            return (view.logps * view.weights).sum() / view.weights.sum()

    view = make_view(*make_tensors())
    weigh(view.mask, WEIGHTS)
    expected = -CausalLMLoss().loss(view)
    torch.testing.assert_close(checked_loss("own", Own(), {"forget": view}), expected)


def test_the_mean_within_a_sequence_is_weighted():
    states, mask = torch.randn(B, T - 1, 3), torch.ones(B, T - 1, dtype=torch.bool)
    weigh(mask, WEIGHTS)
    rows = [(states[b].square().mean(-1) * WEIGHTS[b]).sum() / WEIGHTS[b].sum() for b in range(B)]
    torch.testing.assert_close(hidden_state_error(states, torch.zeros(3), mask), torch.stack(rows).mean())
    assert RMULoss().mean_over == FLATLoss().mean_over == "sequences"


def test_a_token_of_weight_0_may_have_no_finite_loss():
    view = make_view(*make_tensors())
    weigh(view.mask, torch.ones(B, T - 1).index_fill(1, torch.tensor(3), 0.0))
    view.logps = view.logps.index_fill(1, torch.tensor(3), -torch.inf)
    assert CausalLMLoss().loss(view).isfinite()


def test_weights_belong_to_one_mask_as_it_is():
    mask = torch.tensor([[True, False]])
    assert weights_of(mask) is None
    weigh(mask, torch.tensor([[2.0, 3.0]]))
    assert weights_of(mask).tolist() == [[2.0, 0.0]]
    assert weights_of(mask & mask) is None
    mask[0, 0] = False
    assert weights_of(mask) is None
    with pytest.raises(ValueError, match=r"weight has shape \[3\] for a mask of shape \[1, 2\]; accepted: one weight"):
        weigh(mask, torch.ones(3))


def test_weights_of_a_batch_are_shifted_with_its_labels():
    batch = {"labels": torch.tensor([[-100, 4, 5]]), "weight": torch.tensor([[9.0, 2.0, 3.0]])}
    assert weights_of(scored_mask(batch)).tolist() == [[2.0, 3.0]]


# WTNPO, whose own weights stand beside those of the batch ------------------------------------------------------------


@pytest.mark.parametrize(("beta", "alpha"), [(0.1, 1.0), (0.5, 0.25), (2.0, 0.0)])
def test_wtnpo_is_ascent_with_the_weights_of_the_paper(beta, alpha):
    logits, ref_logits, labels = make_tensors()
    logits.requires_grad_()
    view = make_view(logits, ref_logits, labels)
    weigh(view.mask, WEIGHTS)
    expected = wanted = torch.zeros(())
    for b, t in view.mask.nonzero().tolist():
        logp = logits[b, t].log_softmax(-1)[labels[b, t + 1]]
        p, q = logp.exp().item(), ref_logits[b, t].softmax(-1)[labels[b, t + 1]].item()
        factor = WEIGHTS[b, t] * 2 * p ** (beta + alpha) / (p**beta + q**beta)
        expected, wanted = expected + factor * logp, wanted + WEIGHTS[b, t]
    loss = WTNPOLoss(beta, alpha).loss(view)
    torch.testing.assert_close(loss, (expected / wanted * view.mask.any()).to(loss.dtype), check_dtype=False)
    got, same = (torch.autograd.grad(value, logits, retain_graph=True)[0] for value in (loss, expected / wanted))
    torch.testing.assert_close(got, same)


def test_wtnpo_without_alpha_has_the_gradient_of_tnpo():
    gradients = []
    for objective in (WTNPOLoss(beta=0.7, alpha=0.0), objectives.TNPOLoss(beta=0.7)):
        logits, ref_logits, labels = make_tensors()
        loss = objective.loss(make_view(logits.requires_grad_(), ref_logits, labels))
        gradients.append(torch.autograd.grad(loss, logits)[0])
    torch.testing.assert_close(*gradients)
    with pytest.raises(ValueError, match="beta is 0"):
        WTNPOLoss(beta=0)
    with pytest.raises(ValueError, match="alpha is -1"):
        WTNPOLoss(alpha=-1)
