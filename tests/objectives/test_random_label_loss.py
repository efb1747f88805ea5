"""Random labels: never the right one, each other equally likely, and fixed for an example."""

import pytest
import torch

from tests.objectives.views import make_tensors, make_view
from unlearn_pl.models import class_view
from unlearn_pl.objectives import RandomLabelLoss
from unlearn_pl.objectives.random_label_loss import random_labels


def test_labels_are_wrong_and_all_others_are_equally_likely():
    labels = torch.full((30_000, 1), 3)
    drawn = random_labels(labels, torch.arange(30_000), 10)[:, 0]
    counts = drawn.bincount(minlength=10)
    assert counts[3] == 0
    others = counts[counts > 0]
    assert len(others) == 9
    assert (others - 30_000 / 9).abs().max() < 5 * (30_000 / 9) ** 0.5


def test_a_label_depends_on_the_seed_the_example_and_the_token_alone():
    labels, index = torch.zeros(50, 4, dtype=torch.int64), torch.arange(50)
    whole = random_labels(labels, index, 100)
    assert torch.equal(random_labels(labels[7:9], index[7:9], 100), whole[7:9])
    assert not torch.equal(random_labels(labels, index, 100, seed=1), whole)
    for column in range(1, 4):
        assert (whole[:, 0] == whole[:, column]).sum() < 5
    assert len(whole[:, 0].unique()) > 25


def test_the_loss_is_the_cross_entropy_of_these_labels():
    logits, classes = torch.randn(6, 5, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 4, 0])
    view = class_view(logits, classes, torch.arange(10, 16))
    labels = random_labels(classes.unsqueeze(1), torch.arange(10, 16), 5, seed=2)[:, 0]
    expected = torch.nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(RandomLabelLoss(seed=2)(view), expected)


def test_only_scored_tokens_of_texts_count():
    logits, reference, labels = make_tensors()
    view = make_view(logits, reference, labels)
    wrong = random_labels(view.labels, view.index, logits.shape[-1])
    expected = torch.nn.functional.cross_entropy(view.logits[view.mask], wrong[view.mask])
    torch.testing.assert_close(RandomLabelLoss()(view), expected)


def test_one_class_leaves_no_wrong_label():
    with pytest.raises(ValueError, match="There is 1 class"):
        random_labels(torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64), 1)
