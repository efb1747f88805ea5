"""What every combiner does around its rule: liveness, satisfaction, stationarity, normalization, blocks, state."""

import io

import pytest
import torch
from torch import Tensor

from unlearn_pl.combiners import DualBasis, GramianCombiner, MinNorm, UPGrad
from unlearn_pl.recording import record

NAMES, ROLES = ["forget", "retain", "kl"], ["forget", "retain", "retain"]
LOSSES = torch.tensor([0.5, 1.0, 0.1])


class EqualWeights(GramianCombiner):
    """Shows what the base class does by itself, and keeps what it was given."""

    def weigh(self, gramian: Tensor, losses: Tensor) -> Tensor:
        self.gramian, self.losses = gramian, losses
        return torch.full_like(losses, 1 / len(losses))


def make_combiner(cls=EqualWeights, zero_at_start=(), **options):
    combiner = cls(**options)
    combiner.setup(NAMES, ROLES, zero_at_start)
    return combiner


def gramian_of(*norms, cosine=0.0):
    """Gradients of these norms with the same cosine between any two."""
    cosines = torch.full((len(norms), len(norms)), cosine, dtype=torch.float64).fill_diagonal_(1.0)
    lengths = torch.tensor(norms, dtype=torch.float64)
    return cosines * lengths.outer(lengths)


def test_the_rule_sees_unit_gradients_and_the_mean_norm_is_put_back():
    combiner = make_combiner()
    weights = combiner(gramian_of(1.0, 2.0, 6.0, cosine=0.5), LOSSES)
    torch.testing.assert_close(combiner.gramian, gramian_of(1.0, 1.0, 1.0, cosine=0.5))
    torch.testing.assert_close(combiner.losses, LOSSES.double())
    torch.testing.assert_close(weights, torch.tensor([1.0, 1 / 2, 1 / 6], dtype=torch.float64))  # mean norm 3, over K


def test_without_normalization_the_rule_sees_the_raw_gradients():
    combiner = make_combiner(normalization="none")
    gramian = gramian_of(1.0, 2.0, 6.0, cosine=0.5)
    assert combiner(gramian, LOSSES).tolist() == pytest.approx([1 / 3] * 3)
    torch.testing.assert_close(combiner.gramian, gramian)


def test_ema_divides_by_the_root_of_the_average_square():
    combiner = make_combiner(normalization="ema", norm_decay=0.5)
    combiner(gramian_of(1.0, 1.0, 1.0), LOSSES)
    combiner(gramian_of(3.0, 1.0, 2.0), LOSSES)
    averages = [(1 * 1 + 2 * square) / 3 for square in (9.0, 1.0, 4.0)]  # weights 1/4 and 1/2, corrected
    expected = torch.tensor([9.0, 1.0, 4.0], dtype=torch.float64) / torch.tensor(averages)
    torch.testing.assert_close(combiner.gramian.diagonal(), expected, rtol=1e-6, atol=0)


def test_floor_lets_a_finished_objective_fade_out():
    with_floor, without = make_combiner(norm_floor=0.5), make_combiner()
    for combiner in (with_floor, without):
        combiner(gramian_of(8.0, 1.0, 1.0), LOSSES)
        combiner(gramian_of(0.04, 1.0, 1.0), LOSSES)
    assert without.gramian[0, 0].item() == pytest.approx(1.0)
    assert with_floor.gramian[0, 0].item() == pytest.approx((0.04 / 4.0) ** 2)


@pytest.mark.parametrize("normalization", ["none", "l2", "ema"])
@pytest.mark.parametrize("cls", [EqualWeights, MinNorm, DualBasis])
def test_one_objective_is_the_identity(cls, normalization):
    combiner = cls(normalization=normalization)
    combiner.setup(["forget"], ["forget"])
    assert combiner(torch.tensor([[7.0]]), torch.tensor([3.0])).tolist() == [1.0]
    assert combiner.stationarity == pytest.approx(1.0)
    three = make_combiner(cls, normalization=normalization)
    assert three(gramian_of(0.0, 2.0, 0.0), LOSSES).tolist() == [0.0, 1.0, 0.0]


def test_tiny_and_zero_gradients_are_left_out():
    combiner = make_combiner(min_relative_norm=1e-3)
    combiner(gramian_of(1e-4, 1.0, 2e-3), LOSSES)
    assert combiner.live.tolist() == [False, True, True]
    combiner(gramian_of(1e-4, 0.0, 2e-3), LOSSES)
    assert combiner.live.tolist() == [True, False, True]  # relative to the longest of this step
    assert make_combiner(min_relative_norm=0.0)(gramian_of(1.0, 0.0, 1e-9), LOSSES)[1] == 0.0


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_is_left_out_and_leaves_no_trace(bad):
    clean, spoiled = (make_combiner(MinNorm, satisfied=0.05, normalization="ema") for _ in range(2))
    gramian = gramian_of(1.0, 2.0, 3.0, cosine=-0.2)
    broken = gramian.clone()
    broken[1, :] = broken[:, 1] = bad
    weights = spoiled(broken, LOSSES)
    assert spoiled.live.tolist() == [True, False, True]
    assert weights[1] == 0.0
    assert weights.isfinite().all()
    assert spoiled(gramian, torch.tensor([bad, 1.0, 0.1]))[0] == 0.0
    for _ in range(2):
        clean(gramian, LOSSES)
    torch.testing.assert_close(spoiled(gramian, LOSSES), clean(gramian, LOSSES))


