"""Which method really forgets? Unlearning depth and leaks in sampled answers, beside the probabilities.

Tiny models that know fictitious authors unlearn half of them with the default options of several methods: the same
optimizer, learning rate and number of steps for all, nothing tuned. Beside them stand the model before unlearning, and
one that never saw the authors.

    python -m experiments.studies.proof.study                    # 3 seeds, table and picture
    python -m experiments.studies.proof.study --table_only true  # of earlier runs

Every model is kept in `seed*/<arm>/hf`, and its results beside it; what is there already is not run again. Other
measurements of these models become columns of the table: lines of `columns*.jsonl`, such as
`{"arm": "NPO", "seed": 0, "relearned": 0.41}`.
"""

import json
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path

import torch
from jsonargparse import auto_cli
from torch import nn

from experiments.studies.combiners.run import EPOCHS, World
from experiments.studies.proof.table import draw, print_table
from unlearn_pl.callbacks import Leaks, TOFUEvaluation, UDSEvaluation
from unlearn_pl.commands.story import quiet
from unlearn_pl.data import SyntheticAuthorsDataModule
from unlearn_pl.metrics import SpanLeak
from unlearn_pl.models import CausalLM, save_pretrained
from unlearn_pl.modules import MOLLM, NPO, RMU, GradDiff, PretrainedModule, SimNPO, UnlearningModule

TARGET, RETAIN = "before unlearning", "retain model"
METHODS: dict[str, Callable[..., UnlearningModule]] = {
    "GradDiff": GradDiff,
    "NPO": NPO,
    "SimNPO": SimNPO,
    "RMU": partial(RMU, layer=2),  # the middle of 4 layers
    "MOLLM": MOLLM,
}
ARMS = (TARGET, RETAIN, *METHODS)
RATE, SAMPLES, MAX_NEW_TOKENS = 1e-3, 16, 24


class ProofWorld(World):
    """A world of the study of combiners, of whose models more is measured than probabilities."""

    @property
    def data(self) -> SyntheticAuthorsDataModule:
        """The authors, as all models are evaluated on them."""
        return self._unlearning_data

    def model(self, arm: str) -> nn.Module:
        """The model of an arm, trained anew where it is none of the two that the world keeps."""
        if arm in (TARGET, RETAIN):
            return self.target if arm == TARGET else self.retain_model
        module = METHODS[arm](deepcopy(self.target), optimizer=partial(torch.optim.AdamW, lr=RATE))
        self.fit(module, EPOCHS)
        assert module.model is not None
        return module.model

    def measure(self, arm: str) -> None:
        """Write the model and the results of an arm, unless they are there."""
        folder = self.folder / arm.replace(" ", "_")
        if (folder / "uds.json").exists():
            return
        if (folder / "hf").exists():
            model = CausalLM(str(folder / "hf")).build()
        else:
            model = self.model(arm)
            with quiet():
                save_pretrained(model, folder / "hf", self._tokenizer)
        evaluations = [
            TOFUEvaluation(
                str(self.retain_results),
                output=str(folder / "tofu.json"),
                leaks=Leaks(SAMPLES, SpanLeak(), splits=["forget", "retain"], seed=self.seed),
            ),
            UDSEvaluation(
                self.target,
                self.retain_model,
                output=str(folder / "uds.json"),
                cache=str(self.folder / "retain_drops.safetensors"),
            ),
        ]
        with quiet():
            module = PretrainedModule(model, max_new_tokens=MAX_NEW_TOKENS)
            self._trainer(callbacks=evaluations).test(module, self._unlearning_data, verbose=False)


def study(
    folder: str = "runs/proof_study",
    seeds: int = 3,
    figure: str = "experiments/figures/proof.png",
    table_only: bool = False,
) -> None:
    """Run what is missing, then print the table and draw the picture.

    Args:
        folder: where models and results are kept.
        seeds: number of seeds: 0, 1, ...
        figure: PNG file to write.
        table_only: run nothing.
    """
    root = Path(folder)
    for seed in range(0 if table_only else seeds):
        world = ProofWorld(root / f"seed{seed}", seed, num_layers=4)
        for arm in ARMS:
            world.measure(arm)
            print(json.dumps({"seed": seed, "arm": arm}), flush=True)
    print_table(root, ARMS)
    draw(root, ARMS, figure)


if __name__ == "__main__":
    auto_cli(study, as_positional=False)
