"""What the retain model lacks, layer by layer: measured once per pair of models, and kept on disk."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, distributed

from unlearn_pl.references.cache import ReferenceCache, keys_of
from unlearn_pl.types import TokenBatch

DROPS = "drops"


class KnownDrops:
    """Drops of the retain model, by example; a file with a digest keeps them.

    Args:
        path: the file; None for none.
        facts: what the drops depend on beside the examples: the weights of both models, and the precision.

    Raises:
        ValueError: if the file was made from something else, or was changed after it was written.
    """

    def __init__(self, path: Path | None, facts: Mapping[str, str]) -> None:
        self.path = path
        self.facts = dict(facts)
        self._cache: ReferenceCache | None = None
        self._is_new = False
        if path is not None and path.exists():
            self._cache, found = ReferenceCache.read(path)
            if changed := sorted(name for name in self.facts if found.get(name) != self.facts[name]):
                raise ValueError(
                    f"The depth cache {str(path)!r} was made from something else: {', '.join(changed)} differ. Delete "
                    "it, or choose another file."
                )

    def __call__(self, batch: TokenBatch) -> Tensor | None:
        """Drops ``[B, L]`` of the examples of a batch; None if some are not known."""
        keys = keys_of(batch)
        if self._cache is None or any(key not in self._cache for key in keys):
            return None
        return self._cache.rows(keys)[DROPS].to(batch["labels"].device)

    def keep(self, measured: Sequence[tuple[TokenBatch, Tensor]]) -> None:
        """Add what all ranks have measured to the file; a collective operation.

        Args:
            measured: batches of this rank with their drops ``[B, L]``.
        """
        part = {key: row for batch, drops in measured for key, row in zip(keys_of(batch), drops, strict=True)}
        parts: list[dict[tuple[int, int], Tensor]] = [part]
        if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
            parts = [{} for _ in range(distributed.get_world_size())]
            distributed.all_gather_object(parts, part)
        new = {key: row for found in parts for key, row in sorted(found.items())}
        if not new:
            return
        self._is_new = True
        keys = torch.tensor(list(new), dtype=torch.int64)
        made = ReferenceCache(keys, torch.ones(len(new), dtype=torch.int64), {DROPS: torch.stack(list(new.values()))})
        self._cache = made if self._cache is None else ReferenceCache.joined([self._without(new), made])

    def write(self) -> None:
        """Write the file, on one rank, if there is something new in it."""
        if self.path is not None and self._cache is not None and self._is_new:
            self._cache.write(self.path, self.facts)

    def _without(self, new: Mapping[tuple[int, int], Tensor]) -> ReferenceCache:
        assert self._cache is not None
        kept = torch.tensor([(key[0], key[1]) not in new for key in self._cache.keys.tolist()], dtype=torch.bool)
        return ReferenceCache(
            self._cache.keys[kept], self._cache.lengths[kept], {DROPS: self._cache.values[DROPS][kept]}
        )
