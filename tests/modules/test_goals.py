"""Goals under a Trainer: levels, progress against an independent probability, stopping, resuming, bad input."""

import functools
import logging
from copy import deepcopy

import pytest
import torch

from tests import kit
from unlearn_pl.callbacks import Budget, StopAtGoals
from unlearn_pl.combiners import GoalBarrier, MinNorm, Scalarization
from unlearn_pl.data import step_indices
from unlearn_pl.goals import AtLeast, AtMost
from unlearn_pl.gradients import RoleSums
from unlearn_pl.modules import MOLLM, NPO, GradDiff
from unlearn_pl.modules.fitting.momentum import momentum_of
from unlearn_pl.modules.measuring.levels import LEVEL_EXAMPLES
from unlearn_pl.optim import Constant

pytestmark = pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization")

ADAMW = functools.partial(torch.optim.AdamW, lr=3e-3, betas=(0.5, 0.999))
OPTIONS = {"optimizer": ADAMW, "schedule": Constant()}


class Questions(kit.Questions):
    """The streams of the kit, and rows that no model is trained on."""

    def load_streams(self):
        return {**super().load_streams(), "holdout": kit.rows("Holdout", 20)}


def data(micro_batch_size=8):
    return Questions(batch_size=8, micro_batch_size=micro_batch_size)


def fit(module, micro_batch_size=8, ckpt_path=None, callbacks=(), **options):
    trainer = kit.trainer(callbacks=list(callbacks), **({"max_epochs": 50, "max_steps": 4} | options))
    trainer.fit(module, data(micro_batch_size), ckpt_path=ckpt_path)
    return trainer


@torch.no_grad()
def probability(model, question, answer):
    """``exp`` of the mean log-probability of one unpadded answer, straight from transformers."""
    tokenizer = kit.tokenizer()
    prompt = tokenizer(f"Question: {question}\nAnswer:")["input_ids"]
    ids = tokenizer(f"Question: {question}\nAnswer: {answer}")["input_ids"] + [tokenizer.eos_token_id]
    logits = model(input_ids=torch.tensor([ids])).logits[0, len(prompt) - 1 : -1].double()
    return -torch.nn.functional.cross_entropy(logits, torch.tensor(ids[len(prompt) :]))


def mean_probability(model, rows):
    return torch.stack([probability(model, **row).exp() for row in rows]).mean().item()


class Watched(MOLLM):
    """Keeps the steps."""

    def _report(self, step):
        self.steps = [*getattr(self, "steps", []), step]
        super()._report(step)


@pytest.mark.parametrize("micro_batch_size", [8, 2])
@pytest.mark.parametrize("combiner", [MinNorm, Scalarization])
def test_progress_is_the_mean_probability_of_the_answers(combiner, micro_batch_size):
    model = kit.model(dtype=torch.float64)
    module = Watched(model, combiner=combiner(), goals={"retain": AtLeast(share=0.9)}, **OPTIONS)
    expected = []
    for stream, count in (("forget", 16), ("normal", 12), ("retain", 24)):
        rows = kit.rows(stream.title(), count)
        expected.append(mean_probability(model, [rows[i] for i in step_indices(0, stream, 0, 8, count)]))
    fit(module, micro_batch_size, max_steps=1)
    assert module.steps[0].progress.tolist() == pytest.approx(expected, rel=1e-9)
    logged = module.steps[0].metrics()
    assert [logged[f"train/progress/{name}"] for name in ("forget", "normal", "retain")] == pytest.approx(expected)


def test_progress_relative_to_the_reference_is_1_before_the_first_step():
    module = Watched(
        kit.model(dtype=torch.float64), normal_stream="retain", goals={"retain": AtLeast(share=0.9)}, **OPTIONS
    )
    fit(module, max_steps=3)
    kept = torch.stack([step.readings[:, 2] for step in module.steps])
    assert kept[0].nan_to_num(1.0).tolist() == pytest.approx([1.0, 1.0, 1.0])
    assert kept[:, 0].isnan().all()  # the forget stream is not compared with the reference
    assert (kept[1:, 2] - 1).abs().min() > 1e-6


