"""A text-to-image model: encoder of prompts, denoising network and, for models of latents, an autoencoder."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unlearn_pl.functional.example_random import ExampleRandom


class DiffusionModel(nn.Module):
    """Predicts the noise in noisy images (or their latents) from a text.

    Args:
        unet: maps ``[B, C, H, W]``, timesteps ``[B]`` and states of prompts ``[B, T, D]`` to ``[B, C, H, W]``, or to
            an output of diffusers with ``sample``.
        text_encoder: maps B texts to ``[B, T, D]``.
        latent_shape: ``(C, H, W)`` of what is noised.
        autoencoder: an ``AutoencoderKL`` of diffusers; None for a model of pixels, which are scaled to [-1, 1].
    """

    def __init__(
        self, unet: nn.Module, text_encoder: nn.Module, latent_shape: Sequence[int], autoencoder: Any | None = None
    ) -> None:
        super().__init__()
        self.unet = unet
        self.text_encoder = text_encoder
        self.autoencoder = autoencoder
        self.latent_shape = tuple(latent_shape)

    def forward(self, noisy: Tensor, timestep: Tensor, prompts: Sequence[str]) -> Tensor:
        """The prediction ``[B, C, H, W]``.

        Args:
            noisy: ``[B, C, H, W]``.
            timestep: ``[B]`` int64.
            prompts: B texts.
        """
        states = self.text_encoder(list(prompts)).to(noisy.dtype)
        output = self.unet(noisy, timestep, states)
        return output if isinstance(output, Tensor) else output.sample

    @torch.no_grad()
    def encode(self, image: Tensor, random: ExampleRandom) -> Tensor:
        """What is noised, ``[B, C, H, W]``: pixels in [-1, 1], or a sample of the latents of the autoencoder.

        Args:
            image: ``[B, 3, H, W]`` in [0, 1].
            random: of the examples.

        Raises:
            ValueError: if the images have another size than the model's.
        """
        dtype = next(self.unet.parameters()).dtype
        pixels = (2 * image - 1).to(dtype)
        if self.autoencoder is not None:
            posterior = self.autoencoder.encode(pixels.to(self.autoencoder.dtype)).latent_dist
            noise = random.normal(posterior.mean.shape[1:], posterior.mean.dtype)
            config = self.autoencoder.config
            shift = getattr(config, "shift_factor", None) or 0.0
            pixels = ((posterior.mean + posterior.std * noise - shift) * config.scaling_factor).to(dtype)
        if pixels.shape[1:] != self.latent_shape:
            raise ValueError(
                f"The images are {list(image.shape[1:])}, which makes {list(pixels.shape[1:])}; accepted: images that "
                f"make {list(self.latent_shape)}, the size of the model. Set the data module's size."
            )
        return pixels

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Images ``[B, 3, H, W]`` in [0, 1]."""
        if self.autoencoder is not None:
            config = self.autoencoder.config
            scaled = latents / config.scaling_factor + (getattr(config, "shift_factor", None) or 0.0)
            latents = self.autoencoder.decode(scaled.to(self.autoencoder.dtype)).sample
        return ((latents.float() + 1) / 2).clamp(0, 1)
