"""Attack by views: the worst of several forms of every row."""

import math
import random
from statistics import mean

import pytest
import torch

from tests.robustness.subjects import subject
from unlearn_pl.code import Program, RenameLocal, RenameParameter, ReplaceBooleans, UnrollWhile
from unlearn_pl.code.words import fresh_words
from unlearn_pl.data import CodeViews, ParaphrasedQuestions, QuestionFrames, SyntheticFunctionsDataModule
from unlearn_pl.data.sampling import stable_hash
from unlearn_pl.models import save_pretrained, tiny_llama
from unlearn_pl.robustness import Subject, Unattacked, ViewAttack
from unlearn_pl.robustness.attacks.gradient_search import (
    GradientSearch,
    _named,
    onto_simplex,
    relaxed_log_probability,
)


@pytest.fixture(scope="module")
def code_subject(tmp_path_factory):
    folder = tmp_path_factory.mktemp("code")
    data = SyntheticFunctionsDataModule(forget_functions=4, retain_functions=2, eval_batch_size=8)
    model = tiny_llama(len(data.tokenizer), hidden_size=16, num_layers=1, num_heads=2, tie=False)
    save_pretrained(model, folder, data.tokenizer)
    return Subject(str(folder), data, max_new_tokens=4, accelerator="cpu", forget_split="forget")


def probability_of(given, row):
    """By the model's own loss, one row at a time."""
    (example,) = row.examples(given.encoder, "here")
    ids, labels = torch.tensor([example.input_ids]), torch.tensor([example.labels])
    with torch.no_grad():
        return math.exp(-given.build()(input_ids=ids, labels=labels).loss)


def test_the_worst_view_against_one_forward_each(code_subject):
    views = CodeViews([RenameLocal(), ReplaceBooleans()])
    found = ViewAttack(views, candidates=3, each=False).run(code_subject).after
    rows = code_subject.splits["forget"]
    clean = [probability_of(code_subject, row) for row in rows]
    offered = [views.several(row, 3, random.Random(stable_hash("attack", 0, 0, i))) for i, row in enumerate(rows)]
    tried = [[probability_of(code_subject, view) for view in of_row] for of_row in offered]
    worst = mean(max([start, *of_row]) for start, of_row in zip(clean, tried, strict=True))
    assert found["forget_probability"] == pytest.approx(worst, rel=1e-4)
    assert found["forget_probability_clean"] == pytest.approx(mean(clean), rel=1e-4)
    assert found["forget_probability_mean"] == pytest.approx(mean(map(mean, tried)), rel=1e-4)
    plain = Unattacked().run(code_subject).after
    assert found["forget_probability_clean"] == pytest.approx(plain["forget_probability"], rel=1e-4)


def test_every_transformation_alone(code_subject):
    views = CodeViews([RenameLocal(), UnrollWhile()])
    found = ViewAttack(views, candidates=2).run(code_subject).after
    for name in ("RenameLocal", "UnrollWhile"):
        assert found[f"forget_probability.{name}"] >= found["forget_probability_clean"]
    assert found["forget_probability"] >= found["forget_probability_mean"]


def test_a_greedy_search_finds_no_less_than_its_first_step(code_subject):
    views = CodeViews([RenameLocal()], (1, 1))
    one = ViewAttack(views, 2, "greedy", steps=1).run(code_subject).after["forget_probability"]
    three = ViewAttack(views, 2, "greedy", steps=3).run(code_subject).after["forget_probability"]
    assert three > one
    assert ViewAttack(views, 2).run(code_subject).after["forget_probability"] == one


def test_text(folder):
    given = subject(folder)
    for views in (QuestionFrames(), ParaphrasedQuestions()):
        found = ViewAttack(views, candidates=2).run(given).after
        assert found["forget_probability"] >= found["forget_probability_clean"] > 0
        assert found["forget_rows_without_views"] == 0


def test_rows_without_views_are_counted(code_subject):
    found = ViewAttack(CodeViews([UnrollWhile()], (1, 1)), candidates=2).run(code_subject).after
    loops = sum("while" in row.text for row in code_subject.splits["forget"])
    assert found["forget_rows_without_views"] == len(code_subject.splits["forget"]) - loops


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda given: ViewAttack(candidates=0), "candidates=0"),
        (lambda given: ViewAttack(steps=0), "steps=0"),
        (lambda given: ViewAttack(search="best"), "accepted: random, greedy, gradient"),
        (lambda given: ViewAttack(QuestionFrames()).check(given), "rows of kind CodeCompletion"),
    ],
)
def test_errors(code_subject, make, message):
    with pytest.raises(ValueError, match=message):
        make(code_subject)


# By gradients ---------------------------------------------------------------------------------------------------------


def named_views(given, row):
    """Every name of the first site."""
    program = Program.parse(row.program)
    site = RenameParameter().sites(program)[0]
    return _named(row, program, RenameParameter(), site, fresh_words(program.words), given.encoder)


def test_the_relaxation_is_exact_at_the_corners(code_subject):
    named = named_views(code_subject, code_subject.forget[0])
    assert len(named) > 2
    ids = torch.tensor([example.input_ids for _, example in named])
    labels = torch.tensor(named[0][1].labels)
    model = code_subject.build().eval()
    for number in (0, len(named) - 1):
        u = torch.nn.functional.one_hot(torch.tensor(number), len(named)).float()
        with torch.no_grad():
            found = relaxed_log_probability(model, u, ids, labels).exp().item()
        assert found == pytest.approx(probability_of(code_subject, named[number][0]), rel=1e-4)


def test_gradients_choose_better_names_than_chance(code_subject):
    """Against the probability of every name, by one forward each."""
    better = []
    for row in code_subject.forget:
        named = named_views(code_subject, row)
        chosen = GradientSearch([RenameParameter()], steps=3)._best(
            named, code_subject.build().eval(), torch.device("cpu")
        )
        all_of_them = [probability_of(code_subject, view) for view, _ in named]
        better.append(probability_of(code_subject, chosen) >= sorted(all_of_them)[len(all_of_them) // 2])
    assert all(better)


def test_the_attack_by_gradients(code_subject):
    attack = ViewAttack(CodeViews([RenameLocal(), RenameParameter()]), 4, "gradient", each=False)
    attack.check(code_subject)
    found, again = attack.run(code_subject).after, attack.run(code_subject).after
    assert found == again
    assert found["forget_probability"] > found["forget_probability_clean"]


def test_gradients_need_names(code_subject):
    for views in (QuestionFrames(), CodeViews([UnrollWhile()])):
        with pytest.raises(ValueError, match="search='gradient' chooses names"):
            ViewAttack(views, search="gradient")


def test_projection_onto_the_simplex():
    """Optimality: the projection is nearer than any other point of the simplex."""
    torch.manual_seed(0)
    for size in (1, 2, 5):
        point = 3 * torch.randn(size)
        projected = onto_simplex(point)
        assert projected.min() >= 0
        torch.testing.assert_close(projected.sum(), torch.tensor(1.0))
        others = torch.distributions.Dirichlet(torch.ones(size)).sample((500,)) if size > 1 else torch.ones(1, 1)
        assert (projected - point).norm() <= (others - point).norm(dim=-1).min() + 1e-6


def test_text_is_no_code(folder):
    with pytest.raises(ValueError, match="rows of kind Question"):
        ViewAttack().check(subject(folder))
