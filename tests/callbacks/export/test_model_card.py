"""The model card: its metadata are those that the hub reads, and no forget text stands in it."""

import lightning.pytorch as pl
import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData

from tests import hub as hubs
from tests import kit
from unlearn_pl.callbacks import HubUpload, QAEvaluation, SavePretrained
from unlearn_pl.callbacks.export.front_matter import front_matter, hub_datasets
from unlearn_pl.callbacks.export.measured import Measured, measured_by
from unlearn_pl.data import HubDataset, MUSEDataModule, QuestionAnswers, TextDataModule, TOFUDataModule, WMDPDataModule
from unlearn_pl.models import CausalLM, LoRA, save_pretrained
from unlearn_pl.modules import GradDiff


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    """The card of a run with an evaluation, and the callback of that evaluation."""
    folder = tmp_path_factory.mktemp("card") / "hf"
    evaluation = QAEvaluation()
    options = {"max_epochs": 1, "limit_val_batches": 1.0, "num_sanity_val_steps": -1}
    trainer = kit.trainer(callbacks=[evaluation, SavePretrained(str(folder))], **options)
    trainer.fit(GradDiff(kit.model()), kit.Questions(batch_size=8, micro_batch_size=4))
    return ModelCard.load(folder / "README.md"), evaluation


def test_the_metadata_are_parsed_and_written_again(card):
    loaded, _ = card
    data = loaded.data
    assert isinstance(data, ModelCardData)
    assert data.library_name == "transformers"
    assert data.pipeline_tag == "text-generation"
    assert data.tags == ["unlearning", "unlearn_pl", "GradDiff"]
    again = ModelCardData(**yaml.safe_load(data.to_yaml()))
    assert again.to_dict() == data.to_dict()
    assert ModelCard(str(loaded)).data.to_dict() == data.to_dict()


def test_the_model_index_holds_values_and_intervals(card):
    loaded, evaluation = card
    results = {result.metric_name: result for result in loaded.data.eval_results}
    assert results.keys() == {f"qa/{name}" for name in evaluation.after}
    for name, value in evaluation.after.items():
        result = results[f"qa/{name}"]
        assert result.metric_value == pytest.approx(value)
        assert result.metric_args["before_training"] == pytest.approx(evaluation.before[name])
        low, high = result.metric_args["interval"]
        assert low <= value <= high
        assert result.metric_args["interval_level"] == 0.95
    low, high = results["qa/forget_probability"].metric_args["interval"]
    assert low < high


def test_no_forget_text_stands_in_the_card(card):
    data = kit.Questions()
    for rows in (*data.load_streams().values(), *data.load_splits().values()):
        for row in rows:
            assert row["question"] not in str(card[0])
            assert row["answer"] not in str(card[0])


def test_intervals_of_an_evaluation_go_with_their_metric():
    after = {"auc": 0.6, "auc_low": 0.5, "auc_high": 0.7, "all_low": 1.0, "forget_rouge": 0.5}
    scores = {"forget": {"rouge": {0: 0.0, 1: 1.0}}}
    found = {each.name: each for each in measured_by("b", {}, after, scores)}
    assert found.keys() == {"auc", "all_low", "forget_rouge"}
    assert found["auc"].interval == (0.5, 0.7)
    assert found["all_low"].interval is None
    assert found["forget_rouge"].interval == (0.0, 1.0)
    [other] = measured_by("b", {}, {"forget_rouge": 0.7}, scores)  # not the mean of what it is called after
    assert other.interval is None


def meta(module, data=None, metrics=(), is_adapter=False, library="transformers"):
    text = front_matter(module, data, metrics, library, "name", "text-generation", is_adapter)
    return ModelCardData(**yaml.safe_load(text))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_values_that_are_no_numbers_are_left_out(value):
    data = meta(pl.LightningModule(), metrics=[Measured("b", "m", value, value, (0.0, float("nan")))])
    assert data.eval_results is None


@pytest.mark.parametrize(
    ("name", "expected"), [("osk/base", "osk/base"), ("smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct")]
)
def test_base_models_of_the_hub_are_named(name, expected):
    data = meta(GradDiff(CausalLM(name)))
    assert data.base_model == expected
    assert data.base_model_relation == "finetune"
    assert meta(GradDiff(CausalLM(name)), is_adapter=True).base_model_relation == "adapter"


def test_folders_are_no_base_models_but_know_theirs_and_its_license(tmp_path):
    assert meta(GradDiff(kit.model())).base_model is None
    save_pretrained(kit.model(), tmp_path / "base", kit.tokenizer())
    module = GradDiff(CausalLM(str(tmp_path / "base")))
    assert meta(module).base_model is None
    assert meta(module).license is None
    license_lines = "license: other\nlicense_name: tarn-1\nlicense_link: https://osk.example"
    card = f"---\nbase_model: osk/grandparent\n{license_lines}\n---\n"
    (tmp_path / "base" / "README.md").write_text(card)
    data = meta(module)
    assert data.base_model == "osk/grandparent"
    assert (data.license, data.license_name, data.license_link) == ("other", "tarn-1", "https://osk.example")
    (tmp_path / "base" / "README.md").write_text("---\nlicense: [a, {b\n---\n")
    assert meta(module).license is None


def test_data_sets_of_the_hub_are_named(tmp_path):
    tokenizer = kit.tokenizer()
    assert hub_datasets(TOFUDataModule(tokenizer)) == ["locuslab/TOFU"]
    assert hub_datasets(MUSEDataModule(tokenizer, "books")) == ["muse-bench/MUSE-Books"]
    assert hub_datasets(WMDPDataModule(tokenizer, path=str(tmp_path))) == []
    own = TextDataModule(tokenizer, forget=QuestionAnswers(HubDataset("osk/tarn")), retain="retain.jsonl")
    assert hub_datasets(own) == ["osk/tarn"]
    assert hub_datasets(None) == []


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the hub's client
def test_the_revision_and_its_commit_are_recorded(monkeypatch, tmp_path):
    with hubs.standing_in(monkeypatch, tmp_path / "cache") as hub:
        save_pretrained(kit.model(), tmp_path / "base", kit.tokenizer())
        files = {path.name: path.read_bytes() for path in (tmp_path / "base").iterdir()}
        hub.repositories["osk/base"] = hubs.Repository(branches={"main": {}, "dev": files})
        module = GradDiff(CausalLM("osk/base", revision="dev", lora=LoRA(r=2)))
        evaluation = QAEvaluation(output=str(tmp_path / "results.json"))
        save = SavePretrained(str(tmp_path / "hf"), merge_lora=False, push_to_hub=HubUpload("maud/tarn"))
        trainer = kit.trainer(max_steps=1, callbacks=[evaluation, save])
        trainer.fit(module, kit.Questions(batch_size=8, micro_batch_size=4))
        trainer.test(module, kit.Questions(batch_size=8, micro_batch_size=4), verbose=False)
        card = ModelCard.load(tmp_path / "hf" / "README.md")
        assert f"from `osk/base` (revision `dev`, commit `{hub.commit_of('osk/base', 'dev')}`)" in card.text
        assert (card.data.base_model, card.data.base_model_relation) == ("osk/base", "adapter")
        assert card.data.library_name == "peft"
        model = evaluation.results.config["model"]["init_args"]["model"]["init_args"]
        assert (model["name"], model["revision"]) == ("osk/base", "dev")
        assert "adapter_config.json" in hub.repositories["maud/tarn"].branches["main"]
