import sys

import pytest
import torch

from unlearn_pl.models import CausalLM, LoRA
from unlearn_pl.recording import record


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_model, tokenizer):
    path = tmp_path_factory.mktemp("model")
    tiny_model(dtype=torch.bfloat16).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return str(path)


@pytest.mark.parametrize(
    ("dtype", "precision", "expected"),
    [
        (None, None, torch.float32),
        (None, torch.bfloat16, torch.bfloat16),
        ("float64", torch.bfloat16, torch.float64),
        ("bfloat16", None, torch.bfloat16),
    ],
)
def test_the_stored_type_never_decides(folder, dtype, precision, expected):
    model = CausalLM(folder, dtype=dtype).build(precision)
    assert {p.dtype for p in model.parameters()} == {expected}


def test_the_model_comes_ready_for_training_with_the_weights_stored(folder, tiny_model):
    model = CausalLM(folder).build()
    assert all(module.training for module in model.modules())
    for loaded, original in zip(model.parameters(), tiny_model(dtype=torch.bfloat16).parameters(), strict=True):
        assert torch.equal(loaded, original.float())


def test_the_attention_kernels_are_those_asked_for(folder):
    assert CausalLM(folder).build().config._attn_implementation == "sdpa"
    assert CausalLM(folder, attn_implementation="eager").build().config._attn_implementation == "eager"


@pytest.mark.parametrize("lora", [None, LoRA(r=2)])
def test_checkpointed_gradients_are_the_same(folder, lora):
    ids = torch.arange(3, 23).reshape(2, 10)
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)  # of the adapters
        model = CausalLM(folder, lora=lora, gradient_checkpointing=checkpointing).build()
        recomputed = []
        model.get_decoder().layers[0].mlp.register_forward_pre_hook(lambda *_, seen=recomputed: seen.append(1))
        loss = model(ids, labels=ids, use_cache=False).loss
        loss.backward(retain_graph=True)
        loss.backward()
        assert len(recomputed) == (3 if checkpointing else 1)
        gradients.append([p.grad for p in model.parameters() if p.requires_grad])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(checkpointed, plain)


def test_lora_trains_adapters_alone_and_starts_at_the_original(folder):
    model, plain = (
        CausalLM(folder, lora=LoRA(r=2, target_modules=["q_proj", "v_proj"])).build(),
        CausalLM(folder).build(),
    )
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert len(trainable) == 2 * 2 * 2  # layers, targets, factors
    assert all("lora_" in name and ("q_proj" in name or "v_proj" in name) for name in trainable)
    ids = torch.arange(3, 13)[None]
    assert torch.equal(model(ids).logits, plain(ids).logits)


def test_lora_without_peft_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ValueError, match=r"unlearn_pl\[lora\]"):
        CausalLM(folder, lora=LoRA()).build()


def test_the_tokenizer_is_the_models(folder, tokenizer):
    assert CausalLM(folder).tokenizer()("the lighthouse").input_ids == tokenizer("the lighthouse").input_ids


def test_a_specification_is_recorded_with_its_adapters():
    assert record(CausalLM("somebody/model", lora=LoRA(r=4))) == {
        "class_path": "unlearn_pl.models.CausalLM",
        "init_args": {
            "name": "somebody/model",
            "lora": {"class_path": "unlearn_pl.models.LoRA", "init_args": {"r": 4}},
        },
    }
