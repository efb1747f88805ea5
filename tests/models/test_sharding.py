"""FSDP2 on a group of one rank: the hooks, DTensors and exports; equality over ranks is tested with the engine."""

import copy

import pytest
import torch
from safetensors import safe_open
from torch import distributed, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM

from unlearn_pl.masks import ElementMask
from unlearn_pl.models import LoRA, decoder_layers, full_state_dict, generate, save_pretrained, shard, stream_forward
from unlearn_pl.references import AdapterReference, FrozenReference, ReferenceContext
from unlearn_pl.types import IGNORE_INDEX


@pytest.fixture(scope="module")
def mesh():
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield distributed.device_mesh.init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


def make_batch(pad_to=12):
    ids = torch.arange(3, 3 + 3 * pad_to).reshape(3, pad_to)
    labels = ids.clone()
    for row, (prompt, length) in enumerate([(2, 12), (4, 7), (1, 9)]):
        labels[row, :prompt] = labels[row, length:] = IGNORE_INDEX
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels, "index": torch.arange(3)}


def test_the_layers_are_the_list_with_the_most_parameters(tiny_model):
    model = tiny_model(num_layers=3)
    model.notes = nn.ModuleList(nn.Linear(2, 2) for _ in range(9))
    assert decoder_layers(model) == list(model.model.layers)
    assert decoder_layers(nn.Linear(2, 2)) == []


# Embeddings are among the hidden states and are a view, which FSDP2 warns about in case somebody writes into it.
@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module .* returned a view tensor")
@pytest.mark.parametrize("needs", [frozenset({"hidden.1"}), frozenset({"hidden.1", "logits"})])
@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("lora", [True, False])
def test_a_sharded_model_gives_the_same_values_and_gradients(tiny_model, mesh, needs, tie, lora):
    plain = tiny_model(tie=tie, dtype=torch.float64)
    plain = LoRA(r=2).apply(plain) if lora else plain
    sharded = shard(copy.deepcopy(plain), mesh)
    assert all(isinstance(module, FSDPModule) for module in [sharded, *decoder_layers(sharded)])
    assert shard(sharded, mesh) is sharded
    losses = []
    for model in (plain, sharded):
        view = stream_forward(model, make_batch(), needs, chunk_size=4)
        loss = (view.logps * torch.arange(11)).sum() + view.hidden[1].square().sum()
        loss.backward(retain_graph=True)
        loss.backward()
        losses.append(loss.detach())
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-12, atol=0)
    for (name, expected), found in zip(plain.named_parameters(), sharded.parameters(), strict=True):
        assert found.requires_grad == expected.requires_grad, name
        if expected.requires_grad:
            assert isinstance(found.grad, DTensor)
            torch.testing.assert_close(found.grad.full_tensor(), expected.grad, rtol=0, atol=1e-10)


@pytest.mark.parametrize("lora", [True, False])
def test_a_sharded_model_generates(tiny_model, tokenizer, mesh, lora):
    plain = LoRA(r=2).apply(tiny_model()) if lora else tiny_model()
    sharded = shard(copy.deepcopy(plain), mesh)
    prompts = make_batch()["input_ids"][:, :5]
    batch = {"prompt_ids": prompts, "prompt_mask": torch.ones_like(prompts), "index": torch.arange(3), "answer": []}
    found = generate(sharded, batch, tokenizer, max_new_tokens=6, synced_gpus=True)
    assert found == generate(plain, batch, tokenizer, max_new_tokens=6)
    stream_forward(sharded, make_batch(), frozenset()).logps.sum().backward()
    assert all(p.grad is not None for p in sharded.parameters() if p.requires_grad)


@pytest.mark.parametrize("lora", [True, False])
def test_a_sharded_model_is_exported(tiny_model, mesh, tmp_path, lora):
    from peft import PeftModel

    plain = tiny_model()
    plain = LoRA(r=2).apply(plain) if lora else plain
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(0.1)
    sharded = shard(copy.deepcopy(plain), mesh)
    sharded(make_batch()["input_ids"])  # the root's weights stay gathered after a forward
    save_pretrained(sharded, tmp_path / "merged")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    ids = make_batch()["input_ids"]
    torch.testing.assert_close(again(ids).logits, plain.eval()(ids).logits, rtol=0, atol=1e-5)
    if lora:
        save_pretrained(sharded, tmp_path / "adapter", merge_lora=False)
        base = tiny_model()
        with torch.no_grad():
            for parameter in base.parameters():
                parameter.add_(0.1)
        assert torch.equal(PeftModel.from_pretrained(base, tmp_path / "adapter").eval()(ids).logits, plain(ids).logits)


def test_references_are_sharded_and_leave_the_gradients_alone(tiny_model, mesh, tmp_path):
    tiny_model(seed=5).save_pretrained(tmp_path)
    model = shard(LoRA(r=2).apply(tiny_model()), mesh)
    batch, needs = make_batch(), frozenset({"ref_logps"})
    adapter, frozen, other = AdapterReference(), FrozenReference(dtype="float32"), FrozenReference(str(tmp_path))
    for reference in (adapter, frozen, other):
        reference.prepare(ReferenceContext(model, lambda: shard(tiny_model(), mesh), stream_forward))
    found = [reference.annotate("forget", batch, needs, model)["ref_logps"] for reference in (adapter, frozen, other)]
    view = stream_forward(model, batch, frozenset())
    assert torch.equal(found[0], view.logps)
    assert torch.equal(found[1], view.logps)
    torch.testing.assert_close(found[2], stream_forward(tiny_model(seed=5), batch, frozenset()).logps)
    view.logps.sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert isinstance(decoder_layers(other._frozen)[0].mlp.up_proj.weight, DTensor)


def test_element_masks_follow_the_shards(tiny_model, mesh):
    model = shard(tiny_model(), mesh)
    stream_forward(model, make_batch(), frozenset()).logps.sum().backward()
    names, row = zip(*((name, p.grad) for name, p in model.named_parameters()), strict=True)
    before = [gradient.full_tensor() for gradient in row]
    name = "model.layers.0.mlp.up_proj.weight"
    keep = torch.rand(before[names.index(name)].shape, generator=torch.Generator().manual_seed(0)) < 0.5
    mask = ElementMask({name: keep})
    mask.freeze(model)
    for _ in range(2):
        mask.apply(names, list(row))
    for i, gradient in enumerate(row):
        expected = before[i] * keep if names[i] == name else before[i]
        assert torch.equal(gradient.full_tensor(), expected)


@pytest.mark.parametrize("tie", [True, False])
def test_tied_weights_are_gathered_as_one(tiny_model, mesh, tie, tmp_path):
    sharded = shard(tiny_model(tie=tie), mesh)
    weights = full_state_dict(sharded)
    assert (weights["lm_head.weight"] is weights["model.embed_tokens.weight"]) is tie
    save_pretrained(sharded, tmp_path / "hf")
    with safe_open(tmp_path / "hf" / "model.safetensors", "pt") as file:
        assert ("lm_head.weight" in file.keys()) is not tie  # noqa: SIM118  it is no dictionary
    tied = AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    assert (tied.lm_head.weight is tied.model.embed_tokens.weight) is tie
