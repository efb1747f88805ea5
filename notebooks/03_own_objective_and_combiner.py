# %% [markdown]
# # An objective and a combiner of your own
#
# Research on unlearning changes one of two things: what is descended, or how several descents become one step. Here
# both are a few lines:
#
# 1. an objective, whose gradient is checked against finite differences,
# 2. a combiner, whose defining property is checked on thousands of random Gramians,
# 3. both in a run, beside the library's own combiners, and
# 4. both from YAML, by their import path.
#
# Nothing is registered anywhere, and every name that is imported is public.

# %%
import logging
import os
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import matplotlib.pyplot as plt
import pandas as pd
import torch
import yaml
from IPython import get_ipython
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.optim import AdamW

from unlearn_pl.callbacks import SavePretrained, TOFUEvaluation
from unlearn_pl.cli import main
from unlearn_pl.combiners import GramianCombiner, MinNorm, Scalarization
from unlearn_pl.data import SyntheticAuthorsDataModule
from unlearn_pl.functional import masked_mean, min_norm_weights
from unlearn_pl.models import tiny_llama
from unlearn_pl.modules import FineTuning, UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, KLDivergenceLoss, Objective
from unlearn_pl.references import FrozenReference
from unlearn_pl.report import read_history
from unlearn_pl.types import LanguageView

# UNLEARN_PL_FAST=1 runs every cell at a size at which the numbers mean nothing.
fast = os.environ.get("UNLEARN_PL_FAST") == "1"
folder = Path("runs/own")
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # no line per run about devices and settings

# %% [markdown]
# ## 1. An objective
#
# A loss of what one forward pass of one stream gives, always minimized. Position `t` of every field of the view belongs
# to label `t`, so nothing is shifted here. `masked_mean` averages over the scored tokens, and is exact over
# micro-batches and devices.
#
# This loss pushes the probability of a forgotten token down to a floor, and no further: many tokens of an answer ("is",
# "the", "in") are likely in any answer, and a model that gives them no probability is broken rather than forgetful.


# %%
class ExcessLoss(Objective):
    """Squared excess of the forget tokens' probability over a floor."""

    stream, role = "forget", "forget"

    def __init__(self, floor: float = 0.1) -> None:
        super().__init__()
        self.floor = floor

    def loss(self, view: LanguageView) -> Tensor:
        excess = (view.logps.exp() - self.floor).clamp(min=0)
        return masked_mean(excess.square(), view.mask)


# %% [markdown]
# A view can be made by hand, which is all that a test needs. `gradcheck` compares the gradient with respect to the
# logits with finite differences, in double precision. The second test is one that losses of one's own fail most often:
# a view without any scored token, as the last micro-batch may have, must give 0 with a gradient of 0, not NaN.


