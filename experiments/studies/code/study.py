"""Does what a code model has forgotten come back in another spelling, and does training on views prevent it?

A tiny model that writes the secrets of 24 made-up functions in any view forgets ten of them: on the functions as they
are, on random views, or on the view that leaks most, chosen anew every 1, 5 or 10 epochs. Every arm stops at the same
probability of the secrets in the functions as they are, so that arms differ in what views still reveal.

    python -m experiments.studies.code.study                    # everything, 3 seeds: a few minutes
    python -m experiments.studies.code.study --table_only true  # the table of earlier runs

Every run is kept in `code.jsonl`; what is there already is not run again.
"""

import json
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import mean

import lightning.pytorch as pl
import torch
from jsonargparse import auto_cli
from torch import Tensor, nn

from unlearn_pl.combiners import Combiner, MinNorm, Scalarization
from unlearn_pl.commands.story import quiet
from unlearn_pl.data import EvaluationRow, SyntheticFunctionsDataModule
from unlearn_pl.data.sampling import stable_hash
from unlearn_pl.models import tiny_llama
from unlearn_pl.modules import FineTuning, UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, ContrastiveLoss, Objective, UnlearningCrossEntropyLoss
from unlearn_pl.optim import Constant

VIEWS, LEVELS = 16, (0.1, 0.01)
"""Views per function in the evaluation; probabilities of the clean secrets at which arms are compared."""

RATE, MEMORIZING_RATE, EPOCHS = 3e-4, 3e-3, 120
FIRST_SEED = 30
"""Earlier seeds served for writing the study."""


class Functions(SyntheticFunctionsDataModule):
    """The functions, fine-tuned on in random views."""

    def __init__(self, tokenizer: object, seed: int, **options: object) -> None:
        sizes = {"batch_size": 10, "micro_batch_size": 10, "splits": []}
        super().__init__(tokenizer, facts_seed=seed, seed=seed, **{**sizes, **options})  # type: ignore[arg-type]


def forgetting(views: str | None) -> dict[str, Objective]:
    """UCE on the functions, and on a stream of views if one is named, beside the retain loss."""
    objectives: dict[str, Objective] = {"forget": UnlearningCrossEntropyLoss(), "retain": CausalLMLoss()}
    if views is not None:
        objectives["views"] = UnlearningCrossEntropyLoss(stream=views)
    return objectives


Arm = tuple[Callable[[], dict[str, Objective]], Callable[[], Combiner], dict[str, int]]
ADVERSARIAL = "forget.adversarial"
ARMS: dict[str, Arm] = {
    "clean functions": (partial(forgetting, None), Scalarization, {}),
    "random views": (partial(forgetting, "forget.view"), Scalarization, {}),
    **{
        f"worst of 8 views, period {period}": (partial(forgetting, ADVERSARIAL), Scalarization, {"period": period})
        for period in (1, 5, 10)
    },
    "worst of 32 views, period 1": (partial(forgetting, ADVERSARIAL), Scalarization, {"period": 1, "candidates": 32}),
    "clean functions, min-norm": (partial(forgetting, None), MinNorm, {}),
    "random views, min-norm": (partial(forgetting, "forget.view"), MinNorm, {}),
    "worst of 8 views, period 1, min-norm": (partial(forgetting, ADVERSARIAL), MinNorm, {"period": 1}),
    "worst of 8 views, period 5, contrast": (
        lambda: {**forgetting(ADVERSARIAL), "contrast": ContrastiveLoss(2)},
        partial(Scalarization, {"contrast": 0.1}),
        {"period": 5},
    ),
}


class Leakage(pl.Callback):
    """After every epoch: probabilities of the secrets in the functions and in views of them; stops at the last level.

    Attributes:
        course: what was measured, after every epoch.
    """

    def __init__(self, viewed: "Viewed") -> None:
        self.viewed = viewed
        self.course: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure."""
        model = pl_module.model
        assert isinstance(model, nn.Module)
        self.course.append(self.viewed.leakage(model))
        trainer.should_stop = self.course[-1]["clean"] <= min(LEVELS)

    def at(self, level: float) -> dict[str, float] | None:
        """What was measured where the clean probability is ``level``, between two epochs, on a logarithmic scale."""
        for number, (before, after) in enumerate(pairwise(self.course), start=1):
            if after["clean"] <= level < before["clean"]:
                share = math.log(before["clean"] / level) / math.log(before["clean"] / after["clean"])
                between = {name: before[name] ** (1 - share) * after[name] ** share for name in after}
                return between | {"epochs": number + share}
        return None


class Viewed:
    """Views of the forget functions that no training draws."""

    def __init__(self, data: Functions, seed: int) -> None:
        self.data = data
        rows = data.code_rows("forget")
        rngs = [random.Random(stable_hash("study", seed, index)) for index in range(len(rows))]
        self.views = [data.views.several(row, VIEWS, rng) for row, rng in zip(rows, rngs, strict=True)]

    def leakage(self, model: nn.Module) -> dict[str, float]:
        """Probabilities of the secrets: clean, and the mean and the largest over the views of each; retained ones."""
        of_views = [probabilities(model, self.data, views) for views in self.views]
        return {
            "clean": mean(probabilities(model, self.data, self.data.code_rows("forget"))),
            "mean": mean(map(mean, of_views)),
            "worst": mean(map(max, of_views)),
            "retain": mean(probabilities(model, self.data, self.data.code_rows("retain"))),
        }


@torch.no_grad()
def probabilities(model: nn.Module, data: Functions, rows: Sequence[EvaluationRow]) -> list[float]:
    """Probability of every row's answer, the geometric mean over its tokens."""
    encoder = data._encoder
    batch = data.collate([row.examples(encoder, "a row")[0] for row in rows])
    training = model.training
    model.eval()
    logps: Tensor = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1].log_softmax(-1)
    model.train(training)
    labels = batch["labels"][:, 1:]
    scored = logps.gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1) * (labels >= 0)
    return (scored.sum(-1) / (labels >= 0).sum(-1)).exp().tolist()


