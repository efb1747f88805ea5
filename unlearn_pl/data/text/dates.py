"""A fixed date in every way in which a chat template asks for one."""

import json
from datetime import datetime

NAMES = ("date_string", "date", "today", "today_date", "current_date", "datetime")
"""Variables in which templates expect today's date."""

CLOCK = "strftime_now"
"""Function from which templates get today's date in a format of theirs."""

FORMATS = ("%d %b %Y", "%d %B %Y", "%Y-%m-%d", "%B %d, %Y", "%b %d, %Y")
"""Layouts of dates that are understood."""

_SHORTHANDS = {"%F": "%Y-%m-%d", "%D": "%m/%d/%y", "%T": "%H:%M:%S", "%R": "%H:%M"}
_DIRECTIVES = "aAbBcdfGHIjmMpSuUVwWxXyYzZ"
_NUMBERS = "dmyHIMSj"  # also without leading zeros: %-d


def variables(date: str) -> dict[str, str]:
    """``date`` under every name of :data:`NAMES`."""
    return dict.fromkeys(NAMES, date)


def with_fixed_clock(chat_template: str, date: str) -> str:
    """``chat_template`` with a :data:`CLOCK` that stands still at midnight of ``date``.

    A macro does it, because transformers hands no functions to templates.

    Args:
        chat_template: a Jinja template.
        date: the date, in one of :data:`FORMATS`; any other text is written as it is, whatever the template's format.
    """
    if CLOCK not in chat_template:
        return chat_template
    # The line break belongs to the block, after which Jinja drops one: the template itself begins at its own first
    # character.
    return f"{{%- macro {CLOCK}(format) -%}}{{{{- {_formatted(date)} -}}}}{{%- endmacro %}}\n{chat_template}"


def _formatted(date: str) -> str:
    """A Jinja expression for ``date`` in ``format``."""
    moment = _moment(date)
    if moment is None:
        return json.dumps(date)
    texts = _SHORTHANDS | {f"%-{letter}": str(int(moment.strftime(f"%{letter}"))) for letter in _NUMBERS}
    texts |= {f"%{letter}": moment.strftime(f"%{letter}") for letter in _DIRECTIVES} | {"%%": "%"}
    return "format" + "".join(f" | replace({json.dumps(name)}, {json.dumps(text)})" for name, text in texts.items())


def _moment(date: str) -> datetime | None:
    for layout in FORMATS:
        try:
            return datetime.strptime(date, layout)
        except ValueError:
            continue
    return None
