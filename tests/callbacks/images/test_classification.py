"""UA, RA, TA, membership and the gap, by hand and on ranks."""

import math
import time

import numpy as np
import pytest
import torch
from sklearn.svm import SVC

from tests import kit
from tests.distributed import classification_cases
from tests.distributed.classification_cases import evaluated
from tests.pictures import classifier, pictures
from unlearn_pl.callbacks import ClassificationEvaluation
from unlearn_pl.data import ForgetClass, ForgetRandom
from unlearn_pl.functional import confidence_attack, modified_entropy
from unlearn_pl.modules import FineTuning
from unlearn_pl.report import compare_results
from unlearn_pl.results import read_results


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    return evaluated(tmp_path_factory.mktemp("run"))


def probabilities(split):
    """By hand, of the images of a split: ``[n, 3]`` and labels ``[n]``."""
    images = pictures().sets[split]
    model = classifier(seed=0).build()
    with torch.no_grad():
        logits = model(torch.stack([images.image(i) for i in range(len(images))])).double()
    return logits.softmax(1).numpy(), images.labels.numpy()


def test_accuracies_by_hand(evaluation):
    metrics = evaluation.results.metrics
    accuracy = {s: np.mean(p.argmax(1) == y) for s in pictures().load_splits() for p, y in [probabilities(s)]}
    assert metrics["unlearning_accuracy"] == pytest.approx(1 - accuracy["forget"])
    assert metrics["retain_accuracy"] == pytest.approx(accuracy["retain"])
    assert metrics["test_accuracy"] == pytest.approx(accuracy["test"])
    assert metrics["test_forgotten_accuracy"] == pytest.approx(accuracy["test_forgotten"])
    assert 0 < accuracy["retain"] < 1
    assert "gap" not in metrics
    assert "seconds" not in metrics


def test_entropies_by_hand_row_by_row(evaluation):
    for split in ("forget", "retain", "test"):
        p, y = probabilities(split)
        plain = [-sum(q * math.log(q) for q in row) for row in p]
        modified = [
            -(1 - row[label]) * math.log(row[label]) - sum(q * math.log(1 - q) for i, q in enumerate(row) if i != label)
            for row, label in zip(p, y, strict=True)
        ]
        assert evaluation.results.metrics[f"{split}_entropy"] == pytest.approx(np.mean(plain), rel=1e-6)
        assert evaluation.results.metrics[f"{split}_modified_entropy"] == pytest.approx(np.mean(modified), rel=1e-6)


def test_the_example_of_three_rows():
    p = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.2, 0.5, 0.3]], dtype=torch.float64)
    expected = [
        -0.3 * math.log(0.7) - 0.2 * math.log(0.8) - 0.1 * math.log(0.9),
        -0.4 * math.log(0.6) - 0.3 * math.log(0.7) - 0.1 * math.log(0.9),
        -0.7 * math.log(0.3) - 0.2 * math.log(0.8) - 0.5 * math.log(0.5),
    ]
    assert modified_entropy(p.log(), torch.tensor([0, 1, 2])).tolist() == pytest.approx(expected)


def test_certain_answers_have_no_entropy_if_they_are_right_and_infinite_if_not():
    logps = torch.tensor([[0.0, -torch.inf], [0.0, -torch.inf]], dtype=torch.float64)
    assert modified_entropy(logps, torch.tensor([0, 1])).tolist() == [0, math.inf]


def test_membership_is_that_of_scikit_learn(evaluation):
    (forget, y), (retain, z), (test, w) = (probabilities(split) for split in ("forget", "retain", "test"))
    forget, retain, test = forget[range(len(y)), y], retain[range(len(z)), z], test[range(len(w)), w]
    features = np.concatenate([retain[: len(test)], test])[:, None]
    machine = SVC(C=3, kernel="rbf", gamma="auto").fit(features, [1] * len(test) + [0] * len(test))
    expected = 1 - machine.predict(forget[:, None]).mean()
    assert len(test) < len(retain)
    assert evaluation.results.metrics["membership"] == pytest.approx(expected)
    attack = confidence_attack(*(torch.as_tensor(values) for values in (retain[: len(test)], test, forget)))
    assert attack == pytest.approx(expected)


