"""Sketches keep inner products, up to the error that the theory gives."""

import math

import pytest
import torch

from unlearn_pl.gradients import CountSketch

SHAPES = [(5, 7), (3,), (2, 4, 3)]
NUMBERS = sum(math.prod(shape) for shape in SHAPES)


def matrix(sketch: CountSketch, shard: int = 0) -> torch.Tensor:
    """The linear map ``[size, NUMBERS]`` itself, column by column."""
    columns = []
    for one in torch.eye(NUMBERS, dtype=torch.float64):
        parts = one.split([math.prod(shape) for shape in SHAPES])
        columns.append(sketch([part.view(shape) for part, shape in zip(parts, SHAPES, strict=True)], shard))
    return torch.stack(columns, dim=1)


def row(seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, dtype=torch.float64, generator=generator) for shape in SHAPES]


def flat(gradients) -> torch.Tensor:
    return torch.cat([g.flatten() for g in gradients])


@pytest.mark.parametrize("size", [1, 4, 16, 100])
def test_every_element_goes_to_one_place_with_a_sign(size):
    found = matrix(CountSketch(size))
    assert ((found != 0).sum(dim=0) == 1).all()
    assert (found.abs().sum(dim=0) == 1).all()


def test_elements_of_one_block_never_meet():
    size = 8
    places = matrix(CountSketch(size)).abs().argmax(dim=0)
    start = 0
    for shape in SHAPES:
        for block in places[start : start + math.prod(shape)].split(size):
            assert len(block.unique()) == len(block)
        start += math.prod(shape)


def test_a_sketch_is_the_matrix_times_the_row():
    sketch = CountSketch(16, seed=3)
    torch.testing.assert_close(sketch(row(0)), matrix(sketch) @ flat(row(0)))


def test_products_are_unbiased_with_the_variance_of_the_docstring():
    x, y, size, draws = row(1), row(2), 16, 4000
    # A seed costs millions of signs, a shard takes other ones of them.
    sketches = [CountSketch(size, seed) for seed in range(4)]
    products = torch.stack([s(x, shard) @ s(y, shard) for s in sketches for shard in range(draws // len(sketches))])
    exact = flat(x) @ flat(y)
    bound = (flat(x).norm().square() * flat(y).norm().square() + exact.square()) / size
    assert abs(products.mean() - exact) < 4 * (bound / draws).sqrt()
    assert products.var() < 1.1 * bound


def test_micro_batches_add_up_and_unreached_parameters_change_nothing():
    sketch = CountSketch(16)
    together = sketch([a + b for a, b in zip(row(0), row(1), strict=True)])
    torch.testing.assert_close(sketch(row(0)) + sketch(row(1)), together)
    with_hole = [row(0)[0], None, row(0)[2]]
    filled = [row(0)[0], torch.zeros(3, dtype=torch.float64), row(0)[2]]
    torch.testing.assert_close(sketch(with_hole), sketch(filled))


def test_shards_have_signs_and_places_of_their_own():
    assert not torch.equal(matrix(CountSketch(64), shard=0), matrix(CountSketch(64), shard=1))


def test_low_precision_is_added_up_in_fp32():
    gradients = [torch.full((100,), 0.1, dtype=torch.bfloat16)]
    sketched = CountSketch(1)(gradients)
    signs = matrix_signs(100)
    assert sketched.dtype == torch.float32
    torch.testing.assert_close(sketched, (gradients[0].float() * signs).sum().view(1))


def matrix_signs(count: int) -> torch.Tensor:
    sketch = CountSketch(1)
    return torch.stack([sketch([one]) for one in torch.eye(count)]).flatten()


@pytest.mark.parametrize("size", [0, -3, 1 << 22])
def test_sizes_out_of_range_are_refused(size):
    with pytest.raises(ValueError, match=f"{size}; accepted: 1 to"):
        CountSketch(size)


@pytest.mark.parametrize("seed", [-1, 1 << 23])
def test_a_seed_that_leaves_no_room_for_the_parts_is_refused(seed):
    with pytest.raises(ValueError, match="accepted: 0 to 8388607"):
        CountSketch(16, seed)