def test_nobody_live_gives_zeros():
    combiner = make_combiner()
    assert combiner(torch.zeros(3, 3), LOSSES).tolist() == [0.0] * 3
    assert combiner(gramian_of(1.0, 1.0, 1.0), torch.full((3,), torch.nan)).tolist() == [0.0] * 3


def test_an_objective_that_starts_at_zero_waits_until_it_exceeds_its_noise():
    combiner = make_combiner(zero_at_start=[False, False, True], noise_factor=2.0)
    seen = []
    for norm in (0.01, 0.019, 0.021, 0.005):
        weights = combiner(gramian_of(1.0, 1.0, norm), LOSSES)
        seen.append(combiner.live[2].item())
        assert (weights[2] > 0) == combiner.live[2]
    assert seen == [False, False, True, False]


def test_no_noise_at_all_is_exceeded_by_anything():
    combiner = make_combiner(zero_at_start=[False, False, True])
    combiner(gramian_of(1.0, 1.0, 0.0), LOSSES)
    combiner(gramian_of(1.0, 1.0, 1e-3), LOSSES)
    assert combiner.live.tolist() == [True, True, True]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_noise_is_measured_at_the_first_finite_call(bad):
    combiner = make_combiner(zero_at_start=[False, False, True])
    combiner(torch.diag(torch.tensor([1.0, 1.0, bad])), LOSSES)
    combiner(gramian_of(1.0, 1.0, 0.1), LOSSES)
    assert not combiner.live[2]
    combiner(gramian_of(1.0, 1.0, 0.3), LOSSES)
    assert combiner.live[2]


def test_satisfied_objectives_leave_below_the_threshold_and_return_above_twice_that():
    combiner = make_combiner(satisfied=0.1, satisfied_decay=0.0)
    seen = []
    for loss in (0.11, 0.09, 0.15, 0.19, 0.21, 0.15):
        weights = combiner(gramian_of(1.0, 1.0, 1.0), torch.tensor([loss, 0.01, 0.01]))
        seen.append(combiner.satisfied_now[0].item())
        assert (weights[0] == 0) == combiner.satisfied_now[0]
    assert seen == [False, True, True, True, False, False]
    assert combiner.satisfied_now.tolist() == [False, False, False]  # a number concerns role "forget" only


def test_the_moving_average_is_compared_not_the_loss():
    combiner = make_combiner(satisfied={"kl": 0.5}, satisfied_decay=0.9)
    average, weight = 0.0, 0.0
    for loss in (1.0, 0.3, 0.3, 0.2, 0.1, 0.0, 0.0):
        average, weight = 0.9 * average + 0.1 * loss, 0.9 * weight + 0.1
        combiner(gramian_of(1.0, 1.0, 1.0), torch.tensor([0.0, 0.0, loss]))
        assert combiner.satisfied_now.tolist() == [False, False, average / weight < 0.5]
    assert combiner.satisfied_now[2]


def test_all_satisfied_gives_zeros():
    combiner = make_combiner(satisfied=dict.fromkeys(NAMES, 1.0))
    assert combiner(gramian_of(1.0, 1.0, 1.0), torch.full((3,), 0.5)).tolist() == [0.0] * 3


def test_stationarity_is_the_squared_distance_of_the_unit_gradients_hull():
    combiner = make_combiner()
    combiner(gramian_of(1.0, 50.0, 0.02), LOSSES)
    assert combiner.stationarity == pytest.approx(1 / 3)
    combiner(gramian_of(1.0, 50.0, 0.02, cosine=1.0), LOSSES)
    assert combiner.stationarity == pytest.approx(1.0)
    combiner(gramian_of(1.0, 2.0, 0.0, cosine=-0.5), LOSSES)
    assert combiner.stationarity == pytest.approx(1 / 4)  # the dead one does not count


def test_a_stationary_point_skips_the_step():
    combiner = make_combiner()
    opposite = torch.tensor([[4.0, -6.0, 0.0], [-6.0, 9.0, 0.0], [0.0, 0.0, 1.0]])
    assert combiner(opposite, LOSSES).tolist() == [0.0] * 3
    assert combiner.stationarity < 1e-12
    nearly = opposite.double()
    nearly[0, 1] = nearly[1, 0] = -6.0 * (1 - 1e-9)
    assert combiner(nearly, LOSSES).all()


