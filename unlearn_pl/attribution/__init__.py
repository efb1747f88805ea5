"""Weight attribution: scores of the weights that matter for the forget set; masks and adapters from them."""

from unlearn_pl.attribution.base import Attribution, AttributionOptions, MaskScope
from unlearn_pl.attribution.fisher_ratio import FisherRatio
from unlearn_pl.attribution.magnitude import Magnitude
from unlearn_pl.attribution.measured import Measured
from unlearn_pl.attribution.random import Random
from unlearn_pl.attribution.salun import SalUn
from unlearn_pl.attribution.snip import SNIP
from unlearn_pl.attribution.wagle import WAGLE
from unlearn_pl.attribution.wanda import Wanda
from unlearn_pl.attribution.write_adapters import write_adapters
from unlearn_pl.attribution.write_mask import write_mask
from unlearn_pl.functional.ranking import kth_largest, mark_largest, mark_rows

__all__ = [
    "SNIP",
    "WAGLE",
    "Attribution",
    "AttributionOptions",
    "FisherRatio",
    "Magnitude",
    "MaskScope",
    "Measured",
    "Random",
    "SalUn",
    "Wanda",
    "kth_largest",
    "mark_largest",
    "mark_rows",
    "write_adapters",
    "write_mask",
]
