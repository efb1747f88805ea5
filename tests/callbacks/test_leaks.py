"""leak@k in evaluations: from the sampled answers themselves, with intervals, and clear about bad input."""

import statistics
import warnings

import pytest

from tests import kit
from tests.callbacks.evaluated import Splits
from unlearn_pl.callbacks import Leaks, QAEvaluation, TOFUEvaluation
from unlearn_pl.callbacks.leaks.asked import asked_of
from unlearn_pl.commands.trainer import trainer_parser
from unlearn_pl.data import QuestionAnswers, TextDataModule
from unlearn_pl.metrics import JudgedLeak, LeakTest, RougeLeak
from unlearn_pl.modules import PretrainedModule
from unlearn_pl.report import compare_results

HEARD: list[tuple[str, str, str]] = []


def overhear(question: str, answer: str, truth: str) -> float:
    HEARD.append((question, answer, truth))
    return graded(answer)


def graded(answer: str) -> float:
    """A score that differs from answer to answer, unlike the recall of what a model of random weights says."""
    return len(answer) % 5 / 4


def run(evaluation, data=None, **options):
    module = PretrainedModule(kit.model(), max_new_tokens=6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kit.trainer(callbacks=[evaluation], **options).test(module, data or kit.Questions(), verbose=False)
    return evaluation.results


def test_metrics_follow_from_the_answers(tmp_path):
    HEARD.clear()
    leaks = Leaks(samples=3, test=JudgedLeak(overhear, threshold=1.0), ks=[1, 3])
    results = run(QAEvaluation(str(tmp_path / "results.json"), leaks))
    rows = {row["question"]: row["answer"] for row in kit.rows("Forget", 6)}
    assert {(question, truth) for question, _, truth in HEARD} == set(rows.items())
    scores = {q: [graded(a) for asked, a, _ in HEARD if asked == q] for q in rows}
    assert all(len(of) == 3 for of in scores.values())
    assert 0 < results.metrics["forget_leak_at_1"] < results.metrics["forget_leak_at_3"] < 1
    for index, of in enumerate(scores.values()):
        kept = {name: table[index] for name, table in results.per_example["forget"].items()}
        assert kept["leak_at_1"] == pytest.approx(of.count(1.0) / 3)
        assert kept["leak_at_3"] == float(max(of) == 1)
        assert kept["best_of_1"] == pytest.approx(statistics.fmean(of))
        assert kept["best_of_3"] == max(of)
    assert not [name for name in results.metrics if name.startswith("retain_leak")]
    assert QAEvaluation.direction("forget_leak_at_3") == TOFUEvaluation.direction("forget_leak_at_3") == "retain"
    assert QAEvaluation.direction("retain_best_of_3") == TOFUEvaluation.direction("retain_best_of_3") == "higher"


def test_the_batch_size_changes_nothing_and_the_seed_does(tmp_path):
    def tested(name, size, seed):
        evaluation = TOFUEvaluation(
            output=str(tmp_path / f"{name}.json"), leaks=Leaks(samples=4, test=RougeLeak(0.2), seed=seed)
        )
        return run(evaluation, Splits(["forget"], eval_batch_size=size))

    one, six, other = tested("one", 1, 0), tested("six", 6, 0), tested("other", 6, 1)
    names = [name for name in one.metrics if "leak_at" in name or "best_of" in name]
    assert names == [f"forget_{kind}_{k}" for kind in ("leak_at", "best_of") for k in (1, 2, 4)]
    assert {name: one.metrics[name] for name in names} == {name: six.metrics[name] for name in names}
    assert one.per_example["forget"]["best_of_1"] != other.per_example["forget"]["best_of_1"]
    comparison = compare_results({"one": one, "six": six}, {}, resamples=20)
    assert comparison.values["forget_best_of_4"]["one"].interval[0] < comparison.values["forget_best_of_4"]["one"].value


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"samples": 0}, "samples=0"),
        ({"samples": 4, "ks": [5]}, "numbers from 1 to 4"),
        ({"samples": 4, "ks": []}, "numbers from 1 to 4"),
        ({"splits": "forget"}, "list of names"),
        ({"temperature": 0}, "temperature=0"),
    ],
)
def test_bad_arguments_raise(arguments, says):
    with pytest.raises(ValueError, match=says):
        Leaks(**arguments)


