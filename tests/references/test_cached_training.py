"""Training with cached values is training with a frozen copy: in any batches, resumed, or from a checkpoint."""

import functools
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from tests import kit
from unlearn_pl.combiners import MinNorm, Scalarization
from unlearn_pl.commands.trainer import trainer_parser
from unlearn_pl.data import PlainTemplate, with_refusals
from unlearn_pl.models import CausalLM, LoRA
from unlearn_pl.modules import MOLLM, UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, DPOLoss, KLDivergenceLoss, NPOLoss
from unlearn_pl.optim import Constant
from unlearn_pl.references import CachedReference, FrozenReference

pytestmark = [
    # Lightning cannot know that the weights of a module which optimizes by hand are those after the step.
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),
    # Runs are resumed without, and in the folder of, the callback that saved the checkpoint.
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]

SGD = functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9)
REFUSALS = ["No.", "I cannot say.", "This is unknown to me.", "I have no idea who that could be."]


class Data(kit.Questions):
    """With refusals, of which every round draws others."""

    default_streams = ("forget", "retain", "forget.alternate")

    def load_streams(self):
        streams = super().load_streams()
        return {**streams, "forget.alternate": with_refusals(streams["forget"], REFUSALS)}


def npo(model, reference):
    objectives = {"forget": NPOLoss(), "retain": CausalLMLoss()}
    return UnlearningModule(model, objectives, Scalarization(), reference, optimizer=SGD, schedule=Constant())


def dpo(model, reference):
    objectives = {"forget": DPOLoss(), "retain": CausalLMLoss()}
    return UnlearningModule(model, objectives, Scalarization(), reference, optimizer=SGD, schedule=Constant())


def kl(model, reference):
    objectives = {"forget": NPOLoss(), "retain": KLDivergenceLoss(), "nll": CausalLMLoss()}
    return UnlearningModule(model, objectives, MinNorm(), reference, optimizer=SGD, schedule=Constant())


def fit(module, root, ckpt_path=None, data=None, **options):
    data = data or Data(batch_size=8, micro_batch_size=2)
    defaults = {"max_epochs": 3, "default_root_dir": root, "enable_checkpointing": "callbacks" in options}
    kit.trainer(**(defaults | options)).fit(module, data, ckpt_path=ckpt_path)
    return module


def assert_close(left, right, tolerance):
    for mine, theirs in zip(left.model.parameters(), right.model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=tolerance)


def moved(module):
    return max((a - b).abs().max().item() for a, b in zip(module.model.parameters(), kit.model().parameters()))  # noqa: B905


# The same training ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-6)])
@pytest.mark.parametrize(("method", "top_k"), [(npo, 1), (dpo, 1), (kl, 1000)])
def test_weights_are_those_of_a_frozen_copy(tmp_path, method, top_k, dtype, tolerance):
    frozen = fit(method(kit.model(dtype=dtype), FrozenReference()), tmp_path)
    # in double precision, the kept distributions must not be rounded either
    reference = CachedReference(top_k=top_k, dtype=str(dtype).removeprefix("torch."))
    cached = fit(method(kit.model(dtype=dtype), reference), tmp_path)
    assert moved(cached) > 1e-2
    assert_close(cached, frozen, tolerance)
    assert cached.windows_closed == frozen.windows_closed == 6


@pytest.mark.parametrize("micro_batch_size", [1, 4, 8])
def test_the_size_of_batches_does_not_matter(tmp_path, micro_batch_size):
    frozen = fit(dpo(kit.model(dtype=torch.float64), FrozenReference()), tmp_path)
    data = Data(batch_size=8, micro_batch_size=micro_batch_size)
    cached = fit(dpo(kit.model(dtype=torch.float64), CachedReference()), tmp_path, data=data)
    assert_close(cached, frozen, 1e-10)


def test_mixed_precision_is_computed_in_its_own_precision(tmp_path):
    frozen, cached = (
        fit(npo(kit.model(), reference), tmp_path, precision="bf16-mixed")
        for reference in (FrozenReference(), CachedReference())
    )
    exact = fit(npo(kit.model(), FrozenReference()), tmp_path)
    assert_close(cached, frozen, 2e-3)
    assert moved(exact) > 2e-2
    with pytest.raises(ValueError, match=r"precision of the Trainer \(bf16-mixed, now 32-true\)"):
        fit(npo(kit.model(), CachedReference()), tmp_path)


