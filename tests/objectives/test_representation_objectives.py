"""The losses on hidden states as objectives. In the views, the hidden states are the logits (D = V)."""

import math
import pickle

import pytest
import torch

from tests import kit
from tests.objectives.views import LENGTH, PROMPT, B, V, make_tensors, make_view
from unlearn_pl.models import CausalLM
from unlearn_pl.models.language.forward import stream_forward
from unlearn_pl.objectives import AdaptiveRMULoss, HiddenDistanceLoss, HiddenStateLoss, ReroutingLoss, RMULoss
from unlearn_pl.recording import record
from unlearn_pl.types import parse_needs

OBJECTIVES = [RMULoss(layer=7, coefficient=6.5, seed=1), AdaptiveRMULoss(layer=7, seed=1), HiddenStateLoss(layer=7)]
per_objective = pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: type(o).__name__)


def direction(seed):
    draw = torch.rand(V, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return draw / (draw**2).sum().sqrt()


def target_of(objective, reference):
    match objective:
        case RMULoss():
            return objective.coefficient * direction(objective.seed)
        case AdaptiveRMULoss():
            return objective.factor * (reference**2).sum().sqrt() * direction(objective.seed)
        case HiddenStateLoss():
            return reference


@per_objective
def test_value_is_a_mean_over_tokens_then_sequences(objective):
    hidden, ref_hidden, labels = make_tensors()
    means = []
    for b in range(B):
        errors = [
            ((hidden[b, t - 1] - target_of(objective, ref_hidden[b, t - 1])) ** 2).mean().item()
            for t in range(PROMPT[b], LENGTH[b])
        ]
        means.append(sum(errors) / len(errors))
    view = make_view(hidden, ref_hidden, labels)
    assert view.count(objective.mean_over) == B
    assert objective(view).item() == pytest.approx(sum(means) / B, rel=1e-10)


@per_objective
def test_only_the_layer_of_the_objective_is_read(objective):
    hidden, ref_hidden, labels = make_tensors()
    view = make_view(hidden, ref_hidden, labels)
    expected = objective(view)
    view.hidden[8] = view.hidden[8] * torch.nan
    view.ref_hidden[8] = view.ref_hidden[8] * torch.nan
    assert objective(view) == expected


def test_only_the_retain_side_vanishes_at_the_reference():
    hidden, _, labels = make_tensors()
    for objective in OBJECTIVES:
        leaf = hidden.clone().requires_grad_()
        loss = objective(make_view(leaf, hidden, labels))
        loss.backward()
        assert objective.zero_at_reference == isinstance(objective, HiddenStateLoss)
        assert (loss.item() == 0) == ((leaf.grad == 0).all().item()) == objective.zero_at_reference


def test_adaptive_targets_follow_the_scale_of_the_hidden_states():
    hidden, ref_hidden, labels = make_tensors()
    objective = AdaptiveRMULoss(layer=7)
    small, large = (objective(make_view(s * hidden, s * ref_hidden, labels)) for s in (1, 10))
    torch.testing.assert_close(large, 100 * small)


def test_the_direction_survives_pickling_and_is_not_in_the_state():
    view = make_view(*make_tensors())
    objective = RMULoss(layer=7, seed=3)
    expected = objective(view)
    assert pickle.loads(pickle.dumps(objective))(view) == expected
    assert RMULoss(layer=7, seed=3)(view) == expected
    assert RMULoss(layer=7, seed=4)(view) != expected
    assert not objective.state_dict()


def test_hidden_states_come_from_the_module_that_the_docstring_names():
    """Entry n of the hidden states is the output of module ``model.layers.{n - 1}``."""
    model, outputs = kit.model(), []
    model.model.layers[0].register_forward_hook(lambda module, args, output: outputs.append(output))
    tokens = torch.randint(300 // 2, (2, 6), generator=torch.Generator().manual_seed(0))
    batch = {
        "input_ids": tokens,
        "attention_mask": torch.ones_like(tokens),
        "labels": tokens.masked_fill(torch.arange(6) < torch.tensor([[2], [4]]), -100),
        "index": torch.arange(2),
    }
    objective = RMULoss(layer=1, coefficient=2.0, seed=0)
    view = stream_forward(model, batch, objective.needs)
    hooked = outputs[0][0] if isinstance(outputs[0], tuple) else outputs[0]
    draw = torch.rand(32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    errors = (hooked - (2 * draw / draw.norm()).float()).square().mean(-1)
    expected = (errors[0, 1:5].mean() + errors[1, 3:5].mean()) / 2  # labels 2..5 and 4..5, each one position earlier
    torch.testing.assert_close(objective(view), expected)


def test_the_last_layer_is_read_after_the_final_norm_with_a_warning():
    """``hidden_states[-1]`` is no output of a layer; inner ones are, and pass without a word."""
    model, seen = kit.model(), {}
    for name, module in (("layer", model.model.layers[-1]), ("norm", model.model.norm)):
        module.register_forward_hook(lambda module, args, output, name=name: seen.update({name: output}))
    tokens = torch.randint(300 // 2, (1, 6), generator=torch.Generator().manual_seed(0))
    batch = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens), "labels": tokens, "index": torch.arange(1)}
    states = stream_forward(model, batch, {"hidden.2"}).hidden[2]
    assert torch.equal(states, seen["norm"][:, :-1])
    assert not torch.equal(states, seen["layer"][:, :-1])
    spec = CausalLM("unused")
    spec.check(model, {"forget": parse_needs(RMULoss(layer=1).needs)}, 6)
    for objective in (RMULoss(layer=2), AdaptiveRMULoss(layer=2), HiddenStateLoss(layer=2)):
        with pytest.warns(UserWarning, match=r"Objective 'forget' reads layer 2, the last one.* after the final norm"):
            spec.check(model, {"forget": parse_needs(objective.needs)}, 6)


@pytest.mark.parametrize(
    ("cls", "stream", "role", "needs"),
    [
        (RMULoss, "forget", "forget", {"hidden.{}"}),
        (AdaptiveRMULoss, "forget", "forget", {"hidden.{}", "ref_hidden.{}"}),
        (HiddenStateLoss, "retain", "retain", {"hidden.{}", "ref_hidden.{}"}),
    ],
)
def test_what_the_engine_reads(cls, stream, role, needs):
    objective = cls()
    assert (objective.streams, objective.role, objective.mean_over) == ((stream,), role, "sequences")
    assert objective.needs == cls.needs == {need.format(8) for need in needs}
    assert cls(layer=3).needs == {need.format(3) for need in needs}
    assert not list(objective.parameters())
    assert cls(stream="other").streams == ("other",)
    assert record(cls(layer=3, stream="other"))["init_args"] == {"layer": 3, "stream": "other"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RMULoss(layer=-1), "layer is -1"),
        (lambda: HiddenStateLoss(layer=-2), "layer is -2"),
        (lambda: AdaptiveRMULoss(layer=-1), "layer is -1"),
        (lambda: RMULoss(coefficient=0.0), "coefficient is 0.0"),
        (lambda: RMULoss(coefficient=math.inf), "coefficient is inf"),
        (lambda: AdaptiveRMULoss(factor=-5.0), "factor is -5.0"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def of_states(objective, state, reference):
    """The loss of one layer at one position."""
    if isinstance(objective, ReroutingLoss):
        cosine = (state @ reference) / (state.square().sum() * reference.square().sum()).sqrt()
        return max(0.0, cosine.item())
    return (state - reference).square().sum().sqrt().item()


@pytest.mark.parametrize("cls", [ReroutingLoss, HiddenDistanceLoss])
def test_several_layers_are_averaged(cls):
    hidden, ref_hidden, labels = make_tensors()
    view = make_view(hidden, ref_hidden, labels)
    view.hidden[8], view.ref_hidden[8] = view.hidden[7].flip(-1) - 1, view.ref_hidden[7] + 0.5
    scored = view.mask.nonzero().tolist()
    for layers in ([7], [7, 8]):
        objective = cls(layers)
        terms = [
            of_states(objective, view.hidden[layer][b, t], view.ref_hidden[layer][b, t])
            for layer in layers
            for b, t in scored
        ]
        assert objective(view).item() == pytest.approx(sum(terms) / len(terms), rel=1e-10)
        assert {str(need) for need in parse_needs(objective.needs)} == {
            f"{prefix}hidden.{layer}" for layer in layers for prefix in ("", "ref_")
        }


def test_rerouting_starts_at_1_and_ends_at_orthogonal_states():
    hidden, _, labels = make_tensors()
    leaf = hidden.clone().requires_grad_()
    loss = ReroutingLoss([7])(make_view(leaf, hidden, labels))
    assert loss.item() == pytest.approx(1)
    opposed = make_view(leaf, -hidden, labels)
    (gradient,) = torch.autograd.grad(ReroutingLoss([7])(opposed), leaf)
    assert not gradient.any()


def test_the_distance_is_at_rest_at_the_reference_and_pulls_with_the_same_force_elsewhere():
    hidden, _, labels = make_tensors()
    objective = HiddenDistanceLoss([7])
    leaf = hidden.clone().requires_grad_()
    objective(make_view(leaf, hidden, labels)).backward()
    assert not leaf.grad.any()
    near, far = (hidden + scale for scale in (1e-6, 1.0))
    forces = []
    for states in (near, far):
        leaf = states.clone().requires_grad_()
        objective(make_view(leaf, hidden, labels)).backward()
        forces.append(leaf.grad)
    torch.testing.assert_close(forces[0], forces[1], rtol=1e-6, atol=1e-9)
    assert objective.zero_at_reference


@pytest.mark.parametrize("layers", [[], [3, 3], [-1]])
def test_layers_are_checked(layers):
    for cls in (ReroutingLoss, HiddenDistanceLoss):
        with pytest.raises(ValueError, match="layer"):
            cls(layers)
