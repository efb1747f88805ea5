"""Gradients from losses at randomly shifted weights."""

import math
from collections.abc import Sequence

from torch.optim import Optimizer

from unlearn_pl.gradients.replay import Replay
from unlearn_pl.gradients.zeroth_order.concerns import adaptive_steps, lost_in_rounding
from unlearn_pl.gradients.zeroth_order.directions import Directions, GaussianDirections
from unlearn_pl.gradients.zeroth_order.forward_source import ForwardSource
from unlearn_pl.gradients.zeroth_order.pieces import pieces_of
from unlearn_pl.gradients.zeroth_order.random_probes import RandomProbes


class ZerothOrder(ForwardSource):
    """``D[k, q] = (L_k(theta + mu u_q) - L_k(theta - mu u_q)) / 2 mu`` for Q random directions; no backpropagation.

    ``D D^T / Q`` estimates the Gramian, and ``sum_kq w_k D[k, q] u_q / Q`` the combined gradient, both without bias up
    to ``mu^2``. A norm is off by a factor of about ``1 +- sqrt(1 / 2Q)``, a cosine by about ``1 / sqrt(Q)``: use 16 or
    more directions with a solver. The gradient in ``.grad`` is that of the loss in a random subspace of Q dimensions:
    it is about ``sqrt(d / Q)`` times as long as the true one in d dimensions, points along it by ``sqrt(Q / d)`` alone,
    and takes about ``d / Q`` times as many steps. So this is for models that cannot be differentiated, or whose
    activations do not fit, with few trained weights: LoRA or a mask. Use plain SGD, since Adam divides by the noise.

    Central differences are a must: one-sided ones give a loss at its minimum, such as a KL divergence at the reference
    model, a slope of ``mu |u|^2 h / 2`` instead of 0, and with it a say.

    ``mu`` is a compromise between rounding and curvature. On a tiny Llama, slopes at 1e-3 were off by about 0.4 % in
    fp32, 2 % under ``bf16-mixed``, and 4 % with weights in bfloat16. With 1e-4, rounding took 28 and 50 % of the latter
    two, with 1e-2, curvature took 27 % of all. In fp64, 1e-4 was exact to 1e-4.

    Args:
        queries: Q, directions per optimizer step; a step takes ``2 Q + 1`` forward passes, and none backward.
        mu: distance to the shifted weights along a direction, whose elements have a variance of 1.
        directions: their distribution; :class:`GaussianDirections` by default.
        seed: random seed. Directions depend on the seed, the step and the name of the parameter; under FSDP2 also on
            the shard.

    Raises:
        ValueError: if ``queries`` or ``mu`` is not positive.

    References:
        Zhang et al., DeepZero, ICLR 2024, arXiv 2310.02025, equation 1; Malladi et al., Fine-Tuning Language Models
        with Just Forward Passes, NeurIPS 2023, arXiv 2305.17333 (seeds instead of directions). Their codes use
        one-sided differences and restore weights by the opposite shift; here differences are central, and weights are
        restored from a copy.
    """

    copies = 1  # the weights before they are moved

    def __init__(
        self, queries: int = 16, mu: float = 1e-3, directions: Directions | None = None, seed: int = 0
    ) -> None:
        if queries < 1:
            raise ValueError(f"queries is {queries}; accepted: 1 or more directions per step.")
        if not 0 < mu < math.inf:
            raise ValueError(f"mu is {mu}; accepted: a positive distance.")
        self.queries = queries
        self.mu = mu
        self.distribution = directions or GaussianDirections()
        self.seed = seed
        self.num_directions = queries

    def probes(self, replay: Replay) -> RandomProbes:
        """Q random directions."""
        key = f"{self.seed}/{replay.window.step}"
        return RandomProbes(pieces_of(replay.runtime), self.distribution, self.queries, self.mu, key)

    def concerns(self, optimizer: Optimizer, steps: int | None) -> Sequence[str]:
        """Warns of optimizers that divide by the noise, and of shifts that are rounded away."""
        return [*adaptive_steps(self, optimizer), *lost_in_rounding(self.mu, optimizer)]
