"""The estimate of memory: by hand on a small shape, and against what PyTorch keeps for the backward pass."""

from dataclasses import replace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests import kit
from unlearn_pl.engine import BackwardPass, MemoryPlan
from unlearn_pl.models import LoRA, stream_forward
from unlearn_pl.models.language.checkpointing import checkpoint_activations
from unlearn_pl.models.model_shape import ModelShape, gradient_checkpointing_enabled, weight_bytes

SHAPE = ModelShape(
    parameters=1000, trained=1000, num_layers=2, hidden_size=4, intermediate_size=8, attention_size=4, vocab_size=10
)
PLAN = MemoryPlan(SHAPE, batch_size=2, length=5)


def test_parts_of_a_small_shape_by_hand():
    passes = (BackwardPass(1, False, 0), BackwardPass(1, True, 1), BackwardPass(1, False, 2))
    plan = replace(PLAN, passes=passes, gradients=3, reference=True)
    per_token = 2 * 12 * 4 + 16 * (4 + 8)  # two norms of 3 tensors, 4 of attention and 4 of feed-forward
    logits = 10 * 10
    assert plan.parts() == {
        "parameters": 4000,
        "optimizer": 8000,
        "reference": 4000,
        "gradients": 12000,
        "activations": 2 * per_token * 10,
        "logits": 16 * logits + 160 + 12 * logits,  # the head has 40 weights; a softmax of all rows at once
    }
    before_the_last_gradient = 2 * 4000 + 2 * per_token * 10 + 4 * logits + max(4 * logits, 160) + 12 * logits
    assert plan.peak == 4000 + 8000 + 4000 + before_the_last_gradient


def test_a_gradient_is_counted_instead_of_fewer_activations():
    assert PLAN.activations + PLAN.logits(BackwardPass()) < 8000
    assert PLAN.peak == 4000 + 8000 + 2 * 4000  # the combined gradient, and as much for the optimizer's step


def test_with_few_activations_a_backward_pass_takes_most_at_its_end():
    passes = (BackwardPass(rows=0), BackwardPass(1, True, 1), BackwardPass(1, True, 2))
    plan = replace(PLAN, batch_size=1, length=1, passes=passes, gradients=3, checkpointing=True)
    logits, embedding = 10 * (4 + 4), 10 * 4 * 4
    assert plan.peak == 4000 + 8000 + 3 * 4000 + logits + embedding


def test_logits_of_the_reference_are_counted_where_they_are_read():
    compared, alone = BackwardPass(logits=True), BackwardPass(logits=True, uncompared=True)
    of_all_tokens = 10 * 10 * 4  # ten tokens, ten words, fp32 whether cached or computed
    assert PLAN.logits(compared) - PLAN.logits(alone) == of_all_tokens
    long = replace(PLAN, batch_size=100)
    peaks = [replace(long, passes=[each]).peak for each in (compared, alone)]
    assert peaks[0] - peaks[1] == 100 * of_all_tokens / 2


def test_logits_of_the_model_under_its_adapters_have_its_dtype():
    """Those of a cache have 4 bytes."""
    cached, compared = replace(PLAN, compute_bytes=2), BackwardPass(logits=True)
    own = replace(cached, adapter_reference=True)
    assert cached.logits(compared) - own.logits(compared) == 2 * 10 * 10


def test_no_gradient_of_the_head_is_counted_for_losses_on_hidden_states():
    whole, inner = BackwardPass(), BackwardPass(inner=True)
    logits = 10 * 10 * 4
    assert (PLAN.logits(whole), PLAN.logits(inner)) == (logits * 5, logits * 4)  # a softmax takes three
    few = replace(PLAN, batch_size=1, length=1, gradients=3, checkpointing=True)
    ends = [replace(few, passes=[each._replace(rows=2)]).peak for each in (whole, inner)]
    assert ends[0] - ends[1] == 10 * 4 * 4  # the embedding has one use, and so one gradient


def test_shards_share_what_belongs_to_the_weights_and_nothing_else():
    sharded = replace(PLAN, shards=4)
    gathered = (2 * (1000 - 40) / 2 + 40) * 4 + (1000 - 40) / 2 * 4
    assert sharded.parameters == 1000 + gathered
    assert (sharded.gradient, sharded.optimizer) == (1000, 2000)
    assert sharded.activations == PLAN.activations


def test_rows_that_wait_in_less_memory():
    passes = (BackwardPass(rows=0), BackwardPass(rows=1), BackwardPass(rows=2))
    whole = replace(PLAN, passes=passes, gradients=3, batch_size=50)
    halved = replace(whole, row_share=0.5)
    assert (whole.parts()["gradients"], halved.parts()["gradients"]) == (12000, 8000)
    assert whole.peak - halved.peak == 2 * 2000


def test_rows_that_more_micro_batches_are_added_to_are_whole():
    finished = replace(PLAN, passes=[BackwardPass(rows=2)], gradients=3, batch_size=50, row_share=0.5)
    assert replace(finished, passes=[BackwardPass(unfinished=2)]).peak - finished.peak == 4000


