# %% [markdown]
# # Unlearning in a few minutes
#
# A tiny language model learns about authors who do not exist, and then forgets half of them. Everything is made here:
# nothing is downloaded, and a laptop's CPU is enough.
#
# You will see
#
# 1. a target model that knows too much,
# 2. MOLLM, which descends three objectives together,
# 3. what its combiner does at every step,
# 4. your own objective, and
# 5. your own combiner.

# %%
import os
from functools import partial
from pathlib import Path

from IPython.display import Image
from torch import Tensor
from torch.optim import AdamW

from unlearn_pl.combiners import GramianCombiner, MinNorm
from unlearn_pl.commands.story import Story
from unlearn_pl.functional import entropy, masked_mean
from unlearn_pl.modules import MOLLM, UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, Objective
from unlearn_pl.report import plot_combination, plot_forgetting, read_history
from unlearn_pl.types import LanguageView

# UNLEARN_PL_FAST=1 runs every cell at a size at which the numbers mean nothing.
fast = os.environ.get("UNLEARN_PL_FAST") == "1"
story = Story(
    Path("runs/quickstart"),
    authors=1 if fast else 4,
    hidden_size=16 if fast else 64,
    memorizing_epochs=1 if fast else 40,
    unlearning_epochs=2 if fast else 20,
)

# %% [markdown]
# ## 1. A model that knows too much
#
# `Story` bundles the steps of `unlearn-pl demo`: it makes a tiny Llama, a tokenizer and data in TOFU's format, and
# calls a Trainer. The target model is fine-tuned on all authors.

# %%
story.fine_tune("target", "full")
target = story.evaluate("target").metrics
print(f"probability of the forget answers: {target['forget_probability']:.3f}")
print(f"probability of the retain answers: {target['retain_probability']:.3f}")

# %% [markdown]
# ## 2. Unlearn
#
# `MOLLM` has three objectives: a bounded loss that forgets, the divergence from the original model, and the retain
# loss. Each gets its own gradient. At every optimizer step their Gramian (all inner products, 3 x 3 numbers) is solved
# for the weights of the shortest convex combination, which descends all of them.

# %%
path = str(story.path("target"))
story.unlearn("mollm", MOLLM(path, optimizer=partial(AdamW, lr=1e-3)), watch_every=2)
mollm = story.evaluate("mollm").metrics
print(f"forget: {target['forget_probability']:.3f} -> {mollm['forget_probability']:.3f}")
print(f"retain: {target['retain_probability']:.3f} -> {mollm['retain_probability']:.3f}")

# %% [markdown]
# ## 3. What the combiner did
#
# On the left the share of each objective in the step, on the right the cosines between their gradients: below 0 they
# are in conflict. An objective that is finished, or whose gradient is noise, has a share of 0.

# %%
history = read_history(story.folder / "mollm" / "logs" / "metrics.csv")
plot_combination(history, story.folder / "combination.png")
Image(filename=str(story.folder / "combination.png"))

# %% [markdown]
# ## 4. Your own objective
#
# A loss of what one forward pass of one stream gives, always minimized. `needs` asks for more than the
# log-probabilities of the labels; shifting and masking are done already.


# %%
class EntropyLoss(Objective):
    """Maximize next-token entropy on the forget answers."""

    stream, role, needs = "forget", "forget", frozenset({"logits"})

    def loss(self, view: LanguageView) -> Tensor:
        return -masked_mean(entropy(view.logits), view.mask)


objectives = {"forget": EntropyLoss(), "retain": CausalLMLoss()}
story.unlearn(
    "entropy", UnlearningModule(path, objectives, MinNorm(), optimizer=partial(AdamW, lr=1e-3)), watch_every=2
)

# %% [markdown]
# ## 5. Your own combiner
#
# From the Gramian of the live, normalized gradients to their weights. This one gives every objective the same share.
# Which objectives take part, normalization and the way back to raw gradients are the base class's business.


# %%
class EqualShares(GramianCombiner):
    """The mean of the unit gradients."""

    def weigh(self, gramian: Tensor, losses: Tensor) -> Tensor:
        return losses.new_full(losses.shape, 1 / len(losses))


module = MOLLM(path, combiner=EqualShares(), optimizer=partial(AdamW, lr=1e-3))
story.unlearn("equal_shares", module, watch_every=2)

# %% [markdown]
# ## All runs side by side
#
# Down and to the right is better. A curve may bend to the left on its way: a common descent direction is a matter of
# first order and of this step's examples. The callback `ConflictMonitor` logs what a step really did to each objective.

# %%
runs = {
    name: read_history(story.folder / name / "logs" / "metrics.csv") for name in ("mollm", "entropy", "equal_shares")
}
points = {"target model": (target["forget_probability"], target["retain_probability"])}
plot_forgetting(runs, points, story.folder / "forgetting.png")
Image(filename=str(story.folder / "forgetting.png"))

# %% [markdown]
# Next: `unlearn-pl fit -c experiments/tofu/mollm.yaml` does the same for TOFU on Llama-3.2-1B, METHODS.md lists what
# there is, and CONTRIBUTING.md says how to add to it.
