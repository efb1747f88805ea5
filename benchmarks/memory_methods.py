"""Peak memory of methods on all weights, on adapters, and on adapters over 4 bits: ours, the plain way, TRL, estimate.

    python -m benchmarks.memory_methods                  # 12 M weights
    python -m benchmarks.memory_methods --model 135m
    python -m benchmarks.memory_methods --quick --print  # does it work? Nothing is written

The plain way keeps a copy of the whole model as the reference, and sums the losses of all streams before one backward
pass. TRL has trainers for the last two losses only; its column is empty where the package is not installed. Every loop
runs in a process of its own. Writes its section of ``RESULTS.md``.
"""

import json
import sys
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.harness import (
    MIB,
    Contestant,
    PeakMemory,
    best_device,
    command_line,
    in_fresh_process,
    machine,
    report,
    table,
    take_steps,
)
from benchmarks.step_cost_loops import CLIP, OPTIMIZER, fit, log_probs, logits_of
from benchmarks.step_cost_task import (
    Streams,
    Task,
    divergence,
    negative_log_likelihood,
    token_log_probs,
    unlearning_cross_entropy,
)
from benchmarks.step_cost_trl import BETA, UnpairedPreferenceLoss, has_trl, trl_loop
from unlearn_pl.combiners import Combiner, MinNorm, Scalarization
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.modules.fitting.memory import memory_plan
from unlearn_pl.objectives import (
    CausalLMLoss,
    DPOLoss,
    HiddenDistanceLoss,
    InvertedHingeLoss,
    KLDivergenceLoss,
    NPOLoss,
    Objective,
    ReroutingLoss,
    UnlearningCrossEntropyLoss,
)
from unlearn_pl.optim import Constant
from unlearn_pl.references import AdapterReference, FrozenReference
from unlearn_pl.types import TokenBatch

STEPS = 2
"""The second one has all of the optimizer's state, and is like every later one."""
TRAININGS: Mapping[str, Mapping[str, bool | str]] = {
    "LoRA": {"lora": True},
    "QLoRA": {"lora": True, "quantized": True, "dtype": "bfloat16"},
    "all weights": {},
}


# This library --------------------------------------------------------------------------------------------------------


def layers(task: Task) -> tuple[list[int], list[int]]:
    """Those of the two losses of RR: a third and two thirds of the depth, and five of the retain side."""
    return ([10, 20], [4, 8, 12, 16, 20]) if task.model == "135m" and not task.layers else ([1], [1])


def objectives(method: str, task: Task) -> dict[str, Objective]:
    """The objectives of a method, by name."""
    turned, kept = layers(task)
    made: dict[str, Callable[[], dict[str, Objective]]] = {
        "MOLLM": lambda: {
            "forget": UnlearningCrossEntropyLoss(),
            "normal": KLDivergenceLoss(),
            "retain": CausalLMLoss(),
        },
        "NPO": lambda: {"forget": NPOLoss(BETA), "retain": CausalLMLoss()},
        "LoKU": lambda: {"forget": InvertedHingeLoss(), "retain": CausalLMLoss()},
        "RR": lambda: {"forget": ReroutingLoss(turned), "retain": HiddenDistanceLoss(kept)},
        "DPO": lambda: {"forget": DPOLoss(BETA)},
        "KTO": lambda: {"forget": UnpairedPreferenceLoss()},
    }
    return made[method]()


METHODS = ["MOLLM", "NPO", "LoKU", "RR", "DPO", "KTO"]
PAIRED = ("DPO", "KTO")


def method_module(method: str, task: Task, device: torch.device) -> UnlearningModule:
    """A method with the reference that costs least: the model under the adapters, or else a copy."""
    combiner: Combiner = MinNorm() if method == "MOLLM" else Scalarization()
    reference = AdapterReference() if task.lora else FrozenReference()
    return UnlearningModule(
        task.make_model(device),
        objectives(method, task),
        combiner,
        None if method == "LoKU" else reference,
        optimizer=OPTIMIZER,
        schedule=Constant(),
    )


