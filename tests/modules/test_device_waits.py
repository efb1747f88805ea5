"""How often an optimizer step waits for the GPU: once, to read all that was measured."""

from collections import Counter

import pytest
import torch
from lightning.pytorch.utilities import CombinedLoader

from benchmarks.device_waits import WaitsOfSteps, moving_batches
from tests import kit
from tests.modules.presets.test_grid import ARGUMENTS, PRESETS, data
from unlearn_pl import modules
from unlearn_pl.combiners import MinNorm
from unlearn_pl.modules import MOLLM, NPO, GradDiff
from unlearn_pl.references import CachedReference

READING = "unlearn_pl/gradients/rows.py"
"""Where losses and products go to the CPU together."""


def waits_of(module, batches, **options) -> Counter[str]:
    """Lines at which the second step waits, and how often."""
    steps = WaitsOfSteps()
    with moving_batches():
        kit.trainer(max_steps=2, callbacks=[steps], **options).fit(module, batches)
    return steps.steps[1]


def own(waits: Counter[str]) -> dict[str, int]:
    """Those of this library, by file."""
    counts: Counter[str] = Counter()
    for line, count in waits.items():
        counts[line.partition(":")[0]] += count
    return {file: count for file, count in counts.items() if not file.startswith("transformers/")}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_step_of_every_method_waits_once(preset):
    module = getattr(modules, preset)(kit.model(), combiner=MinNorm(), **ARGUMENTS.get(preset, {}))
    waits = waits_of(module, data())
    assert own(waits) == {READING: 1}, waits


def test_transformers_looks_at_the_padding_of_every_forward_once_or_twice():
    """Twice with padding: these waits are not ours, and plain PyTorch has them as well."""
    batches = kit.Questions(batch_size=4, micro_batch_size=2)
    for method, forwards in ((GradDiff, 2), (NPO, 3), (MOLLM, 4)):
        waits = waits_of(method(kit.model()), batches)
        assert own(waits) == {READING: 1}
        others = [count for line, count in waits.items() if line.startswith("transformers/")]
        assert 2 * forwards <= sum(others) <= 4 * forwards, waits


def test_a_cached_reference_finds_its_rows_without_the_device(tmp_path):
    module = NPO(kit.model(), reference=CachedReference(str(tmp_path)))
    assert own(waits_of(module, kit.Questions(batch_size=4, micro_batch_size=2))) == {READING: 1}


class Passing(kit.Questions):
    """Has a hook of its own on the way to the device, after which a batch may be another one."""

    def on_after_batch_transfer(self, batch, dataloader_idx):
        for part in batch["forget"]:
            part["labels"][:, :-1] = -100
        return batch


def test_with_hooks_of_ones_own_the_device_is_asked():
    waits = own(waits_of(GradDiff(kit.model()), Passing(batch_size=4, micro_batch_size=2)))
    assert waits == {READING: 1, "unlearn_pl/host_copies.py": 4}


@pytest.mark.filterwarnings("ignore:.*no `val_dataloader`")
def test_batches_of_a_plain_loader_are_known_to_the_host_too():
    def row(index):
        ids = torch.tensor([5, 6, 7 + index])
        return {"input_ids": ids, "labels": ids, "attention_mask": torch.ones_like(ids), "index": torch.tensor(index)}

    loaders = {name: torch.utils.data.DataLoader([row(i) for i in range(12)], 4) for name in ("forget", "retain")}
    module = GradDiff(kit.model(), micro_batch_size=2)
    assert own(waits_of(module, CombinedLoader(loaders, "min_size"))) == {READING: 1}
