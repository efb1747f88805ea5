"""Redirection in closed form, against least squares by numpy, gradient descent, and its properties."""

import copy

import numpy as np
import pytest
import torch

from tests import kit
from tests.families import make
from unlearn_pl.models import LoRA
from unlearn_pl.models.layers.projection import output_projection
from unlearn_pl.models.layers.redirect import refit

PROJECTIONS = {
    "llama": "model.layers.1.mlp.down_proj.weight",
    "gpt2": "transformer.h.1.mlp.c_proj.weight",
    "falcon": "transformer.h.1.mlp.dense_4h_to_h.weight",
    "phi3": "model.layers.1.mlp.down_proj.weight",
}
RIDGE, FACTOR = 1e-3, 2.0


def batch(seed, rows=5, length=7):
    ids = torch.randint(3, 300, (rows, length), generator=torch.Generator().manual_seed(seed))
    lengths = length - torch.arange(rows) % 3
    mask = (torch.arange(length) < lengths[:, None]).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


FORGET, RETAIN, REFERENCES = batch(1), batch(2, rows=8), batch(3, rows=4)


def sets(forget=FORGET, retain=RETAIN, references=REFERENCES):
    return [lambda given=given: [given] for given in (forget, retain, references)]


def recorded(model, module, given):
    """Inputs of ``module`` and states of the second layer, as numpy, padding included."""
    seen = {}
    handle = module.register_forward_pre_hook(lambda _, args: seen.update(x=args[0]))
    with torch.no_grad():
        states = model(**given, output_hidden_states=True)
    handle.remove()
    return seen["x"].double().numpy(), states


def mlp(model):
    return model.model.layers[0].mlp.down_proj


def changed(model, **options):
    """The first layer's matrix after a redirection, in fp64."""
    redirected = copy.deepcopy(model)
    found = refit(redirected, [1], *options.pop("batches", sets()), **({"ridge": RIDGE} | options))
    return mlp(redirected).weight.detach().double(), found[0]


@pytest.fixture(scope="module")
def model():
    return kit.model(dtype=torch.float64).eval()


def means_by_hand(model, given):
    """Real tokens' inputs ``[N, in]``, and the mean state after the first layer at the last token."""
    x, outputs = recorded(model, mlp(model), given)
    mask = given["attention_mask"].numpy().astype(bool)
    last = mask.sum(1) - 1
    return x[mask], outputs.hidden_states[1].numpy()[np.arange(len(last)), last].mean(0)


