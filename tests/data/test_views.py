"""Views of rows, and streams of the worst of several."""

import random
from dataclasses import replace

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from tests import kit
from unlearn_pl.code import RenameLocal, ReplaceBooleans
from unlearn_pl.combiners import MinNorm
from unlearn_pl.data import (
    CodeCompletion,
    CodeDataModule,
    CodeViews,
    Completion,
    ParaphrasedQuestions,
    QuestionFrames,
    StaggeredViews,
    SyntheticAuthorsDataModule,
    SyntheticFunctionsDataModule,
)
from unlearn_pl.data.evaluation.evaluation_row import Question
from unlearn_pl.data.streams.exclusion import PickedDataset
from unlearn_pl.masking import masked
from unlearn_pl.models import tiny_llama
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, ContrastiveLoss, UnlearningCrossEntropyLoss
from unlearn_pl.recording import record
from unlearn_pl.references import CachedReference
from unlearn_pl.types import parse_needs

SECRET = CodeCompletion('def f(a):\n    b = True\n    key = "', "x7", rest='"\n    return a, b, key\n')


def test_a_view_shows_the_secret_in_another_program():
    view = CodeViews([RenameLocal()], depth=(1, 1)).view(SECRET, random.Random(0))
    assert isinstance(view, CodeCompletion)
    assert (view.answer, view.program == SECRET.program, view.program.count("x7")) == ("x7", False, 1)


@pytest.mark.parametrize(
    "program",
    ["key = 'x7 x7'", SECRET.program, SECRET.program + "# later\n", "no answer"],
    ids=["twice", "unchanged", "changed behind the answer", "gone"],
)
def test_what_is_no_view(program):
    assert SECRET.within(program) is None


def test_all_of_a_function_may_change():
    row = CodeCompletion("def f(a):\n", "    b = a\n    return b\n")
    view = row.within("def f(c):\n    b = c\n    return b\n")
    assert view == CodeCompletion("def f(c):\n", "    b = c\n    return b\n")


def test_several_views_differ():
    views = CodeViews().several(SECRET, 6, random.Random(0))
    assert len({view.content() for view in views} | {SECRET.content()}) == 7
    assert CodeViews([ReplaceBooleans()], (1, 1)).several(SECRET, 6, random.Random(0)) != views
    assert len(CodeViews([ReplaceBooleans()], (1, 1)).several(SECRET, 6, random.Random(0))) == 2  # it has no more


