"""The step contract on one device: rows, sharing, accumulation, skipping, against independent gradients."""

import functools

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from tests import kit
from unlearn_pl.combiners import GramianCombiner, MinNorm, Scalarization
from unlearn_pl.data import step_indices
from unlearn_pl.gradients import Row, group_streams
from unlearn_pl.masks import ElementMask, Mask
from unlearn_pl.modules import MOLLM, GradDiff, UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, KLDivergenceLoss, Objective, UnlearningCrossEntropyLoss
from unlearn_pl.optim import Constant
from unlearn_pl.references import FrozenReference
from unlearn_pl.types import StreamView

SGD = functools.partial(torch.optim.SGD, lr=0.05)
OPTIONS = {"optimizer": SGD, "schedule": Constant(), "gradient_clip_val": None}


class Recorded(kit.Recording, UnlearningModule):
    pass


class RecordedMOLLM(kit.Recording, MOLLM):
    pass


def fit(module, data=None, **trainer_options):
    data = data or kit.Questions(batch_size=8, micro_batch_size=8)
    kit.trainer(**({"max_epochs": 1} | trainer_options)).fit(module, data)
    return module


def answer_nll(model: nn.Module, question: str, answer: str) -> torch.Tensor:
    """Token NLLs of one unpadded question and answer, straight from transformers."""
    tokenizer = kit.tokenizer()
    prompt = tokenizer(f"Question: {question}\nAnswer:")["input_ids"]
    ids = tokenizer(f"Question: {question}\nAnswer: {answer}")["input_ids"]
    ids = ids if ids[-1] == tokenizer.eos_token_id else [*ids, tokenizer.eos_token_id]
    logits = model(input_ids=torch.tensor([ids])).logits[0, len(prompt) - 1 : -1]
    return nn.functional.cross_entropy(logits.double(), torch.tensor(ids[len(prompt) :]), reduction="none")


def independent_gradient(model, stream, count, step, batch_size, loss):
    rows = kit.rows(stream.title(), count)
    nlls = [answer_nll(model, **rows[i]) for i in step_indices(0, stream, step, batch_size, count)]
    model.zero_grad()
    loss(torch.cat(nlls)).backward()
    return [p.grad.clone() for p in model.parameters()]


def assert_rows_close(row: Row, expected: list[torch.Tensor], rtol=1e-10):
    scale = max(g.abs().max().item() for g in expected)
    for left, right in zip(row, expected, strict=True):
        torch.testing.assert_close(left, right.to(left.dtype), rtol=rtol, atol=rtol * scale)


@pytest.mark.parametrize("micro_batch_size", [8, 2])
def test_rows_are_the_gradients_of_the_token_means(micro_batch_size):
    objectives = {"forget": UnlearningCrossEntropyLoss(), "retain": CausalLMLoss()}
    module = Recorded(kit.model(dtype=torch.float64), objectives, MinNorm(), **OPTIONS)
    fit(module, kit.Questions(batch_size=8, micro_batch_size=micro_batch_size), max_steps=1, precision="64-true")
    fresh = kit.model(dtype=torch.float64)
    uce = independent_gradient(fresh, "forget", 16, 0, 8, lambda nll: -torch.log1p(-torch.exp(-nll) / 2).mean())
    nll = independent_gradient(fresh, "retain", 24, 0, 8, lambda nll: nll.mean())
    assert_rows_close(module.history[0]["rows"]["forget"], uce)
    assert_rows_close(module.history[0]["rows"]["retain"], nll)
    expected = [[sum((a * b).sum() for a, b in zip(x, y, strict=True)) for y in (uce, nll)] for x in (uce, nll)]
    torch.testing.assert_close(module.history[0]["gramian"], torch.tensor(expected), rtol=1e-10, atol=0)


def test_the_update_is_the_weighted_sum_of_the_rows():
    module = Recorded(
        kit.model(dtype=torch.float64), {"f": UnlearningCrossEntropyLoss(), "r": CausalLMLoss()}, MinNorm(), **OPTIONS
    )
    fit(module, max_steps=1, precision="64-true")
    step, before = module.history[0], list(kit.model(dtype=torch.float64).parameters())
    for i, (p, old) in enumerate(zip(module.model.parameters(), before, strict=True)):
        direction = sum(w * row[i] for w, row in zip(step["weights"], step["rows"].values(), strict=True))
        torch.testing.assert_close(p, old - 0.05 * direction, rtol=1e-10, atol=1e-12)


