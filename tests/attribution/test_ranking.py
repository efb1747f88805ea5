"""The largest scores, against a sort."""

import pytest
import torch

from unlearn_pl.functional import ranking
from unlearn_pl.functional.ranking import kth_largest, mark_largest, mark_rows


@pytest.fixture(autouse=True, params=[1 << 20, 7])
def _chunk(request, monkeypatch):
    """Whole tensors, and pieces that end within them."""
    monkeypatch.setattr(ranking, "CHUNK", request.param)


def tensors(values=None):
    generator = torch.Generator().manual_seed(0)
    shapes = [(5, 7), (1,), (3, 4, 2), (13,), (0,)]
    made = [torch.randn(shape, generator=generator).abs() for shape in shapes]
    if values is not None:  # few different ones: many ties
        made = [torch.tensor(values)[(tensor * 10).long() % len(values)] for tensor in made]
    return made


def sorted_marks(parts, keep):
    """By a stable sort of everything: of equal scores, the first."""
    flat = torch.cat([part.flatten() for part in parts])
    marks = torch.zeros(len(flat), dtype=torch.bool)
    marks[flat.sort(descending=True, stable=True).indices[:keep]] = True
    sizes = [part.numel() for part in parts]
    return [m.view(part.shape) for m, part in zip(marks.split(sizes), parts, strict=True)]


@pytest.mark.parametrize("keep", [0, 1, 2, 30, 71, 72, 73])
@pytest.mark.parametrize(
    "values", [None, [0.0], [0.0, 1.0], [0.0, 1e-45, 1e-38, 3.0, 3.0000002, 65504.0], [2.0, 2.0000002, 2.0000005]]
)
def test_exactly_the_largest_are_marked_and_of_equal_ones_the_first(keep, values):
    parts = tensors(values)
    marks = mark_largest([lambda part=part: part for part in parts], keep)
    assert sum(int(m.sum()) for m in marks) == keep
    for mine, theirs in zip(marks, sorted_marks(parts, keep), strict=True):
        assert torch.equal(mine, theirs)


def test_the_kth_largest():
    parts = tensors()
    flat = torch.cat([part.flatten() for part in parts]).sort(descending=True).values
    for k in (1, 2, 36, 72, 73):
        assert kth_largest([lambda part=part: part for part in parts], k) == flat[k - 1].item()


@pytest.mark.parametrize("keep", [0.1, 0.25, 0.5, 1.0])
def test_rows_are_ranked_by_themselves(keep):
    scores = torch.randn(11, 8, generator=torch.Generator().manual_seed(1)).abs()
    scores[3] = 1.0
    marks = mark_rows(scores, keep)
    count = round(keep * 8)
    assert marks.sum(dim=1).tolist() == [count] * 11
    for row, mark in zip(scores, marks, strict=True):
        if count < 8:
            assert row[mark].min() >= row[~mark].max()
    assert marks[3].tolist() == [True] * count + [False] * (8 - count)
