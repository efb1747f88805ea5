"""Adapters of a random-init Stable Diffusion: fit, reference, checkpoint, export in both forms, and what raises."""

import json
import shutil

import pytest
import torch

from tests import canvas as cases
from tests import kit
from tests.diffusion_folder import make_folder, spec
from unlearn_pl.callbacks import SavePretrained
from unlearn_pl.combiners import MinNorm
from unlearn_pl.models import LoRA, QLoRA, UNet, save_pretrained
from unlearn_pl.modules import SalUn, UnlearningModule
from unlearn_pl.objectives import MisalignLoss, PredictionConsistencyLoss
from unlearn_pl.references import AdapterReference, FrozenReference
from unlearn_pl.results import weights_fingerprint

pytest.importorskip("diffusers")
pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

NOISY, T, PROMPT = (
    torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0)),
    torch.tensor([500]),
    "A 3 image.",
)
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("diffusion"))


def prediction(model):
    return model.eval()(NOISY, T, [PROMPT]).detach()


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    """Cross attention's adapters after two steps, and the exports of both kinds."""
    root = tmp_path_factory.mktemp("trained")
    torch.manual_seed(0)
    module = SalUn(spec(folder, lora=LoRA(r=2, alpha=64, target_modules=ATTENTION)), **cases.OPTIONS)
    exports = [SavePretrained(str(root / "merged")), SavePretrained(str(root / "alone"), merge_lora=False)]
    trainer = kit.trainer(max_steps=2, callbacks=exports)
    trainer.fit(module, cases.canvas(micro_batch_size=8, splits=["retain"]))
    return module, exports, root


def test_adapters_of_the_network_alone_are_trained(folder, trained):
    module, _, _ = trained
    start = dict(spec(folder).build().named_parameters())
    for name, parameter in module.model.named_parameters():
        if "lora_" in name:
            assert parameter.requires_grad
            assert ".attn1." in name or ".attn2." in name
        else:
            assert not parameter.requires_grad
            plain = name.replace("base_model.model.", "").replace("base_layer.", "")
            assert torch.equal(parameter, start[plain])
    assert any(bool(p.any()) for n, p in module.model.named_parameters() if "lora_B" in n)
    assert weights_fingerprint(module.model, ignore=["lora_"]) == weights_fingerprint(spec(folder).build())


def test_both_exports_reload_to_the_same_prediction(folder, trained):
    from diffusers import StableDiffusionPipeline
    from peft import PeftModel

    module, exports, root = trained
    assert [export.reload.agrees for export in exports] == [True, True]
    wanted = prediction(module.model)
    assert (wanted - prediction(spec(folder).build())).abs().max() > 1e-4
    for name in ("merged", "alone"):
        again = spec(root / name).build()
        torch.testing.assert_close(prediction(again), wanted, rtol=1e-5, atol=1e-6)
        assert not any("lora_" in parameter for parameter, _ in again.named_parameters())
    assert {path.name for path in (root / "alone").iterdir()} == {
        "README.md", "adapter_config.json", "adapter_model.safetensors"
    }  # fmt: skip
    pipeline = StableDiffusionPipeline.from_pretrained(root / "merged")  # a folder of diffusers, for diffusers
    states = pipeline.text_encoder(
        pipeline.tokenizer([PROMPT], padding="max_length", return_tensors="pt")["input_ids"]
    ).last_hidden_state
    torch.testing.assert_close(pipeline.unet(NOISY, T, states).sample, wanted, rtol=1e-5, atol=1e-6)
    plain = StableDiffusionPipeline.from_pretrained(folder)
    alone = PeftModel.from_pretrained(plain.unet, root / "alone").eval()
    torch.testing.assert_close(alone(NOISY, T, states).sample, wanted, rtol=1e-5, atol=1e-6)


def test_an_adapter_on_an_adapter_has_it_as_its_base(trained, tmp_path):
    _, _, root = trained
    second = spec(root / "alone", lora=LoRA(r=2, target_modules=["to_q"])).build()
    with torch.no_grad():
        for name, parameter in second.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.1)
    save_pretrained(second, tmp_path / "second", merge_lora=False)
    torch.testing.assert_close(prediction(spec(tmp_path / "second").build()), prediction(second), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="the adapters alone cannot be written"):
        save_pretrained(second, root / "alone", merge_lora=False)


def test_a_module_that_an_adapter_names_is_not_imported(trained, tmp_path):
    shutil.copytree(trained[2] / "alone", tmp_path / "planted")
    file = tmp_path / "planted" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"megatron_config": {"a": 1}, "megatron_core": "this"}))
    with pytest.raises(ValueError, match=r"adapter_config.json' has a megatron_config.* 'this'"):
        spec(tmp_path / "planted").build()


def test_checkpoints_hold_adapters_alone(folder, trained, tmp_path):
    module, _, _ = trained
    module.trainer.save_checkpoint(tmp_path / "last.ckpt")
    kept = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert kept
    assert all(".lora_" in name for name in kept)
    loaded = SalUn.load_from_checkpoint(tmp_path / "last.ckpt")
    torch.testing.assert_close(prediction(loaded.model), prediction(module.model))


def losses(folder, reference) -> torch.Tensor:
    torch.manual_seed(0)
    objectives = {"forget": MisalignLoss(), "retain": PredictionConsistencyLoss()}
    lora = LoRA(r=2, alpha=64, target_modules=ATTENTION)
    module = UnlearningModule(spec(folder, lora=lora), objectives, MinNorm(), reference, **cases.OPTIONS)
    found = []
    module.on_train_batch_end = lambda *_: found.append(module.descent.losses.clone())
    kit.trainer(max_steps=3).fit(module, cases.canvas(micro_batch_size=8, splits=["retain"]))
    return torch.stack(found)


def test_without_its_adapters_the_model_is_the_reference(folder):
    off, frozen = losses(folder, AdapterReference()), losses(folder, FrozenReference())
    assert off[0, 1] < 1e-10
    assert off[2, 1] > 1e-8
    torch.testing.assert_close(off, frozen, rtol=1e-4, atol=1e-10)


def test_what_is_not_possible_raises(folder, trained, tmp_path):
    with pytest.raises(ValueError, match="accepted for UNet: LoRA, or None"):
        UNet(str(folder), lora=QLoRA())
    losses_of = UnlearningModule(
        spec(folder), {"retain": PredictionConsistencyLoss()}, MinNorm(), AdapterReference(), **cases.OPTIONS
    )
    with pytest.raises(ValueError, match=r"AdapterReference needs .*StableDiffusionModel has none"):
        kit.trainer(max_steps=1).fit(losses_of, cases.canvas(micro_batch_size=8, splits=["retain"]))
    config = json.loads((trained[2] / "alone" / "adapter_config.json").read_text())
    for base, message in (("", "names '' as its base model"), (str(tmp_path), "is no folder of diffusers|base model")):
        (tmp_path / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": base}))
        with pytest.raises(ValueError, match=message):
            spec(tmp_path).build()
    (tmp_path / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": str(folder)}))
    with pytest.raises(ValueError, match="cannot be merged into its base model"):
        spec(tmp_path).build()
