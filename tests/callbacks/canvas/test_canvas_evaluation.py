"""UA, IRA, CRA against counts by hand, the distance against scipy, the figure, and ranks."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from tests import canvas as cases
from tests import kit
from unlearn_pl.callbacks import CanvasEvaluation
from unlearn_pl.callbacks.canvas.evaluation import frechet_distance
from unlearn_pl.data import ForgetObject, ForgetPair, ForgetStyle
from unlearn_pl.metrics import KeptRows
from unlearn_pl.models import ImageClassifier
from unlearn_pl.modules import PretrainedModule
from unlearn_pl.results import read_results

STYLES = torch.tensor([188, 288])


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # results are written to the working directory


class Peek(torch.nn.Module):
    """Reads a class from a pixel: the gray level times ten, so that a test decides what is seen."""

    def __init__(self, channel: int, classes: int) -> None:
        super().__init__()
        self.channel, self.classes = channel, classes
        self.linear = torch.nn.Linear(1, 1)

    def forward(self, image):
        seen = (image[:, self.channel, 0, 0] * 10).round().long()
        self.linear(image.flatten(1)[:, :1])
        return torch.nn.functional.one_hot(seen.clamp(0, self.classes - 1), self.classes).float()


class Painter(PretrainedModule):
    """Makes images that show the style in the first channel and the object in the second, with chosen mistakes."""

    wrong_styles, wrong_objects = (), ()

    def test_step(self, batch, batch_idx, dataloader_idx=0):
        style, thing = batch["style"].clone(), batch["object"].clone()
        for i, pair in enumerate(zip(style.tolist(), thing.tolist(), strict=True)):
            style[i] = (style[i] + 1) % 4 if pair in self.wrong_styles else style[i]
            thing[i] = (thing[i] + 1) % 6 if pair in self.wrong_objects else thing[i]
        image = torch.stack([style / 10, thing / 10, 0 * style], dim=1)[:, :, None, None].expand(-1, -1, 8, 8)
        return {"index": batch["index"], "image": image.contiguous()}


def judges():
    return ImageClassifier(lambda: Peek(0, 4)), ImageClassifier(lambda: Peek(1, 6))


def painted(forget, wrong_styles=(), wrong_objects=(), tmp_path=None):
    module = Painter(cases.unet())
    module.wrong_styles, module.wrong_objects = wrong_styles, wrong_objects
    evaluation = CanvasEvaluation(*judges(), output=None if tmp_path is None else str(tmp_path / "results.json"))
    data = cases.canvas(forget=forget, sample_seeds=STYLES.tolist())
    kit.trainer(callbacks=[evaluation]).test(module, data, verbose=False)
    return evaluation, evaluation.results.metrics


CRIMSON = [(2, thing) for thing in range(6)]


def test_a_style_that_is_forgotten(tmp_path):
    """Crimson is wrong for 3 of 6 objects; of 18 other pairs, 2 have a wrong style and 3 a wrong object."""
    wrong_objects = [(0, 1), (1, 2), (3, 3), (2, 5)]
    evaluation, metrics = painted(
        ForgetStyle("crimson"), [*CRIMSON[:3], (0, 0), (1, 1)], wrong_objects, tmp_path=tmp_path
    )
    assert metrics["unlearning_accuracy"] == pytest.approx(3 / 6)
    assert metrics["in_domain_retain_accuracy"] == pytest.approx(16 / 18)
    assert metrics["cross_domain_retain_accuracy"] == pytest.approx(15 / 18)
    assert metrics["cross_domain_retain_accuracy_all"] == pytest.approx(20 / 24)
    assert metrics["real_accuracy"] == pytest.approx(16 / 18)
    assert read_results(tmp_path / "results.json").metrics == metrics
    assert evaluation.figure == tmp_path / "results.png"
    assert evaluation.figure.stat().st_size > 1000


def test_an_object_that_is_forgotten():
    _, metrics = painted(ForgetObject("5"), [(0, 0), (3, 5)], [(0, 5), (1, 5), (2, 5), (0, 1)])
    assert metrics["unlearning_accuracy"] == pytest.approx(3 / 4)
    assert metrics["in_domain_retain_accuracy"] == pytest.approx(19 / 20)
    assert metrics["cross_domain_retain_accuracy"] == pytest.approx(19 / 20)
    assert metrics["cross_domain_retain_accuracy_all"] == pytest.approx(22 / 24)


def test_a_pair_that_is_forgotten():
    _, metrics = painted(ForgetPair("crimson", "5"), [(2, 5), (2, 0)], [(0, 5), (1, 1)])
    assert metrics["unlearning_accuracy"] == 1
    assert metrics["same_style_accuracy"] == pytest.approx(4 / 5)
    assert metrics["same_object_accuracy"] == pytest.approx(2 / 3)
    assert metrics["retain_accuracy"] == pytest.approx(14 / 15)
    assert "cross_domain_retain_accuracy" not in metrics


def test_scores_are_enough_for_the_metrics():
    evaluation, metrics = painted(ForgetStyle("crimson"), CRIMSON, [(0, 0)])
    again = CanvasEvaluation.metrics_of(evaluation.results.per_example)
    assert again == {name: value for name, value in metrics.items() if name != "fid"}
    part = {"forget": evaluation.results.per_example["forget"]}
    assert CanvasEvaluation.metrics_of(part) == {"unlearning_accuracy": 1.0}
    directions = {name: CanvasEvaluation.direction(name) for name in metrics}
    assert directions.pop("fid") == "lower"
    assert set(directions.values()) == {"higher"}


def test_the_distance_is_that_of_gaussians():
    rng = np.random.default_rng(0)
    made, real = rng.normal(size=(60, 3)), rng.normal(size=(80, 3)) @ np.diag([1, 2, 0.5]) + [1, 0, 0]
    first, second = np.cov(made.T), np.cov(real.T)
    wanted = ((made.mean(0) - real.mean(0)) ** 2).sum() + np.trace(first + second - 2 * sqrtm(first @ second).real)
    found = frechet_distance(torch.from_numpy(made).float(), torch.from_numpy(real).float())
    assert found == pytest.approx(wanted, rel=1e-4)


def test_rows_are_kept_once_in_the_order_of_their_keys():
    kept = KeptRows(2)
    assert kept.compute().shape == (0, 2)
    kept = KeptRows(2)
    kept.update(torch.tensor([3, 0]), torch.tensor([[3.0, 3.0], [0.0, 0.0]]))
    kept.update(torch.tensor([0, 1]), torch.tensor([[9.0, 9.0], [1.0, 1.0]]))
    assert kept.compute().tolist() == [[0, 0], [1, 1], [3, 3]]


def test_images_that_are_not_finite_have_no_class():
    class Broken(Painter):
        def test_step(self, batch, batch_idx, dataloader_idx=0):
            outputs = super().test_step(batch, batch_idx, dataloader_idx)
            return {**outputs, "image": outputs["image"] * torch.nan}

    evaluation = CanvasEvaluation(*judges())
    kit.trainer(callbacks=[evaluation]).test(Broken(cases.unet()), cases.canvas(), verbose=False)
    assert math.isnan(evaluation.results.metrics["unlearning_accuracy"])
    assert "fid" not in evaluation.results.metrics


def test_other_data_raises():
    with pytest.raises(ValueError, match=r"CanvasEvaluation needs a CanvasDataModule.*Questions"):
        kit.trainer(callbacks=[CanvasEvaluation(*judges())]).test(PretrainedModule(kit.model()), kit.Questions())


@pytest.mark.distributed
def test_two_ranks_sample_the_same_images(pool):
    metrics, scores = cases.evaluated()
    assert 0 <= metrics["cross_domain_retain_accuracy"] <= 1
    for found, own in pool.run(cases.sampled_on_ranks):
        assert own == scores
        assert found == pytest.approx(metrics, rel=1e-3)
