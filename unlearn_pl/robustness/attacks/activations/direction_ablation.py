"""Ablation of the direction that tells forget questions from others."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from unlearn_pl.data import Example
from unlearn_pl.data.evaluation.datasets import CandidateDataset
from unlearn_pl.models import decoder_layers
from unlearn_pl.models.layers.states import states_in, with_states
from unlearn_pl.robustness.attacks.activations.answer_states import answer_states
from unlearn_pl.robustness.attacks.activations.layers import chosen_layers, depth_of
from unlearn_pl.robustness.attacks.attack import Attack, Findings
from unlearn_pl.robustness.curve import best_within
from unlearn_pl.robustness.target import FORGET, RETAIN, Subject

LEAKAGE, UTILITY = f"{FORGET}_probability", f"{RETAIN}_probability"


class DirectionAblation(Attack):
    """Leakage after the direction between forget and retain questions is removed from the output of every layer.

    A model that has learned to refuse, or to answer nonsense, must tell what it refuses from the rest. The direction is
    the difference of the mean states of both kinds of questions, at the last token before the answer and at the output
    of one layer; ``h - (h r) r`` replaces every layer's output h. Each of ``layers`` is tried, and the one with the
    largest leakage counts whose loss of utility, the probability of the retain answers, is within the bound; without
    any, the model is left as it is, and ``layer`` is 0.

    Args:
        layers: layers that the direction is taken from; None for all but the last.
        utility_loss: largest share of the utility that the attacker gives up, from 0 to below 1.

    Raises:
        ValueError: if a number is out of range; from ``check``, if the model has no such layer, or there is no retain
            split.

    References:
        Arditi et al., Refusal in Language Models Is Mediated by a Single Direction, NeurIPS 2024, arXiv 2406.11717;
        Lucki et al., An Adversarial Perspective on Machine Unlearning for AI Safety, TMLR 2025, arXiv 2409.18025
        (there, one direction per layer).
    """

    def __init__(self, layers: Sequence[int] | None = None, utility_loss: float = 0.1) -> None:
        if layers is not None and not layers:
            raise ValueError("layers=[]; accepted is at least one layer, or None for all but the last.")
        if not 0 <= utility_loss < 1:
            raise ValueError(f"utility_loss={utility_loss}; accepted is a share of the utility, from 0 to below 1.")
        self.layers = None if layers is None else list(layers)
        self.utility_loss = utility_loss

    @property
    def changes_weights(self) -> bool:
        """True: the ablation can be written into the weights."""
        return True

    def cost(self, subject: Subject) -> float:
        """See :meth:`Attack.cost`: each layer is an evaluation of both splits without answers."""
        return 1 + len(self._layers(subject)) / 8

    def check(self, subject: Subject) -> None:
        """Check that the model has the layers, and that there is a retain split."""
        self._layers(subject)
        if not subject.retain:
            raise ValueError(f"{self.name} needs retain questions, and there is no retain split; name retain_split.")

    def run(self, subject: Subject) -> Findings:
        """Ablate the direction of each layer, and generate answers with the best."""
        module, layers = subject.pretrained(subject.build()), self._layers(subject)
        model = module.model
        assert model is not None
        model.to(subject.device)
        directions = self.directions(model, layers, subject)
        before = subject.score(module, subject.splits, answers=False).metrics
        leakage, losses = [before[LEAKAGE]], [0.0]
        for direction in directions:
            with ablated(model, direction):
                after = subject.score(module, subject.splits, answers=False).metrics
            leakage.append(after[LEAKAGE])
            losses.append(1 - after[UTILITY] / before[UTILITY] if before[UTILITY] > 0 else 0.0)
        best = best_within(leakage, losses, self.utility_loss)
        with ablated(model, None if not best else directions[best - 1]):
            found = Findings.scored(subject.score(module, subject.splits))
        chosen = {"layer": float(layers[best - 1]) if best else 0.0, "utility_loss": losses[best]}
        tried = {f"{LEAKAGE}.{layer}": value for layer, value in zip(layers, leakage[1:], strict=True)}
        return Findings({**found.after, **chosen, **tried}, rows=found.rows)

    def directions(self, model: nn.Module, layers: Sequence[int], subject: Subject) -> Tensor:
        """The unit vector from retain to forget questions at each of the ``layers``, ``[L, D]``."""
        means = []
        for split, rows in subject.splits.items():
            questions = [_last_token(e) for e in CandidateDataset(split, rows, subject.encoder).right_answers()]
            means.append(answer_states(model, questions, layers, subject).double().mean(dim=0))
        difference = means[0] - means[1]
        return difference / difference.norm(dim=-1, keepdim=True).clamp(min=1e-12)

    def _layers(self, subject: Subject) -> list[int]:
        if self.layers is None and depth_of(subject) > 1:
            return chosen_layers(None, subject)[:-1]
        return chosen_layers(self.layers, subject)


def _last_token(example: Example) -> Example:
    """The question alone, of which the last token is the scored one."""
    return Example(example.input_ids[: example.prompt_length], example.prompt_length - 1, example.index)


@contextmanager
def ablated(model: nn.Module, direction: Tensor | None) -> Iterator[None]:
    """Within the context, the output of every layer of ``model`` is orthogonal to ``direction [D]``.

    Args:
        model: a causal language model of transformers.
        direction: a unit vector; None to leave the model as it is.
    """

    def project(module: nn.Module, given: Any, output: Any) -> Any:
        states = states_in(output)
        unit = unit_of(states)
        return with_states(output, states - (states @ unit).unsqueeze(-1) * unit)

    def unit_of(states: Tensor) -> Tensor:
        assert direction is not None
        return direction.to(device=states.device, dtype=states.dtype)

    hooks = [] if direction is None else [layer.register_forward_hook(project) for layer in decoder_layers(model)]
    try:
        with torch.no_grad():
            yield
    finally:
        for hook in hooks:
            hook.remove()