# %%
def loss_of(logits: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    logps = logits.log_softmax(dim=-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    return ExcessLoss().loss(LanguageView(labels, mask, logps, index=torch.arange(len(labels))))


torch.manual_seed(0)
logits = torch.randn(2, 5, 7, dtype=torch.float64, requires_grad=True)  # [B, T, V]
labels = torch.randint(7, (2, 5))
mask = torch.tensor([[True, True, True, False, False], [True, True, True, True, True]])
print("gradient agrees with finite differences:", torch.autograd.gradcheck(loss_of, (logits, labels, mask)))

unscored = loss_of(logits, labels, torch.zeros_like(mask))
(gradient,) = torch.autograd.grad(unscored, logits)
print(f"without scored tokens: loss {unscored.item()}, largest gradient {gradient.abs().max().item()}")

# %% [markdown]
# ## 2. A combiner
#
# A combiner never sees a parameter. It gets the Gramian of the gradients, here of unit gradients and therefore the
# matrix of their cosines, and returns a weight for each. The slope of objective k along the combined gradient is
# `(gramian @ weights)[k]`: the step descends the objective where it is positive.
#
# The rule here: take the plain mean, which is what one would do without conflict. Where that climbs an objective, go
# toward the min-norm point, which climbs none, until nothing climbs. Slopes are linear on the way between the two, so
# that the share of the way is a division.


# %%
class GuardedMean(GramianCombiner):
    """The mean of the unit gradients, moved toward the min-norm point until no objective climbs."""

    def weigh(self, gramian: Tensor, losses: Tensor) -> Tensor:
        mean, safe = torch.full_like(losses, 1 / len(losses)), min_norm_weights(gramian)
        climb, descent = gramian @ mean, gramian @ safe
        share = torch.where(climb < 0, climb / (climb - descent), 0.0).max()
        return torch.lerp(mean, safe, share)


# %% [markdown]
# Its property, on random gradients of two to five objectives: no slope is negative. The plain mean has no such
# property, and the last column says how often it climbs an objective. `setup` is what the module does before a run.

# %%
count = 100 if fast else 1000
rows = []
for size in (2, 3, 4, 5):
    names = [f"objective {k}" for k in range(size)]
    rule = GuardedMean()
    rule.setup(names, ["retain"] * size)
    worst, mean_climbs, generator = [], 0, torch.Generator().manual_seed(size)
    for _ in range(count):
        gradients = torch.randn(size, size + 1, generator=generator, dtype=torch.float64)  # [K, dimensions]
        gramian = gradients @ gradients.T
        slopes = gramian @ rule(gramian, torch.ones(size))
        worst.append((slopes / gramian.diagonal().sqrt()).min().item())
        unit = gradients / gradients.norm(dim=1, keepdim=True)
        mean_climbs += bool((unit @ unit.mean(dim=0)).min() < 0)
    assert min(worst) > -1e-9
    rows.append({"objectives": size, "lowest slope": min(worst), "the mean climbs one": f"{mean_climbs / count:.0%}"})
pd.DataFrame(rows).style.format({"lowest slope": "{:+.0e}"}).hide(axis="index")

# %% [markdown]
# What is left below 0 is rounding.
#
# ## 3. A run, beside MinNorm and the weighted sum
#
# A tiny model learns made-up authors. Then it forgets half of them by three objectives: our own loss, the divergence
# from the model before (`KLDivergenceLoss`), and the retain loss. The optimizer and the number of steps are the same in
# all runs; only the combiner differs.

# %%
authors = 1 if fast else 4
sizes = dict.fromkeys(("forget_authors", "retain_authors", "holdout_authors"), authors)
batches = {"batch_size": 20, "micro_batch_size": 20, "eval_batch_size": 64}
tokenizer = SyntheticAuthorsDataModule(**sizes).tokenizer


def trainer(name, epochs, *callbacks, **options):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    logger = CSVLogger(folder / name, name="", version="logs")
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=logger,
        log_every_n_steps=1,
        callbacks=list(callbacks),
        **(quiet | options),
    )


pl.seed_everything(0, verbose=False)
learner = FineTuning(tiny_llama(len(tokenizer), hidden_size=16 if fast else 64), optimizer=partial(AdamW, lr=5e-3))
everything = SyntheticAuthorsDataModule(tokenizer, streams=["train"], **sizes, **batches)
epochs = 1 if fast else 25
trainer("target", epochs, SavePretrained(str(folder / "target" / "hf")), limit_val_batches=0).fit(learner, everything)

# %%
combiners = {"GuardedMean (ours)": GuardedMean(), "MinNorm": MinNorm(), "weighted sum": Scalarization()}
histories = {}
for name, combiner in combiners.items():
    pl.seed_everything(0, verbose=False)
    objectives = {"forget": ExcessLoss(), "normal": KLDivergenceLoss(), "retain": CausalLMLoss()}
    module = UnlearningModule(
        str(folder / "target" / "hf"),
        objectives,
        combiner,
        FrozenReference(),
        optimizer=partial(AdamW, lr=1e-3),
    )
    data = SyntheticAuthorsDataModule(tokenizer, **sizes, **batches, max_eval_examples=40)
    trainer(name, 2 if fast else 20, TOFUEvaluation()).fit(module, data)
    histories[name] = read_history(folder / name / "logs" / "metrics.csv")

# %% [markdown]
# The upper line of each panel is the probability of the answers to keep, the lower one that of the answers to forget.
# The first point is after the first epoch.

# %%
colors = {"retain": "#0072B2", "forget": "#D55E00"}
figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), sharey=True, layout="constrained")
for axis, (name, history) in zip(axes, histories.items(), strict=True):
    for role, color in colors.items():
        axis.plot(*zip(*history[f"val/tofu/{role}_probability"], strict=True), color=color, label=f"{role} answers")
    axis.set(title=name, xlabel="optimizer step", ylim=(0, 1))
    axis.grid(alpha=0.3)
