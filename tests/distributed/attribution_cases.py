"""Masks made and trained with, as they run on every rank."""

import functools
from pathlib import Path

import torch

from tests import kit
from tests.distributed.cases import strategy
from tests.families import make
from unlearn_pl.attribution import SNIP, WAGLE, Magnitude, Random, Wanda, mark_largest, write_mask
from unlearn_pl.masks import MaskFile, read_mask_header
from unlearn_pl.models import full_state_dict
from unlearn_pl.modules import MOLLM
from unlearn_pl.optim import Constant

ATTRIBUTIONS = {
    "wagle": WAGLE(0.1),
    "snip_group": SNIP(0.1, scope="group"),
    "magnitude_tensor": Magnitude(0.3, scope="tensor", exclude=["norm"]),
    "random": Random(0.2, seed=5),
    "wanda": Wanda(0.25),
}


def write(folder: str, attribution: str, strategy_name: str, devices: int, micro_batch_size: int):
    """Write a mask: what the file says, which every rank must know."""
    path = Path(folder) / f"{attribution}-{strategy_name}-{devices}.safetensors"
    data = kit.Questions(batch_size=8, micro_batch_size=micro_batch_size)
    trainer = kit.trainer(max_epochs=1, strategy=strategy(strategy_name), devices=devices)
    header = write_mask(path, ATTRIBUTIONS[attribution], MOLLM(kit.model()), data, trainer)
    if devices > 1:
        torch.distributed.barrier()
    assert read_mask_header(path).kept == header.kept
    return header


def write_for_family(folder: str, family: str, strategy_name: str, devices: int):
    """A mask of matrices that are stored in another way than those of ``torch.nn.Linear``."""
    path = Path(folder) / f"{family}-{strategy_name}-{devices}.safetensors"
    data = kit.Questions(forget=8, batch_size=8, micro_batch_size=8 // devices)
    trainer = kit.trainer(max_epochs=1, strategy=strategy(strategy_name), devices=devices)
    scope = "tensor" if family == "gpt2" else "row"  # whose inputs are split over the ranks
    module = MOLLM(make(family, len(kit.tokenizer())).train())
    header = write_mask(path, Wanda(0.25, scope=scope), module, data, trainer)
    if devices > 1:
        torch.distributed.barrier()
    return header


def train(path: str, strategy_name: str, devices: int, micro_batch_size: int):
    """Two steps with weight decay, with the mask in a file: the final weights."""
    optimizer = functools.partial(torch.optim.AdamW, lr=1e-2, eps=1e-2, weight_decay=0.3)
    module = MOLLM(kit.model(), mask=MaskFile(path), optimizer=optimizer, schedule=Constant())
    data = kit.Questions(batch_size=8, micro_batch_size=micro_batch_size)
    kit.trainer(max_epochs=1, strategy=strategy(strategy_name), devices=devices).fit(module, data)
    return full_state_dict(module.model)


def mark_shards(parts: list[list[torch.Tensor]], keep: int) -> list[torch.Tensor]:
    """Marks of this rank's share of tensors that are split over the ranks."""
    own = parts[torch.distributed.get_rank()]
    return mark_largest([functools.partial(torch.clone, part) for part in own], keep, sharded=True)
