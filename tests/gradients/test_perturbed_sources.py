"""Sharpness-aware gradients and random smoothing, against autograd at explicitly shifted weights."""

import math

import pytest
import torch
from torch import Tensor, nn

from tests.gradients.test_replay import VOCAB, SequenceMean, TokenMean
from tests.runtime import FakeRuntime, by_stream
from unlearn_pl.gradients import FirstOrder, RandomSmoothing, Replay, SharpnessAware, UnlearningAware, window_of
from unlearn_pl.gradients.sources.perturbation import shifted
from unlearn_pl.types import IGNORE_INDEX, LanguageView, label_mask


class Quadratic:
    """A bigram model, a forget objective of each kind and a retain one, three micro-batches."""

    def __init__(self, roles=("forget", "forget", "retain")) -> None:
        generator = torch.Generator().manual_seed(3)
        self.table = nn.Parameter(torch.randn(VOCAB, VOCAB, generator=generator, dtype=torch.float64))
        self.unused = nn.Parameter(torch.ones(2, dtype=torch.float64))
        self.parameters = [self.table, self.unused]
        self.objectives = {"token": TokenMean(), "sequence": SequenceMean(), "keep": TokenMean("retain")}
        for objective, role in zip(self.objectives.values(), roles, strict=True):
            objective.role = role
        self.micro_batches = [self.batch(generator, lengths) for lengths in ([7, 3], [5, 2], [4, 6])]
        self.masked: list[int] = []

    def batch(self, generator, lengths):
        streams = {}
        for name in ("forget", "retain"):
            ids = torch.randint(VOCAB, (2, 8), generator=generator)
            labels = ids.clone()
            for row, length in enumerate(lengths):
                labels[row, length:] = IGNORE_INDEX
            streams[name] = {
                "input_ids": ids,
                "attention_mask": torch.ones_like(ids),
                "labels": labels,
                "index": torch.arange(2),
            }
        return streams

    def view(self, stream, batch) -> LanguageView:
        labels = batch["labels"][:, 1:]
        mask = label_mask(batch["labels"])
        logps = torch.log_softmax(self.table[batch["input_ids"][:, :-1]], -1)
        logps = logps.gather(-1, labels.clamp(min=0)[..., None])[..., 0] * mask
        return LanguageView(labels=labels, mask=mask, logps=logps, index=batch["index"])

    def replay(self, mask=lambda row: None, step=0) -> Replay:
        runtime = FakeRuntime(self.parameters, self.view, mask)
        return Replay(window_of(by_stream(self.micro_batches), self.objectives, runtime.count, step=step), runtime)

    def gradient(self, name: str, table: Tensor) -> Tensor:
        """``grad L_name`` at ``table``, through FirstOrder's independent path: one graph over the whole window."""
        kept = self.table.detach().clone()
        with torch.no_grad():
            self.table.copy_(table)
        objective = self.objectives[name]
        stream = objective.stream
        views = [self.view(stream, batch[stream]) for batch in self.micro_batches]
        logps = [v.logps[v.mask] for v in views]
        if name == "sequence":
            loss = torch.cat([v.logps.sum(-1).sigmoid() for v in views]).mean()
        else:
            loss = torch.cat(logps).square().mean()
        (gradient,) = torch.autograd.grad(loss, [self.table])
        with torch.no_grad():
            self.table.copy_(kept)
        return gradient


def test_sharpness_aware_rows_are_gradients_up_the_forget_slope():
    case = Quadratic()
    theta = case.table.detach().clone()
    plain = {name: case.gradient(name, theta) for name in case.objectives}
    ascent = plain["token"] + plain["sequence"]
    there = theta + 0.5 * ascent / ascent.norm()
    replay = case.replay()
    rows = SharpnessAware(rho=0.5).rows(replay)
    assert list(rows) == ["token", "sequence", "keep"]
    for name in ("token", "sequence"):
        torch.testing.assert_close(rows[name][0], case.gradient(name, there), rtol=1e-10, atol=1e-12)
        assert not torch.allclose(rows[name][0], plain[name], rtol=1e-3)
    torch.testing.assert_close(rows["keep"][0], plain["keep"], rtol=1e-10, atol=1e-12)
    assert torch.equal(case.table, theta)
    reference = case.replay()
    FirstOrder().rows(reference)
    assert torch.equal(replay.readings[:, :2], reference.readings[:, :2])


@pytest.mark.parametrize("orthogonal", [False, True])
def test_unlearning_aware_rows_are_retain_gradients_where_forgetting_leads(orthogonal):
    case = Quadratic()
    theta = case.table.detach().clone()
    plain = {name: case.gradient(name, theta) for name in case.objectives}
    direction = plain["token"] + plain["sequence"]
    if orthogonal:
        direction = direction - (direction * plain["keep"]).sum() / plain["keep"].square().sum() * plain["keep"]
        assert abs((direction * plain["keep"]).sum()) < 1e-12
    there = theta - 0.5 * direction / direction.norm()
    replay = case.replay()
    rows = UnlearningAware(0.5, orthogonal).rows(replay)
    assert list(rows) == ["token", "sequence", "keep"]
    torch.testing.assert_close(rows["keep"][0], case.gradient("keep", there), rtol=1e-10, atol=1e-12)
    assert not torch.allclose(rows["keep"][0], plain["keep"], rtol=1e-3)
    for name in ("token", "sequence"):
        torch.testing.assert_close(rows[name][0], plain[name], rtol=1e-10, atol=1e-12)
    assert torch.equal(case.table, theta)
    reference = case.replay()
    FirstOrder().rows(reference)
    assert torch.equal(replay.readings[:, :2], reference.readings[:, :2])


