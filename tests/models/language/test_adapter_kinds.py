"""Adapters of every kind of peft, on any module: what is exported reloads to the logits that were evaluated."""

import warnings

import peft
import pytest
import torch
from packaging.version import Version

from tests import kit
from unlearn_pl.models import CausalLM, save_pretrained

IDS = torch.arange(3, 27).reshape(2, 12)
TASK = {"task_type": "CAUSAL_LM"}
Q = {"target_modules": ["q_proj"], **TASK}
KINDS = {
    "LoRA": lambda: peft.LoraConfig(r=2, target_modules="all-linear", **TASK),
    "PiSSA": lambda: peft.LoraConfig(r=2, init_lora_weights="pissa", target_modules="all-linear", **TASK),
    "OLoRA": lambda: peft.LoraConfig(r=2, init_lora_weights="olora", target_modules="all-linear", **TASK),
    "DoRA": lambda: peft.LoraConfig(r=2, use_dora=True, target_modules="all-linear", **TASK),
    "rank-stabilized, head saved": lambda: peft.LoraConfig(r=2, use_rslora=True, modules_to_save=["lm_head"], **Q),
    "of the embedding": lambda: peft.LoraConfig(r=2, target_modules=["embed_tokens", "q_proj"], **TASK),
    "of one layer, with biases": lambda: peft.LoraConfig(r=2, layers_to_transform=[1], bias="lora_only", **Q),
    "of some tokens": lambda: peft.LoraConfig(r=2, trainable_token_indices=[3, 4], **Q),
    "tokens alone": lambda: peft.TrainableTokensConfig(token_indices=[3, 4], **TASK),
    "IA3": lambda: peft.IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"], **TASK),
    "VeRA": lambda: peft.VeraConfig(r=2, **Q),
    "LoHa": lambda: peft.LoHaConfig(r=2, **Q),
    "OFT": lambda: peft.OFTConfig(oft_block_size=8, **Q),
    "norms": lambda: peft.LNTuningConfig(target_modules=["norm"], **TASK),
}
PROMPTS = {
    "PROMPT_TUNING": lambda: peft.PromptTuningConfig(num_virtual_tokens=3, **TASK),
    "PREFIX_TUNING": lambda: peft.PrefixTuningConfig(num_virtual_tokens=3, **TASK),
    "P_TUNING": lambda: peft.PromptEncoderConfig(num_virtual_tokens=3, encoder_hidden_size=8, **TASK),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    path = tmp_path_factory.mktemp("base") / "model"
    save_pretrained(kit.model(), path, kit.tokenizer())
    return str(path)


def adapted(base, make):
    """A model with an adapter that is not at its start."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        model = peft.get_peft_model(CausalLM(base).build(), make())
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn(parameter.shape), alpha=0.2)
    return model


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


@pytest.mark.filterwarnings("ignore")  # of peft, about tied weights
@pytest.mark.parametrize("kind", KINDS)
def test_an_export_reloads_to_the_logits_that_were_evaluated(base, tmp_path, kind):
    if kind == "VeRA" and Version(peft.__version__) < Version("0.21"):
        pytest.skip(
            "peft 0.21 is missing: before, VeRA's projections are drawn anew, so that merging raises ValueError"
        )
    model = adapted(base, KINDS[kind])
    expected = logits(model)
    assert (expected - logits(kit.model())).abs().max() > 1e-4
    for merge in (True, False):
        save_pretrained(model, tmp_path / str(merge), merge_lora=merge)
        torch.testing.assert_close(logits(CausalLM(str(tmp_path / str(merge))).build()), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(logits(model), expected, rtol=0, atol=0)  # it is not changed


@pytest.mark.parametrize("kind", PROMPTS)
def test_adapters_that_lengthen_prompts_are_refused_by_their_kind(base, tmp_path, kind):
    model = adapted(base, PROMPTS[kind])
    with pytest.raises(ValueError, match=rf"of the kind {kind} lengthens prompts .* accepted: merge_lora=False"):
        save_pretrained(model, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    save_pretrained(model, tmp_path / "alone", merge_lora=False)
    with pytest.raises(ValueError, match=rf"alone' holds an adapter of the kind {kind}, which lengthens prompts"):
        CausalLM(str(tmp_path / "alone")).build()
