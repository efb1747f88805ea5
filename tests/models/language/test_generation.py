import logging

import pytest
import torch
from transformers import MambaConfig, MambaForCausalLM, MistralConfig, MistralForCausalLM

from unlearn_pl.models import LoRA, generate
from unlearn_pl.models.language.generation import STRIDE, cut


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


def with_drafts(batch, tokenizer, drafts):
    width = max(map(len, drafts))
    ids = torch.tensor([draft + [tokenizer.pad_token_id] * (width - len(draft)) for draft in drafts], dtype=torch.long)
    mask = torch.tensor([[1] * len(draft) + [0] * (width - len(draft)) for draft in drafts])
    return batch | {"draft_ids": ids, "draft_mask": mask}


def greedy_ids(model, tokenizer, prompt, ends, count):
    """One token after the other, up to the first of ``ends``, which is kept."""
    ids = tokenizer(prompt).input_ids
    start = len(ids)
    while len(ids) < start + count and (len(ids) == start or ids[-1] not in ends):
        ids = [*ids, model(torch.tensor([ids])).logits[0, -1].argmax().item()]
    return ids[start:]


@pytest.fixture
def ending_model(tiny_model, tokenizer):
    """A random model whose texts end after different numbers of tokens, some never, and the texts."""
    model = tiny_model(dtype=torch.float64, tie=False).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(12 if parameter.ndim > 1 else 1)  # weights as small as usual repeat a token for ever
    endless = [greedy_ids(model, tokenizer, prompt, (), 45) for prompt in PROMPTS]
    model.generation_config.eos_token_id = [endless[0][20], endless[1][3]]
    ends = (*model.generation_config.eos_token_id, tokenizer.eos_token_id)
    return model, [greedy_ids(model, tokenizer, prompt, ends, 45) for prompt in PROMPTS]


def test_texts_that_end_leave_the_batch(ending_model, tokenizer):
    model, ids = ending_model
    assert len(set(map(len, ids))) == 3
    sizes = []
    model.register_forward_hook(lambda module, inputs, output: sizes.append(len(output.logits)))
    found = generate(model, left_padded(tokenizer, PROMPTS), tokenizer, max_new_tokens=45)
    assert found == [tokenizer.decode(row, skip_special_tokens=True).strip() for row in ids]
    assert sizes[0] == 3
    assert sizes[-1] < 3
    assert len(sizes) <= max(map(len, ids)) + STRIDE


@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_drafts_change_nothing_but_the_number_of_steps(ending_model, tokenizer, share):
    model, ids = ending_model
    expected = [tokenizer.decode(row, skip_special_tokens=True).strip() for row in ids]
    drafts = [row[: int(share * len(row))] + [7] * (row[0] % 3) for row in ids]
    steps = []
    model.register_forward_hook(lambda *_: steps.append(1))
    batch = left_padded(tokenizer, PROMPTS)
    assert generate(model, with_drafts(batch, tokenizer, drafts), tokenizer, max_new_tokens=45) == expected
    assert len(steps) <= 1 + (1 - share) * (max(map(len, ids)) + 1)
    # drafts of others, and none at all
    others = [drafts[1], [], drafts[0]]
    assert generate(model, with_drafts(batch, tokenizer, others), tokenizer, max_new_tokens=45) == expected
    assert generate(model, with_drafts(batch, tokenizer, [[], [], []]), tokenizer, max_new_tokens=45) == expected


def test_drafts_are_not_longer_than_what_is_generated(ending_model, tokenizer):
    model, ids = ending_model
    batch = with_drafts(left_padded(tokenizer, PROMPTS), tokenizer, ids)
    found = generate(model, batch, tokenizer, max_new_tokens=2)
    assert found == [tokenizer.decode(row[:2], skip_special_tokens=True).strip() for row in ids]


def test_texts_end_where_they_are_cut_off(ending_model, tokenizer):
    model, ids = ending_model
    whole = [tokenizer.decode(row, skip_special_tokens=True) for row in ids]
    stop = whole[2][8:10]
    steps = []
    model.register_forward_hook(lambda *_: steps.append(1))
    longest = left_padded(tokenizer, PROMPTS[2:])
    assert generate(model, longest, tokenizer, max_new_tokens=45, stop=[stop]) == [cut(whole[2], [stop]).strip()]
    assert len(steps) <= 2 * STRIDE < len(ids[2])


def make(family: str, vocab_size: int):
    """A random model whose cache is not just keys and values of all tokens."""
    common = {"vocab_size": vocab_size, "hidden_size": 32, "num_hidden_layers": 2, "bos_token_id": 0, "eos_token_id": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 64, "pad_token_id": 2}
    torch.manual_seed(0)
    if family == "mistral":
        model = MistralForCausalLM(MistralConfig(sliding_window=5, **common, **heads))
    else:
        model = MambaForCausalLM(MambaConfig(state_size=4, pad_token_id=2, **common))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6 if parameter.ndim > 1 and family == "mistral" else 1)
    return model.double().eval()


@pytest.mark.parametrize("family", ["mistral", "mamba"])
def test_other_kinds_of_caches(tokenizer, family):
    model = make(family, len(tokenizer))
    endless = [greedy_ids(model, tokenizer, prompt, (), 40) for prompt in PROMPTS]
    model.generation_config.eos_token_id = [endless[0][6], endless[1][20]]
    ends = (*model.generation_config.eos_token_id, tokenizer.eos_token_id)
    ids = [greedy_ids(model, tokenizer, prompt, ends, 40) for prompt in PROMPTS]
    expected = [tokenizer.decode(row, skip_special_tokens=True).strip() for row in ids]
    batch = left_padded(tokenizer, PROMPTS)
    assert max(map(len, ids)) > STRIDE
    assert generate(model, batch, tokenizer, max_new_tokens=40) == expected
    half = with_drafts(batch, tokenizer, [row[: len(row) // 2] for row in ids])
    assert generate(model, half, tokenizer, max_new_tokens=40) == expected
