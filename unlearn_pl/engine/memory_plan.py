"""Analytic estimate of the memory of a training step on one device."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from unlearn_pl.functional.scored_rows import ROWS
from unlearn_pl.models.language.forward import HEAD_CHUNK
from unlearn_pl.models.model_shape import ModelShape

EXACT = 4
"""Bytes of an fp32 element: normalization and log-probabilities are computed in fp32 for every dtype of the weights."""


class BackwardPass(NamedTuple):
    """One backward pass of a step.

    Attributes:
        graphs: streams whose activations exist at the same time.
        logits: an objective on the same streams reads logits of the whole vocabulary.
        rows: gradients of other objectives that are kept meanwhile.
        unfinished: whole gradients to which further micro-batches will be added.
        uncompared: no objective on the same streams reads logits of the reference model.
        inner: all of them read hidden states alone, so that no gradient comes from the output head.
    """

    graphs: int = 1
    logits: bool = False
    rows: int = 0
    unfinished: int = 0
    uncompared: bool = False
    inner: bool = False


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes per device of one optimizer step, part by part.

    Activations are those of a Llama layer: inputs of both normalizations and their results, queries, keys (repeated
    for grouped queries), values and outputs of the attention, and four tensors of the feed-forward layer.

    Attributes:
        shape: sizes of the model.
        batch_size: examples per stream, forward pass and device.
        length: tokens of the longest example.
        passes: the backward passes of a step, in their order.
        gradients: number of gradients that exist after the last backward pass: one per objective, or one of their sum.
        row_share: memory of a kept row, as a fraction of a gradient.
        weight_bytes: bytes per weight.
        compute_bytes: bytes per activation; 2 under ``bf16-mixed`` and ``bf16-true``.
        gradient_bytes: bytes per trained weight of a gradient.
        optimizer_bytes: bytes per trained weight of the optimizer's state.
        checkpointing: activations are recomputed in the backward pass.
        held: number of copies of the trained weights that the gradient source holds.
        reference: whether a second, frozen model is held.
        adapter_reference: whether the model under its adapters is the reference, whose logits have its dtype.
        reference_states: whether hidden states of the reference model are read, which are never cached.
        whole_rows: whether rows are read element by element, and so cannot be kept in less memory.
        shards: devices that share weights, gradients and optimizer state (FSDP2).
        bucketed: DDP holds one more gradient, in its communication buckets.
        forward_only: ``passes`` are forward passes alone, of which one layer exists at a time.
        kept_logits: micro-batches whose logits of the reference model are kept during a step without backward passes.
    """

    shape: ModelShape
    batch_size: int
    length: int
    passes: Sequence[BackwardPass] = (BackwardPass(),)
    gradients: int = 1
    row_share: float = 1
    weight_bytes: float = 4
    compute_bytes: int = 4
    gradient_bytes: float = 4
    optimizer_bytes: float = 8
    checkpointing: bool = False
    held: int = 0
    reference: bool = False
    adapter_reference: bool = False
    reference_states: bool = False
    whole_rows: bool = False
    shards: int = 1
    bucketed: bool = False
    forward_only: bool = False
    kept_logits: int = 0

    @property
    def parameters(self) -> float:
        """The model's weights, and the layers that FSDP2 gathers at the same time."""
        return self.shape.parameters * self.weight_bytes / self.shards + self._gathered

    @property
    def gradient(self) -> float:
        """One gradient, that of an objective or their combination."""
        return self.shape.trained * self.gradient_bytes / self.shards

    @property
    def optimizer(self) -> float:
        """The optimizer's state."""
        return self.shape.trained * self.optimizer_bytes / self.shards

    @property
    def frozen(self) -> float:
        """A second model; its logits are counted with those of the first."""
        return self.reference * self.shape.parameters * self.weight_bytes / self.shards

    @property
    def tokens(self) -> int:
        """Tokens per stream, forward pass and device."""
        return self.batch_size * self.length

    @property
    def activations(self) -> float:
        """What one stream's forward pass keeps for its backward pass, without logits."""
        layers = self.shape.num_layers
        if self.forward_only:
            return self._largest_of_layer
        kept_inputs = layers * self.shape.hidden_size * self.compute_bytes * self.tokens
        layer = self._of_layer + self._cast_weights
        return kept_inputs + layer if self.checkpointing else layers * layer

    @property
    def _largest_of_layer(self) -> float:
        """What exists at the same time inside of a layer, of which nothing is kept: its input and the feed-forward."""
        wide = max(3 * self.shape.intermediate_size, 4 * self.shape.attention_size)
        return (2 * EXACT * self.shape.hidden_size + self.compute_bytes * wide) * self.tokens + self._cast_weights

    @property
    def _cast_weights(self) -> float:
        """The low-precision copies of a layer's weights that autocast makes, kept for the backward pass."""
        return self._layer_parameters * self.compute_bytes * (self.weight_bytes > self.compute_bytes)

    @property
    def _layer_parameters(self) -> float:
        return (self.shape.parameters - self.shape.outside_layers) / max(1, self.shape.num_layers)

    @property
    def _of_layer(self) -> float:
        hidden, low = self.shape.hidden_size, self.compute_bytes
        inner = 4 * low * (self.shape.attention_size + self.shape.intermediate_size)
        normalized = EXACT * hidden + (self._normalized_bytes * hidden if self.shape.trains_all else 0)
        return (2 * normalized + self._inputs_of_linear + inner) * self.tokens

    @property
    def _normalized_bytes(self) -> int:
        return EXACT if self._casts else self.compute_bytes

    @property
    def _casts(self) -> bool:
        """Whether inputs are converted for each linear layer: autocast, or adapters in fp32."""
        return self.compute_bytes < self.gradient_bytes

    @property
    def _inputs_of_linear(self) -> float:
        """Per token: what the five linear layers after a normalization keep, and wider copies for adapters."""
        shape, low = self.shape, self.compute_bytes
        if not self._casts:
            return 2 * low * shape.hidden_size
        if self.weight_bytes >= self.gradient_bytes:  # autocast
            return low * (5 * shape.hidden_size + (0 if shape.trains_all else shape.attention_size))
        copied = 5 * shape.hidden_size + shape.attention_size + shape.intermediate_size
        return self.gradient_bytes * copied - low * shape.intermediate_size

    def logits(self, backward: BackwardPass) -> float:
        """Peak memory of the logits of one pass, and of what is computed from them.

        Without an objective that reads logits: those of a chunk and their gradient, or logits and the gradient of the
        head; if all read hidden states alone, those of a chunk. With one: logits of the model, those of the reference
        model if they are read, and two tensors of their size in the backward pass, as measured. Temporaries of a
        softmax exist for a few rows at a time.
        """
        of_head = self.shape.outside_layers * self.gradient_bytes * self.shape.trains_all
        rows = self._scored(ROWS) * 3 * EXACT
        if backward.logits:
            each = 3 * self.compute_bytes + self._reference_bytes(backward)
            return self._scored(self.tokens) * each + of_head + rows
        chunk = self._scored(HEAD_CHUNK) * self.compute_bytes
        return chunk + rows + (0 if backward.inner else max(chunk, of_head))

    def _scored(self, tokens: int) -> int:
        return min(tokens, self.tokens) * self.shape.vocab_size

    @property
    def _gradients(self) -> float:
        return 1 + (self.gradients - 1) * self.row_share

    @property
    def peak(self) -> float:
        """Peak memory: at the beginning or the end of a backward pass, or in the optimizer's step.

        A gradient grows while its backward pass frees activations, so that the unfinished one is not counted beside
        them. The optimizer takes one more gradient's memory for its temporaries.
        """
        if self.forward_only:
            return self._peak_of_forwards
        backward = max(max(self._beginning(b), self._end(b)) for b in self.passes)
        return (
            self.parameters
            + self.optimizer
            + self.frozen
            + (self.bucketed + self.held) * self.gradient
            + max(backward, max(2, self._gradients) * self.gradient)
        )

    @property
    def _peak_of_forwards(self) -> float:
        """Either the copy of the weights and a forward pass, or the gradient that is left after all of them."""
        logits = max(self._logits_of_forward(each) for each in self.passes)
        forward = self.held * self.gradient + self._kept_outputs + max(self.activations, logits)
        weights = self.parameters + self.optimizer + self.frozen + self.bucketed * self.gradient
        return weights + max(forward, self.gradient)

    @property
    def _kept_outputs(self) -> float:
        return self.kept_logits * self._scored(self.tokens) * self._reference_element

    def _logits_of_forward(self, forward: BackwardPass) -> float:
        """Logits and the log-probabilities that are computed from them, of a few rows at a time.

        With an objective that reads logits: those that are scored beside all, and those of the reference model, unless
        they are kept anyway.
        """
        rows = self._scored(ROWS) * 3 * EXACT
        if not forward.logits:
            return self._scored(HEAD_CHUNK) * self.compute_bytes + rows
        compared = 0 if self.kept_logits else self._reference_bytes(forward)
        return self._scored(self.tokens) * (2 * self.compute_bytes + compared) + rows

    def _beginning(self, backward: BackwardPass) -> float:
        rows = backward.rows * self.row_share + backward.unfinished
        return rows * self.gradient + backward.graphs * self.activations + self.logits(backward)

    def _end(self, backward: BackwardPass) -> float:
        """The gradient is complete; logits still exist, and the embedding's part before a tied head's is added."""
        rows = backward.rows * self.row_share + max(1, backward.unfinished)
        logits = self._scored(self.tokens) * (self.compute_bytes + self._reference_bytes(backward)) * backward.logits
        two_uses = self.shape.trains_all and not backward.inner
        embedding = self.shape.vocab_size * self.shape.hidden_size * self.gradient_bytes * two_uses
        return rows * self.gradient + logits + embedding

    @property
    def _reference_element(self) -> int:
        return self.compute_bytes if self.reference or self.adapter_reference else EXACT  # cached values are fp32

    def _reference_bytes(self, each: BackwardPass) -> int:
        return 0 if each.uncompared else self._reference_element

    @property
    def _gathered(self) -> float:
        if self.shards == 1:
            return 0
        outside = self.shape.outside_layers
        layer = self._layer_parameters
        # This layer and the next one, the root's own weights, and one layer's gradient before it is scattered.
        return (2 * layer + outside) * self.compute_bytes + layer * EXACT

    def parts(self) -> dict[str, float]:
        """Name to bytes; an unfinished gradient shares the memory of activations, so the sum can exceed the peak."""
        if self.forward_only:
            return self._parts_of_forwards()
        return {
            "parameters": self.parameters,
            "optimizer": self.optimizer,
            "reference": self.frozen,
            "gradients": (self._gradients + self.bucketed + self.held) * self.gradient,
            "activations": max(b.graphs for b in self.passes) * self.activations,
            "logits": max(self.logits(b) for b in self.passes),
        }

    def _parts_of_forwards(self) -> dict[str, float]:
        return {
            "parameters": self.parameters,
            "optimizer": self.optimizer,
            "reference": self.frozen + self._kept_outputs,
            "copy of the trained weights, or gradient": max(self.held, 1) * self.gradient,
            "activations": self.activations,
            "logits": max(self._logits_of_forward(each) for each in self.passes),
        }

    def savings(self) -> dict[str, "MemoryPlan"]:
        """Changes that may lower the peak: description of each to the plan with it."""
        plans: dict[str, MemoryPlan] = {}
        if not self.checkpointing and not self.forward_only:
            plans["CausalLM(gradient_checkpointing=True)"] = replace(self, checkpointing=True)
        if self.batch_size > 1:
            plans[f"micro_batch_size={self.batch_size // 2}"] = replace(self, batch_size=self.batch_size // 2)
        if self.reference and not self.reference_states:
            plans["CachedReference() instead of FrozenReference()"] = replace(self, reference=False)
        if self.weight_bytes > 2:
            plans["Trainer(precision='bf16-true')"] = replace(
                self, weight_bytes=2, compute_bytes=2, gradient_bytes=2, optimizer_bytes=self.optimizer_bytes / 2
            )
        if self.shape.trains_all:
            adapters = replace(self.shape, trained=self.shape.parameters // 100)
            plans["CausalLM(lora=LoRA())"] = replace(self, shape=adapters)
        if self.gradients > 1 and self.row_share == 1 and not self.whole_rows:
            plans["gradient=FirstOrder(rows=BFloat16Rows())"] = replace(self, row_share=2 / max(2, self.gradient_bytes))
        if self.shards == 1:
            plans["Trainer(strategy='fsdp2', devices=8)"] = replace(self, shards=8, bucketed=False)
        return plans
