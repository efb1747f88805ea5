"""MinNorm against the projection of the origin, worked out with vectors."""

import io

import numpy as np
import pytest
import torch

from unlearn_pl.combiners import MinNorm
from unlearn_pl.functional import min_norm_weights
from unlearn_pl.recording import record


def make_combiner(size=2, **options):
    combiner = MinNorm(**options)
    combiner.setup([f"o{k}" for k in range(size)], ["forget"] + ["retain"] * (size - 1))
    return combiner


def random_rows(size, seed=0):
    scales = 10 ** np.linspace(0, -3, size)[:, None]
    return torch.from_numpy(scales * np.random.default_rng(seed).standard_normal((size, 5)))


@pytest.mark.parametrize("size", [2, 3, 5])
def test_l2_solves_for_unit_gradients_at_the_mean_norm(size):
    rows = random_rows(size, seed=size)
    units = rows / rows.norm(dim=1, keepdim=True)
    direction = make_combiner(size)(rows @ rows.T, torch.ones(size)) @ rows
    expected = rows.norm(dim=1).mean() * (min_norm_weights(units @ units.T) @ units)
    torch.testing.assert_close(direction, expected)


@pytest.mark.parametrize("normalization", ["l2", "ema", "none"])
def test_every_objective_descends(normalization):
    combiner = make_combiner(4, normalization=normalization)
    for seed in range(20):
        rows = random_rows(4, seed)
        gramian = rows @ rows.T
        weights = combiner(gramian, torch.ones(4))
        assert (gramian @ weights >= -1e-9 * gramian.diagonal().sqrt() * (weights @ gramian @ weights).sqrt()).all()


def test_two_objectives_of_unit_length_weigh_the_same():
    """The bisector of the two directions, at the mean of the lengths."""
    rows = torch.tensor([[4.0, 0.0], [3.0, 2.0]], dtype=torch.float64)
    units = rows / rows.norm(dim=1, keepdim=True)
    expected = rows.norm(dim=1).mean() * units.mean(dim=0)
    torch.testing.assert_close(make_combiner()(rows @ rows.T, torch.ones(2)) @ rows, expected)


def test_none_gives_the_raw_solution():
    rows = random_rows(3)
    gramian = rows @ rows.T
    torch.testing.assert_close(
        make_combiner(3, normalization="none")(gramian, torch.ones(3)), min_norm_weights(gramian)
    )


@pytest.mark.parametrize("normalization", ["l2", "none", "ema"])
def test_step_scales_with_the_gradients(normalization):
    """Weights do not change when all gradients are scaled: the step keeps the units of a gradient."""
    gramian = random_rows(3) @ random_rows(3).T
    weights = [make_combiner(3, normalization=normalization)(c * gramian, torch.ones(3)) for c in (1.0, 1e-8, 1e6)]
    torch.testing.assert_close(weights[0], weights[1])
    torch.testing.assert_close(weights[0], weights[2])


def test_arguments_are_recorded():
    assert record(MinNorm(satisfied={"forget": 0.05}))["init_args"] == {"satisfied": {"forget": 0.05}}


def test_a_negative_loss_is_never_satisfied():
    """Left out from the first step on, an ascent would never forget, and nobody would be told."""
    combiner = MinNorm(satisfied=0.1)
    combiner.setup(["ascent", "retain"], ["forget", "retain"])
    with pytest.raises(ValueError, match=r"\['ascent'\] are negative.*satisfied=None"):
        combiner(torch.eye(2), torch.tensor([-2.0, 1.0]))
    combiner(torch.eye(2), torch.tensor([2.0, -1.0]))  # nobody set a threshold for the second


def averaged_weights(gramians, decay, size=3):
    """Bias-corrected moving average of the weights of every step."""
    total, weight = torch.zeros(size, dtype=torch.float64), 0.0
    for gramian in gramians:
        norms = gramian.diagonal().sqrt()
        total = decay * total + (1 - decay) * min_norm_weights(gramian / norms.outer(norms))
        weight = decay * weight + (1 - decay)
    return total / weight


def gramians_of(count, size=3):
    return [random_rows(size, seed) @ random_rows(size, seed).T for seed in range(count)]


def test_weight_ema_follows_the_average_of_the_weights():
    combiner = make_combiner(3, weight_ema=0.8)
    for step, gramian in enumerate(gramians_of(5)):
        norms = gramian.diagonal().sqrt()
        expected = averaged_weights(gramians_of(step + 1), 0.8) * norms.mean() / norms
        torch.testing.assert_close(combiner(gramian, torch.ones(3)), expected)


def test_weight_ema_is_renormalized_over_those_who_take_part():
    combiner = make_combiner(3, weight_ema=0.8, normalization="none")
    before = [combiner(gramian, torch.ones(3)) for gramian in gramians_of(2)][-1]
    gramian = torch.eye(3, dtype=torch.float64)
    weights = combiner(gramian, torch.tensor([torch.nan, 1.0, 1.0]))
    corrected, new = (1 - 0.8**2), 0.5
    mixed = (0.8 * before[1:] * corrected + 0.2 * new) / (1 - 0.8**3)
    torch.testing.assert_close(weights[1:], mixed / mixed.sum())
    assert weights[0] == 0


def test_weight_ema_is_kept_for_every_block_of_parameters():
    combiner, alone = make_combiner(3, weight_ema=0.5), [make_combiner(3, weight_ema=0.5) for _ in range(2)]
    for first, second in zip(gramians_of(4), reversed(gramians_of(4)), strict=True):
        weights = combiner(torch.stack([first, second]), torch.ones(3))
        torch.testing.assert_close(weights[0], alone[0](first, torch.ones(3)))
        torch.testing.assert_close(weights[1], alone[1](second, torch.ones(3)))


def test_weight_ema_resumes_exactly_and_setup_forgets():
    whole, first, resumed = (make_combiner(3, weight_ema=0.9) for _ in range(3))
    gramians = gramians_of(6)
    for gramian in gramians[:3]:
        whole(gramian, torch.ones(3))
        first(gramian, torch.ones(3))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for gramian in gramians[3:]:
        assert torch.equal(resumed(gramian, torch.ones(3)), whole(gramian, torch.ones(3)))
    resumed.setup(["o0", "o1", "o2"], ["forget", "retain", "retain"])
    fresh = make_combiner(3, weight_ema=0.9)
    assert torch.equal(resumed(gramians[0], torch.ones(3)), fresh(gramians[0], torch.ones(3)))


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_weight_ema_is_a_decay(decay):
    with pytest.raises(ValueError, match=r"weight_ema is .* must be in \[0, 1\)"):
        MinNorm(weight_ema=decay)