# The plain way -------------------------------------------------------------------------------------------------------


def hidden_states(model: nn.Module, batch: TokenBatch) -> tuple[Tensor, ...]:
    """``[B, T, D]`` of every layer."""
    return model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        use_cache=False,
        output_hidden_states=True,
    ).hidden_states


def ratios(model: nn.Module, frozen: nn.Module, batch: TokenBatch) -> Tensor:
    """``log p - log p_ref`` of each sequence, ``[B]``."""
    shape = len(batch["labels"]), -1
    with torch.no_grad():
        reference = token_log_probs(logits_of(frozen, batch), batch).view(shape).sum(-1)
    return token_log_probs(logits_of(model, batch), batch).view(shape).sum(-1) - reference


def inverted_hinge(logits: Tensor, batch: TokenBatch) -> Tensor:
    """``1 + p(y) - max_{v != y} p(v)``, mean over the tokens."""
    probs = torch.softmax(logits[:, :-1].flatten(0, 1).float(), dim=-1)
    labels = batch["labels"][:, 1:].reshape(-1, 1)
    return (1 + probs.gather(-1, labels).squeeze(-1) - probs.scatter(-1, labels, -1.0).amax(dim=-1)).mean()


def rerouting(model: nn.Module, frozen: nn.Module, batch: Streams, task: Task) -> list[Tensor]:
    """Both losses of RR."""
    turned, kept = layers(task)
    with torch.no_grad():
        reference = {stream: hidden_states(frozen, batch[stream]) for stream in ("forget", "retain")}
    forget, retain = (hidden_states(model, batch[stream]) for stream in ("forget", "retain"))
    overlap = [F.cosine_similarity(forget[i][:, :-1], reference["forget"][i][:, :-1], dim=-1).relu() for i in turned]
    distance = [(retain[i][:, :-1] - reference["retain"][i][:, :-1]).norm(dim=-1) for i in kept]
    return [torch.stack(overlap).mean(), torch.stack(distance).mean()]


def plain_losses(method: str, task: Task, model: nn.Module, frozen: nn.Module | None, batch: Streams) -> list[Tensor]:
    """The losses of a method, each stream run once."""
    if method in PAIRED:
        assert frozen is not None
        up, down = (BETA * ratios(model, frozen, batch[stream]) for stream in ("forget.alternate", "forget"))
        if method == "KTO":
            return [(torch.sigmoid(-up) + torch.sigmoid(down)).mean() / 2]
        return [-2 / BETA * F.logsigmoid(up - down).mean()]
    if method == "RR":
        assert frozen is not None
        return rerouting(model, frozen, batch, task)
    if method == "NPO":
        assert frozen is not None
        forget = -2 / BETA * F.logsigmoid(-BETA * ratios(model, frozen, batch["forget"])).mean()
    else:
        bounded = inverted_hinge if method == "LoKU" else unlearning_cross_entropy
        forget = bounded(logits_of(model, batch["forget"]), batch["forget"])
    logits = logits_of(model, batch["retain"])
    losses = [forget, negative_log_likelihood(logits, batch["retain"])]
    if method == "MOLLM":
        assert frozen is not None
        losses.append(divergence(logits, log_probs(frozen, batch["retain"])))
    return losses


def plain_loop(method: str, task: Task, device: torch.device) -> Contestant:
    """The sum of all losses, one backward pass, clipping, AdamW; the reference is a copy of the model."""

    def loop(step_done: Callable[[], None]) -> None:
        model, batch = task.make_model(device), task.batch(device)
        frozen = None if method == "LoKU" else deepcopy(model).eval().requires_grad_(False)
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimizer = OPTIMIZER(parameters)
        while True:
            torch.stack(plain_losses(method, task, model, frozen, batch)).sum().backward()
            nn.utils.clip_grad_norm_(parameters, CLIP)
            optimizer.step()
            optimizer.zero_grad()
            step_done()

    return loop


# Measuring -----------------------------------------------------------------------------------------------------------