def test_few_tokens_start_at_zero_divergence(tmp_path):
    """The liveness of KL rests on it: at the first step its gradient is rounding noise, and is left out."""
    module = type("Recorded", (kit.Recording, MOLLM), {})(kit.model(), reference=CachedReference(top_k=4))
    fit(module, tmp_path, max_steps=3, max_epochs=-1)
    norms = [step["gramian"].diagonal().sqrt() for step in module.history]
    kl_norm, nll_norm = norms[0][1], norms[0][2]
    assert kl_norm < 1e-5 * nll_norm
    assert module.history[0]["weights"][1] == 0
    assert norms[2][1] > 100 * kl_norm


# Which weights are the original ones ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    kit.model().save_pretrained(path)
    return str(path)


@pytest.fixture
def passes(monkeypatch):
    """How many examples went through the original model, by pass."""
    from unlearn_pl.references import cached

    counts, plain = [], cached.measure

    def counted(model, examples, *rest):
        counts.append(len(examples))
        return plain(model, examples, *rest)

    monkeypatch.setattr(cached, "measure", counted)
    return counts


@pytest.mark.parametrize("live", [True, False])
def test_a_resumed_run_compares_with_the_original_model(tmp_path, folder, passes, live):
    def made():
        return dpo(kit.model() if live else folder, CachedReference())

    whole = fit(made(), tmp_path / "whole")
    saving = ModelCheckpoint(tmp_path, save_last=True, enable_version_counter=False)
    fit(made(), tmp_path / "parts", callbacks=[saving], max_epochs=1)
    before = list(passes)
    resumed = fit(made(), tmp_path / "parts", ckpt_path=tmp_path / "last.ckpt")
    assert_close(resumed, whole, 1e-6)
    # Of forget the same 16 examples again, of the refusals those of the later rounds.
    assert before[2:] == [16, 16]
    assert len(passes) == 5
    assert 0 < passes[4] <= 32
    again = fit(made(), tmp_path / "parts", ckpt_path=tmp_path / "last.ckpt")
    assert len(passes) == 5
    assert_close(again, resumed, 0)


@pytest.mark.parametrize("live", [True, False])
def test_a_module_from_a_checkpoint_compares_with_the_original_model(tmp_path, folder, live):
    def loaded(reference):
        model = {"model": kit.model()} if live else {}
        return UnlearningModule.load_from_checkpoint(tmp_path / "last.ckpt", reference=reference, **model)

    saving = ModelCheckpoint(tmp_path, save_last=True, enable_version_counter=False)
    model = kit.model() if live else folder
    fit(npo(model, CachedReference()), tmp_path, callbacks=[saving], max_epochs=1)
    runs = []
    for reference in (FrozenReference(), CachedReference(), CachedReference(str(tmp_path / "new"))):
        module = loaded(reference)
        module.optimizer, module.schedule = SGD, Constant()
        runs.append(fit(module, tmp_path))
    for cached in runs[1:]:
        assert_close(cached, runs[0], 1e-6)
    assert moved(runs[0]) > 1e-2
    assert runs[1]._original == []


def test_no_second_model_is_made_or_kept(tmp_path, folder, monkeypatch):
    built, plain = [], CausalLM.build

    def counted(self, *args):
        built.append(self.name)
        return plain(self, *args)

    monkeypatch.setattr(CausalLM, "build", counted)
    monkeypatch.setattr("unlearn_pl.modules.unlearning.deepcopy", lambda _: pytest.fail("the model was copied"))
    for model in (folder, folder, kit.model()):
        module = fit(npo(model, CachedReference()), tmp_path, max_epochs=1)
        assert not any(isinstance(value, torch.nn.Module) for value in vars(module.reference).values())
    assert built == [folder, folder]


def test_adapters_are_compared_with_the_model_under_them(tmp_path, folder):
    def adapted(reference):
        torch.manual_seed(0)
        return npo(CausalLM(folder, lora=LoRA(r=2)), reference)

    frozen, cached = (fit(adapted(reference), tmp_path) for reference in (FrozenReference(), CachedReference()))
    assert_close(cached, frozen, 1e-6)


