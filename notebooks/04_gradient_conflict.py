# %% [markdown]
# # Gradient conflict in pictures
#
# Forgetting and keeping pull the weights in different directions. What that means, and what combiners make of it, can
# be drawn in two dimensions. The second half looks at the same quantities in the run of a model.
#
# 1. The cone of common descent directions, and the Gramian
# 2. What four rules choose
# 3. Where they lead
# 4. A model: cosines, shares, and what the steps really did
# 5. The min-norm point of three gradients with 200,000 elements each, drawn exactly

# %%
import logging
import os
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.loggers import CSVLogger
from matplotlib.patches import Wedge
from torch.optim import AdamW

from unlearn_pl.callbacks import ConflictMonitor, SavePretrained
from unlearn_pl.combiners import MinNorm, Scalarization, TorchJD, UPGrad
from unlearn_pl.data import SyntheticAuthorsDataModule
from unlearn_pl.functional import min_norm_weights
from unlearn_pl.models import tiny_llama
from unlearn_pl.modules import MOLLM, FineTuning
from unlearn_pl.report import read_history

# UNLEARN_PL_FAST=1 runs every cell at a size at which the numbers mean nothing.
fast = os.environ.get("UNLEARN_PL_FAST") == "1"
folder = Path("runs/conflict")
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # no line per run about devices and settings
COLORS = ("#D55E00", "#0072B2", "#009E73")  # of objectives; told apart by color-blind readers
torch.set_default_dtype(torch.float64)

# %% [markdown]
# ## 1. The cone of common descent directions
#
# Two or three quadratic losses of two weights stand for "forget", "retain" and "normal". Each pulls toward its own
# minimum, straight along its negative gradient only where its contour lines are circles.


# %%
class Toy:
    """Quadratic losses ``(theta - c)' A (theta - c) / 2``."""

    names = ("forget", "retain", "normal")
    centers = torch.tensor([[-1.4, -1.4], [1.9, 1.4], [0.5, 2.0]])
    bends = torch.tensor([[[0.85, -0.3], [-0.3, 0.55]], [[1.8, 0.15], [0.15, 0.9]], [[0.6, 0.0], [0.0, 0.65]]])

    def __init__(self, size):
        self.names, self.centers, self.bends = self.names[:size], self.centers[:size], self.bends[:size]

    def gradients(self, theta):
        """``[..., K, 2]`` at ``theta [..., 2]``."""
        return torch.einsum("kij,...kj->...ki", self.bends, theta.unsqueeze(-2) - self.centers)

    def losses(self, theta):
        """``[..., K]``."""
        return (self.gradients(theta) * (theta.unsqueeze(-2) - self.centers)).sum(dim=-1) / 2


HERE = torch.tensor([-0.75, 0.2])


def draw_cone(axis, toy, theta, length=1.8):
    """Negative unit gradients, and the directions along which no loss rises."""
    downhill = -toy.gradients(theta)
    angles = torch.linspace(0, 2 * torch.pi, 3601)
    directions = torch.stack([angles.cos(), angles.sin()])
    common = (downhill @ directions >= 0).all(dim=0).nonzero().squeeze(-1)
    middle = directions[:, common].mean(dim=1)
    width = len(common) / 10
    center = torch.atan2(middle[1], middle[0]).rad2deg().item()
    edges = (center - width / 2, center + width / 2)
    axis.add_patch(Wedge(tuple(theta.tolist()), length, *edges, color="#F0E442", alpha=0.6, linewidth=0))
    for name, slope, color in zip(toy.names, downhill, COLORS, strict=False):
        draw_arrow(axis, theta, slope / slope.norm(), color, name)
    return width


def draw_arrow(axis, start, change, color, label, width=2.2, style="-"):
    axis.annotate("", start + change, start, arrowprops={"arrowstyle": "-|>", "color": color, "lw": width,
                                                         "ls": style, "shrinkA": 0, "shrinkB": 0})  # fmt: skip
    axis.plot([], [], color=color, lw=width, ls=style, label=label)


def draw_losses(axis, toy):
    xs, ys = torch.meshgrid(torch.linspace(-2.6, 3.2, 121), torch.linspace(-2.4, 3.4, 121), indexing="xy")
    values = toy.losses(torch.stack([xs, ys], dim=-1))
    for k, color in zip(range(len(toy.names)), COLORS, strict=False):
        axis.contour(xs, ys, values[..., k], levels=[0.1, 0.5, 1.2, 2.4], colors=color, linewidths=0.7,
                     alpha=0.6)  # fmt: skip
        axis.plot(*toy.centers[k], marker="x", color=color, ms=8, mew=2)
    axis.set(aspect="equal", xlim=(-2.6, 3.2), ylim=(-2.4, 3.4), xlabel="first weight")


