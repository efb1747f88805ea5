"""Losses on hidden states against loops."""

import pytest
import torch

from unlearn_pl.functional import control_vector, hidden_state_error, steering_target

B, T, D = 3, 5, 4
LENGTHS = [5, 1, 0]


def make_hidden():
    generator = torch.Generator().manual_seed(4)
    hidden, target = torch.randn(2, B, T, D, generator=generator, dtype=torch.float64)
    return hidden, target, torch.arange(T) < torch.tensor(LENGTHS)[:, None]


def test_error_is_a_mean_over_units_then_tokens_then_sequences():
    hidden, target, mask = make_hidden()
    means = [
        sum(sum((hidden[b, t, d] - target[b, t, d]) ** 2 for d in range(D)) / D for t in range(LENGTHS[b])) / LENGTHS[b]
        for b in range(2)
    ]
    torch.testing.assert_close(hidden_state_error(hidden, target, mask), sum(means) / 2, rtol=1e-12, atol=0)


def test_error_gradient():
    hidden, target, mask = make_hidden()
    hidden.requires_grad_()
    hidden_state_error(hidden, target, mask).backward()
    per_token = torch.tensor([1 / 5, 1.0, 0.0], dtype=torch.float64)[:, None, None] * mask[..., None]
    torch.testing.assert_close(hidden.grad, per_token * 2 * (hidden.detach() - target) / D / 2)


def test_one_target_serves_all_positions():
    hidden, target, mask = make_hidden()
    repeated = target[0, 0].expand(B, T, D)
    torch.testing.assert_close(
        hidden_state_error(hidden, target[0, 0], mask), hidden_state_error(hidden, repeated, mask)
    )


def test_what_is_not_scored_is_ignored_and_nothing_scored_gives_zero():
    hidden, target, mask = make_hidden()
    spoiled = hidden.masked_fill(~mask[..., None], torch.nan).requires_grad_()
    torch.testing.assert_close(hidden_state_error(spoiled, target, mask), hidden_state_error(hidden, target, mask))
    loss = hidden_state_error(spoiled, target, torch.zeros_like(mask))
    loss.backward()
    assert loss.item() == 0
    assert (spoiled.grad == 0).all()


def test_half_precision_is_subtracted_in_fp32():
    hidden = torch.full((1, 1, 2), 256.0, dtype=torch.bfloat16)
    error = hidden_state_error(hidden, torch.full((2,), 256.5), torch.tensor([[True]]))
    assert error.dtype == torch.float32
    assert error.item() == 0.25  # in bf16, 256.5 would be 256


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_control_vector_is_a_unit_vector_of_uniform_entries(size):
    vector = control_vector(size, seed=3)
    assert vector.norm().item() == pytest.approx(1, rel=1e-12)
    assert (vector >= 0).all()
    if size == 4096:
        # of a uniform variable: mean / root mean square = sqrt(3) / 2
        assert vector.mean().item() * size**0.5 == pytest.approx(3**0.5 / 2, rel=0.02)


def test_control_vector_depends_on_the_seed_alone():
    torch.manual_seed(0)
    first = control_vector(16, seed=1)
    state = torch.get_rng_state()
    torch.manual_seed(99)
    assert torch.equal(control_vector(16, seed=1), first)
    assert not torch.equal(control_vector(16, seed=2), first)
    torch.manual_seed(0)
    assert torch.equal(torch.get_rng_state(), state), "the global generator was used"


def test_targets_point_along_the_control_vector():
    hidden, _, _ = make_hidden()
    direction = control_vector(D, seed=5)
    torch.testing.assert_close(steering_target(hidden, 5, 6.5), 6.5 * direction)
    norms = hidden.norm(dim=-1)
    targets = steering_target(hidden, 5, norms)
    torch.testing.assert_close(targets.norm(dim=-1), norms)
    torch.testing.assert_close(targets[1, 2], norms[1, 2] * direction)
    assert steering_target(hidden.bfloat16(), 5, 1.0).dtype == torch.float32
