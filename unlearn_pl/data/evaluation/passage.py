"""Plain-text evaluation rows, scored without a template."""

from dataclasses import dataclass, replace

from unlearn_pl.data.evaluation.evaluation_row import EvaluationRow
from unlearn_pl.data.text.encoder import Encoder
from unlearn_pl.data.text.plain import encode_text
from unlearn_pl.data.text.template import Example


@dataclass(frozen=True)
class Passage(EvaluationRow):
    """A text whose tokens are scored, except for the first; no end-of-sequence token is added.

    A text of more than ``window`` tokens is cut into windows, which are its candidates 0, 1, ...: each begins with the
    last token of the previous one, so that every token is scored once.

    Args:
        text: the text.
        window: most tokens of a window.
        whole: whether to score all windows, or the first one only.

    Raises:
        ValueError: if the text is empty, or ``window`` is below 2.
    """

    text: str
    window: int = 2048
    whole: bool = True

    def __post_init__(self) -> None:
        if self.window < 2:
            raise ValueError(f"window={self.window} must be at least 2: the first token of a window is not scored.")
        if not self.text.strip():
            raise ValueError("A text is empty: it has no token to score.")

    def examples(self, encoder: Encoder, where: str) -> list[Example]:
        """The windows.

        Raises:
            ValueError: if the text has a single token, so that none is scored.
        """
        windows = encode_text(encoder.tokenizer, self.text, self.window)
        if not windows:
            raise ValueError(f"The text in {where} has no token to score: {self.text[:60]!r}.")
        kept = windows if self.whole else windows[:1]
        return [replace(example, choice=number) for number, example in enumerate(kept)]

    def content(self) -> str:
        """The text."""
        return self.text
