"""Text-to-image models in folders of diffusers, in the layout of Stable Diffusion: safetensors and JSON only."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from unlearn_pl.models.adapters import has_adapter
from unlearn_pl.models.diffusion.adapters import base_of, merged_network, save_adapter
from unlearn_pl.models.diffusion.layout import PARTS, check_fit, check_index
from unlearn_pl.models.diffusion.model import DiffusionModel
from unlearn_pl.models.diffusion.noise_schedule import NoiseSchedule
from unlearn_pl.models.diffusion.pseudo_words import PseudoEmbedding, check_new
from unlearn_pl.models.hub.configuration import check_configuration
from unlearn_pl.models.hub.damage import is_of_files, load_whole, reason_of
from unlearn_pl.models.hub.refusal import refusal
from unlearn_pl.models.merging import merge_adapter
from unlearn_pl.models.modes import evaluation_mode
from unlearn_pl.models.precision import cast_parameters

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer

UNET_WEIGHTS = "diffusion_pytorch_model.safetensors"


class ClipEncoder(nn.Module):
    """The text encoder of Stable Diffusion with its tokenizer.

    Args:
        model: the text encoder of CLIP.
        tokenizer: its tokenizer.
    """

    def __init__(self, model: "CLIPTextModel", tokenizer: "CLIPTokenizer") -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer

    def forward(self, prompts: Sequence[str]) -> Tensor:
        """``[B, T, D]``, with gradients for pseudo words alone: the weights are frozen.

        Raises:
            ValueError: if a prompt is too long.
        """
        longest = self.tokenizer.model_max_length
        encoded = self.tokenizer(list(prompts), padding="max_length", max_length=longest)["input_ids"]
        for prompt, ids in zip(prompts, encoded, strict=True):
            if len(ids) > longest:
                raise ValueError(f"The prompt {prompt[:80]!r} has {len(ids)} tokens; accepted: up to {longest}.")
        ids = torch.tensor(encoded, device=next(self.model.parameters()).device)
        with evaluation_mode(self.model):  # it is frozen: dropout would only be noise
            return self.model(ids).last_hidden_state

    def add_words(self, words: Sequence[str], seed: int) -> PseudoEmbedding:
        """See :meth:`TakesPseudoWords.add_words`; the tokenizer in memory gets them as well."""
        check_new(words, list(self.tokenizer.get_vocab()))
        self.tokenizer.add_tokens(list(words))
        known = self.tokenizer.get_vocab()
        ids = [known[word] for word in words]
        embedding = PseudoEmbedding(self.model.get_input_embeddings(), ids, seed)
        self.model.set_input_embeddings(embedding)
        return embedding


class StableDiffusionModel(DiffusionModel):
    """A network, a text encoder and an autoencoder of diffusers and transformers, of which the network is trained.

    Args:
        unet: a ``UNet2DConditionModel``.
        text_encoder: of prompts; frozen.
        autoencoder: an ``AutoencoderKL``; frozen.
        schedule: written to exports.
    """

    def __init__(self, unet: Any, text_encoder: ClipEncoder, autoencoder: Any, schedule: NoiseSchedule) -> None:
        size = unet.config.sample_size
        height, width = size if isinstance(size, list | tuple) else (size, size)
        super().__init__(unet, text_encoder, (unet.config.in_channels, height, width), autoencoder)
        self.schedule = schedule
        for part in (text_encoder, autoencoder):
            part.requires_grad_(False)

    def sharded_layers(self) -> list[nn.Module]:
        """The blocks of the network, whose weights FSDP2 gathers one after the other."""
        network: Any = self.unet.get_base_model() if has_adapter(self.unet) else self.unet
        return [*network.down_blocks, *([network.mid_block] if network.mid_block else []), *network.up_blocks]

    def whole_parts(self) -> list[nn.Module]:
        """Text encoder and autoencoder, which are frozen and used apart from :meth:`forward`."""
        return [part for part in (self.text_encoder, self.autoencoder) if part is not None]

    def write_folder(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """Write a folder that ``StableDiffusionPipeline.from_pretrained`` reads, with adapters merged.

        Args:
            folder: an empty folder.
            weights: name to the whole weights of the model, on the CPU.
        """
        from diffusers import __version__
        from safetensors.torch import save_file

        own, unet = _of_network(weights), self.unet
        if has_adapter(unet):
            unet = merged_network(unet, own)
            own = unet.state_dict()
        unet.save_config(folder / "unet")  # type: ignore[operator]
        contiguous = {name: value.clone(memory_format=torch.contiguous_format) for name, value in own.items()}
        save_file(contiguous, folder / "unet" / UNET_WEIGHTS, metadata={"format": "pt"})
        encoder = self.text_encoder
        assert isinstance(encoder, ClipEncoder)
        encoder.model.save_pretrained(folder / "text_encoder")
        encoder.tokenizer.save_pretrained(folder / "tokenizer")
        self.autoencoder.save_pretrained(folder / "vae")  # type: ignore[union-attr]
        (folder / "scheduler").mkdir()
        versions = {"_diffusers_version": __version__}
        scheduler = {"_class_name": "DDIMScheduler", **versions, **self.schedule.config()}
        _write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
        absent = {"feature_extractor": [None, None], "safety_checker": [None, None], "requires_safety_checker": False}
        _write_json(
            folder / "model_index.json", {"_class_name": "StableDiffusionPipeline", **versions, **PARTS, **absent}
        )

    def write_adapter(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """Write the adapters of the network, which :class:`~unlearn_pl.models.UNet` merges into their base model.

        Args:
            folder: an empty folder.
            weights: see :meth:`write_folder`.
        """
        assert has_adapter(self.unet)
        save_adapter(self.unet, _of_network(weights), folder)


def read_folder(name: str, dtype: torch.dtype, random_weights: int | None = None) -> StableDiffusionModel:
    """The model in a folder, or on the hub; an adapter alone is merged into its base model.

    Args:
        name: of the folder, or of the repository.
        dtype: of the weights.
        random_weights: seed of random weights, where the folder holds configurations alone; None to read weights.

    Raises:
        ImportError: without diffusers.
        ValueError: if an adapter does not fit its base model; if there is no such folder, a part is missing or of
            another kind, parts do not fit one another, or weights are not in safetensors.
    """
    check_diffusers()
    if (base := base_of(name)) is not None:
        model = read_folder(base, dtype, random_weights)
        model.unet = merge_adapter(model.unet, name)
        model.unet.name_or_path = name  # type: ignore[assignment]
        return model
    schedule = read_schedule(name)
    try:
        parts = _stored_parts(name, dtype) if random_weights is None else _random_parts(name, dtype, random_weights)
    except Exception as error:
        _check_files(name, error)
        raise ValueError(
            f"{name!r} holds no text-to-image model in safetensors: {reason_of(error)}. Accepted: a folder with the "
            f"parts {sorted(PARTS)}; with UNet(..., random_weights=0), their configurations and the tokenizer suffice."
        ) from error
    unet, autoencoder, encoder = parts
    check_fit(name, unet.config, autoencoder.config, encoder.model.config.hidden_size)
    unet.name_or_path = name  # the base of adapters that are trained on it
    return StableDiffusionModel(unet, encoder, autoencoder, schedule)


def _stored_parts(name: str, dtype: torch.dtype) -> tuple[Any, Any, ClipEncoder]:
    """Network, autoencoder and text encoder with the weights of a folder or repository."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    options = {"torch_dtype": dtype, "use_safetensors": True}
    unet = load_whole(UNet2DConditionModel, name, subfolder="unet", **options)
    autoencoder = load_whole(AutoencoderKL, name, subfolder="vae", **options)
    encoder = load_whole(CLIPTextModel, name, subfolder="text_encoder", dtype=dtype, use_safetensors=True)
    return unet, autoencoder, ClipEncoder(encoder, CLIPTokenizer.from_pretrained(name, subfolder="tokenizer"))