@pytest.mark.parametrize("roles", [("retain", "retain", "retain"), ("forget", "forget", "forget")])
def test_unlearning_aware_needs_both_roles(roles):
    case = Quadratic(roles)
    plain, rows = FirstOrder().rows(case.replay()), UnlearningAware(0.5, True).rows(case.replay())
    assert all(torch.equal(plain[name][0], rows[name][0]) for name in plain)


def test_masked_weights_are_not_perturbed():
    case = Quadratic()
    theta = case.table.detach().clone()
    frozen = torch.zeros(VOCAB, VOCAB, dtype=torch.bool)
    frozen[::2] = True

    def mask(row):
        if row[0] is not None:
            row[0].masked_fill_(frozen, 0.0)

    ascent = (case.gradient("token", theta) + case.gradient("sequence", theta)).masked_fill(frozen, 0.0)
    rows = SharpnessAware(rho=0.3).rows(case.replay(mask))
    expected = case.gradient("token", theta + 0.3 * ascent / ascent.norm()).masked_fill(frozen, 0.0)
    torch.testing.assert_close(rows["token"][0], expected, rtol=1e-10, atol=1e-12)


def test_a_weighted_sum_of_a_source_is_that_of_its_rows():
    weights = {"token": 0.3, "sequence": 2.0, "keep": -1.0}
    for source in (SharpnessAware(rho=0.2), RandomSmoothing(sigma=0.1), UnlearningAware(0.2, True), FirstOrder()):
        case = Quadratic()
        rows = source.rows(case.replay())
        expected = sum(weights[name] * rows[name][0] for name in weights)
        replay = case.replay()
        source.weighted_sum(replay.window, replay.runtime, weights)
        torch.testing.assert_close(case.table.grad, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("source", [SharpnessAware(rho=0.2), RandomSmoothing(sigma=0.2)])
def test_without_forget_objectives_rows_are_plain(source):
    case = Quadratic(roles=("retain", "retain", "retain"))
    plain = FirstOrder().rows(case.replay())
    rows = source.rows(case.replay())
    for name, row in plain.items():
        assert torch.equal(row[0], rows[name][0])


def test_a_forget_gradient_of_zero_is_left_alone():
    case = Quadratic()
    rows = SharpnessAware().rows(case.replay(mask=lambda row: [g.zero_() for g in row if g is not None]))
    assert all(g is None or not g.any() for row in rows.values() for g in row)


def test_smoothing_averages_gradients_at_gaussian_weights():
    case = Quadratic()
    theta = case.table.detach().clone()
    source = RandomSmoothing(sigma=0.1, samples=3, seed=4)
    noises = [source._noise(case.replay(step=7), sample)[0] for sample in range(3)]
    replay = case.replay(step=7)
    rows = source.rows(replay)
    for name in ("token", "sequence"):
        expected = sum(case.gradient(name, theta + 0.1 * noise) for noise in noises) / 3
        torch.testing.assert_close(rows[name][0], expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(rows["keep"][0], case.gradient("keep", theta), rtol=1e-10, atol=1e-12)
    assert torch.equal(case.table, theta)
    kept = []
    for noise in noises:
        with torch.no_grad():
            case.table.copy_(theta + 0.1 * noise)
        other = case.replay(step=7)
        FirstOrder().rows(other)
        kept.append(other.readings)
    torch.testing.assert_close(replay.readings[:2, :2], torch.stack(kept).mean(0)[:2, :2])
    drawn = torch.cat([noise.flatten() for noise in noises])
    assert abs(drawn.mean()) < 4 / math.sqrt(drawn.numel())
    assert abs(drawn.std() - 1) < 4 / math.sqrt(2 * drawn.numel())


def test_noise_depends_on_seed_step_and_sample_alone():
    case = Quadratic()

    def noise(seed, step, sample):
        return RandomSmoothing(seed=seed)._noise(case.replay(step=step), sample)[0]

    torch.manual_seed(0)
    first = noise(0, 5, 0)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert torch.equal(first, noise(0, 5, 0))
    assert torch.equal(state, torch.get_rng_state())
    for other in ((1, 5, 0), (0, 6, 0), (0, 5, 1)):
        assert not torch.equal(first, noise(*other))


def fail_inside(weights):
    before = [w.detach().clone() for w in weights]
    with shifted(weights, [torch.full((5,), 1e-3), None], 0.7):
        assert not torch.equal(weights[0], before[0])
        assert torch.equal(weights[1], before[1])
        raise RuntimeError("inside")


def test_shifting_comes_back_bit_by_bit_even_after_an_error():
    weights = [nn.Parameter(torch.randn(5, dtype=dtype)) for dtype in (torch.float32, torch.bfloat16)]
    before = [w.detach().clone() for w in weights]
    with pytest.raises(RuntimeError, match="inside"):
        fail_inside(weights)
    assert all(torch.equal(w, b) for w, b in zip(weights, before, strict=True))


def test_autocast_does_not_remember_the_weights_before_the_shift():
    layer = nn.Linear(4, 4, bias=False)
    inputs = torch.randn(2, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        here = layer(inputs)
        with shifted([layer.weight], [torch.ones(4, 4)]):
            there = layer(inputs)
        back = layer(inputs)
    assert torch.equal(here, back)
    torch.testing.assert_close((there - here).float(), inputs.sum(-1, keepdim=True).expand(2, 4), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("rho", [0.0, -1.0, math.inf, math.nan])
def test_radius_must_be_positive(rho):
    with pytest.raises(ValueError, match="rho is"):
        SharpnessAware(rho)
    with pytest.raises(ValueError, match="rho is"):
        UnlearningAware(rho)
    with pytest.raises(ValueError, match="sigma is"):
        RandomSmoothing(rho)


def test_samples_must_be_positive():
    with pytest.raises(ValueError, match="samples is 0"):
        RandomSmoothing(samples=0)
