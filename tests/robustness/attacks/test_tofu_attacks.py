"""TOFU's own files have what the attacks need."""

import os
from pathlib import Path

import pytest

from tests.robustness.subjects import make_folder, subject
from unlearn_pl.data import TOFUDataModule
from unlearn_pl.robustness import BenignNeighbours, FewShotPrompts, ParaphrasedPrompts, PrefixAttack, ShortestFraction

REAL = Path(os.environ.get("UNLEARN_PL_DATA", Path(__file__).parents[3] / ".." / "shared" / "data")) / "tofu"
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason=f"TOFU's files are not in {REAL} (UNLEARN_PL_DATA)")


def test_every_prompt_attack_can_be_made_of_tofu(tmp_path):
    given = subject(make_folder(tmp_path, context=1024), data=TOFUDataModule(path=str(REAL), forget_split="forget01"))
    given.check()
    assert len(given.forget) == 40
    rows = {}
    for attack in (ParaphrasedPrompts(), FewShotPrompts(2), PrefixAttack(tokens=2)):
        attack.check(given)
        rows[attack.name] = attack.rows(given)
        assert len(rows[attack.name]) == 40
    paraphrased = [row.row["question"] for row in rows["ParaphrasedPrompts (data set)"]]
    assert sum(text != row.row["question"] for text, row in zip(paraphrased, given.forget, strict=True)) > 35


def test_relearning_sets_choose_rows_of_tofu(folder):
    given = subject(folder, data=TOFUDataModule(path=str(REAL), forget_split="forget01", max_eval_examples=5))
    shortest = ShortestFraction(0.2).select(given)
    lengths = [len(row.expected()) for row in given.forget]
    assert len(shortest.shown) == 8  # the limit is one of evaluation
    assert max(lengths[i] for i in shortest.shown) < sorted(lengths)[20]
    benign = BenignNeighbours(0.2).select(given)
    forgotten = {row.row["question"] for row in given.forget}
    assert len(benign.stream) == 8
    assert not forgotten & {row["question"] for row in benign.stream}
