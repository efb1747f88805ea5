"""The loss on tuned lenses, against arithmetic by hand and the random labels that it averages over."""

import math
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests import kit
from tests.lenses import lens_file, random_lens
from tests.objectives.views import NEEDED, V, make_tensors, make_view
from unlearn_pl.combiners import Scalarization
from unlearn_pl.models.layers.lens import read_lens
from unlearn_pl.modules import TunedLens, UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, TunedLensLoss

LENS = NEEDED[TunedLensLoss][0]["lens"]


def views():
    hidden, ref_hidden, labels = make_tensors()
    view = make_view(hidden, ref_hidden, labels)
    view.hidden[8] = view.hidden[7].flip(-1) - 1
    return view


def by_hand(layer, state):
    """Logits ``[V]`` of one state, one unit at a time."""
    lens = random_lens(V, V)
    matrix, vector = lens.maps[layer]
    moved = [state[i] + sum(matrix[i, j] * state[j] for j in range(V)) + vector[i] for i in range(V)]
    length = math.sqrt(sum(x**2 for x in moved) / V + 1e-5)
    r = lens.readout
    normed = [r.gain[i] * moved[i] / length + r.shift[i] for i in range(V)]
    return torch.stack([sum(r.head[v, i] * normed[i] for i in range(V)) + r.bias[v] for v in range(V)])


@pytest.mark.parametrize("output", [False, True])
def test_value_is_the_mean_cross_entropy_over_labels_layers_and_tokens(output):
    view = views()
    terms = []
    for b, t in view.mask.nonzero().tolist():
        found = [by_hand(layer, view.hidden[layer][b, t]) for layer in (7, 8)]
        found += [view.logits[b, t]] if output else []
        terms += [sum(-math.log(p) for p in logits.softmax(-1)) / V / math.log(V) for logits in found]
    objective = TunedLensLoss(LENS, [7, 8], output)
    assert objective.needs == {"hidden.7", "hidden.8"} | ({"logits"} if output else set())
    assert objective(view).item() == pytest.approx(sum(terms) / len(terms), rel=1e-10)


def test_the_gradient_is_the_mean_of_those_of_random_labels():
    """The cross-entropy of a label drawn anew, as in the authors' code, averaged over every label there is."""
    view, lens = views(), read_lens(LENS)
    leaf = view.hidden[7].clone().requires_grad_()
    view.hidden[7] = leaf
    (found,) = torch.autograd.grad(TunedLensLoss(LENS, [7], output=False)(view), leaf)
    expected = torch.zeros_like(leaf)
    for label in range(V):
        logps = lens.logits(7, leaf[view.mask]).log_softmax(-1)[:, label]
        (gradient,) = torch.autograd.grad(-logps.mean() / math.log(V), leaf)
        expected += gradient / V
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    assert found.abs().max() > 1e-3


def test_the_minimum_is_where_every_token_is_equally_likely():
    view = views()
    view.logits = torch.zeros_like(view.logits)
    silent, lens = TunedLensLoss(LENS, [7]), random_lens(V, V)
    nothing = replace(lens.readout, head=0 * lens.readout.head, bias=0 * lens.readout.bias)
    silent._read = replace(lens, readout=nothing)
    assert silent(view).item() == pytest.approx(1)
    assert TunedLensLoss(LENS, [7])(view).item() > 1


def test_the_lens_is_not_in_the_state_and_survives_pickling():
    view = views()
    objective = TunedLensLoss(LENS, [7, 8])
    expected = objective(view)
    assert not objective.state_dict()
    assert not list(objective.parameters())
    assert pickle.loads(pickle.dumps(objective))(view) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lens": "nowhere.safetensors", "layers": [7]}, "no file of lenses 'nowhere.safetensors'; `unlearn-pl lens`"),
        ({"lens": LENS, "layers": [3, 7]}, r"no lens for the layers \[3\]; accepted: \[1, 7, 8\]"),
        ({"lens": lens_file(5, V), "layers": [7]}, "width 5, and the model's have 6"),
    ],
)
def test_files_that_do_not_fit_are_errors_at_the_first_step(arguments, message):
    view = views()
    view.hidden[3] = view.hidden[7]
    with pytest.raises(ValueError, match=message):
        TunedLensLoss(**arguments)(view)


@pytest.mark.parametrize("layers", [[], [3, 3], [-1]])
def test_layers_are_checked(layers):
    with pytest.raises(ValueError, match="layer"):
        TunedLensLoss(LENS, layers)


def test_a_damaged_file_is_an_error(tmp_path):
    data = bytearray(Path(LENS).read_bytes())
    data[-1] ^= 1
    (tmp_path / "lens.safetensors").write_bytes(data)
    with pytest.raises(ValueError, match="changed after it was written"):
        read_lens(tmp_path / "lens.safetensors")


def test_the_method_is_the_sum_of_its_parts():
    """The first step of the preset is that of the forget loss alone, times 5: the retain weight begins at 0."""
    optimizer = lambda params: torch.optim.SGD(params, lr=1e-2)  # noqa: E731
    file = lens_file(32, len(kit.tokenizer()))
    changes = {}
    for name, weights in (("preset", None), ("forget", {"forget": 5.0, "retain": 0.0}), ("none", {"forget": 0.0})):
        options = {"optimizer": optimizer, "gradient_clip_val": None}
        if weights is None:
            module = TunedLens(kit.model(), file, [1], **options)
            before = [p.detach().clone() for p in module.model.parameters()]
        else:
            objectives = {"forget": TunedLensLoss(file, [1]), "retain": CausalLMLoss()}
            module = UnlearningModule(kit.model(), objectives, Scalarization(weights), **options)
        kit.trainer(max_steps=1).fit(module, kit.Questions(batch_size=4, micro_batch_size=2, splits=[]))
        changes[name] = [p - q for p, q in zip(module.model.parameters(), before, strict=True)]
    for found, expected in zip(changes["preset"], changes["forget"], strict=True):
        torch.testing.assert_close(found, expected)
    assert any(not torch.equal(a, b) for a, b in zip(changes["preset"], changes["none"], strict=True))
