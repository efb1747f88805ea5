"""Scores against their formulas, and against what the losses do when a weight is really set to 0."""

import functools

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad

from tests import kit
from unlearn_pl.attribution import SNIP, WAGLE, Magnitude, Measured, Random, SalUn, Wanda, write_mask
from unlearn_pl.gradients import BFloat16Rows, FirstOrder, SketchedRows
from unlearn_pl.models.language.checkpointing import checkpoint_activations
from unlearn_pl.modules import MOLLM, GradAscent


def small_net():
    """A network of two layers, the gradients of two losses on it, and the losses as functions of its weights."""
    generator = torch.Generator().manual_seed(0)
    draw = functools.partial(torch.randn, generator=generator, dtype=torch.float64)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    weights = {name: 0.3 * draw(parameter.shape) for name, parameter in net.named_parameters()}
    batches = {data: (draw(6, 3), draw(6, 2)) for data in ("forget", "retain")}

    def loss(data, weights):
        inputs, targets = batches[data]
        return (functional_call(net, weights, inputs) - targets).square().mean()

    losses = {data: functools.partial(loss, data) for data in batches}
    gradients = {data: grad(of_data)(weights) for data, of_data in losses.items()}
    parameters = [
        Measured(name, weight, {data: gradients[data][name] for data in gradients}) for name, weight in weights.items()
    ]
    return parameters, losses, weights


@pytest.mark.parametrize("gamma", [1e-3, 0.5, 1e8])
def test_wagle_is_its_closed_form(gamma):
    parameters, _, _ = small_net()
    wagle = WAGLE(0.5, gamma)
    found = wagle.prepare(parameters, False)
    first = sum((p.weight * p.gradients["forget"]).abs().sum() for p in parameters)
    second = sum((p.gradients["retain"] * p.gradients["forget"]).abs().sum() for p in parameters) / gamma
    assert found == pytest.approx({"gamma": gamma, "term_ratio": (second / first).item()})
    for p in parameters:
        expected = (p.weight - p.gradients["retain"] / gamma) * p.gradients["forget"]
        torch.testing.assert_close(wagle.score(p), expected, rtol=1e-12, atol=0)


def test_wagle_is_what_zeroing_a_weight_changes_after_it_has_adapted_to_the_retain_data():
    """Bi-level, by finite differences: with its mask at 1 - e, weight i is ``(1 - e) (theta_i - slope_i / gamma)``.

    That is the answer of the lower level, the retain loss with the ridge penalty gamma/2, its slope measured at theta;
    up to a constant that e does not change. The score is what the forget loss loses per e.
    """
    parameters, losses, weights = small_net()
    gamma, step = 0.7, 1e-4

    def moved(name, index, by):
        at = {n: w.clone() for n, w in weights.items()}
        at[name].view(-1)[index] += by
        return at

    def central(data, name, index, direction):
        ends = [losses[data](moved(name, index, sign * step * direction)) for sign in (1, -1)]
        return (ends[0] - ends[1]) / (2 * step)

    wagle = WAGLE(0.5, gamma)
    wagle.prepare(parameters, False)
    for p in parameters:
        for i, score in enumerate(wagle.score(p).view(-1)):
            slope = central("retain", p.name, i, 1.0)
            lost = -central("forget", p.name, i, -(weights[p.name].view(-1)[i] - slope / gamma))
            torch.testing.assert_close(score, lost, rtol=1e-5, atol=1e-8)


def test_snip_is_the_loss_of_a_zeroed_weight_and_the_limit_of_wagle():
    parameters, losses, weights = small_net()
    wagle = WAGLE(0.5, gamma=1e12)
    wagle.prepare(parameters, False)
    small = 1e-3
    for p in parameters:
        scores = SNIP(0.5).score(p)
        torch.testing.assert_close(wagle.score(p), scores, rtol=1e-9, atol=1e-12)
        for i in range(p.weight.numel()):
            less = {n: w.clone() for n, w in weights.items()}
            less[p.name].view(-1)[i] *= 1 - small
            change = (losses["forget"](weights) - losses["forget"](less)) / small
            torch.testing.assert_close(scores.view(-1)[i], change, rtol=0.02, atol=1e-5)


