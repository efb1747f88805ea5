"""What a report says of audits and of attacks: no more than was run, and nothing that it leaves out."""

import pytest

from tests.report.page.made_up_folders import made_up_run
from unlearn_pl.report import render, report_data
from unlearn_pl.results import read_results
from unlearn_pl.robustness import Outcome, verdict_of, write_outcomes
from unlearn_pl.robustness.audit_file import AuditReport, write_report
from unlearn_pl.robustness.time_budget import NotRun

RESAMPLES = 20


def outcome(fingerprint, attack, forget, retain=0.8, role="audited", curve=None):
    after = {"forget_probability": forget, "retain_probability": retain}
    return Outcome(
        *(attack, role, "hf", {}, after, curve or {}),
        seed=0,
        config={},
        config_hash=attack,
        weights_fingerprint=fingerprint if role == "audited" else "0" * 64,
        seconds=1.0,
    )


@pytest.fixture
def run(tmp_path):
    folder = made_up_run(tmp_path / "run", 1)
    (folder / "attacks.json").unlink()
    return folder


def attacked(run, *settings):
    fingerprint = read_results(run / "results.json").weights_fingerprint
    outcomes = [outcome(fingerprint, *one) for one in settings]
    write_outcomes(run / "attacks.json", outcomes)
    return outcomes


def audited(run, *settings, not_run=()):
    fingerprint = read_results(run / "results.json").weights_fingerprint
    verdict = verdict_of([outcome(fingerprint, *one) for one in settings], changing=["Relearning"])
    (run / "audit").mkdir()
    report = AuditReport({}, {"audited": fingerprint}, {}, verdict, list(not_run), 1.0, None, 0)
    write_report(run / "audit" / "audit.json", report)


def told(run):
    return [one["text"] for one in report_data([run], resamples=RESAMPLES)["runs"][0]["verdict"]]


def test_attacks_without_an_audit_are_in_the_verdict(run):
    attacked(run, ("Unattacked", 0.1), ("Relearning", 0.9, 0.2), ("Prefix", 0.3), ("FewShot", 0.2))
    text = "Under Prefix, the strongest of the attacks that count, forget probability is 0.3; without an attack, it is "
    assert f"{text}0.1." in told(run)  # Relearning destroyed the model


def test_an_attack_beyond_the_audit_is_not_passed_over(run):
    audited(run, ("Unattacked", 0.1), ("Prefix", 0.3), not_run=[NotRun("Relearning", 9.0)])
    attacked(run, ("Unattacked", 0.1), ("Relearning", 0.6))
    texts = told(run)
    assert any(text.startswith("Under Prefix, the strongest of the audit's attacks that count") for text in texts)
    assert "The audit had no time for Relearning: what these would get is not known." in texts
    assert any(text.startswith("Under Relearning, the strongest of the attacks outside of the audit") for text in texts)


def test_an_audit_says_what_was_known_before_and_has_no_empty_columns(run):
    audited(run, ("Unattacked", 0.4), ("Prefix", 0.3), ("Unattacked", 0.9, 0.8, "original"))
    texts = told(run)
    expected = "Without an attack, which none of the audit's attacks that count surpasses, forget probability is 0.4"
    assert f"{expected}; before unlearning, it was 0.9." in texts
    page = render(report_data([run], resamples=RESAMPLES))
    table = page.partition('aria-label="Audit of run"')[2].partition("</table>")[0]
    assert 'data-label="before unlearning" data-value="0.9"' in table
    for column in ("retain model", "excess", "recovered"):
        assert column not in table


@pytest.mark.parametrize(
    ("role", "note"), [("audited", "Any model learns anew"), ("retain", "What rises faster than in the retain model")]
)
def test_a_relearning_curve_alone_is_no_proof(run, role, note):
    curve = {"step": [0, 5], "forget_probability": [0.1, 0.4]}
    attacked(run, ("Relearning", 0.4), ("Relearning", 0.4, 0.8, role, curve))
    page = render(report_data([run], resamples=RESAMPLES))
    assert note in page
    assert "was hidden, and not gone" in page if role == "retain" else "was hidden, and not gone" not in page


def test_one_outcome_is_singular_and_a_page_without_attacks_says_how_to_show_them(run):
    assert "name their folders with <code>--attacks</code>" in render(report_data([run], resamples=RESAMPLES))
    attacked(run, ("Prefix", 0.3))
    assert "1 outcome of attacks on run" in render(report_data([run], resamples=RESAMPLES))
