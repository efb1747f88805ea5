"""A mask is the same on any number of ranks, sharded or not, and so is training with it."""

import pytest
import torch

from tests import kit
from tests.distributed import attribution_cases as cases
from unlearn_pl.attribution import mark_largest
from unlearn_pl.masks import read_mask

pytestmark = pytest.mark.distributed


@pytest.mark.parametrize("keep", [1, 20, 37, 59])
def test_ties_are_broken_alike_over_shards(pool, keep):
    generator = torch.Generator().manual_seed(0)
    whole = [torch.randint(0, 3, shape, generator=generator).float() for shape in [(5, 4), (1, 6), (3, 11)]]
    halves = [tensor.tensor_split([(len(tensor) + 1) // 2]) for tensor in whole]  # as FSDP2 shards
    shards = [list(of_rank) for of_rank in zip(*halves, strict=True)]
    expected = mark_largest([lambda part=part: part for part in whole], keep)
    ranks = pool.run(cases.mark_shards, shards, keep)
    for marks, first, second in zip(expected, *ranks, strict=True):
        assert torch.equal(torch.cat([first, second]), marks)


def marks_of(folder, attribution, name, header):
    path = folder / f"{attribution}-{name}.safetensors"
    return {n: read_mask(path, n, torch.Size(header.parameters[n])) for n in header.kept}


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
@pytest.mark.parametrize("attribution", cases.ATTRIBUTIONS)
def test_masks_are_those_of_one_process(pool, tmp_path, attribution, strategy):
    alone = cases.write(str(tmp_path), attribution, "auto", 1, 8)
    first, second = pool.run(cases.write, str(tmp_path), attribution, strategy, 2, 2)
    assert first == second
    assert first.parameters == alone.parameters
    assert first.weights == alone.weights
    assert sum(first.kept.values()) == sum(alone.kept.values())
    if attribution in ("magnitude_tensor", "random"):
        assert first.mask == alone.mask
    assert first.made_by["findings"] == pytest.approx(alone.made_by["findings"], rel=1e-4)
    mine = marks_of(tmp_path, attribution, f"{strategy}-2", first)
    theirs = marks_of(tmp_path, attribution, "auto-1", alone)
    # Sums in another order differ in their last digits, which exchanges neighbors at the threshold.
    differing = sum(int((mine[name] != theirs[name]).sum()) for name in theirs)
    assert differing <= 0.002 * sum(alone.kept.values())


@pytest.mark.parametrize("family", ["gpt2", "gpt_oss"])
def test_masks_of_other_layouts_are_those_of_one_process(pool, tmp_path, family):
    alone = cases.write_for_family(str(tmp_path), family, "auto", 1)
    sharded = pool.run(cases.write_for_family, str(tmp_path), family, "fsdp2", 2)[0]
    assert sharded.kept == alone.kept
    theirs = marks_of(tmp_path, family, "auto-1", alone)
    mine = marks_of(tmp_path, family, "fsdp2-2", sharded)
    differing = sum(int((mine[name] != theirs[name]).sum()) for name in theirs)
    assert differing <= 0.01 * sum(alone.kept.values())


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_masked_training_is_that_of_one_process(pool, tmp_path, strategy):
    header = cases.write(str(tmp_path), "wagle", "auto", 1, 8)
    path = str(tmp_path / "wagle-auto-1.safetensors")
    alone, first = cases.train(path, "auto", 1, 8), pool.run(cases.train, path, strategy, 2, 2)[0]
    original = kit.model().state_dict()
    masks = marks_of(tmp_path, "wagle", "auto-1", header)
    for name, mask in masks.items():
        torch.testing.assert_close(first[name], alone[name], rtol=1e-4, atol=2e-6)
        assert torch.equal(first[name][~mask], original[name][~mask])
    moved = sum(int((first[name] != original[name]).sum()) for name in masks)
    assert moved > 0.9 * sum(header.kept.values())
