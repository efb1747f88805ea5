"""Answers that ``test`` generates anyway are kept if asked for, with their questions."""

import json

import pytest

from tests import kit
from unlearn_pl.callbacks import QAEvaluation, SavePredictions
from unlearn_pl.modules import PretrainedModule

pytestmark = pytest.mark.filterwarnings("ignore:.*no split")


@pytest.mark.parametrize("in_test", [True, False])
def test_answers_of_test_are_written_if_asked_for(tmp_path, in_test):
    answers = SavePredictions(str(tmp_path / "answers.jsonl"), in_test=in_test)
    evaluation = QAEvaluation(output=str(tmp_path / "results.json"))
    data = kit.Questions(batch_size=8, micro_batch_size=8)
    kit.trainer(callbacks=[evaluation, answers]).test(
        PretrainedModule(kit.model(), max_new_tokens=2), data, verbose=False
    )
    assert (tmp_path / "answers.jsonl").exists() is in_test
    if in_test:
        lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
        assert {(line["split"], line["index"]) for line in lines} == {
            (split, i) for split, table in evaluation.results.per_example.items() for i in table["rouge"]
        }
        asked = {split: [row.asked() for row in data.evaluation_rows(split)] for split in ("forget", "retain")}
        assert all(line["question"] == asked[line["split"]][line["index"]] for line in lines)
        assert all(list(line) == ["split", "index", "question", "answer", "prediction"] for line in lines)


def test_a_folder_that_cannot_be_written_to_is_found_before_the_test():
    answers = SavePredictions("/proc/nowhere/answers.jsonl", in_test=True)
    data = kit.Questions(batch_size=8, micro_batch_size=8)
    with pytest.raises(ValueError, match=r"SavePredictions: .* cannot be written to"):
        kit.trainer(callbacks=[answers]).test(PretrainedModule(kit.model()), data, verbose=False)
