"""Copies on the host stand for a tensor as long as both are what they were."""

import copy
import pickle

import pytest
import torch

from unlearn_pl.host_copies import keep_host_copy, known_host_copy, on_both, on_host, true_positions
from unlearn_pl.types import label_mask, labeled_rows

LABELS = torch.tensor([[-100, 4, 5, -100], [-100, -100, -100, -100], [7, -100, -100, 8]])


def with_copy() -> tuple[torch.Tensor, torch.Tensor]:
    """Two tensors of the same labels; the second is kept as the copy of the first."""
    labels, kept = LABELS.clone(), LABELS.clone()
    keep_host_copy(labels, kept)
    return labels, kept


def test_a_copy_is_taken_instead_of_the_tensor():
    labels, kept = with_copy()
    assert on_host(labels) is kept
    assert known_host_copy(LABELS) is None
    assert on_host(LABELS) is LABELS


@pytest.mark.parametrize("changed", [0, 1])
def test_a_copy_is_forgotten_when_one_of_both_is_changed_in_place(changed):
    both = with_copy()
    both[changed].masked_fill_(LABELS == 4, -100)
    assert known_host_copy(both[0]) is None
    assert on_host(both[0]) is both[0]
    assert label_mask(both[0]).equal(both[0][:, 1:] != -100)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x)), torch.clone])
def test_another_tensor_has_no_copy(copied):
    labels, _ = with_copy()
    true_positions(labels)
    again = copied(labels)
    again[0, 1] = -100
    assert known_host_copy(again) is None
    assert true_positions(again).equal(again.nonzero())


def test_positions_are_those_of_the_mask_and_searched_for_once():
    mask = torch.rand(5, 7, generator=torch.Generator().manual_seed(0)) > 0.5
    found = true_positions(mask)
    assert found.equal(mask.nonzero())
    assert true_positions(mask) is found
    mask[0] = ~mask[0]
    assert true_positions(mask).equal(mask.nonzero())


def test_masks_of_labels_with_a_copy_have_one():
    labels, kept = with_copy()
    mask = label_mask(labels)
    assert known_host_copy(mask).equal(kept[:, 1:] != -100)
    assert known_host_copy(label_mask(LABELS)) is None
    assert labeled_rows(mask).tolist() == labeled_rows(label_mask(LABELS)).tolist() == [0, 2]
    assert labeled_rows(mask, torch.tensor([[True], [True], [False]])).tolist() == [0]


def test_a_result_has_a_copy_if_all_that_it_is_made_of_have_one():
    labels, kept = with_copy()
    assert known_host_copy(on_both(torch.add, labels, labels)).equal(2 * kept)
    assert known_host_copy(on_both(torch.add, labels, LABELS)) is None


def test_nothing_is_kept_where_pytorch_does_not_count_changes():
    with torch.inference_mode():
        mask = torch.tensor([True, False])
        assert true_positions(mask).tolist() == [[0]]
        mask[1] = True
        assert true_positions(mask).tolist() == [[0], [1]]
