"""How the study of zeroth order chooses weights, sets its goal, and prints its tables."""

from types import SimpleNamespace

import torch

from experiments.studies.zeroth_order import language
from experiments.studies.zeroth_order.digit_arms import ARMS, BEFORE, FIRST_ORDER, goal_after, largest
from experiments.studies.zeroth_order.digits import CountingRuntime, DigitClassifier, network
from experiments.studies.zeroth_order.tables import print_digits, print_language, spread
from unlearn_pl.objectives import CausalLMLoss
from unlearn_pl.types import LanguageView


def trial(arm, seed, forget, **found):
    accuracies = {"forget": forget, "test, forgotten": forget, "test, others": 90.0}
    figures = {"after": accuracies, "relearned": accuracies, "rounded": accuracies, "moved": 1.0, "reached": True}
    return {"part": "digits", "arm": arm, "seed": seed, "passes": 1000.0, "steps": 10, **figures, **found}


def test_the_largest_scores_are_marked():
    marks = largest({"a": torch.tensor([1.0, 5.0]), "b": torch.tensor([[3.0], [0.0]])}, 2)
    assert marks["a"].tolist() == [False, True]
    assert marks["b"].tolist() == [[True], [False]]


def test_other_arms_are_to_come_within_two_points_of_first_order():
    assert goal_after(trial(FIRST_ORDER, 0, 5.5)) == 7.5
    assert goal_after(None) is None
    assert BEFORE not in ARMS
    assert next(iter(ARMS)) == FIRST_ORDER


def test_the_table_has_means_and_ranges_over_the_seeds(capsys):
    print_digits([trial("one", 0, 4.0), trial("one", 1, 6.0, reached=False), trial("two", 0, 1.0)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("| arm | seeds | reached | passes | steps | forget, train |")
    assert lines[3].startswith("| one | 2 | 1 | 1,000 | 10 | 5.0 (4.0 to 6.0) |")
    assert lines[4].startswith("| two | 1 | 1 | 1,000 | 10 | 1.0 | 1.0 | 90.0 |")
    assert spread([1.0, 1.0], 1) == "1.0"


def test_passes_are_counted_in_images():
    objectives = {"retain": CausalLMLoss()}
    model = network(0)
    runtime = CountingRuntime(
        model, torch.optim.SGD(model.parameters(), lr=0.1), objectives, DigitClassifier(torch.zeros(9, 10)), None, None
    )
    batch = {"image": torch.zeros(5, 196), "label": torch.zeros(5, dtype=torch.int64), "index": torch.arange(5)}
    view = runtime.view("retain", batch)
    assert isinstance(view, LanguageView)
    assert runtime.images == 5
    runtime.backward(objectives["retain"].loss(view), False)
    assert runtime.images == 15
    assert sum(p.numel() for p in model.parameters()) == 4978


def test_the_table_of_the_language_model_has_the_attacked_end_points(capsys):
    figures = {"forget": 0.04, "relearned": 0.5, "rounded": 0.041, "retain": 0.9, "rounded_retain": 0.89, "moved": 2.0}
    print_language([{"arm": "one", "seed": 40, "passes": 1500.0, "steps": 10, "reached": True, **figures}])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "| one | 1 | 1 | 1,500 | 10 | 0.040 | 0.900 | 2.000 | 0.500 | 0.041 | 0.890 |"


def test_runs_end_where_the_goals_were_measured_and_the_hybrid_in_zeroth_order():
    arm = language.ARMS["alternating 5 and 5"]
    assert not arm.source().at(arm.ends_every - 1).backpropagates
    assert arm.source().at(0).backpropagates
    for steps, ends in ((10, False), (11, True)):
        weights = torch.nn.Parameter(torch.zeros(2))
        descent = SimpleNamespace(goals=SimpleNamespace(reached=True))
        module = SimpleNamespace(windows_closed=steps, descent=descent, trained_parameters=[weights])
        trainer = SimpleNamespace(should_stop=False)
        callback = language.Ends(arm.ends_every)
        callback.on_train_batch_start(trainer, module, None, 0)
        weights.data += 1
        callback.on_train_batch_end(trainer, module, None, None, 0)
        assert trainer.should_stop == ends
        assert weights.tolist() == [float(not ends)] * 2  # the step after the look is undone
