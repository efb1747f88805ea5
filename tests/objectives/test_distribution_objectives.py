"""The losses on distributions as objectives, against their formulas."""

import math

import pytest
import torch

from tests.objectives.views import ALTERNATE_LENGTH, LENGTH, PROMPT, B, V, make_tensors, make_view
from unlearn_pl.objectives import (
    BoundedKLLoss,
    FLATLoss,
    InvertedHingeLoss,
    JensenShannonLoss,
    LogitMarginLoss,
    MaxEntropyLoss,
    RefusalJensenShannonLoss,
    UNDIALLoss,
    UniformKLLoss,
    UnilogitLoss,
)
from unlearn_pl.recording import record

PER_TOKEN = [
    UNDIALLoss(beta=3.0),
    MaxEntropyLoss(),
    UniformKLLoss(),
    BoundedKLLoss(skew=0.3),
    BoundedKLLoss(skew=0.8, held_out=True),
    LogitMarginLoss(),
    JensenShannonLoss(),
    UnilogitLoss(),
    InvertedHingeLoss(),
]
PAIRED = [RefusalJensenShannonLoss(), *(FLATLoss(divergence) for divergence in ("kl", "tv", "js", "pearson"))]
OBJECTIVES = [*PER_TOKEN, *PAIRED]
per_objective = pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: type(o).__name__)


def make_streams(objective):
    """Tensors of every stream that the objective reads: the alternate answers are of other lengths."""
    if len(objective.streams) == 1:
        return [make_tensors()]
    return [make_tensors(seed=3, prompt=[1, 1, 2, 1], length=ALTERNATE_LENGTH), make_tensors()]


def loss_of(objective, streams):
    return objective(*(make_view(*tensors) for tensors in streams))


def kl(p, q):
    return (p * (p / q).log()).sum().item()


def of_token(objective, logits, reference, label):
    """The loss of one token, from the logits of its position."""
    p, q = torch.softmax(logits, -1), torch.softmax(reference, -1)
    uniform, one_hot = torch.full_like(p, 1 / V), torch.eye(V, dtype=p.dtype)[label]
    match objective:
        case UNDIALLoss():
            teacher = torch.softmax(reference - objective.beta * one_hot, -1)
            return -(teacher * p.log()).sum().item()
        case MaxEntropyLoss():
            return kl(p, uniform)
        case UniformKLLoss():
            return kl(uniform, p)
        case BoundedKLLoss():
            target = q if objective.held_out else uniform
            return kl(target, (1 - objective.skew) * target + objective.skew * p)
        case UnilogitLoss():
            others = p * (1 - one_hot)
            teacher = one_hot / V + (1 - 1 / V) * others / others.sum()
            return -(teacher * p.log()).sum().item()
        case InvertedHingeLoss():
            return 1 + p[label].item() - max(p[v].item() for v in range(V) if v != label)
        case LogitMarginLoss():
            return (logits.max() - logits.mean()).item() ** 2
        case JensenShannonLoss():
            return (kl(p, (p + q) / 2) + kl(q, (p + q) / 2)) / 2


@pytest.mark.parametrize("objective", PER_TOKEN, ids=lambda o: type(o).__name__)
def test_value_is_the_mean_over_scored_tokens(objective):
    logits, ref_logits, labels = make_tensors()
    terms = [
        of_token(objective, logits[b, t - 1], ref_logits[b, t - 1], labels[b, t])
        for b in range(B)
        for t in range(PROMPT[b], LENGTH[b])
    ]
    view = make_view(logits, ref_logits, labels)
    assert view.count(objective.mean_over) == len(terms)
    assert objective(view).item() == pytest.approx(sum(terms) / len(terms), rel=1e-10)


