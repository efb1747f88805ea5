"""Specification of a text-to-image model of diffusers."""

from collections.abc import Sequence
from functools import cached_property
from typing import Self

import torch

from unlearn_pl.models.diffusion.diffusers_folder import StableDiffusionModel, read_folder, read_schedule
from unlearn_pl.models.diffusion.noise_schedule import NoiseSchedule
from unlearn_pl.models.diffusion.sampling import DDIM
from unlearn_pl.models.diffusion.spec import DiffusionSpec, check_share
from unlearn_pl.recording import arguments_of


class UNet(DiffusionSpec):
    """A model in the layout of Stable Diffusion 1 and 2, read with diffusers (the extra ``diffusion``).

    The network is trained; text encoder and autoencoder are frozen, and no part of checkpoints. Only safetensors are
    read. Noise follows the folder's scheduler; samples are made with :class:`~unlearn_pl.models.DDIM`, whatever sampler
    the folder names.

    Args:
        name: the folder, or the name of a repository on the hub.
        sampler: of evaluations; by default that of UnlearnCanvas, 100 steps with guidance 9.
        prompt_dropout: share of the prompts that are empty in training.

    Raises:
        ValueError: if the share is out of range; from ``build``, if the folder holds no such model.
        ImportError: from ``build``, without diffusers.
    """

    name: str
    saved_parts: Sequence[str] = ("model.unet.",)

    def __init__(self, name: str, sampler: DDIM | None = None, prompt_dropout: float = 0.0) -> None:
        check_share(prompt_dropout)
        self.name = name
        self.sampler = sampler or DDIM(steps=100, guidance=9.0)
        self.prompt_dropout = prompt_dropout

    @cached_property
    def schedule(self) -> NoiseSchedule:  # type: ignore[override]
        """Amounts of noise, as the folder's scheduler has them."""
        return read_schedule(self.name)

    def build(self, precision_dtype: torch.dtype | None = None) -> StableDiffusionModel:
        """A new model, in training mode."""
        model = read_folder(self.name, precision_dtype or torch.float32)
        model.train()
        return model

    def exported(self, folder: str) -> Self:
        """See :meth:`ModelSpec.exported`; the folder holds the whole model."""
        return type(self)(**(arguments_of(self) | {"name": folder}))
