import pytest
import torch

from experiments.studies.markov_chains import load_model, new_model
from experiments.studies.markov_chains.model import MarkovTransformer
from unlearn_pl.models import save_pretrained


@pytest.fixture(scope="module")
def small() -> MarkovTransformer:
    return new_model(hidden_size=16, num_layers=2, positions=9).eval()


def states(count: int, length: int) -> torch.Tensor:
    return torch.randint(10, (count, length), generator=torch.Generator().manual_seed(3))


def test_has_the_size_of_the_paper():
    # The authors' 335 754, and one more position: they cut the last state off before the model, we do after it.
    assert sum(p.numel() for p in new_model().parameters()) == 335_754 + 128


def test_forward_is_the_formula(small):
    ids = states(3, 7)
    hidden = small.states.weight[ids] + small.positions.weight[:7]
    future = torch.ones(7, 7).triu(1).bool()
    for layer in small.layers:
        scores = (hidden @ layer.query.weight.T) @ (hidden @ layer.key.weight.T).mT / 16**0.5
        attended = scores.masked_fill(future, -torch.inf).softmax(-1) @ (hidden @ layer.value.weight.T)
        hidden = normalized(hidden + attended, layer.attention_norm)
        inner = (hidden @ layer.up.weight.T + layer.up.bias).clamp(min=0)
        hidden = normalized(hidden + inner @ layer.down.weight.T + layer.down.bias, layer.norm)
    logits = hidden @ small.lm_head.weight.T + small.lm_head.bias
    assert torch.allclose(small(ids).logits, logits, atol=1e-5)


def normalized(x: torch.Tensor, norm: torch.nn.LayerNorm) -> torch.Tensor:
    centered = x - x.mean(-1, keepdim=True)
    return centered / (centered.square().mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight + norm.bias


@pytest.mark.parametrize("changed", [1, 4, 8])
def test_no_state_sees_a_later_one(small, changed):
    ids = states(2, 9)
    other = ids.clone()
    other[:, changed:] = (other[:, changed:] + 5) % 10
    before, after = small(ids).logits, small(other).logits
    assert torch.allclose(before[:, :changed], after[:, :changed], atol=1e-6)
    assert not torch.allclose(before[:, changed], after[:, changed], atol=1e-3)


def test_padding_at_the_right_changes_nothing(small):
    ids = states(2, 5)
    padded = torch.cat([ids, torch.zeros(2, 4, dtype=torch.long)], dim=1)
    mask = torch.tensor([[1] * 5 + [0] * 4] * 2)
    assert torch.allclose(small(padded, attention_mask=mask).logits[:, :5], small(ids).logits, atol=1e-6)


def test_earlier_states_matter(small):
    ids = states(1, 6)
    other = ids.clone()
    other[:, 0] = (other[:, 0] + 1) % 10
    assert not torch.allclose(small(ids).logits[:, -1], small(other).logits[:, -1], atol=1e-4)


def test_seeds_make_the_weights_and_leave_the_global_state(small):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    again, other = new_model(16, 2, 9), new_model(16, 2, 9, seed=1)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(again.lm_head.weight, small.lm_head.weight)
    assert not torch.equal(other.lm_head.weight, small.lm_head.weight)


def test_is_saved_and_loaded(small, tmp_path):
    save_pretrained(small, tmp_path / "hf")
    loaded = load_model(str(tmp_path / "hf"))
    assert loaded.training
    ids = states(2, 9)
    assert torch.equal(loaded.eval()(ids).logits, small(ids).logits)


def test_gives_the_states_of_all_layers_when_asked(small):
    ids = states(2, 5)
    hidden = small(ids, output_hidden_states=True).hidden_states
    assert [h.shape for h in hidden] == [(2, 5, 16)] * 3
    assert small(ids).hidden_states is None
    assert torch.allclose(small.lm_head(hidden[-1]), small(ids).logits)
