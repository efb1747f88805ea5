"""What holds of every objective that the package exports, whatever its loss is."""

from itertools import pairwise
from typing import get_args

import pytest
import torch

from tests.exported import Case, cases
from tests.objectives.views import ALTERNATE_LENGTH, LENGTH, NEEDED, B, made_view, make_tensors, only_needed, pad
from unlearn_pl import objectives
from unlearn_pl.functional import masked_mean
from unlearn_pl.objectives import Objective
from unlearn_pl.types import MeanOver, Role

EXTREME = 1e4
DENOISING = "unlearn_pl.objectives.diffusion."  # these have views of their own: tests/objectives/diffusion
CASES = [case for case in cases(objectives, Objective, NEEDED) if not case.cls.__module__.startswith(DENOISING)]


@pytest.fixture(params=CASES, ids=str)
def objective(request):
    return request.param.make()


def made_streams(objective, unlabeled=()):
    """``(logits, reference logits, labels)`` of every stream that is read, of other lengths each.

    Rows in ``unlabeled`` have no label in the first stream, which decides what counts.
    """
    streams = []
    for number, _ in enumerate(objective.streams):
        length = LENGTH if number % 2 == 0 else ALTERNATE_LENGTH
        streams.append(make_tensors(seed=2 + number, length=length))
    streams[0][2][list(unlabeled)] = -100
    return streams


def views_of(objective, streams, rows=slice(None)):
    views = [made_view(objective, *(tensor[rows] for tensor in tensors)) for tensors in streams]
    for view in views:
        view.index = torch.arange(B)[rows]
    return views


def loss_and_gradients(objective, streams, parts=(slice(None),)):
    """The mean over the window that is cut into ``parts``, and its gradient by the logits of every stream."""
    leaves = [logits.clone().requires_grad_() for logits, *_ in streams]
    streams = [(leaf, *tensors[1:]) for leaf, tensors in zip(leaves, streams, strict=True)]
    windows = [views_of(objective, streams, rows) for rows in parts]
    counts = torch.stack([views[0].count(objective.mean_over) for views in windows])
    shares = counts / counts.sum() if len(parts) > 1 else [1.0]
    loss = sum(objective(*views) * share for views, share in zip(windows, shares, strict=True))
    loss.backward()
    return loss.detach(), [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]


def assert_same(result, expected):
    torch.testing.assert_close(result[0], expected[0], rtol=1e-10, atol=1e-12)
    for gradient, wanted in zip(result[1], expected[1], strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-10, atol=1e-12)


def test_padding_changes_nothing(objective):
    streams = made_streams(objective)
    loss, gradients = loss_and_gradients(objective, [pad(*tensors) for tensors in streams])
    width = streams[0][0].shape[1]
    assert all((gradient[:, width:] == 0).all() for gradient in gradients)
    assert_same((loss, [g[:, :width] for g in gradients]), loss_and_gradients(objective, streams))


def test_the_order_of_the_batch_does_not_matter(objective):
    streams, order = made_streams(objective), torch.tensor([2, 0, 3, 1])
    loss, gradients = loss_and_gradients(objective, streams)
    assert_same(loss_and_gradients(objective, streams, parts=[order]), (loss, gradients))


@pytest.mark.parametrize("objective", [case for case in CASES if not case.cls.compares_rows], ids=str, indirect=True)
@pytest.mark.parametrize("unlabeled", [(), (2,)], ids=["all rows labeled", "one row without labels"])
@pytest.mark.parametrize("cuts", [[0, 1, B], [0, 1, 2, 3, B]], ids=["1 + 3", "one by one"])
def test_micro_batches_weighted_by_their_counts_give_the_whole(objective, cuts, unlabeled):
    streams = made_streams(objective, unlabeled)
    parts = [slice(start, stop) for start, stop in pairwise(cuts)]
    assert_same(loss_and_gradients(objective, streams, parts), loss_and_gradients(objective, streams))


def test_rows_without_labels_do_not_count(objective):
    rows = torch.tensor([0, 2, 3])
    loss, gradients = loss_and_gradients(objective, made_streams(objective, unlabeled=[1]))
    kept = loss_and_gradients(objective, made_streams(objective), parts=[rows])
    assert_same((loss, gradients), kept)
    assert all((gradient[1] == 0).all() for gradient in gradients)


@pytest.mark.parametrize("empty", ["first stream", "all streams"])
def test_an_empty_micro_batch_gives_zero_with_zero_gradient(objective, empty):
    streams = made_streams(objective, unlabeled=range(B))
    if empty == "all streams":
        streams = [(logits, reference, torch.full_like(labels, -100)) for logits, reference, labels in streams]
    loss, gradients = loss_and_gradients(objective, streams)
    assert loss.item() == 0
    assert all((gradient == 0).all() for gradient in gradients)