def test_gamma_auto_balances_the_medians():
    parameters, _, _ = small_net()
    gradients = torch.cat([p.gradients["retain"].flatten() for p in parameters]).abs()
    sizes = torch.cat([p.weight.flatten() for p in parameters]).abs()
    # The upper of two middle values, where their number is even.
    middle = [values.sort().values[len(values) // 2].item() for values in (gradients, sizes)]
    found = WAGLE(0.5).prepare(parameters, False)["gamma"]
    assert found == pytest.approx(middle[0] / middle[1], rel=1e-6)


def test_gamma_auto_needs_gradients_and_weights():
    weight = torch.tensor([1.0, 2.0, 3.0])
    for parameter, what in (
        (Measured("a", weight, {"forget": weight, "retain": torch.tensor([0.0, 0.0, 1.0])}), r"\|g_r\|"),
        (Measured("a", torch.tensor([0.0, 0.0, 1.0]), {"forget": weight, "retain": weight}), r"\|theta\|"),
    ):
        with pytest.raises(ValueError, match=rf"median of {what} is 0\.0.*gamma a number"):
            WAGLE(0.5).prepare([parameter], False)
    WAGLE(0.5, gamma=1.0).prepare([Measured("a", weight)], False)


def test_the_other_scores():
    weight = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.0, -1.0]])
    gradient = torch.tensor([[0.0, 1.0, -1.0], [4.0, 5.0, 6.0]])
    p = Measured("a", weight, {"forget": gradient}, input_norms=torch.tensor([1.0, 10.0, 100.0]))
    assert torch.equal(SalUn(0.5).score(p), gradient)
    assert torch.equal(Magnitude(0.5).score(p), weight)
    assert Wanda(0.5).score(p).abs().tolist() == [[1.0, 20.0, 300.0], [0.5, 0.0, 100.0]]
    drawn = Random(0.5, seed=3).score(p)
    assert torch.equal(drawn, Random(0.5, seed=3).score(p))
    assert not torch.equal(drawn, Random(0.5, seed=4).score(p))
    assert not torch.equal(drawn, Random(0.5, seed=3).score(Measured("b", weight)))


def test_blocks_compete_by_themselves():
    generator = torch.Generator().manual_seed(0)
    names = ["embed.weight", "layers.0.q.weight", "layers.0.k.weight", "layers.1.q.weight"]
    sizes = [40, 20, 30, 50]
    scaled = [10.0 ** (3 * i) * torch.randn(size, generator=generator) for i, size in enumerate(sizes)]
    parameters = [Measured(name, weight) for name, weight in zip(names, scaled, strict=True)]

    def kept(scope):
        return [int(marks.sum()) for marks in Magnitude(0.2, scope=scope).mark(parameters)]

    assert kept("global") == [0, 0, 0, 28]
    assert kept("tensor") == [8, 4, 6, 10]
    assert kept("group")[0] == 8
    assert kept("group")[1] + kept("group")[2] == 10
    assert kept("group")[2] == 10  # a thousand times the other parameter of the layer
    assert kept("group")[3] == 10


# Measured on a language model -----------------------------------------------------------------------------------------


class Spy(WAGLE):
    """Keeps what it was given."""

    def prepare(self, parameters, sharded):
        self.seen = {p.name: {data: g.clone() for data, g in p.gradients.items()} for p in parameters}
        return super().prepare(parameters, sharded)


def token_mean_gradient(model, batches):
    """Mean over steps of the gradient of the token mean over a step's micro-batches, written again."""
    steps = []
    for micro_batches in batches:
        model.zero_grad()
        total, count = 0, 0
        for batch in micro_batches:
            tokens = batch
            logits = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).logits[:, :-1]
            labels = tokens["labels"][:, 1:]
            total = total + nn.functional.cross_entropy(
                logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum"
            )
            count += (labels != -100).sum()
        (total / count).backward()
        steps.append({name: parameter.grad.clone() for name, parameter in model.named_parameters()})
    return {name: torch.stack([step[name] for step in steps]).mean(dim=0) for name in steps[0]}


def test_gradients_are_means_over_the_data(tmp_path):
    spy, module, model = Spy(0.1, gamma=1.0), MOLLM(kit.model(dtype=torch.float64)), kit.model(dtype=torch.float64)
    data = kit.Questions(batch_size=4, micro_batch_size=2)
    write_mask(tmp_path / "mask.safetensors", spy, module, data, kit.trainer(max_epochs=1, precision="64-true"))

    data = kit.Questions(batch_size=4, micro_batch_size=2, streams=["forget", "retain"])
    data.setup("fit")
    windows = [window for window, _, _ in data.train_dataloader()]
    assert [len(window["forget"]) for window in windows] == [2, 2, 2, 2]
    for stream in ("forget", "retain"):
        expected = token_mean_gradient(model, [window[stream] for window in windows])
        for name, gradient in expected.items():
            torch.testing.assert_close(spy.seen[name][stream], gradient, rtol=1e-9, atol=1e-13)


def test_how_the_module_would_keep_its_rows_does_not_matter(tmp_path):
    def mask(**options):
        module, data = MOLLM(kit.model(), **options), kit.Questions(batch_size=8, micro_batch_size=4)
        return write_mask(tmp_path / "mask.safetensors", SNIP(0.1), module, data, kit.trainer(max_epochs=1)).mask

    assert mask(gradient=FirstOrder(rows=BFloat16Rows())) == mask(gradient=SketchedRows()) == mask()


