"""Sampling of images from a diffusion model."""

from collections.abc import Sequence

import torch
from torch import Tensor

from unlearn_pl.functional.example_random import ExampleRandom
from unlearn_pl.models.diffusion.model import DiffusionModel
from unlearn_pl.models.diffusion.noise_schedule import NoiseSchedule
from unlearn_pl.recording import Recorded


class DDIM(Recorded):
    """Deterministic sampling with classifier-free guidance: ``e_null + guidance (e_prompt - e_null)``.

    Args:
        steps: number of steps.
        guidance: scale of the guidance; 1 for none, at half the cost.

    Raises:
        ValueError: if there is no step, or the scale is negative.

    References:
        Song et al., Denoising Diffusion Implicit Models, ICLR 2021, arXiv 2010.02502;
        Ho and Salimans, Classifier-Free Diffusion Guidance, arXiv 2207.12598.
    """

    def __init__(self, steps: int = 50, guidance: float = 7.5) -> None:
        if steps < 1 or guidance < 0:
            raise ValueError(f"steps={steps} and guidance={guidance}; accepted: at least 1 step, 0 or more.")
        self.steps = steps
        self.guidance = guidance

    @torch.no_grad()
    def sample(self, model: DiffusionModel, schedule: NoiseSchedule, prompts: Sequence[str], seeds: Tensor) -> Tensor:
        """Images ``[B, C, H, W]`` in [0, 1].

        Args:
            model: in evaluation mode.
            schedule: that it was trained with.
            prompts: B texts.
            seeds: ``[B]`` int64, seeds of the noise that sampling starts from.
        """
        dtype = next(model.parameters()).dtype
        noisy = ExampleRandom(seeds).normal(model.latent_shape, dtype)
        for t in schedule.timesteps(self.steps):
            noisy = schedule.step(noisy, self._guided(model, noisy, t, prompts), t, self.steps)
        return model.decode(noisy)

    def _guided(self, model: DiffusionModel, noisy: Tensor, t: int, prompts: Sequence[str]) -> Tensor:
        timestep = torch.full((len(noisy),), t, device=noisy.device)
        if self.guidance == 1:
            return model(noisy, timestep, prompts)
        both = model(noisy.repeat(2, 1, 1, 1), timestep.repeat(2), [*[""] * len(noisy), *prompts])
        null, own = both.chunk(2)
        return null + self.guidance * (own - null)
