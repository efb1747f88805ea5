"""What brings the truth ratio of the forget answers to that of a model that never saw them?

At equal probability of the forget answers, unlearned models can be told from retrained ones by their truth ratio, which
is what forget quality tests. Every arm has KL and NLL beside one forget loss, `GoalBarrier`, and one change: the loss,
the level at which it stops, or the questions that it is trained on.

    python -m experiments.studies.goals.truth_ratio                    # everything, 5 seeds: about half an hour
    python -m experiments.studies.goals.truth_ratio --table_only true  # the table of earlier runs

Every run is kept in `truth_ratio.jsonl`; what is there already is not run again.
"""

import json
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import mean, stdev

from jsonargparse import auto_cli

from experiments.studies.combiners.analysis import Trial
from experiments.studies.goals.problems import STEEP, Problem
from experiments.studies.goals.regret import FIRST_SEED, Setting, relative
from experiments.studies.goals.regret_tables import kept, number
from unlearn_pl.combiners import GoalBarrier, Scalarization
from unlearn_pl.data import SyntheticAuthorsDataModule
from unlearn_pl.data.text.encoder import Row, RowSource
from unlearn_pl.goals import AtLeast, AtMost
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.objectives import (
    CausalLMLoss,
    CEULoss,
    GradientAscentLoss,
    KLDivergenceLoss,
    MaxEntropyLoss,
    NPOLoss,
    Objective,
    SatImpLoss,
    SimNPOLoss,
    TNPOLoss,
    UNDIALLoss,
    UnlearningCrossEntropyLoss,
    WGALoss,
)
from unlearn_pl.references import FrozenReference

RATES = (1e-3, 3e-3)


class ParaphrasedQuestions(SyntheticAuthorsDataModule):
    """Every forget answer is trained on after its question and after a paraphrase of it."""

    def load_streams(self) -> Mapping[str, RowSource]:
        """``forget`` has twice the rows."""
        rows: list[Row] = [row for one in self.facts.forget for row in (one, {**one, "question": paraphrase(one)})]
        return {**super().load_streams(), "forget": rows}


def paraphrase(row: Row) -> str:
    """The paraphrased question of a row."""
    return str(row["paraphrased_question"])


def three_losses(forget: Callable[[], Objective], model: object, **options: object) -> UnlearningModule:
    """MOLLM with another forget loss."""
    objectives = {"forget": forget(), "normal": KLDivergenceLoss(stream="retain"), "retain": CausalLMLoss()}
    combiner = options.pop("combiner", None) or Scalarization()
    return UnlearningModule(model, objectives, combiner, FrozenReference(), **options)  # type: ignore[arg-type]


LOSSES = (
    UnlearningCrossEntropyLoss,
    GradientAscentLoss,
    WGALoss,
    SatImpLoss,
    NPOLoss,
    SimNPOLoss,
    TNPOLoss,
    CEULoss,
    UNDIALLoss,
    MaxEntropyLoss,
)


def problem_of(
    loss: Callable[[], Objective], data: type[SyntheticAuthorsDataModule] = SyntheticAuthorsDataModule
) -> Problem:
    """Half of the authors, in 32 steps."""
    epochs = 4 if data is ParaphrasedQuestions else 8
    return Problem(partial(three_losses, loss), STEEP, epochs=epochs, data=data)


def asked(share: float) -> Setting:
    """The barrier with another share of the holdout level as its goal."""
    setting = Setting(GoalBarrier)
    setting.goals = {"forget": AtMost("holdout", share=share), "retain": AtLeast(share=0.9)}
    return setting


ARMS: dict[str, tuple[Problem, Setting]] = {
    **{loss.__name__.removesuffix("Loss"): (problem_of(loss), Setting(GoalBarrier)) for loss in LOSSES},
    **{
        f"{loss.__name__.removesuffix('Loss')}, share {share:g}": (problem_of(loss), asked(share))
        for loss in (UnlearningCrossEntropyLoss, NPOLoss)
        for share in (0.25, 1.0)
    },
    **{
        f"{loss.__name__.removesuffix('Loss')}, paraphrased too": (
            problem_of(loss, ParaphrasedQuestions),
            Setting(GoalBarrier),
        )
        for loss in (UnlearningCrossEntropyLoss, NPOLoss)
    },
}


def study(folder: str = "runs/goals_study", names: str = "", seeds: int = 5, table_only: bool = False) -> None:
    """Run what is missing, seed by seed, then print the table.

    Args:
        folder: where models and trials are kept.
        names: of the arms, separated by semicolons; all by default.
        seeds: number of seeds, from 20 on.
        table_only: run nothing.
    """
    path = Path(folder) / "truth_ratio.jsonl"
    trials: list[Trial] = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(t["arm"], t["rate"], t["seed"]) for t in trials}
    for seed in range(FIRST_SEED, FIRST_SEED if table_only else FIRST_SEED + seeds):
        for arm, (problem, setting) in ARMS.items():
            world = problem.world(Path(folder), seed)
            for rate in RATES:
                if (arm, rate, seed) not in done and (not names or arm in names.split(";")):
                    trial = {
                        "arm": arm,
                        "rate": rate,
                        "seed": seed,
                        **relative(setting.run(world, problem, rate), world),
                    }
                    trials.append(trial)
                    with path.open("a") as file:
                        file.write(json.dumps(trial) + "\n")
    print_table(trials)


def print_table(trials: list[Trial]) -> None:
    """Means over the seeds, with standard deviations."""
    print("| lr | arm | seeds | P(forget) - retrained | truth ratio - retrained | log10 FQ | utility kept |")
    print("|---|---|---|---|---|---|---|")
    for rate in RATES:
        for arm in ARMS:
            mine = [t for t in trials if (t["arm"], t["rate"]) == (arm, rate)]
            mine = [t for t in mine if math.isfinite(number(t, "forget_probability"))]
            if len(mine) > 1:
                columns = [
                    [number(t, "forget_probability") - number(t, "retrained_probability") for t in mine],
                    [number(t, "forget_truth_ratio") - number(t, "retrained_truth_ratio") for t in mine],
                    [number(t, "log10_forget_quality") for t in mine],
                    [kept(t) for t in mine],
                ]
                cells = [f"{mean(column):.3f} ({stdev(column):.3f})" for column in columns]
                print(f"| {rate:g} | {arm} | {len(mine)} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    auto_cli(study, as_positional=False)
