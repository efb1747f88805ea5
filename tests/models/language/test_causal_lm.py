import json
import sys

import pytest
import torch
import transformers

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
    assert CausalLM(folder, attn_implementation="sdpa").build().config._attn_implementation == "sdpa"
    assert CausalLM(folder, attn_implementation="eager").build().config._attn_implementation == "eager"


SMALL = {"vocab_size": 64, "n_layer": 1, "n_head": 2}
WITHOUT_SDPA = [
    transformers.MptConfig(d_model=16, n_heads=2, n_layers=1, vocab_size=64),
    transformers.BloomConfig(hidden_size=16, **SMALL),
    transformers.GPTJConfig(n_embd=16, rotary_dim=4, **SMALL),
    transformers.MambaConfig(vocab_size=64, hidden_size=16, num_hidden_layers=1, state_size=4),
]


@pytest.mark.parametrize("config", WITHOUT_SDPA, ids=lambda config: config.model_type)
def test_architectures_without_the_usual_kernels_load_by_name(config, tmp_path):
    model = transformers.AutoModelForCausalLM.from_config(config)
    model.save_pretrained(tmp_path)
    loaded = CausalLM(str(tmp_path)).build()
    assert all(torch.equal(p, q) for p, q in zip(loaded.parameters(), model.parameters(), strict=True))


def test_the_revision_and_the_trust_reach_model_and_tokenizer(folder, monkeypatch):
    seen = {}

    def spy(name, kind):
        plain = kind.from_pretrained.__func__

        def from_pretrained(cls, *args, **options):
            seen[name] = {key: options.get(key) for key in ("revision", "trust_remote_code")}
            return plain(cls, *args, **options)

        monkeypatch.setattr(kind, "from_pretrained", classmethod(from_pretrained))

    spy("model", transformers.AutoModelForCausalLM)
    spy("tokenizer", transformers.AutoTokenizer)
    for options in ({}, {"revision": "v1.0", "trust_remote_code": True}):
        spec = CausalLM(folder, **options)
        spec.build(), spec.tokenizer()
        expected = {"revision": None, "trust_remote_code": False} | options
        assert seen == {"model": expected, "tokenizer": expected}


def test_code_of_a_repository_is_run_only_when_trusted(tmp_path, tiny_model):
    tiny_model().save_pretrained(tmp_path)
    (tmp_path / "own.py").write_text(
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "class OwnConfig(LlamaConfig):\n    model_type = 'own'\n"
        "class Own(LlamaForCausalLM):\n    config_class = OwnConfig\n"
    )
    file = tmp_path / "config.json"
    code = {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.Own"}}
    file.write_text(json.dumps(json.loads(file.read_text()) | code))
    with pytest.raises(ValueError, match="trust_remote_code"):
        CausalLM(str(tmp_path)).build()
    assert type(CausalLM(str(tmp_path), trust_remote_code=True).build()).__name__ == "Own"


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
