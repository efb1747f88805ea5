"""Sampling attack: best of n sampled answers."""

from statistics import mean, pstdev

from unlearn_pl.models import CausalLM, Sampling
from unlearn_pl.robustness.attacks.attack import Attack, Findings
from unlearn_pl.robustness.attacks.sampling_module import SamplingModule
from unlearn_pl.robustness.target import FORGET, Subject


class SampledAnswers(Attack):
    """Leakage of answers that are sampled from the model: greedy answers may hide what it still knows.

    ``forget_rouge`` is the expected ROUGE-L recall of one answer, ``forget_rouge_best`` the expected largest one of
    ``samples`` answers (mean over questions), and ``forget_rouge_std`` the standard deviation (mean over questions).

    Args:
        samples: answers per question.
        temperature: divides the logits.
        top_p: sample from the most likely tokens with this total probability.

    Raises:
        ValueError: if a number is out of range; from ``check``, if the forget split needs no generated answers.

    References:
        Scholten et al., A Probabilistic Perspective on Unlearning and Alignment for Large Language Models, ICLR 2025,
        arXiv 2410.03523.
    """

    def __init__(self, samples: int = 8, temperature: float = 1.0, top_p: float = 1.0) -> None:
        if samples < 1:
            raise ValueError(f"samples={samples}; accepted is a positive number.")
        self.samples = samples
        self.sampling = Sampling(temperature, top_p)

    @property
    def name(self) -> str:
        """The attack, the number of answers and the temperature."""
        return f"SampledAnswers ({self.samples} at {self.sampling.temperature:g})"

    def cost(self, subject: Subject) -> float:
        """See :meth:`Attack.cost`: one evaluation per sample, of the forget split alone."""
        return self.samples / 2

    def check(self, subject: Subject) -> None:
        """Check that the forget split has rows with generated answers."""
        if all(row.prompt(subject.encoder) is None for row in subject.splits[FORGET]):
            kinds = sorted({type(row).__name__ for row in subject.forget})
            raise ValueError(
                f"{self.name} needs rows with answers to generate; the split {subject.forget_split!r} has rows of kind "
                f"{kinds}."
            )

    def run(self, subject: Subject) -> Findings:
        """Sample the answers and score them."""
        asked = subject.splits[FORGET]
        module = SamplingModule(CausalLM(subject.model), self.sampling, subject.max_new_tokens)
        repeated = {FORGET: [row for row in asked for _ in range(self.samples)]}
        scores = subject.score(module, repeated).rows(FORGET)["forget_rouge"]
        groups = [scores[i : i + self.samples] for i in range(0, len(scores), self.samples)]
        rows = {"forget_rouge": list(map(mean, groups)), "forget_rouge_best": list(map(max, groups))}
        return Findings(sample_statistics(scores, self.samples), rows=rows)


def sample_statistics(scores: list[float], samples: int) -> dict[str, float]:
    """Mean, best and standard deviation of the scores of several answers per question.

    Args:
        scores: all scores of the first question, then those of the second, and so on.
        samples: answers per question.

    Example:
        >>> sample_statistics([0.0, 1.0, 0.5, 0.5], samples=2)
        {'forget_rouge': 0.5, 'forget_rouge_best': 0.75, 'forget_rouge_std': 0.25}
    """
    groups = [scores[i : i + samples] for i in range(0, len(scores), samples)]
    return {
        "forget_rouge": mean(scores),
        "forget_rouge_best": mean(map(max, groups)),
        "forget_rouge_std": mean(map(pstdev, groups)),
    }
