"""Masked decay against AdamW itself: the same on what moves, nothing on what does not."""

import copy
import functools

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, NAdam

from unlearn_pl.masks import ElementMask, Mask
from unlearn_pl.optim import DualOptim, mask_weight_decay


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))


def masks():
    generator = torch.Generator().manual_seed(1)
    return {"0.weight": torch.rand(7, 5, generator=generator) < 0.3, "2.bias": torch.tensor([True, False, True])}


def run(optimizer_class, masked, steps=5, **options):
    """Weights after each of some steps on gradients that are the same with and without the mask."""
    net, generator = network(), torch.Generator().manual_seed(2)
    optimizer = optimizer_class(net.parameters(), lr=0.05, weight_decay=0.3, **options)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.7)
    mask = ElementMask(masks())
    names = {p: name for name, p in net.named_parameters()}
    if masked:
        mask_weight_decay(optimizer, mask, names)
    for _ in range(steps):
        row = [torch.randn(p.shape, generator=generator) for p in net.parameters()]
        if masked:
            mask.apply(list(names.values()), row)
        if isinstance(optimizer, DualOptim):
            optimizer.take("forget", list(names), row)
        else:
            for p, gradient in zip(net.parameters(), row, strict=True):
                p.grad = gradient
        optimizer.step()
        schedule.step()
        assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3]
    return dict(net.named_parameters())


@pytest.mark.parametrize(
    "optimizer",
    [AdamW, functools.partial(AdamW, foreach=False), functools.partial(NAdam, decoupled_weight_decay=True), DualOptim],
    ids=["AdamW", "AdamW one by one", "NAdam", "DualOptim"],
)
def test_kept_weights_stay_and_the_others_move_as_without_a_mask(optimizer):
    cls = optimizer.func if isinstance(optimizer, functools.partial) else optimizer
    options = optimizer.keywords if isinstance(optimizer, functools.partial) else {}
    masked, plain, start = run(cls, True, **options), run(cls, False, **options), dict(network().named_parameters())
    for name, weight in masked.items():
        moves = masks().get(name, torch.ones_like(weight, dtype=torch.bool))
        assert torch.equal(weight[moves], plain[name][moves]), name
        assert torch.equal(weight[~moves], start[name][~moves]), name
    assert not torch.equal(masked["0.weight"], start["0.weight"])


def test_a_parameter_without_a_gradient_does_not_decay():
    for optimizer_class in (AdamW, DualOptim):
        net = network()
        before = copy.deepcopy(net.state_dict())
        optimizer = optimizer_class(net.parameters(), lr=0.1, weight_decay=0.5)
        mask_weight_decay(optimizer, ElementMask(masks()), {p: name for name, p in net.named_parameters()})
        last = list(net.parameters())[-1]
        if isinstance(optimizer, DualOptim):
            optimizer.take("retain", [last], [torch.zeros(3)])
        else:
            last.grad = torch.zeros(3)
        optimizer.step()
        for name, weight in net.named_parameters():
            expected = before[name] if name != "2.bias" else before[name] * torch.tensor([0.95, 1.0, 0.95])
            torch.testing.assert_close(weight.detach(), expected, rtol=1e-7, atol=0)


@pytest.mark.parametrize("optimizer", [SGD, Adam, NAdam])
def test_decay_that_is_part_of_the_gradient_is_refused(optimizer):
    net = network()
    names = {p: name for name, p in net.named_parameters()}
    with pytest.raises(ValueError, match=rf"{optimizer.__name__} has weight_decay=0\.1, .*AdamW.*weight_decay=0"):
        mask_weight_decay(optimizer(net.parameters(), lr=0.1, weight_decay=0.1), ElementMask({}), names)
    mask_weight_decay(optimizer(net.parameters(), lr=0.1, weight_decay=0), ElementMask({}), names)


def test_a_mask_that_does_not_say_what_it_keeps_is_refused():
    class Halves(Mask):
        def apply(self, names, row):
            for gradient in row:
                gradient.view(-1)[::2] = 0

    net = network()
    names = {p: name for name, p in net.named_parameters()}
    with pytest.raises(ValueError, match="no method `elements`"):
        mask_weight_decay(AdamW(net.parameters(), weight_decay=0.1), Halves(), names)
    mask_weight_decay(AdamW(net.parameters(), weight_decay=0), Halves(), names)
