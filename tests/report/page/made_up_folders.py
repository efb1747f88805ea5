"""Folders of invented runs, with everything that a report reads."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import yaml

from tests.report import made_up_runs
from unlearn_pl.results import Results, write_results
from unlearn_pl.robustness import Outcome, write_outcomes

EVIL = '<script>alert("x")</script><img src=x onerror=alert(1)>'
SECRET = "Halwen Farrowby was born in New Carrick"
STEPS = 12


def evaluated(seed: int, **changes: object) -> Results:
    """Made-up results whose forget answers 0 and 3 are given word for word."""
    run = made_up_runs.results(seed)
    exact = {i: 1.0 if i in (0, 3) else 0.5 for i in run.per_example["forget"]["rouge"]}
    scores = {**run.per_example, "forget": {**run.per_example["forget"], "exact_memorization": exact}}
    metrics = {**run.metrics, "forget_exact_memorization": sum(exact.values()) / len(exact)}
    return replace(run, per_example=scores, metrics=metrics, weights_fingerprint=f"{seed:064x}", **changes)


def made_up_run(folder: Path, seed: int, retain: Path | None = None, start: Path | None = None) -> Path:
    """Write a run with results, log, predictions, configuration and an attack; returns its folder."""
    folder.mkdir(parents=True)
    run = evaluated(seed)
    path = None if retain is None else str(retain / "results.json")
    metrics = run.metrics if path else {k: v for k, v in run.metrics.items() if "quality" not in k}
    config = {**run.config, "evaluation": made_up_runs.evaluation(path)}
    write_results(folder / "results.json", replace(run, config=config, metrics=metrics))
    write_log(folder / "logs" / "version_0" / "metrics.csv")
    write_predictions(folder, run)
    goals = {"forget": {"class_path": "unlearn_pl.goals.AtMost", "init_args": {"level": 0.3}}}
    arguments = {"model": str(start / "hf") if start else "model", "goals": goals, "note": f"told {SECRET}"}
    model = {"class_path": "unlearn_pl.modules.MOLLM", "init_args": arguments}
    (folder / "config_fit.yaml").write_text(yaml.safe_dump({"model": model}))
    outcome = Outcome(
        *("FewShotPrompts", "audited", "hf", {}, {"forget_probability": 0.25}),
        curve={"step": [0, 5], "forget_probability": [0.1, 0.4]},
        seed=0,
        config={"attack": {"init_args": {"prompt": SECRET}}},
        config_hash="0" * 64,
        weights_fingerprint=run.weights_fingerprint,
        seconds=1.5,
    )
    write_outcomes(folder / "attacks.json", [outcome])
    return folder


def write_log(path: Path, first: int = 1) -> None:
    """A log of two objectives that fight in every other step."""
    path.parent.mkdir(parents=True)
    names = ("forget", "retain")
    keys = [f"train/{key}/{name}" for key in ("loss", "progress", "weight", "grad_norm") for name in names]
    validation = [f"val/tofu/{name}_probability" for name in names]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", "train/cosine/forget-retain", *keys, *validation])
        writer.writeheader()
        for step in range(first, first + STEPS):
            row = dict.fromkeys(keys, 1 / step)
            writer.writerow({"step": step, "train/cosine/forget-retain": (-1) ** step * 0.5, **row})
            if step % 4 == 0:
                writer.writerow({"step": step, **dict.fromkeys(validation, 1 / step)})


def write_predictions(folder: Path, run: Results) -> None:
    """Answers to all questions; HTML and the secret are among those of the forget set, and the secret elsewhere."""
    lines = []
    for split, table in run.per_example.items():
        for index in table["rouge"]:
            answer = SECRET if split == "forget" else f"As they say, {SECRET}." if index == 0 else f"fact {index}"
            given = EVIL if index == 0 else f"guess {index}"
            lines.append({"split": split, "index": index, "question": f"Q {split} {index}?", "answer": answer})
            lines[-1]["prediction"] = given
    (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def made_up_family(root: Path) -> Path:
    """A run with the models before it and without the forget set, all found by themselves; returns the run."""
    retain = made_up_run(root / "retain", 9)
    before = made_up_run(root / "target", 2, retain)
    return made_up_run(root / f"run {EVIL[:8]}", 1, retain, before)
