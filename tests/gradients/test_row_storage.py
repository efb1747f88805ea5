"""Rows that wait in another form give nearly the same step, and are refused where they cannot be read."""

import functools

import pytest
import torch
from torch import nn

from tests import kit
from unlearn_pl.combiners import SAGO, MinNorm, Scalarization
from unlearn_pl.gradients import BFloat16Rows, FirstOrder, OffloadedRows, ScatteredRows, gramian, mix
from unlearn_pl.modules import MOLLM, UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, UnlearningCrossEntropyLoss
from unlearn_pl.optim import Constant, DualOptim

SGD = functools.partial(torch.optim.SGD, lr=0.05)


def train(rows=None, **options):
    options = {"optimizer": SGD} | options
    module = MOLLM(kit.model(), schedule=Constant(), gradient=FirstOrder(rows=rows), **options)
    data = kit.Questions(batch_size=8, micro_batch_size=4)
    kit.trainer(max_epochs=2).fit(module, data)
    return torch.cat([p.detach().flatten() for p in module.model.parameters()])


@functools.cache
def moved_by_whole_rows():
    return train() - torch.cat([p.detach().flatten() for p in kit.model().parameters()])


@pytest.mark.parametrize("storage", [OffloadedRows, ScatteredRows])
def test_one_process_without_gpu_has_nothing_to_move_or_scatter(storage):
    assert torch.equal(train(storage()), train())


def test_rows_in_bfloat16_move_the_weights_nearly_as_whole_rows_do():
    moved = train(BFloat16Rows()) - torch.cat([p.detach().flatten() for p in kit.model().parameters()])
    error = (moved - moved_by_whole_rows()).norm() / moved_by_whole_rows().norm()
    assert 0 < error < 0.01


def test_the_last_row_is_not_rounded():
    row = [torch.tensor([1.001])]
    assert BFloat16Rows().keep(row, last=True) is row
    assert BFloat16Rows().keep(row, last=False)[0].dtype == torch.bfloat16


def test_products_with_a_rounded_row_are_as_exact_as_the_other_row():
    generator = torch.Generator().manual_seed(0)
    exact, rounded = torch.randn(2, 50, dtype=torch.float64, generator=generator)
    rounded = rounded.to(torch.bfloat16)
    products = gramian([[rounded], [exact]])
    torch.testing.assert_close(products[0, 1], rounded.double() @ exact, rtol=1e-14, atol=0)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_rows_of_several_types_are_mixed_in_the_type_of_the_parameter(order):
    parameter = nn.Parameter(torch.zeros(3))
    rows = [[torch.tensor([1.5, -2.0, 0.25])], [torch.tensor([4.0, 1.0, -1.0], dtype=torch.bfloat16)]]
    exact = gramian([[g.float() for g in row] for row in rows])
    torch.testing.assert_close(gramian(rows), exact)
    weights = [0.3, 0.7]
    expected = 0.3 * rows[0][0] + 0.7 * rows[1][0].float()
    (mixed,) = mix([parameter], [rows[k] for k in order], [[weights[k] for k in order]])
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, expected)


def test_a_row_that_waited_is_the_step_when_it_is_alone():
    (mixed,) = mix([nn.Parameter(torch.zeros(2))], [[torch.ones(2, dtype=torch.bfloat16)], [torch.ones(2)]], [[0.5, 0]])
    assert mixed.dtype == torch.float32
    assert mixed.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"combiner": SAGO()}, r"SAGO reads gradients element by element, .* gradient=FirstOrder\(\) with these arg"),
        ({"metric": "adam"}, r"gradient=FirstOrder\(\) keeps Euclidean products, but metric is 'adam'"),
    ],
)
def test_readers_of_elements_are_named(options, message):
    objectives = {"forget": UnlearningCrossEntropyLoss(), "retain": CausalLMLoss()}
    source = FirstOrder(rows=ScatteredRows())
    with pytest.raises(ValueError, match=message):
        UnlearningModule(kit.model(), objectives, **({"combiner": MinNorm()} | options), gradient=source)


def test_a_storage_without_rows_is_refused():
    with pytest.raises(ValueError, match=r"gradients of several objectives, but combiner=Scalarization\(\) needs"):
        train(BFloat16Rows(), combiner=Scalarization())


def test_moments_per_role_keep_rows_under_any_combiner():
    train(BFloat16Rows(), combiner=Scalarization(), optimizer=functools.partial(DualOptim, lr=1e-3))