def test_the_new_matrix_is_the_least_squares_fit_of_numpy(model):
    (x_f, state_f), (x_r, _), (_, state_u) = (means_by_hand(model, b) for b in (FORGET, RETAIN, REFERENCES))
    v, old = state_u - state_f, mlp(model).weight.detach().numpy()
    weight = 0.7
    ridge = RIDGE * ((x_f**2).sum() / len(x_f) + weight * (x_r**2).sum() / len(x_r)) / x_f.shape[1]
    scale_f, scale_r = 1 / np.sqrt(len(x_f)), np.sqrt(weight / len(x_r))
    rows = [scale_f * x_f, scale_r * x_r, np.sqrt(ridge) * np.eye(x_f.shape[1])]
    targets = [scale_f * (x_f @ old.T + FACTOR * v), scale_r * x_r @ old.T, np.sqrt(ridge) * old.T]
    expected = np.linalg.lstsq(np.concatenate(rows), np.concatenate(targets), rcond=None)[0].T
    new, found = changed(model, retain_weight=weight, factor=FACTOR)
    np.testing.assert_allclose(new.numpy(), expected, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(found.direction.numpy(), v, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.change.numpy(), expected - old, rtol=1e-6, atol=1e-8)
    moved = x_f @ (expected - old).T
    squared = FACTOR**2 * (v @ v)
    assert found.forget_error == pytest.approx(((moved - FACTOR * v) ** 2).sum(1).mean() / squared, rel=1e-6)
    assert found.retain_error == pytest.approx(((x_r @ (expected - old).T) ** 2).sum(1).mean() / squared, rel=1e-6)


def test_many_steps_of_the_authors_optimizer_end_no_lower_and_near(model):
    """The mean squared errors on activations, by Adam from the old matrix; the closed form is their minimum."""
    (x_f, state_f), (x_r, _), (_, state_u) = (means_by_hand(model, b) for b in (FORGET, RETAIN, REFERENCES))
    x_f, x_r, v = torch.tensor(x_f), torch.tensor(x_r), torch.tensor(state_u - state_f)
    old = mlp(model).weight.detach()
    penalty = RIDGE * (x_f.square().sum(1).mean() + x_r.square().sum(1).mean()) / x_f.shape[1]

    def error(weight):
        change = weight - old
        forget = (x_f @ change.T - FACTOR * v).square().sum(1).mean()
        return forget + (x_r @ change.T).square().sum(1).mean() + penalty * change.square().sum()

    weight = old.clone().requires_grad_()
    optimizer = torch.optim.AdamW([weight], lr=1e-2, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.995)
    for _ in range(800):
        optimizer.zero_grad()
        error(weight).backward()
        optimizer.step()
        schedule.step()
    closed = error(changed(model, factor=FACTOR)[0])
    assert closed < error(old)
    assert closed <= error(weight) * (1 + 1e-9)
    assert error(weight) < closed + 0.05 * (error(old) - closed)


def test_forget_tokens_move_along_the_direction_and_retain_tokens_within_the_bound(model):
    new, found = changed(model, factor=FACTOR)
    change = new - mlp(model).weight.detach()
    (x_f, _), (x_r, _) = (means_by_hand(model, b) for b in (FORGET, RETAIN))
    moved, stayed = torch.tensor(x_f) @ change.T, torch.tensor(x_r) @ change.T
    cosines = torch.nn.functional.cosine_similarity(moved.mean(0), found.direction, dim=0)
    assert cosines > 0.999  # all of the change is along v
    assert (moved @ found.direction).mean() / found.direction.square().sum() > 0.5
    # Both errors, in units of |c v|^2, are at most that of no change, 1.
    assert found.forget_error + found.retain_error < 1
    assert stayed.square().sum(1).mean() < FACTOR**2 * found.direction.square().sum() * (1 - found.forget_error)
    careful = changed(model, factor=FACTOR, retain_weight=100.0)[1]
    assert careful.retain_error < found.retain_error
    assert careful.forget_error > found.forget_error


def test_the_states_after_the_layer_move_as_much_as_the_output_of_the_matrix(model):
    redirected = copy.deepcopy(model)
    refit(redirected, [1], *sets(), ridge=RIDGE)
    with torch.no_grad():
        before, after = (m(**FORGET, output_hidden_states=True).hidden_states[1] for m in (model, redirected))
    x, _ = recorded(model, mlp(model), FORGET)
    change = (mlp(redirected).weight - mlp(model).weight).detach()
    torch.testing.assert_close(after - before, torch.tensor(x) @ change.T)
    assert (after - before).abs().max() > 1e-3


def test_a_factor_of_0_changes_nothing(model):
    assert torch.equal(changed(model, factor=0.0)[0], mlp(model).weight)
    single = kit.model()
    assert torch.equal(changed(single, factor=0.0)[0].float(), mlp(single).weight)


def test_only_the_matrices_of_the_layers_change(model):
    redirected = copy.deepcopy(model)
    found = refit(redirected, [2, 1], *sets(), ridge=RIDGE)
    assert [r.name for r in found] == [f"model.layers.{n}.mlp.down_proj.weight" for n in (0, 1)]
    before, after = dict(model.named_parameters()), dict(redirected.named_parameters())
    assert {name for name in before if not torch.equal(before[name], after[name])} == {r.name for r in found}
    # The second one is fit on what the first one leads to.
    one_by_one = copy.deepcopy(model)
    for layer in (1, 2):
        refit(one_by_one, [layer], *sets(), ridge=RIDGE)
    for name, parameter in one_by_one.named_parameters():
        torch.testing.assert_close(after[name], parameter, rtol=1e-10, atol=1e-12)


def test_neither_order_nor_batching_nor_padding_matters(model):
    expected = changed(model)[0]
    order = torch.tensor([3, 0, 4, 1, 2])
    shuffled = {name: part[order] for name, part in FORGET.items()}
    cut = [lambda: [{name: part[:2] for name, part in FORGET.items()}, {n: p[2:] for n, p in FORGET.items()}]]
    padded = {
        name: torch.nn.functional.pad(part, (0, 4), value=9 * (name == "input_ids")) for name, part in FORGET.items()
    }
    for batches in (sets(shuffled), cut + sets()[1:], sets(padded)):
        torch.testing.assert_close(changed(model, batches=batches)[0], expected, rtol=1e-8, atol=1e-10)


def test_answers_count_as_tokens_and_not_for_the_direction(model):
    last = FORGET["attention_mask"].sum(1) - 3
    _, found = changed(model, batches=sets(FORGET | {"last": last}))
    with torch.no_grad():
        states = {
            name: model(**given, output_hidden_states=True).hidden_states[1]
            for name, given in {"forget": FORGET, "references": REFERENCES}.items()
        }
    end = REFERENCES["attention_mask"].sum(1) - 1
    v = states["references"][range(4), end].mean(0) - states["forget"][range(5), last].mean(0)
    torch.testing.assert_close(found.direction, v)


@pytest.mark.parametrize("family", PROJECTIONS)
def test_the_matrix_is_found_in_any_architecture_and_refit(family):
    model = make(family, 300)
    assert output_projection(model, 2).name == PROJECTIONS[family]
    before = model.get_parameter(PROJECTIONS[family]).detach().clone()
    with torch.no_grad():
        states = model(**FORGET, output_hidden_states=True).hidden_states[1]
    found = refit(model, [1], *sets(), ridge=RIDGE)[0]
    with torch.no_grad():
        moved = (model(**FORGET, output_hidden_states=True).hidden_states[1] - states)[FORGET["attention_mask"].bool()]
    assert torch.equal(before, model.get_parameter(PROJECTIONS[family]))  # that of the other layer
    assert moved.mean(0) @ found.direction.float() / found.direction.square().sum() > 0.5


@pytest.mark.parametrize("side_by_side", [False, True])
def test_attention_beside_the_mlp_is_told_apart(side_by_side):
    """In GPT-NeoX, what attention writes may go straight to the output of the layer, too."""
    import transformers

    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.GPTNeoXConfig(vocab_size=300, use_parallel_residual=side_by_side, **sizes)
    model = transformers.GPTNeoXForCausalLM(config).eval()
    assert output_projection(model, 1).name == "gpt_neox.layers.0.mlp.dense_4h_to_h.weight"


@pytest.mark.parametrize("family", ["mixtral", "gpt_oss", "qwen2_moe"])
def test_experts_are_refused(family):
    with pytest.raises(ValueError, match="has no single matrix outside of attention"):
        output_projection(make(family, 300), 1)


def test_adapters_and_shared_weights_are_refused():
    with pytest.raises(ValueError, match="has adapters; accepted: a whole model"):
        output_projection(LoRA(r=2).apply(kit.model()), 1)
    shared = kit.model()
    shared.model.layers[1].mlp.down_proj.weight = mlp(shared).weight
    with pytest.raises(ValueError, match="are one weight"):
        output_projection(shared, 1)


def test_a_norm_after_the_mlp_is_refused():
    import transformers

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.Gemma2Config(vocab_size=300, num_key_value_heads=2, head_dim=16, **sizes)
    with pytest.raises(ValueError, match=r"\(found: none\)"):
        output_projection(transformers.Gemma2ForCausalLM(config), 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": []}, "layers=.*at least one"),
        ({"layers": [1, 1]}, "none of them twice"),
        ({"layers": [3]}, "layer=3, but LlamaForCausalLM has 2 layers"),
        ({"factor": float("nan")}, "factor=nan"),
        ({"ridge": 0.0}, "ridge=0.0"),
        ({"retain_weight": -1.0}, "retain_weight=-1.0"),
    ],
)
def test_bad_arguments_change_nothing(arguments, message):
    model = kit.model()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=message):
        refit(model, arguments.get("layers", [1]), *sets(), **{k: v for k, v in arguments.items() if k != "layers"})
    with pytest.raises(ValueError, match="no question in one of the three"):
        refit(model, [1], *sets()[:2], lambda: [])
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
