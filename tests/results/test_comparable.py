"""What may stand side by side, and which difference is named when it may not."""

import inspect
from dataclasses import replace

import pytest

from unlearn_pl.callbacks import LMEvaluation, TOFUEvaluation
from unlearn_pl.data import TOFUDataModule, UnlearningDataModule
from unlearn_pl.modules import FineTuning, LanguageModule, PretrainedModule
from unlearn_pl.results import Results, check_comparable
from unlearn_pl.results.comparable import DEFAULTS

EVALUATION = "unlearn_pl.callbacks.tofu.TOFUEvaluation"


def component(class_path: str, **init_args: object) -> dict[str, object]:
    return {"class_path": class_path, "init_args": init_args}


def config(evaluation: object = None, data: object = None, model: object = None) -> dict[str, object]:
    return {
        "model": model or component("unlearn_pl.modules.PretrainedModule", model="tiny"),
        "data": data or component("unlearn_pl.data.TOFUDataModule"),
        "evaluation": evaluation or component(EVALUATION, output="somewhere"),
    }


RESULTS = Results(
    benchmark="tofu",
    metrics={"forget_rouge": 0.5, "retain_rouge": 0.5},
    per_example={"forget": {"rouge": {0: 0.25, 7: 0.75}}, "retain": {"rouge": {0: 0.5}}},
    config=config(),
    config_hash="0" * 64,
    weights_fingerprint="f" * 64,
    model="tiny",
    questions={"forget": {0: "aa", 7: "bb"}, "retain": {0: "cc"}},
    versions={"unlearn_pl": "0.1.0"},
)


def test_other_models_seeds_and_batch_sizes_may_be_compared():
    other = replace(
        RESULTS,
        config=config(
            component(EVALUATION, output="elsewhere", retain_results="retain.json", truth_ratio_average="geometric"),
            component("mine.Data", eval_batch_size=2, path="here", template=None, max_length=512, truncate=False),
            component("unlearn_pl.modules.MOLLM", model="large", max_new_tokens=200),
        ),
        weights_fingerprint="e" * 64,
        seed=3,
        versions={"unlearn_pl": "0.1.0", "torch": "3"},
    )
    runs = {"one": RESULTS, "other": other, "third": RESULTS}
    assert check_comparable(runs, TOFUEvaluation.default_arguments()) == []
    with pytest.raises(ValueError, match="truth_ratio_average is 'the default' in one and 'geometric' in"):
        check_comparable(runs)


def test_arguments_that_do_not_change_numbers_are_those_that_the_class_names():
    one, two = (replace(RESULTS, config=config(component("E", batch_size=size))) for size in (1, 2))
    assert check_comparable({"one": one, "two": two}, {}, LMEvaluation.neutral_arguments) == []
    with pytest.raises(ValueError, match="batch_size is 1 in one and 2 in two"):
        check_comparable({"one": one, "two": two})


def test_a_class_that_was_moved_is_the_same_and_one_that_is_not_recorded_may_be():
    moved = replace(RESULTS, config=config(component("unlearn_pl.callbacks.benchmarks.tofu.TOFUEvaluation")))
    silent = replace(RESULTS, config=config({"init_args": {}}))
    assert check_comparable({"silent": silent, "one": RESULTS, "moved": moved}) == []
    other = replace(RESULTS, config=config(component("elsewhere.callbacks.TOFUEvaluation")))
    with pytest.raises(ValueError, match="one and other cannot be compared: the class of the evaluation"):
        check_comparable({"silent": silent, "one": RESULTS, "other": other})


def test_an_evaluation_of_an_earlier_version_is_the_same_evaluation():
    today = replace(RESULTS, config=config(component("unlearn_pl.callbacks.TOFUEvaluation")))
    assert check_comparable({"before": RESULTS, "after": today}) == []


