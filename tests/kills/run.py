"""A training run in a process of its own, which ends by SIGKILL before, or within, a chosen file operation.

``table.py`` forks it. The operations are counted from outside of the package: by Python's audit hook, which tells of
every file that is opened for writing, renamed, linked and removed, and by functions in the place of ``os.fsync`` and
``open``.
"""

import builtins
import errno
import functools
import io
import json
import os
import signal
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from tests import kit
from unlearn_pl.combiners import MinNorm
from unlearn_pl.models import CausalLM, LoRA, full_state_dict
from unlearn_pl.modules import MOLLM, GradDiff
from unlearn_pl.optim import Cosine
from unlearn_pl.references import AdapterReference

KILL_AT = "UNLEARN_PL_TEST_KILL_AT"
"""Variable with the number of the operation; without it, operations are only written down."""
STEPS = 4
SAVING = {"filename": "{step}", "every_n_train_steps": 1, "save_last": "link", "enable_version_counter": False}


@dataclass(frozen=True)
class Case:
    """What is trained, on how many ranks, and how it is saved.

    Args:
        name: in the table.
        ranks: processes.
        strategy: of the Trainer.
        method: ``mollm``, ``graddiff`` or ``lora``.
        dropout: of the attention.
        saving: arguments of ``ModelCheckpoint`` beside the default ones.
        links: False for a file system without symbolic links.
        root: folder for the runs; None for the system's temporary one.
    """

    name: str
    ranks: int = 1
    strategy: str = "auto"
    method: str = "mollm"
    dropout: float = 0.0
    saving: dict[str, Any] = field(default_factory=dict)
    links: bool = True
    root: str | None = None


class Operations:
    """Writes down the operations on files in ``folder``, and ends the process at one of them."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.folder, self.kill_at, self.count = str(folder), int(os.environ.get(KILL_AT, -1)), -1
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self.busy = False

    def note(self, text: str) -> None:
        os.write(self.log, f"{text}\n".encode())

    def reach(self, kind: str, path: str) -> bool:
        """Count an operation; whether it is the last one."""
        self.count += 1
        self.note(f"{self.count} {kind} {os.path.relpath(path, self.folder)}")
        return self.count == self.kill_at

    def end(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def inside(self, path: object) -> bool:
        return isinstance(path, str | os.PathLike) and str(path).startswith(self.folder)

    def audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = args
            if not self.inside(path) or not flags & (os.O_WRONLY | os.O_RDWR):
                return
        elif event not in ("os.rename", "os.remove", "os.symlink", "os.mkdir", "os.rmdir"):
            return
        else:
            path = next((each for each in args[:2] if self.inside(each)), args[0])
            if event in ("os.remove", "os.rmdir") and not os.path.isabs(path):  # inside of rmtree
                path = os.path.join(self.folder, "...", path)
            if not self.inside(path):
                return
        if self.reach(event, str(path)):
            self.end()

    def install(self) -> None:
        sys.addaudithook(self.audit)
        sync, opened = os.fsync, io.open

        def fsync(descriptor: Any) -> None:
            number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
            if self.inside(path := os.readlink(f"/proc/self/fd/{number}")) and self.reach("fsync", path):
                self.end()
            sync(descriptor)

        def open_counting(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            stream = opened(file, mode, *args, **kwargs)
            return Counted(stream, self) if "w" in mode and self.inside(file) else stream

        os.fsync = fsync
        io.open = builtins.open = open_counting  # type: ignore[assignment]


class Counted:
    """A file of which every ``write`` is an operation; the last one of a process writes half of its data."""

    def __init__(self, stream: Any, operations: Operations) -> None:
        self._stream, self._operations = stream, operations

    def write(self, data: Any) -> int:
        if self._operations.reach("write", self._stream.name):
            self._stream.write(data[: len(data) // 2])
            self._stream.flush()
            self._operations.end()
        return self._stream.write(data)

    def __enter__(self) -> "Counted":
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.close()

    def __iter__(self) -> Any:
        return iter(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Steps(pl.Callback):
    """Notes where training is: checkpoints of a step are complete when the next one starts."""

    def __init__(self, note: Any) -> None:
        self.note = note

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.note(f"start {trainer.global_step}")

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.note(f"step {trainer.global_step}")


def module(case: Case, model: str) -> pl.LightningModule:
    """Everything that has a state: AdamW, warm-up and cosine, moving averages, liveness."""
    options: dict[str, Any] = {
        "optimizer": functools.partial(torch.optim.AdamW, lr=3e-3),
        "schedule": Cosine(warmup_epochs=0.5),
    }
    torch.manual_seed(3)  # peft draws A from the global generator
    match case.method:
        case "graddiff":
            return GradDiff(kit.model(dropout=case.dropout), 0.1, **options)
        case "lora":
            spec = CausalLM(model, lora=LoRA(r=4, dropout=case.dropout))
            return MOLLM(spec, MinNorm(normalization="ema"), reference=AdapterReference(), **options)
        case _:
            combiner = MinNorm(normalization="ema", satisfied={"forget": 0.02, "retain": 4.5}, norm_floor=0.1)
            return MOLLM(kit.model(dropout=case.dropout), combiner, **options)


def train(case: Case, rank: int, folder: Path, model: str, resume: bool) -> None:
    """Train to the end, write the weights beside the folder, and say where training has started."""
    warnings.simplefilter("ignore")
    if not case.links:

        def no_links(*_: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        os.symlink = no_links  # type: ignore[assignment]
    checkpoints = folder / "checkpoints"
    operations = Operations(checkpoints, folder / f"operations-{rank}{'-resumed' * resume}.txt")
    if not resume:
        operations.install()
    saving = ModelCheckpoint(checkpoints, **SAVING | case.saving)
    trainer = kit.trainer(
        max_steps=STEPS,
        max_epochs=-1,
        strategy=case.strategy,
        devices=case.ranks,
        callbacks=[Steps(operations.note), saving],
        enable_checkpointing=True,
    )
    trained = module(case, model)
    torch.manual_seed(5 + rank)
    data = kit.Questions(6, 8, batch_size=4, micro_batch_size=2)
    trainer.fit(trained, data, ckpt_path="last" if resume else None)
    state = full_state_dict(trained.model)
    if rank == 0:
        torch.save(state, folder / "weights.pt")
        (folder / "end.json").write_text(json.dumps({"steps": trainer.global_step, "from": str(trainer.ckpt_path)}))
