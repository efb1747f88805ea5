"""An interrupted and resumed run is the uninterrupted run; a checkpoint rebuilds its module."""

import functools
import math
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from tests import kit
from unlearn_pl.combiners import DualBasis, LossCombiner, MinNorm, Scalarization
from unlearn_pl.masks import TrainableParameters
from unlearn_pl.models import CausalLM, stream_forward
from unlearn_pl.modules import MOLLM, FineTuning, GradAscent, GradDiff, PretrainedModule, UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, KLDivergenceLoss, UnlearningCrossEntropyLoss
from unlearn_pl.optim import Constant, Cosine
from unlearn_pl.references import FrozenReference, ReferenceContext

pytestmark = [
    # Lightning cannot know that the weights of a module which optimizes by hand are those after the step.
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),
    # Runs are resumed without, and in the folder of, the callback that saved the checkpoint.
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    # Lightning 2.6 calls jsonargparse by a name that is deprecated.
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
]

ADAMW = functools.partial(torch.optim.AdamW, lr=3e-3, weight_decay=0.1)
STEPS_PER_EPOCH = 4
EPOCHS = 3


class Watched:
    """Keeps what every optimizer step showed of each stream."""

    def training_step(self, batch, batch_idx):
        self.seen = getattr(self, "seen", [])
        self.seen.append(
            {stream: [i for part in parts for i in part["index"].tolist()] for stream, parts in batch.items()}
        )
        super().training_step(batch, batch_idx)


class WatchedMOLLM(Watched, MOLLM):
    pass


class WatchedGradDiff(Watched, GradDiff):
    pass


class Crash(pl.Callback):
    """The machine fails after step ``at`` of all epochs (callbacks that checkpoint have run by then)."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.seen = 0

    def on_train_batch_start(self, *_) -> None:
        if self.seen == self.at:
            raise SystemError("the machine fails")
        self.seen += 1


def module(preset: str = "MOLLM"):
    """Everything that has a state: AdamW, warm-up and cosine, moving averages of norms and losses, liveness."""
    options = {"optimizer": ADAMW, "schedule": Cosine(warmup_epochs=0.5)}
    if preset == "GradDiff":
        return WatchedGradDiff(kit.model(), 0.1, **options)
    combiner = MinNorm(normalization="ema", satisfied={"forget": 0.02, "retain": 4.5}, norm_floor=0.1)
    return WatchedMOLLM(kit.model(), combiner, **options)


def fit(watched, *callbacks: pl.Callback, ckpt_path: Path | None = None, micro_batch_size: int = 2, **options):
    data = kit.Questions(batch_size=4, micro_batch_size=micro_batch_size)
    defaults = {"max_epochs": EPOCHS, "enable_checkpointing": any(isinstance(c, ModelCheckpoint) for c in callbacks)}
    trainer = kit.trainer(callbacks=list(callbacks), **(defaults | options))
    trainer.fit(watched, data, ckpt_path=ckpt_path)
    return trainer


def assert_equal(left, right) -> None:
    """The same weights, optimizer and combiner state, to the last bit."""
    for mine, theirs in zip(left.model.parameters(), right.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    mine, theirs = left.optimizers().state_dict()["state"], right.optimizers().state_dict()["state"]
    assert mine.keys() == theirs.keys()
    for parameter in mine:
        assert all(torch.equal(mine[parameter][key], theirs[parameter][key]) for key in theirs[parameter])
    assert left.lr_schedulers().state_dict() == right.lr_schedulers().state_dict()
    assert str(left.combiner.state_dict()) == str(right.combiner.state_dict())
    assert left.windows_closed == right.windows_closed
    assert left.skipped == right.skipped


@pytest.fixture(scope="module")
def whole():
    """Uninterrupted runs."""
    runs = {preset: module(preset) for preset in ("MOLLM", "GradDiff")}
    for run in runs.values():
        fit(run)
    return runs


@pytest.mark.parametrize(
    ("preset", "every", "crash_at", "resumed_at"),
    [
        ("MOLLM", 3, 3, 3),  # in the middle of the first epoch
        ("MOLLM", 4, 5, 4),  # at the end of an epoch
        ("MOLLM", 5, 11, 10),  # in the last epoch
        ("GradDiff", 3, 6, 6),
    ],
)
def test_resuming_is_not_noticed(whole, tmp_path, preset, every, crash_at, resumed_at):
    saving = ModelCheckpoint(tmp_path, every_n_train_steps=every, save_on_train_epoch_end=False)
    first = module(preset)
    with pytest.raises(SystemError, match="the machine fails"):
        fit(first, saving, Crash(crash_at))
    second = module(preset)
    trainer = fit(second, ckpt_path=Path(saving.best_model_path))
    assert_equal(second, whole[preset])
    assert trainer.global_step == whole[preset].trainer.global_step
    assert first.seen[:resumed_at] + second.seen == whole[preset].seen


def test_resuming_twice_and_after_the_end_of_an_epoch(whole, tmp_path):
    saving = ModelCheckpoint(tmp_path, save_last=True, enable_version_counter=False)
    pieces = []
    for epochs in (1, 2, 3):
        piece = module()
        fit(piece, saving, max_epochs=epochs, ckpt_path=tmp_path / "last.ckpt" if epochs > 1 else None)
        pieces += piece.seen
        # The schedule of a shorter run is another one, so only what was seen can be compared.
    assert pieces == whole["MOLLM"].seen


@pytest.mark.parametrize("by", ["max_steps", "limit_train_batches"])
def test_resuming_a_run_that_a_limit_ended_in_the_middle_of_an_epoch(whole, tmp_path, by):
    saving = ModelCheckpoint(tmp_path, every_n_train_steps=1, save_on_train_epoch_end=False)
    first, second = module("GradDiff"), module("GradDiff")
    for each in (first, second):
        each.schedule = Constant()
    reference = module("GradDiff")
    reference.schedule = Constant()
    limit = {"max_steps": 6} if by == "max_steps" else {"limit_train_batches": 2, "max_epochs": 3}
    more = {"max_steps": 11, "max_epochs": -1} if by == "max_steps" else {"limit_train_batches": 2, "max_epochs": 4}
    fit(first, saving, **limit)
    fit(second, ckpt_path=Path(saving.best_model_path), **more)
    fit(reference, **more)
    assert_equal(second, reference)
    assert first.seen + second.seen == reference.seen


@pytest.mark.parametrize("steps", [1, 3, 4, 6])
def test_a_checkpoint_written_after_max_steps_ended_the_run_goes_on_in_the_middle_of_the_epoch(whole, tmp_path, steps):
    first, second = module("GradDiff"), module("GradDiff")
    fit(first, max_steps=steps).save_checkpoint(tmp_path / "after.ckpt")
    fit(second, ckpt_path=tmp_path / "after.ckpt")
    assert first.seen + second.seen == whole["GradDiff"].seen


class SaveAfterValidation(pl.Callback):
    """Writes ``after-<steps>.ckpt``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_validation_end(self, trainer, pl_module) -> None:
        trainer.save_checkpoint(self.folder / f"after-{len(pl_module.seen)}.ckpt")