def test_levels_of_many_examples_are_those_of_a_seeded_sample():
    whole = Questions(forget=LEVEL_EXAMPLES + 40, batch_size=8, micro_batch_size=8)
    batches = whole.sample("forget", LEVEL_EXAMPLES)
    drawn = [i for batch in batches for i in batch["index"].tolist()]
    assert len(drawn) == len(set(drawn)) == LEVEL_EXAMPLES
    assert drawn == sorted(step_indices(0, "forget", 0, LEVEL_EXAMPLES, LEVEL_EXAMPLES + 40))
    split = kit.Questions(batch_size=8, micro_batch_size=4)  # a split serves as well
    assert sorted(i for batch in split.sample("retain", 99) for i in batch["index"].tolist()) == list(range(24))


class Unsampled(Questions):
    """Data whose examples cannot be drawn beforehand, as :class:`StreamProvider` allows."""

    def sample(self, name, size):
        return []


def test_without_a_sample_the_first_step_is_the_start():
    module = GradDiff(kit.model(), goals={"forget": AtMost(share=0.5)}, **OPTIONS)
    kit.trainer(max_epochs=1, max_steps=1).fit(module, Unsampled(batch_size=8, micro_batch_size=8))
    assert module.descent.goals.courses[0].start > 0
    assert not module.descent.goals.standing.met[0]


class Split(kit.Questions):
    def load_splits(self):
        return {"holdout": kit.rows("Holdout", 20), **super().load_splits()}


def test_a_holdout_split_serves_as_well():
    batches = Split(batch_size=8, micro_batch_size=8).sample("holdout", 99)
    assert Split(batch_size=8).holdout_set == "holdout"
    assert kit.Questions(batch_size=8).holdout_set is None
    assert sorted(i for batch in batches for i in batch["index"].tolist()) == list(range(20))
    assert all(len(batch["index"]) <= 8 for batch in batches)


def learned(seed=0):
    """A model that knows the forget and the retain answers."""
    module = GradDiff(kit.model(seed), forget_weight=-1.0, optimizer=ADAMW, schedule=Constant())
    fit(module, max_steps=60)
    return module.model


@pytest.fixture(scope="module")
def target():
    return learned().state_dict()


def model_of(target):
    model = kit.model()
    model.load_state_dict(target)
    return model


def test_levels_are_those_of_the_model_before_the_first_step(target):
    model = kit.model(dtype=torch.float64, dropout=0.5)
    model.load_state_dict(target)
    expected = mean_probability(model.eval(), kit.rows("Holdout", 20))
    start = mean_probability(model, kit.rows("Forget", 16))
    model.train()
    module = GradDiff(model, goals={"forget": AtMost("holdout", share=0.25)}, **OPTIONS)
    fit(module)
    goals = module.descent.goals
    assert goals.holdout == pytest.approx(expected, rel=1e-9)
    assert goals.courses[0].start == pytest.approx(start, rel=1e-9)
    assert goals.courses[0].bound == pytest.approx(expected / 4, rel=1e-9)
    assert model.training


GOALS = {"forget": AtMost(share=0.5), "retain": AtLeast(share=0.9)}


@pytest.mark.parametrize(
    "make",
    [
        lambda model: MOLLM(model, combiner=GoalBarrier(), goals=GOALS, **OPTIONS),
        lambda model: GradDiff(model, combiner=MinNorm(), goals=GOALS, **OPTIONS),
        lambda model: GradDiff(model, goals=GOALS, **OPTIONS),
    ],
    ids=["GoalBarrier", "MinNorm", "Scalarization"],
)
def test_a_run_ends_at_its_goals(target, make, caplog):
    module = make(model_of(target))
    start = mean_probability(module.model, kit.rows("Forget", 16))
    with caplog.at_level(logging.INFO):
        trainer = fit(module, callbacks=[StopAtGoals(steps=2)], max_steps=200)
    assert trainer.global_step < 200
    end = mean_probability(module.model.eval(), kit.rows("Forget", 16))
    assert 0.25 * start < end < 0.6 * start
    assert f"forget {module.descent.goals.progress[0]:.3f} (goal <= {0.5 * start:.3g})" in caplog.text