def test_blocks_are_weighed_one_by_one_and_judged_together():
    first, second = gramian_of(1.0, 2.0, 1e-9), gramian_of(3.0, 4.0, 5.0, cosine=-0.3)
    combiner = make_combiner(MinNorm)
    weights = combiner(torch.stack([first, second]), LOSSES)
    assert weights.shape == (2, 3)
    assert combiner.live.all()
    for block, gramian in zip(weights, (first, second), strict=True):
        torch.testing.assert_close(block, make_combiner(MinNorm)(gramian, LOSSES))
    assert weights[0, 2] == 0.0  # does not reach the first block

    combiner = make_combiner(MinNorm, satisfied=1.0)
    assert (combiner(torch.stack([first, second]), LOSSES)[:, 0] == 0.0).all()


def test_blocks_of_any_leading_shape():
    gramian = gramian_of(1.0, 2.0, 3.0, cosine=-0.1)
    weights = make_combiner(MinNorm)(gramian.expand(2, 1, 4, 3, 3), LOSSES)
    torch.testing.assert_close(weights, make_combiner(MinNorm)(gramian, LOSSES).expand(2, 1, 4, 3))


@pytest.mark.parametrize("normalization", ["l2", "ema"])
def test_state_resumes_exactly(normalization):
    options = {
        "normalization": normalization,
        "norm_floor": 0.3,
        "satisfied": 0.4,
        "zero_at_start": [False, False, True],
    }
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(12, 3, 5, generator=generator)
    losses = torch.rand(12, 3, generator=generator)
    whole, first = make_combiner(MinNorm, **options), make_combiner(MinNorm, **options)
    for t in range(6):
        whole(rows[t] @ rows[t].T, losses[t])
        first(rows[t] @ rows[t].T, losses[t])

    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    resumed = make_combiner(MinNorm, **options)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for t in range(6, 12):
        expected = whole(rows[t] @ rows[t].T, losses[t])
        assert torch.equal(resumed(rows[t] @ rows[t].T, losses[t]), expected)
        assert torch.equal(resumed.satisfied_now, whole.satisfied_now)


def test_setup_forgets():
    combiner, fresh = (make_combiner(satisfied=0.5, normalization="ema") for _ in range(2))
    combiner(gramian_of(9.0, 1.0, 1.0), torch.zeros(3))
    combiner.setup(NAMES, ROLES)
    gramian = gramian_of(1.0, 2.0, 3.0)
    assert torch.equal(combiner(gramian, LOSSES), fresh(gramian, LOSSES))


def test_fp32_on_any_device_in_fp64_on_the_cpu_out():
    weights = make_combiner(MinNorm)(gramian_of(1.0, 2.0, 3.0).float().requires_grad_(), LOSSES.requires_grad_())
    assert (weights.dtype, weights.device.type, weights.requires_grad) == (torch.float64, "cpu", False)


@pytest.mark.parametrize(
    ("names", "roles", "zero_at_start", "message"),
    [
        ([], [], (), "1 to 8"),
        ([str(k) for k in range(9)], ["forget"] * 9, (), "1 to 8"),
        (["a", "a"], ["forget"] * 2, (), "differ"),
        (["a", "b"], ["forget"], (), "one entry per objective"),
        (["a", "b"], ["forget"] * 2, [True], "one entry per objective"),
    ],
)
def test_setup_checks_the_objectives(names, roles, zero_at_start, message):
    with pytest.raises(ValueError, match=message):
        MinNorm().setup(names, roles, zero_at_start)


@pytest.mark.parametrize(
    "options",
    [
        {"normalization": "l1"},
        {"norm_decay": 1.0},
        {"norm_floor": -0.1},
        {"min_relative_norm": 1.0},
        {"noise_factor": -1.0},
        {"satisfied": 0.0},
        {"satisfied": {"forget": -1.0}},
        {"satisfied_decay": 1.5},
    ],
)
def test_constructor_checks_its_arguments(options):
    with pytest.raises(ValueError, match=r"must (not )?be"):
        MinNorm(**options)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"\['froget'\].*\['forget', 'retain', 'kl'\]"):
        make_combiner(satisfied={"froget": 0.1})
    other = MinNorm()
    other.setup(["a"], ["forget"])
    with pytest.raises(ValueError, match=r"\['a'\]"):
        make_combiner().load_state_dict(other.state_dict())


def test_the_state_of_another_rule_is_refused():
    other = UPGrad()
    other.setup(["a"], ["forget"])
    mine = MinNorm()
    mine.setup(["a"], ["forget"])
    with pytest.raises(ValueError, match="of the combiner UPGrad, but this one is MinNorm"):
        mine.load_state_dict(other.state_dict())


def test_call_checks_shapes():
    with pytest.raises(ValueError, match=r"\[2, 2\].*\[3\].*3 objectives"):
        make_combiner()(torch.eye(2), LOSSES)
    with pytest.raises(ValueError, match="setup"):
        MinNorm()(torch.eye(3), LOSSES)
    with pytest.raises(ValueError, match="EqualWeights needs the Gramian"):
        make_combiner()(None, LOSSES)


def test_subclasses_are_recorded():
    assert record(EqualWeights(satisfied=0.2))["init_args"] == {"satisfied": 0.2}
