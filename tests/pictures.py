"""Small labeled images for tests: three classes of stripes, and a tiny network that tells them apart."""

import functools

import numpy as np
import torch

from unlearn_pl.data import ForgetClass, ImageArrays, ImageDataModule
from unlearn_pl.models import MLP, ImageClassifier

SIDE, CLASSES = 6, 3


def stripes(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """``[count, 6, 6]`` uint8 and ``[count]``: each class is bright on rows of its own."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    images = rng.integers(0, 120, (count, SIDE, SIDE))
    for i, label in enumerate(labels):
        images[i, 2 * label : 2 * label + 2] += 100
    return images.astype(np.uint8), labels


def pictures(forget=None, count: int = 48, test: int = 24, **options) -> ImageDataModule:
    """Pictures to train on and to test on; class 2 is to be forgotten."""
    return ImageDataModule(
        forget=ForgetClass(2) if forget is None else forget,
        train=ImageArrays(*stripes(count)),
        test=ImageArrays(*stripes(test, seed=1)),
        **{"batch_size": 8, "micro_batch_size": 8, **options},
    )


def classifier(seed: int = 0, **options) -> ImageClassifier:
    network = functools.partial(MLP, num_pixels=SIDE**2, num_classes=CLASSES, hidden_sizes=[16])
    return ImageClassifier(network, seed=seed, **options)


def accuracy(model: torch.nn.Module, images: np.ndarray, labels: np.ndarray) -> float:
    with torch.no_grad():
        logits = model(torch.as_tensor(images).unsqueeze(1).to(next(model.parameters()).dtype) / 255)
    return (logits.argmax(1) == torch.as_tensor(labels)).double().mean().item()