def test_a_checkpoint_from_a_validation_inside_an_epoch_is_as_good(tmp_path):
    """Written between the steps of an epoch, where the Trainer has counted the last one."""
    options = {"micro_batch_size": 1, "val_check_interval": 1, "limit_val_batches": 1, "max_epochs": 1}
    reference = module()
    fit(reference, SaveAfterValidation(tmp_path), **options)
    assert len(reference.seen) == 4
    assert len(list(tmp_path.iterdir())) == 4
    for at in (1, 2, 3):
        resumed = module()
        fit(resumed, ckpt_path=tmp_path / f"after-{at}.ckpt", **options)
        assert_equal(resumed, reference)
        assert reference.seen[:at] + resumed.seen == reference.seen


def test_a_run_that_resumes_has_the_original_reference(tmp_path):
    """KL is to the model before unlearning, not to the one that was resumed from."""
    saving = ModelCheckpoint(tmp_path, save_last=True, enable_version_counter=False)
    fit(module(), saving, max_epochs=1)
    resumed = module()
    fit(resumed, ckpt_path=tmp_path / "last.ckpt", max_epochs=2)
    frozen = resumed.reference._frozen
    assert all(torch.equal(a, b) for a, b in zip(frozen.parameters(), kit.model().parameters(), strict=True))


def test_one_module_can_be_fitted_twice():
    """The second fit starts its data, its schedule and its combiner anew; only the weights go on."""
    once = module()
    fit(once, max_epochs=1)
    weights = {name: value.clone() for name, value in once.model.state_dict().items()}
    seen = list(once.seen)
    fit(once, max_epochs=1)
    assert once.seen == seen + seen
    assert once.windows_closed == STEPS_PER_EPOCH
    again = module()
    again.model.load_state_dict(weights)
    again.reference = FrozenReference()
    again.reference.prepare(ReferenceContext(again.model, kit.model, stream_forward))
    again._reference_is_ready = True
    fit(again, max_epochs=1)
    assert all(torch.equal(a, b) for a, b in zip(again.model.parameters(), once.model.parameters(), strict=True))


def test_a_run_of_other_objectives_cannot_be_resumed(tmp_path):
    saving = ModelCheckpoint(tmp_path, save_last=True, enable_version_counter=False)
    fit(module("GradDiff"), saving, max_epochs=1)
    with pytest.raises(
        ValueError, match=r"objectives \['forget', 'retain'\], but setup\(\) named \['forget', 'normal'"
    ):
        fit(module(), ckpt_path=tmp_path / "last.ckpt")


