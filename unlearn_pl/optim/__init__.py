"""Learning-rate schedules counted in epochs."""

from unlearn_pl.optim.schedules import Constant, Cosine, LinearWarmup, Schedule

__all__ = ["Constant", "Cosine", "LinearWarmup", "Schedule"]
