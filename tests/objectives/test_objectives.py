"""The losses as objectives, against their formulas."""

import math

import pytest
import torch

from tests.objectives.views import LENGTH, PROMPT, B, V, make_tensors, make_view
from unlearn_pl.objectives import CausalLMLoss, GradientAscentLoss, KLDivergenceLoss, UnlearningCrossEntropyLoss
from unlearn_pl.recording import record

OBJECTIVES = [UnlearningCrossEntropyLoss, GradientAscentLoss, CausalLMLoss, KLDivergenceLoss]


def per_token(objective, logits, reference, label):
    """The loss of one token, from the logits of its position."""
    p, q = torch.softmax(logits, -1), torch.softmax(reference, -1)
    match objective:
        case UnlearningCrossEntropyLoss():
            return -math.log(1 - p[label] / 2)
        case GradientAscentLoss():
            return math.log(p[label])
        case CausalLMLoss():
            return -math.log(p[label])
        case KLDivergenceLoss():
            return sum(q[v].item() * math.log(q[v] / p[v]) for v in range(V))


@pytest.mark.parametrize("cls", OBJECTIVES)
def test_value_is_the_mean_over_scored_tokens(cls):
    logits, ref_logits, labels = make_tensors()
    terms = [
        per_token(cls(), logits[b, t - 1], ref_logits[b, t - 1], labels[b, t])
        for b in range(B)
        for t in range(PROMPT[b], LENGTH[b])
    ]
    view = make_view(logits, ref_logits, labels)
    assert view.count(cls.mean_over) == len(terms)
    assert cls()(view).item() == pytest.approx(sum(terms) / len(terms), rel=1e-10)


def test_uce_gradient_is_that_of_ascent_times_p_over_2_minus_p():
    logits, ref_logits, labels = make_tensors()
    gradients = []
    for objective in (UnlearningCrossEntropyLoss(), GradientAscentLoss()):
        leaf = logits.clone().requires_grad_()
        objective(make_view(leaf, ref_logits, labels)).backward()
        gradients.append(leaf.grad[:, :-1])
    p = make_view(logits, ref_logits, labels).logps.exp()
    torch.testing.assert_close(gradients[0], (p / (2 - p))[..., None] * gradients[1])


@pytest.mark.parametrize(
    ("cls", "stream", "role", "needs"),
    [
        (UnlearningCrossEntropyLoss, "forget", "forget", set()),
        (GradientAscentLoss, "forget", "forget", set()),
        (CausalLMLoss, "retain", "retain", set()),
        (KLDivergenceLoss, "retain", "retain", {"logits", "ref_logits"}),
    ],
)
def test_what_the_engine_reads(cls, stream, role, needs):
    objective = cls()
    assert (objective.streams, objective.role, objective.needs) == ((stream,), role, needs)
    assert objective.zero_at_reference == (cls is KLDivergenceLoss)
    assert not list(objective.parameters())
    assert cls("forget.alternate").streams == ("forget.alternate",)
    assert record(cls("other"))["init_args"] == {"stream": "other"}
