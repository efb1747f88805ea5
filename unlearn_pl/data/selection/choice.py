"""The choice of rows, its report, and the file that keeps both."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from unlearn_pl.data.selection.distances import k_means
from unlearn_pl.data.selection.examples import LoadedModel, StreamExamples
from unlearn_pl.data.selection.pool import Pool
from unlearn_pl.data.selection.selected_source import SelectedSource
from unlearn_pl.data.selection.selector import Ranking
from unlearn_pl.recording import record
from unlearn_pl.results.json_file import parse_json
from unlearn_pl.results.sealed_tensors import check_sealed, facts_of, open_sealed, write_sealed

_KIND = "a selection of rows"
_VERSION = 1
"""Version of how rows are chosen; files of other versions are not used."""
Report = dict[str, object]
"""Plain data: what was kept of what, votes and kept rows per cluster, coverage, and a random choice beside it."""


@dataclass(frozen=True)
class Choice:
    """The rows that are kept.

    Attributes:
        rows: ``[n]`` their numbers, ascending.
        report: how they were chosen.
    """

    rows: Tensor
    report: Report


def choose(selected: SelectedSource, pool: Pool) -> Choice:
    """Rank the rows of ``pool``, keep the best and a share of random ones.

    Raises:
        ValueError: if none is kept, or the selector cannot rank them.
    """
    selector = selected.selector
    count = selector.count(pool.size)
    ranking = selector.rank(pool)
    if sorted(ranking.rows.tolist()) != list(range(pool.size)):
        raise ValueError(f"{type(selector).__name__}.rank must name each of the {pool.size} rows once.")
    best = ranking.rows[: count - round(selected.mix * count)]
    shuffled = torch.randperm(pool.size, generator=torch.Generator().manual_seed(selected.seed))
    others = shuffled[~torch.isin(shuffled, best)][: count - len(best)]
    rows = torch.cat([best, others]).sort().values
    return Choice(rows, report(selected, pool, ranking, rows, len(others)))


def report(selected: SelectedSource, pool: Pool, ranking: Ranking, rows: Tensor, at_random: int) -> Report:
    """What was kept, beside what a random choice of as many rows would keep.

    ``coverage`` is the share of the clusters of which at least one row is kept. The clusters are those of the selector,
    or else made by k-means where it has read the embeddings; without embeddings there are none.
    """
    random = torch.randperm(pool.size, generator=torch.Generator().manual_seed(selected.seed + 1))[: len(rows)]
    overlap = torch.isin(rows, random).double().mean().item()
    found: Report = {"rows": pool.size, "kept": len(rows), "at_random": at_random, "overlap_with_random": overlap}
    groups = ranking.groups
    if pool.has_features and (groups is None or groups.max() == 0):
        groups = k_means(pool.features, None, selected.seed)
    if groups is None:
        return found
    size = int(groups.max()) + 1
    kept, kept_at_random = (groups[part].bincount(minlength=size) for part in (rows, random))
    found |= {
        "clusters": size,
        "rows_per_cluster": groups.bincount(minlength=size).tolist(),
        "kept_per_cluster": kept.tolist(),
        "coverage": (kept > 0).double().mean().item(),
        "coverage_of_random": (kept_at_random > 0).double().mean().item(),
    }
    if ranking.votes is not None:
        found |= {"votes": ranking.votes.tolist(), "clusters_without_votes": int((ranking.votes == 0).sum())}
    return found


def summary(report: Report) -> str:
    """``report`` in one line, for the log."""
    found = cast(dict[str, float], report)
    line = f"{report['kept']} of {report['rows']} rows are kept"
    if report["at_random"]:
        line += f", {report['at_random']} of them at random"
    line += f"; a random choice has {found['overlap_with_random']:.0%} of them"
    if "coverage" in report:
        line += (
            f"; they cover {found['coverage']:.0%} of {report['clusters']} clusters, and a random choice "
            f"{found['coverage_of_random']:.0%}"
        )
    if "votes" in report:
        line += f"; {report['clusters_without_votes']} clusters have no vote"
    return line


def identity_of(
    selected: SelectedSource, examples: StreamExamples, anchors: StreamExamples | None, model: LoadedModel
) -> str:
    """SHA-256 of all that a choice depends on."""
    selector, uses_features = selected.selector, selected.selector.uses_features
    parts = [
        _VERSION,
        examples.fingerprint(),
        anchors.fingerprint() if anchors is not None else None,
        record(selector),
        [record(selected.embed), selected.embed.identity()] if uses_features else None,
        [selected.mix, selected.seed],
        model.fingerprint() if selected.uses_model else None,
        _column(selected, examples),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def cached(path: Path) -> Choice | None:
    """The choice in the file at ``path``; None if there is no file.

    Raises:
        ValueError: if it was changed after it was written.
    """
    if not path.is_file():
        return None
    check_sealed(path, _KIND)
    with open_sealed(path, _KIND) as file:
        return Choice(file.get_tensor("rows"), parse_json(facts_of(file)["report"]))


def keep(path: Path, choice: Choice) -> None:
    """Write ``choice`` to the file at ``path``, with a digest."""
    write_sealed(path, {"rows": choice.rows}, {"report": json.dumps(choice.report)})


def pool_of(selected: SelectedSource, examples: StreamExamples, anchors: StreamExamples | None) -> Pool:
    """The rows to pick from; nothing is measured before it is read."""
    embed = selected.embed.embed
    return Pool(
        len(examples),
        features=lambda: embed(examples),
        anchors=None if anchors is None else (lambda: embed(anchors)),
        labels=examples.labels,
        measured=examples.measured,
    )


def _column(selected: SelectedSource, examples: StreamExamples) -> str | None:
    """SHA-256 of the column that the selector reads; the fingerprint of the rows leaves other columns out."""
    column = getattr(selected.selector, "label", None)
    if column is None:
        return None
    return hashlib.sha256(json.dumps(list(map(str, examples.labels(column)))).encode()).hexdigest()
