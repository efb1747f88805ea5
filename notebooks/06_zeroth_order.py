# %% [markdown]
# # Unlearning without backpropagation
#
# A gradient can be estimated from losses alone: move the weights a little along a random direction, forward and back,
# and see what becomes of the loss. That needs no backward pass, the memory of inference and a copy of the trained
# weights. It is for models that cannot be differentiated, and it has a price, which this notebook measures:
#
# 1. what one estimate costs,
# 2. how well it points along the true gradient, and
# 3. a run on forward passes alone beside one with backpropagation.

# %%
import logging
import os
from copy import deepcopy
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import matplotlib.pyplot as plt
import pandas as pd
import torch
from lightning.pytorch.loggers import CSVLogger
from torch.optim import SGD, AdamW

from unlearn_pl.combiners import Scalarization
from unlearn_pl.data import SyntheticAuthorsDataModule
from unlearn_pl.engine import Descent, LocalRuntime
from unlearn_pl.goals import AtLeast, AtMost
from unlearn_pl.gradients import FirstOrder, ZerothOrder
from unlearn_pl.masks import ElementMask
from unlearn_pl.models import tiny_llama
from unlearn_pl.modules import MOLLM, FineTuning
from unlearn_pl.objectives import UnlearningCrossEntropyLoss
from unlearn_pl.optim import Constant
from unlearn_pl.report import read_history

# UNLEARN_PL_FAST=1 runs every cell at a size at which the numbers mean nothing.
fast = os.environ.get("UNLEARN_PL_FAST") == "1"
folder = Path("runs/zeroth_order")
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # no line per run about devices and settings

# %% [markdown]
# A tiny model learns four made-up authors. One of them, ten questions, is to be forgotten.

# %%
sizes = {"forget_authors": 1, "retain_authors": 3, "holdout_authors": 1, "general_facts": 4}
batches = {"batch_size": 10, "micro_batch_size": 10, "splits": []}
tokenizer = SyntheticAuthorsDataModule(**sizes).tokenizer


def trainer(name, epochs):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    logger = CSVLogger(folder / name, name="", version="logs")
    every = {"log_every_n_steps": 1, "limit_val_batches": 0}
    return pl.Trainer(accelerator="cpu", max_epochs=epochs, logger=logger, **every, **quiet)


pl.seed_everything(0, verbose=False)
target = tiny_llama(len(tokenizer), hidden_size=16 if fast else 64)
learner = FineTuning(target, optimizer=partial(AdamW, lr=5e-3))
everything = SyntheticAuthorsDataModule(tokenizer, streams=["train"], **sizes, **batches)
trainer("target", 1 if fast else 30).fit(learner, everything)
target = target.eval()

# %% [markdown]
# ## 1. One estimate, and what it costs
#
# `Descent` takes one step of the engine without a Trainer, and leaves the gradient in `.grad`. The gradient is that of
# the forget loss, on all ten questions. Hooks count how often the model runs forward and backward.

# %%
data = SyntheticAuthorsDataModule(tokenizer, streams=["forget"], **sizes, **batches)
data.setup("fit")
window, _, _ = next(iter(data.train_dataloader()))


def gradient(source, parameters):
    """The gradient ``[d]`` that ``source`` gives, and the forward and backward passes that it took."""
    counts = {"forward": 0, "backward": 0}
    objectives = {"forget": UnlearningCrossEntropyLoss()}
    runtime = LocalRuntime(target, SGD(parameters, lr=0.0), objectives)

    def count(kind):
        counts[kind] += 1

    hooks = [
        target.register_forward_hook(lambda *_: count("forward")),
        target.model.norm.register_full_backward_hook(lambda *_: count("backward")),
    ]
    Descent(objectives, Scalarization(), gradient=source).step(window, runtime)
    for hook in hooks:
        hook.remove()
    flat = torch.cat([p.grad.flatten() for p in parameters])
    for p in target.parameters():
        p.grad = None
    return flat.double(), counts


chosen = {
    "all weights": list(target.parameters()),
    "one matrix": [target.model.layers[0].mlp.down_proj.weight],
    "the norms": [p for name, p in target.named_parameters() if "norm" in name],
}
numbers = [4, 16] if fast else [4, 16, 64, 256]
rows = []
for name, parameters in chosen.items():
    exact, cost = gradient(FirstOrder(), parameters)
    size = len(exact)
    rows.append({"weights": name, "d": size, "source": "backpropagation", "Q": 0, "cosine": 1.0, **cost})
    for number in numbers:
        estimate, cost = gradient(ZerothOrder(queries=number), parameters)
        cosine = torch.nn.functional.cosine_similarity(estimate, exact, dim=0).item()
        longer = (estimate.norm() / exact.norm()).item()
        rows.append({"weights": name, "d": size, "source": "random directions", "Q": number, "cosine": cosine,
                     "times as long": longer, **cost})  # fmt: skip
table = pd.DataFrame(rows)
table.style.format({"cosine": "{:.3f}", "times as long": "{:.1f}", "d": "{:,}"}, na_rep="").hide(axis="index")

# %% [markdown]
# Q directions take 2 Q + 1 forward passes: there and back along each, and one for the value of the loss.
#
# ## 2. Where it points

# %%
colors = ("#0072B2", "#D55E00", "#009E73")
figure, axis = plt.subplots(figsize=(6.4, 4), layout="constrained")
for (name, of_set), color in zip(table[table.Q > 0].groupby("weights", sort=False), colors, strict=True):
    size = of_set.d.iloc[0]
    axis.plot(of_set.Q, of_set.cosine.abs(), "o", color=color, label=f"{name}, d = {size:,}")
    axis.plot(numbers, [(q / (q + size + 1)) ** 0.5 for q in numbers], color=color, lw=1)
