"""Losses of views, with a check that weights of tokens are not passed over in silence."""

from collections.abc import Mapping

from torch import Tensor

from unlearn_pl.objectives import Objective
from unlearn_pl.token_weights import times_read
from unlearn_pl.types import View


def checked_loss(name: str, objective: Objective, views: Mapping[str, View]) -> Tensor:
    """The loss of ``objective`` on the views of its streams, ``[]``.

    Args:
        name: of the objective.
        objective: the objective.
        views: stream to view.

    Raises:
        ValueError: if tokens of a stream have weights, and the loss does not read them.
    """
    given = {stream: getattr(views[stream], "mask", None) for stream in objective.streams}
    masks = {stream: mask for stream, mask in given.items() if isinstance(mask, Tensor)}
    before = {stream: times_read(mask) for stream, mask in masks.items()}
    loss = objective.loss(*(views[stream] for stream in objective.streams))
    for stream, reads in before.items():
        if reads is not None and times_read(masks[stream]) == reads:
            raise ValueError(
                f"The tokens of the stream {stream!r} have weights, but objective {name!r}, "
                f"{type(objective).__name__}, takes no mean over its tokens that could be weighted. Accepted: rows "
                "without weights, or an objective with mean_over = 'tokens', whose own means are those of "
                "unlearn_pl.functional.masked_mean or use view.weights."
            )
    return loss
