"""Seeded draws follow the model's distribution, and depend on prompt and seed alone."""

import torch

from tests import kit
from unlearn_pl.models import Sampling, sample
from unlearn_pl.models.language.sampling import inverse_draw


def prompts(texts):
    tokenizer = kit.tokenizer()
    rows = [tokenizer(text).input_ids for text in texts]
    width = max(map(len, rows))
    return {
        "prompt_ids": torch.tensor([[tokenizer.pad_token_id] * (width - len(row)) + row for row in rows]),
        "prompt_mask": torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows]),
        "index": torch.arange(len(rows)),
        "answer": [""] * len(rows),
    }


def test_draws_follow_the_distribution():
    logits = torch.tensor([[0.0, 1.0, -torch.inf, 2.0]]).expand(20_001, -1)
    uniforms = torch.arange(20_001, dtype=torch.float64) / 20_001  # every quantile once
    for temperature in (0.5, 1.0, 2.0):
        shares = inverse_draw(logits, uniforms, Sampling(temperature)).bincount(minlength=4) / 20_001
        torch.testing.assert_close(shares, (logits[0] / temperature).softmax(-1), rtol=0, atol=2e-4)
    # e^2 : e^1 : 1 are 67, 24 and 9 percent: the two most likely tokens reach 80 percent
    shares = inverse_draw(logits, uniforms, Sampling(1.0, 0.8)).bincount(minlength=4) / 20_001
    torch.testing.assert_close(shares, torch.tensor([0.0, 1.0, -torch.inf, 2.0]).masked_fill(
        torch.tensor([True, False, True, False]), -torch.inf).softmax(-1), rtol=0, atol=2e-4)  # fmt: skip
    assert inverse_draw(logits[:2], torch.tensor([0.0, 1 - 2**-53]), Sampling()).tolist() == [0, 3]


def test_answers_depend_on_prompt_and_seed_alone():
    model, tokenizer = kit.model(), kit.tokenizer()
    texts = ["What is known about Oda 1?", "Who?", "What is known about the children of Ivo 2?"]
    together = sample(model, prompts(texts), tokenizer, 12, Sampling(), seeds=[5, 6, 7])
    torch.rand(3)  # the global state plays no part
    alone = [
        sample(model, prompts([text]), tokenizer, 12, Sampling(), seeds=[seed])[0]
        for text, seed in zip(texts, (5, 6, 7), strict=True)
    ]
    assert together == alone
    assert len(set(together)) == 3
    others = sample(model, prompts(texts[:1] * 6), tokenizer, 12, Sampling(), seeds=range(6))
    assert len(set(others)) == 6
    assert others[5] == together[0]
