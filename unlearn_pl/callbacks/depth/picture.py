"""A picture of unlearning depth: layers by examples."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from unlearn_pl.printable import figure_text
from unlearn_pl.results.atomic_file import atomic_file


def plot_depth(
    retain_drops: Mapping[int, Sequence[float]],
    drops: Mapping[int, Sequence[float]],
    scores: Mapping[int, float],
    path: str | Path,
    threshold: float,
    title: str = "",
) -> None:
    """Draw how much of what the retain model lacks is gone, for every layer and example, as a PNG file.

    Examples stand in the order of their scores. Layers that do not encode the knowledge are white.

    Args:
        retain_drops: index of the example to the retain model's L drops.
        drops: the same of the unlearned model.
        scores: index of the example to its depth score; others are left out.
        path: file to write.
        threshold: least drop of a layer that encodes the knowledge.
        title: of the picture.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    ordered = sorted(scores, key=lambda index: (scores[index], index))
    columns = [[_share(r, u, threshold) for r, u in zip(retain_drops[i], drops[i], strict=True)] for i in ordered]
    layers = len(columns[0])
    figure = Figure(figsize=(8, 1.5 + 0.22 * max(layers, 8)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    rows = [list(row) for row in zip(*columns, strict=True)]
    extent = (0.5, len(ordered) + 0.5, 0.5, layers + 0.5)
    image = axes.imshow(
        rows, aspect="auto", origin="lower", vmin=0, vmax=1, cmap="viridis", interpolation="nearest", extent=extent
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="examples, from shallow to deep", ylabel="layer", title=figure_text(title))
    figure.colorbar(image, label="share of the retain model's drop")
    with atomic_file(path) as unfinished:
        figure.savefig(unfinished, dpi=130, format="png")


def _share(retain_drop: float, drop: float, threshold: float) -> float:
    return min(1.0, max(0.0, drop / retain_drop)) if retain_drop > threshold else math.nan