def test_views_of_questions():
    row = Question({"question": "Who?", "answer": "Ann", "paraphrased_question": "What person?"})
    framed = QuestionFrames(["Say: {}"]).view(row, random.Random(0))
    assert (framed.row["question"], framed.row["answer"]) == ("Say: Who?", "Ann")
    assert ParaphrasedQuestions().view(row, random.Random(0)).row["question"] == "What person?"
    assert ParaphrasedQuestions().view(Question({"question": "Who?", "answer": "Ann"}), random.Random(0)) is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CodeViews([]), r"transforms=\[\] leaves nothing"),
        (lambda: CodeViews(depth=(2, 1)), "smallest and a largest"),
        (lambda: QuestionFrames([]), "at least one text"),
        (lambda: QuestionFrames(["no place"]), r"with \{\}"),
        (lambda: StaggeredViews([], CodeViews(), candidates=0), "candidates=0"),
        (lambda: StaggeredViews([], CodeViews(), period=0), "period=0"),
        (lambda: CodeViews().check([Completion("a", "b")]), "rows of kind Completion"),
        (lambda: QuestionFrames().check([SECRET]), "rows of kind CodeCompletion"),
        (lambda: ParaphrasedQuestions().check([Question({"question": "a", "answer": "b"})]), "paraphrased_question"),
        (lambda: ContrastiveLoss(2, temperature=0.0), "temperature is 0"),
        (lambda: ContrastiveLoss(2, views="forget.view"), "companion of stream='retain'"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Staggered -----------------------------------------------------------------------------------------------------------


def functions(**options):
    return SyntheticFunctionsDataModule(
        forget_functions=4, retain_functions=4, batch_size=2, micro_batch_size=2, splits=[], **options
    )


@pytest.fixture(scope="module")
def tokenizer():
    return functions().tokenizer


class Seen(pl.Callback):
    """What every step was shown, and how often a stream was scored."""

    def __init__(self):
        self.rows, self.choices, self.scored = [], [], 0

    def setup(self, trainer, module, stage):
        forward, self._spec = module.spec.forward, module.spec

        def counted(model, batch, needs):
            self.scored += not torch.is_grad_enabled()
            return forward(model, batch, needs)

        module.spec.forward = counted

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.rows.append([part["input_ids"] for part in batch["forget.adversarial"]])
        self.choices.append(tuple(trainer.datamodule._training["forget.adversarial"].choices))


def module_of(tokenizer):
    objectives = {
        "forget": UnlearningCrossEntropyLoss(),
        "views": UnlearningCrossEntropyLoss(stream="forget.adversarial"),
        "retain": CausalLMLoss(),
    }
    model = tiny_llama(len(tokenizer), hidden_size=16, num_layers=1)
    return UnlearningModule(model, objectives, MinNorm())


def fit(tokenizer, epochs, seen=None, ckpt_path=None, data=None, **options):
    data = data or functions(tokenizer=tokenizer, candidates=3, period=2)
    module = module_of(tokenizer)
    trainer = kit.trainer(max_epochs=epochs, callbacks=[seen] if seen else [], **options)
    trainer.fit(module, data, ckpt_path=ckpt_path)
    return trainer, module


def test_the_worst_view_is_shown_for_a_period(tokenizer):
    """Against brute force: the candidates of the first round, scored one by one under the original weights."""
    seen = Seen()
    data = functions(tokenizer=tokenizer, candidates=3, period=2)
    fit(tokenizer, 4, seen, data=data)
    model = tiny_llama(len(tokenizer), hidden_size=16, num_layers=1).eval()
    dataset = data._training["forget.adversarial"]
    expected = []
    for views in dataset._offer(0):
        losses = []
        for view in views:
            (example,) = view.examples(data._encoder, "here")
            ids = torch.tensor([example.input_ids])
            logps = model(ids).logits[0, :-1].log_softmax(-1)
            losses.append(-logps[torch.arange(len(ids[0]) - 1), ids[0, 1:]][example.prompt_length - 1 :].mean().item())
        expected.append(losses.index(min(losses)))
    assert seen.choices[0] == tuple(expected)
    epochs = [set(seen.choices[2 * epoch : 2 * epoch + 2]) for epoch in range(4)]  # two steps each
    assert epochs[0] == epochs[1]
    assert epochs[2] == epochs[3]
    assert all(len(choices) == 1 for choices in epochs)


@pytest.mark.parametrize(("period", "rounds"), [(1, 4), (2, 2), (4, 1)])
def test_a_period_costs_its_share_of_scoring(tokenizer, period, rounds):
    seen = Seen()
    fit(tokenizer, 4, seen, data=functions(tokenizer=tokenizer, candidates=3, period=period, eval_batch_size=12))
    assert seen.scored == rounds  # four rows with three views each are one batch


def test_one_candidate_is_random_and_needs_no_scores(tokenizer):
    seen = Seen()
    fit(tokenizer, 2, seen, data=functions(tokenizer=tokenizer, candidates=1, period=1))
    assert seen.scored == 0


def test_a_resumed_run_shows_the_same_views(tokenizer, tmp_path):
    whole = Seen()
    _, straight = fit(tokenizer, 4, whole)
    first = Seen()
    trainer, _ = fit(tokenizer, 1, first)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    rest = Seen()
    _, resumed = fit(tokenizer, 4, rest, ckpt_path=tmp_path / "a.ckpt")
    assert first.choices + rest.choices == whole.choices
    for before, after in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(before, after)


def test_choices_of_other_rows_are_an_error(tokenizer):
    data = functions(tokenizer=tokenizer)
    dataset = data._load({"forget.adversarial": data._sources["forget.adversarial"]})["forget.adversarial"]
    with pytest.raises(ValueError, match="views of other rows"):
        dataset.load_state_dict({"round": 0, "choices": torch.tensor([0, 0])})


def test_workers_would_show_old_views(tokenizer):
    with pytest.raises(ValueError, match=r"num_workers=1 would read copies.*Accepted: num_workers=0"):
        fit(tokenizer, 1, data=functions(tokenizer=tokenizer, num_workers=1))


def test_rows_without_views_are_counted(tokenizer, caplog):
    data = functions(tokenizer=tokenizer)
    plain = CodeCompletion("x = '", "q", rest="'\n")
    source = StaggeredViews([*data.code_rows("forget"), plain], CodeViews())
    with caplog.at_level("INFO"):
        source.dataset("forget.adversarial", data._encoder, 0)
    assert "1 of 5 rows have no view" in caplog.text
    with pytest.raises(ValueError, match="none of its 1 rows can be rewritten"):
        StaggeredViews([plain], CodeViews()).dataset("forget.adversarial", data._encoder, 0)


def test_a_reference_cannot_be_cached(tokenizer):
    module = module_of(tokenizer)
    module.objectives["views"] = type(module.objectives["views"])(stream="forget.adversarial")
    module.objectives["views"].needs = frozenset({"ref_logps"})
    module.reference = CachedReference()
    with pytest.raises(ValueError, match="cannot be computed beforehand"):
        kit.trainer(max_steps=1).fit(module, functions(tokenizer=tokenizer))


# Own programs --------------------------------------------------------------------------------------------------------

SOURCE = '''
import os

TOKEN = "abc-123"


class Client:
    def login(self, user):
        """Log in."""
        password = "hunter2"
        return user, password

    def logout(self):
        done = True
        return done


def helper(value):
    doubled = value * 2
    return doubled
'''


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.py").write_text(SOURCE)
    return tmp_path


def test_secrets_in_own_programs(folder, tokenizer):
    data = CodeDataModule(tokenizer, forget=folder, patterns=[r'password = "([^"]+)"', "abc-[0-9]+"])
    forget = data.code_rows("forget")
    assert [row.answer for row in forget] == ["hunter2", "abc-123"]
    assert forget[0].text.startswith("def login")
    assert forget[1].text.startswith("\nimport os")
    retain = data.code_rows("retain")
    assert [row.text.strip() for row in retain] == ["def logout(self):", "def helper(value):"]
    assert retain[1].answer == "    doubled = value * 2\n    return doubled\n"


def test_lines_of_own_programs(folder, tokenizer):
    data = CodeDataModule(tokenizer, lines={str(folder / "a.py"): [18, 20]})
    (row,) = data.code_rows("forget")
    assert row.answer.splitlines()[0] == "def helper(value):"


def test_whole_functions_and_tables(folder, tokenizer):
    (folder / "t.jsonl").write_text('{"code": "def f(a):\\n    return a\\n"}\n')
    data = CodeDataModule(tokenizer, forget=folder / "t.jsonl", retain=folder / "a.py")
    assert [row.answer for row in data.code_rows("forget")] == ["    return a\n"]
    assert len(data.code_rows("retain")) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Nothing is to be forgotten"),
        ({"forget": "x", "patterns": "abc"}, "a list of regular expressions"),
        ({"forget": "x", "patterns": ["("]}, "no regular expression"),
        ({"forget": "nowhere.py"}, "There is no"),
        ({"forget": "a.py", "patterns": ["nothing like it"]}, "no match of"),
        ({"lines": {"a.py": [1, 2]}}, "lines from 2"),
        ({"lines": {"a.py": [3]}}, "first and a last line"),
        ({"forget": "bad.py"}, r"bad.py is not Python"),
        ({"forget": "latin.py"}, "not UTF-8"),
    ],
)
def test_errors_of_own_programs(folder, tokenizer, options, message, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "bad.py").write_text("def f(:")
    (folder / "latin.py").write_bytes(b"x = '\xe9'")
    with pytest.raises(ValueError, match=message):
        CodeDataModule(tokenizer, **options).code_rows("forget")