def draw_gramian(axis, toy, theta):
    unit = torch.nn.functional.normalize(toy.gradients(theta), dim=1)
    cosines = unit @ unit.T
    axis.imshow(cosines, cmap="PuOr", vmin=-1, vmax=1)
    for i, j in np.ndindex(*cosines.shape):
        shade = "white" if abs(cosines[i, j]) > 0.7 else "black"
        axis.text(j, i, f"{cosines[i, j]:+.2f}", ha="center", va="center", color=shade)
    ticks = range(len(toy.names))
    axis.set(xticks=ticks, yticks=ticks, xticklabels=toy.names, yticklabels=toy.names, title="cosines")


toys = [Toy(2), Toy(3)]
figure, axes = plt.subplots(1, 4, figsize=(12.5, 3.6), width_ratios=[1.5, 1, 1.5, 1], layout="constrained")
for toy, (plane, table) in zip(toys, axes.reshape(2, 2), strict=True):
    draw_losses(plane, toy)
    width = draw_cone(plane, toy, HERE)
    plane.set(title=f"{len(toy.names)} losses: {width:.0f}° descend all", ylabel="second weight")
    plane.legend(title="downhill for", fontsize="small", loc="lower right")
    draw_gramian(table, toy, HERE)
plt.show()

# %% [markdown]
# Crosses are the minima, thin lines contours. Yellow is the cone: the directions along which none of the losses rises.
# One gradient alone leaves 180°. Every further loss cuts half a plane off, and the more so the more negative the cosine
# between two gradients is; at a cosine of -1 nothing that descends both would be left.
#
# The matrix on the right is the Gramian of the unit gradients. It is all that a combiner sees, in two dimensions as in
# a billion.
#
# ## 2. What four rules choose


# %%
def rules(size):
    """Fresh combiners: the sum and PCGrad and UPGrad on raw gradients, as in their papers; MinNorm on unit ones."""
    chosen = {
        "weighted sum": Scalarization(),
        "PCGrad": TorchJD("PCGrad", normalization="none"),
        "UPGrad": UPGrad(normalization="none"),
        "MinNorm": MinNorm(),
    }
    for rule in chosen.values():
        rule.setup(Toy.names[:size], ["forget", "retain", "retain"][:size])
    return chosen


def combined(rule, toy, theta):
    """The combined gradient ``[2]``."""
    gradients = toy.gradients(theta)
    return rule(gradients @ gradients.T, toy.losses(theta)) @ gradients


RULES = dict(
    zip(rules(2), (("black", 2.4, "-"), ("#CC79A7", 4.5, "-"), ("#56B4E9", 2, "-"), ("#7F3C8D", 2, "--")), strict=True)
)
figure, axes = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained")
rows = []
for toy, axis in zip(toys, axes, strict=True):
    draw_cone(axis, toy, HERE, length=1.25)
    for name, rule in rules(len(toy.names)).items():
        direction = -combined(rule, toy, HERE)
        direction = direction / direction.norm()
        draw_arrow(axis, HERE, 1.2 * direction, RULES[name][0], name, *RULES[name][1:])
        downhill = torch.nn.functional.normalize(-toy.gradients(HERE), dim=1)
        cosines = dict(zip(toy.names, (downhill @ direction).tolist(), strict=True))
        rows.append({"losses": len(toy.names), "rule": name, **cosines})
    axis.set(aspect="equal", xlim=(-1.6, 0.7), ylim=(-1.15, 1.15), title=f"{len(toy.names)} losses")
    axis.set(xlabel="first weight", ylabel="second weight")
axes[1].legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize="small")
plt.show()
print("cosine of the step with 'downhill' for each loss; below 0, the loss rises")
pd.DataFrame(rows).set_index(["losses", "rule"]).style.format("{:+.2f}", na_rep="")

# %% [markdown]
# The sum follows the longest gradient, that of "retain", out of the cone: "forget" rises. The other rules stay inside.
#
# - `PCGrad` takes from each gradient the part that points against another one. With two losses this has the
#   direction of `UPGrad`, so that their arrows lie on each other; with three it projects on one gradient after another,
#   in random order, and whether the step stays in the cone is luck.
# - `UPGrad` projects each gradient on the cone itself, and averages.
# - `MinNorm` takes the shortest average of the unit gradients. It is perpendicular to the line between the arrows that
#   it mixes, and therefore descends these equally steeply. Lengths have no say.
#
# ## 3. Where they lead
#
# Plain gradient descent with the combined gradient, from three starting points. Dark gray are the points from which no
# direction descends all losses (Pareto-stationary points: on a segment between two minima that bends, and within a
# triangle between three). The black dot is the end.


