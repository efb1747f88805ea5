"""Names and texts from files, as terminals, Markdown and spreadsheets may show them."""

import re

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""Control characters, among them those that terminals obey, line ends, marks of direction, and halves of characters."""
_MARKDOWN = re.compile(r"[\\`|<>\[\]]")
_FORMULA = ("=", "+", "-", "@")


def printable(text: str, keep: str = "") -> str:
    r"""``text`` with escapes such as ``\x1b`` in the place of control characters.

    Args:
        text: any text.
        keep: characters that stay, such as the line ends of a text of our own.
    """
    return _CONTROL.sub(lambda found: found[0] if found[0] in keep else _escaped(found[0]), text)


def markdown_text(text: str) -> str:
    """``text`` as one line of Markdown without links, HTML, code and columns of its own."""
    text = _MARKDOWN.sub(r"\\\g<0>", printable(text))
    # Addresses become links without any brackets.
    return text.replace("://", "\\://").replace("@", "\\@").replace("www.", "www\\.")


def markdown_code(text: str) -> str:
    """``text`` as inline code, whatever backticks it holds."""
    text = printable(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{text}{fence}" if len(fence) == 1 else f"{fence} {text} {fence}"


def markdown_block(text: str, language: str = "") -> str:
    """``text`` as a block of code that it cannot end."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    shown = printable(text, keep="\n\t")
    return f"{fence}{language}\n{shown}\n{fence}"


def spreadsheet_text(text: str) -> str:
    """``text`` as a cell that spreadsheets take for text, and not for a formula: after an apostrophe if need be."""
    text = printable(text)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def figure_text(text: str) -> str:
    """``text`` as a label of matplotlib, in which dollar signs begin formulas."""
    return printable(text).replace("$", r"\$")


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
