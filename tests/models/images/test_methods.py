"""The methods of language models run on image classifiers as they are, with accumulation, on ranks and with goals."""

import pytest
import torch

from tests import kit
from tests.distributed import image_cases
from tests.distributed.image_cases import CASES, OPTIONS, STEADY, trained
from tests.pictures import accuracy, classifier, pictures, stripes
from unlearn_pl.goals import AtLeast, AtMost
from unlearn_pl.modules import MOLLM, FineTuning

pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")


@pytest.mark.parametrize("name", CASES)
def test_accumulation_changes_nothing_and_training_moves(name):
    whole, parts = trained(name, micro_batch_size=8), trained(name, micro_batch_size=2)
    start = classifier().build(torch.float64).state_dict()
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, rtol=0, atol=1e-9)
    assert any(not torch.equal(whole[key], start[key]) for key in start)


@pytest.mark.distributed
def test_two_ranks_reach_the_weights_of_one_process(pool):
    ranks = pool.run(image_cases.all_cases)
    for name in image_cases.ON_RANKS:
        single = trained(name, micro_batch_size=4)
        for states in ranks:
            for key, value in single.items():
                torch.testing.assert_close(states[name][key], value, rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """Weights of a classifier that knows all three classes."""
    from safetensors.torch import save_file

    module = FineTuning(classifier(), stream="train", **OPTIONS)
    kit.trainer(max_epochs=8).fit(module, pictures())
    assert accuracy(module.model, *stripes(24, seed=1)) > 0.9
    file = tmp_path_factory.mktemp("target") / "model.safetensors"
    save_file(module.model.state_dict(), file)
    return file


def test_progress_is_the_probability_of_the_class(target, tmp_path):
    goals = {"forget": AtMost(0.2), "retain": AtLeast(share=0.9)}
    module = MOLLM(classifier(weights=str(target)), goals=goals, **STEADY)
    trainer = kit.trainer(max_epochs=10, default_root_dir=tmp_path)
    trainer.fit(module, pictures())
    images, labels = (torch.as_tensor(array) for array in stripes(48))
    with torch.no_grad():
        probability = module.model(images.unsqueeze(1) / 255).softmax(dim=1)
    forgotten = probability[labels == 2, 2].mean()
    assert forgotten < 0.3  # the mean over batches reaches the goal
    assert accuracy(module.model, images[labels != 2], labels[labels != 2]) > 0.9
    assert MOLLM.load_from_checkpoint(_saved(trainer, tmp_path)).spec.weights == str(target)


def test_goals_may_refer_to_images_that_the_model_never_saw():
    from unlearn_pl.data import ImageArrays

    module = MOLLM(classifier(), goals={"forget": AtMost("holdout")}, **STEADY)
    kit.trainer(max_steps=1).fit(module, pictures(holdout=ImageArrays(*stripes(12, seed=2))))
    assert 0 < module.descent.goals.courses[0].bound < 1


def test_a_method_that_reads_hidden_states_says_that_there_are_none():
    from unlearn_pl.modules import RMU

    with pytest.raises(ValueError, match=r"needs \['hidden'\], which ImageClassifier does not provide"):
        kit.trainer(max_steps=1).fit(RMU(classifier(), layer=1), pictures())


def _saved(trainer, folder):
    trainer.save_checkpoint(folder / "x.ckpt")
    return folder / "x.ckpt"
