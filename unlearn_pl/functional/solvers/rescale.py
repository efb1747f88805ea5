"""The length of a combined gradient, set independently of its direction."""

from typing import Literal

import torch
from torch import Tensor

Rescale = Literal["mean_gradient", "mean_norm"]


def rescale_weights(weights: Tensor, gramian: Tensor, live: Tensor, to: Rescale) -> Tensor:
    """``w * length / |sum_k w_k g_k|``: the same direction with the length of a plain average.

    Min-norm directions shrink to 0 where objectives cannot be reconciled, and every rule has its own scale. With a
    common length, rules differ in direction only, and one learning rate fits all.

    Args:
        weights: ``[N, K]`` of the raw gradients, per block of parameters.
        gramian: ``[N, K, K]`` of the raw gradients, per block.
        live: ``[K]`` True for the gradients that are averaged.
        to: ``mean_gradient`` for the length of the mean of the live gradients, ``mean_norm`` for the mean of their
            lengths.

    Returns:
        ``[N, K]``; unchanged if all weights or the combined gradient are 0.

    Example:
        >>> rescale_weights(torch.tensor([[0.5, 0.0]]), torch.eye(2)[None], torch.tensor([True, True]), "mean_norm")
        tensor([[1., 0.]])

    References:
        Pan et al., Federated Unlearning with Gradient Descent and Conflict Mitigation, AAAI 2025, arXiv 2412.20200:
        the authors' methods give their direction the length of an average gradient.
    """
    weights_of_live, gramian = weights[:, live], gramian[:, live][:, :, live]  # other entries may not be finite
    total = gramian.sum(dim=0)
    wanted = {
        "mean_gradient": total.mean().clamp(min=0).sqrt(),
        "mean_norm": total.diagonal().clamp(min=0).sqrt().mean(),
    }[to]
    length = torch.einsum("bi,bij,bj->", weights_of_live, gramian, weights_of_live).clamp(min=0).sqrt()
    return weights * (wanted / length) if length > 0 else weights
