"""The verdict of an audit in Markdown."""

import math
from collections.abc import Sequence

from unlearn_pl.printable import markdown_text
from unlearn_pl.robustness.time_budget import NotRun
from unlearn_pl.robustness.verdict import UNATTACKED, Estimate, Leak, Verdict

COLUMNS = ("attack", "leakage", "retain model", "excess", "recovered", "utility loss", "counts")


def verdict_markdown(verdict: Verdict, not_run: Sequence[NotRun] = ()) -> str:
    """Sentences on the strongest bounded attack of every score, a table per score, and what was not run.

    Args:
        verdict: of :func:`~unlearn_pl.robustness.verdict_of`.
        not_run: attacks that the time did not suffice for.
    """
    lines = ["# Audit", ""]
    lines += [f"- {sentence(leak, verdict)}" for leak in verdict.strongest.values()]
    for score in dict.fromkeys(leak.score for leak in verdict.leaks):
        lines += ["", f"## {title(score)}", "", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
        of_score = [leak for leak in verdict.leaks if leak.score == score]
        lines += [f"| {' | '.join(_cells(leak))} |" for leak in sorted(of_score, key=_rank)]
    lines += ["", caption(verdict)]
    if not_run:
        lines += ["", "Not run, for want of time:", ""]
        lines += [f"- {markdown_text(one.attack)}, about {one.estimate:.0f} s" for one in not_run]
    return "\n".join(lines) + "\n"


def sentence(leak: Leak, verdict: Verdict) -> str:
    """What the strongest attack of a score says.

    Args:
        leak: the strongest one.
        verdict: for the level and the bound.
    """
    attack = "Without an attack" if leak.attack == UNATTACKED else f"Under {markdown_text(leak.attack)}"
    text = f"**{title(leak.score)}: {_judged(leak)}.** {attack}, the strongest of the attacks that count, the model "
    text += f"leaks {_estimate(leak.audited)}"
    if leak.retain is not None and leak.excess is not None:
        text += f", and the retain model {_estimate(leak.retain)}: a difference of {_estimate(leak.excess, sign=True)}"
    if leak.recovered is not None:
        text += f", {max(0.0, leak.recovered):.0%} of what was to be forgotten"
    elif leak.original is not None:
        text += f"; before unlearning, it was {leak.original:.2f}"
    if leak.percentiles:
        places = (f"{value:.0f} % of those of {name}" for name, value in leak.percentiles.items())
        text += f". Of published models, this is as much as or more than {', '.join(places)}"
    return text + "."


def title(score: str) -> str:
    """A score as a heading: ``forget_rouge_best`` is ``Rouge best``."""
    return score.removeprefix("forget_").replace("_", " ").capitalize()


def caption(verdict: Verdict) -> str:
    """What the columns mean, as far as they are there."""
    parts = [
        f"Brackets are bootstrap intervals over the forget rows at {verdict.level:.0%}; those of the sentences allow "
        "for the choice among attacks.",
        f"Attacks count whose loss of utility is at most {verdict.utility_loss:.0%}, or which leave the weights alone.",
    ]
    if all(leak.retain is None for leak in verdict.leaks):
        parts.append("Without a retain model, it is not known how much of the leakage any model would show.")
    else:
        parts.append(
            "Excess is the leakage above that of the retain model under the same attack; recovered is its share of "
            "what the original model knows more."
        )
    return " ".join(parts)


def _judged(leak: Leak) -> str:
    if leak.leaks is None:
        return "no judgment without a retain model" if leak.retain is None else "no judgment without intervals"
    return "leaks more than the retain model" if leak.leaks else "no more than the retain model, as far as can be seen"


def _cells(leak: Leak) -> list[str]:
    return [
        markdown_text(leak.attack),
        _estimate(leak.audited),
        "-" if leak.retain is None else _estimate(leak.retain),
        "-" if leak.excess is None else _estimate(leak.excess, sign=True),
        "-" if leak.recovered is None else f"{leak.recovered:.0%}",
        "-" if leak.utility_loss is None else f"{leak.utility_loss:.0%}",
        "not measured" if leak.bounded is None else "yes" if leak.bounded else "no",
    ]


def _estimate(estimate: Estimate, sign: bool = False) -> str:
    form = "+.2f" if sign else ".2f"
    text = f"{estimate.value:{form}}"
    if math.isnan(estimate.low):
        return text
    return f"{text} [{estimate.low:{form}}, {estimate.high:{form}}]"


def _rank(leak: Leak) -> tuple[bool, float]:
    strength = leak.strength
    return (not leak.bounded, -strength if math.isfinite(strength) else math.inf)
