"""MUSE's numbers against one text at a time in plain Python."""

import copy
import math
import os
import warnings
from contextlib import nullcontext
from itertools import product
from pathlib import Path

import pytest
import torch
from rouge_score.rouge_scorer import RougeScorer
from tokenizers.processors import TemplateProcessing

from tests import kit
from tests.callbacks import evaluated
from tests.callbacks.evaluated import Splits, long_model, trained_model
from tests.data.benchmarks.benchmark_folders import muse
from unlearn_pl.callbacks import MUSEEvaluation
from unlearn_pl.data import MUSEDataModule
from unlearn_pl.modules import PretrainedModule
from unlearn_pl.results import read_results

REAL = Path(os.environ.get("UNLEARN_PL_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")) / "muse_news"
VERBATIM, KNOWLEDGE = "verbmem_forget", ["knowmem_forget", "knowmem_retain"]
PRIVLEAK = ["privleak_forget", "privleak_holdout"]
ALL = [VERBATIM, *KNOWLEDGE, *PRIVLEAK]

pytestmark = pytest.mark.filterwarnings("ignore:privleak compares with chance")


def run(evaluation, splits=ALL, model=None, entry="test", **options):
    module = PretrainedModule(trained_model() if model is None else model, max_new_tokens=3)
    data = Splits(splits, **options)
    trainer = kit.trainer(callbacks=[evaluation], precision="64-true", limit_val_batches=1.0)
    return getattr(trainer, entry)(module, data, verbose=False)[0]


def ids_of(text: str) -> list[int]:
    return list(kit.tokenizer()(text)["input_ids"])


@pytest.fixture(scope="module")
def expected():
    """Metrics of the untouched conventions, with 12 and 6 new tokens."""
    model, scorer = trained_model(), RougeScorer(["rougeL"], use_stemmer=False)
    attacks = {
        split: [evaluated.token_scores(model, ids_of(row.text), 1) for row in evaluated.SPLITS[split]()]
        for split in PRIVLEAK
    }
    metrics = {}
    for attack in ("loss", "min_k", "min_k_plus_plus"):
        pairs = list(product(*([scores[attack] for scores in attacks[split]] for split in PRIVLEAK)))
        metrics[f"auc_{attack}"] = sum((a < b) + (a == b) / 2 for a, b in pairs) / len(pairs)
    metrics["privleak"] = 100 * (1 - 2 * metrics["auc_min_k"])
    recalled, rouge = [], []
    for row in evaluated.SPLITS[VERBATIM]():
        prompt = ids_of(row.text.rstrip(" "))
        recalled.append(evaluated.token_scores(model, ids_of(row.text + row.answer), len(prompt)))
        reference = kit.tokenizer().decode(ids_of(row.answer.strip())[:12])
        rouge.append(scorer.score(reference, evaluated.continued(model, prompt, 12))["rougeL"].fmeasure)
    for name in ("exact_memorization", "extraction_strength"):
        metrics[f"{VERBATIM}_{name}"] = sum(scores[name] for scores in recalled) / len(recalled)
    metrics[VERBATIM] = sum(rouge) / len(rouge)
    for split in KNOWLEDGE:
        values, extracted = [], []
        for row in evaluated.SPLITS[split]():
            text = evaluated.continued(model, ids_of(row.text), 6)
            for end in ("\n\n", "\nQuestion", "Question:"):
                text = text.split(end)[0]
            values.append(scorer.score(row.answer, text)["rougeL"].fmeasure)
            scores = evaluated.token_scores(model, ids_of(row.text + row.answer), len(ids_of(row.text)))
            extracted.append(scores["extraction_strength"])
        metrics[split] = sum(values) / len(values)
        metrics[f"{split}_extraction_strength"] = sum(extracted) / len(extracted)
    return metrics


