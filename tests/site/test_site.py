"""The documentation site: complete, without broken links, and without requests to others."""

import doctest
import importlib
import json
import logging
import re
import threading
import warnings
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.report.page.browser import chromium, console, requests
from tests.site.html_pages import HtmlPage, broken_links, is_external, pages_of
from tests.test_methods_catalogue import named_classes, table
from unlearn_pl.commands.recipes import recipes

pytest.importorskip("material", reason="the site needs the extra site")
pytest.importorskip("mkdocstrings", reason="the site needs the extra site")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built once; a warning of the build is an error."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site").resolve()
    level = logging.getLogger("mkdocs").level
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        patch.delenv("SITE_URL", raising=False)
        warnings.simplefilter("ignore")  # those of MkDocs' own dependencies
        config = load_config(str(ROOT / "website" / "mkdocs.yml"), site_dir=str(folder), strict=True)
        build(config)
    logging.getLogger("mkdocs").setLevel(level)
    return folder


@pytest.fixture(scope="module")
def pages(site) -> dict[str, HtmlPage]:
    return pages_of(site)


def test_all_links_and_anchors_exist(site, pages):
    assert len(pages) > 100
    assert sum(len(page.links) for page in pages.values()) > 10_000
    assert not broken_links(site, {name: page for name, page in pages.items() if name != "404.html"})


def test_broken_links_are_found(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "index.html").write_text('<h2 id="here">Here</h2>')
    links = ["b/", "b/#here", "#top", "b/#gone", "c/", "https://example.org/x"]
    text = "".join(f'<a href="{link}">.</a>' for link in links) + '<img src="d.png"><p id="top"></p>'
    (tmp_path / "index.html").write_text(text)
    found = broken_links(tmp_path, pages_of(tmp_path))
    assert sorted(found) == ["index.html: b/#gone", "index.html: c/", "index.html: d.png"]