def test_a_split_without_questions_raises_before_anything_is_computed():
    with pytest.raises(ValueError, match=r"no questions of the splits \['wikitext'\]; there are those of \['forget'\]"):
        run(TOFUEvaluation(leaks=Leaks(splits=["wikitext"])), Splits(["forget", "wikitext"]))


@pytest.mark.parametrize("span", ["Atlantis", "", " ", 5])
def test_a_named_span_must_be_in_the_answer(span):
    class Marked(kit.Questions):
        def load_splits(self):
            return {"forget": [row | {"span": span} for row in kit.rows("Forget", 2)]}

    with pytest.raises(ValueError, match=f"row 0 of the split 'forget': The span {span!r} is no part"):
        run(QAEvaluation(leaks=Leaks(samples=1)), Marked())


class Own(LeakTest):
    """A test of one's own that does what a function of the answers does."""

    def __init__(self, function) -> None:
        self.function = function

    def scores(self, asked, answers):
        return self.function(answers)


def fails(answers):
    raise KeyError("choices")


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (fails, "The leak test Own raised KeyError at 6 answers, the first of which is .*: 'choices'"),
        (lambda answers: [0.0], r"returned \[0.0\] for 6 answers"),
        (lambda answers: None, "returned None for 6 answers"),
        (lambda answers: [float("nan")] * len(answers), "returned nan for the answer"),
        (lambda answers: [2.0] * len(answers), r"returned 2\.0 for the answer .* a number from 0 to 1"),
        (lambda answers: ["leaks"] * len(answers), "returned 'leaks' for the answer"),
    ],
)
def test_a_leak_test_of_your_own_that_fails_is_named(function, says):
    with pytest.raises(ValueError, match=says):
        run(QAEvaluation(leaks=Leaks(samples=1, test=Own(function))))


def own_file(**columns) -> TextDataModule:
    rows = [{"q": "Who keeps the mill?", "a": "It is Maud of Tarn.", "entity": "Maud"}]
    source = QuestionAnswers(rows, question="q", answer="a", **columns)
    data = TextDataModule(kit.tokenizer(), forget=source, splits=["forget"])
    data.setup("test")
    return data


def test_spans_come_from_a_column_of_your_own_files():
    spans = [asked_of(own_file(**c).evaluation_rows("forget"), "forget")[0].span for c in ({"span": "entity"}, {})]
    assert spans == ["Maud", "Tarn"]  # by rule, the last of two runs that a function word divides
    with pytest.raises(ValueError, match="no column 'name'"):
        own_file(span="name")


YAML = """
trainer:
  callbacks:
    - class_path: QAEvaluation
      init_args:
        leaks:
          class_path: Leaks
          init_args:
            samples: 3
            test: {class_path: JudgedLeak, init_args: {judge: tests.callbacks.test_leaks.overhear}}
    - class_path: UDSEvaluation
      init_args: {full: runs/full, retain: {class_path: CausalLM, init_args: {name: runs/retain}}, splits: [forget]}
model: {class_path: PretrainedModule, init_args: {model: runs/unlearned}}
data: {class_path: SyntheticAuthorsDataModule}
"""


def test_yaml_names_tests_and_judges(tmp_path):
    (tmp_path / "proof.yaml").write_text(YAML)
    built = trainer_parser()
    config = built.parse_args(["test", "-c", str(tmp_path / "proof.yaml")], _skip_validation=True)
    questions, depth = built.instantiate_classes(config)["test"].trainer.callbacks
    assert isinstance(questions, QAEvaluation)
    assert questions.leaks.test.judge is overhear
    assert questions.leaks.ks == [1, 2, 3]
    assert (depth.full, depth.retain.name, depth.splits) == ("runs/full", "runs/retain", ["forget"])
