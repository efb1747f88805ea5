"""The models of one seed: trained on all chains of an experiment, retrained on the retain chain alone, unlearned."""

import os
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path

import lightning.pytorch as pl
import torch

from experiments.studies.markov_chains.data_module import MarkovChainsDataModule
from experiments.studies.markov_chains.experiment import EXPERIMENTS, Scale
from experiments.studies.markov_chains.kl_path import KLPath, chain_distances
from experiments.studies.markov_chains.model import MarkovTransformer, new_model
from unlearn_pl.commands.story import quiet
from unlearn_pl.modules import FineTuning, ModuleOptions, UnlearningModule
from unlearn_pl.optim import Constant

RATE = 5e-4


def options() -> ModuleOptions:
    """Optimizer and schedule of the paper, in training and in unlearning: AdamW at one rate, without decay.

    ``eps`` is that of transformers' AdamW, which the authors use. SimNPO's gradients are small enough for it to matter.
    """
    return {
        "optimizer": partial(torch.optim.AdamW, lr=RATE, eps=1e-6, weight_decay=0.0),
        "schedule": Constant(),
        "gradient_clip_val": None,
    }


class World:
    """Sequences, trained models and unlearning runs of one seed and experiment.

    Args:
        folder: where trained models are kept.
        experiment: name of the experiment.
        seed: of sequences, initial weights and the order of training.
        order: number of the order of unlearning, another one for every seed.
        scale: how much is trained and measured.
    """

    def __init__(self, folder: Path, experiment: str, seed: int, order: int = 0, scale: Scale | None = None) -> None:
        if experiment not in EXPERIMENTS:
            raise ValueError(f"experiment={experiment!r} is unknown; accepted are {list(EXPERIMENTS)}.")
        self.folder = folder / f"seed{seed}"
        self.name, self.experiment = experiment, EXPERIMENTS[experiment]
        self.seed, self.order, self.scale = seed, order, scale or Scale()

    def pretrained(self) -> MarkovTransformer:
        """A copy of the model that is to forget."""
        return self._trained(self.name, self.experiment.train_chains)

    def retrained(self) -> MarkovTransformer:
        """A copy of the model that never saw a forget chain; the same one in all experiments of a seed."""
        return self._trained("retrained", ["retain"])

    @cached_property
    def data(self) -> MarkovChainsDataModule:
        """The streams and splits of unlearning."""
        return self._data(batch_size=4, micro_batch_size=4, seed=1000 * self.seed + self.order)

    @cached_property
    def retrained_distances(self) -> dict[str, float]:
        """Chain to the retrained model's KL divergence: what unlearning is to reach on the forget chains."""
        return chain_distances(self.retrained(), self.data.val_dataloader())

    def unlearn(self, module: UnlearningModule) -> list[dict[str, float]]:
        """The path of an unlearning run; see :class:`KLPath`.

        Args:
            module: made with :meth:`pretrained`.
        """
        path = KLPath(self.scale.measured)
        self._fit(module, self.data, path, max_steps=self.scale.steps)
        return path.path

    def _trained(self, name: str, chains: Sequence[str]) -> MarkovTransformer:
        path = self.folder / f"{name}.pt"
        model = new_model(self.scale.hidden_size, self.scale.num_layers, seed=self.seed)
        if not path.exists():
            data = self._data(
                train_chains=chains, streams=["train"], batch_size=128, micro_batch_size=128, splits=[], seed=self.seed
            )
            self._fit(FineTuning(model, **options()), data, max_epochs=self.scale.train_epochs)
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(f".{os.getpid()}")
            torch.save(model.state_dict(), unfinished)
            unfinished.replace(path)
        model.load_state_dict(torch.load(path))
        return model

    def _data(self, train_chains: Sequence[str] = ("retain",), **others: object) -> MarkovChainsDataModule:
        return MarkovChainsDataModule(
            train_chains=train_chains,
            forget2_length=self.experiment.forget2_length,
            retain_sequences=self.scale.retain_sequences,
            forget_sequences=self.scale.forget_sequences,
            chains_seed=self.seed,
            max_eval_examples=self.scale.test_sequences,
            eval_batch_size=self.scale.test_sequences,
            **others,  # type: ignore[arg-type]
        )

    def _fit(
        self, module: UnlearningModule, data: MarkovChainsDataModule, *callbacks: pl.Callback, **limits: int
    ) -> None:
        pl.seed_everything(self.seed, verbose=False)
        with quiet():
            trainer = pl.Trainer(
                accelerator="cpu",
                devices=1,
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                enable_checkpointing=False,
                limit_val_batches=0,
                num_sanity_val_steps=0,
                callbacks=list(callbacks),
                **limits,  # type: ignore[arg-type]
            )
            trainer.fit(module, data)
