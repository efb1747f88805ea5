"""Digits in four styles as two files, from which `experiments/canvas/classifier.yaml` learns; nothing is downloaded.

python experiments/mini_canvas.py --folder data/canvas
"""

from pathlib import Path

import numpy as np
from jsonargparse import auto_cli

from unlearn_pl.data import MiniCanvasDataModule


def write_images(folder: Path, images_per_pair: int = 100) -> None:
    """Write `style.npz` and `object.npz`: the same images, with the numbers of their styles or objects.

    Args:
        folder: where to.
        images_per_pair: images of each digit in each style.
    """
    canvas = MiniCanvasDataModule(images_per_pair=images_per_pair).canvas
    pixels = np.stack([(255 * canvas.images.image(i)).round().byte().numpy() for i in range(len(canvas.images))])
    folder.mkdir(parents=True, exist_ok=True)
    for name, labels in (("style", canvas.style), ("object", canvas.object)):
        np.savez_compressed(folder / f"{name}.npz", images=pixels, labels=labels.numpy())


if __name__ == "__main__":
    auto_cli(write_images, as_positional=False)
