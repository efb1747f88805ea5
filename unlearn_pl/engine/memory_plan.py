"""How much memory a training step takes on a device, by arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from unlearn_pl.functional.scored_rows import ROWS
from unlearn_pl.models.language.forward import HEAD_CHUNK
from unlearn_pl.models.language.model_shape import ModelShape

EXACT = 4
"""Bytes of fp32, in which normalisation and log-probabilities are computed whatever the weights are."""


class BackwardPass(NamedTuple):
    """One backward pass of a step.

    Attributes:
        graphs: streams whose activations exist at the same time.
        logits: an objective on the same streams reads logits of the whole vocabulary.
        rows: gradients of other objectives that are kept meanwhile.
        unfinished: gradients, whole, that further micro-batches will be added to.
    """

    graphs: int = 1
    logits: bool = False
    rows: int = 0
    unfinished: int = 0


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes per device of one optimizer step, part by part.

    Activations are those of a Llama layer: inputs of both normalisations and their results, queries, keys (repeated
    for grouped queries), values and outputs of the attention, and four tensors of the feed-forward layer.

    Attributes:
        shape: sizes of the model.
        batch_size: examples per stream, forward pass and device.
        length: tokens of the longest example.
        passes: the backward passes of a step, in their order.
        gradients: that exist when the last backward pass is done: one per objective, or one of their sum.
        row_share: what a row that waits for the others takes, as a part of a gradient.
        weight_bytes: per weight.
        compute_bytes: per activation; 2 under ``bf16-mixed`` and ``bf16-true``.
        gradient_bytes: per trained weight.
        optimizer_bytes: per trained weight, of the optimizer's state.
        checkpointing: activations are computed again in the backward pass.
        held: copies of the trained weights that the gradient source holds.
        reference: whether a second, frozen model is held.
        reference_states: whether hidden states of the reference are read, which no cache has.
        whole_rows: whether rows are read element by element, and so cannot wait in less memory.
        shards: devices that share weights, gradients and optimizer state (FSDP2).
        bucketed: DDP holds one more gradient, in the buckets that it sends.
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
    reference_states: bool = False
    whole_rows: bool = False
    shards: int = 1
    bucketed: bool = False

    @property
    def parameters(self) -> float:
        """The model's weights, and the layers that FSDP2 gathers at a time."""
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
        """What one stream's forward pass keeps for its backward pass, logits aside."""
        layers = self.shape.num_layers
        kept_inputs = layers * self.shape.hidden_size * self.compute_bytes * self.tokens
        layer = self._of_layer + self._cast_weights
        return kept_inputs + layer if self.checkpointing else layers * layer

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
        """Whether what the linear layers get is converted for each of them: autocast, or adapters in fp32."""
        return self.compute_bytes < self.gradient_bytes

    @property
    def _inputs_of_linear(self) -> float:
        """Per token: what the five linear layers after a normalisation keep, and wider copies for adapters."""
        shape, low = self.shape, self.compute_bytes
        if not self._casts:
            return 2 * low * shape.hidden_size
        if self.weight_bytes >= self.gradient_bytes:  # autocast
            return low * (5 * shape.hidden_size + (0 if shape.trains_all else shape.attention_size))
        copied = 5 * shape.hidden_size + shape.attention_size + shape.intermediate_size
        return self.gradient_bytes * copied - low * shape.intermediate_size

    def logits(self, backward: BackwardPass) -> float:
        """Logits of one pass and what is computed from them, at its peak.

        Without an objective that reads logits: those of a chunk and their gradient, or logits and the gradient of the
        head. With one: logits of the model and of the reference, and two tensors of their size on the way back, as
        measured. What a softmax needs exists for some rows at a time.
        """
        of_head = self.shape.outside_layers * self.gradient_bytes * self.shape.trains_all
        rows = self._scored(ROWS) * 3 * EXACT
        if backward.logits:
            return self._scored(self.tokens) * (3 * self.compute_bytes + self._reference_bytes) + of_head + rows
        chunk = self._scored(HEAD_CHUNK) * self.compute_bytes
        return chunk + max(chunk, of_head) + rows

    def _scored(self, tokens: int) -> int:
        return min(tokens, self.tokens) * self.shape.vocab_size

    @property
    def _gradients(self) -> float:
        return 1 + (self.gradients - 1) * self.row_share

    @property
    def peak(self) -> float:
        """The most memory at a time: at the beginning or the end of a backward pass, or in the optimizer's step.

        A gradient grows as its backward pass frees activations, so that the one in the making is not counted beside
        them. The optimizer takes one more gradient's memory for its own computations.
        """
        backward = max(max(self._beginning(b), self._end(b)) for b in self.passes)
        return (
            self.parameters
            + self.optimizer
            + self.frozen
            + (self.bucketed + self.held) * self.gradient
            + max(backward, max(2, self._gradients) * self.gradient)
        )

    def _beginning(self, backward: BackwardPass) -> float:
        rows = backward.rows * self.row_share + backward.unfinished
        return rows * self.gradient + backward.graphs * self.activations + self.logits(backward)

    def _end(self, backward: BackwardPass) -> float:
        """The gradient is complete; logits are still there, and the embedding's part, before a tied head's is added."""
        rows = backward.rows * self.row_share + max(1, backward.unfinished)
        logits = self._scored(self.tokens) * (self.compute_bytes + self._reference_bytes) * backward.logits
        embedding = self.shape.vocab_size * self.shape.hidden_size * self.gradient_bytes * self.shape.trains_all
        return rows * self.gradient + logits + embedding

    @property
    def _reference_bytes(self) -> int:
        return self.compute_bytes if self.reference else EXACT  # one from a cache is in fp32

    @property
    def _gathered(self) -> float:
        if self.shards == 1:
            return 0
        outside = self.shape.outside_layers
        layer = self._layer_parameters
        # This layer and the next one, the root's own weights, and one layer's gradient before it is scattered.
        return (2 * layer + outside) * self.compute_bytes + layer * EXACT

    def parts(self) -> dict[str, float]:
        """Name to bytes; a gradient in the making shares the memory of activations, so they can exceed the peak."""
        return {
            "parameters": self.parameters,
            "optimizer": self.optimizer,
            "reference": self.frozen,
            "gradients": (self._gradients + self.bucketed + self.held) * self.gradient,
            "activations": max(b.graphs for b in self.passes) * self.activations,
            "logits": max(self.logits(b) for b in self.passes),
        }

    def savings(self) -> dict[str, "MemoryPlan"]:
        """What would lower the peak: a change in words to the plan with it."""
        plans: dict[str, MemoryPlan] = {}
        if not self.checkpointing:
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