class Watching(UnlearningModule):
    """Keeps stream, index and tokens of everything that is shown."""

    def training_step(self, batch, batch_idx):
        self.seen = getattr(self, "seen", set())
        for stream, tokens in ((stream, part) for stream, parts in batch.items() for part in parts):
            lengths = tokens["attention_mask"].sum(-1).tolist()
            for index, ids, length in zip(tokens["index"].tolist(), tokens["input_ids"].tolist(), lengths, strict=True):
                self.seen.add((stream, index, tuple(ids[:length])))
        super().training_step(batch, batch_idx)


# What is seen --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limits",
    [
        {"max_steps": 5, "max_epochs": -1},
        {"max_epochs": 2, "limit_train_batches": 1},
        {"max_epochs": 2, "limit_train_batches": 0.5},
        {"max_epochs": 4, "max_steps": 3},
        {"fast_dev_run": 3},
    ],
)
def test_every_limit_of_the_trainer_is_foreseen(tmp_path, passes, limits):
    module = Watching(kit.model(), {"forget": DPOLoss()}, Scalarization(), CachedReference(), optimizer=SGD)
    fit(module, tmp_path, **limits)
    shown = [
        len({(index, ids) for stream, index, ids in module.seen if stream == s}) for s in ("forget.alternate", "forget")
    ]
    # At most one more step, for a step that may be skipped.
    assert all(0 < seen <= kept <= seen + 8 for seen, kept in zip(shown, passes, strict=True))


def test_a_run_without_end_caches_every_answer(tmp_path, passes):
    fit(dpo(kit.model(), CachedReference()), tmp_path, max_epochs=-1, max_time={"seconds": 1})
    assert sorted(passes) == [16, 16 * len(REFUSALS)]


def test_a_short_run_caches_what_it_sees(tmp_path, passes):
    module = MOLLM(kit.model(), reference=CachedReference())
    fit(module, tmp_path, max_epochs=1, data=Data(forget=8, retain=50, batch_size=4, micro_batch_size=2))
    assert passes == [2 * 4]  # two steps of the retain stream; the forget stream is not compared


def test_skipped_steps_are_foreseen(tmp_path):
    objectives = {"forget": DPOLoss(), "retain": CausalLMLoss()}
    module = UnlearningModule(kit.model(), objectives, Scalarization(), CachedReference(), optimizer=SGD)
    may_step = module.descent._may_step
    # The second step is skipped, and does not count in max_steps.
    module.descent._may_step = lambda step: module.windows_closed != 1 and may_step(step)
    fit(module, tmp_path, max_steps=4, max_epochs=-1)
    assert module.windows_closed == 5


def test_a_longer_second_fit_is_refused(tmp_path):
    module = fit(dpo(kit.model(), CachedReference()), tmp_path, max_epochs=1)
    with pytest.raises(ValueError, match=r"stream 'forget.alternate' as it is shown here.*fitted again"):
        fit(module, tmp_path, max_epochs=9)


@pytest.mark.parametrize(
    ("data", "changed"),
    [
        (lambda: Data(forget=15, batch_size=8, micro_batch_size=2), "rows of the stream"),
        (lambda: Data(template=PlainTemplate(answer=" A: "), batch_size=8, micro_batch_size=2), "template"),
    ],
)
def test_other_data_and_another_template_are_refused(tmp_path, data, changed):
    fit(npo(kit.model(), CachedReference()), tmp_path, max_epochs=1)
    fit(
        npo(kit.model(), CachedReference()), tmp_path, max_epochs=1, data=Data(seed=3, batch_size=4, micro_batch_size=1)
    )
    with pytest.raises(ValueError, match=changed):
        fit(npo(kit.model(), CachedReference()), tmp_path, data=data())
    fit(npo(kit.model(), CachedReference(str(tmp_path / "other"))), tmp_path, max_epochs=1, data=data())


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")
def test_plain_data_loaders_are_refused(tmp_path):
    trainer = kit.trainer(max_epochs=1, default_root_dir=tmp_path)
    with pytest.raises(ValueError, match="no UnlearningDataModule"):
        trainer.fit(npo(kit.model(), CachedReference()), DataLoader([0]))


def test_one_word_of_yaml():
    recipe = Path(__file__).parents[2] / "experiments" / "debug" / "mollm.yaml"
    built = trainer_parser()
    config = built.parse_args(["fit", "-c", str(recipe), "--model.reference=CachedReference"])
    reference = built.instantiate_classes(config).fit.model.reference
    assert isinstance(reference, CachedReference)
    assert (reference.path, reference.top_k, reference.dtype) == (None, 64, "float32")
