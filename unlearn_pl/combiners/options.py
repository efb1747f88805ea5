"""The options that every rule on the Gramian passes on to :class:`~unlearn_pl.combiners.GramianCombiner`."""

from typing import TypedDict

from unlearn_pl.combiners.normalization import NormalizationKind


class CombinerOptions(TypedDict, total=False):
    """Arguments that are independent of the rule; defaults are those of :class:`GramianCombiner`.

    Attributes:
        normalization: the length ``n_k`` that a gradient is divided by: ``none``, ``l2`` (its norm; the default, unless
            a rule states another) or ``ema`` (a moving average of its norm).
        norm_decay: decay of the average norm of ``ema``.
        norm_floor: ``n_k`` is at least this fraction of the objective's largest norm so far.
        min_relative_norm: gradients shorter than this fraction of the longest are dropped.
        satisfied: threshold of the losses: below it, an objective is inactive until its loss exceeds twice the
            threshold (hysteresis). A number applies to the objectives of role ``forget``, a dictionary to those that it
            names.
        satisfied_decay: decay of the moving average of the losses that is compared with the threshold.
        noise_factor: an objective whose gradient starts at zero is inactive up to this multiple of its first norm.
    """

    normalization: NormalizationKind
    norm_decay: float
    norm_floor: float
    min_relative_norm: float
    satisfied: float | dict[str, float] | None
    satisfied_decay: float
    noise_factor: float
