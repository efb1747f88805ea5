"""Images with prompts, and prompts to make images of."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from unlearn_pl.data.images.dataset import LabeledImages

Item = Mapping[str, Any]


class PromptedImages(Dataset[Item]):
    """Images, each with the text that describes it.

    Args:
        images: N images.
        prompts: N texts.
        pseudo_prompts: N texts that describe something else, or none at all.
        numbers: name to ``[N]`` numbers that belong to each image, such as that of its style.
    """

    def __init__(
        self,
        images: LabeledImages,
        prompts: Sequence[str],
        pseudo_prompts: Sequence[str] = (),
        numbers: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.images = images
        self.prompts = prompts
        self.pseudo_prompts = pseudo_prompts
        self.numbers = numbers or {}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> Item:
        item = {"image": self.images.image(i), "prompt": self.prompts[i], "index": torch.tensor(i)}
        if self.pseudo_prompts:
            item["pseudo_prompt"] = self.pseudo_prompts[i]
        return item | {name: values[i] for name, values in self.numbers.items()}

    def hash_of(self, i: int) -> str:
        """SHA-256 of the pixels and the texts of image number ``i``."""
        texts = [self.prompts[i], *(self.pseudo_prompts[i : i + 1])]
        return hashlib.sha256("\n".join([self.images.hash_of(i), *texts]).encode()).hexdigest()

    def fingerprint(self) -> str:
        """SHA-256 of all images and texts in their order."""
        return hashlib.sha256("".join(map(self.hash_of, range(len(self)))).encode()).hexdigest()


class PromptsToSample(Dataset[Item]):
    """Texts to make images of, each with the seed of the noise that sampling starts from.

    Args:
        prompts: N texts.
        seeds: ``[N]`` int64.
        numbers: name to ``[N]`` numbers that belong to each text.
    """

    def __init__(self, prompts: Sequence[str], seeds: Tensor, numbers: Mapping[str, Tensor] | None = None) -> None:
        self.prompts = prompts
        self.seeds = seeds
        self.numbers = numbers or {}

    def __len__(self) -> int:
        return len(self.prompts)

    def __getitem__(self, i: int) -> Item:
        own = {name: values[i] for name, values in self.numbers.items()}
        return {"prompt": self.prompts[i], "seeds": self.seeds[i], "index": torch.tensor(i), **own}

    def hash_of(self, i: int) -> str:
        """SHA-256 of the text and the seed of number ``i``."""
        return hashlib.sha256(f"{self.prompts[i]}\n{int(self.seeds[i])}".encode()).hexdigest()


def collate_prompted(items: Sequence[Item]) -> dict[str, Any]:
    """A :class:`~unlearn_pl.types.PromptedBatch` of B items, or a batch of prompts."""
    columns = {name: [item[name] for item in items] for name in items[0]}
    return {name: torch.stack(values) if isinstance(values[0], Tensor) else values for name, values in columns.items()}