def test_members_and_non_members_are_as_many(tmp_path):
    data = pictures(test=90, eval_batch_size=5)
    found = evaluated(tmp_path, data=data).results
    members, others = (list(found.per_example[split]["confidence"].values()) for split in ("retain", "test"))
    assert len(members) == 32 < len(others) == 60
    forget = list(found.per_example["forget"]["confidence"].values())
    expected = confidence_attack(*map(torch.tensor, (members, others[:32], forget)))
    assert found.metrics["membership"] == pytest.approx(expected)


def test_an_attack_needs_examples():
    with pytest.raises(ValueError, match="2 members, 0 non-members and 1 targets"):
        confidence_attack(torch.ones(2), torch.ones(0), torch.ones(1))


def test_the_gap_is_the_mean_over_four_differences(evaluation, tmp_path):
    with_gap = evaluated(tmp_path, seed=19, retain_results=str(evaluation.written))
    ours, theirs = with_gap.results.metrics, evaluation.results.metrics
    names = ("unlearning_accuracy", "retain_accuracy", "test_accuracy", "membership")
    assert ours["gap"] == pytest.approx(np.mean([abs(ours[name] - theirs[name]) for name in names]))
    assert ours["gap"] > 0
    assert evaluated(tmp_path / "same", retain_results=str(evaluation.written)).results.metrics["gap"] == 0


def test_a_retrained_model_of_other_images_is_named(evaluation, tmp_path):
    with pytest.raises(ValueError, match="is about other forget questions"):
        evaluated(tmp_path, data=pictures(ForgetClass(1)), retain_results=str(evaluation.written))


def test_the_time_of_fit_is_kept_and_goes_on_after_a_checkpoint(tmp_path):
    evaluation, module = ClassificationEvaluation(output=str(tmp_path / "a.json")), FineTuning(classifier())
    trainer = kit.trainer(max_steps=2, callbacks=[evaluation], limit_val_batches=1)
    start = time.perf_counter()
    trainer.fit(module, pictures())
    taken = time.perf_counter() - start
    trainer.test(module, pictures(), verbose=False)
    seconds = evaluation.results.metrics["seconds"]
    assert 0 < seconds <= taken
    trainer.save_checkpoint(tmp_path / "x.ckpt")

    again = ClassificationEvaluation(output=str(tmp_path / "b.json"))
    longer = kit.trainer(max_steps=4, callbacks=[again], limit_val_batches=1)
    longer.fit(FineTuning(classifier()), pictures(), ckpt_path=tmp_path / "x.ckpt")
    assert again.state_dict()["seconds"] > seconds


def test_random_rows_leave_the_test_set_whole(tmp_path):
    metrics = evaluated(tmp_path, data=pictures(ForgetRandom(0.25))).results.metrics
    assert "test_forgotten_accuracy" not in metrics
    assert 0 <= metrics["membership"] <= 1


def test_without_its_splits_there_is_no_membership(tmp_path):
    with pytest.warns(UserWarning, match=r"has no splits \['test'\]"):
        metrics = evaluated(tmp_path, data=pictures(splits=["forget", "retain"])).results.metrics
    assert "membership" not in metrics
    assert "unlearning_accuracy" in metrics


def test_splits_have_three_names():
    with pytest.raises(ValueError, match="must be three splits"):
        ClassificationEvaluation(test="retain")


def test_runs_are_compared_with_intervals(evaluation, tmp_path):
    evaluated(tmp_path, seed=19)
    runs = {"one": read_results(evaluation.written), "two": read_results(tmp_path / "results.json")}
    comparison = compare_results(runs, resamples=20)
    assert "unlearning_accuracy" in str(comparison)


@pytest.mark.distributed
def test_two_ranks_give_the_metrics_of_one_process(evaluation, pool, tmp_path):
    for metrics in pool.run(classification_cases.on_two_ranks, str(tmp_path)):
        assert metrics == pytest.approx(evaluation.results.metrics)
