"""A run that is killed with SIGKILL and resumed, compared bit for bit with one that was not interrupted."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import lightning.pytorch as pl
import torch

from benchmarks.harness import RESULTS
from benchmarks.tiny_run import data_module, differing, make_module, make_trainer, rows, weights

STEPS, EVERY, KILLED_AT = 16, 4, 10
ENDED = "step "


class AfterEachStep(pl.Callback):
    """Calls a function with the number of steps taken so far."""

    def __init__(self, step_done: Callable[[int], None]) -> None:
        self.step_done = step_done

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        self.step_done(trainer.global_step)


@dataclass(frozen=True)
class Run:
    """What is trained.

    Attributes:
        device: ``cuda`` or ``cpu``.
        hidden_size: of the model.
        dropout: probability.
    """

    device: str
    hidden_size: int
    dropout: float = 0.0

    def train(
        self, folder: Path, step_done: Callable[[int], None], checkpoint: Path | None = None
    ) -> dict[str, torch.Tensor]:
        """The weights after ``STEPS`` steps, in bf16 on a GPU, with deterministic kernels."""
        pl.seed_everything(0, verbose=False)
        on_gpu = self.device == "cuda"
        trainer = make_trainer(
            folder,
            EVERY,
            [AfterEachStep(step_done)],
            accelerator="gpu" if on_gpu else "cpu",
            precision="bf16-true" if on_gpu else "32-true",
            deterministic=True,
            max_steps=STEPS,
            limit_val_batches=0,
        )
        module = make_module(self.hidden_size, torch.bfloat16 if on_gpu else torch.float32, self.dropout)
        data = data_module(rows("Oda", 24), rows("Ivo", 40))
        try:
            trainer.fit(module, data, ckpt_path=checkpoint and str(checkpoint))
        finally:
            torch.use_deterministic_algorithms(False)
        return weights(module)


@dataclass(frozen=True)
class Resumed:
    """What became of a run that was killed.

    Attributes:
        killed_after: last step before it was killed.
        checkpoint: from which it went on.
        first: first step after that.
        differing: names of the weights that differ from those of the run that was not interrupted.
        weights: how many there are.
    """

    killed_after: int
    checkpoint: str
    first: int
    differing: list[str]
    weights: int

    def cells(self) -> list[object]:
        """Those of a table."""
        return [STEPS, self.killed_after, self.checkpoint, self.first, f"{len(self.differing)} of {self.weights}"]


HEADER = ["steps", "killed after step", "checkpoint", "first step after the resume", "weights that differ"]


def kill_and_resume(run: Run) -> Resumed:
    """Kill ``run`` in a process of its own, go on in this one, and compare.

    Raises:
        RuntimeError: if the run ended before it was killed, or no checkpoint is there.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        killed_after = start_and_kill(run, folder / "killed")
        checkpoint = newest(folder / "killed" / "checkpoints")
        taken: list[int] = []
        resumed = run.train(folder / "resumed", taken.append, checkpoint)
        whole = run.train(folder / "whole", lambda step: None)
    return Resumed(killed_after, checkpoint.name, taken[0], differing(whole, resumed), len(whole))


def start_and_kill(run: Run, folder: Path) -> int:
    """Start ``run`` in a process of its own, and kill it after a step without a checkpoint; returns the step."""
    command = [sys.executable, "-m", "benchmarks.gpu_check_resume", json.dumps({"folder": str(folder), **asdict(run)})]
    environment = os.environ | {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, cwd=RESULTS.parents[1], env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.startswith(ENDED) and int(line.removeprefix(ENDED)) >= KILLED_AT:
                    return int(line.removeprefix(ENDED))
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        errors.seek(0)
        raise RuntimeError(f"the run ended before it was killed:\n{errors.read()[-1500:]}")


def newest(folder: Path) -> Path:
    """The checkpoint of the latest step that is whole.

    Raises:
        RuntimeError: if there is none.
    """
    found = sorted(folder.glob("step=*.ckpt"), key=lambda path: int(path.stem.partition("=")[2]))
    if not found:
        raise RuntimeError("there is no checkpoint after the run was killed")
    return found[-1]


def main() -> None:
    request = json.loads(sys.argv[1])
    folder = Path(request.pop("folder"))
    Run(**request).train(folder, lambda step: print(f"{ENDED}{step}", flush=True))


if __name__ == "__main__":
    main()