@pytest.mark.parametrize("with_end", [False, True])
def test_the_tokens_of_the_refusal_take_turns_after_those_of_the_forget_answer(with_end):
    streams = [make_tensors(), make_tensors(seed=3, prompt=[1, 1, 2, 1], length=ALTERNATE_LENGTH)]
    logits, refusals = streams[0][0], streams[1][2]
    vectors = torch.eye(V, dtype=logits.dtype)
    refusals[3, 2:] = -100  # a refusal of one token, which is kept
    terms = []
    for b in range(B):
        tokens = [token for token in refusals[b].tolist() if token != -100]
        tokens = tokens if with_end or len(tokens) == 1 else tokens[:-1]
        for turn, t in enumerate(range(PROMPT[b], LENGTH[b])):
            p, one_hot = torch.softmax(logits[b, t - 1], -1), vectors[tokens[turn % len(tokens)]]
            middle = (p + one_hot) / 2
            terms.append((kl(p, middle) - math.log(middle[one_hot.bool()])) / 2)
    objective = RefusalJensenShannonLoss(with_end)
    assert make_view(*streams[0]).count(objective.mean_over) == len(terms)
    assert loss_of(objective, streams).item() == pytest.approx(sum(terms) / len(terms), rel=1e-10)

    refusals[1] = -100  # an answer without a refusal teaches nothing
    left = sum(terms) - sum(terms[LENGTH[0] - PROMPT[0] :][: LENGTH[1] - PROMPT[1]])
    assert loss_of(objective, streams).item() == pytest.approx(left / len(terms), rel=1e-10)


def test_flat_is_a_mean_over_pairs():
    objective = FLATLoss("pearson")
    streams = make_streams(objective)
    streams[0][2][2] = -100  # a pair without an alternate answer does not count
    terms = []
    for b in (0, 1, 3):
        template, forget = (
            sum(torch.softmax(logits[b, t - 1], -1)[labels[b, t]].item() for t in scored) / len(scored)
            for logits, _, labels in streams
            for scored in [[t for t in range(1, 8) if labels[b, t] != -100]]
        )
        terms.append(-template + forget + forget**2 / 4)
    assert make_view(*streams[0]).count(objective.mean_over) == len(terms)
    assert loss_of(objective, streams).item() == pytest.approx(sum(terms) / len(terms), rel=1e-10)


@per_objective
def test_descent_lowers_the_loss(objective):
    streams = [[logits.requires_grad_(), ref, labels] for logits, ref, labels in make_streams(objective)]
    loss = loss_of(objective, streams)
    loss.backward()
    stepped = [
        [logits.detach() - (0 if logits.grad is None else 1e-3 * logits.grad), ref, labels]
        for logits, ref, labels in streams
    ]
    assert loss_of(objective, stepped) < loss


def test_only_the_retain_divergence_vanishes_at_the_reference():
    logits, _, labels = make_tensors()
    for objective in PER_TOKEN:
        leaf = logits.clone().requires_grad_()
        objective(make_view(leaf, logits, labels)).backward()
        vanishes = leaf.grad.abs().max().item() < 1e-15
        assert vanishes == (isinstance(objective, JensenShannonLoss) or getattr(objective, "held_out", False))
        assert objective.zero_at_reference == isinstance(objective, JensenShannonLoss)


def test_undial_is_finished_where_the_student_is_the_teacher():
    _, ref_logits, labels = make_tensors()
    one_hot = torch.nn.functional.one_hot(labels.clamp(min=0), V).roll(-1, dims=1)
    leaf = (ref_logits - 3.0 * one_hot).requires_grad_()
    UNDIALLoss(beta=3.0)(make_view(leaf, ref_logits, labels)).backward()
    assert leaf.grad.abs().max() < 1e-15


def test_unilogit_pulls_by_the_difference_from_its_teacher_and_ends_at_chance():
    logits, ref_logits, labels = make_tensors()
    view = make_view(leaf := logits.clone().requires_grad_(), ref_logits, labels)
    UnilogitLoss()(view).backward()
    p = torch.softmax(logits[:, :-1], -1)[view.mask]
    index = view.labels[view.mask].unsqueeze(-1)
    teacher = p / (1 - p.gather(-1, index)) * (1 - 1 / V)
    teacher = teacher.scatter(-1, index, 1 / V)
    torch.testing.assert_close(leaf.grad[:, :-1][view.mask], (p - teacher) / len(p))
    # Where the label is at chance, there is nothing left to do.
    at_chance = logits.clone()
    for b, t in zip(*view.mask.nonzero(as_tuple=True), strict=True):
        row, label = at_chance[b, t], view.labels[b, t]
        rest = torch.cat([row[:label], row[label + 1 :]]).logsumexp(0)
        row[label] = rest - math.log(V - 1)
    leaf = at_chance.requires_grad_()
    UnilogitLoss()(make_view(leaf, ref_logits, labels)).backward()
    assert leaf.grad.abs().max() < 1e-15


