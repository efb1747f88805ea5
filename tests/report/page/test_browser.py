"""Reports in a headless Chromium: nothing fails, nothing is loaded, and the tables work."""

import csv
import time

import pytest

from tests.report.page.browser import chromium, console, requests
from tests.report.page.made_up_folders import EVIL, made_up_family
from unlearn_pl.report import report_data, write_page
from unlearn_pl.results import read_results

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
ROWS = "[...document.querySelectorAll('#questions-table tbody tr')]"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return made_up_family(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def window(downloads):
    with chromium(downloads) as browser:
        yield browser


@pytest.fixture(scope="module")
def page(run):
    return write_page(report_data([run], resamples=20), run / "report.html", pictures=False)[0]


@pytest.fixture
def opened(window, page):
    """The browser, with the page as it is at first, whatever earlier tests have clicked."""
    window.get("about:blank")
    window.get_log("performance")
    window.get(page.as_uri())
    return window, page


def visible(browser, column):
    return browser.execute_script(
        f"return {ROWS}.filter((row) => row.offsetParent !== null).map((row) => row.cells[{column}])"
        ".map((cell) => cell.dataset.value ?? cell.textContent.trim())"
    )


def choose(browser, identifier, value):
    browser.execute_script(
        "const found = document.getElementById(arguments[0]);"
        "if (found.type === 'checkbox') found.checked = arguments[1]; else found.value = arguments[1];"
        "found.dispatchEvent(new Event('input'))",
        identifier,
        value,
    )


def test_nothing_fails_and_nothing_is_loaded(opened):
    browser, page = opened
    assert console(browser) == []
    assert requests(browser) == [page.as_uri()]
    policy = browser.execute_script("return getComputedStyle(document.querySelector('.card')).borderRadius")
    assert policy == "8px"  # the policy allows the style of the page


def test_texts_with_html_are_shown_as_text(opened):
    browser, _ = opened
    assert EVIL in browser.execute_script("return document.getElementById('questions-table').textContent")
    assert browser.execute_script("return document.images.length + document.querySelectorAll('script').length") == 2


def test_numbers_of_the_table_are_those_of_results_json(opened, run):
    browser, _ = opened
    results = read_results(run / "results.json")
    shown = browser.execute_script(
        "return Object.fromEntries([...document.querySelectorAll('#metrics-table tr[id]')]"
        ".map((row) => [row.id.slice(7), Number(row.cells[3].dataset.value)]))"
    )
    assert shown == results.metrics


def test_rows_are_sorted_by_keyboard(opened):
    from selenium.webdriver.common.keys import Keys

    browser, _ = opened
    button = browser.find_elements("css selector", "#questions-table .sort")[4]
    for order, key in (("ascending", Keys.ENTER), ("descending", Keys.SPACE)):
        button.send_keys(key)
        head = browser.execute_script("return arguments[0].closest('th').getAttribute('aria-sort')", button)
        values = [float(value) for value in visible(browser, 4)]
        assert head == order
        assert values == sorted(values, reverse=order == "descending")
        assert len(values) == 50
    assert browser.find_element("id", "show-all").text == "Show all 61"


def test_rows_are_filtered_and_searched(opened):
    browser, _ = opened
    choose(browser, "split", "retain")
    assert set(visible(browser, 0)) == {"retain"}
    choose(browser, "split", "")
    choose(browser, "search", "GUESS 33")
    assert set(visible(browser, 1)) == {"33"}
    assert browser.find_element("id", "count").text == "3 of 61 questions"
    choose(browser, "search", "")
    choose(browser, "verbatim", True)
    assert sorted(visible(browser, 1)) == ["0", "3"]
    choose(browser, "verbatim", False)
    browser.execute_script("document.getElementById('show-all').click()")
    assert len(visible(browser, 0)) == 61


def test_tables_are_downloaded(opened, downloads, run):
    browser, _ = opened
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})
    for button in browser.find_elements("css selector", "button.csv"):
        browser.execute_script("arguments[0].click()", button)
    files = [downloads / "metrics.csv", downloads / "questions.csv"]
    end = time.monotonic() + 20
    while not all(file.is_file() for file in files) and time.monotonic() < end:
        time.sleep(0.05)
    with files[0].open(newline="") as file:
        rows = {row["metric"]: row for row in csv.DictReader(file)}
    results = read_results(run / "results.json")
    assert {name: float(row[run.name]) for name, row in rows.items()} == results.metrics
    with files[1].open(newline="") as file:
        answers = [row for row in csv.DictReader(file) if row["split"] == "forget"]
    assert answers[0][f"{run.name} answer"] == EVIL


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_as_wide_as_the_screen(opened, width):
    browser, _ = opened
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_printed_tables_fit_the_page(opened):
    browser, _ = opened
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    paper = {"width": 720, "height": 1100, "deviceScaleFactor": 1, "mobile": False}  # A4 without its margins
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", paper)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 720
    assert browser.execute_script(f"return {ROWS}.filter((row) => row.offsetParent === null).length") == 0
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_dark_pages_have_light_text(opened):
    browser, _ = opened
    shades = {}
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        shades[scheme] = browser.execute_script(
            "return ['.chart text', 'body'].map((name, i) => {"
            "const style = getComputedStyle(document.querySelector(name));"
            "return (i ? style.backgroundColor : style.fill).match(/\\d+/g).slice(0, 3).map(Number)})"
        )
    assert sum(shades["light"][0]) < 200 < 600 < sum(shades["light"][1])
    assert sum(shades["dark"][1]) < 200 < 600 < sum(shades["dark"][0])
