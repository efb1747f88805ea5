"""Parts that a subclass adds or replaces after ``super().__init__()`` train, and come back from checkpoints."""

import inspect
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.optim import SGD

from tests import kit
from unlearn_pl import modules
from unlearn_pl.combiners import MinNorm, Scalarization
from unlearn_pl.gradients import SketchedRows
from unlearn_pl.masks import TrainableParameters
from unlearn_pl.models import tiny_llama
from unlearn_pl.modules import MOLLM, NPO, RAUL, GradDiff, UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, KLDivergenceLoss, MaxEntropyLoss
from unlearn_pl.optim import Constant
from unlearn_pl.references import FrozenReference

pytestmark = [
    # Lightning 2.6 calls jsonargparse by a name that is deprecated.
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
]


class Remembering(CausalLMLoss):
    """A loss with a buffer, which counts its calls."""

    def __init__(self, stream: str = "normal") -> None:
        super().__init__(stream)
        self.register_buffer("calls", torch.zeros(1))

    def loss(self, view):
        self.calls += 1
        return super().loss(view)


class Fourth(MOLLM):
    """One objective more."""

    def __init__(self, model, **options) -> None:
        super().__init__(model, **options)
        self.objectives["style"] = Remembering()


class Fewer(MOLLM):
    """One objective less, and a combiner that would not have fitted before."""

    def __init__(self, model) -> None:
        super().__init__(model, combiner=MinNorm())
        del self.objectives["normal"]
        self.objectives = {**self.objectives, "entropy": MaxEntropyLoss()}
        self.combiner = Scalarization({"entropy": 0.5})
        self.reference = None


class Exchanged(GradDiff):
    """Everything that is not an objective is another one."""

    def __init__(self, model) -> None:
        super().__init__(model)
        self.objectives["retain"] = KLDivergenceLoss(stream="retain")
        self.combiner = MinNorm()
        self.gradient = SketchedRows(8)
        self.reference = FrozenReference()
        self.mask = TrainableParameters([r"mlp\."])
        self.optimizer = partial(SGD, lr=0.25)
        self.schedule = Constant()


KINDS = {"fourth": Fourth, "fewer": Fewer, "exchanged": Exchanged}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("model")
    tiny_llama(len(kit.tokenizer()), hidden_size=16, num_layers=1, num_heads=2).save_pretrained(path)
    return str(path)


def questions():
    return kit.Questions(batch_size=8, micro_batch_size=8, splits=["forget"], max_eval_examples=1)


def fitted(module, ckpt_path: Path | None = None, **limits):
    trainer = kit.trainer(**limits or {"max_epochs": 1})
    trainer.fit(module, questions(), ckpt_path=ckpt_path)
    return trainer


@pytest.fixture(scope="module")
def runs(folder, tmp_path_factory):
    """Kind to an uninterrupted run of four steps, and the checkpoint of its first half."""
    path, made = tmp_path_factory.mktemp("runs"), {}
    for name, kind in KINDS.items():
        whole = kind(folder)
        whole.schedule = Constant()
        fitted(whole, max_steps=4)
        half = kind(folder)
        half.schedule = Constant()
        fitted(half, max_steps=2).save_checkpoint(path / f"{name}.ckpt")
        made[name] = whole, half, path / f"{name}.ckpt"
    return made


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


@pytest.mark.parametrize("name", KINDS)
def test_it_is_loaded(runs, name):
    _, half, path = runs[name]
    for cls in (type(half), UnlearningModule):
        loaded = cls.load_from_checkpoint(path)
        assert type(loaded) is type(half)
        assert {n: type(o) for n, o in loaded.objectives.items()} == {n: type(o) for n, o in half.objectives.items()}
        assert type(loaded.combiner) is type(half.combiner)
        assert torch.equal(weights(loaded), weights(half))
        assert loaded.windows_closed == 2
        for mine, theirs in zip(loaded.buffers(), half.buffers(), strict=True):
            assert torch.equal(mine, theirs)


@pytest.mark.parametrize("name", KINDS)
def test_it_is_tested(folder, runs, name):
    _, half, path = runs[name]
    tested = KINDS[name](folder)
    kit.trainer().test(tested, questions(), ckpt_path=path, verbose=False)
    assert torch.equal(weights(tested), weights(half))


