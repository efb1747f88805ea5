"""What must hold of every report in a browser, whatever it is about."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.report.page.browser import console, requests
from unlearn_pl.metrics.direction import SPREADS
from unlearn_pl.results import read_results

SIZES = (1280, 390)
METRICS = """
const heads = [...document.querySelectorAll('#metrics-table thead tr:first-child th')];
const names = heads.map((th) => th.textContent.trim());
return Object.fromEntries([...document.querySelectorAll('#metrics-table tr[id]')].map((row) => [row.id.slice(7),
    Object.fromEntries([...row.cells].map((cell, i) => [names[i], cell.dataset.value]).slice(2))]))
"""
SORTED = """
const table = document.querySelector('#questions-table'), column = arguments[0];
table.querySelectorAll('.sort')[column].click();
return [...table.querySelectorAll('tbody tr')].map((row) => row.cells[column].dataset.value ?? '')
"""
SHOWN = """
const search = document.getElementById('search');
search.value = arguments[0];
search.dispatchEvent(new Event('input'));
return [...document.querySelectorAll('#questions-table tbody tr')].filter((row) => row.offsetParent !== null)
    .map((row) => row.textContent.toLowerCase())
"""


def check(browser: Any, page: Path, runs: Mapping[str, Path], searched: str | None = None) -> None:
    """Open ``page``; assert that nothing fails or is loaded, that its numbers are those of the runs, that it works.

    Args:
        browser: of :func:`~tests.report.page.browser.chromium`.
        page: the report.
        runs: name in the report to folder with ``results.json``, for every column of the table of metrics.
        searched: a text in lower case that some rows of the table of questions hold, and not all; None for no search.
    """
    browser.get("about:blank")
    console(browser), requests(browser)  # those of pages before
    browser.get(page.as_uri())
    assert console(browser) == []
    assert [url for url in requests(browser) if url != "about:blank"] == [page.as_uri()]

    shown = browser.execute_script(METRICS)
    for name, folder in runs.items():
        metrics = read_results(folder / "results.json").metrics
        found = {metric: float(values[name]) for metric, values in shown.items() if values[name]}
        assert found == {metric: metrics[metric] for metric in found}
        assert len(found) > 3
        assert all(metric in found or metric.endswith(SPREADS) for metric in metrics)

    column = browser.execute_script("return document.querySelectorAll('#questions-table .sort').length") - 1
    values = [float(value) for value in browser.execute_script(SORTED, column) if value]
    assert values == sorted(values)
    if searched is not None:
        rows = browser.execute_script(SHOWN, searched)
        assert rows
        assert all(searched in row for row in rows)
        assert len(browser.execute_script(SHOWN, "")) > len(rows)

    for width in SIZES:
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