class LossScale(LossCombiner):
    """Weights that depend on the losses of the step before, which must therefore be in the checkpoint."""

    def weigh(self, losses):
        return torch.ones_like(losses) if losses.isnan().any() else 1.0 / (1.0 + losses.abs())


def test_a_combiner_of_losses_resumes_exactly(tmp_path):
    def watched():
        return WatchedGradDiff(kit.model(), combiner=LossScale(), optimizer=ADAMW, schedule=Constant())

    saving = ModelCheckpoint(tmp_path, every_n_train_steps=3, save_on_train_epoch_end=False)
    reference, resumed = watched(), watched()
    fit(reference, max_epochs=2)
    with pytest.raises(SystemError, match="the machine fails"):
        fit(watched(), saving, Crash(3))
    fit(resumed, ckpt_path=Path(saving.best_model_path), max_epochs=2)
    assert_equal(resumed, reference)


# Building a module from its checkpoint -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    kit.model().save_pretrained(path)
    return str(path)


def saved(module, path: Path) -> Path:
    trainer = kit.trainer(max_steps=1)
    trainer.fit(module, kit.Questions(batch_size=4, micro_batch_size=4))
    trainer.save_checkpoint(path / "model.ckpt")
    return path / "model.ckpt"


def generic(model) -> UnlearningModule:
    objectives = {
        "forget": UnlearningCrossEntropyLoss(),
        "stay": KLDivergenceLoss(stream="retain"),
        "retain": CausalLMLoss(),
    }
    return UnlearningModule(
        model,
        objectives,
        MinNorm(normalization="none", satisfied={"forget": 0.3}),
        FrozenReference(),
        TrainableParameters(include=[r"mlp\."]),
        optimizer=functools.partial(torch.optim.SGD, lr=0.25, momentum=0.5),
        schedule=Cosine(warmup_epochs=2.0),
        gradient_clip_val=0.125,
        on_nonfinite="drop",
    )


def test_the_generic_module_comes_back_with_its_components(folder, tmp_path):
    original = generic(CausalLM(folder, attn_implementation="eager"))
    path = saved(original, tmp_path)
    loaded = UnlearningModule.load_from_checkpoint(path)
    assert loaded.hparams == original.hparams
    assert type(loaded.combiner) is MinNorm
    assert loaded.combiner._normalization.kind == "none"
    assert loaded.combiner._liveness.satisfied == {"forget": 0.3}
    assert list(loaded.objectives) == ["forget", "stay", "retain"]
    assert loaded.objectives["stay"].stream == "retain"
    assert loaded.mask.include == [r"mlp\."]
    assert loaded.schedule.warmup_epochs == 2.0
    assert (loaded.gradient_clip_val, loaded.descent.on_nonfinite) == (0.125, "drop")
    assert loaded.spec.attn_implementation == "eager"
    optimizer = loaded.optimizer([torch.nn.Parameter(torch.ones(1))])
    assert type(optimizer) is torch.optim.SGD
    assert (optimizer.defaults["lr"], optimizer.defaults["momentum"]) == (0.25, 0.5)
    for mine, theirs in zip(loaded.model.parameters(), original.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert not torch.equal(
        loaded.model.model.layers[0].mlp.up_proj.weight, kit.model().model.layers[0].mlp.up_proj.weight
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: MOLLM(folder, DualBasis(normalization="ema"), FrozenReference(dtype="bfloat16"), "retain"),
        lambda folder: MOLLM(folder),
        lambda folder: GradDiff(folder, 0.5, retain_weight=3.0, gradient_clip_val=None),
        lambda folder: GradAscent(folder, optimizer=torch.optim.Adagrad),
        lambda folder: FineTuning(folder, "retain", schedule=Constant()),
    ],
)
def test_presets_come_back_with_their_arguments(folder, tmp_path, make):
    original = make(folder)
    path = saved(original, tmp_path)
    for cls in (type(original), UnlearningModule):
        loaded = cls.load_from_checkpoint(path)
        assert type(loaded) is type(original)
        assert loaded.hparams == original.hparams
        assert type(loaded.combiner) is type(original.combiner)
        assert loaded.gradient_clip_val == original.gradient_clip_val
        if isinstance(original.combiner, Scalarization):
            assert loaded.combiner.weights == original.combiner.weights
        for mine, theirs in zip(loaded.model.parameters(), original.model.parameters(), strict=True):
            assert torch.equal(mine, theirs)


