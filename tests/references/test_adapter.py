import pytest
import torch

from unlearn_pl.models import LoRA, stream_forward
from unlearn_pl.references import AdapterReference, ReferenceContext
from unlearn_pl.types import IGNORE_INDEX

NEEDS = frozenset({"ref_logps", "ref_logits", "ref_hidden.1"})


def make_batch():
    ids = torch.arange(3, 33).reshape(3, 10)
    labels = ids.clone()
    for row, (prompt, length) in enumerate([(2, 10), (4, 7), (1, 9)]):
        labels[row, :prompt] = labels[row, length:] = IGNORE_INDEX
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels, "index": torch.arange(3)}


def adapted(make, **options):
    return LoRA(r=2, **options).apply(make()).train()


def prepared(model):
    reference = AdapterReference()
    reference.prepare(ReferenceContext(model, lambda: pytest.fail("no copy is needed"), stream_forward))
    return reference


def perturb(model):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))


def test_the_model_without_its_adapter_is_the_original(tiny_model):
    model, original = adapted(tiny_model), tiny_model()
    reference = prepared(model)
    perturb(model)
    fields = reference.annotate("forget", make_batch(), NEEDS, model)
    view = stream_forward(original, make_batch(), frozenset({"logits", "hidden.1"}))
    assert torch.equal(fields["ref_logps"], view.logps)
    assert torch.equal(fields["ref_logits"], view.logits)
    assert torch.equal(fields["ref_hidden"][1], view.hidden[1])
    assert not fields["ref_logits"].requires_grad


def test_a_fresh_adapter_diverges_by_nothing_and_a_trained_one_does(tiny_model):
    model = adapted(tiny_model)
    reference = prepared(model)
    ref_logps = reference.annotate("forget", make_batch(), NEEDS, model)["ref_logps"]
    assert torch.equal(stream_forward(model, make_batch(), frozenset()).logps, ref_logps)
    perturb(model)
    assert (stream_forward(model, make_batch(), frozenset()).logps - ref_logps).abs().max() > 0.01
    assert torch.equal(reference.annotate("forget", make_batch(), NEEDS, model)["ref_logps"], ref_logps)


def test_the_model_is_left_exactly_as_it_was(tiny_model):
    model = adapted(tiny_model, dropout=0.5)
    perturb(model)
    model.get_decoder().layers[1].eval()
    frozen = next(p for name, p in model.named_parameters() if "lora_A" in name)
    frozen.requires_grad_(False)  # as a mask does
    modes = [module.training for module in model.modules()]
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    prepared(model).annotate("forget", make_batch(), NEEDS, model)
    assert [module.training for module in model.modules()] == modes
    assert {name for name, p in model.named_parameters() if p.requires_grad} == trainable
    stream_forward(model, make_batch(), frozenset()).logps.sum().backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == trainable


def test_dropout_is_off_in_the_reference(tiny_model):
    model = tiny_model()
    model.config.attention_dropout = 0.5
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    model = LoRA(r=2).apply(model).train()
    first, second = (prepared(model).annotate("forget", make_batch(), NEEDS, model) for _ in range(2))
    assert torch.equal(first["ref_logps"], second["ref_logps"])
    live = [stream_forward(model, make_batch(), frozenset()).logps for _ in range(2)]
    assert not torch.equal(*live)


def test_a_model_without_adapter_is_refused(tiny_model):
    with pytest.raises(ValueError, match=r"LlamaForCausalLM has none.*FrozenReference"):
        AdapterReference().prepare(ReferenceContext(tiny_model(), tiny_model, stream_forward))
