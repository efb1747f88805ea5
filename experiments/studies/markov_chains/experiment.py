"""The two experiments of the study, and its sizes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Experiment:
    """What a model has seen before it unlearns, and how the paper tunes the two methods for it.

    Attributes:
        forget2_length: states in a sequence of the second forget chain; 20 in all others.
        train_chains: what the model was trained on.
        npo_beta: inverse temperature of NPO.
        simnpo_beta: inverse temperature of SimNPO.
        target: the forget chain that is hard to forget.
    """

    forget2_length: int
    train_chains: tuple[str, ...]
    npo_beta: float
    simnpo_beta: float
    target: str


EXPERIMENTS = {
    "length": Experiment(5, ("retain", "forget1", "forget2"), npo_beta=0.2, simnpo_beta=4.0, target="forget2"),
    "memorization": Experiment(20, ("retain", "forget1"), npo_beta=1.0, simnpo_beta=4.0, target="forget1"),
}
"""``length``: the second forget chain has short sequences. ``memorization``: it was never learned."""


@dataclass(frozen=True)
class Scale:
    """How much is trained and measured; the defaults are the paper's, but for the last two.

    Attributes:
        retain_sequences: of the retain chain, a fifth of them for tests.
        forget_sequences: of each forget chain, a fifth of them for tests.
        hidden_size: width of the model.
        num_layers: layers of the model.
        train_epochs: passes of training, 128 sequences a step.
        steps: optimizer steps of unlearning, 4 sequences per stream.
        test_sequences: of each chain, that are measured.
        measured: numbers of the steps of unlearning after which it is measured; the last one always is.
    """

    retain_sequences: int = 10_000
    forget_sequences: int = 5_000
    hidden_size: int = 128
    num_layers: int = 4
    train_epochs: int = 5
    steps: int = 50
    test_sequences: int = 100
    measured: tuple[int, ...] = (*range(0, 20, 2), 20, 25, 30, 40)
