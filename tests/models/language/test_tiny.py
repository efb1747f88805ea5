import pytest
import torch

from unlearn_pl.models import tiny_llama, train_tokenizer


def test_the_weights_follow_the_seed_and_the_global_random_state_stays():
    before = torch.get_rng_state()
    first, again, other = (tiny_llama(50, hidden_size=16, num_heads=2, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    pairs = zip(first.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)
    assert first.training


@pytest.mark.parametrize("tie", [True, False])
def test_shapes_types_and_tying_are_those_asked_for(tie):
    model = tiny_llama(50, hidden_size=16, num_layers=3, num_heads=2, tie=tie, dtype=torch.float64)
    assert len(model.model.layers) == 3
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert (model.lm_head.weight is model.model.embed_tokens.weight) is tie


def test_a_tokenizer_reads_any_text_and_adds_nothing():
    tokenizer = train_tokenizer(["the mill by the river", "the miller's river"], vocab_size=270)
    for text in ["the mill", "Ærø, 漢字 and 🙂\n", " two  spaces "]:
        ids = tokenizer(text).input_ids
        assert tokenizer.decode(ids) == text
        assert not set(ids) & set(tokenizer.all_special_ids)
    assert len(tokenizer("the river").input_ids) < len("the river")
    assert len(tokenizer) <= 270


@pytest.mark.parametrize("pad_is_eos", [True, False])
def test_padding_is_its_own_token_unless_asked_otherwise(pad_is_eos):
    tokenizer = train_tokenizer(["one", "two"], pad_is_eos=pad_is_eos)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1)
    assert tokenizer.pad_token_id == (1 if pad_is_eos else 2)


def test_a_chat_template_is_used():
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    tokenizer = train_tokenizer(["one"], chat_template=template)
    assert tokenizer.apply_chat_template([{"role": "user", "content": "one"}], tokenize=False) == "<user>one"
