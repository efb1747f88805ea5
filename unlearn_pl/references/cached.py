"""Log-probabilities of the reference model, computed once."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import cast, get_args
from urllib.parse import quote

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from unlearn_pl.functional.scored_rows import row_chunks
from unlearn_pl.functional.top_k import TopK, complete_top_k
from unlearn_pl.models.adapters import STARTS_AT_ZERO
from unlearn_pl.models.language.causal_lm import DTypeName
from unlearn_pl.references.base import Reference
from unlearn_pl.references.cache import Key, ReferenceCache, key_of, keys_of
from unlearn_pl.references.context import ReferenceContext
from unlearn_pl.references.measure import measure
from unlearn_pl.references.ranks import on_rank_zero
from unlearn_pl.results.fingerprint import weights_fingerprint
from unlearn_pl.types import Batch, LanguageView, Need, Needs, TokenBatch, View, label_mask, parse_needs

REF_LOGPS, REF_LOGITS = Need("logps", reference=True), Need("logits", reference=True)
FACTS = {
    "weights": "weights of the reference model",
    "precision": "precision of the Trainer",
    "data": "rows of the stream, or the template or tokenizer that lays them out",
    "ref_logits": "what is kept for ref_logits",
}
"""What a cache was computed from: name to its description in messages."""


class CachedReference(Reference):
    """The reference model's outputs on every example that training will show, computed before training starts.

    No second model is held during training. The values are kept in one file per stream and mapped into memory; a run
    that finds files of the same weights, precision and data reuses them and computes only what they do not cover.

    ``ref_logps`` are exact. ``ref_logits`` are an approximation: of each scored position, the ``top_k`` most probable
    tokens (the label always among them) and the mass of all others are kept. The others share this mass as they do
    in the trained model (:func:`~unlearn_pl.functional.complete_top_k`), so that KL divergence and its
    gradient are those between the coarser events {each of the tokens, the rest}: a lower bound on the full
    divergence, 0 at the original weights. A loss that raises the tail, such as UNDIAL's, needs many tokens or
    :class:`FrozenReference`. ``benchmarks/RESULTS.md`` has measured errors and sizes.

    Args:
        path: folder of the files; ``reference`` in the Trainer's ``default_root_dir`` by default. All ranks must see
            it.
        top_k: tokens kept per scored position for objectives that need ``ref_logits``; with the size of the
            vocabulary nothing is approximated.
        dtype: dtype of their log-probabilities in the cache.

    Raises:
        ValueError: if an argument is out of range.
    """

    borrows_model = True

    def __init__(self, path: str | None = None, top_k: int = 64, dtype: DTypeName = "float32") -> None:
        if top_k < 1:
            raise ValueError(f"top_k={top_k} must be at least 1.")
        if dtype not in get_args(DTypeName):
            raise ValueError(f"dtype is {dtype!r}; accepted: {', '.join(get_args(DTypeName))}.")
        self.path = path
        self.top_k = top_k
        self.dtype = dtype
        self._caches: dict[str, ReferenceCache] = {}

    def prepare(self, context: ReferenceContext) -> None:
        """Read the cache of every stream that is compared with the reference model; compute what is missing.

        Args:
            context: models, data, ranks and folder.

        Raises:
            ValueError: if the files were computed from other weights, data or settings, the data is not known
                beforehand, or an objective needs a field that is not cached.
        """
        parsed = {stream: parse_needs(needs) for stream, needs in context.needs.items()}
        streams = {s: n for s, n in parsed.items() if any(need.reference for need in n)}
        for stream, needs in streams.items():
            _check_needs(stream, needs)
        original = context.original()
        with torch.device("cpu"):  # Lightning builds models with the training device as the default
            common = {"weights": weights_fingerprint(original, STARTS_AT_ZERO), "precision": context.precision}
            for stream, needs in streams.items():
                self._caches[stream] = self._ready(stream, REF_LOGITS in needs, original, common, context)

    def _ready(
        self, stream: str, with_logits: bool, original: nn.Module, common: Mapping[str, str], context: ReferenceContext
    ) -> ReferenceCache:
        if context.examples is None:
            raise ValueError(
                "CachedReference must know beforehand what training will show, but the Trainer has no "
                "UnlearningDataModule. Give it one, or use FrozenReference."
            )
        given = context.examples(stream)
        top_k = self.top_k if with_logits else None
        kept = f"top_k={top_k}, {self.dtype}" if top_k else "nothing"
        facts = {**common, "data": given.fingerprint, "ref_logits": kept}
        path = (Path(self.path) if self.path else context.folder) / f"{quote(stream, safe='')}.safetensors"
        found = on_rank_zero(partial(_found, path, facts), context)
        wanted = {key_of(example): example for example in given.examples}
        missing = [example for key, example in wanted.items() if key not in found]
        if missing:
            rank_zero_info(f"reference: {len(missing)} examples of {stream!r} go through the reference model once")
            parts = measure(original, missing, context, top_k, getattr(torch, self.dtype))
            on_rank_zero(partial(_extend, path, parts, facts), context)
        return ReferenceCache.read(path)[0]

    def annotate(
        self, stream: str, batch: Batch, needs: Needs, model: nn.Module
    ) -> dict[str, Tensor | dict[int, Tensor]]:
        """``ref_logps [B, T-1]`` of ``batch``, if they are among ``needs``.

        Raises:
            ValueError: if an example is not in the cache.
        """
        if REF_LOGPS not in parse_needs(needs):
            return {}
        mask = label_mask(batch["labels"])
        logps = self._rows(stream, batch)["logps"].to(mask.device, non_blocking=True)
        return {"ref_logps": logps.new_zeros(mask.shape).masked_scatter(mask, logps)}

    @torch.no_grad()
    def complete(self, stream: str, batch: Batch, needs: Needs, view: View) -> None:
        """Set ``ref_logits [B, T-1, V]``, if among ``needs``: log-probabilities at scored positions, 0 elsewhere."""
        if REF_LOGITS not in parse_needs(needs):
            return
        assert isinstance(view, LanguageView)
        assert view.logits is not None
        rows = {
            name: values.to(view.logits.device, non_blocking=True) for name, values in self._rows(stream, batch).items()
        }
        known = TopK(rows["tokens"].long(), rows["top_logps"], rows["rest"])
        dtype = torch.promote_types(view.logits.dtype, torch.float32)
        view.ref_logits = torch.zeros_like(view.logits, dtype=dtype)
        for part, index in row_chunks(view.mask):
            view.ref_logits[index] = complete_top_k(TopK(*(field[part] for field in known)), view.logits[index])

    def _rows(self, stream: str, batch: Batch) -> dict[str, Tensor]:
        keys = keys_of(cast(TokenBatch, batch))
        unknown = [index for index, digest in keys if (index, digest) not in self._caches.get(stream, ())]
        if unknown:
            raise ValueError(
                f"CachedReference has nothing on example {unknown[0]} of stream {stream!r} as it is shown here. "
                "Probably training continued beyond the max_epochs and max_steps that it started with, or the module "
                "is fitted again with other data. Start a new run with a new module, or use FrozenReference."
            )
        return self._caches[stream].rows(keys)


def _check_needs(stream: str, needs: Needs) -> None:
    others = sorted(str(need) for need in needs if need.reference and need not in (REF_LOGPS, REF_LOGITS))
    if others:
        raise ValueError(
            f"An objective on stream {stream!r} needs {others}, but CachedReference keeps log-probabilities only. "
            "Use FrozenReference."
        )
    if REF_LOGITS in needs and Need("logits") not in needs:
        raise ValueError(
            f"An objective on stream {stream!r} needs 'ref_logits' without 'logits', from which CachedReference "
            "completes them. Add 'logits' to its needs, or use FrozenReference."
        )


def _found(path: Path, facts: Mapping[str, str]) -> set[Key]:
    """The examples in the file at ``path``; none when there is no file."""
    if not path.exists():
        return set()
    cache, made_from = ReferenceCache.read(path)
    changed = [
        f"{what} ({made_from.get(name, '')[:24]}, now {facts[name][:24]})"
        for name, what in FACTS.items()
        if made_from.get(name) != facts[name]
    ]
    if changed:
        raise ValueError(
            f"The reference cache {str(path)!r} was made from something else: {'; '.join(changed)}. Delete the "
            f"folder {str(path.parent)!r}, or choose another one with CachedReference(path=...)."
        )
    return {(index, digest) for index, digest in cache.keys.tolist()}


def _extend(path: Path, parts: list[ReferenceCache], facts: Mapping[str, str]) -> None:
    known = [ReferenceCache.read(path)[0]] if path.exists() else []
    ReferenceCache.joined([*known, *parts]).write(path, facts)
