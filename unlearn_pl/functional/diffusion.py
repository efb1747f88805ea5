"""Formulas of diffusion models: noising, the deterministic step back, and ESD's target."""

from typing import Literal

import torch
from torch import Tensor

Anchor = Literal["null", "concept"]
"""The prediction that ESD's target starts from."""


def q_sample(clean: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """``sqrt(a) x_0 + sqrt(1 - a) e``: a clean image with noise.

    Args:
        clean: ``[B, C, H, W]``, x_0.
        noise: ``[B, C, H, W]``, e.
        alpha_bar: ``[B, 1, 1, 1]`` or ``[]``, the cumulated product of ``1 - beta`` at t.

    Returns:
        ``[B, C, H, W]``, x_t.

    References:
        Ho et al., Denoising Diffusion Probabilistic Models, NeurIPS 2020, arXiv 2006.11239, equation 4.
    """
    return alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * noise


def ddim_step(
    noisy: Tensor, noise: Tensor, alpha_bar: Tensor, alpha_bar_before: Tensor, clip: float | None = None
) -> Tensor:
    """``sqrt(a') x_0 + sqrt(1 - a') e`` with ``x_0 = (x_t - sqrt(1 - a) e) / sqrt(a)``: one step back, without noise.

    Args:
        noisy: ``[B, C, H, W]``, x_t.
        noise: ``[B, C, H, W]``, e, the predicted noise.
        alpha_bar: ``[]``, a, the cumulated product at t.
        alpha_bar_before: ``[]``, a', that at the timestep to step to.
        clip: largest absolute value of x_0; None for no limit.

    Returns:
        ``[B, C, H, W]``.

    References:
        Song et al., Denoising Diffusion Implicit Models, ICLR 2021, arXiv 2010.02502, equation 12 with eta = 0.
    """
    clean = (noisy - (1 - alpha_bar).sqrt() * noise) / alpha_bar.sqrt()
    if clip is not None:
        clean = clean.clamp(-clip, clip)
    return q_sample(clean, noise, alpha_bar_before)


def esd_target(concept: Tensor, null: Tensor, eta: float = 1.0, anchor: Anchor = "null") -> Tensor:
    """``anchor - eta (e_concept - e_null)``: the frozen model's prediction, guided away from a concept.

    Args:
        concept: ``[B, C, H, W]`` prediction of the frozen model under the concept's prompt.
        null: ``[B, C, H, W]`` its prediction under the empty prompt.
        eta: strength.
        anchor: ``null`` for the paper's ``e_null``, ``concept`` for ``e_concept``, from which the authors' code of
            2025 starts; there ``eta = 2`` is what ``eta = 1`` is here.

    Returns:
        ``[B, C, H, W]``.

    References:
        Gandikota et al., Erasing Concepts from Diffusion Models, ICCV 2023, arXiv 2303.07345, section 4.
    """
    return (null if anchor == "null" else concept) - eta * (concept - null)


def denoising_error(prediction: Tensor, target: Tensor) -> Tensor:
    """``|prediction - target|^2``, mean over all pixels of ``[B, C, H, W]``; ``[]`` in fp32 or better, 0 for B = 0."""
    dtype = torch.promote_types(prediction.dtype, torch.float32)
    difference = prediction.to(dtype) - target.to(dtype)
    return difference.square().mean() if len(prediction) else difference.sum()
