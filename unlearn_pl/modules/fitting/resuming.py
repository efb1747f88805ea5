"""Comparison of a run with the checkpoint that it resumes from."""

from collections.abc import Iterator, Mapping
from typing import Any

from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from unlearn_pl.recording import UNRECORDABLE

_NEW_RUN = (
    "To train the weights of the checkpoint otherwise, start a new run from them: load_from_checkpoint(path), or the "
    "exported model, and fit without ckpt_path."
)
_DEFAULTED = {"amsgrad", "maximize", "foreach", "capturable", "differentiable", "fused", "decoupled_weight_decay"}
"""Entries that optimizers fill in when an older version of PyTorch has not saved them."""


def check_data(before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> None:
    """Check that the steps to come see the examples that they would have seen without the interruption.

    Args:
        before: :func:`~unlearn_pl.modules.fitting.settings.data_settings` of the checkpoint; None if it has none.
        now: those of the run that resumes.

    Raises:
        ValueError: naming what differs: the size of a batch, the seed, or the examples of a stream.
    """
    if before is None or now is None:
        return
    for name, old, new in differences(before, now):
        if name.startswith("streams."):
            stream = name.removeprefix("streams.")
            what = (
                f"other examples in its stream {stream!r} (fingerprint {old[:12]}) than the run has now ({new[:12]}): "
                "other rows, or another template, tokenizer or length"
            )
        else:
            what = f"{name}={old!r}, but the run has {name}={new!r} now"
        raise ValueError(f"The checkpoint was trained with {what}. Resume with the same data. {_NEW_RUN}")


def check_whole(checkpoint: Mapping[str, Any]) -> None:
    """Check that a checkpoint holds more than weights.

    Args:
        checkpoint: as Lightning loads it, or what of it is known before.

    Raises:
        ValueError: if it was written with ``save_weights_only=True``.
    """
    if "loops" in checkpoint and "lr_schedulers" not in checkpoint:
        raise ValueError(
            "The checkpoint holds weights only (it was saved with save_weights_only=True), so that training cannot "
            f"resume from it. Save checkpoints to resume from without that option. {_NEW_RUN}"
        )


def check_continues(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Check that the optimizer and the schedulers can continue from the checkpoint.

    Args:
        before: :func:`~unlearn_pl.modules.fitting.settings.optimizer_settings` of the checkpoint.
        now: those of the run that resumes.

    Raises:
        ValueError: for another class or number of optimizers, groups or schedulers.
    """
    _check_same("optimizer", _short(before["class"]), _short(now["class"]))
    _check_same("number of parameter groups", len(before["groups"]), len(now["groups"]))
    classes = [[_short(each["class"]) for each in settings["schedulers"]] for settings in (before, now)]
    _check_same("schedulers", *classes)


def continued(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the optimizer and the schedulers that are in effect; warns where the two runs differ.

    As always under Lightning, the arguments in the checkpoint replace those given now, except those of a schedule of
    this library, which is a function of the step, and the times at which schedulers step.

    Args:
        before: settings of the checkpoint, after :func:`check_continues`.
        now: those of the run that resumes.
    """
    for old, new in zip(before["groups"], now["groups"], strict=True):
        _warn("optimizer", old, new, "the checkpoint's")
    schedulers = []
    for old, new in zip(before["schedulers"], now["schedulers"], strict=True):
        _warn(_short(old["class"]), old.get("arguments", {}), new.get("arguments", {}), "the checkpoint's")
        _warn("schedule", old.get("schedule", {}), new.get("schedule", {}), "what is given now")
        _tell_of_length(old.get("length", {}), new.get("length", {}))
        _warn(_short(old["class"]), old["steps"], new["steps"], "what is given now")
        schedulers.append({**new, "arguments": old["arguments"]} if "arguments" in old else new)
    return {**now, "groups": before["groups"], "schedulers": schedulers}


def _tell_of_length(before: Mapping[str, int], now: Mapping[str, int]) -> None:
    """Log another length of the run where the schedule depends on it; no warning, for a run may be prolonged."""
    for name, old, new in differences(before, now):
        rank_zero_info(
            f"Resuming with {name}={new}, where the checkpoint's run had {old}: the learning rates of the schedule are "
            "those of the new length from here on, and not those that the run would have had."
        )


def check_entries(saved: Mapping[str, Any], now: Mapping[str, Any], optimizer: str) -> None:
    """Check the optimizer's state in a checkpoint that does not say which optimizer it is of.

    Args:
        saved: a parameter group of the checkpoint.
        now: a parameter group of the run that resumes.
        optimizer: name of its optimizer.

    Raises:
        ValueError: if the checkpoint lacks arguments that the optimizer needs.
    """
    if missing := sorted(now.keys() - saved.keys() - _DEFAULTED - {"initial_lr"}):
        raise ValueError(
            f"The checkpoint's optimizer has no {', '.join(missing)}, which {optimizer} needs: it is another one. "
            f"Resume with the optimizer that it was trained with. {_NEW_RUN}"
        )


def check_descent(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> None:
    """Warn of arguments of objectives, combiner and options that are not those of the checkpoint.

    Args:
        before: :func:`~unlearn_pl.modules.fitting.settings.descent_settings` of the checkpoint; None if it has none.
        now: those of the run that resumes.
    """
    _warn("", before or {}, now, "what is given now")


def _check_same(what: str, before: object, now: object) -> None:
    if before != now:
        raise ValueError(
            f"The checkpoint was trained with {what} {before!r}, but the run has {now!r} now, which "
            f"cannot continue from its state. Resume with the same. {_NEW_RUN}"
        )


def _warn(owner: str, before: Mapping[str, Any], now: Mapping[str, Any], used: str) -> None:
    different = [
        f"{'.'.join(filter(None, (owner, name)))}={_shown(old)} in the checkpoint, {_shown(new)} now"
        for name, old, new in differences(before, now)
    ]
    if different:
        rank_zero_warn(f"Resuming with other arguments: {'; '.join(different)}. Used: {used}. {_NEW_RUN}")


def differences(before: Any, now: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Names and both values of what differs, where both are known.

    Args:
        before: plain data.
        now: plain data of the same form.
        place: name of the two.
    """
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        if UNRECORDABLE in before or UNRECORDABLE in now:
            return
        if before.get("class") != now.get("class"):
            yield place, before, now
            return
        for name in (name for name in before if name in now):
            yield from differences(before[name], now[name], f"{place}.{name}".removeprefix("."))
    elif before != now and "" not in (before, now):
        yield place, before, now


def _shown(value: Any) -> str:
    match value:
        case {"class": str(path), **arguments}:
            return f"{_short(path)}({', '.join(f'{name}={_shown(each)}' for name, each in arguments.items())})"
        case _:
            return repr(value)


def _short(path: str) -> str:
    return path.rpartition(".")[2]
