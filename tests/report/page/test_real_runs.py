"""The report of real runs in a headless Chromium, where a folder of them is at hand."""

import os
from pathlib import Path

import pytest

from tests.report.page.browser import chromium
from tests.report.page.checked import check
from unlearn_pl.report import report_data, write_page

FOLDER = os.environ.get("UNLEARN_PL_REAL_RUNS")
"""Such as that of ``make study-smollm2``, ``runs/smollm2``: run folders, among them ``target`` and ``retain``."""


@pytest.mark.skipif(not FOLDER, reason="UNLEARN_PL_REAL_RUNS names no folder of runs, such as runs/smollm2")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_reports_of_real_runs(tmp_path):
    folders = {path.parent.name: path.parent for path in sorted(Path(FOLDER).resolve().glob("*/results.json"))}
    before, retain = (folders.pop(name, None) for name in ("target", "retain"))
    assert folders
    data = report_data(list(folders.values()), before and str(before), retain and str(retain), resamples=100)
    page = write_page(data, tmp_path / "report.html", pictures=False)[0]
    others = {path.name: path for path in (before, retain) if path}
    with chromium(tmp_path) as browser:
        check(
            browser,
            page,
            folders | others,
            searched="author" if any(q["question"] for q in data["questions"]) else None,
        )