def memorized(data: Functions, seed: int, path: Path) -> nn.Module:
    """The model that writes every secret, in any view."""
    model = tiny_llama(len(data.tokenizer), seed=seed)
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
        return model
    optimizer = partial(torch.optim.AdamW, lr=MEMORIZING_RATE)
    objectives = {"forget": CausalLMLoss(stream="forget.view"), "retain": CausalLMLoss(stream="retain.view")}
    module = UnlearningModule(model, objectives, Scalarization(), optimizer=optimizer, schedule=Constant())
    run(module, data, EPOCHS, [])
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), path)
    return model


def run(module: UnlearningModule | FineTuning, data: Functions, epochs: int, callbacks: list[pl.Callback]) -> None:
    """One quiet training."""
    with quiet():
        trainer = pl.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            callbacks=callbacks,
        )
        trainer.fit(module, data)


def study(folder: str = "runs/code_study", seeds: int = 3, names: str = "", table_only: bool = False) -> None:
    """Run what is missing, then print the table.

    Args:
        folder: where models and trials are kept.
        seeds: number of seeds, from 30 on.
        names: of the arms, separated by semicolons; all by default.
        table_only: run nothing.
    """
    path = Path(folder) / "code.jsonl"
    trials = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(trial["arm"], trial["seed"]) for trial in trials}
    for seed in range(FIRST_SEED, FIRST_SEED if table_only else FIRST_SEED + seeds):
        plain = Functions(None, seed)
        viewed = Viewed(plain, seed)
        for arm in ("target", *(names.split(";") if names else ARMS)):
            if (arm, seed) not in done:
                start = time.process_time()
                pl.seed_everything(seed, verbose=False)
                model = memorized(Functions(plain.tokenizer, seed), seed, Path(folder) / f"target{seed}.pt")
                if arm == "target":
                    trial: Mapping[str, object] = {"start": viewed.leakage(model)}
                else:
                    trial = unlearned(arm, model, plain, viewed, seed)
                trials.append({"arm": arm, "seed": seed, "seconds": time.process_time() - start, **trial})
                with path.open("a") as file:
                    file.write(json.dumps(trials[-1]) + "\n")
    print_table(trials)


def unlearned(arm: str, model: nn.Module, plain: Functions, viewed: Viewed, seed: int) -> dict[str, object]:
    """What an arm leaves at every level, and how many forward passes its choices took."""
    objectives, combiner, options = ARMS[arm]
    data = Functions(plain.tokenizer, seed, **options)
    optimizer = partial(torch.optim.AdamW, lr=RATE)
    module = UnlearningModule(deepcopy(model), objectives(), combiner(), optimizer=optimizer, schedule=Constant())
    leakage = Leakage(viewed)
    run(module, data, EPOCHS, [leakage])
    found = {str(level): leakage.at(level) for level in LEVELS}
    for at_level in (at_level for at_level in found.values() if at_level is not None):
        adversarial = any(ADVERSARIAL in objective.streams for objective in module.objectives.values())
        rounds = math.ceil(at_level["epochs"] / data.period) if adversarial else 0
        at_level["scored"] = rounds * data.candidates * len(plain.code_rows("forget"))
    return {"levels": found}


def print_table(trials: list[dict]) -> None:
    """Means over the seeds, with the extremes of the worst view."""
    for trial in (trial for trial in trials if trial["arm"] == "target"):
        print(f"seed {trial['seed']}, target: " + ", ".join(f"{k} {v:.3f}" for k, v in trial["start"].items()))
    for level in map(str, LEVELS):
        print(
            f"\n| trained on, at a clean probability of {level} | seeds | mean view | worst of {VIEWS} | retain |"
            " epochs | views scored |"
        )
        print("|---|---|---|---|---|---|---|")
        for arm in ARMS:
            runs = [t["levels"][level] for t in trials if t["arm"] == arm and t["levels"][level]]
            if runs:
                print(f"| {arm} | {len(runs)} | " + " | ".join(cells(runs)) + " |")
    print(f"\n{sum(trial['seconds'] for trial in trials):.0f} s of processor time")


def cells(runs: list[dict]) -> list[str]:
    """Means of the figures."""
    worst = [run["worst"] for run in runs]
    shown = [f"{mean(run['mean'] for run in runs):.4f}"]
    shown.append(f"{mean(worst):.4f} [{min(worst):.4f}, {max(worst):.4f}]")
    shown.append(f"{mean(run['retain'] for run in runs):.3f}")
    return [*shown, f"{mean(run['epochs'] for run in runs):.1f}", f"{mean(run['scored'] for run in runs):.0f}"]


if __name__ == "__main__":
    auto_cli(study, as_positional=False)
