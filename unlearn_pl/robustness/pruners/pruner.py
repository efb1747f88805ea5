"""Base class of pruners."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from unlearn_pl.functional.ranking import mark_rows
from unlearn_pl.models.weight_layout import check_share, head_parameters, weight_matrices
from unlearn_pl.recording import Recorded
from unlearn_pl.robustness.target import Subject


class Pruner(Recorded, ABC):
    """Builds a model in which a share of the weights is 0: exactly ``round(ratio n)`` of every ``n`` ranked together.

    The matrices of all layers are pruned: linear layers, GPT-2's, and those of experts, one by one; neither embeddings
    nor the output head. The share of the layers' weights that can be pruned is logged where it is not all of them.

    Args:
        ratio: share of the weights that become 0, above 0 and below 1.

    Raises:
        ValueError: if ``ratio`` is out of range; from ``build``, if less than three quarters of the weights in the
            model's layers can be pruned.
    """

    by_output: bool = False
    """Whether the weights of each output are ranked by themselves, or those of each matrix together."""

    def __init__(self, ratio: float = 0.5) -> None:
        if not 0 < ratio < 1:
            raise ValueError(f"ratio={ratio}; accepted: a share of the weights above 0 and below 1.")
        self.ratio = ratio

    @property
    @abstractmethod
    def name(self) -> str:
        """Name in tables, without the ratio."""

    def check(self, subject: Subject) -> None:
        """Check that there are the data that are needed, before any model is loaded.

        Args:
            subject: the model's folder and its data.

        Raises:
            ValueError: if there are none.
        """

    def input_norms(self, model: nn.Module, subject: Subject) -> Mapping[str, Tensor]:
        """Name of a matrix to the sizes of its inputs, which multiply its weights; by default none.

        Args:
            model: before pruning.
            subject: the model's folder and its data.

        Returns:
            Tensors that can be multiplied with the parameters.
        """
        return {}

    @torch.no_grad()
    def build(self, subject: Subject) -> nn.Module:
        """The pruned model, built from the folder of ``subject``."""
        model = subject.build()
        head = {id(parameter) for parameter in head_parameters(model)}
        pruned = {name: m for name, m in weight_matrices(model).items() if id(m.parameter) not in head}
        norms = self.input_norms(model, subject)
        check_share(f"{type(self).__name__} prunes", model, list(pruned))
        for name, stack in pruned.items():
            scores = stack.parameter.abs().float()
            scores = scores * norms[name] if name in norms else scores
            for matrix, score in zip(stack.matrices(stack.parameter), stack.matrices(scores), strict=True):
                matrix.mul_(self._kept(score))
        return model

    def _kept(self, scores: Tensor) -> Tensor:
        """Which weights of a matrix ``[out, in]`` stay, bool ``[out, in]``."""
        rows = scores if self.by_output else scores.reshape(1, -1)
        return mark_rows(rows, 1 - self.ratio).view(scores.shape)