def test_splits_and_scores_that_only_some_have_are_no_matter():
    fewer = replace(RESULTS, per_example={"forget": {"rouge": {7: 1.0, 0: 0.0}, "loss": {}}})
    fewer = replace(fewer, questions={"forget": RESULTS.questions["forget"]})
    more = replace(RESULTS, per_example={**RESULTS.per_example, "holdout": {"rouge": {5: 1.0}}})
    assert check_comparable({"one": RESULTS, "fewer": fewer, "more": more}) == []


def test_a_minor_version_and_unknown_questions_are_noted():
    other = replace(RESULTS, versions={"unlearn_pl": "0.2.0"}, questions={})
    notes = check_comparable({"one": RESULTS, "other": other})
    assert len(notes) == 2
    assert "0.1.0 in one, 0.2.0 in other" in notes[0]
    assert "not checked for other" in notes[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"benchmark": "muse"}, "the benchmark is 'tofu' in a and 'muse' in c"),
        ({"versions": {"unlearn_pl": "1.0.0"}}, "major version of unlearn_pl is '0' in a and '1' in c"),
        ({"versions": {}}, "c do not record which version"),
        ({"versions": 3}, "c do not record which version"),
        ({"config": 3}, "c do not record how they were made: no 'evaluation'"),
        ({"config": {"evaluation": component(EVALUATION)}}, "c do not record how they were made: no 'data'"),
        (
            {"config": config(component("mine.Evaluation"))},
            "class of the evaluation is .*TOFUEvaluation' in a and 'mine",
        ),
        (
            {"config": config(component(EVALUATION, truth_ratio_average="arithmetic"))},
            "evaluation.truth_ratio_average is 'geometric' in a and 'arithmetic' in c",
        ),
        ({"config": config(component(EVALUATION, shots=10))}, "evaluation.shots is 'the default' in a and 10 in c"),
        (
            {"config": config(data=component("D", template=component("Plain")))},
            "data.template is None in a and .*Plain",
        ),
        (
            {"config": config(data=component("D", truncate=True, max_length=8))},
            "questions are cut is None in a and 8 in",
        ),
        ({"config": config(model=component("M", max_new_tokens=20))}, "model.max_new_tokens is 200 in a and 20 in c"),
        ({"questions": {"forget": {0: "aa", 7: "xx"}}}, "1 of the 2 questions of the split 'forget' differ.* 7"),
        (
            {"questions": {"forget": {0: "aa"}}},
            "2 questions of the split 'forget' in a and 1 in c, of which 1 are in both",
        ),
        (
            {"per_example": {"forget": {"rouge": {0: 1.0, 8: 0.0}}}},
            "2 examples of forget/rouge in a and 2 in c, of which 1 are in both",
        ),
    ],
)
def test_what_differs_is_named_with_the_runs(change, message):
    with pytest.raises(ValueError, match=message):
        check_comparable(
            {"a": RESULTS, "b": RESULTS, "c": replace(RESULTS, **change)}, TOFUEvaluation.default_arguments()
        )


def test_two_runs_that_differ_are_found_behind_one_that_does_not_say():
    silent = replace(RESULTS, questions={})
    other = replace(RESULTS, questions={"forget": {0: "xx", 7: "bb"}})
    with pytest.raises(ValueError, match="b and c cannot be compared"):
        check_comparable({"a": silent, "b": RESULTS, "c": other})


@pytest.mark.parametrize("runs", [{}, {"a": RESULTS}])
def test_one_run_is_not_a_comparison(runs):
    with pytest.raises(ValueError, match="at least two runs"):
        check_comparable(runs)


def test_defaults_are_those_of_the_classes():
    classes = {
        "model": (LanguageModule, PretrainedModule, FineTuning),
        "data": (UnlearningDataModule, TOFUDataModule),
    }
    for section, defaults in DEFAULTS.items():
        merged: dict[str, object] = {}
        for cls in classes[section]:
            # The most derived class that names an argument decides.
            found = [inspect.signature(c.__init__).parameters for c in reversed(cls.__mro__)]
            ours = {name: p.default for parameters in found for name, p in parameters.items() if name in defaults}
            assert ours.items() <= defaults.items(), cls
            merged |= ours
        assert merged == defaults