def test_weights_of_processes_that_have_ended_come_back_to_a_module_without_a_model(folder):
    """As Lightning hands them over after ``ddp_spawn``: not strictly, so that they would be lost without a word."""
    trained = GradDiff(folder)
    trained.configure_model()
    trained.model.model.norm.weight.data.fill_(3.0)
    mine = GradDiff(folder)
    mine.load_state_dict(trained.state_dict(), strict=False)
    assert torch.equal(mine.model.model.norm.weight, trained.model.model.norm.weight)


def test_an_argument_can_be_replaced_and_the_next_checkpoint_knows_it(folder, tmp_path):
    path = saved(GradDiff(folder, 0.5, optimizer=torch.optim.Adagrad), tmp_path)
    replaced = GradDiff.load_from_checkpoint(path, retain_weight=7.0, map_location="cpu")
    again = GradDiff.load_from_checkpoint(saved(replaced, tmp_path))
    for loaded in (replaced, again):
        assert loaded.combiner.weights == {"forget": 0.5, "retain": 7.0}
        assert type(loaded.optimizer([torch.nn.Parameter(torch.ones(1))])) is torch.optim.Adagrad


def test_live_arguments_must_be_passed_again(folder, tmp_path):
    objectives = {"forget": UnlearningCrossEntropyLoss(), "retain": CausalLMLoss()}
    live = functools.partial(torch.optim.SGD, lr=0.1)
    original = UnlearningModule(kit.model(), objectives, MinNorm(), optimizer=lambda parameters: live(parameters))
    path = saved(original, tmp_path)
    with pytest.raises(ValueError, match=r"written by a .*UnlearningModule whose \['model', 'optimizer'\] were live"):
        UnlearningModule.load_from_checkpoint(path)
    with pytest.raises(
        ValueError, match=r"whose \['optimizer'\] were live.*load_from_checkpoint\(path, optimizer=\.\.\.\)"
    ):
        UnlearningModule.load_from_checkpoint(path, model=kit.model(seed=5))
    loaded = UnlearningModule.load_from_checkpoint(path, model=kit.model(seed=5), optimizer=live)
    for mine, theirs in zip(loaded.model.parameters(), original.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_live_part_of_a_component_is_named(folder, tmp_path):
    class Threshold(UnlearningCrossEntropyLoss):
        def __init__(self, rule) -> None:
            super().__init__()

    objectives = {"forget": Threshold(lambda x: x), "retain": CausalLMLoss()}
    path = saved(UnlearningModule(folder, objectives, MinNorm()), tmp_path)
    with pytest.raises(
        ValueError, match=r"\['objectives\.forget\.rule'\].*load_from_checkpoint\(path, objectives=\.\.\.\)"
    ):
        UnlearningModule.load_from_checkpoint(path)
    UnlearningModule.load_from_checkpoint(path, objectives=objectives)


def test_a_checkpoint_is_safe_to_load(tmp_path):
    path = saved(module(), tmp_path)
    checkpoint = torch.load(path, weights_only=True)  # plain data and tensors only
    assert not any(key.startswith("reference") for key in checkpoint["state_dict"])
    assert math.isfinite(checkpoint["unlearn_pl"]["windows_closed"])


def test_weights_of_a_checkpoint_can_be_evaluated_by_another_module(folder, tmp_path):
    original = MOLLM(folder, optimizer=ADAMW)
    path = saved(original, tmp_path)
    data = kit.Questions(batch_size=4, micro_batch_size=4)
    for evaluating in (MOLLM(folder), PretrainedModule(folder)):
        kit.trainer(limit_val_batches=1.0).validate(evaluating, data, ckpt_path=path, verbose=False)
        for mine, theirs in zip(evaluating.model.parameters(), original.model.parameters(), strict=True):
            assert torch.equal(mine, theirs)


@pytest.mark.parametrize("live", [False, True])
def test_the_reference_stays_the_original_model_after_loading(tmp_path, live):
    """KL to the model before unlearning, not to the one that the checkpoint holds."""
    kit.model().save_pretrained(tmp_path / "model")
    made = (lambda: kit.model()) if live else (lambda: str(tmp_path / "model"))
    options = {"optimizer": ADAMW, "schedule": Constant()}
    trainer = kit.trainer(max_epochs=2)
    data = kit.Questions(batch_size=8, micro_batch_size=8)
    trainer.fit(MOLLM(made(), **options), data)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    extra = {"model": made(), "optimizer": ADAMW} if live else {}
    loaded = MOLLM.load_from_checkpoint(tmp_path / "run.ckpt", **extra)
    assert not torch.equal(loaded.model.model.norm.weight, kit.model().model.norm.weight)
    kit.trainer(max_epochs=3).fit(
        loaded, kit.Questions(batch_size=8, micro_batch_size=8), ckpt_path=tmp_path / "run.ckpt"
    )
    for reference, original in zip(loaded.reference._frozen.parameters(), kit.model().parameters(), strict=True):
        assert torch.equal(reference, original)
