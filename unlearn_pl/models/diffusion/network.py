"""A small denoising network with cross attention on prompts, and an encoder of prompts by words."""

import math
import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unlearn_pl.models.diffusion.pseudo_words import PseudoEmbedding, check_new

GROUPS = 8
UNREAD = frozenset(("a", "an", "the", "of", "in", "image", "style"))
"""Words that say nothing about an image."""


class ConditionalUNet(nn.Module):
    """A U-Net of two resolutions with cross attention on the states of a prompt (``attn2``, as in Stable Diffusion).

    Args:
        num_channels: channels of the images.
        width: channels at the full resolution, a multiple of 8; twice as many at the half.
        context: D, the size of the states.
        image_size: height and width, even.
    """

    def __init__(self, num_channels: int = 3, width: int = 32, context: int = 32, image_size: int = 8) -> None:
        super().__init__()
        self.position = nn.Parameter(0.1 * torch.randn(width, image_size, image_size))
        self.time = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, 2 * width))
        self.conv_in = nn.Conv2d(num_channels, width, 3, padding=1)
        self.down = Block(width, width, 2 * width, context)
        self.halve = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.middle = Block(width, 2 * width, 2 * width, context)
        self.up = Block(3 * width, width, 2 * width, context)
        self.norm_out = nn.GroupNorm(GROUPS, width)
        self.conv_out = nn.Conv2d(width, num_channels, 3, padding=1)
        self.width = width

    def forward(self, noisy: Tensor, timestep: Tensor, states: Tensor) -> Tensor:
        """The prediction ``[B, C, H, W]`` for ``noisy [B, C, H, W]``, ``timestep [B]`` and ``states [B, T, D]``."""
        time = self.time(sinusoids(timestep, self.width).to(noisy.dtype))
        first = self.down(self.conv_in(noisy) + self.position, time, states)
        middle = self.middle(self.halve(first), time, states)
        upward = nn.functional.interpolate(middle, size=first.shape[2:], mode="nearest")
        last = self.up(torch.cat([first, upward], dim=1), time, states)
        return self.conv_out(nn.functional.silu(self.norm_out(last)))


class Block(nn.Module):
    """A residual block that reads the timestep and, by cross attention, the prompt.

    Args:
        inputs: channels before.
        outputs: channels after.
        time: size of the embedding of the timestep.
        context: D.
    """

    def __init__(self, inputs: int, outputs: int, time: int, context: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(GROUPS, inputs), nn.GroupNorm(GROUPS, outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.time = nn.Linear(time, outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.attn2 = CrossAttention(outputs, context)

    def forward(self, x: Tensor, time: Tensor, states: Tensor) -> Tensor:
        """``[B, C', H, W]``."""
        inner = self.conv1(nn.functional.silu(self.norm1(x))) + self.time(time)[:, :, None, None]
        inner = self.attn2(inner, states)
        return self.skip(x) + self.conv2(nn.functional.silu(self.norm2(inner)))


class CrossAttention(nn.Module):
    """Attention of positions on the states of a prompt, added to its input.

    Args:
        channels: of the input.
        context: D.
        heads: number of heads.
    """

    def __init__(self, channels: int, context: int, heads: int = 4) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(context, channels, bias=False)
        self.to_v = nn.Linear(context, channels, bias=False)
        self.to_out = nn.Linear(channels, channels)
        self.heads = heads

    def forward(self, x: Tensor, states: Tensor) -> Tensor:
        """``[B, C, H, W]``."""
        positions = self.norm(x).flatten(2).transpose(1, 2)
        q, k, v = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in (self.to_q(positions), self.to_k(states), self.to_v(states))
        )
        mixed = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return x + self.to_out(mixed).transpose(1, 2).view_as(x)


class WordEncoder(nn.Module):
    """A vector per word and position; case, punctuation and words such as "a" and "image" do not count.

    Args:
        words: the words that prompts may hold.
        size: D.
        longest: T, the largest number of words of a prompt; shorter ones are padded.
    """

    def __init__(self, words: Sequence[str], size: int = 32, longest: int = 4) -> None:
        super().__init__()
        self.numbers = {word: 1 + i for i, word in enumerate(dict.fromkeys(word.lower() for word in words))}
        self.longest = longest
        self.embedding: nn.Module = nn.Embedding(len(self.numbers) + 1, size)
        self.position = nn.Parameter(torch.randn(longest, size))

    def forward(self, prompts: Sequence[str]) -> Tensor:
        """``[B, T, D]``.

        Raises:
            ValueError: naming a word that is not known, or a prompt that is too long.
        """
        rows = [self._row(prompt) for prompt in prompts]
        return self.embedding(torch.tensor(rows, device=self.position.device)) + self.position

    def add_words(self, words: Sequence[str], seed: int) -> PseudoEmbedding:
        """See :meth:`TakesPseudoWords.add_words`."""
        check_new(words, [*self.numbers, *UNREAD])
        first = 1 + len(self.numbers)
        self.numbers |= {word: first + i for i, word in enumerate(words)}
        self.embedding = PseudoEmbedding(self.embedding, range(first, first + len(words)), seed)
        return self.embedding

    def _row(self, prompt: str) -> list[int]:
        words = [word for word in re.findall(r"\w+", prompt.lower()) if word not in UNREAD]
        if unknown := [word for word in words if word not in self.numbers]:
            raise ValueError(f"The prompt {prompt!r} has the word {unknown[0]!r}; accepted: {sorted(self.numbers)}.")
        if len(words) > self.longest:
            raise ValueError(f"The prompt {prompt!r} has {len(words)} words; accepted: up to {self.longest}.")
        return [self.numbers[word] for word in words] + [0] * (self.longest - len(words))


def sinusoids(timestep: Tensor, size: int) -> Tensor:
    """``[B, size]``: sines and cosines of ``timestep [B]`` at geometric frequencies."""
    frequencies = torch.exp(-math.log(10_000) * torch.arange(size // 2, device=timestep.device) / (size // 2))
    angles = timestep.float().unsqueeze(1) * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)
