"""Weightings of the TorchJD library as combiners."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from unlearn_pl.combiners.gramian_combiner import GramianCombiner
from unlearn_pl.combiners.options import CombinerOptions
from unlearn_pl.combiners.step_seed import step_seed
from unlearn_pl.types import Role

WEIGHTINGS = (
    "AlignedMTL", "CAGrad", "DualProj", "FairGrad", "GradVac", "IMTLG", "Krum", "Mean", "MGDA", "PCD", "PCGrad",
    "Random", "Sum", "UPGrad",
)  # fmt: skip
"""Rules of TorchJD that read nothing but the Gramian."""


class TorchJD(GramianCombiner):
    """``lambda = W(G)`` with any weighting ``W`` of the TorchJD library, on the Gramian of unit gradients by default.

    TorchJD's absolute tolerances suit unit gradients; ``normalization="none"`` gives the rules on raw gradients, as
    their papers state them. Cases that TorchJD does not check are handled here: zero and non-finite gradients are
    dropped, and weights that are not finite become 0, so that the step is skipped (and counted as stationary).

    Rules that depend on the order of the objectives (``PCD``, whose first one is primary) get the active ones in the
    order of the module. Stateful rules (``GradVac``, ``PCD``, ``smoothing``) keep a state per block of parameters, also
    in the checkpoint; it is reset when the set of active objectives changes. The random numbers of ``PCGrad``,
    ``GradVac`` and ``Random`` depend only on ``seed`` and the number of the step, so that all ranks agree.

    Args:
        weighting: name of a rule: ``AlignedMTL``, ``CAGrad``, ``DualProj``, ``FairGrad``, ``GradVac``, ``IMTLG``,
            ``Krum``, ``Mean``, ``MGDA``, ``PCD``, ``PCGrad``, ``Random``, ``Sum`` or ``UPGrad``; or a live
            ``torchjd.aggregation.Weighting`` of Gramians, which a checkpoint cannot rebuild. TorchJD's
            ``DualProj`` and ``UPGrad`` need packages under the GPL, which ``unlearn_pl[torchjd]`` does not install;
            this library's own versions do not need them.
        arguments: arguments of the weighting, by name: ``{"c": 0.4}`` for ``CAGrad``, ``{"alpha": 1.0}`` for
            ``FairGrad``.
        smoothing: decay of a moving average of the weights (CR-MOGM), in ``[0, 1)``; None for no smoothing.
        seed: seed of the random numbers.
        options: see :class:`CombinerOptions`.

    Raises:
        ValueError: if the weighting is unknown, its arguments do not fit, or a package is missing.

    References:
        Quinton & Rey, Jacobian Descent for Multi-Objective Optimization (TorchJD, UPGrad), arXiv 2406.16232.
        PCGrad: Yu et al., arXiv 2001.06782. GradVac: Wang et al., arXiv 2010.05874. CAGrad: Liu et al.,
        arXiv 2110.14048. FairGrad: Ban & Ji, arXiv 2402.15638. PCD: Varam & AlHajri,
        arXiv 2606.29521. IMTL-G: Liu et al., ICLR 2021.
        Aligned-MTL: Senushkin et al., CVPR 2023. CR-MOGM: Zhou et al., NeurIPS 2022.
    """

    def __init__(
        self,
        weighting: str | nn.Module,
        arguments: dict[str, float | int | str] | None = None,
        smoothing: float | None = None,
        seed: int = 0,
        **options: Unpack[CombinerOptions],
    ) -> None:
        super().__init__(**options)
        if smoothing is not None and not 0 <= smoothing < 1:
            raise ValueError(f"smoothing is {smoothing}, but must be None or in [0, 1).")
        self._fresh = _weighting(weighting, arguments or {}, smoothing)
        self.seed = seed
        self._forget_steps()

    def _forget_steps(self) -> None:
        self._calls = 0
        self._weightings: dict[int, nn.Module] = {}
        self._members: dict[int, Tensor] = {}

    def setup(self, names: Sequence[str], roles: Sequence[Role], zero_at_start: Sequence[bool] = ()) -> None:
        """See :meth:`Combiner.setup`; also resets the weighting."""
        super().setup(names, roles, zero_at_start)
        self._forget_steps()

    def __call__(self, gramian: Tensor | None, losses: Tensor) -> Tensor:
        """See :meth:`Combiner.__call__`; does not change the global random state."""
        self._calls += 1
        with torch.random.fork_rng(devices=[]):
            # torch.manual_seed would also seed the accelerators, which the fork does not restore.
            torch.default_generator.manual_seed(step_seed(self.seed, self._calls))
            return super().__call__(gramian, losses)

    def weigh(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Weights ``[K]`` of the weighting; zeros if they are not finite."""
        if self.block not in self._members or not torch.equal(self._members[self.block], self.members):
            self._weightings[self.block] = deepcopy(self._fresh)
            self._members[self.block] = self.members.clone()
        weights = self._weightings[self.block](gramian).detach().to("cpu", torch.float64)
        return weights if weights.isfinite().all() else torch.zeros_like(losses)

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`Combiner.state_dict`; includes the number of calls and the states of the weightings."""
        memories = {block: _memory(weighting) for block, weighting in self._weightings.items()}
        return super().state_dict() | {"calls": self._calls, "members": dict(self._members), "memories": memories}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from ``state``, after :meth:`setup`."""
        super().load_state_dict(state)
        self._calls, self._members = state["calls"], dict(state["members"])
        self._weightings = {block: deepcopy(self._fresh) for block in state["memories"]}
        for block, memory in state["memories"].items():
            _remember(self._weightings[block], memory)


