"""Gradients of the forget objectives, averaged over random perturbations of the weights."""

import math
import random

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from unlearn_pl.gradients.base import RowSource
from unlearn_pl.gradients.replay import Replay
from unlearn_pl.gradients.rows import Row, local, shard_of, sum_rows
from unlearn_pl.gradients.sources.perturbation import shifted


class RandomSmoothing(RowSource):
    """``mean_s grad L_k(theta + e_s)``, ``e_s ~ N(0, sigma^2 I)``, for the forget objectives.

    Descends the forget loss smoothed by a Gaussian. Retain objectives keep their plain gradients. The noise depends on
    the seed and the optimizer step alone: ranks agree on it, and a resumed run repeats it. Reported losses are means
    over the samples.

    Args:
        sigma: standard deviation of the noise on every trained weight.
        samples: noise samples per optimizer step; the forget streams are run once for each.
        seed: random seed of the noise.

    Raises:
        ValueError: if ``sigma`` or ``samples`` is not positive.

    References:
        Fan et al., Towards LLM Unlearning Resilient to Relearning Attacks, ICML 2025, arXiv 2502.05374.
    """

    copies = 2  # the original weights, and the noise

    def __init__(self, sigma: float = 0.01, samples: int = 1, seed: int = 0) -> None:
        if not 0 < sigma < math.inf:
            raise ValueError(f"sigma is {sigma}; accepted: a positive standard deviation.")
        if samples < 1:
            raise ValueError(f"samples is {samples}; accepted: 1 or more.")
        self.sigma = sigma
        self.samples = samples
        self.seed = seed

    def rows(self, replay: Replay) -> dict[str, Row]:
        """One row per objective; the forget streams are run once per sample."""
        forget = replay.window.names_of("forget")
        rows = replay.rows(replay.window.names_of("retain"))
        losses, progress = (dict.fromkeys(forget, torch.zeros(())) for _ in range(2))
        for sample in range(self.samples):
            with shifted(replay.parameters, self._noise(replay, sample), self.sigma):
                drawn = replay.rows(forget)
            for name, row in drawn.items():
                rows[name] = sum_rows([rows[name], row]) if name in rows else row
                losses[name] = losses[name] + replay.losses[name] / self.samples
                progress[name] = progress[name] + replay.progress[name] / self.samples
        for name in forget:
            rows[name] = [None if g is None else g.div_(self.samples) for g in rows[name]]
            replay.losses[name], replay.progress[name] = losses[name], progress[name]
        return {name: rows[name] for name in replay.window.objectives}

    def _noise(self, replay: Replay, sample: int) -> Row:
        """Standard normal numbers for every trained weight, 0 for those that the mask keeps fixed."""
        generators: dict[torch.device, torch.Generator] = {}
        noise: Row = [_normal(p, self._generator(p, generators, replay.window.step, sample)) for p in replay.parameters]
        replay.runtime.mask(noise)
        return noise

    def _generator(
        self, parameter: nn.Parameter, known: dict[torch.device, torch.Generator], step: int, sample: int
    ) -> torch.Generator:
        if parameter.device not in known:
            # Replicas of the weights need the same noise on all ranks, shards need different noise.
            rank = torch.distributed.get_rank() if isinstance(parameter, DTensor) else 0
            seed = random.Random(f"{self.seed}/{step}/{sample}/{rank}").getrandbits(63)
            known[parameter.device] = torch.Generator(parameter.device).manual_seed(seed)
        return known[parameter.device]


def _normal(parameter: nn.Parameter, generator: torch.Generator) -> Tensor:
    like = local(parameter.detach())
    values = torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)
    return shard_of(parameter, values)