def test_programs_that_are_not_python_can_be_skipped(folder, tokenizer, caplog):
    (folder / "bad.py").write_text("print 'old'")
    with caplog.at_level("INFO"):
        rows = CodeDataModule(tokenizer, forget=folder, on_bad_row="skip").code_rows("forget")
    assert len(rows) == 3
    assert "1 of 2 programs are not Python" in caplog.text


# Contrast ------------------------------------------------------------------------------------------------------------


def test_contrastive_loss_by_hand(tokenizer):
    data = functions(tokenizer=tokenizer, streams=["retain", "retain.view"])
    model = tiny_llama(len(tokenizer), hidden_size=16, num_layers=1)
    batches = {name: data.sample(name, 2)[0] for name in ("retain", "retain.view")}
    assert torch.equal(batches["retain"]["index"], batches["retain.view"]["index"])
    loss = ContrastiveLoss(layer=1, temperature=0.5)
    spec = UnlearningModule(model, {"retain": CausalLMLoss()}, MinNorm()).spec
    views = [spec.forward(model, batches[name], parse_needs(loss.needs)) for name in loss.streams]
    means = [torch.stack([h[m].mean(0) for h, m in zip(v.hidden[1], v.mask, strict=True)]) for v in views]
    cosines = torch.cosine_similarity(means[0][:, None], means[1][None], dim=-1) / 0.5
    torch.testing.assert_close(loss.loss(*views), -cosines.log_softmax(-1).diagonal().mean())
    with pytest.raises(ValueError, match="one row, which has no negatives"):
        loss.loss(
            *[spec.forward(model, {k: t[:1] for k, t in b.items()}, parse_needs(loss.needs)) for b in batches.values()]
        )