def test_shared_and_separate_forwards_agree():
    class Copied(kit.Questions):
        """The retain stream a second time under another name, so that nothing is shared."""

        def load_streams(self):
            return super().load_streams() | {"retain.again": kit.rows("Retain", 24)}

    histories = []
    for stream in ("retain", "retain.again"):
        objectives = {
            "forget": UnlearningCrossEntropyLoss(),
            "normal": KLDivergenceLoss(stream=stream),
            "retain": CausalLMLoss(),
        }
        module = Recorded(kit.model(dtype=torch.float64), objectives, MinNorm(), FrozenReference(), **OPTIONS)
        data = Copied(batch_size=8, micro_batch_size=4, streams=["forget", "retain", "retain.again"])
        histories.append(fit(module, data, max_epochs=2, precision="64-true").history)
    for shared, separate in zip(*histories, strict=True):
        torch.testing.assert_close(shared["gramian"], separate["gramian"], rtol=1e-9, atol=1e-20)
        torch.testing.assert_close(shared["weights"], separate["weights"], rtol=1e-6, atol=1e-12)


def test_objectives_of_connected_streams_form_one_group():
    pair = CausalLMLoss()
    pair.stream = ("b", "c")
    objectives = {
        "x": CausalLMLoss(stream="a"),
        "y": CausalLMLoss(stream="b"),
        "z": CausalLMLoss(stream="c"),
        "p": pair,
    }
    groups = [(set(g.streams), g.objectives) for g in group_streams(objectives)]
    assert groups == [({"a"}, ("x",)), ({"b", "c"}, ("y", "z", "p"))]


def test_micro_batches_change_nothing():
    states, histories = [], []
    for size in (8, 4, 2):
        module = fit(
            RecordedMOLLM(kit.model(), **OPTIONS), kit.Questions(batch_size=8, micro_batch_size=size), max_epochs=2
        )
        states.append(list(module.model.parameters()))
        histories.append(module.history)
    for other, history in zip(states[1:], histories[1:], strict=True):
        torch.testing.assert_close(other, states[0], rtol=1e-5, atol=1e-7)
        for mine, theirs in zip(history, histories[0], strict=True):
            torch.testing.assert_close(mine["gramian"][::2, ::2], theirs["gramian"][::2, ::2], rtol=1e-4, atol=0)


def test_batches_of_plain_loaders_are_steps_that_the_module_splits():
    data = kit.Questions(batch_size=8, micro_batch_size=8)
    data.setup("fit")
    plain = [{stream: parts[0] for stream, parts in window.items()} for window, _, _ in data.train_dataloader()]
    states, sizes = [], []
    for size in (None, 3):
        module = RecordedMOLLM(kit.model(), micro_batch_size=size, **OPTIONS)
        view = module.view
        module.view = lambda stream, batch, view=view: (sizes.append(len(batch["index"])), view(stream, batch))[1]
        kit.trainer(max_epochs=2, limit_train_batches=2).fit(
            module, DataLoader(plain, batch_size=None), data.val_dataloader()
        )
        assert module.windows_closed == 2 * 2
        states.append(list(module.model.parameters()))
    assert sizes == 4 * 2 * [8] + 4 * 2 * [3, 3, 2]
    torch.testing.assert_close(states[1], states[0], rtol=1e-5, atol=1e-7)