def answer(request: dict) -> dict:
    """Peak of one loop in this process, and the estimate of ours, in MiB."""
    torch.set_num_threads(1)
    method, task, way = request["method"], Task(**request["task"]), request["way"]
    device = best_device()
    # What is imported at the start, and the buffers that libraries of matrix products keep, are no memory of training.
    take_steps(_loop(way, method, replace(task, layers=1), device), 1)
    if task.quantized:
        task.make_plain(device)  # writes the folder that the loop then reads
    memory = PeakMemory(device)
    if way != "ours":
        take_steps(_loop(way, method, task, device), STEPS)
        return {"measured": memory.mib()}
    module = method_module(method, task, device)
    memory.restart()  # quantization holds weights in two formats for a moment
    found: dict = {}

    def loop(step_done: Callable[[], None]) -> None:
        def look() -> None:
            plan = memory_plan(module)
            assert plan is not None
            found["estimate"] = plan.peak / MIB
            found["parts"] = {name: size / MIB for name, size in plan.parts().items() if size}
            step_done()

        fit(module, task, device, look)

    take_steps(loop, STEPS)
    return found | {"measured": memory.mib()}


def _loop(way: str, method: str, task: Task, device: torch.device) -> Contestant:
    if way == "plain":
        return plain_loop(method, task, device)
    if way == "TRL":
        return trl_loop(method, task, device)  # type: ignore[arg-type]
    return partial(fit, method_module(method, task, device), task, device)


def measured(method: str, task: Task, name: str) -> dict[str, dict]:
    """What :func:`answer` says of each way to train; TRL's is missing where it has no trainer, or is not installed."""
    peaks: dict[str, dict] = {}
    for way in ("ours", "plain", "TRL"):
        if way == "TRL" and not (method in PAIRED and has_trl()):
            continue
        print(f"{method}, {name}, {way}", file=sys.stderr, flush=True)
        request = {"method": method, "task": asdict(task), "way": way}
        peaks[way] = in_fresh_process("benchmarks.memory_methods", request, exact_memory=True)
        print(peaks[way], file=sys.stderr, flush=True)
    return peaks


def row(method: str, training: str, peaks: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Cells of one method and training."""
    ours, estimate = peaks["ours"]["measured"], peaks["ours"]["estimate"]
    others = [
        cell
        for way in ("plain", "TRL")
        for cell in (
            [f"{peaks[way]['measured']:.0f}", f"{ours / peaks[way]['measured']:.2f}"] if way in peaks else ["", ""]
        )
    ]
    return [method, training, f"**{ours:.0f}**", f"{estimate:.0f}", f"{100 * (estimate / ours - 1):+.0f} %", *others]


HEADER = ["loss", "training", "ours", "estimate", "error", "plain", "ours / plain", "TRL", "ours / TRL"]


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--model", default="12m", choices=["12m", "135m", "1b"])
    parser.add_argument("--quick", action="store_true", help="two methods on adapters only")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(answer(options.child)))
        return
    methods, trainings = (["NPO", "DPO"], ["LoRA"]) if options.quick else (METHODS, list(TRAININGS))
    rows = []
    for training in trainings:
        for method in methods:
            task = Task(options.model, pairs=method in PAIRED, **TRAININGS[training])  # type: ignore[arg-type]
            rows.append(row(method, training, measured(method, task, training)))
    text = (
        f"`python -m benchmarks.memory_methods --model {options.model}`: AdamW, 4 examples of 128 tokens per stream "
        f"and step, float32, and bfloat16 with QLoRA; the peak of {STEPS} steps in MiB beyond what the process held "
        f"before. TRL's KTO is the variant without a KL term (`apo_zero_unpaired`). {_trl()}{machine()}.\n\n"
        + table(HEADER, rows)
    )
    report(f"memory of methods, {options.model}", text, options)


def _trl() -> str:
    if not has_trl():
        return "TRL is not installed. "
    from importlib.metadata import version

    return f"TRL {version('trl')}. "


if __name__ == "__main__":
    main()
