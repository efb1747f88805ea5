"""The arms without training: LUNAR in closed form, whose trials are factors instead of learning rates."""

import copy
import time
from typing import Any

from experiments.studies.combiners.run import World
from unlearn_pl.commands.redirect import prompts, questions, reference_questions
from unlearn_pl.models.layers.redirect import refit
from unlearn_pl.modules import PretrainedModule

UNTRAINED = {"LUNAR": False, "LUNAR with answers": True}
"""Name of an arm to whether the answers move and stay with the questions."""
FACTORS = (0.5, 1.0, 2.0, 4.0, 8.0)
LAYER = 1
"""Of 2; the authors take the 22nd of 32."""


def redirected(world: World, factor: float, answers: bool) -> tuple[PretrainedModule, dict[str, Any]]:
    """The target with one matrix refit, and the figures of a trial; the time is that of all of it."""
    model = copy.deepcopy(world.target)
    subject = world.subject(model)
    before = time.process_time()
    asked = prompts(subject, reference_questions(None))
    forget, retain = (questions(subject, rows, answers) for rows in (subject.forget, subject.retain))
    refit(model, [LAYER], forget, retain, asked, factor)
    seconds = time.process_time() - before
    module = PretrainedModule(model)
    return module, world.evaluate(module) | {"passes": 0.0, "seconds": seconds, "skipped": 0}