def test_scalarization_equals_plain_training_and_keeps_no_rows(monkeypatch):
    """The cheap path: one backward per forward, and the same weights as a hand-written loop."""
    model = kit.model(dtype=torch.float64)
    module = GradDiff(model, forget_weight=0.3, retain_weight=2.0, **OPTIONS)
    backwards = []
    original = module.manual_backward
    monkeypatch.setattr(module, "manual_backward", lambda loss, **k: (backwards.append(1), original(loss, **k)))
    fit(module, kit.Questions(batch_size=8, micro_batch_size=4), max_epochs=2, precision="64-true")
    assert len(backwards) == 4 * 2 * 2

    plain = kit.model(dtype=torch.float64)
    optimizer = SGD(plain.parameters())
    for step in range(4):
        losses = []
        for stream, count in (("forget", 16), ("retain", 24)):
            rows = kit.rows(stream.title(), count)
            losses.append(
                torch.cat([answer_nll(plain, **rows[i]) for i in step_indices(0, stream, step, 8, count)]).mean()
            )
        optimizer.zero_grad()
        (-0.3 * losses[0] + 2.0 * losses[1]).backward()
        optimizer.step()
    torch.testing.assert_close(list(model.parameters()), list(plain.parameters()), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("precision", "dropout"), [("32-true", 0.0), ("bf16-mixed", 0.0), ("32-true", 0.1)])
def test_kl_is_noise_at_step_0_and_enters_later(precision, dropout):
    module = RecordedMOLLM(kit.model(dropout=dropout), **OPTIONS | {"optimizer": functools.partial(SGD, lr=2.0)})
    fit(module, max_epochs=15, precision=precision)
    kl = [step["weights"][1].item() for step in module.history]
    assert kl[0] == 0
    assert any(weight > 0 for weight in kl)
    assert module.history[0]["weights"].sum() > 0


class Broken(CausalLMLoss):
    """NaN from a given step on."""

    def __init__(self, at: int = 1, stream: str | None = None) -> None:
        super().__init__(stream)
        self.at, self.calls = at, 0

    def loss(self, view: StreamView) -> torch.Tensor:
        self.calls += 1
        return super().loss(view) * (float("nan") if self.calls == self.at + 1 else 1.0)


@pytest.mark.parametrize("combiner", [MinNorm, Scalarization])
def test_a_nonfinite_step_is_skipped_and_counted(combiner):
    module = UnlearningModule(kit.model(), {"f": UnlearningCrossEntropyLoss(), "r": Broken()}, combiner(), **OPTIONS)
    fit(module, max_epochs=2)
    assert module.skipped["nonfinite"] == 1
    assert module.windows_closed == 4
    assert module.trainer.global_step == 3
    assert all(p.isfinite().all() for p in module.model.parameters())


def test_a_nonfinite_objective_is_dropped_from_the_step():
    module = Recorded(
        kit.model(), {"f": UnlearningCrossEntropyLoss(), "r": Broken()}, MinNorm(), on_nonfinite="drop", **OPTIONS
    )
    fit(module, max_epochs=2)
    assert module.history[1]["weights"][1] == 0
    assert module.history[1]["weights"][0] > 0
    assert all(p.isfinite().all() for p in module.model.parameters())


def test_a_nonfinite_step_raises_and_names_the_objective():
    module = UnlearningModule(
        kit.model(), {"f": UnlearningCrossEntropyLoss(), "r": Broken()}, MinNorm(), on_nonfinite="raise", **OPTIONS
    )
    with pytest.raises(RuntimeError, match="'r'"):
        fit(module)


class Undefined(MinNorm):
    """NaN from the second step on."""

    def weigh(self, gramian, losses):
        self.calls = getattr(self, "calls", 0) + 1
        return super().weigh(gramian, losses) * (float("nan") if self.calls > 1 else 1.0)


@pytest.mark.filterwarnings("ignore:3 of 4 optimizer steps were skipped")
def test_weights_that_are_not_finite_never_reach_the_optimizer():
    def make(on_nonfinite):
        objectives = {"f": UnlearningCrossEntropyLoss(), "r": CausalLMLoss()}
        return UnlearningModule(kit.model(), objectives, Undefined(), on_nonfinite=on_nonfinite, **OPTIONS)

    module = fit(make("skip"), max_epochs=2)
    assert module.skipped == {"nonfinite": 3, "stationary": 0}
    assert module.trainer.global_step == 1
    assert all(p.isfinite().all() for p in module.model.parameters())
    with pytest.raises(RuntimeError, match="Undefined gave weights that are not finite at optimizer step 1"):
        fit(make("raise"))


