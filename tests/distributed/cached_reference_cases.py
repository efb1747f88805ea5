"""What runs on every rank of the pool for the cached reference."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.device_mesh import init_device_mesh

from tests import kit
from tests.distributed.cases import OPTIONS, strategy
from unlearn_pl.combiners import MinNorm
from unlearn_pl.models import full_state_dict, shard, stream_forward
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, KLDivergenceLoss, NPOLoss
from unlearn_pl.references import (
    CachedReference,
    FrozenReference,
    ReferenceContext,
    StreamExamples,
    cached,
    measure,
)


def train(strategy_name: str, devices: int, folder: str | None, seed: int = 0, forget: int = 10):
    """Two epochs against a frozen copy (no folder) or cached values; final weights, and the examples per pass."""
    reference = CachedReference(folder, top_k=1000) if folder else FrozenReference()
    objectives = {"forget": NPOLoss(), "kl": KLDivergenceLoss(), "retain": CausalLMLoss()}
    module = UnlearningModule(kit.model(seed), objectives, MinNorm(), reference, **OPTIONS)
    data = kit.Questions(forget=forget, retain=14, batch_size=8, micro_batch_size=4)
    trainer = kit.trainer(max_epochs=2, strategy=strategy(strategy_name), devices=devices)
    passes = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cached, "measure", lambda *args: passes.append(len(args[1])) or measure.measure(*args))
        trainer.fit(module, data)
    kinds = [type(parameter).__name__ for parameter in module.model.parameters()]
    optimized = [type(p).__name__ for group in trainer.optimizers[0].param_groups for p in group["params"]]
    return {"state": full_state_dict(module.model), "passes": passes, "kinds": kinds, "optimized": optimized}


def refusal(strategy_name: str, folder: str, seed: int, forget: int) -> str:
    """What the ranks say to a cache of other weights or rows."""
    try:
        train(strategy_name, 2, folder, seed, forget)
    except ValueError as error:
        return str(error)
    return "accepted"


def failure(strategy_name: str, folder: str) -> str:
    """What the ranks say when the one that writes cannot."""
    Path(folder).write_text("a file where the folder should be")
    try:
        train(strategy_name, 2, folder)
    except OSError as error:
        return type(error).__name__
    return "written"


def kinds_after_the_pass(folder: str) -> list[str]:
    """What the parameters of a sharded model are right after its forwards."""
    model = shard(kit.model(), init_device_mesh("cpu", (2,)))
    data = kit.Questions(batch_size=8, micro_batch_size=4)
    context = ReferenceContext(
        model,
        lambda: model,
        stream_forward,
        is_original=True,
        needs={"forget": frozenset({"ref_logps"})},
        examples=lambda stream: StreamExamples("rows", data.training_examples(stream, 1)),
        folder=Path(folder),
        rank=torch.distributed.get_rank(),
        world_size=2,
    )
    CachedReference().prepare(context)
    return [type(parameter).__name__ for parameter in model.parameters()]


def files(folder: str) -> dict[str, dict[str, torch.Tensor]]:
    return {path.name: load_file(path) for path in sorted(Path(folder).iterdir())}
