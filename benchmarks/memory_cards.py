"""Which method fits on which card: 1, 3 and 8 B weights, by the estimate that is printed before a run.

python -m benchmarks.memory_cards          # writes its section of RESULTS.md
python -m benchmarks.memory_cards --print
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.harness import command_line, report, table
from benchmarks.memory_table import GIB, Llama
from unlearn_pl.engine import MemoryPlan, backward_passes
from unlearn_pl.objectives import (
    CausalLMLoss,
    HiddenDistanceLoss,
    InvertedHingeLoss,
    KLDivergenceLoss,
    NPOLoss,
    Objective,
    ReroutingLoss,
    UnlearningCrossEntropyLoss,
)

CARDS = (24, 40, 80)
USABLE = 0.9
"""Share of a card's memory that is left for the estimate: the CUDA context and fragmentation take the rest."""
BATCH, LENGTH = 4, 256
MODELS = {
    "1 B (Llama 3.2)": Llama(16, 2048, 8192, 32, 8, 128256, tied=True),
    "3 B (Llama 3.2)": Llama(28, 3072, 8192, 24, 8, 128256, tied=True),
    "8 B (Llama 3.1)": Llama(32, 4096, 14336, 32, 8, 128256),
}


@dataclass(frozen=True)
class Method:
    """What the memory of a method depends on.

    Attributes:
        objectives: by name.
        keeps_rows: a gradient of each objective exists, rather than one of their sum.
        compares: whether there is a reference model.
        states: whether its hidden states are read, which are never cached.
    """

    objectives: Mapping[str, Objective]
    keeps_rows: bool = False
    compares: bool = True
    states: bool = False


METHODS = {
    "MOLLM": Method(
        {"forget": UnlearningCrossEntropyLoss(), "normal": KLDivergenceLoss(), "retain": CausalLMLoss()},
        keeps_rows=True,
    ),
    "NPO": Method({"forget": NPOLoss(), "retain": CausalLMLoss()}),
    "LoKU": Method({"forget": InvertedHingeLoss(), "retain": CausalLMLoss()}, compares=False),
    "RR": Method({"forget": ReroutingLoss([10]), "retain": HiddenDistanceLoss([10])}, states=True),
}
TRAININGS = ["all weights, frozen copy", "all weights, cached reference", "LoRA (r = 16)", "QLoRA (r = 16)"]


def plan(model: Llama, method: Method, training: str) -> MemoryPlan | None:
    """A step on one GPU; None if there is no such training of the method."""
    lora, cached = "LoRA" in training, "cached" in training
    if cached and (method.states or not method.compares):
        return None
    full = MemoryPlan(
        model.shape(lora),
        batch_size=BATCH,
        length=LENGTH,
        passes=backward_passes(method.objectives, method.keeps_rows, accumulates=True),
        gradients=len(method.objectives) if method.keeps_rows else 1,
        weight_bytes=2,
        compute_bytes=2,
        gradient_bytes=2,
        optimizer_bytes=4,
        checkpointing=True,
        reference=method.compares and not lora and not cached,
        reference_states=method.states,
    )
    return replace(full, weight_bytes=model.quantized_bytes) if training.startswith("QLoRA") else full


def cell(found: MemoryPlan | None) -> str:
    """GiB, and the smallest card that has them."""
    if found is None:
        return "-"
    gib = found.peak / GIB
    card = next((f"{size} GB" for size in CARDS if gib <= USABLE * size), "none")
    return f"{gib:.1f} (**{card}**)"


def rows() -> Sequence[Sequence[str]]:
    """A row per model and training, a column per method."""
    return [
        [name, training, *(cell(plan(model, method, training)) for method in METHODS.values())]
        for name, model in MODELS.items()
        for training in TRAININGS
    ]


def main() -> None:
    options = command_line(__doc__).parse_args()
    text = (
        "`python -m benchmarks.memory_cards`: GiB on one GPU by the estimate, and the smallest card of 24, 40 and 80 "
        f"GB of which that is at most {USABLE:.0%}. `bf16-true`, AdamW, activation checkpointing, {BATCH} examples of "
        f"{LENGTH} tokens per stream and forward, several micro-batches per step; with adapters, the reference is the "
        "model under them. LoKU has none, and hidden states, which RR compares, are not cached.\n\n"
        + table(["model", "training", *METHODS], rows())
    )
    report("memory on one card", text, options)


if __name__ == "__main__":
    main()
