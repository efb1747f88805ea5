"""Gradients without the principal directions of their tokens, against outer products of every token."""

import pytest
import torch
from torch import nn

from tests import kit
from tests.runtime import FakeRuntime
from unlearn_pl.combiners import Scalarization
from unlearn_pl.engine import Descent, LocalRuntime
from unlearn_pl.gradients import CollapseIrrelevant, FirstOrder, Replay, window_of
from unlearn_pl.gradients.sources.principal_directions import PrincipalDirections
from unlearn_pl.objectives import Objective
from unlearn_pl.types import LanguageView

INPUTS, OUTPUTS = 3, 4


class TokenLoss(Objective):
    def loss(self, view):
        return (view.logps.tanh() * view.mask).sum() / view.mask.sum().clamp(min=1)


class Layered:
    """Two linear layers on given vectors; rows of two streams, of unequal length."""

    def __init__(self, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.model = nn.Sequential()
        for name, sizes in (("up_proj", (6, 9)), ("other", (9, 5))):
            layer = nn.Linear(*sizes, dtype=torch.float64)
            for parameter in layer.parameters():
                parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            self.model.add_module(name, layer)
        self.objectives = {"forget": TokenLoss(), "retain": TokenLoss("retain")}
        self.objectives["retain"].role = "retain"
        self.steps = [
            {name: self.batch(generator, offset) for offset, name in enumerate(("forget", "retain"))} for _ in range(2)
        ]

    @staticmethod
    def batch(generator, offset):
        labels = torch.zeros(4, 7, dtype=torch.long)
        for row, length in enumerate((7, 4, 6, 3)):
            labels[row, length:] = -100
        x = torch.randn(4, 6, 6, generator=generator, dtype=torch.float64) + 2 * offset
        return {"x": x, "labels": labels, "index": torch.arange(4)}

    def view(self, stream, batch):
        mask = batch["labels"][:, 1:] != -100
        outputs = torch.tanh(self.model.other(torch.tanh(self.model.up_proj(batch["x"])))).sum(-1)
        return LanguageView(labels=batch["labels"][:, 1:], mask=mask, logps=outputs, index=batch["index"])

    def replay(self, step, cuts=((0, 4),), mask=lambda row: None):
        runtime = FakeRuntime(self.model.parameters(), self.view, mask)
        runtime.model = self.model
        data = {
            name: [{key: value[i:j] for key, value in batch.items()} for i, j in cuts]
            for name, batch in self.steps[step].items()
        }
        return Replay(window_of(data, self.objectives, runtime.count), runtime)

    def tokens(self, step):
        """Inputs and gradients of the outputs of the first layer, of every scored forget token."""
        batch = self.steps[step]["forget"]
        scored = batch["labels"][:, 1:] != -100
        inputs = batch["x"][scored]
        outputs = self.model.up_proj(inputs).detach().requires_grad_()
        self.model.other(outputs.tanh()).tanh().sum(-1).tanh().mean().backward()
        self.model.zero_grad()
        return inputs, outputs.grad


def without(vectors, seen, number):
    """``vectors`` without the mean and the ``number - 1`` first components of ``seen``, by full decompositions."""
    mean = seen.mean(0)
    _, _, components = torch.linalg.svd(seen - mean, full_matrices=False)
    basis, _ = torch.linalg.qr(torch.cat([mean[None], components[: number - 1]]).T)
    return vectors - vectors @ basis @ basis.T


def test_equals_the_sum_of_projected_outer_products_over_two_steps():
    case, source = Layered(), CollapseIrrelevant(INPUTS, OUTPUTS)
    inputs, gradients = zip(*(case.tokens(step) for step in range(2)), strict=True)
    for step in range(2):
        rows, plain = source.rows(case.replay(step)), FirstOrder().rows(case.replay(step))
        a = without(inputs[step], torch.cat(inputs[: step + 1]), INPUTS)
        d = without(gradients[step], torch.cat(gradients[: step + 1]), OUTPUTS)
        torch.testing.assert_close(plain["forget"][0], gradients[step].T @ inputs[step])
        torch.testing.assert_close(rows["forget"][0], d.T @ a, rtol=1e-5, atol=1e-7)
        assert (rows["forget"][0] - plain["forget"][0]).norm() > 0.1 * plain["forget"][0].norm()
        assert list(rows) == ["forget", "retain"]
        for place, same in enumerate(plain["forget"][1:], start=1):  # the bias, and the other layer
            assert torch.equal(rows["forget"][place], same)
        assert all(map(torch.equal, rows["retain"], plain["retain"]))


@pytest.mark.parametrize("sides", [(INPUTS, 0), (0, OUTPUTS)])
def test_one_side_alone(sides):
    case = Layered()
    inputs, gradients = case.tokens(0)
    a = without(inputs, inputs, INPUTS) if sides[0] else inputs
    d = without(gradients, gradients, OUTPUTS) if sides[1] else gradients
    row = CollapseIrrelevant(*sides).rows(case.replay(0))["forget"]
    torch.testing.assert_close(row[0], d.T @ a, rtol=1e-5, atol=1e-7)


def test_micro_batches_change_nothing():
    whole, parts = CollapseIrrelevant(INPUTS, OUTPUTS), CollapseIrrelevant(INPUTS, OUTPUTS)
    for step in range(2):
        one = whole.rows(Layered().replay(step))["forget"]
        other = parts.rows(Layered().replay(step, cuts=((0, 1), (1, 4))))["forget"]
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_a_mask_stays_a_mask():
    def mask(row):
        row[0][2:5] = 0

    row = CollapseIrrelevant(INPUTS, OUTPUTS).rows(Layered().replay(0, mask=mask))["forget"]
    assert (row[0][2:5] == 0).all()
    assert (row[0][:2] != 0).all()


def test_steps_in_between_keep_the_directions_and_resuming_keeps_both():
    case, (source, resumed) = Layered(), (CollapseIrrelevant(INPUTS, 0, measure_every=2) for _ in range(2))
    source.rows(case.replay(0))
    resumed.load_state_dict(source.state_dict())
    row = source.rows(case.replay(1))["forget"][0]
    inputs, gradients = case.tokens(1)
    torch.testing.assert_close(row, gradients.T @ without(inputs, case.tokens(0)[0], INPUTS), rtol=1e-5, atol=1e-7)
    assert torch.equal(resumed.rows(case.replay(1))["forget"][0], row)
    for each in (source, resumed):
        each.reset()
    first = source.rows(case.replay(1))["forget"][0]
    torch.testing.assert_close(first, gradients.T @ without(inputs, inputs, INPUTS), rtol=1e-5, atol=1e-7)


def test_of_all_tokens_only_the_last_count_with_a_decay_of_0():
    case, source = Layered(), CollapseIrrelevant(INPUTS, 0, decay=0.0)
    source.rows(case.replay(0))
    inputs, gradients = case.tokens(1)
    row = source.rows(case.replay(1))["forget"][0]
    torch.testing.assert_close(row, gradients.T @ without(inputs, inputs, INPUTS), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("conv1d", [False, True], ids=["[out, in]", "[in, out]"])
def test_a_step_of_a_language_model(conv1d):
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=40, n_positions=16, n_embd=16, n_layer=1, n_head=2, resid_pdrop=0, embd_pdrop=0)
    model, names = (GPT2LMHeadModel(config), ["mlp.c_fc"]) if conv1d else (kit.model(), ["up_proj"])
    ids = torch.randint(5, 40, (4, 9))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids, "index": torch.arange(4)}
    objectives = {"forget": TokenLoss(), "retain": TokenLoss("retain")}
    objectives["retain"].role = "retain"
    source = CollapseIrrelevant(5, 6, matrices=names)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    runtime = LocalRuntime(model, optimizer, objectives)
    descent = Descent(objectives, Scalarization({"forget": 1.0, "retain": 0.0}), gradient=source)
    assert descent.step({"forget": [batch], "retain": [batch]}, runtime).moves
    (name,) = list(source.state_dict()["seen"])[:1]
    gradient = model.get_parameter(name).grad
    basis = source._directions(name, "inputs").basis(5).float()
    assert basis.shape == (gradient.shape[0 if conv1d else 1], 5)
    left = (gradient.T if conv1d else gradient) @ basis
    assert left.abs().max() < 1e-5 * gradient.norm()


