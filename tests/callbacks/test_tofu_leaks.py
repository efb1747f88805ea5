"""Memorization and PrivLeak beside TOFU's metrics, from the same forward, against one answer at a time."""

from itertools import product

import pytest
import torch

from tests import kit
from tests.callbacks import evaluated
from tests.callbacks.evaluated import Splits, trained_model
from unlearn_pl.callbacks import TOFUEvaluation
from unlearn_pl.data import default_template, encode
from unlearn_pl.modules import PretrainedModule
from unlearn_pl.results import read_results

ALL = ["forget", "retain", "holdout"]
ATTACKS = {"loss", "zlib", "min_k", "min_k_plus_plus"}

pytestmark = [
    pytest.mark.filterwarnings("ignore:forget_quality is not computed"),
    pytest.mark.filterwarnings("ignore:model_utility is not computed"),
    pytest.mark.filterwarnings("ignore:privleak compares with chance"),
]


class Counting(PretrainedModule):
    """Counts its forwards."""

    forwards = 0

    def evaluate(self, batch, request):
        outputs = super().evaluate(batch, request)
        self.forwards += outputs is not None
        return outputs


def run(evaluation, splits=ALL, entry="test", model=None, **options):
    module = Counting(trained_model() if model is None else model, max_new_tokens=3)
    trainer = kit.trainer(callbacks=[evaluation], precision="64-true", limit_val_batches=1.0)
    return getattr(trainer, entry)(module, Splits(splits, **options), verbose=False)[0], module


def answer_scores(split: str, drop_last: bool = False) -> list[dict[str, float]]:
    tokenizer, scores = kit.tokenizer(), []
    for row in evaluated.SPLITS[split]():
        example = encode(tokenizer, default_template(tokenizer), row["question"], row["answer"])
        ids = example.input_ids[:-1] if drop_last else example.input_ids
        scores.append(evaluated.token_scores(trained_model(), ids, example.prompt_length))
    return scores


def mean(scores: list[dict[str, float]], name: str) -> float:
    return sum(score[name] for score in scores) / len(scores)


def area(members: list[dict[str, float]], others: list[dict[str, float]], attack: str) -> float:
    pairs = [(a[attack], b[attack]) for a, b in product(members, others)]
    return sum((a < b) + (a == b) / 2 for a, b in pairs) / len(pairs)


@pytest.fixture(scope="module")
def expected():
    scores = {split: answer_scores(split) for split in ALL}
    metrics = {
        f"{split}_{name}": mean(scores[split], name)
        for split in ALL
        for name in ("exact_memorization", "extraction_strength")
    }
    for attack in ("loss", "min_k", "min_k_plus_plus"):
        metrics[f"auc_{attack}"] = area(scores["forget"], scores["holdout"], attack)
    return metrics | {"privleak": 100 * (1 - 2 * metrics["auc_min_k"])}


@pytest.mark.parametrize("eval_batch_size", [1, 5])
@pytest.mark.parametrize("entry", ["validate", "test"])
def test_leaks_by_their_formulas(tmp_path, expected, entry, eval_batch_size):
    evaluation = TOFUEvaluation(output=str(tmp_path / "a.json"))
    logged, _ = run(evaluation, entry=entry, eval_batch_size=eval_batch_size)
    prefix = "val" if entry == "validate" else "test"
    for name, value in expected.items():
        assert logged[f"{prefix}/tofu/{name}"] == pytest.approx(value, rel=1e-10)
    names = {name.removeprefix(f"{prefix}/tofu/") for name in logged}
    assert not {name for name in names if name.endswith(tuple(ATTACKS))} - {f"auc_{attack}" for attack in ATTACKS}
    if entry == "test":
        table = read_results(tmp_path / "a.json").per_example
        memorized = {"exact_memorization", "extraction_strength"}
        paraphrased = {"paraphrase_probability", "truth_share"}
        own = {"probability", "truth_ratio", "rouge", "fluency"}
        assert set(table["forget"]) == memorized | ATTACKS | paraphrased | own
        assert set(table["retain"]) == memorized | {"probability", "truth_ratio", "rouge"}
        assert set(table["holdout"]) == memorized | ATTACKS


def test_without_a_holdout_split_nothing_is_attacked(expected):
    logged, module = run(TOFUEvaluation(), ["forget", "retain"], entry="validate", eval_batch_size=100)
    assert not [name for name in logged if "auc" in name or "privleak" in name]
    assert logged["val/tofu/forget_extraction_strength"] == pytest.approx(expected["forget_extraction_strength"])
    assert module.forwards == 2  # one batch of each split, whatever the number of metrics


def test_privleak_compares_with_the_retain_model(tmp_path):
    path = str(tmp_path / "retain.json")
    retain, evaluation = TOFUEvaluation(output=path), TOFUEvaluation(path, output=str(tmp_path / "b.json"))
    run(retain, model=kit.model(dtype=torch.float64))
    run(evaluation)
    mine, theirs = (results.results.metrics["auc_min_k"] for results in (evaluation, retain))
    assert evaluation.results.metrics["privleak"] == pytest.approx(100 * ((1 - mine) / (1 - theirs) - 1), rel=1e-12)
    assert "privacy" in evaluation.results.metrics
    with pytest.raises(ValueError, match="was made with compat=None, but compat='openunlearning' was requested"):
        run(TOFUEvaluation(path, compat="openunlearning"))


def test_privleak_compares_with_a_published_auc(tmp_path):
    path = str(tmp_path / "retain.json")
    run(TOFUEvaluation(output=path))
    evaluation = TOFUEvaluation(output=str(tmp_path / "b.json"), retain_auc=0.4)
    run(evaluation)
    hidden = 1 - evaluation.results.metrics["auc_min_k"]
    assert evaluation.results.metrics["privleak"] == pytest.approx(100 * (hidden / 0.6 - 1), rel=1e-12)
    with pytest.raises(ValueError, match="retain_auc=-1; accepted is an AUC"):
        TOFUEvaluation(retain_auc=-1)
    with pytest.raises(ValueError, match=r"retain_auc=0.4 and retain_results=.* are two"):
        run(TOFUEvaluation(path, retain_auc=0.4))


def test_openunlearning_leaves_out_the_last_label(expected):
    logged, _ = run(TOFUEvaluation(compat="openunlearning"), entry="validate")
    scores = answer_scores("forget", drop_last=True)
    found = logged["val/tofu/forget_exact_memorization"]
    assert found == pytest.approx(mean(scores, "exact_memorization"), rel=1e-10)
    assert found != pytest.approx(expected["forget_exact_memorization"])
    aucs = area(scores, answer_scores("holdout", drop_last=True), "min_k")
    assert logged["val/tofu/auc_min_k"] == pytest.approx(aucs, rel=1e-10)


def test_other_holdout_questions_are_refused(tmp_path, monkeypatch):
    path = str(tmp_path / "retain.json")
    run(TOFUEvaluation(output=path))
    monkeypatch.setitem(evaluated.SPLITS, "holdout", evaluated.SPLITS["normal"])
    with pytest.raises(ValueError, match="is about other holdout questions: 4 of the 4 that both have differ"):
        run(TOFUEvaluation(path))
