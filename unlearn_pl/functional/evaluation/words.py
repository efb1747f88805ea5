"""Words of a text in any script."""

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nltk.stem.porter import PorterStemmer

ASCII = re.compile("[a-z0-9]")

# Scripts that put no spaces between words, from the first to the last of their characters.
UNSPACED = re.compile(
    "["
    "\u0e00-\u0eff"  # Thai, Lao
    "\u0f00-\u0fff"  # Tibetan
    "\u1000-\u109f"  # Myanmar
    "\u1780-\u17ff"  # Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"  # Japanese
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese
    "]"
)


class ScriptTokenizer:
    """Words in any script, as ``rouge_score`` takes them.

    Args:
        stemmer: stems the words of more than three letters that are ASCII, as ``rouge_score`` does; None for no stems.
    """

    def __init__(self, stemmer: "PorterStemmer | None" = None) -> None:
        self.stemmer = stemmer

    def tokenize(self, text: str) -> list[str]:
        """The words of ``text``, after Unicode's normal form NFKC."""
        return [self._stem(word) for word in words(unicodedata.normalize("NFKC", text))]

    def _stem(self, word: str) -> str:
        if self.stemmer is None or len(word) <= 3 or not word.isascii():
            return word
        return str(self.stemmer.stem(word))


def words(text: str) -> list[str]:
    """Lower-cased runs of letters, digits and their marks; single characters in scripts without spaces.

    Args:
        text: a text in any script.
    """
    found: list[str] = []
    inside = False  # whether the next letter belongs to the last word
    for character in text.lower():
        kind = unicodedata.category(character)[0]
        if kind == "M" and found:  # accents and vowel signs follow the letter that they belong to
            found[-1] += character
        elif kind not in "LN":
            inside = False
        elif UNSPACED.match(character):
            found.append(character)
            inside = False
        elif inside:
            found[-1] += character
        else:
            found.append(character)
            inside = True
    return found


def is_lost_in_ascii(text: str) -> bool:
    """Whether a word of ``text`` has no ASCII letter or digit, so that ASCII alone would drop it."""
    return not text.isascii() and any(not ASCII.search(word) for word in words(text))
