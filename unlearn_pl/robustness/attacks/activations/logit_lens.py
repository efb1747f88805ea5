"""Logit lens: the answers that the states of earlier layers still hold."""

from collections.abc import Sequence
from statistics import mean

from unlearn_pl.robustness.attacks.activations.layers import chosen_layers, depth_of, exit_after
from unlearn_pl.robustness.attacks.attack import Attack, Findings
from unlearn_pl.robustness.target import FORGET, Subject

SCORE = f"{FORGET}_probability"


class LogitLens(Attack):
    """Leakage of the forget answers when the output of an earlier layer goes straight to the final norm and the head.

    Unlearning may hide an answer in the last layers alone. ``forget_probability`` is that of the layer with the largest
    mean, ``layer`` that layer, and ``forget_probability.3`` that of layer 3; the last layer is the model itself.
    ``forget_probability_any_layer`` takes the largest value of every row. More layers leak more by chance: compare with
    the retain model under the same attack.

    Args:
        layers: from 1 to the number of layers; None for all.

    Raises:
        ValueError: from ``check``, if ``layers`` is empty or the model has no such layer.

    References:
        Patil et al., Can Sensitive Information Be Deleted From LLMs? Objectives for Defending Against Extraction
        Attacks, ICLR 2024, arXiv 2309.17410 (there, the top tokens of every layer are candidates).
    """

    def __init__(self, layers: Sequence[int] | None = None) -> None:
        if layers is not None and not layers:
            raise ValueError("layers=[]; accepted is at least one layer, or None for all.")
        self.layers = None if layers is None else list(layers)

    @property
    def name(self) -> str:
        """The attack and its layers."""
        return "LogitLens" if self.layers is None else f"LogitLens ({', '.join(map(str, self.layers))})"

    def cost(self, subject: Subject) -> float:
        """See :meth:`Attack.cost`: each layer is an evaluation of the forget split without answers."""
        return (depth_of(subject) if self.layers is None else len(self.layers)) / 16

    def check(self, subject: Subject) -> None:
        """Check that the model has the layers."""
        chosen_layers(self.layers, subject)

    def run(self, subject: Subject) -> Findings:
        """Score the answers at each layer."""
        layers, module = chosen_layers(self.layers, subject), subject.pretrained(subject.build())
        model, rows = module.model, {FORGET: subject.splits[FORGET]}
        assert model is not None
        scores: dict[int, dict[str, list[float]]] = {}
        for layer in layers:
            with exit_after(model, layer):
                scores[layer] = subject.score(module, rows, answers=False).rows(FORGET)
        means = {layer: {name: mean(values) for name, values in found.items()} for layer, found in scores.items()}
        best = max(layers, key=lambda layer: means[layer][SCORE])
        by_row = zip(*(scores[layer][SCORE] for layer in layers), strict=True)
        found = {**means[best], "layer": float(best), f"{SCORE}_any_layer": mean(map(max, by_row))}
        return Findings(found | {f"{SCORE}.{layer}": means[layer][SCORE] for layer in layers}, rows=scores[best])
