"""Learning-rate schedules counted in epochs, an optimizer with moments per role, and masked weight decay."""

from unlearn_pl.optim.dual_optim import DualOptim
from unlearn_pl.optim.masked_decay import mask_weight_decay
from unlearn_pl.optim.schedules import Constant, Cosine, LinearWarmup, Schedule

__all__ = ["Constant", "Cosine", "DualOptim", "LinearWarmup", "Schedule", "mask_weight_decay"]
