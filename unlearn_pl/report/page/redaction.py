"""Pages that do not show what was forgotten."""

from collections.abc import Mapping, Sequence

HIDDEN = "[redacted]"
SHORTEST = 4
"""Texts of fewer characters are not looked for elsewhere: they would hide parts of other words."""


def redacted(data: Mapping[str, object]) -> dict[str, object]:
    """``data`` of a page without the texts of the forget set.

    Questions and answers of every split that may hold the forget set are replaced, and wherever else in the data they
    occur as a whole; so are all generated answers, in which a model may tell anything. Settings keep no text of several
    words and none that the forget set holds; settings of attacks and pictures are dropped: all may name what was
    forgotten.

    Args:
        data: of :func:`~unlearn_pl.report.page.data.page_data`.
    """
    questions = data["questions"]
    assert isinstance(questions, list)
    secret = sorted({text for row in questions if row["forget"] for text in _texts(row)}, key=len, reverse=True)
    runs, notes = data["runs"], data["notes"]
    assert isinstance(runs, list)
    found = _Secrets(secret)
    return {
        **data,
        "redacted": True,
        "notes": found.replaced(notes),
        "questions": [_row(row) if row["forget"] else {**row, **found.row(row)} for row in questions],
        "runs": [
            {
                **run,
                **{part: found.replaced(run[part]) for part in ("verdict", "missing")},
                "pictures": [],
                "config": found.settings(run["config"]),
                "attacks": [{**attack, "settings": ""} for attack in run["attacks"]],
            }
            for run in runs
        ],
    }


class _Secrets:
    """Texts that must not be shown, the longest first."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = [text for text in texts if len(text) >= SHORTEST]
        self._all = "\n".join(texts).casefold()

    def replaced(self, value: object) -> object:
        """``value`` with a mark in the place of every secret text, apart from the keys of mappings."""
        if isinstance(value, str):
            for text in self._texts:
                value = value.replace(text, HIDDEN)
            return value
        if isinstance(value, Mapping):
            return {key: self.replaced(item) for key, item in value.items()}
        return [self.replaced(item) for item in value] if isinstance(value, list) else value

    def row(self, row: Mapping[str, object]) -> dict[str, object]:
        """The texts of a question that is not of the forget set."""
        given = row["given"]
        assert isinstance(given, Mapping)
        texts = {key: self.replaced(row[key]) for key in ("question", "answer")}
        return {**texts, "given": dict.fromkeys(given, HIDDEN)}

    def settings(self, value: object) -> object:
        """``value`` without texts of several words, and without those that stand in a secret text."""
        if isinstance(value, str):
            told = len(value) >= SHORTEST and value.casefold() in self._all
            return HIDDEN if told or any(character.isspace() for character in value) else value
        if isinstance(value, Mapping):
            return {key: self.settings(item) for key, item in value.items()}
        return [self.settings(item) for item in value] if isinstance(value, list) else value


def _texts(row: Mapping[str, object]) -> list[str]:
    given = row["given"]
    answers = list(given.values()) if isinstance(given, Mapping) else []
    texts = [str(text).strip() for text in (row["question"], row["answer"], *answers)]
    return [text for text in texts if text]


def _row(row: Mapping[str, object]) -> dict[str, object]:
    given = row["given"]
    assert isinstance(given, Mapping)
    texts = {key: HIDDEN if row[key] else "" for key in ("question", "answer")}
    return {**row, **texts, "given": dict.fromkeys(given, HIDDEN)}
