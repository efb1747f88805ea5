"""The subclass of docs/subclassing.md, and parts of other subclasses, as they run on each rank of the pool."""

import sys
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import torch
from torch.optim import SGD, AdamW

from tests import kit
from tests.distributed.cases import OPTIONS, strategy
from tests.documents import blocks
from unlearn_pl.data import SyntheticAuthorsDataModule
from unlearn_pl.models import full_state_dict, tiny_llama
from unlearn_pl.modules import GradDiff, UnlearningModule


def documented(folder: str, name: str = "refusing") -> ModuleType:
    """The file that the page shows, in ``folder``; it stays imported, as long as its classes live."""
    if name not in sys.modules:
        spec = spec_from_file_location(name, Path(folder) / f"{name}.py")
        sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def data() -> SyntheticAuthorsDataModule:
    sizes = {"forget_authors": 1, "retain_authors": 1, "holdout_authors": 1, "general_facts": 2}
    options = {"batch_size": 10, "micro_batch_size": 5, "splits": ["forget"], "max_eval_examples": 2}
    return SyntheticAuthorsDataModule(kit.tokenizer(), **sizes, **options)


def life(strategy_name: str, devices: int, folder: str):
    """Train two epochs in one go, and in two with a checkpoint between them; load it, and test it."""
    kind, options = documented(folder).RefusingMOLLM, {"temperature": 3.0, "lr": 0.01}
    model = f"{folder}/model"
    quiet = {"strategy": strategy(strategy_name), "devices": devices}
    whole, half, resumed = (kind(model, **options) for _ in range(3))
    kit.trainer(max_epochs=2, **quiet).fit(whole, data())
    trainer = kit.trainer(max_epochs=1, **quiet)
    trainer.fit(half, data())
    trainer.save_checkpoint(path := f"{folder}/{strategy_name}.ckpt")
    continued = kit.trainer(max_epochs=2, **quiet)
    continued.fit(resumed, data(), ckpt_path=path)
    kit.trainer(**quiet).test(kind(model, max_new_tokens=2), data(), ckpt_path=path, verbose=False)
    states = [full_state_dict(module.model) for module in (whole, half, resumed)]
    loaded = UnlearningModule.load_from_checkpoint(path, map_location="cpu")
    return {
        "states": states,
        "loaded": loaded.model.state_dict(),
        "objectives": list(loaded.objectives),
        "temperature": loaded.temperature,
        "logged": continued.callback_metrics["train/largest_loss"].item(),
        "rate": whole.optimizers().param_groups[0]["lr"],
    }


def prepare(folder: Path) -> None:
    """The model, and the file of the page."""
    (block,) = (block for block in blocks("python", "docs/subclassing.md") if block.filename)
    (folder / block.filename).write_text(block.code, encoding="utf-8")
    tiny_llama(len(kit.tokenizer()), hidden_size=16, num_layers=1, num_heads=2).save_pretrained(folder / "model")


def resume_with_another_optimizer(folder: str, distributed: bool) -> str:
    """What a run of SGD says to a checkpoint of AdamW, whose shards are restored before any hook is called."""
    from unlearn_pl.modules import FSDP2Strategy

    said = ""
    for optimizer, ckpt_path in ((AdamW, None), (SGD, f"{folder}/adamw.ckpt")):
        module = GradDiff(kit.model(), **OPTIONS | {"optimizer": partial(optimizer, lr=0.01, weight_decay=0.0)})
        trainer = kit.trainer(max_steps=1, strategy=FSDP2Strategy(distributed), devices=2)
        try:
            trainer.fit(module, kit.Questions(batch_size=8, micro_batch_size=4), ckpt_path=ckpt_path)
        except ValueError as error:
            said = str(error)
        if ckpt_path is None:
            trainer.save_checkpoint(f"{folder}/adamw.ckpt")
    return said


class RankMetric(GradDiff):
    """Halves its learning rate by a metric that every rank sees differently."""

    def training_step(self, batch, batch_idx):
        super().training_step(batch, batch_idx)
        self.log("train/own", float(self.global_step * (1 - 2 * self.global_rank)), batch_size=1, sync_dist=False)

    def configure_optimizers(self):
        optimizer = SGD(self.model.parameters(), lr=1.0)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": plateau, "monitor": "train/own", "interval": "step"},
        }


def rates_by_a_local_metric() -> float:
    """The learning rate after four steps."""
    module = RankMetric(kit.model())
    data = kit.Questions(batch_size=8, micro_batch_size=4)
    kit.trainer(max_steps=4, strategy="ddp", devices=2).fit(module, data)
    return module.optimizers().param_groups[0]["lr"]
