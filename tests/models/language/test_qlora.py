"""Adapters on weights in 4 bits."""

import sys

import pytest
import torch

from tests import kit
from tests.families import make
from unlearn_pl.models import CausalLM, QLoRA, shard, tiny_llama
from unlearn_pl.modules import MOLLM
from unlearn_pl.recording import record
from unlearn_pl.references import AdapterReference


def original():
    """Wide enough for bitsandbytes' blocks of 64 weights."""
    return tiny_llama(len(kit.tokenizer()), hidden_size=64, num_layers=2, num_heads=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    original().save_pretrained(path)
    kit.tokenizer().save_pretrained(path)
    return str(path)


def test_without_bitsandbytes_it_is_refused(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ValueError, match=r"pip install bitsandbytes.*use LoRA\(\)"):
        CausalLM(folder, lora=QLoRA()).build()


def test_gguf_weights_are_refused():
    with pytest.raises(ValueError, match=r"QLoRA cannot quantize the GGUF weights 'model.gguf'"):
        CausalLM("anywhere", lora=QLoRA(), gguf_file="model.gguf")
    with pytest.raises(ValueError, match=r"QLoRA cannot quantize the GGUF weights 'model.gguf'"):
        CausalLM("anywhere/model.gguf", lora=QLoRA())


def test_its_arguments_are_recorded():
    recorded = record(QLoRA(r=4))
    assert recorded["class_path"].endswith("QLoRA")
    assert recorded["init_args"]["r"] == 4


@pytest.fixture
def quantized(folder):
    pytest.importorskip("bitsandbytes", reason="QLoRA needs the package bitsandbytes")
    return CausalLM(folder, lora=QLoRA(r=2))


def test_frozen_weights_are_in_4_bits_and_close_to_the_original_ones(quantized):
    import bitsandbytes

    built, stored = quantized.build(), original()
    layer = built.get_base_model().model.layers[0].mlp.up_proj.base_layer
    weight = stored.model.layers[0].mlp.up_proj.weight
    assert layer.weight.element_size() * layer.weight.numel() == weight.numel() // 2
    restored = bitsandbytes.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state).float()
    assert 0 < (restored - weight).norm() / weight.norm() < 0.15


def test_training_moves_the_adapters_and_nothing_else(quantized):
    module = MOLLM(quantized, reference=AdapterReference(), optimizer=lambda p: torch.optim.SGD(p, lr=0.1))
    kit.trainer(max_steps=2).fit(module, kit.Questions(batch_size=4, micro_batch_size=4, splits=[]))
    before = quantized.build().state_dict()
    after = module.model.state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value.cpu(), before[name].cpu())}
    assert moved
    assert all("lora_" in name for name in moved)
    assert any("lora_B" in name for name in moved)


def test_a_model_whose_experts_would_not_be_quantized_is_refused_with_the_share(tmp_path):
    pytest.importorskip("bitsandbytes", reason="QLoRA needs the package bitsandbytes")
    make("mixtral", len(kit.tokenizer()), hidden_size=64).save_pretrained(tmp_path / "mixtral")
    with pytest.raises(ValueError, match=r"QLoRA quantizes \d\d\.\d% of the weights .*experts.* With LoRA\(\)"):
        CausalLM(str(tmp_path / "mixtral"), lora=QLoRA(r=2)).build()


def test_fsdp2_is_refused(quantized):
    with pytest.raises(ValueError, match=r"FSDP2 cannot shard weights in 4 bits.*strategy='ddp'"):
        shard(quantized.build(), mesh=None)
