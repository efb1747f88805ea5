"""What MkDocs calls while it builds the site."""

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:  # MkDocs loads this file by its path
    sys.path.insert(0, str(ROOT))

from mkdocs.config.defaults import MkDocsConfig  # noqa: E402
from mkdocs.structure.files import File, Files  # noqa: E402
from mkdocs.structure.nav import Navigation, Section  # noqa: E402
from mkdocs.structure.pages import Page  # noqa: E402

from website import (  # noqa: E402
    components,
    dialect,
    exports,
    gallery,
    llms,
    methods,
    metrics,
    notebook_pages,
    papers,
    reference,
    repository,
)

NAVIGATION: list[Navigation] = []
"""That of the build that is running."""
WITHOUT_LINKS = ("CHANGELOG.md", "docs/api/")
"""Pages on which names of classes stay plain."""


@cache
def generated() -> dict[str, str]:
    """Path of each page that is made from the package and its tables to its Markdown."""
    makers = (methods, components, metrics, papers, gallery, notebook_pages, reference)
    return {path: text for maker in makers for path, text in maker.pages().items()}


@cache
def targets() -> dict[str, str]:
    """Name of a class to what a cross-reference calls it."""
    return exports.targets()


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill in the navigation."""
    made = [path for path in generated() if path.startswith("docs/methods/")]
    parts = [components.path_of(heading) for heading in components.headings()]
    api = [path for path in generated() if path.startswith("docs/api/")]
    groups = repository.sections() | {"Notebooks": list(notebook_pages.pages())}
    config.nav = [
        {"Home": ["docs/index.md", {"First steps": "README.md"}, {"All pages": "docs/README.md"}, gallery.PATH]},
        *({heading: pages} for heading, pages in groups.items()),
        {
            "Methods": [
                f"{methods.FOLDER}/all.md",
                {"Each method": [path for path in made if path not in parts and not path.endswith("/all.md")]},
                {"What they are made of": parts},
                metrics.PATH,
                papers.PATH,
                {"All formulas": "METHODS.md"},
            ]
        },
        {"Results": ["experiments/README.md", "benchmarks/README.md", {"Costs, measured": "benchmarks/RESULTS.md"}]},
        {"API": api},
        {"Project": ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]},
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the repository, the files that they link to, and the generated pages."""
    for page in repository.pages():
        _add(files, config, page, abs_src_path=str(ROOT / page))
    for page, markdown in generated().items():
        _add(files, config, page, content=markdown)
    for path in repository.linked_files():
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def _add(files: Files, config: MkDocsConfig, page: str, **source: Any) -> None:
    file = File.generated(config, page, **source)
    file.dest_uri = repository.place(page)
    files.append(file)


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:
    """Keep the navigation for ``llms.txt``."""
    NAVIGATION[:] = [nav]
    return nav


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite what the forge reads in another way, and link classes."""
    markdown = dialect.unescaped_pipes(markdown)
    if page.file.src_uri not in notebook_pages.pages():  # these link to what is to be downloaded
        markdown = markdown.replace(".ipynb)", ".md)")
    if page.file.src_uri.startswith(WITHOUT_LINKS):
        return markdown
    return dialect.with_links(markdown, targets())


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let long names in tables break where their parts end."""
    return dialect.breakable_names(html)


def on_post_build(config: MkDocsConfig) -> None:
    """Write ``llms.txt`` and ``llms-full.txt``."""
    entries = list(_entries(NAVIGATION[0], config.site_url or ""))
    site = Path(config.site_dir)
    listing = llms.listing(config.site_name, config.site_description or "", entries)
    (site / "llms.txt").write_text(listing, encoding="utf-8")
    (site / "llms-full.txt").write_text(llms.full(entries), encoding="utf-8")


def _entries(nav: Navigation, site: str) -> Iterator[llms.Entry]:
    for item in nav.items:
        assert isinstance(item, Section), item
        for page in _pages_of(item):
            text = "" if page.file.src_uri.startswith("docs/api/") else page.file.content_string
            yield llms.Entry(item.title, page.title or "", (site + page.url) or "./", text)


def _pages_of(section: Section) -> Iterator[Page]:
    for child in section.children:
        if isinstance(child, Section):
            yield from _pages_of(child)
        elif isinstance(child, Page):
            yield child