@pytest.mark.parametrize(
    ("goals", "combiner"),
    [(GOALS, GoalBarrier), ({"retain": AtLeast(share=0.9)}, MinNorm), ({}, MinNorm), (None, MinNorm)],
    ids=["both", "floor", "none", "None"],
)
def test_mollm_chooses_the_rule_that_its_goals_need(target, goals, combiner):
    assert type(MOLLM(model_of(target), goals=goals, **OPTIONS).combiner) is combiner


def test_a_goal_out_of_reach_is_reported(target, caplog):
    goals = {"forget": AtMost(0.0), "retain": AtLeast(share=0.9)}
    module = GradDiff(model_of(target), combiner=GoalBarrier(), goals=goals, **OPTIONS)
    with caplog.at_level(logging.INFO):
        fit(module, callbacks=[StopAtGoals()], max_steps=3)
    assert "The goals were not reached in 3 steps: forget" in caplog.text


def test_goals_that_hold_already_stop_the_run_and_pull_nothing(target):
    module = GradDiff(model_of(target), goals={"forget": AtMost(1.0)}, **OPTIONS)
    trainer = fit(module, callbacks=[StopAtGoals(steps=1)], max_steps=9)
    assert trainer.global_step == 1
    assert module.descent.combiner.live.tolist() == [False, True]


def test_the_best_weights_are_restored(target):
    module = GradDiff(model_of(target), combiner=GoalBarrier(), goals=GOALS, **OPTIONS)
    callback = StopAtGoals(steps=1000, restore_best=True)
    fit(module, callbacks=[callback], max_steps=30)
    assert 0 < callback._best.step <= 30
    for parameter, copy in zip(module.trained_parameters, callback._best._copies, strict=True):
        assert torch.equal(parameter, copy)


def test_a_broken_floor_leads_back(target):
    module = GradDiff(model_of(target), forget_weight=50.0, goals={"retain": AtLeast(share=0.9)}, **OPTIONS)
    with pytest.warns(UserWarning, match="A floor was broken in the last 2 steps .* the weights are those after step"):
        trainer = fit(module, callbacks=[Budget(patience=2)], max_steps=60)
    assert trainer.global_step < 60
    kept = mean_probability(module.model.eval(), kit.rows("Retain", 24))
    model = model_of(target).eval()
    assert kept > 0.85 * mean_probability(model, kit.rows("Retain", 24))


@pytest.mark.parametrize("extra", [{}, {"refresh_every": 3}, {"gradient": RoleSums(3)}], ids=["", "refresh", "roles"])
def test_resuming_is_exact(target, tmp_path, extra):
    def module():
        options = OPTIONS | deepcopy(extra)
        goals = {"forget": AtMost("holdout", share=0.9), "retain": AtLeast(share=0.9)}
        return MOLLM(model_of(target), combiner=GoalBarrier(), goals=goals, **options)

    whole, first, second = module(), module(), module()
    fit(whole, max_steps=9)
    fit(first, max_steps=4).save_checkpoint(tmp_path / "four.ckpt")
    fit(second, max_steps=9, ckpt_path=tmp_path / "four.ckpt")
    assert second.descent.goals.holdout == whole.descent.goals.holdout
    assert second.descent.goals.summary() == whole.descent.goals.summary()
    for left, right in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(left, right)


def test_goals_are_rebuilt_from_a_checkpoint(target, tmp_path):
    model_of(target).save_pretrained(tmp_path / "model")
    goals = {"forget": AtMost("holdout", share=0.25), "retain": AtLeast(share=0.9)}
    module = MOLLM(str(tmp_path / "model"), combiner=GoalBarrier(), goals=goals, schedule=Constant())
    fit(module, max_steps=1).save_checkpoint(tmp_path / "one.ckpt")
    again = MOLLM.load_from_checkpoint(tmp_path / "one.ckpt")
    assert repr(again.descent.goals.goals) == repr(goals)
    assert again.descent.goals.holdout == module.descent.goals.holdout


