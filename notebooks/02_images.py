# %% [markdown]
# # The same engine on images
#
# A tiny text-to-image model learns real handwritten digits in four styles, and then forgets one style. Every loss gets
# a gradient of its own, as with language models, and a combiner weighs them. Nothing is downloaded.

# %%
import os
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
from IPython.display import Image
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from unlearn_pl.callbacks import CanvasEvaluation, SavePretrained
from unlearn_pl.combiners import MinNorm
from unlearn_pl.data import ForgetStyle, ImageArrays, ImageDataModule, MiniCanvasDataModule
from unlearn_pl.masks import TrainableParameters
from unlearn_pl.models import ConvNet, ImageClassifier, TinyUNet
from unlearn_pl.modules import FineTuning, PretrainedModule, SalUn
from unlearn_pl.optim import Constant

# UNLEARN_PL_FAST=1 runs every cell at a size at which the numbers mean nothing.
fast = os.environ.get("UNLEARN_PL_FAST") == "1"
folder = Path("runs/images")


def trainer(steps, *callbacks):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    return pl.Trainer(
        max_steps=steps, max_epochs=-1, logger=False, limit_val_batches=0, callbacks=list(callbacks), **quiet
    )


# %% [markdown]
# ## 1. Classifiers, which will look at what the model makes

# %%
canvas = MiniCanvasDataModule().canvas
judges = {}
for kind, labels, classes in (("style", canvas.style, 4), ("object", canvas.object, 6)):
    network = partial(ConvNet, num_channels=3, num_classes=classes, widths=(32, 64))
    images = ImageDataModule(train=ImageArrays(canvas.images.images, labels), streams=["train"], splits=[])
    module = FineTuning(ImageClassifier(network), optimizer=partial(AdamW, lr=3e-3), schedule=Constant())
    trainer(2 if fast else 300, SavePretrained(str(folder / kind))).fit(module, images)
    judges[kind] = ImageClassifier(network, weights=str(folder / kind))

# %% [markdown]
# ## 2. A model that knows all styles

# %%
steps = 3 if fast else 500
module = FineTuning(
    TinyUNet(MiniCanvasDataModule.WORDS, prompt_dropout=0.1),
    optimizer=partial(AdamW, lr=6e-3, weight_decay=0.0),
    schedule=partial(OneCycleLR, max_lr=6e-3, total_steps=steps + 1),
)
trainer(steps, SavePretrained(str(folder / "target"))).fit(module, MiniCanvasDataModule(splits=["retain"]))

# %% [markdown]
# ## 3. Forget the style crimson
#
# Two objectives: prompts of the style come to mean photos of the same digits, and all other prompts keep their meaning.
# Only cross attention moves. `MinNorm` finds the direction that descends both.

# %%
target = TinyUNet(MiniCanvasDataModule.WORDS, weights=str(folder / "target"))
data = MiniCanvasDataModule(ForgetStyle("crimson"), batch_size=32, micro_batch_size=32)
module = SalUn(
    target,
    combiner=MinNorm(),
    mask=TrainableParameters(["attn2"]),
    optimizer=partial(AdamW, lr=2e-3, weight_decay=0.0),
    schedule=Constant(),
)
trainer(2 if fast else 50, SavePretrained(str(folder / "unlearned"))).fit(module, data)

# %% [markdown]
# ## 4. Look
#
# UA is the share of the images for crimson prompts that are not crimson; IRA and CRA say whether the other prompts
# still give their styles and their digits.

# %%
for name in ("target", "unlearned"):
    evaluation = CanvasEvaluation(judges["style"], judges["object"], output=str(folder / f"{name}.json"))
    spec = TinyUNet(MiniCanvasDataModule.WORDS, weights=str(folder / name))
    trainer(-1, evaluation).test(PretrainedModule(spec), data, verbose=False)
    print(name, {key: round(value, 3) for key, value in evaluation.results.metrics.items()})
Image(str(evaluation.figure))
