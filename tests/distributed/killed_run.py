"""A training run that writes down whom it sees; ``test_kill.py`` starts, kills and resumes it as a process per rank."""

import sys
import time
from pathlib import Path

from lightning.pytorch.callbacks import ModelCheckpoint

from tests import kit
from unlearn_pl.modules import MOLLM

BATCH_SIZE, MICRO_BATCH_SIZE, FORGET, RETAIN, EPOCHS = 8, 2, 14, 22, 4


class Watched(MOLLM):
    """Appends a line per micro-batch: optimizer step, indices of forget and of retain examples."""

    file: Path

    def training_step(self, batch, batch_idx) -> None:
        lines = []
        for parts in zip(batch["forget"], batch["retain"], strict=True):
            seen = (",".join(map(str, part["index"].tolist())) for part in parts)
            lines.append(f"{self.windows_closed} {' '.join(seen)}\n")
        with self.file.open("a") as file:
            file.writelines(lines)
        time.sleep(0.02)
        super().training_step(batch, batch_idx)


def main(folder: Path, rank: int, world: int, checkpoint: str | None) -> None:
    module = Watched(kit.model())
    module.file = folder / f"seen-{rank}{'-resumed' if checkpoint else ''}.txt"
    data = kit.Questions(FORGET, RETAIN, batch_size=BATCH_SIZE, micro_batch_size=MICRO_BATCH_SIZE)
    saving = ModelCheckpoint(folder / "checkpoints", "{step}", every_n_train_steps=1, save_top_k=-1)
    trainer = kit.trainer(
        max_epochs=EPOCHS,
        callbacks=[saving],
        enable_checkpointing=True,
        strategy="ddp" if world > 1 else "auto",
        devices=world,
    )
    trainer.fit(module, data, ckpt_path=checkpoint)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else None)
