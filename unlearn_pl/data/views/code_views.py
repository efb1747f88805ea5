"""Views of programs: other programs with the same behavior."""

import random
from collections.abc import Sequence

from unlearn_pl.code import TRANSFORMS, CodeTransform
from unlearn_pl.data.evaluation.code_completion import CodeCompletion
from unlearn_pl.data.evaluation.evaluation_row import EvaluationRow
from unlearn_pl.data.views.row_views import RowViews, check_kind


class CodeViews(RowViews):
    """Applies several transformations to the program that a row is a part of.

    Args:
        transforms: what is drawn from; all of :data:`unlearn_pl.code.TRANSFORMS` by default.
        depth: smallest and largest number of transformations, one after another.

    Raises:
        ValueError: if there are no transformations, or ``depth`` is not a range of positive numbers.
    """

    def __init__(self, transforms: Sequence[CodeTransform] | None = None, depth: Sequence[int] = (1, 3)) -> None:
        self.transforms = [transform() for transform in TRANSFORMS] if transforms is None else list(transforms)
        if not self.transforms:
            raise ValueError("transforms=[] leaves nothing to apply. Accepted: at least one, such as RenameLocal().")
        if len(depth) != 2 or not 1 <= depth[0] <= depth[1]:
            raise ValueError(f"depth={depth}; accepted are a smallest and a largest positive number, such as [1, 3].")
        self.depth = depth

    @property
    def name(self) -> str:
        """The transformation, if there is only one."""
        return type(self.transforms[0]).__name__ if len(self.transforms) == 1 else type(self).__name__

    def check(self, rows: Sequence[EvaluationRow]) -> None:
        """Check that the rows are parts of programs."""
        check_kind(rows, CodeCompletion, self, "rows of CodeDataModule or SyntheticFunctionsDataModule")

    def view(self, row: EvaluationRow, rng: random.Random) -> EvaluationRow | None:
        """The same part of a program with the same behavior."""
        assert isinstance(row, CodeCompletion)
        program = row.program
        for transform in rng.choices(self.transforms, k=rng.randint(*self.depth)):
            program = transform.apply(program, rng) or program
        return row.within(program)
