"""Gradients of the forget objectives without what most tokens have in common."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from unlearn_pl.gradients.base import RowSource
from unlearn_pl.gradients.replay import Replay
from unlearn_pl.gradients.rows import Row, local
from unlearn_pl.gradients.sources.principal_directions import PrincipalDirections
from unlearn_pl.gradients.sources.token_records import TokenRecords, gathered
from unlearn_pl.models.weight_layout import WeightMatrix, weight_matrices

KEPT = 4
"""Rows of a scatter matrix that are kept, as a multiple of the directions that are removed."""


class CollapseIrrelevant(RowSource):
    """``P_d g_k P_a`` for the matrices of the forget objectives: without the principal directions of their tokens.

    The gradient of a matrix is ``sum_t d_t a_t^T`` over tokens, with its inputs ``a_t`` and the gradients ``d_t`` of
    its outputs. Their mean and their largest principal components are those that all texts have in common; ``P_a`` and
    ``P_d`` project them out, so that the step concerns what is particular to the forget set: it does less harm
    elsewhere, and is harder to undo. Retain objectives, and parameters that are no such matrices, keep their gradients.

    Directions come from the tokens of all windows so far, of all ranks; of forget objectives only, and only of tokens
    that a gradient reaches. Memory: both vectors of every token of a window that is measured, in fp32.

    Args:
        inputs: number of directions that are removed from ``a_t``, the mean among them; 0 for none.
        outputs: the same of ``d_t``.
        matrices: parts of the names of the matrices; the gated projections of Llama's and many other models by default.
        measure_every: the tokens of every m-th step count; in between, directions stay as they are.
        decay: by how much earlier tokens count less with every measurement; 1 for all the same.

    Raises:
        ValueError: if a number is out of range, or nothing is to be removed; at the first step, if no trained matrix
            has such a name, or one has no more dimensions than are to be removed.

    References:
        Collapse of irrelevant representations (CIR), arXiv 2509.11816, and RepSelect, arXiv 2606.17168; numbers as in
        the authors' code. It measures an epoch before the first step, drops the first token of every text, and has a
        step of fixed length; its losses on hidden states and its separate retain step are not a part of this.
    """

    def __init__(
        self,
        inputs: int = 24,
        outputs: int = 36,
        matrices: Sequence[str] = ("gate_proj", "up_proj", "down_proj"),
        measure_every: int = 1,
        decay: float = 1.0,
    ) -> None:
        if inputs < 0 or outputs < 0 or not inputs + outputs:
            raise ValueError(f"inputs={inputs} and outputs={outputs}; accepted: 0 or more directions, not 0 of both.")
        if measure_every < 1:
            raise ValueError(f"measure_every is {measure_every}; accepted: 1 (every step) or more optimizer steps.")
        if not 0 <= decay <= 1:
            raise ValueError(f"decay is {decay}; accepted: a factor from 0 (this step alone) to 1 (all steps).")
        if isinstance(matrices, str) or not matrices:
            raise ValueError(f"matrices={matrices!r}; accepted: a list of parts of names, such as ['down_proj'].")
        self.inputs = inputs
        self.outputs = outputs
        self.matrices = list(matrices)
        self.measure_every = measure_every
        self.decay = decay
        self.reset()

    def reset(self) -> None:
        """Discard the directions."""
        self._seen: dict[str, dict[str, PrincipalDirections]] = {}
        self._bases: dict[str, dict[str, Tensor]] = {}  # of these, computed when they are needed
        self._age = 0

    def rows(self, replay: Replay) -> dict[str, Row]:
        """One row per objective; those of the forget objectives are projected."""
        forget, retain = (replay.window.names_of(role) for role in ("forget", "retain"))
        if not forget:
            return replay.rows()
        chosen = self._chosen(replay)
        measures = self._age % self.measure_every == 0
        self._age += 1
        records = TokenRecords({} if not measures else self._layers(replay, chosen))
        with records.recording():
            rows = replay.rows(forget)
        if measures:
            self._add(records, chosen, replay)
        for name in forget:
            for place, matrix in chosen.items():
                self._project(rows[name][place], matrix)
            replay.runtime.mask(rows[name])  # a projection mixes masked elements with the others
        if retain:
            rows.update(replay.rows(retain))
        return {name: rows[name] for name in replay.window.objectives}

    def state_dict(self) -> dict[str, Any]:
        """What was seen of every matrix, and the number of steps."""
        seen = {name: {side: seen.state_dict() for side, seen in sides.items()} for name, sides in self._seen.items()}
        return {"seen": seen, "age": self._age}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from ``state``."""
        self.reset()
        self._age = state["age"]
        for name, sides in state["seen"].items():
            for side, kept in sides.items():
                self._directions(name, side).load_state_dict(kept)

    def _chosen(self, replay: Replay) -> dict[int, WeightMatrix]:
        """Place of a trained parameter to the matrix that it is."""
        places = {id(parameter): place for place, parameter in enumerate(replay.parameters)}
        found = {
            places[id(matrix.parameter)]: matrix
            for name, matrix in weight_matrices(replay.runtime.model).items()
            if id(matrix.parameter) in places and matrix.parameter.dim() == 2 and any(p in name for p in self.matrices)
        }
        if not found:
            raise ValueError(
                f"CollapseIrrelevant: no trained matrix has a name with one of {self.matrices}. Accepted: parts of "
                f"names such as those of {list(weight_matrices(replay.runtime.model))[:3]}."
            )
        for matrix in found.values():
            sizes = _sizes(matrix)
            if sizes["inputs"] <= self.inputs or sizes["outputs"] <= self.outputs:
                raise ValueError(
                    f"CollapseIrrelevant(inputs={self.inputs}, outputs={self.outputs}) would leave nothing of the "
                    f"gradient of {matrix.name}, which has {sizes['inputs']} inputs and {sizes['outputs']} outputs. "
                    "Accepted: fewer directions, or other matrices."
                )
        return found

    def _layers(self, replay: Replay, chosen: Mapping[int, WeightMatrix]) -> dict[str, torch.nn.Module]:
        modules = dict(replay.runtime.model.named_modules())
        return {matrix.name: modules[matrix.name.rpartition(".")[0]] for matrix in chosen.values()}

    def _directions(self, name: str, side: str) -> PrincipalDirections:
        sides = self._seen.setdefault(name, {})
        if side not in sides:
            sides[side] = PrincipalDirections(KEPT * getattr(self, side))
        return sides[side]

    def _add(self, records: TokenRecords, chosen: Mapping[int, WeightMatrix], replay: Replay) -> None:
        ranks = replay.runtime.world_size
        for matrix in chosen.values():
            device, sizes = local(matrix.parameter).device, _sizes(matrix)
            vectors = {
                "inputs": records.inputs(matrix.name, sizes["inputs"], device),
                "outputs": records.gradients(matrix.name, sizes["outputs"], device) / ranks,  # of a loss times ranks
            }
            for side in vectors:
                if getattr(self, side):
                    self._directions(matrix.name, side).add(gathered(vectors[side], ranks), self.decay)
        self._bases = {}

    def _project(self, gradient: Tensor | None, matrix: WeightMatrix) -> None:
        if gradient is None:
            return
        for side, basis in self._basis_of(matrix.name).items():
            project_out(gradient, basis, matrix.input_dim if side == "inputs" else 1 - matrix.input_dim)

    def _basis_of(self, name: str) -> dict[str, Tensor]:
        if name not in self._bases:
            seen = {side: seen for side, seen in self._seen.get(name, {}).items() if seen.count}
            self._bases[name] = {side: directions.basis(getattr(self, side)) for side, directions in seen.items()}
        return self._bases[name]


def project_out(gradient: Tensor, basis: Tensor, dim: int) -> None:
    """Remove from ``gradient [n, m]``, in place, what it has of ``basis [D, k]`` along dimension ``dim`` of size D.

    Args:
        gradient: a matrix, or this rank's rows of it.
        basis: orthonormal columns.
        dim: 0 or 1.
    """
    values = local(gradient)
    basis = basis.to(values.device, torch.promote_types(values.dtype, torch.float32))
    matrix = values.to(basis.dtype) if dim == 0 else values.to(basis.dtype).T
    if dim == 0 and isinstance(gradient, DTensor) and gradient.placements == (Shard(0),):
        basis = local(distribute_tensor(basis, gradient.device_mesh, gradient.placements, src_data_rank=None))
        shares = basis.T @ matrix
        torch.distributed.all_reduce(shares, group=gradient.device_mesh.get_group())
    else:
        shares = basis.T @ matrix
    removed = basis @ shares
    values.sub_((removed if dim == 0 else removed.T).to(values.dtype))


def _sizes(matrix: WeightMatrix) -> dict[str, int]:
    shape = matrix.parameter.shape
    return {"inputs": shape[matrix.input_dim], "outputs": shape[1 - matrix.input_dim]}