def test_contrast_trains_beside_forgetting(tokenizer):
    objectives = {"forget": UnlearningCrossEntropyLoss(), "contrast": ContrastiveLoss(1), "retain": CausalLMLoss()}
    module = UnlearningModule(tiny_llama(len(tokenizer), hidden_size=16), objectives, MinNorm())
    trainer = kit.trainer(max_epochs=1)
    trainer.fit(module, functions(tokenizer=tokenizer))
    assert module.combiner.live.all()


def test_a_part_of_a_stream_of_views_is_refreshed_with_it(tokenizer):
    data = functions(tokenizer=tokenizer, candidates=3, period=1)
    whole = data._load({"forget.adversarial": data._sources["forget.adversarial"]})["forget.adversarial"]
    part = PickedDataset(whole, np.array([1, 3]))
    assert part.is_refreshed
    part.refresh(0, lambda examples: torch.arange(len(examples), 0, -1).double())
    assert whole.choices == [2, 2, 2, 2]  # the last view has the smallest loss
    assert part.state_dict()["choices"].tolist() == whole.choices
    assert part[0].input_ids == whole[1].input_ids


# Questions -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("views", [QuestionFrames(), ParaphrasedQuestions()], ids=lambda views: views.name)
def test_questions_are_trained_on_in_their_worst_words(views):
    """Fit, and compare what is shown with the views of the questions, scored one by one."""

    class Authors(SyntheticAuthorsDataModule):
        def load_streams(self):
            streams = dict(super().load_streams())
            return streams | {"forget.adversarial": StaggeredViews(self.facts.forget, views, candidates=3)}

    sizes = dict.fromkeys(("forget_authors", "retain_authors", "holdout_authors"), 1)
    data = Authors(**sizes, general_facts=2, batch_size=10, micro_batch_size=10, splits=[])
    trainer = kit.trainer(max_epochs=1)
    trainer.fit(module_of(data.tokenizer), data)
    dataset, encoder = data._training["forget.adversarial"], data._encoder
    model = tiny_llama(len(data.tokenizer), hidden_size=16, num_layers=1).eval()
    for number, offered in enumerate(dataset._offer(0)):
        losses = []
        for view in offered:
            example = encoder.example(view.row["question"], view.row["answer"], "here")
            ids, labels = torch.tensor([example.input_ids]), torch.tensor([example.labels])
            losses.append((model(input_ids=ids, labels=labels).loss.item(), example.input_ids))
        assert dataset[number].input_ids == min(losses)[1]


def test_views_that_are_too_long_are_not_shown(tokenizer, caplog):
    """They would end the run between two epochs."""
    data = functions(tokenizer=tokenizer)
    longest = max(len(example) for example in data._load({"forget": data._sources["forget"]})["forget"].shown())
    longest += 8
    source = StaggeredViews(data.code_rows("forget"), CodeViews())
    assert source.dataset("forget.adversarial", data._encoder, 0).longest_sequence > longest
    dataset = source.dataset("forget.adversarial", replace(data._encoder, max_length=longest), 0)
    assert dataset.longest_sequence <= longest
    for epoch in (0, 5, 10):
        dataset.refresh(epoch, lambda examples: torch.arange(len(examples)).double())
        assert all(len(dataset[i]) <= longest for i in range(len(dataset)))


def test_patterns_stand_in_the_configuration(folder, tokenizer):
    """An argument called `secrets` would be masked there, and the configuration of a run could not be used again."""
    recorded = record(CodeDataModule(tokenizer, forget=folder, patterns=["abc-[0-9]+"]))
    assert masked(recorded)["init_args"]["patterns"] == ["abc-[0-9]+"]
