"""Principal axes of inputs, and changes of weights from which they are taken out."""

import pytest
import torch

from tests import kit
from tests.families import make
from unlearn_pl.attribution.input_directions import InputDirections, cleaned, principal_axes

NAMES = {"llama": "model.layers.1.mlp.up_proj.weight", "gpt2": "transformer.h.1.mlp.c_fc.weight"}


def batches(seed: int = 0):
    ids = torch.randint(3, 300, (3, 7), generator=torch.Generator().manual_seed(seed))
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    return [{"input_ids": ids, "attention_mask": mask}]


def inputs_of(model, module, given) -> torch.Tensor:
    """The inputs of ``module`` at the tokens that are no padding, ``[n, in]``."""
    seen = []
    handle = module.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        for batch in given:
            model(**batch)
    handle.remove()
    return torch.cat([x[batch["attention_mask"].bool()] for x, batch in zip(seen, given, strict=True)])


def test_the_axes_hold_the_share_and_no_more():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 6, generator=generator, dtype=torch.float64) * torch.tensor([9.0, 5, 3, 1, 0.5, 0.1])
    for energy in (0.5, 0.9, 0.99):
        axes = principal_axes(x.T @ x, energy).double()
        torch.testing.assert_close(axes.T @ axes, torch.eye(axes.shape[1], dtype=torch.float64), atol=1e-6, rtol=0)
        held = [(x @ axes[:, :k]).square().sum() / x.square().sum() for k in (axes.shape[1] - 1, axes.shape[1])]
        assert held[0] < energy <= held[1] + 1e-6


def test_inputs_of_lower_rank_need_no_more_axes_than_their_rank():
    x = torch.ones(5, 1, dtype=torch.float64) @ torch.tensor([[1.0, 2.0, 2.0]], dtype=torch.float64)
    axes = principal_axes(x.T @ x, 0.999)
    torch.testing.assert_close(axes.abs(), torch.tensor([[1 / 3], [2 / 3], [2 / 3]]))
    assert principal_axes(torch.zeros(3, 3, dtype=torch.float64), 0.9).shape == (3, 0)


def test_directions_are_those_of_the_real_tokens_of_every_matrix():
    model = kit.model().eval()
    directions = InputDirections(model, batches, energy=0.9)
    assert "model.layers.1.mlp.down_proj.weight" in directions.matrices
    for name in ("model.layers.0.self_attn.q_proj.weight", "model.layers.1.mlp.down_proj.weight"):
        x = inputs_of(model, model.get_submodule(name.removesuffix(".weight")), batches()).double()
        expected = principal_axes(x.T @ x, 0.9)
        found = directions.of(directions.matrices[name])
        torch.testing.assert_close(found @ found.T, expected @ expected.T, atol=1e-5, rtol=0)
    assert all(name.startswith("model.layers.1.") for name in directions._found)  # one layer at a time


@pytest.mark.parametrize("family", NAMES)
def test_a_cleaned_matrix_is_the_original_on_retained_inputs_and_the_new_one_beside_them(family):
    model, name = make(family, 300).eval(), NAMES[family]
    directions = InputDirections(model, batches, energy=0.9)
    matrix = directions.matrices[name]
    before = matrix.parameter.detach()
    after = before + torch.randn(before.shape, generator=torch.Generator().manual_seed(1))
    new = cleaned(directions)(name, before, after)
    axes = directions.of(matrix)
    x = torch.randn(5, axes.shape[0], generator=torch.Generator().manual_seed(2))
    inside = (x @ axes) @ axes.T
    old_matrix, new_matrix, unlearned = (w.movedim(matrix.input_dim, -1) for w in (before, new, after))
    torch.testing.assert_close(inside @ new_matrix.T, inside @ old_matrix.T, atol=1e-4, rtol=1e-4)
    beside = x - inside
    torch.testing.assert_close(beside @ new_matrix.T, beside @ unlearned.T, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(inside @ new_matrix.T, inside @ unlearned.T, atol=1e-2)


def test_embeddings_and_vectors_keep_their_change():
    directions = InputDirections(kit.model(), batches)
    before, after = torch.zeros(300, 32), torch.ones(300, 32)
    for name in ("model.embed_tokens.weight", "model.norm.weight"):
        assert torch.equal(cleaned(directions)(name, before, after), after)


@pytest.mark.parametrize("energy", [0.0, 1.0, float("nan")])
def test_the_share_is_checked(energy):
    with pytest.raises(ValueError, match=r"energy=.*; accepted: a share in \(0, 1\)"):
        InputDirections(kit.model(), batches, energy)


def test_an_expert_without_tokens_has_no_directions():
    model = torch.nn.ModuleDict({"used": torch.nn.Linear(3, 2), "idle": torch.nn.Linear(4, 2)})
    model.forward = lambda input_ids, attention_mask: model["used"](torch.ones(*input_ids.shape, 3))
    directions = InputDirections(model, batches)
    shapes = {name: list(directions.of(matrix).shape) for name, matrix in directions.matrices.items()}
    assert shapes == {"used.weight": [3, 1], "idle.weight": [4, 0]}
