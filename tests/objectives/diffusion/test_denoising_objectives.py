"""Losses of diffusion models against their formulas, and what holds of every one of them."""

from dataclasses import fields

import pytest
import torch

from tests.exported import cases
from unlearn_pl import objectives
from unlearn_pl.objectives import (
    DenoisingAscentLoss,
    DenoisingLoss,
    ESDLoss,
    MisalignLoss,
    Objective,
    PredictionConsistencyLoss,
    UniformNoiseLoss,
)
from unlearn_pl.types import DenoisingView

B, SHAPE = 5, (2, 3, 4)
CASES = [case for case in cases(objectives, Objective) if ".diffusion." in case.cls.__module__]
ALWAYS = {"index", "prediction", "target", "timestep"}


@pytest.fixture(params=CASES, ids=str)
def objective(request):
    return request.param.make()


def made_view(dtype=torch.float64, rows=slice(None), leaf=None):
    generator = torch.Generator().manual_seed(0)
    made = {f.name: torch.randn(B, *SHAPE, generator=generator, dtype=torch.float64) for f in fields(DenoisingView)}
    tensors = {name: value.to(dtype)[rows] for name, value in made.items()}
    if leaf is not None:
        tensors["prediction"] = leaf[rows]
    tensors |= {"index": torch.arange(B)[rows], "timestep": torch.arange(B)[rows]}
    return DenoisingView(**tensors)


def error(a, b):
    """The mean squared difference, pixel by pixel."""
    pairs = list(zip(a.flatten().tolist(), b.flatten().tolist(), strict=True))
    return sum((x - y) ** 2 for x, y in pairs) / len(pairs)


def test_each_loss_is_its_formula():
    view = made_view()
    away = view.ref_null_prediction - 0.7 * (view.ref_prediction - view.ref_null_prediction)
    later = view.ref_prediction - 2.0 * (view.ref_prediction - view.ref_null_prediction)
    wanted = {
        DenoisingLoss(): error(view.prediction, view.target),
        DenoisingAscentLoss(): -error(view.prediction, view.target),
        ESDLoss(eta=0.7): error(view.prediction, away),
        ESDLoss(eta=2.0, anchor="concept"): error(view.prediction, later),
        MisalignLoss(): error(view.prediction, view.pseudo_prediction),
        MisalignLoss(frozen=True): error(view.prediction, view.ref_pseudo_prediction),
        UniformNoiseLoss(): error(view.prediction, view.uniform_noise),
        PredictionConsistencyLoss(): error(view.prediction, view.ref_prediction),
    }
    for objective, value in wanted.items():
        assert objective(view).item() == pytest.approx(value, rel=1e-10)


def loss_and_gradient(objective, parts=(slice(None),)):
    leaf = made_view().prediction.clone().requires_grad_()
    views = [made_view(rows=rows, leaf=leaf) for rows in parts]
    counts = torch.stack([view.count(objective.mean_over) for view in views])
    loss = sum(objective(view) * share for view, share in zip(views, counts / counts.sum(), strict=True))
    loss.backward()
    return loss.detach(), leaf.grad


@pytest.mark.parametrize("parts", [[slice(0, 2), slice(2, 5)], [slice(i, i + 1) for i in range(B)]], ids=len)
def test_micro_batches_weighted_by_their_counts_give_the_whole(objective, parts):
    for found, wanted in zip(loss_and_gradient(objective, parts), loss_and_gradient(objective), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


def test_half_precision_is_averaged_in_single(objective):
    assert objective(made_view(torch.bfloat16)).dtype == torch.float32


def test_an_empty_batch_is_zero(objective):
    assert objective(made_view(rows=slice(0, 0))).item() == 0


def test_the_declared_needs_are_enough(objective):
    view, whole = made_view(), objective(made_view())
    for name in {f.name for f in fields(DenoisingView)} - ALWAYS - objective.needs:
        setattr(view, name, None)
    assert torch.equal(objective(view), whole)


def test_the_gradient_vanishes_at_the_reference_where_the_class_says_so(objective):
    view = made_view()
    view.prediction = view.ref_prediction.clone().requires_grad_()
    objective(view).backward()
    assert bool((view.prediction.grad == 0).all()) == objective.zero_at_reference


def test_roles_are_those_of_the_streams(objective):
    assert (objective.stream, objective.role) in (("forget", "forget"), ("retain", "retain"))
    assert type(objective)(stream="other").stream == "other"
    assert objective.progress(made_view()) is None


def test_an_unknown_anchor_raises():
    with pytest.raises(ValueError, match="anchor is 'middle'; accepted: null, concept"):
        ESDLoss(anchor="middle")


def test_all_are_found():
    assert len({case.cls for case in CASES}) == 6
    assert len(CASES) == 8  # with the other anchor, and the frozen model
