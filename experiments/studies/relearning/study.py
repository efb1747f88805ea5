"""Which method's forgetting survives relearning, and does robust training help?

Tiny models that know fictitious authors unlearn half of them with MOLLM, NPO, SimNPO and GradDiff: plainly, with SAM
(``SharpnessAware``) and with weight averaging (``AveragedWeights``). All take the same number of steps. Then each is
fine-tuned on a random fifth of the forget set, and the probability of the other four fifths is traced.

Methods are compared at comparable forgetting: on tuning seeds, each chooses the learning rate and the weight of its
forget loss with the highest utility among those that make the forget answers no more probable than they are under the
retain model. SAM and averaging keep the weight and choose their rate in the same way; where it is another, the plain
method is run at it, too. All figures are of other seeds.

    python -m experiments.studies.relearning.study     # tune, unlearn, attack, table and picture

Every trial is kept in `trials.jsonl`; what is there already is not run again.
"""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from jsonargparse import auto_cli

from experiments.studies.relearning.report import Trial, chosen, draw, print_table
from experiments.studies.relearning.run import (
    FORGET,
    METHODS,
    RATES,
    RelearningWorld,
    Setting,
    make_attack,
)
from unlearn_pl.results import config_hash

RHO, AVERAGING = 0.1, 12


def study(
    folder: str = "runs/relearning_study",
    tuning_seeds: int = 2,
    seeds: int = 3,
    attack_rate: float = 3e-4,
    attack_steps: int = 40,
    figure: str = "experiments/figures/relearning.png",
) -> None:
    """Run what is missing, then print the table and draw the picture.

    Args:
        folder: where models and trials are kept.
        tuning_seeds: number of seeds on which settings are chosen: 0, 1, ...
        seeds: number of further seeds, of which the figures are.
        attack_rate: learning rate of the attack.
        attack_steps: its optimizer steps.
        figure: PNG file to write.
    """
    runner = Runner(Path(folder), attack_rate, attack_steps)
    tuning, final = range(tuning_seeds), range(tuning_seeds, tuning_seeds + seeds)
    plain = [
        Setting(name, rate, weight, beta)
        for name, method in METHODS.items()
        for beta in method.betas
        for weight in method.forget_weights
        for rate in RATES
    ]
    runner.run([None, *plain], tuning, attacked=False)
    best = [chosen(runner.trials, tuning, [s for s in plain if s.method == name]) for name in METHODS]
    robust = [[arm for factor in (0.5, 1.0, 2.0) for arm in robust_arms(setting, factor)] for setting in best]
    runner.run([setting for arms in robust for setting in arms], tuning, attacked=False)
    for arms in robust:
        best += [chosen(runner.trials, tuning, kind) for kind in (arms[::2], arms[1::2])]
    controls = [replace(setting, rho=None, averaging=None) for setting in best]
    settings = [None, *dict.fromkeys([*best, *controls])]
    runner.run(settings, final, attacked=True)
    shown = runner.of(settings, final)
    print(f"{seeds} seeds, {len(runner.trials)} trials, {sum(t['seconds'] for t in runner.trials) / 60:.0f} minutes\n")
    print_table(shown)
    draw(shown, figure)


def robust_arms(setting: Setting, factor: float) -> list[Setting]:
    """The setting with SAM, and with averaged weights, at a multiple of its learning rate."""
    scaled = replace(setting, rate=setting.rate * factor)
    return [replace(scaled, rho=RHO), replace(scaled, averaging=AVERAGING)]


class Runner:
    """Runs trials and keeps each as a line of ``trials.jsonl``.

    Args:
        folder: where models and trials are kept.
        attack_rate: learning rate of the attack.
        attack_steps: its optimizer steps.
    """

    def __init__(self, folder: Path, attack_rate: float, attack_steps: int) -> None:
        self.folder = folder
        self.path = folder / "trials.jsonl"
        self.attack = make_attack(attack_rate, attack_steps)
        self.trials: list[Trial] = []
        self._worlds: dict[int, RelearningWorld] = {}
        if self.path.exists():
            self.trials = [json.loads(line) for line in self.path.read_text().splitlines()]

    def run(self, settings: Iterable[Setting | None], seeds: Iterable[int], attacked: bool) -> None:
        """Run what was not run before; ``attacked`` whether the models are attacked.

        Args:
            settings: how models unlearn; None for the retain model.
            seeds: of facts, models and order.
            attacked: whether the attack follows.
        """
        settings = list(settings)
        for seed in seeds:
            for setting in settings:
                plain = None if setting is None else asdict(setting)
                what = {"setting": plain, "seed": seed, "attacked": attacked}
                name = config_hash({**what, "attack": self.attack if attacked else None})
                if name not in {trial["config_hash"] for trial in self.trials}:
                    self._keep({**what, "config_hash": name, **self._figures(setting, seed, attacked)})

    def of(self, settings: Sequence[Setting | None], seeds: Sequence[int]) -> list[Trial]:
        """The attacked trials of some settings on some seeds, by seed."""
        wanted = [None if setting is None else asdict(setting) for setting in settings]
        found = [t for t in self.trials if t["attacked"] and t["seed"] in seeds and t["setting"] in wanted]
        return sorted(found, key=lambda trial: trial["seed"])

    def _figures(self, setting: Setting | None, seed: int, attacked: bool) -> dict[str, object]:
        start = time.monotonic()
        world = self._world(seed)
        if setting is None:
            model, figures = world.retain_model, world.retain_figures()
        else:
            model, figures = world.unlearned(setting)
        found = world.relearn(model, self.attack) if attacked else {}
        return {**figures, "target": world.target_metrics[FORGET], **found, "seconds": time.monotonic() - start}

    def _world(self, seed: int) -> RelearningWorld:
        if seed not in self._worlds:
            self._worlds[seed] = RelearningWorld(self.folder / f"seed{seed}", seed)
        return self._worlds[seed]

    def _keep(self, trial: Trial) -> None:
        self.trials.append(trial)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(trial) + "\n")


if __name__ == "__main__":
    auto_cli(study, as_positional=False)
