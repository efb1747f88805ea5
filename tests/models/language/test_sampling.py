"""Random continuations have the model's probabilities."""

import pytest
import torch

from unlearn_pl.models import Sampling, sample

MANY = 4000


def drawn(model, tokenizer, text, sampling, new_tokens=1, copies=MANY):
    ids = torch.tensor([tokenizer(text)["input_ids"]]).expand(copies, -1)
    return sample(model, {"prompt_ids": ids, "prompt_mask": torch.ones_like(ids)}, tokenizer, new_tokens, sampling)


def probabilities(model, tokenizer, text, temperature) -> dict[str, float]:
    """Text of the next token to its probability; tokens of the same text are one."""
    with torch.no_grad():
        logits = model(torch.tensor([tokenizer(text)["input_ids"]])).logits[0, -1]
    found: dict[str, float] = {}
    for token, share in enumerate((logits / temperature).softmax(dim=-1).tolist()):
        written = tokenizer.decode([token], skip_special_tokens=True).strip()
        found[written] = found.get(written, 0.0) + share
    return found


@pytest.fixture
def model(tiny_model):
    """With logits that differ."""
    made = tiny_model(tie=False)
    with torch.no_grad():
        made.lm_head.weight *= 20
    return made


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_tokens_are_drawn_with_the_probabilities_of_the_model(model, tokenizer, temperature):
    torch.manual_seed(0)
    texts = drawn(model, tokenizer, "Who keeps", Sampling(temperature))
    expected = probabilities(model, tokenizer, "Who keeps", temperature)
    for text, share in sorted(expected.items(), key=lambda item: -item[1])[:5]:
        assert texts.count(text) / MANY == pytest.approx(share, abs=4 * (share * (1 - share) / MANY) ** 0.5)
    assert model.training


def test_the_least_likely_tokens_are_left_out(model, tokenizer):
    torch.manual_seed(0)
    texts = drawn(model, tokenizer, "Who keeps", Sampling(top_p=0.3))
    ranked = sorted(probabilities(model, tokenizer, "Who keeps", 1.0).items(), key=lambda item: -item[1])
    kept, total = set(), 0.0
    while total < 0.3:
        text, share = ranked.pop(0)
        kept.add(text)
        total += share
    assert set(texts) == kept


def test_draws_follow_the_global_random_state_and_stop(model, tokenizer):
    def texts(seed, **options):
        torch.manual_seed(seed)
        return drawn(model, tokenizer, "Who keeps", Sampling(2.0), new_tokens=6, copies=4)

    assert texts(1) == texts(1)
    assert texts(1) != texts(2)
    ids = torch.tensor([tokenizer("Who keeps")["input_ids"]])
    torch.manual_seed(1)
    cut = sample(model, {"prompt_ids": ids, "prompt_mask": torch.ones_like(ids)}, tokenizer, 6, Sampling(), stop=("",))
    assert cut == [""]


@pytest.mark.parametrize(
    "options", [{"temperature": 0.0}, {"temperature": float("inf")}, {"top_p": 0.0}, {"top_p": 2.0}]
)
def test_impossible_numbers_are_refused(options):
    with pytest.raises(ValueError, match="accepted is"):
        Sampling(**options)
