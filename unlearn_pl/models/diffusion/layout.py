"""The layout of Stable Diffusion 1 and 2 in a folder of diffusers, and what differs from it."""

from collections.abc import Mapping
from typing import Any

PARTS = {
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
"""The parts of Stable Diffusion that are read; what else a folder has, such as a safety checker, is not."""

OTHERS = {
    "text_encoder_2": "a second text encoder, as SDXL has",
    "text_encoder_3": "a third text encoder, as Stable Diffusion 3 has",
    "transformer": "a transformer in the place of the network",
    "prior": "a prior",
    "image_encoder": "an encoder of images",
    "controlnet": "a network of conditions",
}
"""Parts that the prediction of other models depends on."""

CONDITIONS = ("addition_embed_type", "class_embed_type", "encoder_hid_dim_type", "time_cond_proj_dim")
"""Settings of a network that reads more than noisy latents, timestep and text, such as ``text_time`` of SDXL."""

ACCEPTED = "the layout of Stable Diffusion 1 and 2, with one text encoder of CLIP"


def check_index(name: str, index: Mapping[str, Any]) -> None:
    """Check the parts of a model.

    Args:
        name: of the folder.
        index: contents of its ``model_index.json``.

    Raises:
        ValueError: naming a part that is missing, of another kind, or that is not read and changes the prediction.
    """
    for part, what in OTHERS.items():
        if is_there(index.get(part)):
            kind = index.get("_class_name", "a pipeline")
            raise ValueError(f"{name!r} is {kind}, with {what} ({part}); accepted: {ACCEPTED}.")
    for part, expected in PARTS.items():
        found: Any = index.get(part)
        if not is_there(found) or (part != "scheduler" and found[-1] != expected[-1]):
            raise ValueError(
                f"{name!r} has {found} as {part}; accepted: {expected[-1]}, as in Stable Diffusion 1 and 2."
            )


def check_fit(name: str, network: Mapping[str, Any], autoencoder: Mapping[str, Any], text_size: int) -> None:
    """Check that the network reads what the other parts make, and nothing else.

    Args:
        name: of the folder.
        network: configuration of the network.
        autoencoder: that of the autoencoder.
        text_size: D, the size of the text encoder's states.

    Raises:
        ValueError: naming what differs.
    """
    if further := [f"{key}={network[key]!r}" for key in CONDITIONS if network.get(key) is not None]:
        raise ValueError(
            f"The network of {name!r} reads more than latents, timestep and text: {', '.join(further)}; accepted: "
            f"{ACCEPTED}."
        )
    latents = autoencoder["latent_channels"]
    for key in ("in_channels", "out_channels"):
        if network[key] != latents:
            raise ValueError(
                f"The network of {name!r} has {key}={network[key]}, and the autoencoder makes {latents} channels; "
                "accepted: the same number, which models that fill in or edit images do not have."
            )
    if isinstance(network["cross_attention_dim"], int) and network["cross_attention_dim"] != text_size:
        raise ValueError(
            f"The network of {name!r} reads texts of cross_attention_dim={network['cross_attention_dim']}, and the "
            f"text encoder makes {text_size}; accepted: the same size."
        )


def is_there(part: object) -> bool:
    """Whether an entry of the index names a class; ``[null, null]`` is a part that was left out."""
    return isinstance(part, list | tuple) and len(part) > 0 and part[-1] is not None
