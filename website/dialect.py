"""Pages are written for the forge's Markdown; what Python-Markdown reads in another way is rewritten here."""

import re
from collections.abc import Mapping

FENCE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`[^`\n]+`")


def slug(heading: str, separator: str = "-") -> str:
    """The anchor that the forge gives a heading, so that links work in both places.

    Example:
        >>> slug("Memory, and `beside` TRL: 1-2")
        'memory-and-beside-trl-1-2'
    """
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", separator)


def prose(markdown: str, change: "re.Pattern[str]", replacement: object) -> str:
    """``markdown`` with a substitution outside of fenced blocks."""
    parts = FENCE.split(markdown)
    parts[::2] = [change.sub(replacement, part) for part in parts[::2]]  # type: ignore[call-overload]
    return "".join(parts)


def unescaped_pipes(markdown: str) -> str:
    r"""Code in tables without the backslashes before its pipes: Python-Markdown would show them.

    Example:
        >>> unescaped_pipes(r"| `\|x\|` | norm |")
        '| `|x|` | norm |'
    """
    row = re.compile(r"^\|.*\|$", re.MULTILINE)
    return prose(markdown, row, lambda m: CODE.sub(lambda c: c[0].replace("\\|", "|"), m[0]))


def with_links(markdown: str, targets: Mapping[str, str]) -> str:
    """``markdown`` whose inline code links to the page of the class that it names, where it is first named.

    Args:
        markdown: of a page; headings, links and fenced blocks stay as they are.
        targets: name of a class to what a cross-reference calls it.
    """
    seen: set[str] = set()

    def linked(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None or name in seen or name not in targets:
            return match[0]
        seen.add(name)
        return f"[`{name}`][{targets[name]}]"

    # What precedes the third alternative is passed over: headings, links, and code with spaces or arguments.
    return prose(
        markdown,
        re.compile(r"^#.*$|\[[^\]\n]*\](?:\([^)\n]*\)|\[[^\]\n]*\])|`(?P<name>\w+)`|`[^`\n]+`", re.MULTILINE),
        linked,
    )


def breakable_names(html: str) -> str:
    """``html`` in whose tables a browser may break code and emphasized names after ``_``, ``.`` and ``/``.

    Example:
        >>> breakable_names("<td><code>a_b</code> c_d</td>")
        '<td><code>a_<wbr>b</code> c_d</td>'
    """
    name = re.compile(r"(?<=<code>)[^<]+(?=</code>)|(?<=<em>)[^<]+(?=</em>)")
    cell = re.compile(r"<td[^>]*>.*?</td>", re.DOTALL)
    return cell.sub(lambda m: name.sub(lambda n: re.sub(r"(?<=[\w}])([_./]+)(?=[\w{])", r"\1<wbr>", n[0]), m[0]), html)
