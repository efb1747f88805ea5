"""Objectives that weight every token: values and gradients, from the logits of every token."""

import math

import pytest
import torch

from tests import kit
from tests.objectives.views import LENGTH, PROMPT, B, T, V, make_tensors, make_view
from unlearn_pl.functional import satimp_loss
from unlearn_pl.modules import SatImp
from unlearn_pl.objectives import CEULoss, GradientAscentLoss, SatImpLoss, TNPOLoss, WGALoss

TOKENS = [(b, t) for b in range(B) for t in range(PROMPT[b], LENGTH[b])]
ASCENTS = [TNPOLoss(beta=0.3), WGALoss(beta=0.5), SatImpLoss(beta1=5.0, beta2=1.0)]
each = pytest.mark.parametrize("objective", ASCENTS, ids=lambda objective: type(objective).__name__)


def term_and_weight(objective, p, q):
    """The loss of a token with probability ``p`` (``q`` under the reference), and its gradient by ``log p``."""
    match objective:
        case TNPOLoss():
            return 2 / 0.3 * math.log(1 + (p / q) ** 0.3), 2 * p**0.3 / (p**0.3 + q**0.3)
        case WGALoss():
            return math.sqrt(p) * math.log(p), math.sqrt(p)
        case SatImpLoss():
            return p**5 * (1 - p) * math.log(p), p**5 * (1 - p)


def probabilities(logits, labels, b, t):
    return logits[b, t - 1].softmax(-1)[labels[b, t]].item()


@each
def test_value_is_the_mean_over_scored_tokens(objective):
    logits, ref_logits, labels = make_tensors()
    terms = [
        term_and_weight(objective, probabilities(logits, labels, b, t), probabilities(ref_logits, labels, b, t))[0]
        for b, t in TOKENS
    ]
    view = make_view(logits, ref_logits, labels)
    assert view.count(objective.mean_over) == len(terms)
    assert objective(view).item() == pytest.approx(sum(terms) / len(terms), rel=1e-10)


def test_defaults_are_those_of_the_authors():
    assert (SatImpLoss().beta1, SatImpLoss().beta2) == (5.0, 0.1)
    assert TNPOLoss().beta == 4.0
    logits, ref_logits, labels = make_tensors()
    view = make_view(logits, ref_logits, labels)
    terms = [(p**5 * (1 - p) ** 0.1) * math.log(p) for p in (probabilities(logits, labels, b, t) for b, t in TOKENS)]
    assert satimp_loss(view.logps, view.mask).item() == pytest.approx(sum(terms) / len(terms), rel=1e-10)
    module = SatImp(kit.model())
    assert module.combiner.weights == {"forget": 1.0, "retain": 0.1}
    assert (module.objectives["forget"].beta1, module.objectives["forget"].beta2) == (5.0, 0.1)


def gradient(objective, tensors):
    logits, ref_logits, labels = tensors
    leaf = logits.clone().requires_grad_()
    objective(make_view(leaf, ref_logits, labels)).backward()
    return leaf.grad


@each
def test_gradient_is_that_of_ascent_times_the_weight_of_the_token(objective):
    logits, ref_logits, labels = tensors = make_tensors()
    weights = torch.zeros(B, T, 1, dtype=torch.float64)
    for b, t in TOKENS:
        p, q = probabilities(logits, labels, b, t), probabilities(ref_logits, labels, b, t)
        weights[b, t - 1] = term_and_weight(objective, p, q)[1]
    torch.testing.assert_close(gradient(objective, tensors), weights * gradient(GradientAscentLoss(), tensors))


def test_limits_are_gradient_ascent():
    logits, _, labels = make_tensors()
    at_reference = (logits, logits, labels)
    ascent = gradient(GradientAscentLoss(), at_reference)
    for objective in (TNPOLoss(), WGALoss(beta=0.0), SatImpLoss(beta1=0.0, beta2=0.0)):
        torch.testing.assert_close(gradient(objective, at_reference), ascent)


@pytest.mark.parametrize("ignore_first_n", [0, 1, 3])
def test_ceu_leaves_the_first_tokens_of_every_answer_as_they_are(ignore_first_n):
    logits, _, labels = tensors = make_tensors()
    total, expected = 0.0, torch.zeros(B, T, V, dtype=torch.float64)
    for b, t in TOKENS:
        if t < PROMPT[b] + ignore_first_n:
            continue
        p, y = logits[b, t - 1].softmax(-1), labels[b, t].item()
        target = (p / (1 - p[y])).index_fill(0, torch.tensor(y), 0.0)
        total -= sum((target[v] * math.log(p[v])).item() for v in range(V))
        expected[b, t - 1] = p - target
    objective = CEULoss(ignore_first_n)
    assert objective(make_view(*tensors)).item() == pytest.approx(total / len(TOKENS), rel=1e-10)
    torch.testing.assert_close(gradient(objective, tensors), expected / len(TOKENS))
