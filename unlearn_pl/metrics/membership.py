"""Membership inference and PrivLeak, as functions of scores per example."""

from collections.abc import Iterator
from pathlib import Path

from unlearn_pl.functional import Compat, auc, bootstrap_interval, priv_leak, privacy_score
from unlearn_pl.metrics.answer_metric import AnswerMetric
from unlearn_pl.metrics.membership_attacks import LossAttack, MinKAttack, MinKPlusPlusAttack, ZlibAttack
from unlearn_pl.metrics.scores import Scores
from unlearn_pl.results import evaluation_arguments, read_json, read_results

ATTACKS = ("loss", "zlib", "min_k", "min_k_plus_plus")
MORE_ATTACKS = ("reference", "gradient_norm", "likelihood_ratio")
"""Attacks that need other models, or a backward pass."""


def membership_attacks(compat: Compat = None) -> dict[str, AnswerMetric]:
    """A new metric for every attack of ``ATTACKS``, with ``k = 0.4``.

    Args:
        compat: whose conventions to follow.
    """
    return {
        "loss": LossAttack(),
        "zlib": ZlibAttack(),
        "min_k": MinKAttack(compat=compat),
        "min_k_plus_plus": MinKPlusPlusAttack(compat=compat),
    }


def membership_metrics(
    members: Scores,
    nonmembers: Scores,
    retain_members: Scores | None = None,
    retain_nonmembers: Scores | None = None,
    compat: Compat = None,
    retain_auc: float | None = None,
) -> dict[str, float]:
    """How well attacks tell the training texts of a model from other texts.

    - ``auc_{attack}``: :func:`~unlearn_pl.functional.auc`; 1 for an attack that separates them perfectly.
    - ``privleak``: :func:`~unlearn_pl.functional.priv_leak` of Min-K%; compared with ``retain_auc`` without the scores
      of a retain model.
    - ``privacy``: :func:`~unlearn_pl.functional.privacy_score` over ``ATTACKS``; needs a retain model.

    A metric is absent if its scores are; it is NaN if one of them is NaN.

    Args:
        members: attack to index to score on the forget set.
        nonmembers: the same on the holdout set.
        retain_members: ``members`` of a retain model, which was trained without the forget set.
        retain_nonmembers: ``nonmembers`` of the same retain model.
        compat: whose conventions to follow.
        retain_auc: AUC of Min-K% on a retain model whose scores are not known; None for chance, 0.5.

    Returns:
        Name of the metric to value.
    """
    chance = 0.5 if retain_auc is None else retain_auc
    aucs = _aucs(members, nonmembers)
    metrics = {f"auc_{attack}": value for attack, value in aucs.items()}
    retain_aucs = _aucs(retain_members or {}, retain_nonmembers or {})
    if "min_k" in aucs:
        metrics["privleak"] = priv_leak(aucs["min_k"], retain_aucs.get("min_k", chance), compat)
    usual, retain_usual = ({a: table[a] for a in ATTACKS if a in table} for table in (aucs, retain_aucs))
    if usual.keys() == retain_usual.keys() == set(ATTACKS):
        metrics["privacy"] = privacy_score(usual, retain_usual)
    return metrics


def membership_intervals(members: Scores, nonmembers: Scores) -> dict[str, float]:
    """95 % intervals of the AUCs, by :func:`~unlearn_pl.functional.bootstrap_interval`.

    Args:
        members: attack to index to score on the forget set.
        nonmembers: the same on the holdout set.

    Returns:
        ``auc_{attack}_low`` and ``auc_{attack}_high`` of every attack with scores on both sets.
    """
    intervals: dict[str, float] = {}
    for attack, *scores in _pairs(members, nonmembers):
        intervals[f"auc_{attack}_low"], intervals[f"auc_{attack}_high"] = bootstrap_interval(auc, *scores)
    return intervals


def read_membership_scores(path: str | Path, splits: tuple[str, str], compat: Compat = None) -> tuple[Scores, Scores]:
    """The scores of a retain model on members and non-members.

    Args:
        path: a ``results.json``; published logs of other code hold no such scores.
        splits: names of the splits that hold the members and the non-members.
        compat: the conventions that the scores must follow.

    Returns:
        Attack to index to score, for each of the two splits; both empty if the file holds none.

    Raises:
        ValueError: if the file is damaged, or its scores follow other conventions than ``compat``.
    """
    if "schema_version" not in read_json(path):
        return {}, {}
    results = read_results(path)
    tables = [
        {attack: values for attack, values in results.per_example.get(split, {}).items() if attack in ATTACKS}
        for split in splits
    ]
    stored = evaluation_arguments(results).get("compat")
    if all(tables) and stored != compat:
        raise ValueError(f"{str(path)!r} was made with compat={stored!r}, but compat={compat!r} was requested.")
    return tables[0], tables[1]


def _aucs(members: Scores, nonmembers: Scores) -> dict[str, float]:
    return {attack: auc(ours, others) for attack, ours, others in _pairs(members, nonmembers)}


def _pairs(members: Scores, nonmembers: Scores) -> Iterator[tuple[str, list[float], list[float]]]:
    """Every attack with scores on both sets, and these scores."""
    for attack in (*ATTACKS, *MORE_ATTACKS):
        if members.get(attack) and nonmembers.get(attack):
            yield attack, list(members[attack].values()), list(nonmembers[attack].values())
