"""The page itself: a pure function of its data, which it holds, with a digest."""

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml

from unlearn_pl.printable import printable
from unlearn_pl.report.page.data import SCHEMA_VERSION
from unlearn_pl.report.page.drawn import overview, run_charts
from unlearn_pl.report.page.plain import percent, shown
from unlearn_pl.report.page.verdict import label
from unlearn_pl.results.json_file import json_safe, parse_json

if TYPE_CHECKING:
    from jinja2 import Environment

OPENING = '<script type="application/json" id="report-data">'
"""What the data of a page stands behind; it cannot occur in the data, where angle brackets are escaped."""
GROUPS = {
    "summary": "Summary",
    "forget": "Forget set: what is left of it",
    "kept": "What was to be kept",
    "retain": "Traces: what tells this model from the retain model",
}


def render(data: Mapping[str, object]) -> str:
    """The page, as HTML; the same for the same data and the same versions of this library and of matplotlib.

    Args:
        data: of :func:`~unlearn_pl.report.page.data.page_data`, or of :func:`data_of`.
    """
    from markupsafe import Markup

    safe = json_safe(data)
    assert isinstance(safe, dict)
    text = canonical(safe)
    style, script = _asset("style.css"), _asset("script.js")
    charts = {run["name"]: run_charts(run, number) for number, run in enumerate(safe["runs"])}
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            data=safe,
            digest=digest(safe),
            json=Markup(_without_tags(text)),
            style=Markup(style),
            script=Markup(script),
            style_hash=_source_hash(style),
            script_hash=_source_hash(script),
            groups=GROUPS,
            models=safe["models"],
            overview=[(chart, Markup(chart.svg())) for chart in overview(safe)],
            charts={name: [(chart, Markup(chart.svg())) for chart in drawn] for name, drawn in charts.items()},
        )
    )


def data_of(html: str) -> dict[str, Any]:
    """The data that a page was made from.

    Args:
        html: the page.

    Raises:
        ValueError: if it is not such a page, or its data does not match its digest.
    """
    _, found, rest = html.partition(OPENING)
    if not found:
        raise ValueError("This is not a page of `unlearn-pl report`: it holds no data.")
    data = parse_json(rest.partition("</script>")[0])
    if not isinstance(data, dict) or data.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"The data of this page is not of schema version {SCHEMA_VERSION}.")
    if f'content="sha256:{digest(data)}"' not in html:
        raise ValueError("The data of this page was changed after it was written: it does not match its digest.")
    return data


def canonical(data: Mapping[str, object]) -> str:
    """The text of ``data`` that its digest is of: JSON in ASCII, in the order of the keys of ``data``."""
    return json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)


def digest(data: Mapping[str, object]) -> str:
    """SHA-256 of ``data``; 64 hexadecimal digits."""
    return hashlib.sha256(canonical(data).encode()).hexdigest()


def _without_tags(text: str) -> str:
    r"""JSON without HTML: ``<``, ``>`` and ``&`` stand only in strings, in which JSON has escapes for them."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _source_hash(source: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}"


@cache
def _asset(name: str) -> str:
    return (files("unlearn_pl.report.page") / "templates" / name).read_text(encoding="utf-8")


@cache
def _environment() -> "Environment":
    from jinja2 import DictLoader, Environment, StrictUndefined

    environment = Environment(
        loader=DictLoader({name: _asset(name) for name in ("page.html.j2", "macros.html.j2")}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": shown, "percent": percent, "label": label, "yaml": _yaml}
    return environment


def _yaml(value: object) -> str:
    return printable(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), keep="\n")