def test_the_module_is_left_as_it_was(tmp_path):
    module = GradAscent(kit.model())
    names = ("objectives", "combiner", "optimizer", "schedule", "gradient", "mask", "gradient_clip_val")
    before = {name: getattr(module, name) for name in names}
    write_mask(
        tmp_path / "mask.safetensors",
        WAGLE(0.1, retain_stream="normal"),
        module,
        kit.Questions(batch_size=8, micro_batch_size=4),
        kit.trainer(max_epochs=1),
    )
    for mine, original in zip(module.model.parameters(), kit.model().parameters(), strict=True):
        assert torch.equal(mine, original)
    for name in names:
        assert getattr(module, name) is before[name]
    kit.trainer(max_steps=1).fit(module, kit.Questions(batch_size=8, micro_batch_size=4))
    assert module.windows_closed == 1


class SpyWanda(Wanda):
    """Keeps the norms that it was given."""

    def prepare(self, parameters, sharded):
        self.seen = {p.name: p.input_norms for p in parameters}
        return {}


def test_layers_that_are_computed_twice_are_seen_once(tmp_path):
    seen = []
    for checkpointing in (False, True):
        wanda, model = SpyWanda(0.25), kit.model()
        if checkpointing:
            checkpoint_activations(model)
        data = kit.Questions(forget=8, batch_size=8, micro_batch_size=4)
        write_mask(tmp_path / "mask.safetensors", wanda, MOLLM(model), data, kit.trainer(max_epochs=1))
        seen.append(wanda.seen)
    torch.testing.assert_close(seen[1], seen[0])


def test_wanda_sees_the_inputs_of_linear_layers_without_padding(tmp_path):
    wanda, module = SpyWanda(0.25), MOLLM(kit.model())
    data = kit.Questions(forget=8, batch_size=8, micro_batch_size=4)
    header = write_mask(tmp_path / "mask.safetensors", wanda, module, data, kit.trainer(max_epochs=1))
    model = kit.model()
    linear = {
        f"{name}.weight": m for name, m in model.named_modules() if isinstance(m, nn.Linear) and "head" not in name
    }
    assert set(wanda.seen) == set(linear) == set(header.kept)
    for name, kept in header.kept.items():
        rows, columns = linear[name].weight.shape
        assert kept == rows * round(columns / 4)

    squares = dict.fromkeys(linear, 0)
    for name, layer in linear.items():
        layer.register_forward_hook(
            lambda _, args, __, name=name: squares.update({name: squares[name] + args[0].square().sum(dim=(0, 1))})
        )
    data = kit.Questions(forget=8, batch_size=8, micro_batch_size=1, streams=["forget"])  # one by one: no padding
    data.setup("fit")
    for window, _, _ in data.train_dataloader():
        for batch in window["forget"]:
            model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    for name, total in squares.items():
        torch.testing.assert_close(wanda.seen[name], total.sqrt(), rtol=1e-4, atol=1e-5)
    assert not any(m._forward_pre_hooks for m in module.model.modules())


def test_a_gradient_that_is_not_finite_is_refused(tmp_path):
    module = MOLLM(kit.model())
    module.model.model.norm.weight.data[0] = float("nan")
    path = tmp_path / "mask.safetensors"
    with pytest.raises(RuntimeError, match="non-finite loss or gradient"):
        write_mask(path, SNIP(0.1), module, kit.Questions(batch_size=8, micro_batch_size=8), kit.trainer(max_epochs=1))
    with pytest.raises(ValueError, match=r"Magnitude gives 'model\.norm\.weight' scores that are not finite"):
        write_mask(
            path, Magnitude(0.1), module, kit.Questions(batch_size=8, micro_batch_size=8), kit.trainer(max_epochs=1)
        )
    assert not path.exists()
    assert list(module.objectives) == ["forget", "normal", "retain"]


def test_a_failure_while_measuring_leaves_the_module_as_it_was(tmp_path):
    module, data = MOLLM(kit.model()), kit.Questions(batch_size=8, micro_batch_size=4)
    objectives, model = module.objectives, module.model

    class Failing(SNIP):
        def choose(self, model):
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011
        write_mask(tmp_path / "mask.safetensors", Failing(0.5), module, data, kit.trainer(max_epochs=1))
    assert list(objectives) == ["forget", "normal", "retain"]
    assert module.objectives is objectives
    assert module.model is model


def test_a_trainer_that_takes_no_step_is_named(tmp_path):
    data = kit.Questions(batch_size=8, micro_batch_size=4)
    with pytest.raises(ValueError, match=r"took no step.*max_epochs=0"):
        write_mask(tmp_path / "mask.safetensors", SNIP(0.1), MOLLM(kit.model()), data, kit.trainer(max_epochs=0))
