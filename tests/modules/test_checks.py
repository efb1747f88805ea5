"""Bad input is refused before anything is trained, with a message that names what was given and what is accepted."""

import json
import warnings

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy

from tests import kit
from unlearn_pl.combiners import MinNorm, Scalarization
from unlearn_pl.data import TOFUDataModule
from unlearn_pl.models import CausalLM, LiveModel, LoRA, tiny_llama
from unlearn_pl.modules import MOLLM, FSDP2Strategy, GradAscent, GradDiff, PretrainedModule, UnlearningModule
from unlearn_pl.modules.checks import check_trainer
from unlearn_pl.objectives import CausalLMLoss, KLDivergenceLoss, UnlearningCrossEntropyLoss
from unlearn_pl.references import AdapterReference, FrozenReference


def refused(match: str, module=None, data=None, error: type[Exception] = ValueError, **trainer_options) -> None:
    """``fit`` raises ``error`` and has not moved a weight."""
    model = kit.model()
    module = module(model) if module else GradDiff(model)
    data = data or kit.Questions(batch_size=8, micro_batch_size=8)
    with pytest.raises(error, match=match):
        kit.trainer(**({"max_epochs": 1} | trainer_options)).fit(module, data)
    for now, before in zip(model.parameters(), kit.model().parameters(), strict=True):
        assert torch.equal(now, before)


# The data ------------------------------------------------------------------------------------------------------------


class Given(kit.Questions):
    """Questions whose forget stream is given."""

    def __init__(self, forget, **options) -> None:
        super().__init__(**({"batch_size": 8, "micro_batch_size": 8} | options))
        self.given = forget

    def load_streams(self):
        return super().load_streams() | {"forget": self.given}


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ([], r"stream 'forget' is empty"),
        ([{"question": "Who?"}], r"Row 0 of the stream 'forget' has no column 'answer', only \['question'\]"),
        ([{"question": "Who?", "answer": "Ada."}, {"question": "", "answer": "I."}], "Row 1 .* empty question"),
        ([{"question": "Who?", "answer": " "}], "row 0 of the stream 'forget' is empty: it has no token to score"),
    ],
)
def test_unusable_rows(rows, match):
    refused(match, data=Given(rows))


def test_unknown_streams_and_splits():
    options = {"batch_size": 8, "micro_batch_size": 8}
    refused(r"Unknown streams \['forgot'\]; accepted are .*'forget'", data=kit.Questions(streams=["forgot"], **options))
    refused(r"Unknown splits \['holdout'\]; accepted are .*'retain'", data=kit.Questions(splits=["holdout"], **options))


def test_unknown_splits_of_the_benchmark():
    with pytest.raises(ValueError, match="forget_split='forget20' is unknown; accepted are forget01, forget05"):
        TOFUDataModule(kit.tokenizer(), forget_split="forget20")


def test_missing_files_and_columns_of_the_benchmark(tmp_path):
    options = {"path": str(tmp_path), "splits": [], "batch_size": 8, "micro_batch_size": 8}
    refused(r"no file forget01\.json", data=TOFUDataModule(kit.tokenizer(), "forget01", **options))
    (tmp_path / "forget01.json").write_text(json.dumps({"question": "Who?", "reply": "Ada."}))
    refused(
        r"forget01\.json: there is no column 'answer', only",
        data=TOFUDataModule(kit.tokenizer(), "forget01", **options),
    )


def test_a_fractional_number_of_micro_batches():
    data = kit.Questions(batch_size=8, micro_batch_size=3)
    refused(r"batch_size=8 is not a multiple of micro_batch_size=3 .*batch_size=6 or 9", data=data)


def test_sequences_longer_than_the_limit_or_the_context():
    long = [{"question": "Who?", "answer": "Yes. " * 120}]
    refused(r"row 0 of the stream 'forget' has \d+ tokens, more than max_length=50", data=Given(long, max_length=50))
    refused(r"longest sequence has \d+ tokens, but the model's context is 256.*max_length", data=Given(long))
    LiveModel(torch.nn.Linear(2, 2)).check(torch.nn.Linear(2, 2), {}, 10**6)  # a model without a stated context passes


def test_an_answer_of_an_evaluation_split_longer_than_the_context():
    class Long(kit.Questions):
        def load_splits(self):
            return {"forget": [{"question": "Who?", "answer": "Yes. " * 120}]}

    refused(r"but the model's context is 256", data=Long(batch_size=8, micro_batch_size=8))


def test_an_objective_that_reads_an_unknown_stream():
    def module(model):
        return UnlearningModule(model, {"f": UnlearningCrossEntropyLoss("forgotten"), "r": CausalLMLoss()}, MinNorm())

    refused(r"'f' reads stream 'forgotten', but the data has \['forget', 'normal', 'retain', 'train'\]", module)


