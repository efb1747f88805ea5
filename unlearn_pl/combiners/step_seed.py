"""Random seeds of stochastic combiners."""

import hashlib


def step_seed(seed: int, *counters: int) -> int:
    """A 64-bit seed that depends on its arguments alone: equal on every rank, unrelated for neighboring counters.

    Args:
        seed: seed of the combiner.
        counters: identify the draw: the step, the number of the parameter.

    Example:
        >>> step_seed(0, 1) == step_seed(0, 1), step_seed(0, 1) == step_seed(0, 2)
        (True, False)
    """
    digest = hashlib.sha256("/".join(map(str, (seed, *counters))).encode()).digest()
    return int.from_bytes(digest[:8], "little")
