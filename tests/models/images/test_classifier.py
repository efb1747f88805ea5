"""How image classifiers are built, what their views hold, and what is no classifier."""

import functools

import pytest
import torch
from torch import nn

from tests.pictures import classifier
from unlearn_pl.models import MLP, ConvNet, EvaluationRequest, EvaluationSetting, ImageClassifier
from unlearn_pl.recording import record
from unlearn_pl.types import Need


def batch(labels=(0, 2), side=6, channels=1):
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(len(labels), channels, side, side, generator=generator)
    return {"image": image, "label": torch.tensor(labels), "index": torch.arange(len(labels))}


def test_every_build_has_the_same_weights_and_disturbs_no_generator():
    before = torch.get_rng_state()
    first, second = classifier(seed=3).build(), classifier(seed=3).build()
    assert torch.equal(torch.get_rng_state(), before)
    other = classifier(seed=4).build()
    for a, b, c in zip(first.parameters(), second.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)


def test_training_does_not_change_a_network_that_was_given():
    network = MLP(36, 3)
    spec = ImageClassifier(lambda: network)
    built = spec.build()
    nn.init.zeros_(built.layers[0].weight)
    assert torch.equal(spec.build().layers[0].weight, network.layers[0].weight)
    with pytest.raises(ValueError, match=r"network is a MLP; accepted: what makes one"):
        ImageClassifier(network)


def test_the_view_has_one_token_per_image():
    spec, images = classifier(), batch()
    model = spec.build()
    view = spec.forward(model, images, frozenset({Need("logps")}))
    expected = model(images["image"]).log_softmax(dim=1)
    torch.testing.assert_close(view.logps, expected.gather(1, images["label"].unsqueeze(1)))
    assert view.logits.shape == (2, 1, 3)
    assert spec.count(images, "tokens").item() == spec.count(images, "sequences").item() == view.count("tokens").item()


def test_an_evaluation_gives_scores_and_class_log_probabilities():
    spec, images = classifier(), batch()
    model = spec.build()
    request = EvaluationRequest(details=frozenset({"greedy", "moments"}))
    scores = spec.evaluate(model, images, request, EvaluationSetting())
    logps = model(images["image"]).double().log_softmax(dim=1)
    torch.testing.assert_close(scores["class_logps"], logps)
    torch.testing.assert_close(scores["nll"], -logps.gather(1, images["label"].unsqueeze(1))[:, 0])
    assert scores["greedy"][:, 0].tolist() == (logps.argmax(1) == images["label"]).double().tolist()
    torch.testing.assert_close(scores["mean"][:, 0], (logps.exp() * logps).sum(1))
    assert spec.evaluate(model, images, EvaluationRequest(reads="nothing"), EvaluationSetting()) is None
    with pytest.raises(ValueError, match="are no texts"):
        spec.evaluate(model, images, EvaluationRequest(details=frozenset({"text"})), EvaluationSetting())


def test_labels_out_of_range_are_named():
    spec = classifier()
    for labels in ((0, 3), (-1, 0)):
        with pytest.raises(ValueError, match=r"Labels reach from .* has 3 classes; accepted: 0 to 2"):
            spec.forward(spec.build(), batch(labels), frozenset())


def test_images_are_normalized_per_channel():
    spec = ImageClassifier(functools.partial(ConvNet, num_channels=2, num_classes=3), mean=[0.5, 0.1], std=[2.0, 1.0])
    images, model = batch(channels=2), spec.build()
    view = spec.forward(model, images, frozenset())
    shifted = (images["image"] - torch.tensor([0.5, 0.1]).view(1, 2, 1, 1)) / torch.tensor([2.0, 1.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(view.logits[:, 0], model(shifted))
    with pytest.raises(ValueError, match=r"Images have 3 channels, but mean and std have 2"):
        spec.forward(model, batch(channels=3), frozenset())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": [0.5]}, "both or neither"),
        ({"mean": [0.5], "std": [1.0, 1.0]}, "accepted: as many"),
        ({"mean": [0.5], "std": [0.0]}, "must be positive"),
    ],
)
def test_normalization_is_checked(options, message):
    with pytest.raises(ValueError, match=message):
        classifier(**options)


def test_weights_come_from_safetensors_only(tmp_path):
    from safetensors.torch import save_file

    trained = classifier(seed=7).build()
    save_file(trained.state_dict(), tmp_path / "model.safetensors")
    for path in (tmp_path, tmp_path / "model.safetensors"):
        loaded = classifier(weights=str(path)).build()
        assert torch.equal(loaded.layers[0].weight, trained.layers[0].weight)
    torch.save(trained.state_dict(), tmp_path / "model.bin")
    with pytest.raises(ValueError, match=r"accepted: a \.safetensors file"):
        classifier(weights=str(tmp_path / "model.bin")).build()
    (tmp_path / "torn.safetensors").write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"torn\.safetensors is no safetensors file"):
        classifier(weights=str(tmp_path / "torn.safetensors")).build()
    with pytest.raises(ValueError, match=r"do not fit MLP"):
        ImageClassifier(functools.partial(MLP, num_pixels=4, num_classes=3), weights=str(tmp_path)).build()


def test_an_image_model_of_transformers_is_loaded_from_its_folder(tmp_path):
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = ViTConfig(**sizes, image_size=8, patch_size=4, num_channels=1, num_labels=3)
    original = ViTForImageClassification(config).eval()
    original.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": [0.5], "image_std": [0.25]}')
    spec, images = ImageClassifier(str(tmp_path)), batch(side=8)
    model = spec.build()
    assert model.training
    logits = spec.forward(model.eval(), images, frozenset()).logits[:, 0]
    torch.testing.assert_close(logits, original((images["image"] - 0.5) / 0.25).logits)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="no weights in safetensors"):
        spec.build()


