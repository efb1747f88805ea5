"""The descent that is logged is minus the cosine between each gradient and the change of the weights."""

import functools

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from tests import kit
from unlearn_pl.callbacks import ConflictMonitor
from unlearn_pl.combiners import GramianCombiner, MinNorm, Scalarization
from unlearn_pl.masks import TrainableParameters
from unlearn_pl.modules import MOLLM, GradDiff, UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, UnlearningCrossEntropyLoss
from unlearn_pl.optim import Constant

SGD = functools.partial(torch.optim.SGD, lr=0.05)
ADAM = functools.partial(torch.optim.Adam, lr=1e-3)
OPTIONS = {"schedule": Constant(), "gradient_clip_val": None}


class Following(kit.Recording):
    """Keeps the weights before every step, flat, in fp64."""

    def on_rows(self, rows, weights) -> None:
        super().on_rows(rows, weights)
        self.weights_before = [*getattr(self, "weights_before", []), self.flat()]

    def flat(self) -> torch.Tensor:
        return torch.cat([p.detach().double().flatten() for p in self.trained_parameters])


class FollowedMOLLM(Following, MOLLM):
    pass


class Followed(Following, UnlearningModule):
    pass


class Logged(CSVLogger):
    """Keeps what it is given."""

    def __init__(self, folder) -> None:
        super().__init__(folder)
        self.kept: dict[int, dict[str, float]] = {}

    def log_metrics(self, metrics, step=None) -> None:
        if any(name.startswith("train/descent/") for name in metrics):
            self.kept[step] = metrics


def fit(module, tmp_path, every: int = 1, micro_batch_size: int = 4, **options):
    logger = Logged(tmp_path)
    data = kit.Questions(batch_size=8, micro_batch_size=micro_batch_size)
    trainer = kit.trainer(
        **({"max_epochs": 3, "log_every_n_steps": 1} | options), logger=logger, callbacks=[ConflictMonitor(every)]
    )
    trainer.fit(module, data)
    return logger.kept


def expected(module, step: int) -> dict[str, float]:
    after = [*module.weights_before[1:], module.flat()][step]
    change = after - module.weights_before[step]
    rows = {
        name: torch.cat(
            [
                (torch.zeros_like(p) if g is None else g).double().flatten()
                for g, p in zip(row, module.parameters_of, strict=True)
            ]
        )
        for name, row in module.history[step]["rows"].items()
    }
    return {f"train/descent/{name}": (-(g @ change) / (g.norm() * change.norm())).item() for name, g in rows.items()}


@pytest.mark.parametrize("optimizer", [SGD, ADAM])
@pytest.mark.parametrize("every", [1, 2])
def test_descent_is_minus_the_cosine_with_the_change(tmp_path, optimizer, every):
    module = FollowedMOLLM(kit.model(dtype=torch.float64), optimizer=optimizer, **OPTIONS)
    logged = fit(module, tmp_path, every, precision="64-true")
    module.parameters_of = module.trained_parameters
    assert list(logged) == list(range(1, 7, every))
    for step, metrics in logged.items():
        truth = expected(module, step - 1)
        for name, value in metrics.items():
            if step > 1 or not name.endswith("normal"):  # KL has no gradient at the first step, so no direction
                assert value == pytest.approx(truth[name], rel=1e-9, abs=1e-12)


def test_a_common_descent_direction_descends_everything_under_sgd(tmp_path):
    module = Followed(
        kit.model(dtype=torch.float64),
        {"forget": UnlearningCrossEntropyLoss(), "retain": CausalLMLoss()},
        MinNorm(),
        optimizer=SGD,
        **OPTIONS,
    )
    logged = fit(module, tmp_path, precision="64-true")
    for metrics in logged.values():
        assert metrics["train/descent/forget"] > 0
        # unit gradients are descended equally steeply
        assert metrics["train/descent/forget"] == pytest.approx(metrics["train/descent/retain"], rel=1e-6)


def test_frozen_parts_are_left_out(tmp_path):
    module = FollowedMOLLM(kit.model(), mask=TrainableParameters([r"layers\.1\."]), optimizer=SGD, **OPTIONS)
    logged = fit(module, tmp_path)
    module.parameters_of = module.trained_parameters
    for step in range(2, 7):
        truth = expected(module, step - 1)
        assert logged[step] == pytest.approx(truth, rel=1e-2, abs=1e-3)  # fp32 weights hardly resolve the change


class EveryOther(GramianCombiner):
    """Skips every second step."""

    calls = 0

    def weigh(self, gramian, losses):
        self.calls += 1
        return torch.full_like(losses, float(self.calls % 2))


def test_nothing_is_logged_on_skipped_steps(tmp_path):
    objectives = {"forget": UnlearningCrossEntropyLoss(), "retain": CausalLMLoss()}
    module = Followed(kit.model(), objectives, EveryOther(), optimizer=SGD, **OPTIONS)
    assert list(fit(module, tmp_path)) == [1, 3, 5]


def test_a_weighted_sum_has_no_rows_to_look_at(tmp_path):
    assert fit(GradDiff(kit.model(), optimizer=SGD, combiner=Scalarization(), **OPTIONS), tmp_path) == {}


def test_every_n_steps_is_positive():
    with pytest.raises(ValueError, match="every_n_steps must be 1 or more, got 0"):
        ConflictMonitor(0)
