"""Attacks and audits of a run as rows of tables."""

import math
from collections.abc import Mapping, Sequence

from unlearn_pl.printable import printable
from unlearn_pl.report.page.plain import number, thinned
from unlearn_pl.robustness import Outcome
from unlearn_pl.robustness.verdict import COST, LOSS, SCORES, UNATTACKED, UTILITY

CURVE = "forget_probability"


def attack_rows(outcomes: Sequence[Outcome]) -> list[dict[str, object]]:
    """A row per outcome: what was attacked how, what leaked, and how long it took.

    Args:
        outcomes: of any attacks.
    """
    return [
        {
            "attack": printable(one.attack),
            "role": printable(one.role),
            "leakage": {printable(name): number(value) for name, value in one.after.items()},
            "seconds": number(one.seconds),
            "settings": _settings(one),
        }
        for one in outcomes
    ]


def _settings(outcome: Outcome) -> str:
    """Arguments of the attack that are plain, and the classes of the others."""
    attack = outcome.config.get("attack") if isinstance(outcome.config, Mapping) else None
    given = attack.get("init_args") if isinstance(attack, Mapping) else None
    parts = []
    for name, value in given.items() if isinstance(given, Mapping) else ():
        shown = str(value.get("class_path", "")).rpartition(".")[2] if isinstance(value, Mapping) else value
        if isinstance(shown, bool | int | float | str) and shown != "":
            parts.append(f"{name}={shown}")
    return printable(", ".join(parts)[:200])


def leakage_names(outcomes: Sequence[Outcome]) -> list[str]:
    """Numbers that more than one attack measures, or all if there is only one attack.

    Args:
        outcomes: of any attacks.
    """
    attacks: dict[str, set[str]] = {}
    for one in outcomes:
        for name in one.after:
            attacks.setdefault(name, set()).add(one.attack)
    several = [name for name, found in attacks.items() if len(found) > 1]
    return [printable(name) for name in several or attacks]


def strongest(outcomes: Sequence[Outcome]) -> tuple[str, Outcome, float | None] | None:
    """The score that is judged, the attack on the audited model that gets most of it, and its value without an attack.

    Attacks that cost more of the utility than an audit allows by default do not count.

    Args:
        outcomes: of any attacks.
    """
    mine = [one for one in outcomes if one.role == "audited"]
    plain = next((one.after for one in mine if one.attack == UNATTACKED), {})
    least = plain.get(UTILITY, 0.0) * (1 - COST)
    attacked = [one for one in mine if one.attack != UNATTACKED and one.after.get(LOSS, 0.0) <= COST]
    counted = [one for one in attacked if one.after.get(UTILITY, least) >= least]
    for score in SCORES:
        if found := [one for one in counted if math.isfinite(one.after.get(score, math.nan))]:
            return score, max(found, key=lambda one: one.after[score]), number(plain.get(score))
    return None


def relearning(outcomes: Sequence[Outcome]) -> dict[str, list[list[float | None]]]:
    """Name to the curve of the forget probability over the steps of an attack that trains.

    Args:
        outcomes: of any attacks.
    """
    found: dict[str, list[list[float | None]]] = {}
    for one in outcomes:
        if CURVE in one.curve and "step" in one.curve:
            name = printable(f"{one.attack}, {one.role}")
            number_ = sum(key.startswith(name) for key in found)
            name = f"{name} ({number_ + 1})" if number_ else name
            found[name] = thinned(list(zip(one.curve["step"], one.curve[CURVE], strict=False)))
    return found


def audited_attacks(audit: Mapping[str, object]) -> set[str]:
    """Names of the attacks that an ``audit.json`` judges.

    Args:
        audit: content of the file.
    """
    verdict = audit["verdict"]
    leaks = verdict.get("leaks", []) if isinstance(verdict, Mapping) else []
    return {str(leak["attack"]) for leak in leaks}


def audit_rows(audit: Mapping[str, object]) -> dict[str, object]:
    """The verdict of an ``audit.json``: a row per attack and score, and what was not run.

    Args:
        audit: content of the file.
    """
    verdict = audit["verdict"]
    leaks = verdict.get("leaks", []) if isinstance(verdict, Mapping) else []
    not_run = audit.get("not_run")
    return {
        "leaks": [
            {
                "attack": printable(str(leak["attack"])),
                "score": printable(str(leak["score"])),
                "bounded": leak.get("bounded"),
                **{part: _estimate(leak.get(part)) for part in ("audited", "retain", "excess")},
                **{part: _float(leak.get(part)) for part in ("original", "recovered", "utility_loss")},
            }
            for leak in leaks
        ],
        "level": verdict.get("level") if isinstance(verdict, Mapping) else None,
        "utility_loss": verdict.get("utility_loss") if isinstance(verdict, Mapping) else None,
        "not_run": [printable(str(one.get("attack"))) for one in not_run] if isinstance(not_run, list) else [],
    }


def _estimate(value: object) -> list[float | None] | None:
    return [_float(value.get(part)) for part in ("value", "low", "high")] if isinstance(value, Mapping) else None


def _float(value: object) -> float | None:
    return number(float(value)) if isinstance(value, int | float | str) else None
