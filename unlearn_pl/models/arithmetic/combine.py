"""Models whose weights are made of those of two others: one tensor at a time, whatever the size of the models."""

import json
import math
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unlearn_pl.models.arithmetic.weights_folder import WeightsFolder
from unlearn_pl.models.export import check_export_directory
from unlearn_pl.models.finite import check_finite_weights, named
from unlearn_pl.models.language.names import load_tokenizer
from unlearn_pl.models.replaced_folder import replaced_folder

COPIED = (".json", ".jinja", ".model", ".txt")
"""Endings of the files of a model that hold no weights: settings, and the tokenizer."""

Rule = Callable[[str, Tensor, Tensor], Tensor]
"""Name of a weight, its value in the first folder and in the second one, to the new value; all of one shape."""


def extrapolated(factor: float) -> Rule:
    """``theta_0 - factor (theta_1 - theta_0)``, the negated task vector, of weights before and after training.

    Args:
        factor: how far to go in the opposite direction; 0 for ``theta_0``, -1 for ``theta_1``.

    Raises:
        ValueError: if ``factor`` is not finite.

    References:
        Ilharco et al., Editing Models with Task Arithmetic, ICLR 2023, arXiv 2212.04089.
    """
    if not math.isfinite(factor):
        raise ValueError(f"factor={factor}; accepted: a finite number.")

    def rule(name: str, before: Tensor, after: Tensor) -> Tensor:
        precise = torch.promote_types(before.dtype, torch.float32)
        return before.to(precise) - factor * (after.to(precise) - before.to(precise))

    return rule


def combine_folders(first: str | Path, second: str | Path, output: str | Path, rule: Rule) -> None:
    """Write a model whose weights are made of those of two models, with the settings and tokenizer of the first.

    Memory is that of a few tensors: the files of the first folder are copied, and each weight is replaced in place.
    Tensors of integers are copied. ``output`` appears when it is complete, and then replaces an earlier export.

    Args:
        first: folder of a model.
        second: folder of another model of the same architecture, tokenizer and dtype.
        output: folder to write.
        rule: makes every weight.

    Raises:
        ValueError: naming what differs between the folders; if ``output`` is one of them, or holds something else than
            an export; if a new weight is not finite.
    """
    before, after = WeightsFolder(Path(first)), WeightsFolder(Path(second))
    check_same_kind(before, after)
    directory = Path(output).absolute()
    if directory.resolve() in (before.path.resolve(), after.path.resolve()):
        raise ValueError(f"output is {str(output)!r}, a folder that is read; name another one.")
    check_export_directory(directory)
    with replaced_folder(directory) as folder:
        for path in sorted(before.path.iterdir()):
            if path in before.files or (path.is_file() and path.suffix in COPIED):
                shutil.copyfile(path, folder / path.name)
        for path in before.files:
            _replace(folder / path.name, before, after, rule)


def check_same_kind(first: WeightsFolder, second: WeightsFolder) -> None:
    """Check that the weights of two models can be combined.

    Raises:
        ValueError: naming what differs: the architecture, tensors, shapes, dtypes, or the vocabulary.
    """
    folders = f"{str(first.path)!r} and {str(second.path)!r}"
    for setting in ("model_type", "architectures"):
        one, other = first.config.get(setting), second.config.get(setting)
        if one != other:
            raise ValueError(f"The models in {folders} differ in their {setting}: {one} and {other}.")
    if alone := sorted(set(first.kinds) ^ set(second.kinds)):
        raise ValueError(f"Only one of the folders {folders} has {named(alone)}.")
    for what, part in (("shape", 1), ("dtype", 0)):
        if unequal := [name for name, kind in first.kinds.items() if kind[part] != second.kinds[name][part]]:
            name = unequal[0]
            raise ValueError(
                f"The models in {folders} differ in the {what} of {named(unequal)}: {first.kinds[name][part]} and "
                f"{second.kinds[name][part]}. Accepted: models of one architecture and one dtype."
            )
    one, other = (_vocabulary(folder.path) for folder in (first, second))
    if one is not None and other is not None and one != other:
        unlike = sorted(token for token in {*one, *other} if one.get(token) != other.get(token))
        raise ValueError(f"The tokenizers in {folders} differ, in {len(unlike)} tokens: {named(unlike)}.")


def _vocabulary(folder: Path) -> dict[str, int] | None:
    """Token to its number; None without a tokenizer."""
    has_one = any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json"))
    return load_tokenizer(str(folder)).get_vocab() if has_one else None


def _replace(path: Path, first: WeightsFolder, second: WeightsFolder, rule: Rule) -> None:
    """Put the new weights in the place of the first folder's, in a copy of one of its files."""
    for name, (start, end) in _places(path).items():
        if start < end and (content := _new_content(name, first, second, rule)) is not None:
            place = np.memmap(path, np.uint8, "r+", offset=start, shape=(end - start,))
            place[:] = content
            place.flush()


def _new_content(name: str, first: WeightsFolder, second: WeightsFolder, rule: Rule) -> np.ndarray | None:
    """The bytes of a new weight, ``[n]``; None for a tensor of integers."""
    old = first.tensor(name)
    if not old.is_floating_point():
        return None
    new = rule(name, old, second.tensor(name)).to(old.dtype).contiguous()
    check_finite_weights({name: new})
    return new.flatten().view(torch.uint8).numpy()


def _places(path: Path) -> dict[str, tuple[int, int]]:
    """Name of a tensor to its first byte in the file, and the one after its last."""
    with path.open("rb") as file:
        [length] = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    offsets = {name: entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"}
    return {name: (8 + length + start, 8 + length + end) for name, (start, end) in offsets.items()}
