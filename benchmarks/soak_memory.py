"""Resident memory of a process, and whether it grows."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def resident_mib() -> float:
    """What this process holds. Linux only."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{os.getpid()}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def fitted_growth(samples: Sequence[tuple[float, float]]) -> float:
    """MiB by which a straight line through the later half of the samples rises from its first to its last one.

    Args:
        samples: progress (steps, requests) and MiB, at least four.

    Raises:
        ValueError: if there are fewer.
    """
    if len(samples) < 4:
        raise ValueError(f"{len(samples)} samples show no growth; at least 4 are needed.")
    later = samples[len(samples) // 2 :]
    return slope(later) * (later[-1][0] - later[0][0])


def slope(samples: Sequence[tuple[float, float]]) -> float:
    """Of the straight line that fits the points best, by least squares; at least two points."""
    x, y = np.array(samples, dtype=float).T
    return float(np.polyfit(x, y, 1)[0])
