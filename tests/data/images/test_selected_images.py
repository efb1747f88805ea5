"""Parts of image streams that selectors pick by the classifier's own scores."""

import numpy as np
import pytest
import torch

from tests import kit
from tests.pictures import classifier, pictures
from unlearn_pl.data import ClassScores, GradientNorm, LabelMapping, Random, SelectedSource
from unlearn_pl.modules import GradDiff


def fitted(selected, **options):
    data = pictures(selected={"retain": selected}, **options)
    kit.trainer(max_steps=1).fit(GradDiff(classifier()), data)
    return data


def rows_of(data):
    return data._training["retain"]


def test_random_rows_of_a_class(tmp_path):
    data = fitted(SelectedSource(Random(0.5), cache_dir=str(tmp_path)))
    assert len(rows_of(data)) == 16  # of 32 that are retained
    batch = data.sample("retain", 16)[0]
    assert batch["image"].shape == (8, 1, 6, 6)


def test_the_largest_gradients_of_the_last_layer_against_a_formula(tmp_path):
    data = fitted(SelectedSource(GradientNorm(0.25), cache_dir=str(tmp_path)))
    retain = data.sets["retain"]
    images = torch.stack([retain[i]["image"] for i in range(len(retain))])
    labels = torch.as_tensor(np.asarray(retain.labels))
    with torch.no_grad():
        probabilities = classifier().build().eval()(images).softmax(-1)
    norms = (probabilities - torch.nn.functional.one_hot(labels, 3)).norm(dim=-1)
    expected = norms.argsort(descending=True, stable=True)[:8].sort().values
    chosen = torch.stack([rows_of(data)[i]["image"] for i in range(8)])
    torch.testing.assert_close(chosen, images[expected])


def test_the_class_that_the_forgotten_images_are_taken_for(tmp_path):
    data = fitted(SelectedSource(LabelMapping(0.5), embed=ClassScores(), cache_dir=str(tmp_path)))
    votes = data.selection_report("retain")["votes"]
    assert sum(votes) == 16  # a vote of every forgotten image
    assert len(rows_of(data)) == 16


def test_hidden_states_are_of_language_models(tmp_path):
    with pytest.raises(ValueError, match=r"Accepted: a layer of a language model, or ClassScores\(\)"):
        fitted(SelectedSource(LabelMapping(0.5), cache_dir=str(tmp_path)))
