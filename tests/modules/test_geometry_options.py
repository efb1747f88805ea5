"""scope, metric, rescale, perturbed gradients, element-wise rules and DualOptim inside the module."""

import functools

import pytest
import torch

from tests import kit
from unlearn_pl.combiners import DualBasis, MinNorm, RowCombiner, Scalarization
from unlearn_pl.functional import min_norm_weights
from unlearn_pl.gradients import RandomSmoothing, SharpnessAware, blocks_of
from unlearn_pl.masks import ElementMask
from unlearn_pl.modules import MOLLM, RMU, GradDiff, UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, UnlearningCrossEntropyLoss
from unlearn_pl.optim import Constant, DualOptim

SGD = functools.partial(torch.optim.SGD, lr=0.05)
ADAM = functools.partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.0)
OPTIONS = {"optimizer": SGD, "schedule": Constant(), "gradient_clip_val": None}


class Pair(kit.Recording, UnlearningModule):
    """UCE and NLL."""

    def __init__(self, combiner=None, model=None, **options) -> None:
        objectives = {"forget": UnlearningCrossEntropyLoss(), "retain": CausalLMLoss()}
        super().__init__(model or kit.model(), objectives, combiner or MinNorm(), **OPTIONS | options)

    def on_rows(self, rows, weights) -> None:
        self.before = [p.detach().clone() for p in self.trained_parameters]
        super().on_rows(rows, weights)


def fit(module, micro_batch_size=8, **trainer_options):
    data = kit.Questions(batch_size=8, micro_batch_size=micro_batch_size)
    kit.trainer(**{"max_epochs": 1} | trainer_options).fit(module, data)
    return module


def watch_metrics(module):
    """The metric of every step, as a list that fills up."""
    metrics, geometry_of = [], module.descent._geometry

    def watched(runtime):
        geometry = geometry_of(runtime)
        metrics.append(geometry.metric)
        return geometry

    module.descent._geometry = watched
    return metrics


def flat(tensors):
    return torch.cat([t.double().flatten() for t in tensors])


@pytest.mark.parametrize("scope", ["group", "tensor"])
def test_each_block_gets_its_own_weights(scope):
    """The last step is, block by block, the min-norm point of the block's unit gradients, times their mean norm."""
    module = fit(Pair(scope=scope), max_steps=1)
    forget, retain = (module.history[-1]["rows"][name] for name in ("forget", "retain"))
    blocks = blocks_of(module.trained_names, scope)
    assert len(set(blocks)) > 3
    for block in set(blocks):
        mine = [i for i, b in enumerate(blocks) if b == block]
        f, r = (flat([row[i] for i in mine]) for row in (forget, retain))
        norms = torch.stack([f.norm(), r.norm()])
        unit = torch.stack([f / norms[0], r / norms[1]])
        weights = min_norm_weights(unit @ unit.T) * norms.mean() / norms
        moved = flat([module.before[i] - module.trained_parameters[i].detach() for i in mine])
        torch.testing.assert_close(moved, 0.05 * (weights[0] * f + weights[1] * r), rtol=1e-3, atol=1e-7)


def test_logged_weights_are_means_over_blocks():
    module = fit(Pair(scope="tensor"), max_steps=1)
    weights = module.history[-1]["weights"]
    assert weights.shape == (2,)
    assert (weights > 0).all()


def test_the_metric_of_adam_gives_a_descent_direction_of_adam():
    """With beta1 = 0, ``g_k . H d >= |d|_H^2`` for both objectives, H being Adam's scaling before the step."""
    optimizer = functools.partial(torch.optim.AdamW, lr=1e-3, betas=(0.0, 0.9), weight_decay=0.0)
    module = Pair(metric="adam", optimizer=optimizer)
    scales = watch_metrics(module)
    fit(module, max_steps=3, max_epochs=2)
    assert scales[0] is None
    scale = flat(scales[-1])
    step = module.history[-1]
    rows = torch.stack([flat(row) for row in step["rows"].values()])
    direction = step["weights"] @ rows
    products = rows @ (scale * direction)
    # MinNorm solves on gradients of unit length in the metric.
    lengths = (rows.square() @ scale).sqrt()
    units = rows / lengths[:, None]
    best = min_norm_weights((units * scale) @ units.T) @ units
    assert (products > 0).all()
    torch.testing.assert_close(direction / direction.norm(), best / best.norm(), rtol=1e-4, atol=1e-7)


def test_the_metric_of_adam_is_used_where_the_losses_reach_some_parameters_only():
    """Those of an inner layer's states leave the layers above without moments for ever."""
    module = RMU(kit.model(), layer=1, combiner=MinNorm(), metric="adam", optimizer=ADAM)
    metrics = watch_metrics(module)
    fit(module, max_steps=2)
    reached = [scale is not None for scale in metrics[-1]]
    assert metrics[0] is None
    assert any(reached)
    assert not all(reached)


@pytest.mark.parametrize("rescale", ["mean_gradient", "mean_norm"])
@pytest.mark.parametrize("combiner", [MinNorm, DualBasis])
def test_the_step_has_the_length_of_an_average(combiner, rescale):
    module = fit(Pair(combiner(), rescale=rescale), max_steps=1)
    rows = torch.stack([flat(row) for row in module.history[-1]["rows"].values()])
    wanted = rows.mean(0).norm() if rescale == "mean_gradient" else rows.norm(dim=-1).mean()
    moved = flat([b - p.detach() for b, p in zip(module.before, module.trained_parameters, strict=True)])
    torch.testing.assert_close(moved.norm(), 0.05 * wanted, rtol=1e-4, atol=0)


class Signs(RowCombiner):
    """The sum of the signs: something that no weights can express."""

    def merge(self, gradients):
        reached = [g.sign() for g in gradients if g is not None]
        return sum(reached) if reached else None


