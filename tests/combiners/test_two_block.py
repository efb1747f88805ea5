"""What every rule on a forget and a retain block shares: roles, sums, who is left, blocks of parameters, options."""

import io

import pytest
import torch

from tests.combiners.gradients import FORGET, RETAIN, cases, direction, ready, role_sums, rows_of
from unlearn_pl.combiners import BLUR, GRU, HAMU, FedOSD, NGDiff, TwoBlockCombiner
from unlearn_pl.recording import record

RULES = [NGDiff, GRU, BLUR, FedOSD, HAMU]
LOSSES = torch.ones(3)


class Marked(TwoBlockCombiner):
    """Follows ``2 f + 3 r``, and keeps what it was told."""

    def weigh_blocks(self, ff: float, rr: float, fr: float) -> tuple[float, float]:
        self.told = (ff, rr, fr)
        return 2.0, 3.0


def test_blocks_are_the_sums_of_the_roles():
    for roles, rows in cases("plain", "scales"):
        combiner = Marked()
        f, r = role_sums(roles, rows)
        torch.testing.assert_close(direction(combiner, roles, rows), 2 * f + 3 * r)
        expected = (f @ f, r @ r, f @ r)
        torch.testing.assert_close(torch.tensor(combiner.told, dtype=torch.float64), torch.stack(expected))


def test_l2_sums_unit_gradients_at_the_mean_norm():
    roles, rows = [FORGET, RETAIN, RETAIN], rows_of("scales", [FORGET, RETAIN, RETAIN], 0)
    norms = rows.norm(dim=1)
    f, r = role_sums(roles, rows / norms.unsqueeze(1))
    expected = norms.mean() * (2 * f + 3 * r)
    torch.testing.assert_close(direction(Marked(normalization="l2"), roles, rows), expected)


@pytest.mark.parametrize("rule", RULES)
def test_only_one_role_left(rule):
    """Its sum is followed, whether the other is zero, not finite, satisfied, or cancels out."""
    roles, rows = [FORGET, RETAIN, RETAIN], rows_of("plain", [FORGET, RETAIN, RETAIN], 0)
    forget, retain = rows.clone(), rows.clone()
    forget[1:], retain[0] = 0.0, 0.0
    torch.testing.assert_close(direction(rule(), roles, forget), rows[0])
    torch.testing.assert_close(direction(rule(), roles, retain), rows[1] + rows[2])
    torch.testing.assert_close(direction(rule(satisfied=2.0), roles, rows), rows[1] + rows[2])
    gramian = rows @ rows.T
    gramian[0, :] = gramian[:, 0] = torch.nan
    assert ready(rule(), roles)(gramian, LOSSES).tolist() == [0.0, 1.0, 1.0]


@pytest.mark.parametrize("rule", [NGDiff, GRU, BLUR, HAMU])
def test_a_role_that_cancels_is_absent(rule):
    """The block of a parameter in which it happens; for all parameters at once, it is a stationary point."""
    roles, rows = [FORGET, RETAIN, RETAIN], rows_of("plain", [FORGET, RETAIN, RETAIN], 0)
    canceled = torch.stack([rows[0], rows[1], -rows[1]])
    combiner = ready(rule(), roles)
    weights = combiner(torch.stack([rows @ rows.T, canceled @ canceled.T]), LOSSES)
    torch.testing.assert_close(weights[1] @ canceled, rows[0])
    assert not ready(rule(), roles)(canceled @ canceled.T, LOSSES).any()


@pytest.mark.parametrize("rule", RULES)
def test_order_of_the_objectives_does_not_matter(rule):
    for roles, rows in cases("plain", "conflict", "duplicate", "low_rank"):
        order = torch.randperm(len(roles), generator=torch.Generator().manual_seed(len(roles))).tolist()
        permuted = direction(rule(), [roles[k] for k in order], rows[order])
        torch.testing.assert_close(permuted, direction(rule(), roles, rows), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("rule", RULES)
def test_splitting_an_objective_in_two_halves_changes_nothing(rule):
    for seed in range(5):
        rows = rows_of("conflict", [FORGET, RETAIN], seed)
        halves = torch.stack([rows[0] / 2, rows[1] / 2, rows[0] / 2, rows[1] / 2])
        split = direction(rule(), [FORGET, RETAIN, FORGET, RETAIN], halves)
        torch.testing.assert_close(split, direction(rule(), [FORGET, RETAIN], rows))


@pytest.mark.parametrize("rule", RULES)
def test_blocks_of_parameters_are_combined_one_by_one(rule):
    roles = [RETAIN, FORGET, RETAIN]
    blocks = [rows_of("plain", roles, seed) for seed in range(3)]
    blocks[1][0] = 0.0  # an objective that does not reach a block
    weights = ready(rule(), roles)(torch.stack([rows @ rows.T for rows in blocks]), LOSSES)
    for rows, of_block in zip(blocks, weights, strict=True):
        torch.testing.assert_close(of_block, ready(rule(), roles)(rows @ rows.T, LOSSES))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("normalization", ["none", "l2", "ema"])
def test_degenerate_gradients_give_finite_weights(rule, normalization):
    for roles, rows in cases(count=3):
        assert direction(rule(normalization=normalization), roles, rows).isfinite().all()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("roles", [[FORGET, FORGET], [RETAIN, RETAIN, RETAIN], [FORGET]])
def test_both_roles_are_needed(rule, roles):
    with pytest.raises(ValueError, match="objective of role"):
        rule().setup([str(k) for k in range(len(roles))], roles)


@pytest.mark.parametrize("rule", RULES)
def test_state_resumes_exactly(rule):
    options = {"normalization": "ema", "satisfied": 0.9, "norm_floor": 0.1}
    roles = [FORGET, RETAIN, RETAIN]
    whole, first, resumed = (ready(rule(**options), roles) for _ in range(3))
    gramians = [rows @ rows.T for rows in (rows_of("plain", roles, seed) for seed in range(6))]
    for gramian in gramians[:3]:
        whole(gramian, LOSSES)
        first(gramian, LOSSES)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for gramian in gramians[3:]:
        assert torch.equal(resumed(gramian, LOSSES), whole(gramian, LOSSES))


def test_arguments_are_recorded_and_the_default_normalization_is_none():
    assert record(GRU(0.5, norm_decay=0.8))["init_args"] == {"retain_weight": 0.5, "norm_decay": 0.8}
    assert {rule()._normalization.kind for rule in RULES} == {"none"}
    assert BLUR(normalization="l2")._normalization.kind == "l2"