def _weighting(
    given: str | nn.Module, arguments: Mapping[str, float | int | str], smoothing: float | None
) -> nn.Module:
    try:
        from torchjd import aggregation
    except ImportError as error:
        raise ValueError("TorchJD needs the package torchjd: pip install 'unlearn_pl[torchjd]'") from error
    if isinstance(given, str):
        given = _named(
            getattr(aggregation, f"{given}Weighting", None) if given in WEIGHTINGS else None, given, arguments
        )
    elif arguments:
        raise ValueError(f"arguments {dict(arguments)} were given with a live weighting; accepted with a name only.")
    if not isinstance(given, aggregation.Weighting):
        raise ValueError(
            f"weighting is a {type(given).__name__}, but must be a torchjd.aggregation.Weighting or a name."
        )
    return given if smoothing is None else aggregation.CRMOGMWeighting(given, alpha=smoothing)


def _named(cls: type[nn.Module] | None, name: str, arguments: Mapping[str, float | int | str]) -> nn.Module:
    if cls is None:
        raise ValueError(f"weighting is {name!r}; accepted: {', '.join(WEIGHTINGS)}, or a torchjd Weighting.")
    try:
        return cls(**arguments)
    except TypeError as error:
        raise ValueError(f"The arguments {dict(arguments)} do not fit TorchJD's {name}: {error}") from error
    except ImportError as error:
        raise ValueError(
            f"{error}. unlearn_pl[torchjd] installs what CAGrad and FairGrad need; unlearn_pl.combiners has its own "
            "DualProj and UPGrad."
        ) from error


def _memory(weighting: nn.Module) -> dict[str, dict[str, Any]]:
    """The state of each submodule. TorchJD resets its buffers unless the key of their shape is restored as well."""
    return {
        name: {key: buffer.clone() for key, buffer in module.named_buffers(recurse=False)}
        | ({"_state_key": module._state_key} if hasattr(module, "_state_key") else {})
        for name, module in weighting.named_modules()
    }


def _remember(weighting: nn.Module, memory: dict[str, dict[str, Any]]) -> None:
    """Restore the state from :func:`_memory`; ``load_state_dict`` raises for buffers that are None when new."""
    for name, values in memory.items():
        module = weighting.get_submodule(name)
        for key, value in values.items():
            setattr(module, key, value.clone() if isinstance(value, Tensor) else value)
