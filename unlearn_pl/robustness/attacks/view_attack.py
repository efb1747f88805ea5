"""Attack by views: the same rows in other forms that mean the same."""

import random
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Literal, get_args

from unlearn_pl.data import CodeCompletion, CodeViews, EvaluationRow, RowViews
from unlearn_pl.data.sampling import stable_hash
from unlearn_pl.robustness.attacks.attack import Attack, Findings
from unlearn_pl.robustness.attacks.gradient_search import GradientSearch
from unlearn_pl.robustness.questions import without_options
from unlearn_pl.robustness.target import FORGET, Subject

Search = Literal["random", "greedy", "gradient"]
SCORE = "probability"


class ViewAttack(Attack):
    """Leakage of the forget answers in the worst of several views of each row.

    ``forget_probability`` is that of the worst view of every row, the row itself among them, mean over the rows;
    ``forget_probability_clean`` and ``forget_probability_mean`` are those of the rows and of all views. With several
    transformations of code, ``forget_probability.RenameLocal`` and so on is the worst of views by one of them alone.
    ``forget_rows_without_views`` counts the rows that cannot be rewritten safely.

    Args:
        views: other forms of the rows; :class:`~unlearn_pl.data.CodeViews` by default.
            :class:`~unlearn_pl.data.QuestionFrames` and :class:`~unlearn_pl.data.ParaphrasedQuestions` are for text.
        candidates: views of a row that are tried, in a greedy search at each step.
        search: ``random`` tries views of the row; ``greedy`` tries views of the worst view so far, ``steps`` times;
            ``gradient``, for programs, tries ``candidates`` sites, each with the name that ``steps`` projected gradient
            steps choose (:class:`~unlearn_pl.robustness.attacks.gradient_search.GradientSearch`).
        steps: of a greedy or gradient search.
        each: whether every transformation of code is tried alone as well.

    Raises:
        ValueError: if a number is not positive, ``search`` is unknown, or ``gradient`` is asked for without a
            transformation that has new names; from ``check``, if no row has a view.

    References:
        Jia et al., CLAWSAT, SANER 2023, arXiv 2211.11709.
    """

    def __init__(
        self,
        views: RowViews | None = None,
        candidates: int = 16,
        search: Search = "random",
        steps: int = 3,
        each: bool = True,
    ) -> None:
        if candidates < 1 or steps < 1:
            raise ValueError(f"candidates={candidates}, steps={steps}; accepted are positive numbers.")
        if search not in get_args(Search):
            raise ValueError(f"search is {search!r}; accepted: {', '.join(get_args(Search))}.")
        self.views = views or CodeViews()
        self._gradient = self._gradient_search(self.views, candidates, steps) if search == "gradient" else None
        self.candidates = candidates
        self.search = search
        self.steps = steps
        self.each = each

    @staticmethod
    def _gradient_search(views: RowViews, candidates: int, steps: int) -> GradientSearch:
        named = isinstance(views, CodeViews) and any(transform.takes_word for transform in views.transforms)
        if not named:
            raise ValueError(
                f"search='gradient' chooses names in programs, which {views.name} does not have. Accepted with it: "
                "search='random', search='greedy'; or CodeViews with RenameLocal or another one with new names."
            )
        assert isinstance(views, CodeViews)
        return GradientSearch(views.transforms, candidates, steps)

    @property
    def name(self) -> str:
        """The attack, the views, their number and the search."""
        return f"ViewAttack ({self.views.name}, {self.candidates} {self.search})"

    def cost(self, subject: Subject) -> float:
        """See :meth:`Attack.cost`: a view is scored without an answer."""
        return (1 + self.candidates * (self.steps if self.search == "greedy" else 1)) / 16

    def check(self, subject: Subject) -> None:
        """Check that the rows are of a kind that has views, and that one has a view."""
        rows = _rows(subject)
        self.views.check(rows)
        if not any(self._drawn(self.views, row, index, 0, subject.seed) for index, row in enumerate(rows)):
            raise ValueError(f"{self.name}: none of the {len(rows)} rows of {subject.forget_split!r} has a view.")

    def run(self, subject: Subject) -> Findings:
        """Score the views and keep the worst."""
        clean = self._scores(subject, [[row] for row in _rows(subject)])
        before = [scores[0] for scores in clean]
        worst, tried, unchanged = self._worst(subject, self.views, before, self.steps if self.search == "greedy" else 1)
        found = {f"{FORGET}_{SCORE}": mean(worst), f"{FORGET}_{SCORE}_clean": mean(before)}
        found |= {f"{FORGET}_{SCORE}_mean": mean(tried), f"{FORGET}_rows_without_views": float(unchanged)}
        for name, alone in self._alone().items():
            found[f"{FORGET}_{SCORE}.{name}"] = mean(self._worst(subject, alone, before, 1)[0])
        return Findings(found, rows={f"{FORGET}_{SCORE}": worst})

    def _alone(self) -> Mapping[str, RowViews]:
        if not self.each or not isinstance(self.views, CodeViews) or len(self.views.transforms) == 1:
            return {}
        return {type(t).__name__: CodeViews([t], depth=(1, 1)) for t in self.views.transforms}

    def _worst(
        self, subject: Subject, views: RowViews, before: Sequence[float], steps: int
    ) -> tuple[list[float], list[float], int]:
        """Largest probability of every row, mean probability of every row's views, and rows without any."""
        rows, worst = _rows(subject), list(before)
        means: list[list[float]] = [[] for _ in rows]
        for step in range(steps):
            offered = self._offered(subject, views, rows, step)
            for index, scores in enumerate(self._scores(subject, offered)):
                means[index] += scores
                if scores and max(scores) > worst[index]:
                    worst[index] = max(scores)
                    rows[index] = offered[index][scores.index(worst[index])]
        tried = [mean(scores) if scores else start for scores, start in zip(means, before, strict=True)]
        return worst, tried, sum(not scores for scores in means)

    def _offered(
        self, subject: Subject, views: RowViews, rows: Sequence[EvaluationRow], step: int
    ) -> list[list[EvaluationRow]]:
        if self._gradient is None or views is not self.views:
            return [self._drawn(views, row, index, step, subject.seed) for index, row in enumerate(rows)]
        device = subject.device
        model, encoder = subject.build().to(device).eval(), subject.encoder
        rngs = [random.Random(stable_hash("attack", subject.seed, index)) for index in range(len(rows))]
        programs = [row for row in rows if isinstance(row, CodeCompletion)]
        return [self._gradient.views(row, model, encoder, device, rng) for row, rng in zip(programs, rngs, strict=True)]

    def _drawn(self, views: RowViews, row: EvaluationRow, index: int, step: int, seed: int) -> list[EvaluationRow]:
        return views.several(row, self.candidates, random.Random(stable_hash("attack", seed, step, index)))

    @staticmethod
    def _scores(subject: Subject, offered: Sequence[Sequence[EvaluationRow]]) -> list[list[float]]:
        """Probability of the answer of every view of every row."""
        flat = [without_options(view) for views in offered for view in views]
        if not flat:
            return [[] for _ in offered]
        scored = subject.score(subject.pretrained(), {FORGET: flat}, answers=False).per_example[FORGET][SCORE]
        values = iter([scored[index] for index in range(len(flat))])
        return [[next(values) for _ in views] for views in offered]


def _rows(subject: Subject) -> list[EvaluationRow]:
    """The evaluated forget rows, with all that views may read."""
    return list(subject.forget[: subject.data.max_eval_examples])
