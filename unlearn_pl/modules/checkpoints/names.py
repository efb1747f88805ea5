"""Hidden names beside a checkpoint, of what is written, replaced and removed.

They depend on the checkpoint's name alone: a run that was killed and resumes writes, and so cleans up, the same ones.
"""

from pathlib import Path

UNFINISHED = "unfinished"
"""What becomes the checkpoint."""
REPLACED = "replaced"
"""The folder that a new one takes the place of."""
REMOVED = "removed"
"""The folder that is being deleted."""


def hidden(path: Path, state: str) -> Path:
    """A path in the folder of the checkpoint ``path``.

    Args:
        path: of the checkpoint.
        state: one of those above.
    """
    return path.with_name(f".{path.name}.{state}")