@pytest.mark.parametrize("name", KINDS)
def test_it_is_resumed(folder, runs, name):
    whole, half, path = runs[name]
    resumed = KINDS[name](folder)
    resumed.schedule = Constant()
    fitted(resumed, path, max_steps=4)
    assert not torch.equal(weights(half), weights(whole))
    assert torch.equal(weights(resumed), weights(whole))


def test_buffers_of_an_added_objective_are_saved(runs):
    _, half, path = runs["fourth"]
    names = [name for name in torch.load(path, weights_only=True)["state_dict"] if "calls" in name]
    assert names == ["_objective_modules.3.calls"]
    assert half.objectives["style"].calls == 2
    assert Fourth.load_from_checkpoint(path).objectives["style"].calls == 2


def test_what_was_replaced_is_what_trains(runs):
    _, exchanged, _ = runs["exchanged"]
    assert type(exchanged.optimizers(use_pl_optimizer=False)) is SGD
    assert len(exchanged.trained_names) == 3
    assert exchanged.descent.gradient is exchanged.gradient
    _, fewer, _ = runs["fewer"]
    assert fewer.combiner(None, torch.zeros(3)).tolist() == [1.0, 1.0, 0.5]


def test_parts_can_be_replaced_between_two_fits(folder):
    module = GradDiff(folder)
    fitted(module, max_steps=1)
    module.objectives["normal"] = KLDivergenceLoss(stream="normal")
    module.reference = FrozenReference()
    fitted(module, max_steps=1)
    first = module.reference
    module.reference = FrozenReference()
    fitted(module, max_steps=1)
    assert module.reference._frozen is not first._frozen
    assert list(module.descent.objectives) == ["forget", "retain", "normal"]


def test_an_evaluation_keeps_the_state_of_the_descent(folder):
    module = Fourth(folder)
    fitted(module, max_steps=2)
    kit.trainer().test(module, questions(), verbose=False)
    assert module.windows_closed == 2


def test_deleted_without_a_trace_is_an_error_where_the_combiner_names_it(folder):
    module = MOLLM(folder)
    del module.objectives["forget"]
    with pytest.raises(ValueError, match="forget"):
        fitted(module)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.objectives.update(style=3), r"objectives\['style'\] is a int; accepted: an objective"),
        (lambda m: m.objectives.clear(), "objectives is empty"),
        (lambda m: m.objectives.update(kl=KLDivergenceLoss(stream="retain")), r"\['kl'\] compare with the reference"),
        (lambda m: setattr(m.descent, "scope", "layer"), "scope is 'layer'; accepted"),
        (lambda m: setattr(m, "optimizer", SGD([torch.zeros(1)])), "optimizer is an instance of SGD; accepted"),
        (lambda m: setattr(m, "schedule", 3), "schedule is 3; accepted"),
    ],
)
def test_parts_that_do_not_fit_are_named_before_training(folder, change, message):
    module = GradDiff(folder)
    change(module)
    with pytest.raises(ValueError, match=message):
        fitted(module)
    assert module.windows_closed == 0


# The reference model -------------------------------------------------------------------------------------------------


WITH_REFERENCE = [
    cls
    for cls in map(vars(modules).get, modules.__all__)
    if issubclass(cls, UnlearningModule) and "reference" in inspect.signature(cls).parameters
]


def test_none_is_a_presets_default_reference_and_the_generic_modules_lack_of_one():
    assert len(WITH_REFERENCE) == 13
    for cls in set(WITH_REFERENCE) - {UnlearningModule, RAUL}:
        assert isinstance(cls(kit.model(), reference=None).reference, FrozenReference)
        assert "by default (None) a frozen copy" in cls.__doc__
    assert RAUL(kit.model()).reference is None
    with pytest.raises(ValueError, match=r"\['forget'\] compare with the reference model"):
        RAUL(kit.model(), held_out=True)
    objectives = {"kl": KLDivergenceLoss(stream="retain")}
    with pytest.raises(ValueError, match=r"\['kl'\] compare with the reference model, but reference is None"):
        UnlearningModule(kit.model(), objectives, Scalarization(), reference=None)
    assert UnlearningModule(kit.model(), {"retain": CausalLMLoss()}, Scalarization()).reference is None


def test_a_preset_without_its_reference_is_an_error():
    module = NPO(kit.model())
    module.reference = None
    with pytest.raises(ValueError, match=r"Objectives \['forget'\] compare with the reference model"):
        fitted(module)