def test_a_checkpoint_from_before_there_were_goals_loads(tmp_path):
    module = GradDiff(kit.model(), **OPTIONS)
    path = tmp_path / "old.ckpt"
    fit(module, max_steps=1).save_checkpoint(path)
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint["unlearn_pl"]["goals"]
    torch.save(checkpoint, path)
    fit(GradDiff(kit.model(), **OPTIONS), max_steps=2, ckpt_path=path)


def test_momentum():
    with_goals = GradDiff(kit.model(), goals={"forget": AtMost(0.1)})
    assert momentum_of(with_goals.optimizer([torch.zeros(1)]).param_groups[0]) == 0.5
    assert momentum_of(GradDiff(kit.model()).optimizer([torch.zeros(1)]).param_groups[0]) == 0.9
    assert momentum_of(torch.optim.SGD([torch.zeros(1)], lr=1.0, momentum=0.7).param_groups[0]) == 0.7
    assert momentum_of(torch.optim.SGD([torch.zeros(1)], lr=1.0).param_groups[0]) == 0.0
    assert momentum_of(torch.optim.Adagrad([torch.zeros(1)]).param_groups[0]) == 0.0
    heavy = functools.partial(torch.optim.AdamW, lr=1e-3)
    with pytest.warns(UserWarning, match=r"AdamW has a momentum of 0\.9, so that a goal takes effect about 10 steps"):
        fit(GradDiff(kit.model(), goals={"forget": AtMost(0.1)}, optimizer=heavy), max_steps=1)


@pytest.mark.parametrize(
    ("goals", "message"),
    [
        ({"forget": AtMost(0.1), "never": AtMost(0.1)}, r"goals name \['never'\]"),
        ({"forget": AtLeast(0.1)}, "Accepted: AtMost"),
        ({"retain": AtLeast(share=0.9)}, r"GoalBarrier needs a goal of an objective of role forget.*'forget'"),
        (None, "GoalBarrier needs a goal of an objective of role forget"),
    ],
)
def test_bad_goals_are_errors_before_anything_is_built(goals, message):
    with pytest.raises(ValueError, match=message):
        GradDiff("a model that does not exist", combiner=GoalBarrier(), goals=goals)


class WithoutItsFile(kit.Questions):
    """Names a holdout set whose file is not there."""

    def load_streams(self):
        return {**super().load_streams(), "holdout": self._missing}

    def _missing(self):
        raise ValueError("The folder data has no file holdout.json, which is expected there.")


def test_a_holdout_set_that_cannot_be_read_is_an_error_that_says_what_to_give_instead():
    module = GradDiff(kit.model(), goals={"forget": AtMost("holdout")}, **OPTIONS)
    with pytest.raises(ValueError, match=r"no file holdout\.json.* Accepted without it: a number, such as AtMost"):
        kit.trainer(max_steps=1).fit(module, WithoutItsFile(batch_size=8, micro_batch_size=8))


def test_bad_levels_are_errors_before_training():
    module = GradDiff(kit.model(), goals={"forget": AtMost("holdout")}, **OPTIONS)
    before = [parameter.clone() for parameter in module.parameters()]
    with pytest.raises(ValueError, match=r"the data has no holdout set .*Accepted: a number"):
        kit.trainer(max_steps=1).fit(module, kit.Questions(batch_size=8, micro_batch_size=8))
    assert all(torch.equal(old, new) for old, new in zip(before, module.parameters(), strict=True))
    with pytest.raises(ValueError, match=r"'retain' is AtLeast\(0\.99\), but it starts at"):
        fit(GradDiff(kit.model(), goals={"retain": AtLeast(0.99)}, **OPTIONS))


@pytest.mark.parametrize("callback", [StopAtGoals(), Budget()])
def test_callbacks_need_goals(callback):
    with pytest.raises(ValueError, match=f"{type(callback).__name__} acts on goals, but NPO has none"):
        fit(NPO(kit.model(), **OPTIONS), callbacks=[callback])


def test_the_budget_needs_a_floor():
    module = GradDiff(kit.model(), goals={"forget": AtMost(0.1)}, **OPTIONS)
    with pytest.raises(ValueError, match="no retain objective has a goal"):
        fit(module, callbacks=[Budget()])
