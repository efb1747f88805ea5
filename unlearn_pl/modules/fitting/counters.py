"""Counters of a checkpoint that no run can have."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

ORDER = ("ready", "started", "processed", "completed")
"""What Lightning counts of an epoch or a batch; none can be ahead of the one before it."""


def check_counters(checkpoint: Mapping[str, Any]) -> None:
    """Check that the position in training that a checkpoint holds is possible.

    Args:
        checkpoint: as Lightning loads it.

    Raises:
        ValueError: naming the counters that are negative, no integers, or contradict each other.
    """
    if wrong := [*_negative(checkpoint), *_unordered(checkpoint), *_contradictory(checkpoint)]:
        raise ValueError(
            f"The checkpoint holds counters that no run can have: {'; '.join(wrong[:3])}. The file is damaged, or was "
            "edited. Resume from another checkpoint."
        )


def _negative(checkpoint: Mapping[str, Any]) -> Iterator[str]:
    descent = checkpoint["unlearn_pl"]
    counters = {name: checkpoint[name] for name in ("epoch", "global_step") if name in checkpoint}
    counters |= {"windows_closed": descent["windows_closed"]}
    counters |= {f"skipped.{reason}": count for reason, count in descent["skipped"].items()}
    for name, value in counters.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            yield f"{name}={value!r}"
    for name, count in _progress(checkpoint):
        yield from (
            f"{name}.{key}={value!r}" for key, value in count.items() if not isinstance(value, int) or value < 0
        )


def _unordered(checkpoint: Mapping[str, Any]) -> Iterator[str]:
    for name, count in _progress(checkpoint):
        known = [key for key in ORDER if isinstance(count.get(key), int)]
        for earlier, later in itertools.pairwise(known):
            if count[later] > count[earlier]:
                yield f"{name}: {later}={count[later]}, but {earlier}={count[earlier]}"


def _contradictory(checkpoint: Mapping[str, Any]) -> Iterator[str]:
    loop = checkpoint.get("loops", {}).get("fit_loop", {})
    taken = loop.get("epoch_loop.manual_optimization.optim_step_progress", {}).get("total", {}).get("completed")
    said = checkpoint.get("global_step")
    if taken is not None and said != taken:
        yield f"global_step={said!r}, but the optimizer has taken {taken} steps"
    epochs, epoch = loop.get("epoch_progress"), checkpoint.get("epoch")
    # A whole epoch is counted a little later by one than by the other; see also correct_loop_progress.
    if epochs is not None and isinstance(epoch, int) and abs(epoch - (done := epochs["current"]["processed"])) > 1:
        yield f"epoch={epoch}, but {done} epochs are processed"
    for name, progress in (("epochs", epochs), ("batches", loop.get("epoch_loop.batch_progress"))):
        if progress is not None and progress["current"]["ready"] > progress["total"]["ready"]:
            yield f"{name}: current.ready={progress['current']['ready']}, but total.ready={progress['total']['ready']}"


def _progress(checkpoint: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    loop = checkpoint.get("loops", {}).get("fit_loop", {})
    for name, key in (("epochs", "epoch_progress"), ("batches", "epoch_loop.batch_progress")):
        for span in ("total", "current"):
            if key in loop:
                yield f"{name}.{span}", loop[key][span]
