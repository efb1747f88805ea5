"""Text-to-image models on one process or on two ranks that share the weights."""

import torch
from lightning.pytorch.callbacks import LambdaCallback

from tests import canvas, kit
from tests.diffusion_folder import spec
from unlearn_pl.callbacks import SavePretrained
from unlearn_pl.combiners import MinNorm
from unlearn_pl.models import LoRA, full_state_dict
from unlearn_pl.modules import SalUn, UnlearningModule
from unlearn_pl.objectives import DenoisingLoss, ESDLoss, MisalignLoss, PredictionConsistencyLoss
from unlearn_pl.references import AdapterReference, FrozenReference

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]


def module_of(name: str, folder: str | None) -> UnlearningModule:
    """A method on the tiny model, on Stable Diffusion's layout, or on adapters of it."""
    if name == "adapters":
        objectives = {"forget": MisalignLoss(), "retain": PredictionConsistencyLoss()}
        model = spec(folder, lora=LoRA(r=2, alpha=64, target_modules=ATTENTION))
        return UnlearningModule(model, objectives, MinNorm(), AdapterReference(), **canvas.OPTIONS)
    if name == "esd":
        objectives = {"forget": ESDLoss(), "retain": DenoisingLoss()}
        return UnlearningModule(spec(folder), objectives, MinNorm(), FrozenReference(), **canvas.OPTIONS)
    return SalUn(canvas.unet(), **canvas.OPTIONS)


def trained(name: str, folder: str | None = None, strategy: str = "auto", devices: int = 1):
    """The whole weights after three steps, and whether the export reloads; on rank 0."""
    module = module_of(name, folder)
    seeded = LambdaCallback(setup=lambda *_, **__: torch.manual_seed(0))  # of the adapters, whatever data drew before
    export = [SavePretrained(f"{folder}_{strategy}_{name}")] if folder else []
    trainer = kit.trainer(
        max_steps=3, precision="64-true", strategy=strategy, devices=devices, callbacks=[seeded, *export]
    )
    data = canvas.canvas(micro_batch_size=4, splits=["retain"])
    trainer.fit(module, data)
    return full_state_dict(module.model), [each.reload.agrees for each in export if each.reload is not None]