axes[0].set_ylabel("probability of the answer")
axes[0].legend(loc="lower right")
plt.show()

# %%
measured = ("forget_probability", "retain_probability", "world_facts_probability")
last = {name: {key: history[f"val/tofu/{key}"][-1][1] for key in measured} for name, history in histories.items()}
lowest = {name: min(v for _, v in history["val/tofu/retain_probability"]) for name, history in histories.items()}
pd.DataFrame(last).T.assign(lowest_retain_probability=lowest).style.format("{:.3f}")

# %% [markdown]
# The first two columns are the last points of the lines, and the last one is the lowest point of the upper line. World
# facts were learned as well, but no objective rehearses them: they show the damage to what was not asked for.
#
# Read it with care. It is one seed of one tiny model at one learning rate, and the rules also differ in the length of
# their steps. A guarantee on slopes is one on *this* batch and to first order; it does not say where a run ends.
# [experiments/README.md](../experiments/README.md) has comparisons over seeds and rates, and in them no combiner beats
# the best fixed weights beyond the noise.
#
# ## 4. From YAML
#
# For the command line, classes have to be in a file that Python can import. Here the two cells above become
# `own_rules.py`; you would write them there in the first place. The configuration names the classes, and their
# arguments are checked like those of the library's own.

# %%
header = """
import torch
from torch import Tensor

from unlearn_pl.combiners import GramianCombiner
from unlearn_pl.functional import masked_mean, min_norm_weights
from unlearn_pl.objectives import Objective
from unlearn_pl.types import LanguageView
"""
cells = get_ipython().user_ns["In"]  # the source of every cell that was run
classes = [next(cell for cell in reversed(cells) if cell.startswith(f"class {name}(")) for name in
           ("ExcessLoss", "GuardedMean")]  # fmt: skip
Path("own_rules.py").write_text("\n\n\n".join([header.strip(), *(text.strip() for text in classes)]) + "\n")

optimizer = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-3}}
config = {
    "seed_everything": 0,
    "trainer": {
        "accelerator": "cpu",
        "max_epochs": 1,
        "limit_val_batches": 0,
        "default_root_dir": str(folder / "yaml"),
        "enable_progress_bar": False,
    },
    "model": {
        "class_path": "UnlearningModule",
        "init_args": {
            "model": str(folder / "target" / "hf"),
            "objectives": {
                "forget": {"class_path": "own_rules.ExcessLoss", "init_args": {"floor": 0.05}},
                "normal": {"class_path": "KLDivergenceLoss"},
                "retain": {"class_path": "CausalLMLoss"},
            },
            "combiner": {"class_path": "own_rules.GuardedMean"},
            "reference": {"class_path": "FrozenReference"},
            "optimizer": optimizer,
        },
    },
    "data": {
        "class_path": "SyntheticAuthorsDataModule",
        "init_args": {"tokenizer": str(folder / "target" / "hf"), **sizes, **batches},
    },
}
Path("own.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
main(["fit", "-c", "own.yaml"])  # in a terminal: unlearn-pl fit -c own.yaml
print(yaml.safe_dump({"combiner": config["model"]["init_args"]["combiner"],
                      "objectives": config["model"]["init_args"]["objectives"]}, sort_keys=False))  # fmt: skip

# %% [markdown]
# Next: [docs/objectives.md](../docs/objectives.md) lists what an objective may declare, and
# [CONTRIBUTING.md](../CONTRIBUTING.md#add-a-combiner) what a combiner may, such as a state of its own.
