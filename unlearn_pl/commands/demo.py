"""``unlearn-pl demo``: the whole story offline, from training a model to unlearning and evaluation."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch

from unlearn_pl.commands.story import Story
from unlearn_pl.goals import AtLeast, AtMost
from unlearn_pl.modules import MOLLM, GradDiff
from unlearn_pl.report import plot_combination, read_history, report_data, write_page
from unlearn_pl.report.overview import Compared, plot_overview
from unlearn_pl.results import Results, write_json

UNLEARNED = ("graddiff", "mollm", "mollm_goals")
TITLES = {
    "target": "before",
    "graddiff": "weighted sum",
    "mollm": "MOLLM",
    "mollm_goals": "MOLLM with goals",
    "retain": "retrained",
}
RESAMPLES = 300
"""Bootstrap draws of the report: enough for two digits, in seconds."""
RELEARNED = "forget_probability_relearned"
COLUMNS = ("forget_probability", "forget_quality", "forget_truth_ratio", "model_utility")


def main(args: Sequence[str]) -> None:
    """Run ``unlearn-pl demo ARGS``."""
    from jsonargparse import auto_cli

    # --fast alone is --fast true, as one would write it.
    given = [f"{one}=true" if one == "--fast" and then.startswith("-") else one for one, then in pairwise([*args, "-"])]
    auto_cli(demo, args=given, as_positional=False, prog="unlearn-pl demo")


def demo(folder: str = "runs/demo", seed: int = 0, fast: bool = False) -> None:
    """Train a tiny model on fictitious authors, unlearn half of them in three ways, evaluate, relearn, report.

    Args:
        folder: folder of models, logs, results and figures.
        seed: random seed of initial weights and order of examples.
        fast: do a fraction of the work, as a smoke test; the numbers then mean little. ``--fast`` alone means true.
    """
    size = {"authors": 2, "hidden_size": 64, "memorizing_epochs": 4, "unlearning_epochs": 2} if fast else {}
    story = Story(Path(folder), seed, progress=True, **size)  # type: ignore[arg-type]

    if fast:
        say("This is a smoke test of a few steps: everything runs, and the numbers mean little.")
    say("A target model learns all authors; a retain model never sees those that will be forgotten.")
    story.fine_tune("target", "full")
    story.fine_tune("retain", "retain")
    retain_results = str(story.folder / "retain" / "results.json")
    results = {"retain": story.evaluate("retain"), "target": story.evaluate("target", retain_results)}
    knows = "has hardly learned" if fast else "knows"
    say(
        f"The target model {knows} the forget answers: it gives them probability "
        f"{results['target'].metrics['forget_probability']:.3f}, the retain model "
        f"{results['retain'].metrics['forget_probability']:.3f}."
    )

    level = "of the forget answers before" if fast else "of answers that it never saw"
    say(
        "Unlearn with GradDiff (a weighted sum), with MOLLM (a gradient per objective, combined at every step), and "
        f"with MOLLM that has goals: half the probability {level}, and 90 % of what it retains."
    )
    target = str(story.path("target"))
    optimizer = partial(torch.optim.AdamW, lr=1e-3)  # the best of experiments/studies/min_norm for both
    story.unlearn("graddiff", GradDiff(target, forget_weight=0.1, optimizer=optimizer))
    story.unlearn("mollm", MOLLM(target, optimizer=optimizer))
    # A model that has learned little gives unseen answers no probability to speak of.
    goals = {"forget": AtMost(share=0.5) if fast else AtMost("holdout"), "retain": AtLeast(share=0.9)}
    swift = partial(torch.optim.AdamW, lr=1e-3, betas=(0.5, 0.999))
    with_goals = MOLLM(target, goals=goals, optimizer=swift)
    story.unlearn("mollm_goals", with_goals)
    results |= {name: story.evaluate(name, retain_results) for name in UNLEARNED}
    say(f"Where the goals have led: {with_goals.descent.goals.summary()}.")

    say("Attack every model: fine-tune it on a fifth of the forget answers, and ask for the others.")
    relearned = {name: story.relearn(name) for name in results}

    write_summary(story, results, relearned)
    print_table(story, results, relearned)
    print_next(story, write_report(story), fast)


def say(line: str) -> None:
    """Print one line of the story."""
    print(f"\n>> {line}", flush=True)


def write_summary(story: Story, results: Mapping[str, Results], relearned: Mapping[str, float]) -> None:
    """Write ``results.json`` of all models, and the two figures.

    Args:
        story: of the demo.
        results: name of a model to its evaluation.
        relearned: name of a model to the probability of the forget answers after relearning.
    """
    write_json(
        story.folder / "results.json",
        {
            name: {**result.metrics, RELEARNED: relearned[name], "seconds": story.seconds[name]}
            for name, result in results.items()
        },
    )
    shown = {name: compared(story, name, results[name].metrics, relearned[name]) for name in TITLES}
    plot_overview(
        shown["target"], [shown[name] for name in UNLEARNED], shown["retain"], story.folder / "forgetting.png"
    )
    plot_combination(shown["mollm_goals"].history or {}, story.folder / "combination.png")


def compared(story: Story, name: str, metrics: Mapping[str, float], relearned: float) -> Compared:
    """A model as the overview shows it."""
    forget, retain = metrics["forget_probability"], metrics["retain_probability"]
    values = {
        "to forget\n(low as black)": forget,
        "to forget,\nrelearned\n(low as black)": relearned,
        "to keep\n(high)": retain,
        "utility,\nall topics\n(high)": metrics["model_utility"],
    }
    history = read_history(story.folder / name / "logs" / "metrics.csv") if name in UNLEARNED else None
    return Compared(TITLES[name], values, forget, retain, history)


def write_report(story: Story) -> Path:
    """Write ``report.html``, the page of ``unlearn-pl report`` about the unlearned models."""
    data = report_data([story.folder / name for name in UNLEARNED], str(story.folder / "target"), resamples=RESAMPLES)
    return write_page(data, story.folder / "report.html", pictures=False)[0]


def print_table(story: Story, results: Mapping[str, Results], relearned: Mapping[str, float]) -> None:
    """Print one row per model.

    Args:
        story: of the demo.
        results: name of a model to its evaluation.
        relearned: name of a model to the probability of the forget answers after relearning.
    """
    from rich.console import Console
    from rich.table import Column, Table

    columns = *(column.replace("_", " ") for column in COLUMNS), "relearned", "seconds"
    table = Table(Column("model", no_wrap=True), *columns, pad_edge=False, collapse_padding=True)
    for name in TITLES:
        metrics = results[name].metrics
        values = [f"{metrics[column]:.3g}" if column in metrics else "-" for column in COLUMNS]
        table.add_row(TITLES[name], *values, f"{relearned[name]:.3g}", f"{story.seconds[name]:.0f}")
    Console().print(table)
    print(
        "forget probability: low is forgotten. forget quality: p-value of 'indistinguishable from the retain model', "
        "above 0.05 is good.\nforget truth ratio: near the retrained model's is good. model utility: high is good. "
        "relearned: forget probability after\nfine-tuning on a fifth of the forget answers, of the others; near the "
        "retrained model's is good."
    )


def print_next(story: Story, page: Path, fast: bool) -> None:
    """Print the files that were written, the next commands, and the page to look at.

    Args:
        story: of the demo.
        page: the report.
        fast: the models have learned too little to go on from.
    """
    first = "  unlearn-pl demo                            the same in full, and a model that knows what it forgets\n"
    print(
        f"\nWritten to {story.folder}: results.json, forgetting.png, combination.png, and the unlearned model in "
        f"{story.path('mollm_goals')}.\n"
        f"Next:\n{first if fast else ''}"
        "  unlearn-pl fit -c synthetic/mollm          the same from a YAML file\n"
        "  unlearn-pl fit -c tofu/mollm               TOFU on Llama-3.2-1B\n"
        "  unlearn-pl fit --model.help MOLLM          what can be changed\n"
        "  notebooks/01_quickstart.ipynb              of the repository: your own objective in ten lines\n"
        f"\nThe report, for a browser: {page}"
    )
