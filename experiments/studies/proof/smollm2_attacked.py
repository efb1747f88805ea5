"""What attackers get out of the models of `experiments.studies.proof.smollm2`, with the table and the picture of both.

    python -m experiments.studies.proof.smollm2_attacked --tofu path/to/tofu --folder runs/smollm2_goals

Every attack on every model is a line of `attacked.jsonl`; what is there already is not run again.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from jsonargparse import auto_cli

from experiments.studies.proof.smollm2 import RUNS, SCORES, forget_data, values, weights
from experiments.studies.proof.table import bars, cell
from unlearn_pl.commands.story import quiet
from unlearn_pl.data import TOFUDataModule
from unlearn_pl.robustness import (
    Attack,
    IntegerRounding,
    LinearProbe,
    LogitLens,
    Quantization,
    RandomFraction,
    RelearningSweep,
    Subject,
)

ATTACKS: Mapping[str, Attack] = {
    "relearned": RelearningSweep(
        [RandomFraction(0.2)], learning_rates=[1e-4, 3e-4], steps=6, evaluate_every=3, batch_size=4
    ),
    "lens": LogitLens(layers=range(5, 31, 5)),
    "4 bits": Quantization(IntegerRounding(bits=4, group_size=32)),
    "probe": LinearProbe(layers=range(5, 31, 5)),
}
PROBED = "forget_probe_accuracy"
COLUMNS = dict.fromkeys(ATTACKS, "forget_probability") | {"probe": PROBED}
BARS = ("P(forget)", "4 bits", "lens", "relearned")
"""Columns of the picture."""


def study(
    tofu: str = "tofu",
    folder: str = "runs/smollm2_goals",
    output: str = "runs/proof_smollm2",
    questions: int = 10,
    runs: Sequence[str] = RUNS,
    attacks: Sequence[str] = tuple(ATTACKS),
    figure: str = "experiments/figures/proof_smollm2.png",
    table_only: bool = False,
) -> None:
    """Attack what was not attacked yet, attack by attack; then print the table and draw the picture.

    Args:
        tofu: folder with TOFU's files.
        folder: of the models that are there.
        output: of the models that were trained, and of the results.
        questions: rows per split that are scored.
        runs: methods, or folders of models, in the order of the table.
        attacks: titles of the attacks.
        figure: PNG file to write.
        table_only: attack nothing.
    """
    place = Path(output)
    path = place / "attacked.jsonl"
    for attack in () if table_only else attacks:
        for run in runs:
            if (run, attack) not in found_in(path):
                data = forget_data(Path(folder), tofu, questions, ["forget", "retain"])
                row = attacked(weights(Path(folder), place, run), data, attack)
                with path.open("a") as file:
                    file.write(json.dumps({"run": run, "attack": attack, **row}) + "\n")
                print(json.dumps({"run": run, "attack": attack}), flush=True)
    table = {run: columns(place, run, found_in(path)) for run in runs}
    print_table(table)
    bars({run.partition(",")[0]: row for run, row in table.items()}, BARS, "probability of the forget answers", figure)


def attacked(model: str, data: TOFUDataModule, attack: str) -> dict[str, object]:
    """The figures of an attack on a model, and those of every question."""
    subject = Subject(model, data, accelerator="cpu", precision="bf16-mixed", max_new_tokens=4)  # which are not read
    with quiet():
        found = ATTACKS[attack].run(subject)
    rows = list(found.rows[COLUMNS[attack]])
    return {"before": dict(found.before), "after": dict(found.after), "questions": rows}


def found_in(path: Path) -> dict[tuple[str, str], dict[str, object]]:
    """Model and attack to the figures."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {(row["run"], row["attack"]): row for row in map(json.loads, lines)}


def columns(place: Path, run: str, found: Mapping[tuple[str, str], dict[str, object]]) -> dict[str, list[float]]:
    """Title of a column to the values of its questions; empty for what was not measured."""
    table = {title: values(place / run, title) for title in SCORES}
    for attack in ATTACKS:
        row = found.get((run, attack), {})
        table[attack] = list(row.get("questions", []))  # type: ignore[call-overload]
        if attack == "relearned" and row:
            table["fixed"] = [row["after"]["forget_probability_fixed_within"]]  # type: ignore[index]
    return table


def print_table(table: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    """Means over the questions with their intervals."""
    titles = list(dict.fromkeys(title for row in table.values() for title in row))
    print("| model | " + " | ".join(titles) + " |\n|---|" + "---|" * len(titles))
    for run, row in table.items():
        print(f"| {run} | " + " | ".join(cell(row.get(title, [])) for title in titles) + " |")


if __name__ == "__main__":
    auto_cli(study, as_positional=False)
