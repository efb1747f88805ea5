"""A Markov chain that stays in a few of ten states most of the time."""

from dataclasses import dataclass

import torch
from torch import Tensor

STATES = 10


@dataclass(frozen=True)
class Chain:
    """Starts and stays in ``subset``, but for a leak; outside of it, every state is followed by any other alike.

    With the subset's ``m`` of ten states, the first state and the one after a state of the subset are in the subset
    with ``(1 - leakage) / m`` each, and elsewhere with ``leakage / (10 - m)`` each. After all others, each has 1/10.

    Args:
        subset: states, numbers below ten.
        leakage: probability to leave the subset.

    Raises:
        ValueError: if the subset is empty, is all states, repeats one or has an unknown one, or ``leakage`` is not a
            probability.

    References:
        Fan et al., Simplicity prevails: rethinking negative preference optimization for LLM unlearning,
        arXiv 2410.07163, appendix H.
    """

    subset: tuple[int, ...]
    leakage: float = 0.2

    def __post_init__(self) -> None:
        inside = set(self.subset)
        if not inside < set(range(STATES)) or not inside or len(inside) < len(self.subset):
            raise ValueError(
                f"subset={self.subset}; accepted: some, not all, of the states 0 to {STATES - 1}, once each."
            )
        if not 0 <= self.leakage <= 1:
            raise ValueError(f"leakage={self.leakage} must be between 0 and 1.")

    def initial(self) -> Tensor:
        """Probability of each first state, ``[10]`` fp64."""
        distribution = torch.full([STATES], self.leakage / (STATES - len(self.subset)), dtype=torch.float64)
        distribution[list(self.subset)] = (1 - self.leakage) / len(self.subset)
        return distribution

    def transitions(self) -> Tensor:
        """Row ``s``: probability of each state after ``s``, ``[10, 10]`` fp64."""
        matrix = torch.full([STATES, STATES], 1 / STATES, dtype=torch.float64)
        matrix[list(self.subset)] = self.initial()
        return matrix

    def sample(self, count: int, length: int, generator: torch.Generator) -> Tensor:
        """Independent sequences of states, ``[count, length]``.

        Args:
            count: number of sequences.
            length: of each sequence.
            generator: source of the randomness.
        """
        transitions = self.transitions()
        states = [self.initial().multinomial(count, replacement=True, generator=generator)]
        for _ in range(length - 1):
            states.append(transitions[states[-1]].multinomial(1, generator=generator).squeeze(1))
        return torch.stack(states, dim=1)


RETAIN, FORGET1, FORGET2 = Chain((0, 1, 2)), Chain((3, 4, 5)), Chain((6, 7, 8))
"""The three chains of the study; no chain prefers state 9."""
