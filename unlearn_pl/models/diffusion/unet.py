"""Specification of a text-to-image model of diffusers."""

from collections.abc import Sequence
from functools import cached_property
from typing import Self

import torch

from unlearn_pl.models.diffusion.diffusers_folder import StableDiffusionModel, read_folder, read_schedule
from unlearn_pl.models.diffusion.noise_schedule import NoiseSchedule
from unlearn_pl.models.diffusion.sampling import DDIM
from unlearn_pl.models.diffusion.spec import DiffusionSpec, check_share
from unlearn_pl.models.language.lora import LoRA
from unlearn_pl.models.language.qlora import QLoRA
from unlearn_pl.recording import arguments_of


class UNet(DiffusionSpec):
    """A model in the layout of Stable Diffusion 1 and 2, read with diffusers (the extra ``diffusion``).

    The network is trained; text encoder and autoencoder are frozen, and no part of checkpoints. Only safetensors are
    read. Noise follows the folder's scheduler; samples are made with :class:`~unlearn_pl.models.DDIM`, whatever sampler
    the folder names. An adapter alone, as ``save_pretrained(merge_lora=False)`` writes it, is merged into its base
    model.

    Args:
        name: the folder, or the name of a repository on the hub.
        sampler: of evaluations; by default that of UnlearnCanvas, 100 steps with guidance 9.
        prompt_dropout: share of the prompts that are empty in training.
        lora: trains adapters of the network instead of all of its weights (the extra ``lora``).
        random_weights: seed of random weights, for a folder that holds the configurations of the parts and the
            tokenizer alone; None to read the weights.

    Raises:
        ValueError: if the share is out of range, or for QLoRA; from ``build``, if the folder holds no such model.
        ImportError: from ``build``, without diffusers.
    """

    name: str
    saved_parts: Sequence[str] = ("model.unet.",)

    def __init__(
        self,
        name: str,
        sampler: DDIM | None = None,
        prompt_dropout: float = 0.0,
        lora: LoRA | None = None,
        random_weights: int | None = None,
    ) -> None:
        check_share(prompt_dropout)
        if isinstance(lora, QLoRA):
            raise ValueError("QLoRA quantizes language models; accepted for UNet: LoRA, or None.")
        self.name = name
        self.sampler = sampler or DDIM(steps=100, guidance=9.0)
        self.prompt_dropout = prompt_dropout
        self.lora = lora
        self.random_weights = random_weights
        if lora is not None:
            self.saved_parts = ("lora_",)

    @cached_property
    def schedule(self) -> NoiseSchedule:  # type: ignore[override]
        """Amounts of noise, as the folder's scheduler has them."""
        return read_schedule(self.name)

    def build(self, precision_dtype: torch.dtype | None = None) -> StableDiffusionModel:
        """A new model, in training mode."""
        model = read_folder(self.name, precision_dtype or torch.float32, self.random_weights)
        if self.lora is not None:
            model.unet = self.lora.apply(model.unet)
        model.train()
        return model

    def exported(self, folder: str) -> Self:
        """See :meth:`ModelSpec.exported`; the folder holds the whole model, or adapters that are merged."""
        return type(self)(**(arguments_of(self) | {"name": folder, "lora": None, "random_weights": None}))