def test_what_is_no_network_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no folder with a config\.json"):
        ImageClassifier(str(tmp_path / "none")).build()
    with pytest.raises(ValueError, match=r"network has made a int"):
        ImageClassifier(lambda: 3).build()
    spec = ImageClassifier(nn.Identity)
    with pytest.raises(ValueError, match=r"shape \[2, 1, 6, 6\]; accepted: \[images, classes\]"):
        spec.forward(spec.build(), batch(), frozenset())


def test_the_record_names_the_network_and_its_arguments():
    plain = record(classifier())
    network = {"class_path": "unlearn_pl.models.MLP"}
    network["init_args"] = {"num_pixels": 36, "num_classes": 3, "hidden_sizes": [16]}
    assert plain["init_args"]["network"] == network


def test_batch_normalization_is_warned_of_and_can_be_frozen():
    def network():
        return nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(36, 3))

    spec = ImageClassifier(network)
    needs = {"retain": frozenset({Need("logps")})}
    with pytest.warns(UserWarning, match="freeze_statistics=True"):
        spec.check(spec.build(), needs, 0)
    frozen = ImageClassifier(network, freeze_statistics=True)
    model, images = frozen.build(), batch()
    together = frozen.forward(model, images, frozenset()).logits[:, 0]
    alone = frozen.forward(model, {name: value[:1] for name, value in images.items()}, frozenset()).logits[:, 0]
    torch.testing.assert_close(together[:1], alone)
    assert torch.equal(model[0].running_mean, torch.zeros(1))


def exported(folder, spec, steps: int = 2):
    """The callback and the module of a run that exports to ``folder``."""
    from tests import kit
    from tests.pictures import pictures
    from unlearn_pl.callbacks import ClassificationEvaluation, SavePretrained
    from unlearn_pl.modules import FineTuning

    save, module = SavePretrained(str(folder)), FineTuning(spec, stream="train")
    callbacks = [ClassificationEvaluation(), save]
    kit.trainer(max_steps=steps, callbacks=callbacks, limit_val_batches=1.0).fit(module, pictures())
    return save, module


def test_an_export_is_what_the_next_run_starts_from(tmp_path):
    folder = tmp_path / "out"
    save, module = exported(folder, classifier())
    assert save.reload.agrees
    assert "reloads to the logits" in save.reload.sentence
    loaded = classifier(weights=str(folder)).build()
    for name, parameter in module.model.named_parameters():
        assert torch.equal(dict(loaded.named_parameters())[name], parameter)
    card = (folder / "README.md").read_text()
    assert "MLP" in card
    assert "library_name: unlearn_pl" in card
    assert "## How to load\n\nAs `unlearn_pl.models.ImageClassifier`" in card
    assert save.reload.sentence in card
    assert "answers" not in card
    exported(folder, classifier(), steps=1)  # replaces it


def test_a_broken_export_of_a_classifier_is_a_warning(tmp_path, monkeypatch):
    from unlearn_pl.callbacks import save_pretrained as module

    def other_weights(model, *arguments, **options):
        save_pretrained(classifier(seed=5).build(), *arguments, **options)

    save_pretrained = module.save_pretrained
    monkeypatch.setattr(module, "save_pretrained", other_weights)
    with pytest.warns(UserWarning, match="does NOT reload to the logits of the trained model"):
        exported(tmp_path / "out", classifier())


def test_an_export_keeps_how_images_are_normalized(tmp_path):
    spec = classifier(mean=[0.3], std=[0.2])
    save, module = exported(tmp_path / "out", spec)
    assert save.reload.agrees
    again = classifier(weights=str(tmp_path / "out"))
    images = batch()
    logits = spec.forward(module.model.eval(), images, frozenset()).logits
    assert torch.equal(again.forward(again.build(), images, frozenset()).logits, logits)
    assert classifier(weights=str(tmp_path / "out"), mean=[0.0], std=[1.0]).normalization == ([0.0], [1.0])


def test_an_exported_folder_of_transformers_keeps_its_normalization(tmp_path):
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = ViTConfig(image_size=6, patch_size=3, num_channels=1, num_labels=3, **sizes)
    ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    (tmp_path / "vit" / "preprocessor_config.json").write_text('{"image_mean": [0.4], "image_std": [0.3]}')
    save, _ = exported(tmp_path / "out", ImageClassifier(str(tmp_path / "vit")))
    assert save.reload.agrees
    assert ImageClassifier(str(tmp_path / "out")).normalization == ([0.4], [0.3])
    assert "library_name: transformers" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize(
    "network",
    ["os.system", {"class_path": "os.system", "init_args": {"command": "touch ran"}}, "{class_path: os.system}"],
)
def test_a_checkpoint_cannot_name_what_is_no_network(network):
    from unlearn_pl.modules.safety.recorded_classes import check_record

    def plain(given):
        return {"model": {"class_path": "unlearn_pl.models.ImageClassifier", "init_args": {"network": given}}}

    with pytest.raises(ValueError, match=r"model\.network is 'os\.system', which does not fit"):
        check_record(plain(network))
    check_record(plain({"class_path": "unlearn_pl.models.MLP", "init_args": {"num_pixels": 4, "num_classes": 2}}))
    check_record(plain("models/vit"))