@pytest.mark.parametrize("kind", ["signs", "sure", "wrong"])
@pytest.mark.parametrize("sign", [1, -1])
def test_extreme_logits_give_finite_values_and_gradients(objective, kind, sign):
    """Of random signs; or all mass on the right token, or on the others; the reference as sure, of the same or not."""
    streams = []
    for logits, reference, labels in made_streams(objective):
        right = torch.nn.functional.one_hot(labels.clamp(min=0).roll(-1, dims=1), logits.shape[-1]).bool()
        extreme = {"signs": logits.sign(), "sure": 2.0 * right - 1, "wrong": 1 - 2.0 * right}[kind]
        towards = reference.sign() if kind == "signs" else extreme
        streams.append(((EXTREME * extreme).float(), (sign * EXTREME * towards).float(), labels))
    loss, gradients = loss_and_gradients(objective, streams)
    assert loss.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_half_precision_is_averaged_in_fp32_or_better(objective):
    streams = [(a.bfloat16(), b.bfloat16(), labels) for a, b, labels in made_streams(objective)]
    assert objective(*views_of(objective, streams)).dtype in (torch.float32, torch.float64)


def test_the_declared_needs_are_enough(objective):
    streams = made_streams(objective)
    expected = objective(*views_of(objective, streams))
    lean = [only_needed(view, objective.needs) for view in views_of(objective, streams)]
    assert torch.equal(objective(*lean), expected)


def test_the_gradient_vanishes_at_the_reference_where_the_class_says_so(objective):
    """What keeps a model at its reference must say so. A forget loss need not: its reference may be another model."""
    streams = [(logits, logits.clone(), labels) for logits, _, labels in made_streams(objective)]
    _, gradients = loss_and_gradients(objective, streams)
    vanishes = all(gradient.abs().max() < 1e-12 for gradient in gradients)
    assert vanishes or not objective.zero_at_reference
    assert objective.zero_at_reference or objective.role == "forget" or not vanishes


def test_what_the_engine_reads_is_declared(objective):
    assert objective.role in get_args(Role)
    assert objective.mean_over in get_args(MeanOver)
    assert objective.streams
    assert not list(objective.parameters())


class Invented(Objective):
    """A loss that breaks one rule."""

    def __init__(self, rule):
        super().__init__()
        self.rule = rule
        if rule == "parameters":
            self.weight = torch.nn.Parameter(torch.ones(()))
        self.zero_at_reference = rule == "reference"

    def loss(self, view):
        rows = torch.arange(len(view.mask))
        match self.rule:
            case "padding":
                return view.logps.mean()
            case "order":
                return masked_mean(view.logps * rows[:, None], view.mask)
            case "rows":
                return masked_mean(view.logps, view.mask) * view.mask.any(-1).sum() / len(view.mask)
            case "micro-batches":
                return masked_mean(view.logps, view.mask) ** 2
            case "empty":
                return view.logps[view.mask].mean()
            case "extreme":
                return masked_mean(-(1 - view.logps.exp()).log(), view.mask)
            case "half":
                return masked_mean(view.logits.amax(-1), view.mask).to(view.logits.dtype)
            case "needs":
                return masked_mean(view.ref_logps - view.logps, view.mask)
        return masked_mean(view.logps, view.mask)


CHECKS = {
    "padding": test_padding_changes_nothing,
    "order": test_the_order_of_the_batch_does_not_matter,
    "rows": test_rows_without_labels_do_not_count,
    "micro-batches": lambda o: test_micro_batches_weighted_by_their_counts_give_the_whole(o, [0, 1, B], ()),
    "empty": lambda o: test_an_empty_micro_batch_gives_zero_with_zero_gradient(o, "all streams"),
    "extreme": lambda o: test_extreme_logits_give_finite_values_and_gradients(o, "sure", 1),
    "half": test_half_precision_is_averaged_in_fp32_or_better,
    "needs": test_the_declared_needs_are_enough,
    "reference": test_the_gradient_vanishes_at_the_reference_where_the_class_says_so,
    "parameters": test_what_the_engine_reads_is_declared,
}


@pytest.mark.parametrize("rule", CHECKS)
def test_a_loss_that_breaks_a_rule_is_found(rule):
    with pytest.raises((AssertionError, TypeError)):
        CHECKS[rule](Invented(rule))


@pytest.mark.parametrize("rule", CHECKS)
def test_a_loss_that_keeps_them_is_not(rule):
    CHECKS[rule](Invented("none"))


def test_every_exported_objective_is_a_case():
    exported = {name for name in objectives.__all__ if name != "Objective"}
    denoising = {name for name in exported if getattr(objectives, name).__module__.startswith(DENOISING)}
    assert len(denoising) == 6
    assert {case.cls.__name__ for case in CASES} == exported - denoising
    assert Case(objectives.FLATLoss, {"divergence": "pearson"}) in CASES
