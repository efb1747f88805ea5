"""Memory per GPU of models that do not fit here, by the estimate that is printed before a run.

python -m benchmarks.memory_table          # writes its section of RESULTS.md
python -m benchmarks.memory_table --print
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.harness import command_line, report, table
from unlearn_pl.engine import BackwardPass, MemoryPlan, backward_passes
from unlearn_pl.models.model_shape import ModelShape
from unlearn_pl.objectives import CausalLMLoss, KLDivergenceLoss, UnlearningCrossEntropyLoss

GPU_GIB = 80
GIB = 2**30
LORA_RANK = 16
NF4_BYTES = (4 + 0.127) / 8
"""4 bits, and the quantized constants of blocks of 64 weights (Dettmers et al., QLoRA, section 3)."""
OBJECTIVES = {"forget": UnlearningCrossEntropyLoss(), "normal": KLDivergenceLoss(), "retain": CausalLMLoss()}


@dataclass(frozen=True)
class Llama:
    """A model by its published sizes."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool = False

    @property
    def linear_layers(self) -> Sequence[tuple[int, int]]:
        """Widths of the linear layers of a decoder layer."""
        kv = self.hidden // self.heads * self.kv_heads
        attention = [(self.hidden, self.hidden), (self.hidden, kv), (self.hidden, kv), (self.hidden, self.hidden)]
        return [*attention, *[(self.hidden, self.intermediate)] * 3]

    @property
    def quantized_bytes(self) -> float:
        """Bytes per weight with 4-bit decoder layers and bf16 for the rest."""
        inside = self.layers * sum(a * b for a, b in self.linear_layers)
        outside = self._outside
        return (NF4_BYTES * inside + 2 * outside) / (inside + outside)

    @property
    def _outside(self) -> int:
        """Weights of embedding and output head."""
        return (1 if self.tied else 2) * self.vocabulary * self.hidden

    def shape(self, lora: bool) -> ModelShape:
        """Sizes with all weights, or adapters, trained; embedding and head count once if they are tied."""
        layer = sum(a * b for a, b in self.linear_layers) + 2 * self.hidden
        total = self.layers * layer + self._outside + self.hidden
        adapters = self.layers * LORA_RANK * sum(a + b for a, b in self.linear_layers)
        return ModelShape(
            parameters=total + adapters * lora,
            trained=adapters if lora else total,
            num_layers=self.layers,
            hidden_size=self.hidden,
            intermediate_size=self.intermediate,
            attention_size=self.hidden,
            vocab_size=self.vocabulary,
        )


MODELS = {
    "7 B (Llama 2)": Llama(32, 4096, 11008, 32, 32, 32000),
    "70 B (Llama 3)": Llama(80, 8192, 28672, 64, 8, 128256),
}


def plans(model: Llama) -> dict[str, MemoryPlan]:
    """Ways to train a model on one GPU: MOLLM's three objectives, bf16, one example of 1024 tokens at a time."""
    full = MemoryPlan(
        model.shape(lora=False),
        batch_size=1,
        length=1024,
        passes=backward_passes(OBJECTIVES, keeps_rows=True, accumulates=True),
        gradients=len(OBJECTIVES),
        weight_bytes=2,
        compute_bytes=2,
        gradient_bytes=2,
        optimizer_bytes=4,
        checkpointing=True,
    )
    one_gradient = (BackwardPass(logits=True, rows=1),)
    return {
        "full, weighted sum": replace(full, passes=one_gradient, gradients=1),
        "full, K = 3": full,
        "full, K = 3, frozen reference": replace(full, reference=True),
        "full, K = 3, 8-bit AdamW": replace(full, optimizer_bytes=2),
        "full in fp32 under bf16-mixed, K = 3": replace(full, weight_bytes=4, gradient_bytes=4, optimizer_bytes=8),
        "LoRA (r = 16), K = 3": replace(full, shape=model.shape(lora=True)),
        "QLoRA (r = 16), K = 3": replace(full, shape=model.shape(lora=True), weight_bytes=model.quantized_bytes),
    }


def rows() -> list[list[str]]:
    """A row per model and way to train it."""
    found = []
    for name, model in MODELS.items():
        for way, plan in plans(model).items():
            parts = plan.parts()
            gib = [f"{parts[part] / GIB:.1f}" for part in PARTS]
            sharded = [] if plan.weight_bytes < 1 else [replace(plan, shards=gpus).peak / GIB for gpus in (8, 64)]
            peaks = [plan.peak / GIB, *sharded]
            cells = [f"{peak:.0f}" if peak > GPU_GIB else f"**{peak:.0f}**" for peak in peaks]
            found.append([name, way, *gib, *cells, *["refused"] * (3 - len(cells))])
    return found


PARTS = ["parameters", "optimizer", "gradients", "reference", "activations", "logits"]


def main() -> None:
    options = command_line(__doc__).parse_args()
    text = (
        "`python -m benchmarks.memory_table`: GiB per GPU, estimated, nothing of it measured. UCE, KL and NLL, a "
        "gradient each, `bf16-true`, AdamW, cached reference, activation checkpointing, one example of 1024 tokens per "
        "forward, several micro-batches per step. The parts are those on one GPU; with 8 and 64, FSDP2 shards weights, "
        f"gradients and optimizer state. Bold fits {GPU_GIB} GiB.\n\n"
        + table(["model", "training", *PARTS, "1 GPU", "8 GPUs", "64 GPUs"], rows())
    )
    report("memory of large models", text, options)


if __name__ == "__main__":
    main()
