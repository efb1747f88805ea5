"""Selected streams on every rank of the pool."""

import os

import torch

from tests import kit
from unlearn_pl.data import FeatureMapping, NearestRows, Random, SelectedSource
from unlearn_pl.data.selection import selections
from unlearn_pl.modules import GradDiff


def selected(strategy: str, folder: str) -> tuple[list[int], int]:
    """The kept rows, and how often this rank has chosen."""
    os.environ["UNLEARN_PL_CACHE"] = folder
    chosen, choose = [], selections.choose
    selections.choose = lambda *args: chosen.append(1) or choose(*args)
    try:
        rank = torch.distributed.get_rank()
        # Other weights on rank 1 would choose other rows: the choice must come from rank 0.
        module = GradDiff(kit.model(seed=rank))
        data = kit.Questions(
            batch_size=8,
            micro_batch_size=4,
            selected={"retain": SelectedSource(FeatureMapping(0.5), mix=0.25)},
        )
        kit.trainer(max_steps=1, devices=2, strategy=strategy).fit(module, data)
    finally:
        selections.choose = choose
    rows = data._selections._outcomes["retain"].rows.tolist()
    assert [e.input_ids for e in data._training["retain"].shown()] == [
        data._whole("retain", "retain")[row].input_ids for row in rows
    ]
    return rows, len(chosen)


def failure(folder: str) -> str:
    """What is raised on this rank where rank 0 cannot select."""
    os.environ["UNLEARN_PL_CACHE"] = folder
    data = kit.Questions(
        batch_size=8,
        micro_batch_size=4,
        selected={
            "retain": SelectedSource(NearestRows(0.5), mix=1.0),
            "forget": SelectedSource(Random(0.001), "forget"),
        },
    )
    try:
        kit.trainer(max_steps=1, devices=2, strategy="ddp").fit(GradDiff(kit.model()), data)
    except ValueError as error:
        return str(error)
    return "nothing"
