"""How far a model's next states are from those of a chain."""

import torch
from torch import Tensor
from torchmetrics import Metric


class TransitionKL(Metric):
    """``sum_s P(s | x_t) log(P(s | x_t) / q(s | x_1 .. x_t))``, in nats: mean over all tokens that have a successor.

    Args:
        transitions: ``[S, S]``, row ``x``: true probability of each state after ``x``.
    """

    full_state_update = False
    transitions: Tensor
    total: Tensor
    count: Tensor

    def __init__(self, transitions: Tensor) -> None:
        super().__init__()
        self.register_buffer("transitions", transitions.double(), persistent=False)
        self.add_state("total", torch.zeros([], dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros([], dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, input_ids: Tensor, attention_mask: Tensor) -> None:
        """Take in the predictions for some sequences.

        Args:
            logits: ``[B, T, S]`` of the state after each.
            input_ids: ``[B, T]`` states.
            attention_mask: ``[B, T]`` 0 on padding.
        """
        has_successor = attention_mask[:, 1:].bool()
        truth = self.transitions[input_ids[:, :-1][has_successor]]
        log_probs = logits[:, :-1][has_successor].double().log_softmax(dim=-1)
        self.total += (torch.xlogy(truth, truth) - truth * log_probs).sum()
        self.count += has_successor.sum()

    def compute(self) -> Tensor:
        """The mean, ``[]`` fp64; NaN when there was no token."""
        return self.total / self.count