# %%
def pareto(toy, count=40):
    """The minima of weighted sums with weights from the whole simplex, ``[N, 2]``."""
    weights = torch.distributions.Dirichlet(torch.full((len(toy.names),), 0.7)).sample((count**2,))
    bends = torch.einsum("nk,kij->nij", weights, toy.bends)
    return torch.linalg.solve(bends, torch.einsum("nk,kij,kj->ni", weights, toy.bends, toy.centers))


def path(rule, toy, start, steps=40 if fast else 150, rate=0.08):
    points = [start]
    for _ in range(steps):
        points.append(points[-1] - rate * combined(rule, toy, points[-1]))
    return torch.stack(points)


torch.manual_seed(0)
starts = (HERE, torch.tensor([2.6, -1.6]), torch.tensor([-2.0, 2.6]))
figure, axes = plt.subplots(2, 4, figsize=(12, 6.7), sharex=True, sharey=True, layout="constrained")
figure.get_layout_engine().set(h_pad=0.12)
for toy, line in zip(toys, axes, strict=True):
    front = pareto(toy)
    for axis, name in zip(line, RULES, strict=True):
        draw_losses(axis, toy)
        axis.scatter(*front.T, s=2, color="#888888", zorder=1)
        for start in starts:
            points = path(rules(len(toy.names))[name], toy, start)
            axis.plot(*points.T, color=RULES[name][0], lw=2)
            axis.plot(*points[-1], "o", color="black", ms=4, zorder=4)
        axis.set(title=f"{name}, {len(toy.names)} losses", xlabel="")
for axis in axes[1]:
    axis.set_xlabel("first weight")
for axis in axes[:, 0]:
    axis.set_ylabel("second weight")
plt.show()

# %% [markdown]
# The sum ends at one point, whatever the start: the trade-off was chosen with the weights. The other rules stop where
# they first meet the gray set, so that the start decides. None of these end points is better than another without
# saying what one wants; that is what [goals](../docs/goals.md) are for.
#
# ## 4. A model
#
# The same quantities in a run. A tiny model knows made-up authors, and MOLLM is to forget half of them: "forget" is a
# bounded loss on their answers, "normal" the divergence from the model before, "retain" the loss on the other answers.
# `ConflictMonitor` compares the step that the weights really took, after Adam, with every gradient.

# %%
torch.set_default_dtype(torch.float32)
sizes = dict.fromkeys(("forget_authors", "retain_authors", "holdout_authors"), 1 if fast else 4)
batches = {"batch_size": 20, "micro_batch_size": 20}
tokenizer = SyntheticAuthorsDataModule(**sizes).tokenizer


def trainer(name, epochs, *callbacks):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    logger = CSVLogger(folder / name, name="", version="logs")
    every = {"log_every_n_steps": 1, "limit_val_batches": 0}
    return pl.Trainer(accelerator="cpu", max_epochs=epochs, logger=logger, callbacks=list(callbacks), **every, **quiet)


pl.seed_everything(0, verbose=False)
learner = FineTuning(tiny_llama(len(tokenizer), hidden_size=16 if fast else 64), optimizer=partial(AdamW, lr=5e-3))
everything = SyntheticAuthorsDataModule(tokenizer, streams=["train"], **sizes, **batches)
target = folder / "target" / "hf"
trainer("target", 1 if fast else 25, SavePretrained(str(target))).fit(learner, everything)

module = MOLLM(str(target), combiner=MinNorm(), optimizer=partial(AdamW, lr=1e-3))
data = SyntheticAuthorsDataModule(tokenizer, **sizes, **batches)
trainer("mollm", 4 if fast else 15, ConflictMonitor(every_n_steps=1)).fit(module, data)
history = {key: dict(series) for key, series in read_history(folder / "mollm" / "logs" / "metrics.csv").items()}

# %%
names = ("forget", "normal", "retain")
shade = dict(zip(names, (COLORS[0], COLORS[2], COLORS[1]), strict=True))
pairs = {"forget-normal": "#E69F00", "forget-retain": "#CC79A7", "normal-retain": "#56B4E9"}
steps = sorted(history["train/weight/forget"])
lengths = {n: np.array([history[f"train/weight/{n}"][s] * history[f"train/grad_norm/{n}"][s] for s in steps])
           for n in names}  # fmt: skip
total = sum(lengths.values())

figure, axes = plt.subplots(1, 3, figsize=(12.5, 3.7), layout="constrained")
for pair, color in pairs.items():
    axes[0].plot(*zip(*history[f"train/cosine/{pair}"].items(), strict=True), color=color, label=pair)
for name in names:
    axes[1].plot(steps, lengths[name] / total, color=shade[name], label=name)
    axes[2].plot(*zip(*history[f"train/descent/{name}"].items(), strict=True), color=shade[name], label=name)
