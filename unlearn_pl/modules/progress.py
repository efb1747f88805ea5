"""Where in its loops a Trainer goes on from a checkpoint."""

from collections.abc import Mapping
from typing import Any


def rewind_progress(loops: Mapping[str, Any], open_micro_batches: int) -> None:
    """Correct, in place, the position in the data that a checkpoint keeps.

    * A half-filled window is rewound to its start, so that its examples are seen again.
    * After the last epoch, Lightning counts its batches as those of the next one too, which would then end at once
      when training goes on.
    * When ``max_steps`` ended the run inside an epoch, Lightning counts that epoch as done once ``fit`` has returned.

    Args:
        loops: the checkpoint's entry of that name.
        open_micro_batches: micro-batches in the window that is not full yet.
    """
    fit = loops.get("fit_loop", {})
    batches, epochs = fit.get("epoch_loop.batch_progress"), fit.get("epoch_progress")
    if batches is None or epochs is None:
        return
    for counts in (batches["total"], batches["current"]):
        for key in counts:
            counts[key] -= open_micro_batches
    if epochs["total"]["completed"] < epochs["total"]["ready"]:
        return
    if batches["is_last_batch"]:
        batches["current"] = dict.fromkeys(batches["current"], 0)
        batches["is_last_batch"] = False
    else:
        for counts in (epochs["total"], epochs["current"]):
            counts["processed"] -= 1
            counts["completed"] -= 1
