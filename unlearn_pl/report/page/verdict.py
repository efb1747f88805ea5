"""What an evaluation says, in plain sentences."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from unlearn_pl.callbacks import EvaluationCallback
from unlearn_pl.metrics.direction import SPREADS
from unlearn_pl.report.comparison import Comparison, Estimate
from unlearn_pl.report.page.folder import RunFolder
from unlearn_pl.report.page.leaks import audited_attacks, strongest
from unlearn_pl.report.page.plain import NOTHING, percent, shown
from unlearn_pl.robustness.verdict import UNATTACKED

SUFFERED = 0.9
"""Share of its value before unlearning below which a metric is mentioned."""
Sentence = dict[str, str]
"""``text``, the ``metric`` that it is about (or an empty text), and its ``tone``: good, bad or plain."""


class Judge:
    """Writes the sentences about runs of one benchmark.

    Args:
        cls: class of their evaluation.
        comparison: of all runs, with the retain model first if there is one.
        before: the model before unlearning; None if it is not known.
        retain: the retain model; None if it is not known.
    """

    def __init__(
        self,
        cls: type[EvaluationCallback],
        comparison: Comparison,
        before: RunFolder | None,
        retain: RunFolder | None,
    ) -> None:
        self.cls, self.comparison, self.before, self.retain = cls, comparison, before, retain

    def metric(self, patterns: tuple[str, ...], run: RunFolder) -> str | None:
        """The metric of the headline that ``patterns`` choose."""
        return self.cls.headline.find(patterns, run.results.metrics)

    def sentences(self, run: RunFolder, goals: Sequence[Mapping[str, object]]) -> list[Sentence]:
        """What is to be said about a run, the most important first.

        Args:
            run: one of the compared runs.
            goals: of :func:`~unlearn_pl.report.page.training.goals`.
        """
        counted = self._word_for_word(run) or self._correct(run)
        found = [*counted, *self._forgotten(run), *self._useful(run), *self._suffered(run)]
        found += [*_goals(goals), *_audits(run), *_attacks(run)]
        forgotten = self.metric(self.cls.headline.forgotten, run)
        if self.retain is None and (forgotten is None or self.cls.direction(forgotten) in (None, "retain")):
            text = "No evaluation of a retain model is known, so it is open what a model that never saw these answers "
            found.append(_sentence(f"{text}would give. Test one, and name it with --retain."))
        return found

    def _word_for_word(self, run: RunFolder) -> list[Sentence]:
        metric = self.metric(self.cls.headline.forgotten, run)
        split = metric and split_of(metric, run.results.per_example)
        splits = [split] if split else self._forget_splits(run) if metric else []
        if (own := word_for_word(self.cls, run, splits)) is None:
            return []
        are = "is" if own[0] < 2 else "are"
        answers = "answer" if own[1] == 1 else "answers"
        text = f"Of {own[1]} {answers} of the forget set, {own[0] or 'none'} {are} still given word for word"
        theirs = self.retain and word_for_word(self.cls, self.retain, splits)
        earlier = self.before and word_for_word(self.cls, self.before, splits)
        if theirs:
            text += f"; a model that never saw them gives {theirs[0] or 'none'}"
            text += "" if theirs[1] == own[1] else f" of {theirs[1]}"
        if earlier:
            text += f"; before unlearning, it was {earlier[0] or 'none'}"
        tone = "plain" if not theirs else "good" if own[0] / own[1] <= theirs[0] / theirs[1] else "bad"
        return [_sentence(f"{text}.", f"{split}_{self.cls.headline.verbatim}" if split else "", tone)]

    def _forget_splits(self, run: RunFolder) -> list[str]:
        """Splits of the forget set with a score that tells answers word for word, for metrics of several splits."""
        tables, metrics = run.results.per_example, run.results.metrics
        told = [split for split, table in tables.items() if self.cls.headline.verbatim in table]
        return [split for split in told if self.cls.holds_forget_set(split, metrics)]

    def _correct(self, run: RunFolder) -> list[Sentence]:
        """How many choices or classes of the forget set are right, where answers are not compared word for word."""
        own = correct(self.cls, run)
        if own is None:
            return []
        text = f"Of {own[1]} examples of the forget set, the model still gets {own[0] or 'none'} right"
        theirs = self.retain and correct(self.cls, self.retain)
        earlier = self.before and correct(self.cls, self.before)
        if theirs:
            text += f"; a model that never saw them gets {theirs[0] or 'none'}"
            text += "" if theirs[1] == own[1] else f" of {theirs[1]}"
        if earlier:
            text += f"; before unlearning, it was {earlier[0] or 'none'}"
        return [_sentence(f"{text}.")]

    def _forgotten(self, run: RunFolder) -> list[Sentence]:
        metric = self.metric(self.cls.headline.forgotten, run)
        if metric is None:
            return []
        text = f"{label(metric).capitalize()} is {_estimate(self._value(metric, run.name))}"
        text += self._beside(metric)
        tone = "plain"
        difference = self.comparison.differences.get(metric, {}).get(run.name)
        if self.retain is not None and self.cls.direction(metric) == "retain" and difference and difference.interval:
            low, high = difference.interval
            inverted = self.cls.headline.inverted
            above, below = ("below", "above") if inverted else ("above", "below")
            if (high < 0) if inverted else (low > 0):
                text += f". It is {above} the retain model's beyond chance: part of the forget set is left"
                tone = "bad"
            elif low > 0 or high < 0:
                text += f". It is {below} the retain model's beyond chance: less is left than in a model that never "
                text += "saw the forget set, which can itself reveal that something was unlearned"
            else:
                text, tone = f"{text}. The difference from the retain model is within chance", "good"
        return [_sentence(f"{text}.", metric, tone)]

    def _useful(self, run: RunFolder) -> list[Sentence]:
        headline = self.cls.headline
        metric = self.metric(headline.utility, run) or self.metric(headline.kept, run)
        if metric is None:
            return []
        own = self._value(metric, run.name)
        text = f"{label(metric).capitalize()} is {_estimate(own)}"
        earlier = self.before and self.before.results.metrics.get(metric)
        if earlier and earlier > 0 and self.cls.direction(metric) == "higher" and own is not None:
            text += f", {percent(own.value / earlier)} of the {shown(earlier)} before unlearning"
            if self.retain and metric in self.retain.results.metrics:
                text += f"; the retain model has {shown(self.retain.results.metrics[metric])}"
        else:
            text += self._beside(metric)
        return [_sentence(f"{text}.", metric)]

    def _suffered(self, run: RunFolder) -> list[Sentence]:
        """The metric that has lost the largest share, of those that should be high; apart from the quoted ones."""
        if self.before is None:
            return []
        earlier, quoted = self.before.results.metrics, self.metric(self.cls.headline.utility, run)
        shares = {
            name: value / earlier[name]
            for name, value in run.results.metrics.items()
            if self.cls.direction(name) == "higher" and not name.endswith(SPREADS) and earlier.get(name, 0) > 0
            if name != quoted and name not in self.cls.against_retain
        }
        worst = min(shares, key=shares.__getitem__, default=None)
        if worst is None or shares[worst] > SUFFERED:
            return []
        own = self._value(worst, run.name)
        text = f"What suffered most is {label(worst)}: {_estimate(own)}, {percent(shares[worst])} of the "
        text += f"{shown(earlier[worst])} before unlearning"
        lost = own is not None and own.interval is not None and own.interval[1] < earlier[worst]
        return [_sentence(f"{text}.", worst, "bad" if lost else "plain")]

    def _value(self, metric: str, name: str) -> Estimate | None:
        return self.comparison.values.get(metric, {}).get(name)

    def _beside(self, metric: str) -> str:
        text = ""
        if self.retain and metric in self.retain.results.metrics:
            text += f"; the retain model has {shown(self.retain.results.metrics[metric])}"
        if self.before and metric in self.before.results.metrics:
            text += f"; before unlearning, it was {shown(self.before.results.metrics[metric])}"
        return text


def label(metric: str) -> str:
    """The name of a metric in words."""
    return metric.replace("_", " ")


def split_of(metric: str, splits: Mapping[str, object]) -> str | None:
    """The split that a metric is about: the longest name that it begins with; None if there is none."""
    return max((s for s in splits if metric == s or metric.startswith(f"{s}_")), key=len, default=None)


def word_for_word(cls: type[EvaluationCallback], run: RunFolder, splits: Sequence[str]) -> tuple[int, int] | None:
    """How many answers of splits the model gives word for word, and of how many; None if it is not known.

    Args:
        cls: class of the evaluation, which names the score that tells.
        run: with scores per example, or with generated answers.
        splits: their names.
    """
    tables = [run.results.per_example.get(split, {}).get(cls.headline.verbatim, {}) for split in splits]
    if any(tables):
        return sum(value >= 1 for table in tables for value in table.values()), sum(map(len, tables))
    answers = [one for (name, _), one in run.predictions.items() if name in splits]
    if answers:
        return sum(one.prediction.split() == one.answer.split() for one in answers), len(answers)
    return None


def correct(cls: type[EvaluationCallback], run: RunFolder) -> tuple[int, int] | None:
    """How many examples of the forget set the model gets right, and of how many; None if there is no such score.

    Args:
        cls: class of the evaluation, which names the score, and the metrics of what is to be forgotten.
        run: with scores per example.
    """
    per_example, patterns = run.results.per_example, cls.headline.forgotten
    quoted = [name for name in run.results.metrics if any(fnmatchcase(name, pattern) for pattern in patterns)]
    splits = {split_of(name, per_example) for name in quoted} | {split for split in per_example if "forget" in split}
    tables = [scores for split in splits if split and (scores := per_example[split].get(cls.headline.correct))]
    if not tables:
        return None
    return sum(value >= 1 for table in tables for value in table.values()), sum(map(len, tables))


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None:
        return NOTHING
    if estimate.interval is None:
        return shown(estimate.value)
    return f"{shown(estimate.value)} [{shown(estimate.interval[0])}, {shown(estimate.interval[1])}]"


def _sentence(text: str, metric: str = "", tone: str = "plain") -> Sentence:
    return {"text": text, "metric": metric, "tone": tone}


def _goals(goals: Sequence[Mapping[str, object]]) -> list[Sentence]:
    judged = [goal for goal in goals if goal["met"] is not None]
    if not goals:
        return []
    if not judged:
        return [_sentence("Whether the goals were met, the log of this run does not say.")]
    met = sum(bool(goal["met"]) for goal in judged)
    text = f"At the end of training, {met} of {len(goals)} goals {'was' if met == 1 else 'were'} met"
    if len(judged) < len(goals):
        text += f"; of {len(goals) - len(judged)}, the log does not say the level"
    tone = "good" if met == len(goals) else "bad" if met < len(judged) else "plain"
    return [_sentence(f"{text}.", tone=tone)]


def _audits(run: RunFolder) -> list[Sentence]:
    found = []
    for audit in run.audits:
        verdict = audit.get("verdict")
        leaks = verdict.get("strongest") if isinstance(verdict, Mapping) else None
        for score, leak in leaks.items() if isinstance(leaks, Mapping) else ():
            under, rank = f"Under {leak['attack']}", "the strongest of the audit's attacks that count"
            if leak["attack"] == UNATTACKED:
                under, rank = "Without an attack", "which none of the audit's attacks that count surpasses"
            text = f"{under}, {rank}, {label(score)} is {shown(float(leak['audited']['value']))}"
            tone = "plain"
            if leak.get("retain") and leak.get("excess"):
                text += f"; the retain model under the same attack has {shown(float(leak['retain']['value']))}"
                tone = "bad" if float(leak["excess"]["low"]) > 0 else "plain"
            if leak.get("original") is not None:
                text += f"; before unlearning, it was {shown(float(leak['original']))}"
            found.append(_sentence(f"{text}.", score, tone))
        if isinstance(left := audit.get("not_run"), list) and left:
            names = ", ".join(str(one.get("attack")) for one in left)
            found.append(_sentence(f"The audit had no time for {names}: what these would get is not known."))
    return found


def _attacks(run: RunFolder) -> list[Sentence]:
    """The strongest of the attacks that were run outside of audits."""
    audited = {name for audit in run.audits for name in audited_attacks(audit)}
    found = strongest([one for one in run.attacks if one.attack not in audited or one.attack == UNATTACKED])
    if found is None:
        return []
    score, best, plain = found
    place = " outside of the audit" if run.audits else ""
    text = f"Under {best.attack}, the strongest of the attacks{place} that count, "
    text += f"{label(score)} is {shown(best.after[score])}"
    text += "" if plain is None else f"; without an attack, it is {shown(plain)}"
    return [_sentence(f"{text}.", score)]
