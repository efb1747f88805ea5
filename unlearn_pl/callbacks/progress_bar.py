"""A progress bar of one line that fits in 80 characters."""

import lightning.pytorch as pl
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

WIDTH = 80
LOSS = "train/loss/"


class ProgressBar(TQDMProgressBar):
    """Lightning's bar with short columns: the losses by the names of their objectives.

    Args:
        refresh_rate: optimizer steps between two updates.
        leave: keep a line per epoch.
    """

    def __init__(self, refresh_rate: int = 1, leave: bool = False) -> None:
        super().__init__(refresh_rate=refresh_rate, leave=leave)

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """The losses, with two digits."""
        items = super().get_metrics(trainer, pl_module)
        items.pop("v_num", None)
        return {
            name.removeprefix(LOSS): f"{value:.2g}" if isinstance(value, float) else value
            for name, value in items.items()
        }

    def init_sanity_tqdm(self) -> Tqdm:
        """The bar of the evaluation before training."""
        return _narrow(super().init_sanity_tqdm())

    def init_train_tqdm(self) -> Tqdm:
        """The bar of training."""
        return _narrow(super().init_train_tqdm())

    def init_validation_tqdm(self) -> Tqdm:
        """The bar of a validation."""
        return _narrow(super().init_validation_tqdm())

    def init_test_tqdm(self) -> Tqdm:
        """The bar of a test."""
        return _narrow(super().init_test_tqdm())

    def init_predict_tqdm(self) -> Tqdm:
        """The bar of predictions."""
        return _narrow(super().init_predict_tqdm())


def _narrow(bar: Tqdm) -> Tqdm:
    """``bar`` in 80 characters, without the elapsed time and the speed: the losses need the room."""
    bar.dynamic_ncols = None
    bar.ncols = WIDTH - 1  # the last column would wrap in some terminals
    bar.bar_format = "{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {remaining}{postfix}"
    return bar
