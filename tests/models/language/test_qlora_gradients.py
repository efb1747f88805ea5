"""The gradients of a step of MOLLM on weights in 4 bits are those on the weights that the bits stand for."""

import pytest
import torch
from torch import nn

from tests import kit
from unlearn_pl.combiners import MinNorm
from unlearn_pl.models import CausalLM, LoRA, QLoRA, tiny_llama
from unlearn_pl.modules import MOLLM
from unlearn_pl.references import AdapterReference

bitsandbytes = pytest.importorskip("bitsandbytes", reason="QLoRA needs the package bitsandbytes")
OBJECTIVES = ("forget", "normal", "retain")


class Recorded(kit.Recording, MOLLM):
    pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    tiny_llama(len(kit.tokenizer()), hidden_size=64, num_layers=2, num_heads=2).save_pretrained(path)
    kit.tokenizer().save_pretrained(path)
    return str(path)


def quantized(folder):
    torch.manual_seed(3)
    model = CausalLM(folder, lora=QLoRA(r=4)).build()
    away_from_zero(model)
    return model


def dequantized(folder):
    """The same adapters on the values that the bits stand for, in fp32."""
    plain, packed = CausalLM(folder).build(), quantized(folder)
    layers = dict(packed.get_base_model().named_modules())
    with torch.no_grad():
        for name, module in plain.named_modules():
            if isinstance(module, nn.Linear) and hasattr(layers[name], "base_layer"):
                weight = layers[name].base_layer.weight
                module.weight.copy_(bitsandbytes.functional.dequantize_4bit(weight.data, weight.quant_state))
    model = LoRA(r=4).apply(plain).train()
    adapters = {name: value for name, value in packed.state_dict().items() if "lora_" in name}
    assert not model.load_state_dict(adapters, strict=False).unexpected_keys
    return model


def away_from_zero(model):
    """So that the KL divergence from the model without adapters has a gradient."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.03 * torch.randn(parameter.shape, generator=draw))


def rows(model):
    module = Recorded(model, combiner=MinNorm(), reference=AdapterReference())
    kit.trainer(max_steps=1).fit(module, kit.Questions(batch_size=8, micro_batch_size=4, splits=[]))
    step = module.history[0]
    found = {name: torch.cat([g.flatten() for g in step["rows"][name]]) for name in OBJECTIVES}
    return found, step["weights"], module.descent.losses.clone()


def test_every_objective_has_the_gradient_of_the_dequantized_model(folder):
    (ours, weights, losses), (exact, exact_weights, exact_losses) = rows(quantized(folder)), rows(dequantized(folder))
    torch.testing.assert_close(losses, exact_losses, rtol=1e-3, atol=1e-5)  # layers compute in bfloat16
    for name in OBJECTIVES:
        assert torch.cosine_similarity(ours[name], exact[name], dim=0) > 0.9999, name
        assert (ours[name].norm() / exact[name].norm()).item() == pytest.approx(1, abs=0.01), name
    torch.testing.assert_close(weights, exact_weights, rtol=0.02, atol=0.02)
    # Not for any weights: those before rounding have other gradients.
    torch.manual_seed(3)
    unrounded = CausalLM(folder, lora=LoRA(r=4)).build()
    away_from_zero(unrounded)
    other, _, _ = rows(unrounded)
    assert min(torch.cosine_similarity(other[name], exact[name], dim=0) for name in OBJECTIVES) < 0.999
