"""Tables of the study, made from its trials."""

from collections.abc import Callable, Iterable, Sequence
from statistics import mean

from experiments.studies.markov_chains.arms import FIXED, METHODS, WEIGHTS
from experiments.studies.markov_chains.experiment import EXPERIMENTS
from experiments.studies.markov_chains.trial import FORGET, Trial

GAP_AT = 0.1
Value = Callable[[Trial], float | None]
METHOD_COLUMNS: dict[str, Value] = {
    "end: retain": lambda trial: trial.end["retain"],
    "end: forget1": lambda trial: trial.end["forget1"],
    "end: forget2": lambda trial: trial.end["forget2"],
    "cost of forget1": lambda trial: trial.cost_of(FORGET[:1]),
    "cost of forget2": lambda trial: trial.cost_of(FORGET[1:]),
    f"gap at {GAP_AT}": lambda trial: trial.gap_at(GAP_AT),
}
WEIGHT_COLUMNS: dict[str, Value] = {
    "cost of both": lambda trial: trial.cost_of(FORGET),
    "best": lambda trial: trial.best(),
    "end: retain": lambda trial: trial.end["retain"],
    "end: forget1": lambda trial: trial.end["forget1"],
    "end: forget2": lambda trial: trial.end["forget2"],
}


def print_tables(trials: Sequence[Trial]) -> None:
    """Print, per experiment, what the arms reach and cost, and the comparisons that the study is about."""
    for name, experiment in EXPERIMENTS.items():
        mine = [trial for trial in trials if trial.experiment == name]
        if not mine:
            continue
        runs = {(trial.seed, trial.order): trial.retrained for trial in mine}
        level = ", ".join(f"{chain} {mean(r[chain] for r in runs.values()):.3f}" for chain in mine[0].retrained)
        print(f"\n## {name}: {len(runs)} runs of each arm; retrained model: {level}\n")
        _print_table(mine, METHODS, METHOD_COLUMNS)
        print(f"\nCost of {experiment.target}, by seed:")
        _print_ratio(mine, ("NPO", "SimNPO"), METHOD_COLUMNS[f"cost of {experiment.target}"])
        if weighted := [trial for trial in mine if trial.arm in WEIGHTS]:
            print()
            _print_table(weighted, WEIGHTS, WEIGHT_COLUMNS)
            for column in ("cost of both", "best"):
                _print_against_fixed(weighted, column)
    minutes = sum(trial.seconds for trial in trials) / 60
    print(f"\n{len(trials)} runs, {minutes:.1f} minutes of one core, training not counted")


def _print_table(trials: Sequence[Trial], arms: Iterable[str], columns: dict[str, Value]) -> None:
    print(f"| arm | {' | '.join(columns)} |")
    print("|---" * (len(columns) + 1) + "|")
    for arm in arms:
        mine = [trial for trial in trials if trial.arm == arm]
        print(f"| {arm} | {' | '.join(_mean([value(trial) for trial in mine]) for value in columns.values())} |")


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "never"
    return f"{mean(known):.3f}" + ("" if len(known) == len(values) else f" ({len(known)} of {len(values)})")


def means_by_seed(trials: Sequence[Trial], arm: str, value: Value) -> dict[int, float]:
    """Seed to the mean over its runs of an arm, without seeds for which a run has no value."""
    runs: dict[int, list[float | None]] = {}
    for trial in sorted(trials, key=lambda trial: trial.seed):
        if trial.arm == arm:
            runs.setdefault(trial.seed, []).append(value(trial))
    known = {seed: [v for v in values if v is not None] for seed, values in runs.items()}
    return {seed: mean(values) for seed, values in known.items() if len(values) == len(runs[seed])}


def _print_ratio(trials: Sequence[Trial], names: tuple[str, str], value: Value) -> None:
    first, second = (means_by_seed(trials, arm, value) for arm in names)
    for seed in sorted({trial.seed for trial in trials}):
        costs = [f"{arm} {_mean([found.get(seed)])}" for arm, found in zip(names, (first, second), strict=True)]
        ratio = f"; ratio {first[seed] / second[seed]:.1f}" if seed in first and seed in second else ""
        print(f"- seed {seed}: {', '.join(costs)}{ratio}")


def _print_against_fixed(trials: Sequence[Trial], column: str) -> None:
    """The rules against the fixed weight that turned out to be the best one on the same runs."""
    seeds = {trial.seed for trial in trials}
    means = {arm: means_by_seed(trials, arm, WEIGHT_COLUMNS[column]) for arm in WEIGHTS}
    complete = {arm: found for arm, found in means.items() if found.keys() == seeds}
    fixed = {arm: mean(found.values()) for arm, found in complete.items() if arm.startswith(FIXED)}
    if not fixed:
        return
    best = min(fixed, key=lambda arm: fixed[arm])
    print(f"\nMinus the best, {best}, in {column!r}, by seed:")
    for arm in sorted(complete.keys() - fixed.keys()):
        print(f"- {arm}: {', '.join(f'{complete[arm][seed] - complete[best][seed]:+.3f}' for seed in sorted(seeds))}")
