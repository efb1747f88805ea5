"""Pages of a built site, taken apart: links, anchors, and what a browser loads by itself."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

LOADED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "embed": "src",
}
"""Elements whose address a browser loads, and its attribute; ``link`` has some that it does not load."""
NOT_LOADED = {"canonical", "prev", "next", "alternate", "author", "license"}


@dataclass
class HtmlPage(HTMLParser):
    """A page.

    Attributes:
        path: of the file.
        anchors: what a fragment may name.
        links: addresses of ``a``.
        loaded: addresses that are loaded without a click.
        texts: class of an element to the texts of its elements.
    """

    path: Path
    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[tuple[str, list[str]]] = []
        self.feed(self.path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in LOADED and LOADED[tag] in given:
            self.loaded.append(given[LOADED[tag]])
        if tag == "link" and not NOT_LOADED & set(given.get("rel", "").split()):
            self.loaded.append(given["href"])
        if tag not in ("br", "wbr", "hr", "img", "input", "link", "meta", "source", "path", "circle"):
            self._open.append((tag, given.get("class", "").split()))
            for name in self._open[-1][1]:
                self.texts.setdefault(name, []).append("")

    def handle_endtag(self, tag):
        while any(open_tag == tag for open_tag, _ in self._open):
            if self._open.pop()[0] == tag:
                break

    def handle_data(self, data):
        for name in {name for _, names in self._open for name in names}:
            self.texts[name][-1] += data


def pages_of(site: Path) -> dict[str, HtmlPage]:
    """Every page of ``site`` by its path in it."""
    return {path.relative_to(site).as_posix(): HtmlPage(path) for path in sorted(site.rglob("*.html"))}


def is_external(address: str) -> bool:
    """Whether an address leaves the site."""
    return bool(urlsplit(address).scheme or urlsplit(address).netloc)


def broken_links(site: Path, pages: dict[str, HtmlPage]) -> list[str]:
    """Addresses inside the site, links and what is loaded, of files or anchors that do not exist."""
    broken = []
    for name, page in pages.items():
        for address in {*page.links, *page.loaded}:
            if is_external(address):
                continue
            given, fragment = urldefrag(address)
            target = (page.path.parent / unquote(given)).resolve() if given else page.path
            target = target / "index.html" if target.is_dir() else target
            other = pages.get(target.relative_to(site.resolve()).as_posix()) if target.is_relative_to(site) else None
            lacks_anchor = fragment and other is not None and unquote(fragment) not in other.anchors
            if not target.is_file() or lacks_anchor:
                broken.append(f"{name}: {address}")
    return broken
