"""Writing and removing of checkpoint files under the Trainer."""

import shutil
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from lightning.pytorch.plugins.io import TorchCheckpointIO

from unlearn_pl.modules.checkpoints.names import REMOVED, hidden
from unlearn_pl.modules.checkpoints.replacing import replacing
from unlearn_pl.results.checkpoint_file import save_with_digest


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes files with a digest, under their name only when they are complete and on the disk.

    Lightning's own writes to the system's temporary folder, which may be on another file system, from where the file
    is copied under its final name; and it holds a second copy of the checkpoint in memory.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """See Lightning's class.

        Args:
            checkpoint: as Lightning makes it.
            path: where to, also on a remote file system.
            storage_options: not supported.

        Raises:
            TypeError: if there are storage options.
        """
        if storage_options is not None:
            raise TypeError(
                f"Trainer.save_checkpoint(storage_options={storage_options!r}) needs a CheckpointIO of your own, as "
                "Trainer(plugins=[...]); that of this library takes no options."
            )
        fs, name = url_to_fs(str(path))
        if isinstance(fs, LocalFileSystem):
            with replacing(Path(name)) as unfinished, unfinished.open("wb") as file:
                save_with_digest(checkpoint, file)
        else:
            # Objects of a store appear when they are complete.
            fs.makedirs(fs._parent(name), exist_ok=True)
            with fs.transaction, fs.open(name, "wb") as file:
                save_with_digest(checkpoint, file)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a file, or a folder, which loses its name first: what is left of it is no checkpoint.

        Args:
            path: of a checkpoint that need not exist.
        """
        fs, name = url_to_fs(str(path))
        local = Path(name)
        if isinstance(fs, LocalFileSystem) and local.is_symlink():
            local.unlink()  # and not what it points to; it may dangle
        elif isinstance(fs, LocalFileSystem) and local.is_dir():
            local.rename(hidden(local, REMOVED))
            for removed in local.parent.glob(hidden(Path("*"), REMOVED).name):  # also by a run that was killed
                shutil.rmtree(removed)
        else:
            super().remove_checkpoint(path)