def test_an_objective_that_reads_a_stream_unknown_to_plain_dataloaders():
    data, model = kit.Questions(batch_size=8, micro_batch_size=8), kit.model()
    data.setup("fit")
    module = UnlearningModule(model, {"f": UnlearningCrossEntropyLoss("forgotten")}, MinNorm())
    with pytest.raises(ValueError, match=r"'f' reads stream 'forgotten', but the data has \['forget', 'retain'\]"):
        kit.trainer(max_epochs=1).fit(module, data.train_dataloader(), data.val_dataloader())
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), kit.model().parameters(), strict=True))


# The Trainer ---------------------------------------------------------------------------------------------------------


def test_clipping_and_accumulation_belong_to_the_module():
    refused(r"gradient_clip_val=0\.5.*module instead: gradient_clip_val=0\.5", gradient_clip_val=0.5)
    refused(r"accumulate_grad_batches=4\).*micro_batch_size", accumulate_grad_batches=4)


def test_float16_with_a_scaler():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there is no GPU here
        scaled = MixedPrecision("16-mixed", "cuda", torch.amp.GradScaler("cuda", enabled=True))
    refused(r"precision='16-mixed'.*bf16-mixed", plugins=[scaled])


@pytest.mark.parametrize(
    ("strategy", "match"),
    [
        (FSDPStrategy, r"FSDP1.*strategy='fsdp2' or 'ddp'"),
        (DeepSpeedStrategy, r"DeepSpeed.*strategy='fsdp2' or 'ddp'"),
    ],
)
def test_strategies_that_keep_gradients_to_themselves(strategy, match):
    trainer = kit.trainer()
    # The Trainer refuses them on a CPU and DeepSpeed is not installed, so an instance comes in by the back door.
    instance = trainer._accelerator_connector.strategy = strategy.__new__(strategy)
    instance._precision_plugin = None
    with pytest.raises(ValueError, match=match):
        check_trainer(trainer)


@pytest.mark.parametrize("size", ["auto", 2])
def test_tensor_parallelism(size):
    """Lightning's "auto" means tensor parallelism inside a node."""
    strategy = ModelParallelStrategy(tensor_parallel_size=size)
    refused(f"tensor_parallel_size={size!r}.*fsdp2", strategy=strategy)


def test_ddp_with_a_static_graph():
    trainer = kit.trainer(strategy=DDPStrategy(static_graph=True))
    with pytest.raises(ValueError, match=r"static_graph=True.*static_graph=False"):
        check_trainer(trainer)


# The module ----------------------------------------------------------------------------------------------------------


def test_a_reference_that_is_needed_but_not_given():
    objectives = {"forget": UnlearningCrossEntropyLoss(), "kl": KLDivergenceLoss()}
    with pytest.raises(ValueError, match=r"\['kl'\] compare with the reference model, but reference is None.*Frozen"):
        UnlearningModule(kit.model(), objectives, MinNorm())


def test_an_adapter_reference_without_an_adapter():
    refused("AdapterReference needs .*LlamaForCausalLM has none", lambda m: MOLLM(m, reference=AdapterReference()))


def test_an_adapter_reference_with_an_adapter_is_accepted():
    module = MOLLM(LoRA(r=2).apply(kit.model()), reference=AdapterReference())
    kit.trainer(max_steps=1).fit(module, kit.Questions(batch_size=8, micro_batch_size=8))
    assert module.windows_closed == 1


def test_too_many_objectives_and_none():
    with pytest.raises(ValueError, match="9 objectives were given, but MinNorm combines 1 to 8"):
        UnlearningModule(kit.model(), {str(k): CausalLMLoss() for k in range(9)}, MinNorm())
    with pytest.raises(ValueError, match="objectives is empty"):
        UnlearningModule(kit.model(), {}, MinNorm())


def test_dropping_an_objective_needs_rows():
    objectives = {"forget": UnlearningCrossEntropyLoss(), "retain": CausalLMLoss()}
    with pytest.raises(ValueError, match=r"on_nonfinite='drop'.*Scalarization.*'skip', 'raise'"):
        UnlearningModule(kit.model(), objectives, Scalarization(), on_nonfinite="drop")


def test_weights_and_thresholds_of_unknown_objectives():
    with pytest.raises(ValueError, match=r"weights names \['reatin'\], but the objectives are \['forget', 'retain'\]"):
        GradDiff(kit.model(), combiner=Scalarization({"reatin": 2.0}))
    with pytest.raises(ValueError, match=r"satisfied names \['forgot'\]"):
        MOLLM(kit.model(), MinNorm(satisfied={"forgot": 0.1}))


