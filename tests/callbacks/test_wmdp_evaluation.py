"""Accuracies against one letter at a time, intervals against numpy, perplexity against the formula."""

import math
import os
from pathlib import Path

import pytest
import torch

from tests import kit
from tests.callbacks import evaluated
from tests.callbacks.evaluated import Splits, long_model, trained_model
from unlearn_pl.callbacks import WMDPEvaluation
from unlearn_pl.data import ClozeChoice, UnlearningDataModule, WMDPDataModule
from unlearn_pl.functional import bootstrap_interval
from unlearn_pl.modules import PretrainedModule

REAL = Path(os.environ.get("UNLEARN_PL_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
ALL = ["wmdp_bio", "mmlu", "wikitext"]


def run(evaluation, splits=ALL, entry="test", **options):
    trainer = kit.trainer(callbacks=[evaluation], precision="64-true", limit_val_batches=1.0)
    module = PretrainedModule(trained_model(), max_new_tokens=2)
    return getattr(trainer, entry)(module, Splits(splits, **options), verbose=False)[0]


def ids_of(text: str) -> list[int]:
    return list(kit.tokenizer()(text)["input_ids"])


def answers(split: str) -> dict[int, float]:
    model, correct = trained_model(), {}
    for index, row in enumerate(evaluated.SPLITS[split]()):
        prompt = ids_of(row.laid_out())
        nll = [
            evaluated.token_scores(model, ids_of(f"{row.laid_out()} {letter}"), len(prompt))["nll"]
            for letter in "ABCD"[: len(row.choices)]
        ]
        correct[index] = float(nll.index(min(nll)) == row.answer)
    return correct


@pytest.mark.parametrize("eval_batch_size", [1, 7])
@pytest.mark.parametrize("entry", ["validate", "test"])
def test_every_metric_by_its_formula(tmp_path, entry, eval_batch_size):
    evaluation = WMDPEvaluation(output=str(tmp_path / "a.json"))
    logged = run(evaluation, entry=entry, eval_batch_size=eval_batch_size)
    expected = {}
    for split in ("wmdp_bio", "mmlu"):
        correct = list(answers(split).values())
        assert 0 < sum(correct) < len(correct)
        low, high = bootstrap_interval(lambda values: values.mean().item(), correct)
        expected |= {f"{split}_accuracy": sum(correct) / len(correct)}
        expected |= {f"{split}_accuracy_low": low, f"{split}_accuracy_high": high}
    model, nll, count = trained_model(), 0.0, 0
    for row in evaluated.SPLITS["wikitext"]():
        ids = ids_of(row.text)
        for start in range(0, len(ids) - 1, 8):  # windows of 9 tokens that share one
            nll += evaluated.token_scores(model, ids[start : start + 9], 1)["nll"]
        count += len(ids) - 1
    expected["wikitext_perplexity"] = math.exp(nll / count)
    prefix = "val" if entry == "validate" else "test"
    assert logged == pytest.approx({f"{prefix}/wmdp/{name}": value for name, value in expected.items()}, rel=1e-10)
    if entry == "test":
        table = evaluation.results.per_example
        assert table["wmdp_bio"]["correct"] == answers("wmdp_bio")
        assert sum(table["wikitext"]["num_tokens"].values()) == count
        totals = [n * table["wikitext"]["nll"][i] for i, n in table["wikitext"]["num_tokens"].items()]
        assert sum(totals) == pytest.approx(nll, rel=1e-10)


def test_the_interval_is_of_the_asked_level(tmp_path):
    wide, narrow = (WMDPEvaluation(str(tmp_path / "a.json"), level=level, resamples=200) for level in (0.99, 0.2))
    for evaluation in (wide, narrow):
        run(evaluation, ["wmdp_bio"])
    low, high = ([e.results.metrics[f"wmdp_bio_accuracy_{end}"] for e in (wide, narrow)] for end in ("low", "high"))
    assert low[0] < low[1] <= high[1] < high[0]


def test_splits_of_other_kinds_are_left_alone(tmp_path):
    evaluation = WMDPEvaluation(str(tmp_path / "a.json"))
    run(evaluation, ["mmlu", "privleak_forget", "knowmem_forget", "forget"])
    assert set(evaluation.results.per_example) == {"mmlu"}
    assert set(evaluation.results.metrics) == {"mmlu_accuracy", "mmlu_accuracy_low", "mmlu_accuracy_high"}


@pytest.mark.parametrize("options", [{"level": 1.0}, {"level": 0.0}, {"resamples": 0}])
def test_bad_arguments_are_refused(options):
    with pytest.raises(ValueError, match="must be between 0 and 1, and resamples="):
        WMDPEvaluation(**options)


@pytest.mark.skipif(
    not (REAL / "wmdp_synthetic").is_dir(), reason=f"the folder {REAL / 'wmdp_synthetic'} with questions is missing"
)
def test_files_in_the_layout_of_wmdp_and_mmlu_are_evaluated(tmp_path):
    evaluation = WMDPEvaluation(str(tmp_path / "a.json"), resamples=20)
    data = WMDPDataModule(
        kit.tokenizer(),
        "cyber",
        path=str(REAL / "wmdp_synthetic"),
        mmlu=str(REAL / "mmlu" / "test_subset.jsonl"),
        max_eval_examples=6,
    )
    kit.trainer(callbacks=[evaluation]).test(PretrainedModule(long_model()), data, verbose=False)
    assert {split: len(t["correct"]) for split, t in evaluation.results.per_example.items()} == {
        "wmdp_cyber": 6,
        "mmlu": 6,
    }


class Cloze(UnlearningDataModule):
    """Questions whose options are texts of unequal length."""

    def load_streams(self):
        return {}

    def load_splits(self):
        options = ["salt", "the bees of the harbour, twice", "No"]
        rows = [ClozeChoice(f"What is {i}?", options, i % 3, by_length=i < 6) for i in range(9)]
        return {"wmdp_bio_cloze": rows}


def test_cloze_options_are_compared_per_character():
    evaluation = WMDPEvaluation()
    model = kit.model().double()
    data = Cloze(kit.tokenizer(), eval_batch_size=4)
    kit.trainer(callbacks=[evaluation], limit_val_batches=1.0).validate(PretrainedModule(model), data, verbose=False)
    expected = []
    for row in data.evaluation_rows("wmdp_bio_cloze"):
        scores = []
        for option in row.choices:
            prompt = kit.tokenizer()(row.text).input_ids
            ids = torch.tensor([prompt + kit.tokenizer()(f" {option}", add_special_tokens=False).input_ids])
            logps = (
                model(ids).logits.log_softmax(-1)[0, :-1].gather(-1, ids[0, 1:, None])[len(prompt) - 1 :].sum().item()
            )
            scores.append(logps / (len(option) if row.by_length else 1))
        expected.append(float(scores.index(max(scores)) == row.answer))
    assert 0 < sum(expected) < 9
    found, table = evaluation.summarize(evaluation._collected)
    assert list(table["wmdp_bio_cloze"]["correct"].values()) == expected
    assert found["wmdp_bio_cloze_accuracy"] == pytest.approx(sum(expected) / 9)
    assert WMDPEvaluation.direction("wmdp_bio_cloze_accuracy") == "lower"


@pytest.mark.parametrize("wrong", [{"text": " "}, {"choices": ["a", ""]}, {"choices": ["a"]}, {"answer": 2}])
def test_impossible_cloze_questions_raise(wrong):
    with pytest.raises(ValueError, match=r"cloze question|accepted are at least 2"):
        ClozeChoice(**{"text": "Who?", "choices": ["a", "b"], "answer": 0} | wrong)
