"""What a release says of itself agrees: the version, the citation, the change log, and what checks them."""

import re
from pathlib import Path

import yaml

import unlearn_pl

ROOT = Path(__file__).parents[1]


def test_the_citation_and_the_change_log_name_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == unlearn_pl.__version__
    sections = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sections[0] == unlearn_pl.__version__
    assert len(set(sections)) == len(sections)


def test_templates_of_issues_ask_for_what_they_say():
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        template = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert {"name", "description", "body"} <= template.keys()
        ids = [field["id"] for field in template["body"]]
        assert len(set(ids)) == len(ids) > 3
        assert all(field["attributes"]["label"] for field in template["body"])


def test_a_release_is_built_from_a_tag_of_its_version():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "publish.yml").read_text(encoding="utf-8"))
    assert workflow[True]["push"] == {"tags": ["v*"]}  # YAML 1.1 reads `on` as true
    assert workflow["jobs"]["publish"]["if"] == "github.ref_type == 'tag'"
    assert any("unlearn_pl.__version__" in step.get("run", "") for step in workflow["jobs"]["build"]["steps"])