@pytest.mark.parametrize("eval_batch_size", [1, 3])
def test_every_metric_by_its_formula(tmp_path, expected, eval_batch_size):
    evaluation = MUSEEvaluation(output=str(tmp_path / "a.json"), verbmem_tokens=12, knowmem_tokens=6)
    logged = run(evaluation, eval_batch_size=eval_batch_size)
    metrics = dict(evaluation.results.metrics)
    assert logged == {f"test/muse/{name}": value for name, value in metrics.items()}
    assert 0 <= metrics.pop("auc_zlib") <= 1
    for attack in ("loss", "zlib", "min_k", "min_k_plus_plus"):
        low, high = (metrics.pop(f"auc_{attack}_{end}") for end in ("low", "high"))
        assert 0 <= low <= evaluation.results.metrics[f"auc_{attack}"] <= high <= 1
    assert metrics == pytest.approx(expected, rel=1e-10)
    assert metrics["privleak"] < -50  # the model knows the members
    assert metrics["verbmem_forget_exact_memorization"] > 0.5
    read = read_results(tmp_path / "a.json")
    assert read == evaluation.results
    assert {split: set(table) for split, table in read.per_example.items()} == {
        VERBATIM: {"exact_memorization", "extraction_strength", "rouge"},
        **{split: {"rouge", "extraction_strength"} for split in KNOWLEDGE},
        **{split: {"loss", "zlib", "min_k", "min_k_plus_plus"} for split in PRIVLEAK},
    }
    assert [len(read.per_example[split]["min_k"]) for split in PRIVLEAK] == [5, 4]


def test_validation_is_cheap(expected):
    logged = run(MUSEEvaluation(), entry="validate")
    assert set(logged) == {f"val/muse/{name}" for name in [*expected, "auc_zlib"] if name not in (VERBATIM, *KNOWLEDGE)}
    assert logged["val/muse/privleak"] == pytest.approx(expected["privleak"], rel=1e-10)


def test_privleak_compares_with_the_retain_model(tmp_path):
    path = str(tmp_path / "retain.json")
    retain = MUSEEvaluation(output=path)
    run(retain, PRIVLEAK, model=kit.model(dtype=torch.float64))
    evaluation = MUSEEvaluation(path, output=str(tmp_path / "b.json"))
    run(evaluation, PRIVLEAK)
    mine, theirs = (results.results.metrics["auc_min_k"] for results in (evaluation, retain))
    assert 0 < theirs < 1
    assert evaluation.results.metrics["privleak"] == pytest.approx(100 * ((1 - mine) / (1 - theirs) - 1), rel=1e-12)
    assert 0 <= evaluation.results.metrics["privacy"] < 1
    with pytest.raises(ValueError, match="was made with compat=None"):
        run(MUSEEvaluation(path, compat="openunlearning"), PRIVLEAK)


def test_privleak_compares_with_a_published_auc(tmp_path):
    """The authors of MUSE publish 0.4772 for the News, which is 1 minus our AUC."""
    path = str(tmp_path / "a.json")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="privleak compares with chance")
        evaluation = MUSEEvaluation(output=path, retain_auc=1 - 0.4772)
        run(evaluation, PRIVLEAK)
    hidden = 1 - evaluation.results.metrics["auc_min_k"]
    assert evaluation.results.metrics["privleak"] == pytest.approx(100 * (hidden - 0.4772) / 0.4772, rel=1e-12)
    results = read_results(path)
    arguments = results.config["evaluation"]["init_args"]
    assert MUSEEvaluation.metrics_of(results.per_example, None, arguments)["privleak"] == pytest.approx(
        results.metrics["privleak"], rel=1e-12
    )
    for options, message in (
        ({"retain_auc": 52.28}, "retain_auc=52.28; accepted is an AUC, from 0 to 1"),
        ({"retain_auc": 0.5, "retain_results": path}, "retain_auc=0.5 and retain_results=.* are two; give one"),
    ):
        with pytest.raises(ValueError, match=message):
            MUSEEvaluation(**options)


def test_references_are_as_long_as_those_of_the_authors():
    """128 tokens include the one that the tokenizer begins every text with."""
    tokenizer = kit.tokenizer()
    plain, tokenizer = tokenizer, copy.deepcopy(tokenizer)
    eos = (tokenizer.eos_token, tokenizer.eos_token_id)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"{eos[0]} $A", special_tokens=[eos])
    text = evaluated.TEXTS[2]
    for used, length in ((plain, 6), (tokenizer, 5)):
        evaluation = MUSEEvaluation(verbmem_tokens=6)
        evaluation._tokenizer = used
        assert evaluation._beginning(text) == plain.decode(plain(text)["input_ids"][:length])
        assert evaluation._beginning("No.") == "No."