def test_every_saving_saves_on_a_large_plan():
    shape = ModelShape(7 * 10**9, 7 * 10**9, 32, 4096, 11008, 4096, 32000)
    plan = MemoryPlan(shape, 8, 1024, (BackwardPass(1, False, 1),), gradients=2, reference=True)
    assert len(plan.savings()) == 7
    for change, less in plan.savings().items():
        assert less.peak < plan.peak, change


class Saved:
    """Bytes of all tensors that autograd keeps, each storage once, those of the weights aside."""

    def __init__(self, model):
        self.weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
        self.storages = {}

    def pack(self, tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.weights:
            self.storages[storage.data_ptr()] = (storage.nbytes(), tensor)  # kept, so that no address comes twice
        return tensor

    @property
    def bytes(self):
        return sum(size for size, _ in self.storages.values())


def model(num_layers, dtype=torch.float32):
    config = LlamaConfig(
        vocab_size=64, hidden_size=48, intermediate_size=112, num_hidden_layers=num_layers, num_attention_heads=4,
        num_key_value_heads=4, pad_token_id=2, eos_token_id=1, bos_token_id=0,
    )  # fmt: skip
    return LlamaForCausalLM(config).to(dtype).train()


def kept(model):
    tokens = torch.randint(3, 64, (3, 40))
    batch = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens), "labels": tokens, "index": torch.arange(3)}
    saved = Saved(model)
    with torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda tensor: tensor):
        stream_forward(model, batch, frozenset())
    return saved.bytes


@pytest.mark.parametrize(
    ("weights", "trained", "autocast", "lora"),
    [
        (torch.float32, torch.float32, False, False),
        (torch.float32, torch.float32, False, True),
        (torch.float32, torch.float32, True, False),
        (torch.float32, torch.float32, True, True),
        (torch.bfloat16, torch.bfloat16, False, False),
        (torch.bfloat16, torch.bfloat16, False, True),
        (torch.bfloat16, torch.float32, False, True),  # adapters in fp32 on weights in bf16, as peft makes them
    ],
)
def test_activations_of_a_layer_are_those_that_autograd_keeps(weights, trained, autocast, lora):
    few, many = (LoRA(r=1).apply(model(n, weights)) if lora else model(n, weights) for n in (1, 3))
    for made in (few, many):
        for parameter in made.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(trained)
    compute = torch.bfloat16 if autocast else weights
    plans = [
        MemoryPlan(
            ModelShape.of(made),
            3,
            40,
            weight_bytes=weights.itemsize,
            compute_bytes=compute.itemsize,
            gradient_bytes=trained.itemsize,
        )
        for made in (few, many)
    ]
    with torch.autocast("cpu", enabled=autocast):
        measured = kept(many) - kept(few)
    assert (plans[1].activations - plans[0].activations) == pytest.approx(measured, rel=0.05)


def test_with_checkpointing_a_layer_keeps_its_input():
    few, many = model(1), model(3)
    for made in (few, many):
        checkpoint_activations(made)
    plans = [MemoryPlan(ModelShape.of(made), 3, 40, checkpointing=True) for made in (few, many)]
    assert gradient_checkpointing_enabled(many)
    assert not gradient_checkpointing_enabled(model(1))
    assert (plans[1].activations - plans[0].activations) == pytest.approx(kept(many) - kept(few), rel=0.02)


def test_a_shape_is_read_from_the_model_and_under_adapters():
    plain = kit.model()
    shape = ModelShape.of(plain)
    assert (shape.num_layers, shape.hidden_size, shape.intermediate_size) == (2, 32, 128)
    assert shape.trained == shape.parameters == sum(p.numel() for p in plain.parameters())
    assert weight_bytes(plain) == 4
    adapted = ModelShape.of(LoRA(r=2).apply(plain))
    assert adapted.trained < shape.trained < adapted.parameters
    assert not adapted.trains_all
    assert ModelShape.of(torch.nn.Linear(2, 2)) is None


def test_without_backward_passes_there_is_a_copy_or_a_gradient_and_one_layer():
    full = replace(PLAN, batch_size=4, passes=(BackwardPass(1, True),), optimizer_bytes=0)
    forward = replace(full, forward_only=True, held=1)
    of_one_layer = replace(forward, shape=replace(SHAPE, num_layers=1))
    assert forward.activations == of_one_layer.activations < full.activations
    assert forward.peak < full.peak
    assert forward.peak == forward.parameters + forward.gradient + max(
        forward.activations, forward.parts()["logits"]
    )  # at the end, the copy makes room for the gradient
    kept = replace(forward, reference=True, kept_logits=3)
    assert kept.parts()["reference"] == kept.frozen + 3 * kept.tokens * SHAPE.vocab_size * kept.compute_bytes
    assert kept.parts()["logits"] < forward.parts()["logits"]  # those of the reference are among the kept ones
    assert not any("gradient_checkpointing" in change for change in forward.savings())
