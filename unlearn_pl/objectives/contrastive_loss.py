"""Agreement of the representations of two views of the same row."""

import math

from torch import Tensor

from unlearn_pl.functional.losses.contrastive import info_nce, pooled
from unlearn_pl.objectives.base import Objective
from unlearn_pl.objectives.layers import hidden_needs
from unlearn_pl.types import LanguageView, labeled_rows


class ContrastiveLoss(Objective):
    """InfoNCE on the hidden states of rows and their views: representations of different retained rows stay apart.

    A layer's states are averaged over the scored positions of a row; rows without any do not take part. A row and its
    view attract each other; the views of the other rows of the micro-batch are the negatives, so that the loss
    depends on ``micro_batch_size``, which must be at least 2.

    Args:
        layer: entry of transformers' ``hidden_states``; the last one comes after the final norm.
        temperature: of the softmax over the rows.
        stream: the rows.
        views: their views, a companion of ``stream`` with the same rows in the same order.

    Raises:
        ValueError: if ``temperature`` is not positive and finite, ``layer`` is negative, or ``views`` is no companion
            of ``stream``; in training, if a micro-batch has one row.

    References:
        Jia et al., CLAWSAT: Towards Both Robust and Accurate Code Models, SANER 2023, arXiv 2211.11709, equation 2,
        with the negatives of the batch instead of a momentum encoder's queue.
    """

    stream = ("retain", "retain.view")
    role = "retain"
    mean_over = "sequences"
    reaches_all = False
    compares_rows = True

    def __init__(
        self, layer: int = 8, temperature: float = 0.07, stream: str = "retain", views: str = "retain.view"
    ) -> None:
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature is {temperature}, but must be positive and finite.")
        if views.partition(".")[0] != stream.partition(".")[0] or views == stream:
            raise ValueError(f"views={views!r} must be a companion of stream={stream!r}, such as {stream + '.view'!r}.")
        super().__init__()
        self.stream = (stream, views)
        self.layer = layer
        self.temperature = temperature
        self.needs = hidden_needs(layer, reference=False)

    def loss(self, rows: LanguageView, views: LanguageView) -> Tensor:
        """The mean InfoNCE loss over the rows of the micro-batch, ``[]``."""
        if len(rows.index) < 2:
            raise ValueError(
                "ContrastiveLoss was given a micro-batch of one row, which has no negatives. Accepted: "
                "micro_batch_size=2 or more."
            )
        labeled = labeled_rows(rows.mask, views.mask)
        anchors, positives = (pooled(view.hidden[self.layer], view.mask)[labeled] for view in (rows, views))
        if len(anchors) < 2:  # no negatives: a loss and a gradient of zero
            return 0.0 * (rows.hidden[self.layer].sum() + views.hidden[self.layer].sum()).float()
        return info_nce(anchors, positives, self.temperature)

    def progress(self, *views: object) -> None:
        """None: only the loss says how far it is."""
        return
