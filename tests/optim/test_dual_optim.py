"""Two Adams in one optimizer, against two of PyTorch's."""

import pytest
import torch
from torch import nn

from unlearn_pl.optim import Constant, DualOptim


def weights(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(3, 2, generator=generator, dtype=torch.float64)) for _ in range(2)]


def gradients(step, scale):
    generator = torch.Generator().manual_seed(100 * step + int(scale * 7))
    return [scale * torch.randn(3, 2, generator=generator, dtype=torch.float64) for _ in range(2)]


def adam_change(mine, lr):
    """A torch Adam of its own, whose changes of weights that never move are those of one role."""
    optimizer = torch.optim.Adam(mine, lr=lr)

    def change(row):
        before = [p.detach().clone() for p in mine]
        for p, g in zip(mine, row, strict=True):
            p.grad = g
        optimizer.step()
        moved = [p.detach() - b for p, b in zip(mine, before, strict=True)]
        with torch.no_grad():
            for p, b in zip(mine, before, strict=True):
                p.copy_(b)
        return moved

    return change


def test_equals_the_sum_of_two_adams_with_decay():
    trained = weights()
    optimizer = DualOptim(trained, lr=0.1, weight_decay=0.05, forget_lr_ratio=0.5)
    forget, retain = adam_change(weights(), 0.05), adam_change(weights(), 0.1)
    expected = [p.detach().clone() for p in trained]
    for step in range(5):
        f, r = gradients(step, 10.0), gradients(step, 0.01)
        optimizer.take("forget", trained, f)
        optimizer.take("retain", trained, r)
        optimizer.step()
        expected = [e * (1 - 0.1 * 0.05) + a + b for e, a, b in zip(expected, forget(f), retain(r), strict=True)]
        for p, e in zip(trained, expected, strict=True):
            torch.testing.assert_close(p.detach(), e, rtol=1e-12, atol=1e-12)


def test_a_role_that_is_left_out_neither_moves_nor_ages():
    trained, other = weights(), weights()
    one, two = DualOptim(trained, lr=0.1), DualOptim(other, lr=0.1)
    for step in range(3):
        for optimizer, mine in ((one, trained), (two, other)):
            optimizer.take("retain", mine, gradients(step, 1.0))
            if step != 1:
                optimizer.take("forget", mine, gradients(step, 2.0))
            else:
                optimizer.take("forget", mine, [None, None])
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(trained, other, strict=True))
    assert one.state[trained[0]]["step"].tolist() == [2, 3]


def test_a_step_without_gradients_changes_nothing():
    trained = weights()
    before = [p.detach().clone() for p in trained]
    DualOptim(trained, lr=0.1).step()
    assert all(torch.equal(a, b) for a, b in zip(trained, before, strict=True))


def test_state_survives_a_reload_and_schedules_reach_it():
    def run(reload_at):
        trained = weights()
        optimizer = DualOptim(trained, lr=0.1)
        scheduler = Constant(warmup_epochs=2).build(optimizer, 2, 10)
        for step in range(6):
            if step == reload_at:
                state, optimizer = optimizer.state_dict(), DualOptim(trained, lr=0.1)
                optimizer.load_state_dict(state)
                ages, scheduler = scheduler.state_dict(), Constant(warmup_epochs=2).build(optimizer, 2, 10)
                scheduler.load_state_dict(ages)
                for group in optimizer.param_groups:
                    group["lr"] = scheduler.get_last_lr()[0]
            optimizer.take("forget", trained, gradients(step, 1.0))
            optimizer.take("retain", trained, gradients(step, 3.0))
            optimizer.step()
            scheduler.step()
        return trained

    for left, right in zip(run(None), run(3), strict=True):
        assert torch.equal(left, right)


def test_steps_are_counted_exactly_after_a_reload_in_bf16():
    """A bfloat16 number cannot grow beyond 256 by ones."""
    weight = nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
    optimizer = DualOptim([weight], lr=1e-6)
    for step in range(300):
        if step == 257:
            state, optimizer = optimizer.state_dict(), DualOptim([weight], lr=1e-6)
            optimizer.load_state_dict(state)
        optimizer.take("forget", [weight], [torch.ones_like(weight)])
        optimizer.step()
    assert optimizer.state[weight]["step"].tolist() == [300, 0]


def test_shared_moments_equal_the_recurrences_of_the_paper():
    trained, (b1, b2) = weights(), (0.9, 0.95)
    optimizer = DualOptim(trained, lr=0.1, betas=(b1, b2), weight_decay=0.05, forget_lr_ratio=0.5, shared=True)
    expected = [p.detach().clone() for p in trained]
    m, v, count = (dict.fromkeys("frb", 0.0) for _ in range(3))
    for step in range(5):
        rows = {"f": gradients(step, 10.0)} | ({"r": gradients(step, 0.1)} if step != 2 else {})
        for role, row in rows.items():
            optimizer.take({"f": "forget", "r": "retain"}[role], trained, row)
        optimizer.step()
        expected[0] = expected[0] * (1 - 0.1 * 0.05)
        for role, row in rows.items():
            g, count[role] = row[0], count[role] + 1
            mb, vb = (m["b"] / (1 - b1 ** count["b"]), v["b"] / (1 - b2 ** count["b"])) if count["b"] else (0.0, 0.0)
            m[role], v[role] = b1 * m[role] + (1 - b1) * (g - mb), b2 * v[role] + (1 - b2) * (g * g - vb)
            mk, vk = m[role] / (1 - b1 ** count[role]), v[role] / (1 - b2 ** count[role])
            rate = 0.05 if role == "f" else 0.1
            expected[0] = expected[0] - rate * (mk + mb) / ((vk + vb).abs().sqrt() + 1e-8)
            m["b"], v["b"], count["b"] = b1 * m["b"] + (1 - b1) * g, b2 * v["b"] + (1 - b2) * g * g, count["b"] + 1
        torch.testing.assert_close(trained[0].detach(), expected[0], rtol=1e-9, atol=1e-12)
    assert optimizer.state[trained[0]]["step"].tolist() == [5, 4, 9]


def test_shared_moments_change_the_step_and_survive_a_reload():
    def run(shared, reload_at=None):
        trained = weights()
        optimizer = DualOptim(trained, lr=0.1, shared=shared)
        for step in range(4):
            if step == reload_at:
                state, optimizer = optimizer.state_dict(), DualOptim(trained, lr=0.1, shared=shared)
                optimizer.load_state_dict(state)
            optimizer.take("forget", trained, gradients(step, 1.0))
            optimizer.take("retain", trained, gradients(step, 3.0))
            optimizer.step()
        return trained

    whole, apart = run(True), run(False)
    assert all(map(torch.equal, run(True, 2), whole))
    assert not any(map(torch.allclose, whole, apart))
    assert "shared" not in DualOptim(weights()).param_groups[0]


@pytest.mark.parametrize("settings", [{"lr": -1.0}, {"eps": -1.0}, {"weight_decay": -0.1}, {"forget_lr_ratio": -1.0}])
def test_negative_settings_are_refused(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))}.*must not be negative"):
        DualOptim(weights(), **settings)
    with pytest.raises(ValueError, match="betas is"):
        DualOptim(weights(), betas=(0.9, 1.0))
    with pytest.raises(ValueError, match=r"betas is \(0\.9,\); accepted: two numbers"):
        DualOptim(weights(), betas=(0.9,))