class Opposed(Objective):
    """``sign * sum(logps)``: with both signs every step is stationary."""

    def __init__(self, sign: float = 1.0) -> None:
        super().__init__("forget")
        self.sign = sign

    def loss(self, view: StreamView) -> torch.Tensor:
        return self.sign * view.logps.sum() / view.count("tokens")


def test_stationary_steps_are_skipped_and_counted():
    module = UnlearningModule(
        kit.model(dtype=torch.float64), {"up": Opposed(1.0), "down": Opposed(-1.0)}, MinNorm(), **OPTIONS
    )
    fit(module, precision="64-true")
    assert module.skipped["stationary"] == module.windows_closed == 2
    torch.testing.assert_close(
        list(module.model.parameters()), list(kit.model(dtype=torch.float64).parameters()), rtol=0, atol=0
    )


class FirstHalf(Mask):
    """Only the first half of every tensor may move."""

    def apply(self, names, row):
        for gradient in row:
            gradient.flatten()[gradient.numel() // 2 :] = 0


@pytest.mark.parametrize("combiner", [MinNorm, Scalarization])
def test_rows_are_masked_before_the_gramian(combiner):
    module = Recorded(
        kit.model(), {"f": UnlearningCrossEntropyLoss(), "r": CausalLMLoss()}, combiner(), mask=FirstHalf(), **OPTIONS
    )
    fit(module, max_epochs=2)
    for p, old in zip(module.model.parameters(), kit.model().parameters(), strict=True):
        half = p.numel() // 2
        assert torch.equal(p.flatten()[half:], old.flatten()[half:])
        assert not torch.equal(p.flatten()[:half], old.flatten()[:half])


def test_the_combined_gradient_is_clipped():
    class Norms(kit.Recording, MOLLM):
        def on_before_optimizer_step(self, optimizer):
            super().on_before_optimizer_step(optimizer)
            grads = [p.grad.flatten() for p in self.model.parameters()]
            assert torch.cat(grads).norm() <= 1e-3 * (1 + 1e-5)

    fit(Norms(kit.model(), **OPTIONS | {"gradient_clip_val": 1e-3}))


def test_training_descends_every_objective():
    module = MOLLM(
        kit.model(), normal_stream="retain", **OPTIONS | {"optimizer": functools.partial(torch.optim.Adam, lr=3e-3)}
    )
    fit(module, max_epochs=30)
    forget, _, retain = module.descent.losses.tolist()
    fresh = fit(MOLLM(kit.model(), normal_stream="retain", **OPTIONS), max_steps=1)
    assert retain < fresh.descent.losses[2].item() - 0.5
    assert forget < fresh.descent.losses[0].item() + 0.01


def test_a_combiner_of_ones_own_gets_equal_treatment():
    class Loudest(GramianCombiner):
        """All the weight on the objective with the largest gradient."""

        def weigh(self, gramian, losses):
            return nn.functional.one_hot(gramian.diagonal().argmax(), len(losses)).double()

    module = Recorded(
        kit.model(), {"f": UnlearningCrossEntropyLoss(), "r": CausalLMLoss()}, Loudest(normalization="none"), **OPTIONS
    )
    fit(module)
    for step in module.history:
        loudest = step["gramian"].diagonal().argmax()
        assert step["weights"].nonzero().flatten().tolist() == [loudest]


def test_an_element_wise_mask_takes_a_decoupled_weight_decay():
    mask = ElementMask({"model.norm.weight": torch.zeros(32, dtype=torch.bool)})
    coupled = MOLLM(kit.model(), mask=mask, optimizer=functools.partial(torch.optim.SGD, lr=1e-3, weight_decay=0.01))
    with pytest.raises(ValueError, match=r"SGD has weight_decay=0\.01.*ElementMask.*weight_decay=0"):
        fit(coupled)
    module = MOLLM(kit.model(), mask=mask)  # AdamW with weight decay 0.01
    fit(module)
    assert torch.equal(module.model.model.norm.weight, kit.model().model.norm.weight)
    assert not torch.equal(module.model.model.embed_tokens.weight, kit.model().model.embed_tokens.weight)