def test_prompts_of_other_conventions_are_told(tmp_path):
    folder = str(muse(tmp_path))
    options = {"path": folder, "splits": ["knowmem_forget"], "shots": 1, "max_eval_examples": 2}
    for compat in (None, "openunlearning"):
        evaluation = MUSEEvaluation(output=str(tmp_path / "a.json"), compat="openunlearning", knowmem_tokens=2)
        data = MUSEDataModule(kit.tokenizer(), compat=compat, **options)
        telling = pytest.warns(UserWarning, match="prompts end with 'Answer:' and not")
        with nullcontext() if compat else telling:
            kit.trainer(callbacks=[evaluation]).test(PretrainedModule(long_model()), data, verbose=False)


def test_openunlearning_has_other_conventions(tmp_path, expected):
    names = {"output": str(tmp_path / "a.json"), "verbmem_tokens": 12, "knowmem_tokens": 6}
    evaluation = MUSEEvaluation(compat="openunlearning", **names)
    run(evaluation)
    model, scorer = trained_model(), RougeScorer(["rougeL"], use_stemmer=True)
    rouge, matched = [], []
    for row in evaluated.SPLITS[VERBATIM]():
        prompt, whole = ids_of(row.text.rstrip(" ")), ids_of(row.text + row.answer)
        rouge.append(scorer.score(row.answer, evaluated.continued(model, prompt, 12))["rougeL"].fmeasure)
        matched.append(evaluated.token_scores(model, whole[:-1], len(prompt))["exact_memorization"])
    metrics = evaluation.results.metrics
    assert metrics[VERBATIM] == pytest.approx(sum(rouge) / 4, rel=1e-12)
    assert metrics[VERBATIM] != pytest.approx(expected[VERBATIM])
    assert metrics["verbmem_forget_exact_memorization"] == pytest.approx(sum(matched) / 4, rel=1e-12)


def test_wrong_retain_results_are_found_before_the_work(tmp_path):
    with pytest.raises(ValueError, match="There is no file"):
        run(MUSEEvaluation(str(tmp_path / "nowhere.json")))
    path = str(tmp_path / "some.json")
    run(MUSEEvaluation(output=path), [VERBATIM])
    with pytest.raises(ValueError, match="holds no membership scores of privleak_forget and privleak_holdout"):
        run(MUSEEvaluation(path))


def test_other_texts_are_refused(tmp_path, monkeypatch):
    path = str(tmp_path / "retain.json")
    run(MUSEEvaluation(output=path), PRIVLEAK)
    monkeypatch.setitem(evaluated.SPLITS, "privleak_holdout", evaluated.SPLITS["privleak_retain"])
    with pytest.raises(ValueError, match="about other privleak_holdout questions: 2 of the 2 that both have differ"):
        run(MUSEEvaluation(path), PRIVLEAK)


def test_nan_weights_give_nan_not_a_crash(tmp_path):
    model = trained_model()
    with torch.no_grad():
        model.lm_head.weight[5] = math.nan
    evaluation = MUSEEvaluation(output=str(tmp_path / "a.json"))
    run(evaluation, [*PRIVLEAK, VERBATIM], model=model)
    assert all(math.isnan(value) for name, value in evaluation.results.metrics.items() if name != VERBATIM)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compat": "muse"}, "compat must be None or 'openunlearning', but is 'muse'"),
        ({"verbmem_tokens": 0}, "verbmem_tokens=0 and knowmem_tokens=32 must be at least 1"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MUSEEvaluation(**options)


@pytest.mark.filterwarnings("ignore:privleak compares with chance")
def test_without_splits_of_the_benchmark_there_is_a_warning(tmp_path):
    with pytest.warns(UserWarning, match=r"MUSEEvaluation has nothing to evaluate among the dataloaders \['mmlu'"):
        run(MUSEEvaluation(output=str(tmp_path / "a.json")), ["mmlu"])


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the folder {REAL} with MUSE's files is missing")
def test_the_real_benchmark_runs_from_end_to_end(tmp_path):
    evaluation = MUSEEvaluation(output=str(tmp_path / "a.json"), verbmem_tokens=4, knowmem_tokens=4)
    data = MUSEDataModule(kit.tokenizer(), path=str(REAL), chunk_length=64, shots=1, max_eval_examples=3)
    kit.trainer(callbacks=[evaluation]).test(PretrainedModule(long_model()), data, verbose=False)
    assert {VERBATIM, *KNOWLEDGE, "privleak"} < set(evaluation.results.metrics)
    assert {
        split: len(table["rouge"]) for split, table in evaluation.results.per_example.items() if "rouge" in table
    } == dict.fromkeys((VERBATIM, *KNOWLEDGE), 3)
    assert set(evaluation.results.questions) == set(evaluation.results.per_example)
