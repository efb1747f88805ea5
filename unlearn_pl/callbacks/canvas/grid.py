"""A figure with one image of every pair of style and object."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor


def save_grid(path: Path, images: Tensor, styles: Sequence[str], objects: Sequence[str], marked: Tensor) -> None:
    """Write a PNG: a row per style, a column per object; forgotten pairs have a red frame.

    Args:
        path: the file.
        images: ``[styles, objects, C, H, W]`` in [0, 1]; NaN where there is none.
        styles: their names.
        objects: their names.
        marked: ``[styles, objects]`` bool, True for forgotten pairs.
    """
    from matplotlib.figure import Figure

    rows, columns = len(styles), len(objects)
    figure = Figure(figsize=(1 + 0.8 * columns, 0.4 + 0.8 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for i in range(rows):
        for j in range(columns):
            cell = axes[i][j]
            pixels = images[i, j].permute(1, 2, 0).nan_to_num(0.5).clamp(0, 1).numpy()
            cell.imshow(pixels if pixels.shape[2] > 1 else pixels.repeat(3, axis=2), interpolation="nearest")
            cell.set(xticks=[], yticks=[])
            for side in cell.spines.values():
                side.set(color="red" if bool(marked[i, j]) else "white", linewidth=2)
            if i == 0:
                cell.set_title(objects[j], fontsize=8)
            if j == 0:
                cell.set_ylabel(styles[i], fontsize=8)
    figure.savefig(path, dpi=100)
