"""Weights of scored tokens, which go with the mask of these tokens to wherever a mean over them is taken.

Losses get a view and hand its mask to functions that average. Weights that hang on the mask therefore enter every
loss in one place, and none of them has to know that there are any.
"""

from dataclasses import dataclass
from types import NoneType

from torch import Tensor

_NAME = "_token_weights"


@dataclass
class _Kept:
    """Weights of a mask, and how often they were read.

    Attributes:
        weights: as the mask, 0 where it is False.
        version: counts the changes in place of the mask.
        reads: number of times that a mean has asked for them.
    """

    weights: Tensor
    version: int
    reads: int = 0

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return NoneType, ()  # copies of a mask have no weights


def weigh(mask: Tensor, weights: Tensor) -> Tensor:
    """Let ``weights`` go with ``mask``, until that is changed in place.

    Args:
        mask: ``[...]`` True where a token is scored.
        weights: ``[...]`` of the same shape, not negative; only those of scored tokens are read.

    Returns:
        ``mask`` itself.

    Raises:
        ValueError: if the shapes differ.
    """
    if weights.shape != mask.shape:
        raise ValueError(
            f"weight has shape {list(weights.shape)} for a mask of shape {list(mask.shape)}; accepted: one weight per "
            "token."
        )
    setattr(mask, _NAME, _Kept(weights.detach().masked_fill(~mask, 0.0), _version(mask)))
    return mask


def weights_of(mask: Tensor) -> Tensor | None:
    """The weights that go with ``mask``, ``[...]``, 0 where it is False; None without any."""
    kept = _kept(mask)
    if kept is None:
        return None
    kept.reads += 1
    return kept.weights


def times_read(mask: Tensor) -> int | None:
    """How often the weights of ``mask`` were asked for; None without any."""
    kept = _kept(mask)
    return None if kept is None else kept.reads


def nonzero_or_one(total: Tensor) -> Tensor:
    """``total [...]`` as a divisor: 1 where nothing is weighed."""
    return total.masked_fill(total == 0, 1.0)


def _kept(mask: Tensor) -> _Kept | None:
    kept: _Kept | None = getattr(mask, _NAME, None)
    return kept if kept is not None and kept.version == _version(mask) else None


def _version(mask: Tensor) -> int:
    return 0 if mask.is_inference() else mask._version  # PyTorch does not count the changes of these
