"""A run on two ranks, of which the second one fails in the fourth step; started by test_failures.py.

Usage: ``failing_run.py FOLDER error|memory``
"""

import sys
import warnings

import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from tests import kit
from unlearn_pl.combiners import MinNorm
from unlearn_pl.modules import GradDiff

FAILS_IN_STEP = 3


class FailsOnRank1(GradDiff):
    """Meets a failure of the machine."""

    failure: str

    def view(self, stream, batch):
        if self.windows_closed == FAILS_IN_STEP and self.global_rank == 1:
            if self.failure == "memory":
                torch.empty(2**55)
            raise OSError("the disk of rank 1 is gone")
        return super().view(stream, batch)


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    saving = ModelCheckpoint(sys.argv[1], filename="{step}", every_n_train_steps=1, save_last=True, save_top_k=1)
    module = FailsOnRank1(kit.model(), combiner=MinNorm())
    module.failure = sys.argv[2]
    trainer = kit.trainer(
        max_steps=8, devices=2, strategy="ddp", enable_checkpointing=True, callbacks=[saving], max_epochs=4
    )
    trainer.fit(module, kit.Questions(batch_size=4, micro_batch_size=2, splits=[]))


if __name__ == "__main__":
    main()
