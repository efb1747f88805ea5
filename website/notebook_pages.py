"""A page per notebook: its text and its code, and the notebook itself to download."""

import json
from pathlib import PurePosixPath

from website.repository import ROOT, notebooks


def pages() -> dict[str, str]:
    """Path of each page, beside its notebook, to its Markdown."""
    return {path.removesuffix(".ipynb") + ".md": _page(path) for path in notebooks()}


def _page(path: str) -> str:
    cells = json.loads((ROOT / path).read_text(encoding="utf-8"))["cells"]
    title, *parts = [_block(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    heading, _, rest = title.partition("\n")
    name = PurePosixPath(path).name
    return "\n\n".join(
        [heading, f"[Download and run it]({name}); figures and numbers come from the run.", rest, *parts]
    )


def _block(kind: str, source: str) -> str:
    return source if kind == "markdown" else f"```python\n{source}\n```"
