"""One sign per element, drawn at random (GradDrop)."""

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import Tensor

from unlearn_pl.combiners.options import CombinerOptions
from unlearn_pl.combiners.row_combiner import RowCombiner
from unlearn_pl.combiners.step_seed import step_seed
from unlearn_pl.types import Role

CHUNK = 1 << 22
"""Elements that are merged at a time, so that temporaries stay small compared to an embedding matrix."""


class GradDrop(RowCombiner):
    """``leak sum_k g_k + (1 - leak) [sum of the positive g_k if P > U, else of the negative]``, for every element.

    ``P = (1 + sum_k g_k / sum_k |g_k|) / 2`` is the positive sign purity, ``U`` uniform in [0, 1): where all gradients
    agree, their sum is followed; where they conflict, one sign is picked with the odds of its share. The expectation
    is the plain sum.

    ``U`` depends only on ``seed``, the number of the step and that of the parameter, so that ranks with the same
    gradients stay equal. Ranks with shards draw the same numbers, each for its own shard.

    Args:
        leak: share of the plain sum that is always kept, in ``[0, 1]``; 1 is the plain sum.
        seed: random seed of the draws.
        options: see :class:`CombinerOptions`; ``normalization`` is ``none`` by default, as in the paper.

    Raises:
        ValueError: if ``leak`` is outside ``[0, 1]``.

    References:
        Chen et al., Just Pick a Sign: Optimizing Deep Multitask Models with Gradient Sign Dropout, NeurIPS 2020,
        arXiv 2010.06808, Algorithm 1, with the identity as f. The paper masks the gradients at a layer of activations;
        this masks those of the weights.
    """

    def __init__(self, leak: float = 0.0, seed: int = 0, **options: Unpack[CombinerOptions]) -> None:
        options.setdefault("normalization", "none")
        super().__init__(**options)
        if not 0 <= leak <= 1:
            raise ValueError(f"leak is {leak}, but must be in [0, 1].")
        self.leak = leak
        self.seed = seed
        self._step = self._parameter = 0

    def setup(self, names: Sequence[str], roles: Sequence[Role], zero_at_start: Sequence[bool] = ()) -> None:
        """See :meth:`Combiner.setup`; also resets the number of the step."""
        super().setup(names, roles, zero_at_start)
        self._step = self._parameter = 0

    def __call__(self, gramian: Tensor | None, losses: Tensor) -> Tensor:
        """Weights ``[..., K]``, see :class:`Combiner`; a call begins a new step."""
        self._step, self._parameter = self._step + 1, 0
        return super().__call__(gramian, losses)

    def merge(self, gradients: Sequence[Tensor | None]) -> Tensor | None:
        """The sum ``[...]`` of the gradients of one sign per element; written in place."""
        self._parameter += 1
        given = [g for g in gradients if g is not None]
        if len(given) < 2:
            return given[0] if given else None
        generator = torch.Generator(given[0].device).manual_seed(step_seed(self.seed, self._step, self._parameter))
        views = [torch.atleast_1d(g) for g in given]
        rows = max(1, CHUNK // max(1, views[0][:1].numel()))
        for chunks in zip(*(view.split(rows) for view in views), strict=True):
            chunks[0].copy_(self._pick(chunks, generator))
        return given[0]

    def _pick(self, chunks: Sequence[Tensor], generator: torch.Generator) -> Tensor:
        # In 16 bits, U would have a few hundred values.
        dtype = torch.promote_types(chunks[0].dtype, torch.float32)
        positive, negative = torch.zeros_like(chunks[0], dtype=dtype), torch.zeros_like(chunks[0], dtype=dtype)
        for chunk in chunks:
            positive += chunk.clamp(min=0)
            negative += chunk.clamp(max=0)
        draws = torch.rand(positive.shape, generator=generator, dtype=dtype, device=positive.device)
        # P > U without a division: P = positive / (positive + |negative|).
        picked = torch.where(draws * (positive - negative) < positive, positive, negative)
        return torch.lerp(picked, positive + negative, self.leak) if self.leak else picked

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`Combiner.state_dict`; includes the number of the step."""
        return super().state_dict() | {"step": self._step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from ``state``, after :meth:`setup`."""
        super().load_state_dict(state)
        self._step = state["step"]