def test_the_inverted_hinge_moves_the_label_down_and_one_other_token_up():
    logits, ref_logits, labels = make_tensors()
    view = make_view(leaf := logits.clone().requires_grad_(), ref_logits, labels)
    InvertedHingeLoss()(view).backward()
    for b, t in zip(*view.mask.nonzero(as_tuple=True), strict=True):
        p, label = torch.softmax(logits[b, t], -1), view.labels[b, t]
        other = max((v for v in range(V) if v != label), key=lambda v: p[v].item())
        expected = torch.zeros(V, dtype=p.dtype)
        expected[label] = p[label]
        expected[other] = -p[other]
        expected = expected - p * (p[label] - p[other])
        torch.testing.assert_close(leaf.grad[b, t] * view.mask.sum(), expected)
        assert leaf.grad[b, t, label] > 0 > leaf.grad[b, t, other]


@pytest.mark.parametrize(
    ("cls", "stream", "role", "needs"),
    [
        (UNDIALLoss, "forget", "forget", {"logits", "ref_logits"}),
        (MaxEntropyLoss, "forget", "forget", {"logits"}),
        (UniformKLLoss, "forget", "forget", {"logits"}),
        (BoundedKLLoss, "forget", "forget", {"logits"}),
        (LogitMarginLoss, "forget", "forget", {"logits"}),
        (UnilogitLoss, "forget", "forget", {"logits"}),
        (InvertedHingeLoss, "forget", "forget", {"logits"}),
        (JensenShannonLoss, "retain", "retain", {"logits", "ref_logits"}),
    ],
)
def test_what_the_engine_reads(cls, stream, role, needs):
    objective = cls()
    assert (objective.streams, objective.role, objective.needs) == ((stream,), role, needs)
    assert objective.mean_over == "tokens"
    assert not list(objective.parameters())
    assert cls(stream="other").streams == ("other",)
    assert record(cls(stream="other"))["init_args"] == {"stream": "other"}


def test_a_held_out_reference_is_needed_only_when_asked_for():
    assert BoundedKLLoss(held_out=True).needs == {"logits", "ref_logits"}
    assert BoundedKLLoss().needs == BoundedKLLoss.needs == {"logits"}


def test_a_refusal_is_read_with_its_forget_answer():
    objective = RefusalJensenShannonLoss()
    assert (objective.streams, objective.role) == (("forget", "forget.alternate"), "forget")
    assert (objective.mean_over, objective.needs) == ("tokens", {"logits"})
    assert RefusalJensenShannonLoss(forget="a", alternate="b").streams == ("a", "b")
    assert record(RefusalJensenShannonLoss(with_end=True))["init_args"] == {"with_end": True}


def test_me_differs_from_its_code_where_logits_are_large():
    """The authors add 1e-12 to probabilities: no difference for usual logits, and a bound for large ones."""
    logits, _, labels = make_tensors()
    for scale, differs in ((1.0, False), (30.0, True)):
        view = make_view(scale * logits, logits, labels)
        p = torch.softmax(scale * logits[:, :-1], -1)[view.mask]
        theirs = (-math.log(V) - (p + 1e-12).log().mean(-1)).mean().item()
        ours = UniformKLLoss()(view).item()
        assert (ours > theirs + 1) == differs
        assert differs or ours == pytest.approx(theirs, rel=1e-8)
        assert theirs < -math.log(1e-12) - math.log(V)


def test_flat_reads_pairs():
    objective = FLATLoss()
    assert (objective.streams, objective.role) == (("forget.alternate", "forget"), "forget")
    assert (objective.mean_over, objective.needs) == ("sequences", frozenset())
    assert FLATLoss("js", alternate="a", forget="b").streams == ("a", "b")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UNDIALLoss(beta=0.0), "beta is 0.0"),
        (lambda: UNDIALLoss(beta=math.nan), "beta is nan"),
        (lambda: BoundedKLLoss(skew=1.0), "skew is 1.0"),
        (lambda: BoundedKLLoss(skew=0.0), "skew is 0.0"),
        (lambda: FLATLoss("hellinger"), "'hellinger', but must be one of kl, tv, js, pearson"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
