"""A random-init Stable Diffusion of a few thousand weights: fit, export, reload, evaluation, and broken folders."""

import json
import sys

import pytest
import torch

from tests import canvas as cases
from tests import kit
from tests.diffusion_folder import make_folder, spec
from unlearn_pl.callbacks import SavePretrained
from unlearn_pl.data import ForgetStyle, MiniCanvasDataModule
from unlearn_pl.functional import ExampleRandom
from unlearn_pl.models import DDIM, UNet
from unlearn_pl.modules import ESD, PretrainedModule, SalUn
from unlearn_pl.types import parse_needs

pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("diffusion"))


def test_it_is_fitted_exported_and_reloads_to_the_same_prediction(folder, tmp_path):
    from diffusers import StableDiffusionPipeline

    module = SalUn(spec(folder), **cases.OPTIONS)
    export = SavePretrained(str(tmp_path / "hf"))
    kit.trainer(max_steps=1, callbacks=[export]).fit(module, cases.canvas(micro_batch_size=8, splits=["retain"]))
    assert export.reload.agrees
    assert "reloads to the prediction" in export.reload.sentence
    start, found = spec(folder).build(), module.model
    moved = {n for n, p in found.named_parameters() if not torch.equal(p, dict(start.named_parameters())[n])}
    assert moved
    assert all(name.startswith("unet.") for name in moved)

    noisy, t = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([500])
    prompt = "A 3 image in crimson style."
    found.eval()
    wanted = found(noisy, t, [prompt])
    assert torch.equal(spec(tmp_path / "hf").build().eval()(noisy, t, [prompt]), wanted)

    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "hf")  # a folder of diffusers, for diffusers
    tokens = pipeline.tokenizer([prompt], padding="max_length", return_tensors="pt")["input_ids"]
    theirs = pipeline.unet(noisy, t, pipeline.text_encoder(tokens).last_hidden_state).sample
    torch.testing.assert_close(theirs, wanted, rtol=1e-5, atol=1e-6)
    kit.trainer(max_steps=1, callbacks=[SavePretrained(str(tmp_path / "hf"))])  # an earlier export may be replaced
    SavePretrained(str(tmp_path / "hf")).setup(kit.trainer(max_steps=1), module, "fit")


def test_samples_are_those_of_the_pipeline(folder):
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    seeds = torch.tensor([188, 288])
    prompts = ["A 3 image in crimson style.", "a dog"]
    latents = ExampleRandom(seeds).normal((4, 4, 4))
    theirs = pipeline(
        prompts, latents=latents, num_inference_steps=4, guidance_scale=9.0, output_type="pt", height=8, width=8
    ).images
    made = UNet(str(folder), sampler=DDIM(steps=4, guidance=9.0))
    torch.testing.assert_close(made.sample(made.build().eval(), prompts, seeds), theirs, rtol=0, atol=1e-4)


def test_noise_and_esd_target_are_those_of_the_scheduler(folder):
    from diffusers import DDIMScheduler

    made = spec(folder)
    model = made.build().eval()
    data = cases.canvas(micro_batch_size=8, splits=["retain"])
    data.setup("fit")
    window, _, _ = next(iter(data.train_dataloader()))
    batch = window["forget"][0]
    view = made.forward(model, batch, parse_needs(["null_prediction", "ref_prediction"]))
    random = ExampleRandom(batch["seeds"])
    t = random.integers(1000)
    assert torch.equal(view.timestep, t)
    posterior = model.autoencoder.encode(2 * batch["image"] - 1).latent_dist
    latents = (posterior.mean + posterior.std * random.normal((4, 4, 4))) * model.autoencoder.config.scaling_factor
    noise = random.normal((4, 4, 4))
    torch.testing.assert_close(view.target, noise)
    noisy = DDIMScheduler.from_pretrained(folder, subfolder="scheduler").add_noise(latents, noise, t)
    torch.testing.assert_close(view.prediction, model(noisy, t, batch["prompt"]), rtol=1e-4, atol=1e-5)


def test_esd_and_an_evaluation(folder, tmp_path):
    module = ESD(spec(folder), **cases.OPTIONS)
    kit.trainer(max_steps=1).fit(module, cases.canvas(micro_batch_size=8, splits=["retain"]))
    assert module.descent.losses.isfinite().all()
    metrics, _ = cases.evaluated(model=spec(folder))
    assert 0 <= metrics["unlearning_accuracy"] <= 1
    checkpoint = tmp_path / "last.ckpt"
    module.trainer.save_checkpoint(checkpoint)
    kept = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert kept
    assert all(name.startswith("model.unet.") for name in kept)
    loaded = ESD.load_from_checkpoint(checkpoint)
    for name, parameter in loaded.model.named_parameters():
        assert torch.equal(parameter, dict(module.model.named_parameters())[name])


def test_what_is_no_folder_of_a_model_raises(folder, tmp_path):
    import shutil

    with pytest.raises(ValueError, match=r"is no folder of diffusers with a model_index\.json"):
        UNet(str(tmp_path)).build()
    shutil.copytree(folder, tmp_path / "other")
    index = json.loads((tmp_path / "other" / "model_index.json").read_text())
    (tmp_path / "other" / "model_index.json").write_text(json.dumps({**index, "unet": ["diffusers", "UNet1DModel"]}))
    with pytest.raises(ValueError, match=r"UNet1DModel.*as unet; accepted: UNet2DConditionModel"):
        UNet(str(tmp_path / "other")).build()
    (tmp_path / "other" / "model_index.json").write_text(json.dumps(index))
    (tmp_path / "other" / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ValueError, match="holds no text-to-image model in safetensors"):
        UNet(str(tmp_path / "other")).build()


def test_prompts_and_images_that_do_not_fit_raise(folder):
    made = spec(folder)
    model = made.build().eval()
    with pytest.raises(ValueError, match="tokens; accepted: up to 40"):
        made.sample(model, ["a" * 60], torch.tensor([1]))
    batch = {
        "image": torch.zeros(1, 3, 16, 16),
        "prompt": ["a"],
        "index": torch.zeros(1),
        "seeds": torch.ones(1).long(),
    }
    with pytest.raises(ValueError, match=r"accepted: images that make \[4, 4, 4\]"):
        made.forward(model, batch, frozenset())


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ImportError, match=r"pip install 'unlearn_pl\[diffusion\]'"):
        UNet("models/any").build()
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"pip install 'unlearn_pl\[vision\]'"):
        MiniCanvasDataModule(ForgetStyle("crimson")).setup("fit")
    assert PretrainedModule(UNet("models/any")).model_name == "models/any"
