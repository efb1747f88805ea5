"""Random labels on the forget examples."""

import torch
from torch import Tensor

from unlearn_pl.functional import label_log_probs
from unlearn_pl.functional.logprobs import mean_of_scored
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import LanguageView

_MULTIPLIERS = (-7046029254386353131, -4658895280553007687, -7723592293110705685)
"""Odd numbers of splitmix64, as signed 64-bit integers."""


class RandomLabelLoss(Objective):
    """``-log p(y')`` of a random wrong label ``y'``, mean over the scored tokens (the images of a classifier).

    ``y'`` is one of the other classes, all equally likely. It is fixed for an example throughout training, as a
    function of the seed, the position of the example in its stream and, in texts, the position of the token; neither
    devices, micro-batches nor interruptions change it.

    Args:
        stream: overrides ``forget``.
        seed: of the labels.

    References:
        Fan et al., SalUn: Empowering Machine Unlearning via Gradient-based Weight Saliency, ICLR 2024,
        arXiv 2310.12508, equation 5, where ``y'`` differs from the label. The authors' code also draws a label for
        every example once, but among all classes, so that one in C keeps its own.
    """

    stream = "forget"
    role = "forget"
    needs = frozenset({"logits"})

    def __init__(self, stream: str | None = None, seed: int = 0) -> None:
        super().__init__(stream)
        self.seed = seed

    def loss(self, view: LanguageView) -> Tensor:
        """The mean NLL of the random labels in nats, ``[]``."""
        assert view.logits is not None
        labels = random_labels(view.labels, view.index, view.logits.shape[-1], self.seed)
        return -mean_of_scored(label_log_probs(view.logits, labels, view.mask), view.mask)


def random_labels(labels: Tensor, index: Tensor, num_classes: int, seed: int = 0) -> Tensor:
    """Another label for every label, all others equally likely.

    Args:
        labels: ``[B, T]`` int64; those that are no class (positions that are not scored) give any class.
        index: ``[B]`` int64, positions of the examples in their dataset.
        num_classes: number of classes.
        seed: of the choice.

    Returns:
        ``[B, T]`` int64.

    Raises:
        ValueError: if there is only one class.

    Example:
        >>> import torch
        >>> random_labels(torch.tensor([[0], [1]]), torch.tensor([0, 1]), 2).tolist()
        [[1], [0]]
    """
    if num_classes < 2:
        raise ValueError(f"There is {num_classes} class, so that no label is wrong; accepted: 2 or more.")
    positions = torch.arange(labels.shape[1], device=labels.device)
    shift = _hashed(_hashed(_hashed(index.new_tensor(seed)) + index).unsqueeze(1) + positions) % (num_classes - 1)
    return (labels.clamp(0, num_classes - 1) + 1 + shift) % num_classes


def _hashed(numbers: Tensor) -> Tensor:
    """int64 numbers mixed as in splitmix64; products wrap around."""
    step, first, second = _MULTIPLIERS
    mixed = numbers * step + step
    mixed = (mixed ^ (mixed >> 30)) * first
    mixed = (mixed ^ (mixed >> 27)) * second
    return mixed ^ (mixed >> 31)