def test_directions_are_exact_while_there_is_room_for_them():
    torch.manual_seed(0)
    parts = [torch.randn(n, 30, dtype=torch.float64) + 1 for n in (4, 1, 7)]
    seen = PrincipalDirections(12)
    for part in parts:
        seen.add(part)
    seen.add(torch.zeros(0, 30))
    whole = torch.cat(parts)
    basis = seen.basis(5)
    torch.testing.assert_close(basis.T @ basis, torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(whole - whole @ basis @ basis.T, without(whole, whole, 5), rtol=1e-5, atol=1e-6)
    alone = PrincipalDirections(12)
    alone.add(torch.ones(3, 30))
    assert alone.basis(5).shape == (30, 1)  # nothing but the mean was seen


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": -1}, "inputs=-1 and outputs=36; accepted: 0 or more"),
        ({"inputs": 0, "outputs": 0}, "not 0 of both"),
        ({"measure_every": 0}, "measure_every is 0; accepted"),
        ({"decay": 1.5}, "decay is 1.5; accepted"),
        ({"matrices": "up_proj"}, "matrices='up_proj'; accepted: a list"),
    ],
)
def test_arguments_that_are_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        CollapseIrrelevant(**arguments)


def test_matrices_that_do_not_fit():
    with pytest.raises(ValueError, match=r"no trained matrix has a name with one of \['gate'\].* of \['up_proj"):
        CollapseIrrelevant(matrices=["gate"]).rows(Layered().replay(0))
    with pytest.raises(ValueError, match=r"would leave nothing of the gradient of up_proj.weight, which has 6 inputs"):
        CollapseIrrelevant().rows(Layered().replay(0))
