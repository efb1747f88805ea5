"""Margins against one answer at a time, refusals against the texts that were generated."""

import math

import pytest
import torch

from tests import kit
from tests.callbacks import evaluated
from tests.callbacks.evaluated import Splits, trained_model
from unlearn_pl.callbacks import PreferenceEvaluation
from unlearn_pl.data import default_template, encode
from unlearn_pl.modules import PretrainedModule

ALL = ["forget", "retain", "preference", "normal"]


class Refusing(PretrainedModule):
    """Declines every second prompt of the forget split, and answers the others."""

    def evaluate(self, batch, request):
        if "prompt_ids" not in batch:
            return super().evaluate(batch, request)
        text = ["I'm sorry, but I cannot help." if i % 2 else "Stir for an hour." for i in batch["index"].tolist()]
        return {"index": batch["index"], "text": text}


def run(evaluation, entry="test", splits=ALL, **options):
    trainer = kit.trainer(callbacks=[evaluation], precision="64-true", limit_val_batches=1.0)
    return getattr(trainer, entry)(Refusing(trained_model()), Splits(splits, **options), verbose=False)[0]


def per_token(question: str, answer: str) -> float:
    tokenizer = kit.tokenizer()
    example = encode(tokenizer, default_template(tokenizer), question, answer)
    return -evaluated.token_scores(trained_model(), example.input_ids, example.prompt_length)["loss"]


@pytest.fixture(scope="module")
def expected():
    rows = evaluated.SPLITS["preference"]()
    margins = [per_token(r["question"], r["answer"]) - per_token(r["question"], r["perturbed_answer"][0]) for r in rows]
    assert min(margins) < 0 < max(margins)
    metrics = {"preference_margin": sum(margins) / len(margins)}
    metrics["preference_accuracy"] = sum(m > 0 for m in margins) / len(margins)
    for split in ("forget", "retain", "normal"):
        made = [math.exp(per_token(r["question"], r["answer"])) for r in evaluated.SPLITS[split]()]
        metrics[f"{split}_probability"] = sum(made) / len(made)
    return metrics


@pytest.mark.parametrize("eval_batch_size", [1, 4])
def test_every_metric_by_its_formula(tmp_path, expected, eval_batch_size):
    evaluation = PreferenceEvaluation(str(tmp_path / "a.json"))
    logged = run(evaluation, eval_batch_size=eval_batch_size)
    rates = {"forget_refusal_rate": 3 / 7, "retain_refusal_rate": 2 / 5, "normal_refusal_rate": 1 / 2}
    assert logged == pytest.approx({f"test/preference/{n}": v for n, v in (expected | rates).items()}, rel=1e-10)
    table = evaluation.results.per_example
    assert table["forget"]["refusal"] == {i: float(i % 2) for i in range(7)}
    assert set(table["preference"]) == {"margin", "preferred"}
    assert set(table["forget"]) == {"probability", "refusal"}


def test_validation_generates_nothing(expected):
    logged = run(PreferenceEvaluation(), "validate")
    assert logged == pytest.approx({f"val/preference/{n}": v for n, v in expected.items()}, rel=1e-10)


def test_ties_count_half_and_nan_stays(tmp_path):
    from unlearn_pl.metrics import CandidateNLL

    kept = CandidateNLL()
    nll = torch.tensor([1.0, 2.0, 3.0, 3.0, math.nan, 1.0, 5.0])
    index, choice = torch.tensor([0, 0, 1, 1, 2, 2, 3]), torch.tensor([0, 2, 0, 2, 0, 2, 0])
    kept.update(index, choice, nll, torch.ones(7))
    metrics, table = PreferenceEvaluation().summarize({"preference": {"candidates": kept}})
    assert {i: v for i, v in table["preference"]["preferred"].items() if i < 2} == {0: 1.0, 1: 0.5}
    assert math.isnan(table["preference"]["preferred"][2])
    assert 3 not in table["preference"]["margin"]  # it has no rejected answer
    assert math.isnan(metrics["preference_margin"])
