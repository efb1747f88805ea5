"""Random numbers of training, continued by a run that resumes."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, distributed

from unlearn_pl.modules.fitted import FittedModule
from unlearn_pl.modules.lightning_internals import draw_as_without_interruption

KEY = "unlearn_pl_random"
"""Where checkpoints keep the states of all ranks."""


class RandomStates:
    """Keeps the states of the global random generators of every rank, so that dropout goes on as if uninterrupted.

    A validation inside ``fit`` may draw as many numbers as it likes: training goes on with those that it would have
    drawn without it. Otherwise a checkpoint that is written before a validation, which is not repeated on resuming,
    would continue with other numbers.

    Args:
        module: the module that is fitted.

    Attributes:
        resumes: whether the run goes on from a checkpoint, and has not begun yet.
    """

    def __init__(self, module: FittedModule) -> None:
        self._module = module
        self.reset()

    def reset(self) -> None:
        """Begin a run that does not resume."""
        self._loaded: Mapping[str, Tensor] | None = None
        self.resumes = False
        self._training: Mapping[str, Tensor] | None = None

    def before_validation(self) -> None:
        """Keep the states of training."""
        self._training = self._current()

    def after_validation(self) -> None:
        """Return to the states of training."""
        if self._training is not None:
            set_states(self._training)
            self._training = None

    def gathered(self) -> dict[str, Tensor]:
        """The states of all ranks, ``[ranks, ...]``; every rank must call it."""
        return {name: self._gather(state) for name, state in (self._training or self._current()).items()}

    def load(self, checkpoint: Mapping[str, Any]) -> None:
        """Keep the states in ``checkpoint`` until :meth:`restore`."""
        self.resumes, self._loaded = True, checkpoint.get(KEY)

    def restore(self) -> None:
        """Set the states of this rank, after everything else that happens before the first epoch of the run."""
        if not self.resumes:
            return
        ranks, states = self._module.trainer.world_size, self._loaded
        if not states:
            rank_zero_info("The checkpoint has no states of random generators: dropout will not be that of its run.")
        elif (before := len(next(iter(states.values())))) != ranks:
            rank_zero_info(
                f"The checkpoint has the states of random generators of {before} ranks, and this run has {ranks}: "
                "dropout will not be that of its run."
            )
        else:
            set_states({name: state[self._module.trainer.global_rank].clone() for name, state in states.items()})
        draw_as_without_interruption(self._module.trainer)
        self.reset()

    def _current(self) -> dict[str, Tensor]:
        return current_states(self._module.trainer.strategy.root_device)

    def _gather(self, state: Tensor) -> Tensor:
        trainer = self._module.trainer
        if trainer.world_size == 1 or not distributed.is_initialized():
            return state.unsqueeze(0)
        mine = state.to(trainer.strategy.root_device)
        everyone = [torch.empty_like(mine) for _ in range(trainer.world_size)]
        distributed.all_gather(everyone, mine)
        return torch.stack(everyone).cpu()


def current_states(device: torch.device) -> dict[str, Tensor]:
    """States of the global generators of Python, NumPy, PyTorch and ``device``: tensors of one dimension, by name."""
    _, numbers, gauss = random.getstate()
    legacy: Any = np.random.get_state(legacy=True)  # a tuple
    nan = float("nan")
    states = {
        "python": torch.tensor(numbers, dtype=torch.int64),
        "python_gauss": torch.tensor([nan if gauss is None else gauss], dtype=torch.float64),
        "numpy": torch.from_numpy(np.append(legacy[1].astype(np.int64), [legacy[2], legacy[3]])),
        "numpy_gauss": torch.tensor([legacy[4]], dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_states(states: Mapping[str, Tensor]) -> None:
    """Set the global generators; that of the GPU is the current one of this process.

    Args:
        states: those of :func:`current_states`.
    """
    gauss = states["python_gauss"].item()
    random.setstate((3, tuple(states["python"].tolist()), None if gauss != gauss else gauss))
    *key, position, has_gauss = states["numpy"].tolist()
    np.random.set_state(("MT19937", np.array(key, dtype=np.uint32), position, has_gauss, states["numpy_gauss"].item()))
    torch.set_rng_state(states["torch"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
