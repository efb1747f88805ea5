"""Patched log-probabilities equal those of models put together from the layers of two, in every layout."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

from tests import kit
from unlearn_pl.metrics import Core
from unlearn_pl.metrics.proof.core_drops import core_tokens
from unlearn_pl.metrics.proof.patching import layer_states, log_probs, patched_log_probs
from unlearn_pl.models import decoder_layers

LAYERS = 3


def llama():
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=LAYERS, num_attention_heads=2
        )
    )


def gpt2():
    return GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=16, n_layer=LAYERS, n_head=2, n_positions=32))


def gpt_neox():
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": LAYERS, "num_attention_heads": 2}
    return GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=40, **sizes))


EMBEDDINGS = {
    llama: ["model.embed_tokens"],
    gpt2: ["transformer.wte", "transformer.wpe"],
    gpt_neox: ["gpt_neox.embed_in"],
}


@pytest.fixture(params=[llama, gpt2, gpt_neox], ids=lambda f: f.__name__)
def make(request):
    return request.param


def pair(make):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        models = [make().double().eval() for _ in range(2)]
        for model in models:
            for parameter in model.parameters():
                parameter.data += 0.3 * torch.randn_like(parameter)  # far apart, so that every layer matters
    return models


def batch(first_label: int):
    ids = torch.arange(2 * 9).reshape(2, 9) * 7 % 40
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :first_label] = -100
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, "index": torch.arange(2)}


def put_together(make, full: nn.Module, source: nn.Module, layer: int) -> nn.Module:
    """The embedding and the first layers of ``source``, and the rest of ``full``."""
    made = deepcopy(full)
    if made.get_output_embeddings().weight is made.get_input_embeddings().weight:
        made.get_output_embeddings().weight = nn.Parameter(full.get_output_embeddings().weight.clone())
    for name in EMBEDDINGS[make]:
        made.get_submodule(name).weight = nn.Parameter(source.get_submodule(name).weight.clone())
    for mine, theirs in list(zip(decoder_layers(made), decoder_layers(source), strict=True))[:layer]:
        mine.load_state_dict(theirs.state_dict())
    return made


@torch.no_grad()
def test_with_all_positions_it_is_the_model_put_together(make):
    full, source = pair(make)
    everything = batch(first_label=1)
    found = patched_log_probs(full, everything, layer_states(source, everything))
    assert found.shape == (2, LAYERS)
    for layer in range(1, LAYERS + 1):
        expected = log_probs(put_together(make, full, source, layer), everything)
        torch.testing.assert_close(found[:, layer - 1], expected, rtol=0, atol=1e-10)
    assert (found - log_probs(full, everything)[:, None]).abs().min() > 1e-3


@torch.no_grad()
def test_own_states_change_nothing(make):
    full, _ = pair(make)
    core = batch(first_label=4)
    found = patched_log_probs(full, core, layer_states(full, core))
    assert torch.equal(found, log_probs(full, core)[:, None].expand(-1, LAYERS))


@torch.no_grad()
def test_other_positions_keep_their_states():
    full, source = pair(llama)
    core = batch(first_label=4)
    found = patched_log_probs(full, core, layer_states(source, core))
    states = [
        model(core["input_ids"], attention_mask=core["attention_mask"], output_hidden_states=True).hidden_states
        for model in (full, source)
    ]
    for layer in range(1, LAYERS):  # the states behind the last layer are normalized in this list
        mixed, theirs = states[0][layer].clone(), states[1][layer]
        mixed[0, 3:8], mixed[1, 3:5] = theirs[0, 3:8], theirs[1, 3:5]  # positions that predict tokens 4 to 8 and 4, 5
        rest = deepcopy(full)
        rest.model.layers = rest.model.layers[layer:]
        logits = rest(inputs_embeds=mixed, attention_mask=core["attention_mask"]).logits.log_softmax(-1)
        for row, length in ((0, 9), (1, 6)):
            targets = core["input_ids"][row, 4:length]
            expected = logits[row, 3 : length - 1].gather(-1, targets[:, None]).mean()
            torch.testing.assert_close(found[row, layer - 1], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("answer", "span"),
    [("Oda 1: In Karlsby.", "Karlsby"), ("Oda 1: In Karlsby.", "Oda 1: In Karlsby."), (" Yes, twice", "twice")],
)
@pytest.mark.parametrize("leading", ["", " "])
def test_core_tokens_cover_the_span_and_little_more(answer, span, leading):
    tokenizer = kit.tokenizer()
    tokens = [*tokenizer(leading + answer.strip(), add_special_tokens=False).input_ids, tokenizer.eos_token_id]
    first = answer.index(span)
    places = core_tokens(tokens, Core(answer, first, first + len(span)), tokenizer)
    assert places == list(range(places[0], places[-1] + 1))
    text = tokenizer.decode([tokens[place] for place in places])
    assert span in text
    assert span not in tokenizer.decode([tokens[place] for place in places[1:]])
    assert span not in tokenizer.decode([tokens[place] for place in places[:-1]])


def test_an_answer_of_other_tokens_raises():
    tokens = kit.tokenizer()("Yes.").input_ids
    with pytest.raises(ValueError, match=r"core 'Karlsby' of the answer 'In Karlsby\.' is not in what its tokens"):
        core_tokens(tokens, Core("In Karlsby.", 3, 10), kit.tokenizer())
