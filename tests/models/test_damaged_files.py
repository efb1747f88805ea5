"""Files of models that are torn, incomplete, or of another kind: an error that names them, and no random weights."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from tests import kit
from tests.metrics.proof.test_leak_tests import ANSWERS, ASKED, entailment
from unlearn_pl.metrics import EntailedLeak
from unlearn_pl.models import CausalLM, ImageClassifier, LoRA, load_tokenizer, save_pretrained

__all__ = ["entailment"]


def without(file, part):
    """Remove the first weight whose name has the part; its name."""
    weights = load_file(file)
    name = next(name for name in weights if part in name)
    save_file({other: weights[other] for other in weights if other != name}, file, {"format": "pt"})
    return name


@pytest.fixture
def language(tmp_path):
    save_pretrained(kit.model(), tmp_path / "model", kit.tokenizer())
    return tmp_path / "model"


@pytest.fixture
def images(tmp_path):
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = ViTConfig(image_size=6, patch_size=3, num_channels=1, num_labels=3, **sizes)
    ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    return tmp_path / "vit"


def test_a_language_model_without_a_weight_is_not_completed_at_random(language):
    name = without(language / "model.safetensors", "down_proj")
    with pytest.raises(ValueError, match=f"lack weights .*: {name}. They would be random"):
        CausalLM(str(language)).build()


def test_nor_is_the_base_model_of_an_adapter(language, tmp_path):
    save_pretrained(CausalLM(str(language), lora=LoRA(r=2)).build(), tmp_path / "adapter", merge_lora=False)
    without(language / "model.safetensors", "down_proj")
    with pytest.raises(ValueError, match=r"adapter' cannot be loaded: The files in .*model' lack weights"):
        CausalLM(str(tmp_path / "adapter")).build()


def test_nor_is_an_image_classifier(images):
    without(images / "model.safetensors", "classifier.weight")
    with pytest.raises(ValueError, match=r"vit'.* lack weights .*: classifier\.weight"):
        ImageClassifier(str(images)).build()


def test_nor_is_a_judge_of_entailment(entailment, tmp_path):
    folder = shutil.copytree(entailment, tmp_path / "judge")
    without(folder / "model.safetensors", "score")
    with pytest.raises(ValueError, match=r"lack weights .*: score\.weight"):
        EntailedLeak(str(folder)).scores(ASKED, ANSWERS)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_nor_is_a_text_to_image_model(tmp_path, part):
    pytest.importorskip("diffusers")
    from tests.diffusion_folder import make_folder, spec

    folder = make_folder(tmp_path)
    [file] = (folder / part).glob("*.safetensors")
    name = without(file, "weight")
    with pytest.raises(ValueError, match=f"{part}' lack weights .*: {name}"):
        spec(folder).build()


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("model.safetensors", lambda data: data[: len(data) // 2]),
        ("config.json", lambda data: b'{"a": ' + b"[" * 100_000),
        ("config.json", lambda data: data.replace(b'"num_hidden_layers": 2', b'"num_hidden_layers": "two"')),
        ("generation_config.json", lambda data: b"3"),
    ],
)
def test_damaged_files_of_a_language_model_are_named(language, file, damage):
    whole = (language / file).read_bytes()
    (language / file).write_bytes(damage(whole))
    assert (language / file).read_bytes() != whole
    with pytest.raises(ValueError, match=r"model' cannot be loaded"):
        CausalLM(str(language)).build()


def test_damaged_settings_of_a_tokenizer_are_named(language):
    file = language / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_max_length": "ten"}))
    with pytest.raises(ValueError, match=r"model' cannot be loaded: TypeError"):
        load_tokenizer(str(language))


@pytest.mark.parametrize("mean", ['"half"', "[0.5, 0.5]", "[Infinity]", "[[0.5]]", "[1e40]"])
def test_a_damaged_normalization_is_not_passed_over(images, mean):
    (images / "preprocessor_config.json").write_text(f'{{"image_mean": {mean}, "image_std": [0.25]}}')
    with pytest.raises(ValueError, match=r"preprocessor_config\.json' has the image_mean"):
        ImageClassifier(str(images))
    (images / "preprocessor_config.json").write_text('{"image_mean": [0.5]')
    with pytest.raises(ValueError, match=r"preprocessor_config\.json' is not a JSON file"):
        ImageClassifier(str(images))


@pytest.mark.parametrize("layers", [1000, 10**400])
def test_layers_without_weights_are_not_built(language, layers):
    """Building them took minutes, and then all of the memory."""
    config = json.loads((language / "config.json").read_text())
    (language / "config.json").write_text(json.dumps(config | {"num_hidden_layers": layers}))
    with pytest.raises(ValueError, match=r"config.json in .*model' claims 1\S*.* layers \(num_hidden_layers\), but"):
        CausalLM(str(language)).build()


def test_nor_those_of_a_part(images):
    config = json.loads((images / "config.json").read_text())
    (images / "config.json").write_text(json.dumps(config | {"part_config": {"depths": [1, 10**5]}}))
    with pytest.raises(ValueError, match=r"claims 100001 layers \(depths\)"):
        ImageClassifier(str(images)).build()


@pytest.mark.parametrize("entry", ["_attn_implementation", "attn_implementation"])
@pytest.mark.parametrize("value", ["owner/kernels", "flash|owner/kernels@main:attend", {"": "owner/kernels"}])
def test_kernels_that_a_configuration_names_are_not_run(language, entry, value):
    config = json.loads((language / "config.json").read_text())
    (language / "config.json").write_text(json.dumps(config | {"text_config": {entry: value}}))
    with pytest.raises(ValueError, match=rf"model' names .*owner/kernels.* as its {entry}.*must not run code"):
        CausalLM(str(language)).build()


def test_nor_those_of_a_text_to_image_model_with_random_weights(tmp_path):
    pytest.importorskip("diffusers")
    from tests.diffusion_folder import make_folder, spec

    file = make_folder(tmp_path) / "text_encoder" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"_attn_implementation": "owner/kernels"}))
    with pytest.raises(ValueError, match="names 'owner/kernels' as its _attn_implementation"):
        spec(file.parents[1], random_weights=0).build()


def test_nor_those_of_a_sentence_encoder(language):
    from unlearn_pl.data import SentenceEncoder

    config = json.loads((language / "config.json").read_text())
    (language / "config.json").write_text(json.dumps(config | {"_attn_implementation": "owner/kernels"}))
    with pytest.raises(ValueError, match="names 'owner/kernels' as its _attn_implementation"):
        SentenceEncoder(str(language)).embed([])


def test_errors_of_the_machine_are_none_of_the_files(language, monkeypatch):
    from transformers import AutoModelForCausalLM

    def load(*_, **__):
        raise MemoryError

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", load)
    with pytest.raises(MemoryError):
        CausalLM(str(language)).build()
