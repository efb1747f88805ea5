"""References: sources of the reference model's outputs, the ``ref_*`` fields of a stream's view."""

from unlearn_pl.references.adapter import AdapterReference
from unlearn_pl.references.base import Reference
from unlearn_pl.references.cached import CachedReference
from unlearn_pl.references.context import ReferenceContext, StreamExamples
from unlearn_pl.references.frozen import FrozenReference
from unlearn_pl.references.reinforced import ReinforcedReference

__all__ = [
    "AdapterReference",
    "CachedReference",
    "FrozenReference",
    "Reference",
    "ReferenceContext",
    "ReinforcedReference",
    "StreamExamples",
]