axes[0].set(title="conflict", ylabel="cosine of two gradients")
axes[1].set(title="what the combiner chose", ylabel="share of the step", ylim=(0, 1))
axes[2].set(title="what the weights did", ylabel="cosine of the step with downhill")
for axis in axes:
    axis.axhline(0, color="black", lw=0.8)
    axis.set_xlabel("optimizer step")
    axis.grid(alpha=0.3)
    axis.legend(fontsize="small")
plt.show()


# %%
def slopes(step):
    """Cosine of the combined gradient with each gradient, from what was logged."""
    cosines = matrix(step)
    shares = torch.tensor([lengths[n][steps.index(step)] for n in names])
    return cosines @ shares / (shares @ cosines @ shares).sqrt()


def matrix(step):
    """Cosines ``[3, 3]`` of the gradients; NaN for one without length."""
    cosines = torch.eye(3, dtype=torch.float64)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        cosines[i, j] = cosines[j, i] = history[f"train/cosine/{names[i]}-{names[j]}"][step]
    return cosines


counted = [step for step in steps if matrix(step).isfinite().all() and step in history["train/descent/forget"]]
combined_slopes = torch.stack([slopes(step) for step in counted])
moved = torch.tensor([[history[f"train/descent/{n}"][step] for n in names] for step in counted])
pd.DataFrame(
    {
        "combined gradient": (combined_slopes < -1e-6).sum(dim=0).tolist(),
        "step of the weights": (moved < 0).sum(dim=0).tolist(),
    },
    index=pd.Index(names, name=f"steps of {len(counted)} that climb"),
)

# %% [markdown]
# The left picture has the pairs of gradients: where a line is below 0, the two are in conflict. The one in the middle
# has the share of each objective in the combined gradient. The right one has the step after Adam, with its momentum
# and its division by the size of each element: above 0 an objective descends.
#
# The table counts. The combined gradient climbs no objective on the batch that it was computed on, as promised. The
# step of the weights may: Adam turns the direction, and no combiner can know how. (`StepProjection` repairs the step
# itself, and `metric="adam"` lets the combiner calculate in Adam's geometry; see
# [docs/combining.md](../docs/combining.md).)
#
# ## 5. The min-norm point, drawn exactly
#
# Three gradients have as many dimensions as the model has weights, but three points lie in a plane, and their cosines
# say how far they are from each other. So the triangle of the unit gradients can be drawn without any loss. The
# min-norm point is that point of the triangle which is nearest to the origin; the origin lies above the drawing plane,
# straight over the cross.


# %%
def triangle(cosines):
    """Corners ``[3, 2]`` in the plane of the triangle, the min-norm point and the foot of the origin, ``[2]`` each."""
    centering = torch.eye(3, dtype=torch.float64) - 1 / 3
    values, vectors = torch.linalg.eigh(centering @ cosines @ centering)
    corners = vectors[:, 1:] * values[1:].clamp(min=0).sqrt()
    foot = torch.linalg.solve(cosines, torch.ones(3, dtype=torch.float64))
    return corners, min_norm_weights(cosines) @ corners, foot / foot.sum() @ corners


shown = [counted[i] for i in (0, 1, min(3, len(counted) - 1), -1)]
figure, axes = plt.subplots(1, 4, figsize=(12.5, 3.7), sharex=True, sharey=True, layout="constrained")
for axis, step in zip(axes, shown, strict=True):
    cosines = matrix(step)
    corners, point, foot = triangle(cosines)
    axis.fill(*corners.T, color="#DDDDDD", zorder=0)
    for name, corner in zip(names, corners, strict=True):
        axis.plot(*corner, "o", ms=9, color=shade[name], label=name)
    axis.plot(*foot, "x", ms=9, mew=2, color="black", label="below the origin")
    axis.plot(*point, "D", ms=7, color="#7F3C8D", label="min-norm point")
    weights = min_norm_weights(cosines)
    distance = (weights @ cosines @ weights).sqrt()
    axis.set(
        title=f"step {step}: {distance:.2f} from origin", aspect="equal", xlim=(-0.9, 0.9), xlabel="first direction"
    )
axes[0].set_ylabel("second direction")
axes[-1].legend(fontsize="small", loc="center left", bbox_to_anchor=(1.02, 0.5))
plt.show()

# %% [markdown]
# Where the cross lies inside the triangle, cross and min-norm point coincide: all three objectives have a weight, and
# descend equally steeply. Where it lies outside, the nearest point is on an edge, and the objective of the opposite
# corner has a weight of 0: it descends by itself, more steeply than the others. The distance from the origin, in the
# titles, is how steep the descent is that all objectives have in common; at 0 there would be none, and the step would
# be skipped. Its square is logged as `train/stationarity`.
#
# "Normal" and "retain" come to agree almost completely: both are then about repairing the same answers, and three
# objectives have become two.
#
# All of this is first order, and on one batch. That a direction descends now says little about where a run ends:
# [experiments/README.md](../experiments/README.md) compares the ends.
