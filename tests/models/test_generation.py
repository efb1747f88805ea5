import logging

import pytest
import torch

from unlearn_pl.models import LoRA, generate


def left_padded(tokenizer, prompts):
    rows = [tokenizer(prompt).input_ids for prompt in prompts]
    width = max(map(len, rows))
    ids = torch.tensor([[tokenizer.pad_token_id] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return {"prompt_ids": ids, "prompt_mask": mask, "index": torch.arange(len(rows)), "answer": [""] * len(rows)}


def greedy(model, tokenizer, prompt, max_new_tokens):
    """One token after the other, without cache, padding or generation library."""
    ids = torch.tensor([tokenizer(prompt).input_ids])
    for _ in range(max_new_tokens):
        ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], dim=1)
        if ids[0, -1] == tokenizer.eos_token_id:
            break
    return tokenizer.decode(ids[0, len(tokenizer(prompt).input_ids) :], skip_special_tokens=True).strip()


PROMPTS = ["Who keeps the lighthouse of Tarn?", "Where?", "What did Ruben Aalto paint? He"]


@pytest.mark.parametrize("seed", [0, 3])
def test_continuations_are_the_most_probable_tokens(tiny_model, tokenizer, seed):
    model = tiny_model(seed=seed, dtype=torch.float64)
    found = generate(model, left_padded(tokenizer, PROMPTS), tokenizer, max_new_tokens=12)
    assert found == [greedy(model.eval(), tokenizer, prompt, 12) for prompt in PROMPTS]
    assert len(set(found)) > 1


def test_sampling_settings_of_the_model_are_neither_used_nor_warned_about(tiny_model, tokenizer, caplog):
    model, batch = tiny_model(dtype=torch.float64), left_padded(tokenizer, PROMPTS)
    expected = generate(model, batch, tokenizer, max_new_tokens=8)
    own = model.generation_config
    own.do_sample, own.temperature, own.top_p, own.top_k, own.repetition_penalty = True, 0.6, 0.9, 20, 3.0
    own.eos_token_id, own.pad_token_id = [1, 5], None
    logging.getLogger("transformers").addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.WARNING, logger="transformers"):
            assert generate(model, batch, tokenizer, max_new_tokens=8) == expected
    finally:
        logging.getLogger("transformers").removeHandler(caplog.handler)
    assert caplog.messages == []


def test_every_submodule_gets_its_own_mode_back(tiny_model, tokenizer):
    model = tiny_model()
    model.model.layers[1].eval()
    before = [module.training for module in model.modules()]
    generate(model, left_padded(tokenizer, PROMPTS), tokenizer, max_new_tokens=2)
    assert [module.training for module in model.modules()] == before
    assert True in before
    assert False in before


def test_models_with_adapters_generate_too(tiny_model, tokenizer):
    plain, batch = tiny_model(dtype=torch.float64), left_padded(tokenizer, PROMPTS)
    expected = generate(plain, batch, tokenizer, max_new_tokens=6)
    adapted = LoRA(r=2, dropout=0.5).apply(plain).train()
    assert generate(adapted, batch, tokenizer, max_new_tokens=6) == expected
