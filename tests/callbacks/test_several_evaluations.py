"""Several evaluations in one run: each asks for what it needs, none gets in the way of another."""

import copy

import pytest
import torch

from tests import kit
from tests.callbacks.evaluated import Splits, flat, trained_model
from unlearn_pl.callbacks import (
    EvaluationCallback,
    MUSEEvaluation,
    PreferenceEvaluation,
    TOFUEvaluation,
    WMDPEvaluation,
)
from unlearn_pl.metrics import ExactMemorization, RougeRecall
from unlearn_pl.modules import PretrainedModule
from unlearn_pl.report import compare_results
from unlearn_pl.results import evaluation_arguments, read_results

ALL = ["forget", "holdout", "verbmem_forget", "privleak_forget", "privleak_holdout", "wmdp_bio", "preference"]
MORE = ["retain", "knowmem_forget", "wikitext"]
EVALUATIONS = [TOFUEvaluation, MUSEEvaluation, WMDPEvaluation, PreferenceEvaluation]

pytestmark = [
    pytest.mark.filterwarnings("ignore:forget_quality is not computed"),
    pytest.mark.filterwarnings("ignore:model_utility is not computed"),
    pytest.mark.filterwarnings("ignore:privleak compares with chance"),
]


def evaluate(folder, *evaluations, splits=(), model=None, **options):
    module = PretrainedModule(model or trained_model(), max_new_tokens=3)
    trainer = kit.trainer(callbacks=list(evaluations), precision="64-true", default_root_dir=folder)
    trainer.test(module, Splits([*ALL, *splits], **options), verbose=False)
    return {evaluation.benchmark: evaluation.results for evaluation in evaluations}


def test_together_they_give_what_each_gives_alone(tmp_path):
    together = evaluate(tmp_path, *(evaluation() for evaluation in EVALUATIONS))
    for evaluation in EVALUATIONS:
        alone = evaluate(tmp_path / evaluation.benchmark, evaluation())[evaluation.benchmark]
        assert together[evaluation.benchmark].metrics == pytest.approx(alone.metrics, rel=1e-10)
        tables = (flat(results.per_example) for results in (together[evaluation.benchmark], alone))
        assert next(tables) == pytest.approx(next(tables), rel=1e-10)
        assert read_results(tmp_path / f"results_{evaluation.benchmark}.json") == together[evaluation.benchmark]
        assert read_results(tmp_path / evaluation.benchmark / "results.json") == alone
    assert not (tmp_path / "results.json").exists()


def test_a_pad_token_that_is_the_end_of_sequence_changes_nothing(tmp_path):
    same = copy.deepcopy(kit.tokenizer())
    assert same.pad_token_id != same.eos_token_id
    same.pad_token = same.eos_token
    separate, joined = (
        evaluate(tmp_path / name, *(evaluation() for evaluation in EVALUATIONS), tokenizer=tokenizer, eval_batch_size=7)
        for name, tokenizer in (("separate", kit.tokenizer()), ("joined", same))
    )
    for name, results in separate.items():
        assert joined[name].metrics == pytest.approx(results.metrics, rel=1e-10)
        assert flat(joined[name].per_example) == pytest.approx(flat(results.per_example), rel=1e-10)


def test_an_output_goes_before_the_name(tmp_path):
    evaluate(tmp_path, WMDPEvaluation(str(tmp_path / "mine.json")), PreferenceEvaluation())
    assert {path.name for path in tmp_path.glob("*.json")} == {"mine.json", "results_preference.json"}


def test_the_same_file_twice_is_refused_before_the_work(tmp_path):
    with pytest.raises(ValueError, match=r"Two evaluations write the same file: \['results_wmdp.json', 'results_wmdp"):
        evaluate(tmp_path, WMDPEvaluation(), WMDPEvaluation(level=0.5))
    same = str(tmp_path / "a.json")
    with pytest.raises(ValueError, match="Two evaluations write the same file"):
        evaluate(tmp_path, WMDPEvaluation(same), PreferenceEvaluation(same))
    assert not list(tmp_path.glob("*.json"))


def test_metrics_follow_from_the_scores_in_the_file_alone(tmp_path):
    retain = {e.benchmark: str(tmp_path / "retain" / f"results_{e.benchmark}.json") for e in EVALUATIONS}
    (tmp_path / "retain").mkdir()
    model = kit.model(dtype=torch.float64)
    evaluate(tmp_path / "retain", *(evaluation() for evaluation in EVALUATIONS), splits=MORE, model=model)
    made = [TOFUEvaluation(retain["tofu"]), MUSEEvaluation(retain["muse"]), WMDPEvaluation(), PreferenceEvaluation()]
    evaluate(tmp_path, *made, splits=MORE)
    for evaluation in made:
        results = read_results(tmp_path / f"results_{evaluation.benchmark}.json")
        arguments = evaluation_arguments(results)
        scores = evaluation.read_retain_scores(retain[evaluation.benchmark], arguments)
        found = type(evaluation).metrics_of(results.per_example, scores, arguments)
        reported = {m: value for m, value in results.metrics.items() if not m.endswith(("_low", "_high"))}
        assert found == pytest.approx(reported, rel=1e-12)
        alone = type(evaluation).metrics_of(results.per_example, None, arguments)
        changed = {metric for metric in found if alone.get(metric) != found[metric]}
        assert changed <= evaluation.against_retain
        assert bool(changed) == bool(evaluation.against_retain)
        assert type(evaluation).metrics_of({}) == {}


class Own(EvaluationCallback):
    """Says no more than it has to."""

    benchmark = "own"

    def make_metrics(self, loader):
        return {"rouge": RougeRecall()} if loader.endswith(".generate") else {"exact": ExactMemorization()}


def test_metrics_are_means_by_default(tmp_path):
    found = evaluate(tmp_path, Own())["own"]
    assert {score for table in found.per_example.values() for score in table} == {"rouge", "exact"}
    assert set(found.per_example["forget"]) == {"rouge", "exact"}
    table = found.per_example["forget"]["exact"]
    assert found.metrics["forget_exact"] == pytest.approx(sum(table.values()) / len(table), rel=1e-12)
    assert len(found.metrics) == sum(map(len, found.per_example.values()))
    compared = compare_results({"a": found, "b": found}, resamples=5)
    assert all(row["b"].interval == (0, 0) for row in compared.differences.values())
    assert compared.notes == []


class Renamed(TOFUEvaluation):
    """Has conventions that its arguments do not show."""

    def __init__(self, output: str) -> None:
        super().__init__(output=output, compat="openunlearning", truth_ratio_average="arithmetic")


def test_a_subclass_with_arguments_of_its_own_computes_what_its_base_does(tmp_path):
    base = TOFUEvaluation(None, str(tmp_path / "base.json"), "arithmetic", "openunlearning")
    first, own = evaluate(tmp_path, base)["tofu"], evaluate(tmp_path, Renamed(str(tmp_path / "own.json")))["tofu"]
    assert own.metrics == first.metrics
    compared = compare_results({"a": own, "b": own}, resamples=5)  # what does not follow without them is no error
    assert compared.values["forget_probability"]["a"].interval is not None
