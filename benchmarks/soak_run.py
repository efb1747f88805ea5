"""A long run of a tiny model on two ranks, with validation, checkpoints and logging, whole or in resumed parts."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import CSVLogger

from benchmarks.harness import RESULTS
from benchmarks.soak_memory import resident_mib
from benchmarks.tiny_run import data_module, make_module, make_trainer, rows, weights
from unlearn_pl.callbacks import TOFUEvaluation

RANKS = 2
LOG_EVERY = 10


@dataclass(frozen=True)
class Part:
    """A process group's share of a run.

    Attributes:
        folder: everything that is written lies there.
        steps: of the whole run.
        every: steps between checkpoints, and between validations.
        until: step after which this part ends.
        resumed: goes on from ``last.ckpt``.
    """

    folder: str
    steps: int
    every: int
    until: int
    resumed: bool

    @property
    def checkpoint(self) -> Path:
        """From which the next part goes on."""
        return Path(self.folder, "checkpoints", "last.ckpt")

    def start(self) -> None:
        """Run it, a process per rank.

        Raises:
            RuntimeError: if it fails, with the end of what it wrote.
        """
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={RANKS}", "-m"]
        command = [sys.executable, *launcher, "benchmarks.soak_run", json.dumps(asdict(self))]
        with tempfile.TemporaryFile("w+", errors="replace") as output:
            environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
            done = subprocess.run(command, cwd=RESULTS.parents[1], env=environment, stdout=output, stderr=output)
            if done.returncode:
                output.seek(0)
                raise RuntimeError(f"{self} failed:\n{output.read()[-3000:]}")


class Watch(pl.Callback):
    """Writes down step and resident memory, and ends the part.

    Args:
        part: which.
        rank: of this process.
    """

    def __init__(self, part: Part, rank: int) -> None:
        self.part = part
        self.file = Path(part.folder) / f"memory-{rank}.jsonl"
        self.interval = max(1, part.steps // 100)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        step = trainer.global_step
        if step % self.interval == 0:
            with self.file.open("a") as file:
                file.write(json.dumps([step, resident_mib()]) + "\n")
        if step >= self.part.until:
            trainer.should_stop = True


def run(part: Part) -> None:
    """One rank of ``part``; rank 0 writes ``weights.pt`` at its end."""
    torch.set_num_threads(1)
    pl.seed_everything(0, verbose=False)
    rank = int(os.environ["RANK"])
    folder = Path(part.folder)
    folder.mkdir(parents=True, exist_ok=True)
    logger = CSVLogger(str(folder), name="logs", version=f"from-{part.until}", flush_logs_every_n_steps=LOG_EVERY)
    trainer = make_trainer(
        folder,
        part.every,
        [Watch(part, rank), TOFUEvaluation(output=str(folder / "results.json"))],
        accelerator="cpu",
        devices=RANKS,
        strategy="ddp",
        logger=logger,
        log_every_n_steps=LOG_EVERY,
        max_steps=part.steps,
        val_check_interval=part.every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    module = make_module()
    data = data_module(rows("Oda", 40), rows("Ivo", 60), max_eval_examples=2)
    trainer.fit(module, data, ckpt_path=str(part.checkpoint) if part.resumed else None)
    assert trainer.global_step == part.until, f"ended after {trainer.global_step} steps instead of {part.until}"
    if trainer.is_global_zero:
        torch.save(weights(module), folder / "weights.pt")


if __name__ == "__main__":
    run(Part(**json.loads(sys.argv[1])))
