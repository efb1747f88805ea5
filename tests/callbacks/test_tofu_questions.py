"""Forget quality compares two models on the same questions, or not at all."""

import pytest

from tests import kit
from unlearn_pl.callbacks import TOFUEvaluation
from unlearn_pl.data import SyntheticAuthorsDataModule
from unlearn_pl.models import tiny_llama
from unlearn_pl.modules import PretrainedModule
from unlearn_pl.results import read_results


def authors(facts_seed: int, **options) -> SyntheticAuthorsDataModule:
    sizes = dict.fromkeys(("forget_authors", "retain_authors", "holdout_authors"), 1)
    return SyntheticAuthorsDataModule(facts_seed=facts_seed, splits=["forget"], **sizes, **options)


@pytest.mark.filterwarnings("ignore:forget_quality", "ignore:model_utility")
def test_results_about_other_authors_are_refused(tmp_path):
    data = authors(0)
    module = PretrainedModule(tiny_llama(len(data.tokenizer), hidden_size=32, num_layers=1), max_new_tokens=2)
    path = str(tmp_path / "retain.json")
    kit.trainer(callbacks=[TOFUEvaluation(output=path)]).test(module, data, verbose=False)
    assert len(read_results(path).questions["forget"]) == 10

    same = TOFUEvaluation(path, output=str(tmp_path / "same.json"))
    kit.trainer(callbacks=[same]).test(module, authors(0), verbose=False)
    assert same.results.metrics["forget_quality"] == 1.0

    other = authors(7)
    with pytest.raises(ValueError, match="is about other forget questions: 10 of the 10 that both have differ"):
        kit.trainer(callbacks=[TOFUEvaluation(path)]).test(module, other, verbose=False)