axis.set(xscale="log", yscale="log", xlabel="random directions Q", ylabel="cosine with the true gradient")
axis.set_xticks(numbers, [str(q) for q in numbers])
axis.minorticks_off()
axis.grid(alpha=0.3)
axis.legend(title="points measured, lines sqrt(Q / (Q + d + 1))", fontsize="small")
plt.show()

# %% [markdown]
# The points follow the lines, up to the luck of the draw where Q is small: what counts is the number of directions in
# relation to the number of trained weights. While Q is far below d, four times as many directions double the cosine,
# for four times the price. On all weights of a model, any number of directions that one would pay for gives a gradient
# that is almost at right angles to the true one. On few weights, it is a usable direction.
#
# The column "times as long" has the other side of it: what is not along the gradient is noise, and makes the estimate
# longer than the gradient. Therefore the gradient is clipped below, and the optimizer is plain SGD, because Adam would
# divide each element by its noise.
#
# ## 3. A run
#
# So few weights are trained: the 1,000 with the largest `|weight x gradient|` of the forget loss. To choose them takes
# one backward pass, which a model without backpropagation does not have; there, adapters in few layers take their
# place. Both runs have MOLLM's objectives, the same rate and the same goals: a forget probability of at most 0.1, and
# 90 % of the retain probability.
#
# `passes` counts forward passes over a batch, and a backward pass as two.

# %%
exact, _ = gradient(FirstOrder(), list(target.parameters()))
scores = (torch.cat([p.detach().flatten() for p in target.parameters()]) * exact).abs()
bound = scores.topk(100 if fast else 1000).values[-1]
parts = (scores >= bound).split([p.numel() for p in target.parameters()])
marks = {name: part.view(p.shape) for (name, p), part in zip(target.named_parameters(), parts, strict=True)}


class Counted(MOLLM):
    """MOLLM that counts passes."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.passes, self.passes_by_step = 0, []

    def view(self, stream, batch):
        self.passes += 1
        return super().view(stream, batch)

    def manual_backward(self, loss, *args, **options):
        self.passes += 2
        super().manual_backward(loss, *args, **options)

    def on_train_batch_end(self, *args):
        super().on_train_batch_end(*args)
        self.passes_by_step.append(self.passes)


sources = {"backpropagation": FirstOrder(), "16 random directions": ZerothOrder(queries=4 if fast else 16)}
runs = {}
for name, source in sources.items():
    pl.seed_everything(0, verbose=False)
    module = Counted(
        deepcopy(target),
        gradient=source,
        mask=ElementMask(marks),
        goals={"forget": AtMost(0.1), "retain": AtLeast(share=0.9)},
        optimizer=partial(SGD, lr=1.5),
        schedule=Constant(),
        gradient_clip_val=1.0,
    )
    # The forget set is one batch, so that an epoch is a step.
    unlearning = SyntheticAuthorsDataModule(tokenizer, **sizes, **batches)
    trainer(name, 2 if fast else 50).fit(module, unlearning)
    runs[name] = (module, read_history(folder / name / "logs" / "metrics.csv"))

# %%
figure, axes = plt.subplots(1, 2, figsize=(10.5, 3.8), sharey=True, layout="constrained")
for (name, (module, history)), color in zip(runs.items(), colors, strict=False):
    for role, style in (("forget", "-"), ("retain", "--")):
        steps, values = zip(*history[f"train/progress/{role}"], strict=True)
        label = f"{role}, {name}"
        axes[0].plot(steps, values, style, color=color, label=label)
        axes[1].plot([module.passes_by_step[step - 1] for step in steps], values, style, color=color, label=label)
axes[0].set(xlabel="optimizer step", ylabel="probability of the answers", ylim=(0, 1))
axes[1].set(xlabel="passes over a batch", xscale="log")
for axis in axes:
    axis.axhline(0.1, color="black", lw=0.8, ls=":")
    axis.grid(alpha=0.3)
axes[1].legend(fontsize="small", loc="center left", bbox_to_anchor=(1.01, 0.5))
plt.show()

# %%
rows = []
for name, (module, history) in runs.items():
    ends = {role: history[f"train/progress/{role}"] for role in ("forget", "retain")}
    first = next((step for step, value in ends["forget"] if value <= 0.1), None)
    passes = None if first is None else module.passes_by_step[first - 1]
    last = {f"{role}, last": values[-1][1] for role, values in ends.items()}
    rows.append({"run": name, "steps to 0.1": first, "passes to 0.1": passes, **last})
pd.DataFrame(rows).style.format(precision=3, na_rep="not reached").hide(axis="index")

# %% [markdown]
# On the left the two runs are compared as an optimizer sees them, on the right as the bill does; the dotted line is the
# goal. Per step, forgetting is about as fast, since a thousand weights are few. But the noise of the estimate moves the
# weights as well, and the answers to keep suffer more. Per pass, it costs many times as much.
#
# Limits of this picture: the probabilities are those of each step's batch (all ten forget questions, ten of the thirty
# others), it is one seed, the rate suits random directions and first order could take a higher one, and nothing here
# says how it looks in a model of a real size. [docs/zeroth_order.md](../docs/zeroth_order.md) says when to use it, and
# [experiments/README.md](../experiments/README.md#forward-passes-alone) has the study with several seeds, in which
# relearning was tried as well.
