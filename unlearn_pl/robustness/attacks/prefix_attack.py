"""Prefix attack: reveal the first tokens of the answer and score the rest."""

from collections.abc import Sequence

from unlearn_pl.data import EvaluationRow, Example
from unlearn_pl.robustness.attacks.prefixed import Prefixed
from unlearn_pl.robustness.attacks.prompt_attack import PromptAttack
from unlearn_pl.robustness.target import Subject


class PrefixAttack(PromptAttack):
    """Leakage of the rest of each answer, when its first tokens are given.

    Only the rest is scored. A model that never saw the answer also completes some of it, so compare with the retain
    model under the same attack. For MUSE's passages (``verbmem_forget``), the rest of the continuation is scored.

    Args:
        fraction: share of each answer that is given, at least one token; answers without a rest are skipped.
        tokens: number of tokens to give instead.

    Raises:
        ValueError: if ``fraction`` is not between 0 and 1, or ``tokens`` is not positive.

    References:
        Carlini et al., Extracting Training Data from Large Language Models, USENIX Security 2021, arXiv 2012.07805.
    """

    def __init__(self, fraction: float = 0.25, tokens: int | None = None) -> None:
        if not 0 < fraction < 1:
            raise ValueError(f"fraction={fraction}; accepted is a number between 0 and 1.")
        if tokens is not None and tokens < 1:
            raise ValueError(f"tokens={tokens}; accepted is a positive number, or None for the fraction.")
        self.fraction = fraction
        self.tokens = tokens

    @property
    def name(self) -> str:
        """The attack and the length of the prefix."""
        return f"PrefixAttack ({self.tokens} tokens)" if self.tokens else f"PrefixAttack ({self.fraction:.0%})"

    def rows(self, subject: Subject) -> Sequence[EvaluationRow]:
        """Each forget row with the beginning of its answer; rows without a rest are skipped.

        Raises:
            ValueError: if no answer has a rest.
        """
        encoder = subject.encoder
        examples = [
            row.examples(encoder, f"row {i} of the split {subject.forget_split!r}")[0]
            for i, row in enumerate(subject.forget)
        ]
        rows = [row for example in examples if (row := self._row(example, subject)) is not None]
        if not rows:
            longest = max(map(_length, examples))
            raise ValueError(f"{self.name} leaves no rest of any answer: the longest has {longest} tokens.")
        return rows

    def _row(self, example: Example, subject: Subject) -> Prefixed | None:
        given = self.tokens or max(1, int(self.fraction * _length(example)))
        tokens = example.input_ids[example.prompt_length + given :]
        rest = str(subject.tokenizer.decode(tokens, skip_special_tokens=True)).strip()
        return Prefixed(example, given, rest) if rest else None


def _length(example: Example) -> int:
    return len(example) - example.prompt_length