def _random_parts(name: str, dtype: torch.dtype, seed: int) -> tuple[Any, Any, ClipEncoder]:
    """The same with random weights; the global random state does not change."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(name, subfolder="tokenizer")
    check_configuration(name, "text_encoder")
    text = CLIPTextConfig.from_pretrained(name, subfolder="text_encoder")
    network = UNet2DConditionModel.load_config(name, subfolder="unet")
    latents = AutoencoderKL.load_config(name, subfolder="vae")
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel.from_config(network).to(dtype)
        autoencoder = AutoencoderKL.from_config(latents).to(dtype)
        encoder = CLIPTextModel(text)
        cast_parameters(encoder, dtype)
    return unet, autoencoder, ClipEncoder(encoder, tokenizer)


def read_schedule(name: str) -> NoiseSchedule:
    """The noise schedule of the model in a folder, or on the hub; see :func:`read_folder`."""
    check_diffusers()
    from diffusers import DDIMScheduler, DiffusionPipeline

    if (base := base_of(name)) is not None:
        return read_schedule(base)
    check_index(name, _settings(name, DiffusionPipeline))
    settings = _settings(name, DDIMScheduler, subfolder="scheduler")
    try:
        return NoiseSchedule.from_config(settings)
    except ValueError as error:
        raise ValueError(f"The scheduler of {name!r} cannot be used: {error}") from error


def _settings(name: str, kind: Any, **place: str) -> dict[str, Any]:
    """The JSON of a class of diffusers in a folder or repository."""
    try:
        return dict(kind.load_config(name, **place))
    except Exception as error:
        _check_files(name, error)
        raise ValueError(
            f"{name!r} is no folder of diffusers with a model_index.json, nor such a repository on the hub: "
            f"{reason_of(error)} The configuration of a network alone says neither how texts are read nor how much "
            "noise there is."
        ) from error


def _check_files(name: str, error: Exception) -> None:
    """Raise what is not of the files: an error of the machine, or of the hub, which says what to do."""
    if not is_of_files(error):
        raise error
    if not Path(name).exists() and (refused := refusal(name, error)) is not None:
        raise ValueError(f"The model {name!r} cannot be loaded from the hub: {refused}.") from error


def check_diffusers() -> None:
    """Check that diffusers is installed.

    Raises:
        ImportError: naming the extra.
    """
    try:
        import diffusers  # noqa: F401
    except ImportError as error:
        raise ImportError("UNet needs the package diffusers: pip install 'unlearn_pl[diffusion]'.") from error


def _of_network(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the network, by its own names."""
    return {name.removeprefix("unet."): value for name, value in weights.items() if name.startswith("unet.")}


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
