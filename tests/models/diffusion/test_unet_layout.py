"""What a folder of diffusers must hold: random weights from configurations, and clear errors for other layouts."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests import canvas as cases
from tests import kit
from tests.diffusion_folder import make_folder, spec
from unlearn_pl.callbacks import SavePretrained
from unlearn_pl.models import UNet
from unlearn_pl.modules import SalUn

pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_folder(tmp_path_factory.mktemp("diffusion"))


@pytest.fixture
def copied(folder, tmp_path) -> Path:
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy"


def edited(file: Path, **changes) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_configurations_suffice_for_random_weights(copied, tmp_path):
    for weights in copied.rglob("*.safetensors"):
        weights.unlink()
    with pytest.raises(
        ValueError, match=r"no text-to-image model in safetensors: .*with UNet\(\.\.\., random_weights=0"
    ):
        UNet(str(copied)).build()
    state = torch.get_rng_state()
    first, again, other = (spec(copied, random_weights=seed).build() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.unet.conv_in.weight, other.unet.conv_in.weight)
    export = SavePretrained(str(tmp_path / "hf"))
    module = SalUn(spec(copied, random_weights=0), **cases.OPTIONS)
    kit.trainer(max_steps=1, callbacks=[export]).fit(module, cases.canvas(micro_batch_size=8, splits=["retain"]))
    assert export.reload.agrees


@pytest.mark.parametrize(
    ("part", "kind"),
    [("text_encoder_2", "CLIPTextModelWithProjection"), ("transformer", "SD3Transformer2DModel")],
)
def test_other_layouts_raise(copied, part, kind):
    library = "transformers" if part.startswith("text") else "diffusers"
    edited(copied / "model_index.json", _class_name="StableDiffusionXLPipeline", **{part: [library, kind]})
    message = rf"is StableDiffusionXLPipeline, with .* \({part}\); accepted: the layout of Stable Diffusion 1 and 2"
    with pytest.raises(ValueError, match=message):
        UNet(str(copied)).build()
    edited(copied / "model_index.json", **{part: [None, None]})  # a part that was left out
    UNet(str(copied)).build()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"addition_embed_type": "text", "cross_attention_dim": 64},
            r"reads more than latents, timestep and text: addition_embed_type='text'; accepted: the layout of Stable",
        ),
        ({"in_channels": 9}, "has in_channels=9, and the autoencoder makes 4 channels; accepted: the same number"),
        ({"out_channels": 8}, "has out_channels=8, and the autoencoder makes 4 channels"),
        ({"cross_attention_dim": 32}, "cross_attention_dim=32, and the text encoder makes 16; accepted: the same size"),
    ],
)
def test_networks_that_read_something_else_raise(copied, changes, message):
    edited(copied / "unet" / "config.json", **changes)
    with pytest.raises(ValueError, match=message):
        spec(copied, random_weights=0).build()


def test_the_configuration_of_a_network_alone_raises(folder):
    with pytest.raises(ValueError, match=r"is no folder of diffusers .*a network alone says neither"):
        spec(folder / "unet", random_weights=0).build()