def test_a_row_combiner_gets_scaled_gradients_and_its_answer_is_the_step():
    module = fit(Pair(Signs()), max_steps=1)
    rows = [flat(row) for row in module.history[-1]["rows"].values()]
    moved = flat([b - p.detach() for b, p in zip(module.before, module.trained_parameters, strict=True)])
    torch.testing.assert_close(moved, 0.05 * (rows[0].sign() + rows[1].sign()), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("combiner", [Scalarization(), MinNorm()])
@pytest.mark.parametrize("source", [SharpnessAware(rho=0.5), RandomSmoothing(sigma=0.05, samples=2)])
def test_perturbed_gradients_do_not_depend_on_accumulation(combiner, source):
    one = fit(Pair(combiner, gradient=source), micro_batch_size=8)
    four = fit(Pair(combiner, gradient=source), micro_batch_size=2)
    plain = fit(Pair(combiner), micro_batch_size=8)
    for a, b in zip(one.model.parameters(), four.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert any(
        not torch.allclose(a, c, atol=1e-5)
        for a, c in zip(one.model.parameters(), plain.model.parameters(), strict=True)
    )


def test_masked_weights_stay_as_they_are_under_perturbation():
    model = kit.model()
    name, weight = next(iter(model.named_parameters()))
    allowed = torch.zeros_like(weight, dtype=torch.bool)
    allowed[::2] = True
    before = weight.detach().clone()
    fit(Pair(model=model, gradient=SharpnessAware(0.5), mask=ElementMask({name: allowed})))
    assert torch.equal(weight[1::2], before[1::2])
    assert not torch.equal(weight[::2], before[::2])


def dual(lr=1e-3, **settings):
    return functools.partial(DualOptim, lr=lr, weight_decay=0.0, **settings)


@pytest.mark.parametrize("combiner", [Scalarization(), MinNorm()])
def test_dual_optim_moves_by_an_adam_step_of_each_role(combiner):
    """Adam's first step is ``lr * g / (|g| + eps)``, element by element, whatever the scale of the role."""
    module = fit(Pair(combiner, optimizer=dual(forget_lr_ratio=0.5, eps=1e-20)), max_steps=1)
    rows = module.history[-1]["rows"]
    moved = flat([b - p.detach() for b, p in zip(module.before, module.trained_parameters, strict=True)])
    expected = 1e-3 * (0.5 * flat(rows["forget"]).sign() + flat(rows["retain"]).sign())
    seen = (flat(rows["forget"]) != 0) & (flat(rows["retain"]) != 0)
    torch.testing.assert_close(moved[seen], expected[seen], rtol=1e-2, atol=1e-6)


def test_dual_optim_clips_each_role_by_itself():
    taken = {}

    class Watched(Pair):
        def on_before_optimizer_step(self, optimizer) -> None:
            super().on_before_optimizer_step(optimizer)
            taken.update({role: flat(row.values()).norm().item() for role, row in optimizer._taken.items()})

    fit(Watched(Scalarization({"forget": 1e3}), optimizer=dual(), gradient_clip_val=1e-3), max_steps=1)
    assert taken == pytest.approx({"forget": 1e-3, "retain": 1e-3}, rel=1e-3)


def test_dual_optim_checkpoints_and_counts_steps_once(tmp_path):
    def run(folder, epochs, resume):
        module = GradDiff(kit.model(), optimizer=dual(), schedule=Constant())
        trainer = kit.trainer(max_epochs=epochs)
        data = kit.Questions(batch_size=8, micro_batch_size=4)
        trainer.fit(module, data, ckpt_path=tmp_path / "half.ckpt" if resume else None)
        if folder:
            trainer.save_checkpoint(tmp_path / folder)
        return module, trainer

    whole, trainer = run(None, 4, False)
    assert trainer.global_step == whole.windows_closed == 8
    run("half.ckpt", 2, False)
    parts, _ = run(None, 4, True)
    for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pair(scope="layer"), "scope is 'layer'; accepted: global, group, tensor"),
        (lambda: Pair(metric="l2"), "metric is 'l2'; accepted: euclidean, adam"),
        (lambda: Pair(rescale="unit"), "rescale is 'unit'; accepted: None, mean_gradient, mean_norm"),
        (lambda: Pair(Scalarization(), scope="tensor"), r"\{'scope': 'tensor'\} concern the Gramian, which Scalar"),
        (lambda: Pair(Signs(), metric="adam", rescale="mean_norm"), "'metric': 'adam', 'rescale': 'mean_norm'.*Signs"),
        (lambda: fit(Pair(metric="adam")), "metric='adam' reads the second moments of Adam, which SGD"),
        (
            lambda: fit(Pair(metric="adam", optimizer=dual())),
            "second moments of one Adam, but DualOptim keeps those of two",
        ),
        (lambda: fit(Pair(Signs(), optimizer=dual())), "DualOptim needs a gradient per role, but Signs merges"),
    ],
)
def test_what_cannot_be_honored_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_metric_that_does_not_fit_the_optimizer_is_refused_before_the_first_step():
    module = Pair(metric="adam", optimizer=dual())
    with pytest.raises(ValueError, match="Accepted with it: metric='euclidean'"):
        fit(module)
    assert module.windows_closed == 0


def test_options_are_recorded_and_reach_presets(tmp_path):
    module = MOLLM(kit.model(), scope="group", rescale="mean_norm", gradient=SharpnessAware(0.02), optimizer=ADAM)
    fit(module, max_steps=1)
    recorded = dict(module.hparams)
    assert recorded["scope"] == "group"
    assert recorded["gradient"] == {
        "class_path": "unlearn_pl.gradients.SharpnessAware",
        "init_args": {"rho": 0.02},
    }
