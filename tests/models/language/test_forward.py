import copy

import pytest
import torch
from torch import nn

from unlearn_pl.models import LoRA, stream_forward
from unlearn_pl.models.language.checkpointing import checkpoint_activations
from unlearn_pl.types import IGNORE_INDEX

VOCAB = 320
LENGTHS = [(3, 9), (1, 2), (6, 7), (2, 14)]  # (prompt, whole) lengths, all answers of another length


def make_batch(lengths=LENGTHS, pad_to=14, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.full((len(lengths), pad_to), 2)
    attention, labels = torch.zeros_like(ids), torch.full_like(ids, IGNORE_INDEX)
    for row, (prompt, length) in enumerate(lengths):
        ids[row, :length] = torch.randint(3, VOCAB, (length,), generator=generator)
        attention[row, :length] = 1
        labels[row, prompt:length] = ids[row, prompt:length]
    return {"input_ids": ids, "attention_mask": attention, "labels": labels, "index": torch.arange(len(lengths))}


def plain_logps(model, batch):
    """The definition: each scored label under the full softmax of the position before it."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    logps = torch.zeros(batch["labels"].shape[0], batch["labels"].shape[1] - 1, dtype=logits.dtype)
    for b, t in (batch["labels"][:, 1:] != IGNORE_INDEX).nonzero().tolist():
        logps[b, t] = logits[b, t].log_softmax(-1)[batch["labels"][b, t + 1]]
    return logps


def gradients(model, logps, weights):
    model.zero_grad()
    (logps * weights).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def with_lora(model, targets="all-linear"):
    adapted = LoRA(r=4, target_modules=targets).apply(model)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:  # starts at 0, where the gradient of lora_A vanishes
                parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
    return adapted.train()


MODELS = {
    "tied": lambda make: make(dtype=torch.float64),
    "untied": lambda make: make(dtype=torch.float64, tie=False),
    "lora": lambda make: with_lora(make(dtype=torch.float64)),
    "lora on the head": lambda make: with_lora(make(dtype=torch.float64, tie=False), ["q_proj", "lm_head"]),
}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("chunk_size", [1, 5, 1024])
def test_values_and_gradients_are_those_of_the_full_head(tiny_model, kind, chunk_size):
    model, batch = MODELS[kind](tiny_model), make_batch()
    weights = torch.randn(4, 13, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = plain_logps(model, batch)
    expected_gradients = gradients(model, expected, weights)
    view = stream_forward(model, batch, frozenset(), chunk_size)
    torch.testing.assert_close(view.logps, expected, rtol=0, atol=1e-10)
    found = gradients(model, view.logps, weights)
    assert found.keys() == expected_gradients.keys()
    assert len(found) > 0
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=0, atol=1e-10)
    assert view.logits is None


def test_a_second_backward_through_the_same_forward_is_right(tiny_model):
    model, batch = tiny_model(dtype=torch.float64), make_batch()
    logps = stream_forward(model, batch, frozenset(), chunk_size=5).logps
    first, second = torch.rand(2, 4, 13, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (logps * first).sum().backward(retain_graph=True)
    rows = [[p.grad.clone() for p in model.parameters()]]
    model.zero_grad()
    (logps * second).sum().backward()
    rows.append([p.grad for p in model.parameters()])
    for row, weights in zip(rows, [first, second], strict=True):
        expected = gradients(model, plain_logps(model, batch), weights).values()
        for gradient, right in zip(row, expected, strict=True):
            torch.testing.assert_close(gradient, right, rtol=0, atol=1e-10)


def test_logits_and_hidden_states_are_aligned_with_the_labels(tiny_model):
    model, batch = tiny_model(dtype=torch.float64), make_batch()
    view = stream_forward(model, batch, frozenset({"logits", "hidden.0", "hidden.2", "ref_logits", "ref_hidden.1"}))
    outputs = model(batch["input_ids"], batch["attention_mask"], output_hidden_states=True)
    torch.testing.assert_close(view.logits, outputs.logits[:, :-1])
    assert view.hidden.keys() == {0, 2}
    for layer, hidden in view.hidden.items():
        torch.testing.assert_close(hidden, outputs.hidden_states[layer][:, :-1])
    torch.testing.assert_close(view.logps, plain_logps(model, batch))
    assert view.labels.shape == view.mask.shape == view.logps.shape == (4, 13)


def test_the_head_runs_on_contiguous_states(tiny_model, monkeypatch):
    """A slice would be multiplied row by row, in bf16 with a copy of the head's weights for each row."""
    model, seen = tiny_model(), []
    head = model.get_output_embeddings()
    plain_forward = head.forward
    monkeypatch.setattr(head, "forward", lambda hidden: seen.append(hidden) or plain_forward(hidden))
    stream_forward(model, make_batch(), {"logits"})
    assert [hidden.is_contiguous() for hidden in seen] == [True]


def test_hidden_states_alone_leave_the_logits_out(tiny_model):
    model, batch = tiny_model(dtype=torch.float64), make_batch()
    checkpoint_activations(model)
    view = stream_forward(model, batch, frozenset({"hidden.1"}))
    assert view.logits is None
    torch.testing.assert_close(view.logps, plain_logps(model, batch))
    view.hidden[1].square().sum().backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert any("layers.0" in name for name in reached)
    assert not any("layers.1" in name for name in reached)


def test_the_first_answer_token_counts_and_the_position_after_the_last_does_not(tiny_model):
    # Tokens: p p p a a eos pad pad -> labels at 3, 4, 5 -> predicted at 2, 3, 4.
    ids = torch.tensor([[10, 11, 12, 20, 21, 1, 2, 2]])
    labels = torch.tensor([[IGNORE_INDEX, IGNORE_INDEX, IGNORE_INDEX, 20, 21, 1, IGNORE_INDEX, IGNORE_INDEX]])
    batch = {"input_ids": ids, "attention_mask": (ids != 2).long(), "labels": labels, "index": torch.tensor([7])}
    model = tiny_model(dtype=torch.float64)
    view = stream_forward(model, batch, frozenset())
    assert view.mask.tolist() == [[False, False, True, True, True, False, False]]
    softmax = model(ids[:, :6]).logits[0].log_softmax(-1)
    by_hand = [0, 0, softmax[2, 20].item(), softmax[3, 21].item(), softmax[4, 1].item(), 0, 0]
    assert view.logps[0].tolist() == pytest.approx(by_hand, abs=1e-10)
    assert view.index.tolist() == [7]


def test_padding_at_the_right_changes_nothing(tiny_model):
    model = tiny_model(dtype=torch.float64)
    short, long = (stream_forward(model, make_batch(pad_to=n), frozenset()).logps for n in (14, 33))
    torch.testing.assert_close(long[:, :13], short, rtol=0, atol=1e-10)
    assert not long[:, 13:].any()


@pytest.mark.parametrize("needs", [frozenset(), frozenset({"logits"})])
def test_without_labels_every_gradient_is_zero(tiny_model, needs):
    model, batch = tiny_model(), make_batch()
    batch["labels"] = torch.full_like(batch["labels"], IGNORE_INDEX)
    view = stream_forward(model, batch, needs)
    assert not view.logps.any()
    view.logps.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("autocast", [True, False])
def test_log_probabilities_are_exact_where_the_model_is_not(tiny_model, autocast):
    model, batch = tiny_model(dtype=torch.float32 if autocast else torch.bfloat16), make_batch()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logits = model(batch["input_ids"], batch["attention_mask"]).logits
        view = stream_forward(model, batch, frozenset(), chunk_size=4)
        full = stream_forward(model, batch, frozenset({"logits"}))
    assert logits.dtype == full.logits.dtype == torch.bfloat16
    assert view.logps.dtype == full.logps.dtype == torch.float32
    torch.testing.assert_close(view.logps, full.logps)
    labels = batch["labels"][:, 1:].clamp(min=0).unsqueeze(-1)
    expected = logits[:, :-1].float().log_softmax(-1).gather(-1, labels).squeeze(-1) * view.mask
    # A head that sees other shapes may round its bf16 logits otherwise: one unit of 2^-8 at logits of this size.
    torch.testing.assert_close(view.logps, expected, rtol=0, atol=2**-8)
    view.logps.sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_no_grad_runs_no_checkpoints_and_gives_the_same(tiny_model):
    model, batch = tiny_model(), make_batch()
    with torch.no_grad():
        view = stream_forward(model, batch, frozenset(), chunk_size=4)
    assert not view.logps.requires_grad
    torch.testing.assert_close(view.logps, stream_forward(model, batch, frozenset(), chunk_size=4).logps)


class ScaledLlama(nn.Module):
    """A model whose logits are changed after the head in a way that no configuration shows."""

    def __init__(self, llama):
        super().__init__()
        self.llama, self.config, self.calls = llama, llama.config, 0

    def get_output_embeddings(self):
        return self.llama.lm_head

    def forward(self, **inputs):
        self.calls += 1
        outputs = self.llama(**inputs)
        outputs.logits = outputs.logits * 0.5
        return outputs


def test_logits_changed_after_the_head_are_respected(tiny_model):
    model, batch = ScaledLlama(tiny_model(dtype=torch.float64)), make_batch()
    view = stream_forward(model, batch, frozenset())
    torch.testing.assert_close(view.logps, plain_logps(model, batch), rtol=0, atol=1e-10)
    assert view.logits is None


def test_logits_capped_by_the_configuration_take_one_forward():
    from transformers import Gemma2Config, Gemma2ForCausalLM

    config = Gemma2Config(
        vocab_size=VOCAB,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        final_logit_softcapping=0.5,
        attn_implementation="eager",
    )
    model, batch, calls = Gemma2ForCausalLM(config).double(), make_batch(), []
    model.register_forward_hook(lambda *_: calls.append(1))
    view = stream_forward(model, batch, frozenset())
    assert len(calls) == 1
    torch.testing.assert_close(view.logps, plain_logps(model, batch), rtol=0, atol=1e-10)


def test_the_head_is_given_back_even_after_an_error(tiny_model):
    model, batch = tiny_model(), make_batch()
    stream_forward(model, batch, frozenset())
    assert "forward" not in vars(model.lm_head)
    replaced = copy.copy(model.lm_head.forward)
    model.lm_head.forward = replaced
    with pytest.raises(IndexError):
        stream_forward(model, batch | {"input_ids": batch["input_ids"] + 10_000}, frozenset())
    assert vars(model.lm_head)["forward"] is replaced


@pytest.mark.parametrize("chunk_size", [16, 64])
def test_only_one_chunk_of_logits_is_kept_for_the_backward(tiny_model, chunk_size):
    model = tiny_model()
    batch = make_batch([(1, 120), (2, 128)], pad_to=128)
    sizes = []

    def note(tensor):
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        stream_forward(model, batch, frozenset(), chunk_size).logps.sum()
    assert max(sizes) < 120 * VOCAB


def two_statistics(logits, labels):
    """The largest logit, and that of the label."""
    return torch.stack([logits.max(-1).values, logits.gather(-1, labels[:, None]).squeeze(-1)], dim=-1)


@pytest.mark.parametrize("chunk_size", [1, 5, 1024])
@pytest.mark.parametrize("needs", [frozenset(), frozenset({"logits"})])
def test_statistics_are_those_of_the_full_logits(tiny_model, chunk_size, needs):
    model, batch = tiny_model(dtype=torch.float64), make_batch()
    view = stream_forward(model, batch, needs, chunk_size, statistics=two_statistics)
    logits = model(batch["input_ids"], batch["attention_mask"]).logits[:, :-1]
    label_logits = logits.gather(-1, batch["labels"][:, 1:, None].clamp(min=0)).squeeze(-1)
    expected = torch.stack([logits.max(-1).values, label_logits], -1) * view.mask[..., None]
    torch.testing.assert_close(view.statistics, expected.detach(), rtol=0, atol=1e-10)
    torch.testing.assert_close(view.logps, plain_logps(model, batch), rtol=0, atol=1e-10)
    assert not view.statistics.requires_grad


def test_statistics_see_one_chunk_of_labels_at_a_time(tiny_model):
    model, batch, seen = tiny_model(), make_batch(), []

    def note(logits, labels):
        seen.append(tuple(logits.shape))
        return labels[:, None].float()

    with torch.no_grad():
        view = stream_forward(model, batch, frozenset(), 5, note)
    scored = sum(length - prompt for prompt, length in LENGTHS)
    assert seen == [(5, VOCAB)] * (scored // 5) + [(scored % 5, VOCAB)] * (scored % 5 > 0)
    assert torch.equal(view.statistics[..., 0], view.labels.masked_fill(~view.mask, 0).float())


def test_statistics_leave_gradients_alone(tiny_model):
    model, batch = tiny_model(dtype=torch.float64), make_batch()
    weights = torch.randn(4, 13, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = gradients(model, stream_forward(model, batch, frozenset(), 5).logps, weights)
    found = gradients(model, stream_forward(model, batch, frozenset(), 5, two_statistics).logps, weights)
    for name, gradient in expected.items():
        assert torch.equal(found[name], gradient)


def test_statistics_see_logits_that_are_changed_after_the_head(tiny_model):
    model, batch = ScaledLlama(tiny_model(dtype=torch.float64)), make_batch()
    largest = stream_forward(model, batch, frozenset(), statistics=two_statistics).statistics[..., 0]
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    expected = logits.max(-1).values.masked_fill(batch["labels"][:, 1:] == IGNORE_INDEX, 0.0)
    torch.testing.assert_close(largest, expected, rtol=0, atol=1e-10)


def test_statistics_of_no_label_are_zero(tiny_model):
    batch = make_batch()
    batch["labels"] = torch.full_like(batch["labels"], IGNORE_INDEX)
    statistics = stream_forward(tiny_model(), batch, frozenset(), statistics=two_statistics).statistics
    assert statistics.shape == (4, 13, 2)
    assert not statistics.any()


@pytest.mark.parametrize("needs", [frozenset(), frozenset({"logits"})])
def test_virtual_tokens_before_the_input_are_refused(tiny_model, needs):
    from peft import PromptTuningConfig, get_peft_model

    model = get_peft_model(tiny_model(), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4))
    with pytest.raises(ValueError, match="one output per token"):
        stream_forward(model, make_batch(), needs)