def test_nothing_to_train():
    refused("No parameter requires a gradient", lambda model: GradAscent(model.requires_grad_(False)))


def test_a_reference_with_another_vocabulary(tmp_path):
    other = kit.model()
    other.resize_token_embeddings(other.config.vocab_size + 8)
    other.save_pretrained(tmp_path)
    refused(r"has \d+ tokens and the trained model has", lambda m: MOLLM(m, reference=FrozenReference(str(tmp_path))))


def test_a_model_that_only_evaluates():
    refused("PretrainedModule only evaluates. Fit FineTuning", PretrainedModule)


def test_a_tokenizer_that_nobody_names():
    class Nameless(kit.Questions):
        def __init__(self) -> None:
            super().__init__(batch_size=8, micro_batch_size=8)
            self._tokenizer = None

    refused("tokenizer is None", data=Nameless())


def test_a_model_that_is_not_there(tmp_path):
    module = GradDiff(CausalLM(str(tmp_path / "nowhere")))
    with pytest.raises((ValueError, OSError), match="nowhere"):
        kit.trainer(max_epochs=1).fit(module, kit.Questions(batch_size=8, micro_batch_size=8))


# Labels --------------------------------------------------------------------------------------------------------------


class Unlabeled(kit.Questions):
    """Hides the labels of the forget stream, as a faulty collate function of one's own would."""

    def transfer_batch_to_device(self, batch, device, dataloader_idx):
        for part in batch["forget"]:
            part["labels"].fill_(-100)
        return super().transfer_batch_to_device(batch, device, dataloader_idx)


@pytest.mark.parametrize("combiner", [MinNorm, Scalarization])
def test_a_stream_without_labels_contributes_nothing(combiner):
    model = kit.model()
    module = GradDiff(model, combiner=combiner())
    kit.trainer(max_steps=2).fit(module, Unlabeled(batch_size=8, micro_batch_size=4))
    assert all(p.isfinite().all() for p in model.parameters())
    assert module.descent.losses[0] == 0
    assert module.descent.losses[1] > 0


def test_lightning_does_not_check_the_flags_of_evaluation():
    """What only concerns training is no reason to refuse an evaluation."""
    trainer: pl.Trainer = kit.trainer(gradient_clip_val=0.5, limit_val_batches=1.0)
    trainer.validate(GradDiff(kit.model()), kit.Questions(batch_size=8, micro_batch_size=3), verbose=False)


# What a stranger tried ------------------------------------------------------------------------------------------------


def test_unknown_policies_and_impossible_norms():
    with pytest.raises(ValueError, match="on_nonfinite is 'skp'; accepted: skip, drop, raise"):
        GradDiff(kit.model(), on_nonfinite="skp")
    with pytest.raises(ValueError, match="gradient_clip_val is -1"):
        GradDiff(kit.model(), gradient_clip_val=-1)


def test_a_schedule_that_cannot_know_the_end():
    refused(
        r"max_epochs=-1 and max_steps=-1 set no end, which LinearWarmup needs", max_epochs=-1, max_time="00:00:00:01"
    )


def test_answers_longer_than_the_context_are_refused_in_evaluation_too():
    short = tiny_llama(len(kit.tokenizer()), hidden_size=32, num_layers=1, num_heads=2, max_position_embeddings=16)
    with pytest.raises(ValueError, match="model's context is 16"):
        kit.trainer(limit_val_batches=1.0).validate(PretrainedModule(short), kit.Questions(), verbose=False)


def test_a_single_string_is_no_list_of_names():
    with pytest.raises(ValueError, match=r"splits='forget' is a single string; accepted is .* \['forget'\]"):
        kit.Questions(splits="forget")


def test_a_number_is_no_answer():
    refused(
        "Row 0 of the stream 'forget' has the number 5 as answer", data=Given([{"question": "How many?", "answer": 5}])
    )


def test_a_retain_split_that_holds_what_is_forgotten():
    with pytest.raises(ValueError, match=r"retain_split='retain99' holds rows of forget_split='forget10'; .* retain90"):
        TOFUDataModule(kit.tokenizer(), "forget10", retain_split="retain99")


@pytest.mark.parametrize("sizes", [{"tensor_parallel_size": 2}, {"data_parallel_size": 2}])
def test_fsdp2_with_sizes_of_a_mesh(sizes):
    with pytest.raises(ValueError, match=r"(?s)was given .*HSDP.*strategy='ddp'"):
        FSDP2Strategy(**sizes)
