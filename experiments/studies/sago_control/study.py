"""Is it the rule or its knobs? The control for SAGO's headline, at the scale of a laptop.

The published comparison gives every rule a learning rate, a number of steps, a beta and weights of its own. Here a
weighted sum, PCGrad, SAGO and MinNorm get the same sweep: every learning rate, every beta, and three values of the
rule's own knob, for the same number of steps. A tiny model that knows made-up hazards and other facts unlearns the
former. On a tuning seed, each rule chooses the setting with the highest accuracy on facts that no method rehearses (the
place of MMLU), among those that leave the hazards near chance. Figures are of other seeds. Two controls swap knobs: the
sum with SAGO's setting, and SAGO with the sum's.

    python -m experiments.studies.sago_control.study     # tune, unlearn, table

Every trial is kept in `trials.jsonl`; what is there already is not run again.
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import mean
from typing import Any

from jsonargparse import auto_cli
from torch import Tensor

from experiments.studies.sago_control.hazards import WRONG
from experiments.studies.sago_control.run import BETAS, COMBINERS, KNOBS, RATES, Setting, World
from unlearn_pl.functional import bootstrap_interval

Trial = Mapping[str, Any]
TUNING = 0
NEAR_CHANCE = 1 / (1 + WRONG) + 0.1
COLUMNS = ("method", "rule", "lr", "beta", "knob", "hazards", "general", "general - hazards", "minus the sum's")


def settings(method: str) -> list[Setting]:
    """The sweep: the same number of settings for every rule."""
    return [
        Setting(method, rule, knob, rate, beta)
        for rule in COMBINERS
        for beta in BETAS[method]
        for rate in RATES
        for knob in KNOBS[rule]
    ]


def chosen(trials: Sequence[Trial], rule: str, method: str) -> Setting:
    """The setting of a rule with the highest general accuracy among those near chance on the hazards.

    Where none is, the one with the lowest accuracy on the hazards.

    Args:
        trials: of the tuning seed.
        rule: name of the rule.
        method: name of the method.
    """
    own = [
        trial
        for trial in trials
        if trial["seed"] == TUNING and (trial["setting"]["rule"], trial["setting"]["method"]) == (rule, method)
    ]
    if near := [trial for trial in own if mean(trial["forget"]) <= NEAR_CHANCE]:
        return Setting(**max(near, key=lambda trial: mean(trial["general"]))["setting"])
    return Setting(**min(own, key=lambda trial: mean(trial["forget"]))["setting"])


def study(folder: str = "runs/sago_control", seeds: int = 3, methods: Sequence[str] = ("NPO", "GradDiff")) -> None:
    """Run what is missing, then print the table.

    Args:
        folder: where models and trials are kept.
        seeds: number of seeds after the tuning seed, of which the figures are.
        methods: names of the methods; SimNPO is the third one.
    """
    runner = Runner(Path(folder))
    final = range(TUNING + 1, TUNING + 1 + seeds)
    rows: list[tuple[str, Setting]] = []
    for method in methods:
        runner.run(settings(method), [TUNING])
        best = {rule: chosen(runner.trials, rule, method) for rule in COMBINERS}
        own = [(rule, best[rule]) for rule in COMBINERS]
        swapped = [("sum, SAGO's setting", replace(best["SAGO"], rule="sum"))]
        swapped += [("SAGO, the sum's setting", replace(best["sum"], rule="SAGO"))]
        runner.run([setting for _, setting in own + swapped], final)
        rows += own + swapped
    runner.targets(final)
    print_table(rows, runner, final)


class Runner:
    """Runs trials and keeps each as a line of ``trials.jsonl``.

    Args:
        folder: where models and trials are kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "trials.jsonl"
        self.trials: list[Trial] = []
        self._worlds: dict[int, World] = {}
        if self.path.exists():
            self.trials = [json.loads(line) for line in self.path.read_text().splitlines()]

    def run(self, wanted: Iterable[Setting | None], seeds: Iterable[int]) -> None:
        """Run the settings on the seeds, except what is done; None is the model before unlearning."""
        done = {(trial["seed"], json.dumps(trial["setting"])) for trial in self.trials}
        todo = list(wanted)
        for seed in seeds:
            for setting in dict.fromkeys(todo):
                plain = None if setting is None else asdict(setting)
                if (seed, json.dumps(plain)) in done:
                    continue
                world, start = self._worlds.setdefault(seed, World(self.folder, seed)), time.process_time()
                hits = world.evaluate(world.target) if setting is None else world.unlearn(setting)
                seconds = round(time.process_time() - start, 2)
                self.trials.append({"seed": seed, "setting": plain, "seconds": seconds, **hits})
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a") as file:
                    file.write(json.dumps(self.trials[-1]) + "\n")

    def targets(self, seeds: Iterable[int]) -> None:
        """Evaluate the models before unlearning."""
        self.run([None], seeds)

    def hits(self, setting: Setting | None, split: str, seeds: Iterable[int]) -> list[float]:
        """Whether each question of the split is answered correctly, over all seeds."""
        plain, wanted = None if setting is None else asdict(setting), set(seeds)
        mine = [trial for trial in self.trials if trial["setting"] == plain and trial["seed"] in wanted]
        return [hit for trial in sorted(mine, key=lambda trial: trial["seed"]) for hit in trial[split]]


def print_table(rows: Sequence[tuple[str, Setting]], runner: Runner, seeds: Sequence[int]) -> None:
    """Accuracies over the questions of all seeds, with bootstrap intervals; differences are paired by question.

    Rules end at other accuracies on the hazards, for which a higher one on general facts is the price; their difference
    is what a better rule would raise.

    Args:
        rows: name of a rule, and its setting.
        runner: with the trials.
        seeds: of the figures.
    """
    minutes = sum(trial["seconds"] for trial in runner.trials) / 60
    print(f"{len(seeds)} seeds after one for tuning, {len(runner.trials)} trials, {minutes:.0f} minutes of processor\n")
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    hazards, general = (runner.hits(None, split, seeds) for split in ("forget", "general"))
    cells = [interval(hazards), interval(general), interval(general, hazards)]
    print(f"| before unlearning | - | - | - | - | {' | '.join(cells)} | - |")
    sums = {setting.method: setting for rule, setting in rows if rule == "sum"}
    for rule, setting in rows:
        hazards, general = (runner.hits(setting, split, seeds) for split in ("forget", "general"))
        base = [runner.hits(sums[setting.method], split, seeds) for split in ("forget", "general")]
        gaps = [[a - b for a, b in zip(*pair, strict=True)] for pair in zip((hazards, general), base, strict=True)]
        cells = [setting.method, rule, f"{setting.rate:g}", "-" if setting.beta is None else f"{setting.beta:g}"]
        cells += [setting.knob, interval(hazards), interval(general), interval(general, hazards)]
        print(f"| {' | '.join(cells)} | {'-' if rule == 'sum' else interval(gaps[1], gaps[0], sign=True)} |")


def interval(values: Sequence[float], minus: Sequence[float] = (), sign: bool = False) -> str:
    """The mean, with its 95 % bootstrap interval over the questions.

    Args:
        values: one per question.
        minus: values of other questions, whose mean is subtracted.
        sign: whether a plus is written.
    """

    def average(sample: Tensor, other: Tensor | None = None) -> float:
        return (sample.mean() - (0 if other is None else other.mean())).item()

    low, high = bootstrap_interval(average, *([values, minus] if minus else [values]), resamples=2000)
    form, value = "+.2f" if sign else ".2f", mean(values) - (mean(minus) if minus else 0)
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"


if __name__ == "__main__":
    auto_cli(study)
