"""Words that are none: vectors that prompts name, among the embeddings of real words."""

from collections.abc import Sequence
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn


class PseudoEmbedding(nn.Module):
    """An embedding in which some ids stand for vectors of their own.

    The vectors begin at the mean embedding, plus noise of the size of an embedding's entries.

    Args:
        embedding: the model's.
        ids: of the pseudo words; they may lie beyond the vocabulary.
        seed: of the noise.

    Attributes:
        change: ``[n, D]``, trained: how far each vector has moved, in standard deviations of the embedding's entries.
    """

    start: Tensor

    def __init__(self, embedding: nn.Module, ids: Sequence[int], seed: int) -> None:
        super().__init__()
        self.embedding = embedding
        weight = self.weight.detach().float()
        self.scale = float(weight.std())
        noise = torch.randn(len(ids), weight.shape[1], generator=torch.Generator().manual_seed(seed))
        start = weight.mean(dim=0) + self.scale * noise.to(weight.device)
        self.register_buffer("start", start, persistent=False)
        self.change = nn.Parameter(torch.zeros_like(start))
        self.ids = list(ids)

    @property
    def weight(self) -> Tensor:
        """The vocabulary's embeddings ``[V, D]``."""
        return cast(Tensor, self.embedding.weight)

    def forward(self, ids: Tensor) -> Tensor:
        """``[B, T]`` ids to ``[B, T, D]``."""
        own = torch.tensor(self.ids, device=ids.device)
        place = ids.unsqueeze(-1) == own  # [B, T, n]
        pseudo = place.any(dim=-1)
        known: Tensor = self.embedding(torch.where(pseudo, 0, ids))
        vectors = (self.start + self.scale * self.change).to(known.dtype)
        return torch.where(pseudo.unsqueeze(-1), vectors[place.long().argmax(dim=-1)], known)


@runtime_checkable
class TakesPseudoWords(Protocol):
    """An encoder of prompts that can be given pseudo words."""

    def add_words(self, words: Sequence[str], seed: int) -> PseudoEmbedding:
        """Give ``words``, which are no words, a vector each; prompts may hold them from now on.

        Args:
            words: letters and digits only.
            seed: of the vectors.

        Raises:
            ValueError: if one is a word already.
        """


def check_new(words: Sequence[str], known: Sequence[str]) -> None:
    """Check that pseudo words are no words.

    Raises:
        ValueError: naming one that is.
    """
    if found := [word for word in words if word in known]:
        raise ValueError(f"{found[0]!r} is a word of the model already; accepted: words that it does not have.")
