import math

import pytest
import torch

from unlearn_pl.functional import exact_memorization, extraction_strength, greedy_matches

LENGTHS = [1, 2, 5, 9, 17, 3]


def sequences(seed: int = 0) -> list[list[int]]:
    """Answers of unequal length: 1 where greedy decoding is right, often so near the end."""
    generator = torch.Generator().manual_seed(seed)
    return [(torch.rand(length, generator=generator) < 0.7).int().tolist() for length in LENGTHS]


def batch(rows: list[list[int]], pad: float = 1.0, side: str = "right") -> tuple[torch.Tensor, torch.Tensor]:
    width = max(map(len, rows)) + 2
    matches, mask = torch.full((len(rows), width), pad), torch.zeros(len(rows), width, dtype=torch.bool)
    for i, row in enumerate(rows):
        start = 1 if side == "right" else width - len(row)
        matches[i, start : start + len(row)] = torch.tensor(row, dtype=torch.float32)
        mask[i, start : start + len(row)] = True
    return matches, mask


def shortest_prefix(row: list[int], at_most: int) -> int:
    return next((k for k in range(at_most) if all(row[k:])), at_most)


def ours(row: list[int]) -> float:
    return 1 - shortest_prefix(row, len(row)) / len(row)


def openunlearning(row: list[int]) -> float:
    row = row[:-1]
    return 1 - shortest_prefix(row, len(row) - 1) / len(row) if row else 0.0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pad", [0.0, 1.0, math.nan])
def test_they_are_their_definitions_and_padding_does_not_matter(seed, side, pad):
    rows = sequences(seed)
    matches, mask = batch(rows, pad, side)
    assert extraction_strength(matches, mask).tolist() == pytest.approx([ours(row) for row in rows], abs=1e-12)
    assert exact_memorization(matches, mask).tolist() == pytest.approx([sum(r) / len(r) for r in rows], abs=1e-12)
    theirs = extraction_strength(matches, mask, compat="openunlearning")
    assert theirs.tolist() == pytest.approx([openunlearning(row) for row in rows], abs=1e-12)
    theirs = exact_memorization(matches, mask, compat="openunlearning")
    expected = [sum(row[:-1]) / (len(row) - 1) if row[1:] else math.nan for row in rows]
    assert theirs.tolist() == pytest.approx(expected, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize(
    ("row", "strength", "openunlearning", "memorization"),
    [
        ([1, 1, 1, 1], 1, 1, 1),
        ([0, 0, 0, 0], 0, 1 / 3, 0),
        ([0, 1, 1, 1], 3 / 4, 2 / 3, 3 / 4),
        ([1, 1, 1, 0], 0, 1, 3 / 4),  # only the end of the answer is wrong: unlearned for us, memorized for the other
        ([1, 0, 1, 0], 0, 1 / 3, 1 / 2),
        ([1], 1, 0, 1),
        ([0], 0, 0, 0),
    ],
)
def test_by_hand(row, strength, openunlearning, memorization):
    matches, mask = torch.tensor([row]).bool(), torch.ones(1, len(row), dtype=torch.bool)
    assert extraction_strength(matches, mask).item() == pytest.approx(strength)
    assert extraction_strength(matches, mask, compat="openunlearning").item() == pytest.approx(openunlearning)
    assert exact_memorization(matches, mask).item() == pytest.approx(memorization)


def test_strength_is_never_above_memorization():
    matches, mask = batch(sequences(7) + sequences(8))
    assert (extraction_strength(matches, mask) <= exact_memorization(matches, mask)).all()


def test_the_order_of_the_batch_does_not_matter():
    matches, mask = batch(sequences())
    for metric in (exact_memorization, extraction_strength):
        assert torch.equal(metric(matches.flip(0), mask.flip(0)), metric(matches, mask).flip(0))


def test_without_scored_tokens_there_is_nothing_to_say():
    for width in (0, 3):
        matches, mask = torch.ones(1, width), torch.zeros(1, width, dtype=torch.bool)
        assert exact_memorization(matches, mask).isnan().all()
        assert extraction_strength(matches, mask).isnan().all()
        assert extraction_strength(matches, mask, compat="openunlearning").tolist() == [0]


@pytest.mark.parametrize("compat", [None, "openunlearning"])
def test_nan_is_kept_where_it_is_scored(compat):
    matches, mask = batch([[1, 1, 1, 1], [1, 1, 1, 1]])
    matches[0, 1] = math.nan
    for metric in (exact_memorization, extraction_strength):
        assert metric(matches, mask, compat).isnan().tolist() == [True, False]


def test_unknown_conventions_are_refused():
    for metric in (exact_memorization, extraction_strength):
        with pytest.raises(ValueError, match="None or 'openunlearning', but is 'muse'"):
            metric(torch.ones(1, 1), torch.ones(1, 1, dtype=torch.bool), "muse")  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_matches_are_those_of_greedy_decoding(dtype):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 6, 11, generator=generator, dtype=torch.float64).to(dtype)
    labels = torch.randint(11, (3, 6), generator=generator)
    labels[:, ::2] = logits.float().argmax(dim=-1)[:, ::2]
    labels[0, :2] = -100
    found = greedy_matches(logits, labels)
    for i in range(3):
        for t in range(6):
            row = logits[i, t].tolist()
            assert found[i, t] == (row.index(max(row)) == labels[i, t])
    assert 0 < found.sum() < found.numel()


def test_matches_of_equal_logits_and_of_nan():
    logits = torch.tensor([[[1.0, 1.0, 1.0], [0.0, math.nan, 5.0], [-math.inf, -math.inf, 0.0]]])
    for label, expected in [(0, [1, math.nan, 0]), (1, [0, math.nan, 0]), (2, [0, math.nan, 1])]:
        found = greedy_matches(logits, torch.full((1, 3), label))
        assert found[0].tolist() == pytest.approx(expected, nan_ok=True)
