"""Training on rows whose tokens have weights, as it runs on each rank of the pool."""

import functools

import torch

from tests import kit
from tests.distributed.cases import OPTIONS, strategy
from unlearn_pl.combiners import MinNorm
from unlearn_pl.data import default_template, encode
from unlearn_pl.models import full_state_dict
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, NPOLoss, WTNPOLoss
from unlearn_pl.references import FrozenReference


class WeightedQuestions(kit.Questions):
    """Every third token of a forget answer has weight ``4 * scale``, the others ``scale``; retain has no weights."""

    def __init__(self, scale: float | None = 1.0, **options) -> None:
        self.scale = scale
        super().__init__(**options)

    def load_streams(self):
        streams = super().load_streams()
        return streams if self.scale is None else {**streams, "forget": list(map(self._weighted, streams["forget"]))}

    def _weighted(self, row):
        example = encode(kit.tokenizer(), default_template(kit.tokenizer()), row["question"], row["answer"])
        places = range(len(example) - example.prompt_length)
        return {**row, "weights": [self.scale * (1.0 if place % 3 else 4.0) for place in places]}


def train(strategy_name: str, devices: int, micro_batch_size: int, scale: float | None = 1.0, forget=None):
    """The weights after two steps on 8 examples each, and the logged losses."""
    options = OPTIONS | {"optimizer": functools.partial(torch.optim.SGD, lr=0.05)}
    objectives = {"forget": forget or WTNPOLoss(alpha=0.5), "retain": CausalLMLoss()}
    module = UnlearningModule(kit.model(), objectives, MinNorm(), reference=FrozenReference(), **options)
    data = WeightedQuestions(scale, batch_size=8, micro_batch_size=micro_batch_size)
    kit.trainer(max_steps=2, max_epochs=2, strategy=strategy(strategy_name), devices=devices).fit(module, data)
    return full_state_dict(module.model), module.descent.losses


def train_npo():
    """What an objective that reads whole answers says to weights."""
    return train("auto", 1, 8, forget=NPOLoss())
