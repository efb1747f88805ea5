import re
from pathlib import Path

import torch

from tests import kit
from unlearn_pl.combiners import MinNorm
from unlearn_pl.data import SyntheticAuthorsDataModule
from unlearn_pl.models import tiny_llama
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, UnlearningCrossEntropyLoss
from unlearn_pl.optim import Constant

EXAMPLE = Path(__file__).parents[2] / "docs" / "engine.md"


def test_the_plain_loop_of_the_docs_equals_the_lightning_run():
    (code,) = re.findall(r"```python\n(.*?)```", EXAMPLE.read_text(), flags=re.DOTALL)
    assert len(code.splitlines()) <= 25
    scope: dict = {}
    exec(compile(code, str(EXAMPLE), "exec"), scope)

    data = SyntheticAuthorsDataModule(forget_authors=1, retain_authors=2, batch_size=4, micro_batch_size=2, splits=[])
    module = UnlearningModule(
        tiny_llama(len(data.tokenizer), hidden_size=16, num_layers=1).train(),
        {"forget": UnlearningCrossEntropyLoss(), "retain": CausalLMLoss()},
        MinNorm(),
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),
        schedule=Constant(),
    )
    kit.trainer(max_epochs=1).fit(module, data)

    assert module.windows_closed == scope["descent"].windows_closed >= 3
    start = tiny_llama(len(data.tokenizer), hidden_size=16, num_layers=1)
    moved = False
    for mine, theirs, before in zip(
        module.model.parameters(), scope["model"].parameters(), start.parameters(), strict=True
    ):
        assert torch.equal(mine, theirs)
        moved |= not torch.equal(mine, before)
    assert moved


def test_the_engine_imports_no_lightning():
    folder = Path(__file__).parents[2] / "unlearn_pl" / "engine"
    for path in sorted(folder.glob("*.py")):
        assert not re.search(r"^\s*(from|import) lightning", path.read_text(), flags=re.MULTILINE), path.name
