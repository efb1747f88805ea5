"""What does forgetting two chains cost on the third one? NPO, SimNPO, gradient ascent and MOLLM on a mixture of chains.

    python -m experiments.studies.markov_chains.study                  # train, unlearn, tables and picture
    python -m experiments.studies.markov_chains.study --report_only true    # tables and picture of what was run before

Trained models and trials are kept; what is there already is not run again.
"""

import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import torch
from jsonargparse import auto_cli

from experiments.studies.markov_chains.arms import arms
from experiments.studies.markov_chains.experiment import EXPERIMENTS, Scale
from experiments.studies.markov_chains.picture import plot
from experiments.studies.markov_chains.tables import print_tables
from experiments.studies.markov_chains.trial import Trial
from experiments.studies.markov_chains.world import World

T = TypeVar("T")


def study(
    folder: str = "runs/markov_chains",
    seeds: int = 3,
    orders: int = 2,
    workers: int = 2,
    figure: str = "experiments/figures/markov_chains.png",
    report_only: bool = False,
) -> None:
    """Run what is missing, then print the tables and draw the picture.

    Args:
        folder: where models and trials are kept.
        seeds: number of seeds: 0, 1, ...
        orders: number of unlearning runs of each arm on the models of a seed.
        workers: processes of one thread each; 0 for this one.
        figure: PNG file to write.
        report_only: run nothing.
    """
    runner, start = Runner(Path(folder), workers), time.monotonic()
    if not report_only:
        runner.run(range(seeds), range(orders))
        print(f"{time.monotonic() - start:.0f} s", flush=True)
    trials = [trial for trial in runner.trials if trial.seed < seeds and trial.order < orders]
    print_tables(trials)
    plot(trials, figure)


class Runner:
    """Trains models, runs arms and keeps every trial as a line of ``trials.jsonl``.

    Args:
        folder: where models and trials are kept.
        workers: processes of one thread each; 0 for this one.
        scale: how much is trained and measured; a folder of its own for each.
    """

    def __init__(self, folder: Path, workers: int = 0, scale: Scale | None = None) -> None:
        self.folder, self.workers, self.scale = folder, workers, scale or Scale()
        self._file = folder / "trials.jsonl"
        self.trials: list[Trial] = []
        if self._file.exists():
            self.trials = [Trial(**json.loads(line)) for line in self._file.read_text().splitlines()]

    def run(self, seeds: Sequence[int], orders: Sequence[int]) -> None:
        """Train the models that are missing, then run all arms on them, but for those that were run before."""
        done = {trial.key for trial in self.trials}
        keys = itertools.chain.from_iterable(
            itertools.product([experiment], arms(experiment), seeds, orders) for experiment in EXPERIMENTS
        )
        missing = [key for key in keys if key not in done]
        models = dict.fromkeys((experiment, seed) for experiment, _, seed, _ in missing)
        retrained = {seed: experiment for experiment, seed in models}
        training = [(self.folder, *model, False, self.scale) for model in models]
        training += [(self.folder, experiment, seed, True, self.scale) for seed, experiment in retrained.items()]
        with self._workers() as each:
            for what in each(train, training):
                print(what, flush=True)
            for trial in each(run_trial, [(self.folder, *key, self.scale) for key in missing]):
                self.trials.append(trial)
                self._keep()
                print(f"{', '.join(map(str, trial.key))}: {trial.seconds:.1f} s", flush=True)

    @contextmanager
    def _workers(self) -> Iterator[Callable[[Callable[..., T], Iterable[tuple[object, ...]]], Iterator[T]]]:
        """A function that calls another one with many arguments, and yields results as they come."""
        if not self.workers:
            yield itertools.starmap
            return
        context = get_context("spawn")
        with ProcessPoolExecutor(self.workers, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield lambda function, jobs: (f.result() for f in as_completed([pool.submit(function, *j) for j in jobs]))

    def _keep(self) -> None:
        unfinished = self._file.with_suffix(".unfinished")
        unfinished.write_text("".join(json.dumps(asdict(trial)) + "\n" for trial in self.trials))
        unfinished.replace(self._file)


def train(folder: Path, experiment: str, seed: int, retrained: bool, scale: Scale) -> str:
    """Train a model unless it is there, and say how much processor time it took."""
    world, start = World(folder, experiment, seed, scale=scale), time.process_time()
    _ = world.retrained() if retrained else world.pretrained()
    name = "retrained model" if retrained else f"model of {experiment}"
    return f"seed {seed}, {name}: {time.process_time() - start:.0f} s"


def run_trial(folder: Path, experiment: str, arm: str, seed: int, order: int, scale: Scale) -> Trial:
    """Unlearn with one arm."""
    world, start = World(folder, experiment, seed, order, scale), time.process_time()
    path = world.unlearn(arms(experiment)[arm](world))
    return Trial(experiment, arm, seed, order, path, world.retrained_distances, time.process_time() - start)


if __name__ == "__main__":
    auto_cli(study, as_positional=False)