def test_nothing_is_loaded_from_elsewhere(site, pages):
    assert all(page.loaded for page in pages.values())
    assert not {address for page in pages.values() for address in page.loaded if is_external(address)}
    assert not [name for name, page in pages.items() if "mermaid" in page.texts]  # drawn by a script from a CDN
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import )['\"]?(?:https?:)?//[^)]*", sheet.read_text(encoding="utf-8")), sheet


@pytest.mark.parametrize("name", table("Methods"))
def test_every_method_has_a_page_with_equation_and_badge(pages, name):
    row = table("Methods")[name]
    page = pages[f"methods/{name.lower()}/index.html"]
    assert page.texts["badge"] == ["no paper" if row["status"] == "-" else row["status"]]
    equations = " ".join(page.texts["equation"])
    for loss in named_classes(row["objectives"]):
        formula = table("Objectives")[loss]["formula"].replace("\\|", "|").replace("`", "")
        assert formula in equations
    headings = {"equation", "run-it", "arguments", "when-it-fails", "measured-here", "beside-the-paper"}
    assert headings <= page.anchors
    assert len(" ".join(page.texts["md-content"])) > 1000


def test_what_goes_wrong_is_said_of_every_method():
    from website.pitfalls import PITFALLS

    assert PITFALLS.keys() == table("Methods").keys()


@pytest.mark.parametrize("module", ["catalog", "dialect", "docstring_roles", "exports", "llms", "repository"])
def test_examples_in_docstrings(module):
    result = doctest.testmod(importlib.import_module(f"website.{module}"))
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize("section", ["Objectives", "Combiners", "Weight attribution", "Data selection", "Sparsity"])
def test_every_other_row_of_the_catalogue_is_on_a_page(pages, section):
    page = pages[f"methods/{section.lower().replace(' ', '_')}/index.html"]
    rows = table(section)
    statuses = ["no paper" if row["status"] == "-" else row["status"] for row in rows.values()]
    assert page.texts["badge"] == statuses
    assert len(page.texts["equation"]) == len(rows)


def test_every_metric_has_its_direction_and_a_definition(pages):
    from website import metrics

    cells = table_cells(pages["metrics/index.html"])
    for benchmark, name, keys in metrics.logged():
        cls = metrics.callback_of(name)
        for key in keys:
            better, what = cells[benchmark, key]
            assert re.search("higher|lower|nearest to the retain model", better), key
            assert len(what) > 10, key
            for _, instance in metrics.instances(benchmark, key):
                assert {"retain": "nearest"}.get(cls.direction(instance), cls.direction(instance)) in better, instance
    assert cells["tofu", "forget_quality"][0] == "higher"
    assert cells["tofu", "privleak"][0] == "nearest to the retain model"
    assert cells["wmdp", "wikitext_perplexity"][0] == "lower"
    assert "retain, real_authors, world_facts: higher" in cells["tofu", "{split}_probability"][0]


def table_cells(page: HtmlPage) -> dict[tuple[str, str], tuple[str, str]]:
    """Heading and first cell of every row of three cells to the others."""
    text = page.path.read_text(encoding="utf-8")
    found = {}
    for heading, part in re.findall(r'<h2 id="(\w+)">.*?</h2>(.*?)(?=<h2|</article>)', text, re.DOTALL):
        for row in re.findall(r"<tr>(.*?)</tr>", part, re.DOTALL):
            cells = [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<td>(.*?)</td>", row, re.DOTALL)]
            if len(cells) == 3:
                found[heading, cells[0]] = (cells[1], cells[2])
    return found


def test_an_evaluation_that_leaves_a_metric_without_direction_is_an_error():
    from unlearn_pl.callbacks import WMDPEvaluation
    from website import metrics

    with pytest.raises(ValueError, match="WMDPEvaluation has no direction for 'made_up'"):
        metrics.better(WMDPEvaluation, "wmdp", "made_up")
    with pytest.raises(ValueError, match="WMDPEvaluation has no definition of 'made_up'"):
        metrics.definition(WMDPEvaluation, "wmdp", "made_up")


def test_llms_txt_lists_every_page(site, pages):
    listed = set(re.findall(r"^- \[[^\]]+\]\(([^)]+)\)", (site / "llms.txt").read_text(encoding="utf-8"), re.MULTILINE))
    places = {name.removesuffix("index.html") or "./" for name in pages if name != "404.html"}
    assert listed == places
    full = (site / "llms-full.txt").read_text(encoding="utf-8")
    assert all(f"<!-- {place} -->" in full for place in places if not place.startswith("api/"))


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_notebook_has_a_page_with_its_code(site, pages, path):
    page = pages[f"notebooks/{path.stem}/index.html"]
    assert f"../{path.name}" in page.links
    assert (site / "notebooks" / path.name).read_bytes() == path.read_bytes()
    code = [
        cell["source"] for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"
    ]
    shown = re.sub(r"\s", "", "".join(page.texts["md-content"]))
    assert all(re.sub(r"\s", "", "".join(source)) in shown for source in code)
    assert f"notebooks/{path.stem}/" in pages["index.html"].links or path.stem[:2] != "01"  # the tab's first page


def test_every_public_name_is_in_the_reference(pages):
    from website import exports

    for package, module in exports.packages():
        anchors = pages[f"api/{package}/index.html"].anchors
        missing = {f"unlearn_pl.{package}.{name}" for name in exports.exports(module)} - anchors
        assert not missing


def test_recipes_on_generated_pages_exist(pages):
    named = set()
    for name, page in pages.items():
        if name.startswith(("methods/", "papers/")):
            named |= set(re.findall(r"-c ([\w./]+)", " ".join(page.texts["md-content"])))
    assert len(named) > 60
    assert not {name.removeprefix("experiments/").removesuffix(".yaml") for name in named} - recipes().keys()


def test_lists_and_tables_are_read_as_on_the_forge(pages):
    """Python-Markdown wants blank lines where the forge does not; a list that it misses would stay a paragraph."""
    for name, page in pages.items():
        if not name.startswith("api/"):
            prose = re.sub(r"<pre.*?</pre>", "", page.path.read_text(encoding="utf-8"), flags=re.DOTALL)
            assert not re.search(r"<p>[^<]*\n(?:- |\d+\. |\|)", prose), name


class Quiet(SimpleHTTPRequestHandler):
    """A server without a log."""

    def log_message(self, *arguments):
        pass


def test_a_browser_shows_pages_without_errors_or_foreign_requests(site, tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    try:
        with chromium(tmp_path) as browser:
            browser.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride",
                {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True},
            )
            for page in ("", "methods/mollm/", "metrics/", "how_it_works/", "api/objectives/"):
                browser.get(address + page)
                wider = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
                assert browser.execute_script(wider) == 0, page
            assert not console(browser)
            asked = requests(browser)
            assert len(asked) > 5
            assert not [url for url in asked if not url.startswith(address)]
    finally:
        server.shutdown()
        server.server_close()


def test_the_search_finds_methods(site):
    documents = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"]
    assert {"methods/simnpo/", "faq/#why-is-there-no-forget-quality"} <= {entry["location"] for entry in documents}
