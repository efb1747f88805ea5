"""Selectors on planted clusters and by hand counts."""

import pytest
import torch

from unlearn_pl.data import (
    FeatureMapping,
    GradientNorm,
    LabelMapping,
    MinKLoss,
    Moderate,
    NearestRows,
    Pool,
    Random,
    Ranking,
    SelectedSource,
    Selector,
)
from unlearn_pl.data.selection.choice import choose, summary
from unlearn_pl.data.selection.distances import centers_of, k_means, nearest
from unlearn_pl.types import LanguageView

CENTERS = torch.tensor([[0.0, 0.0], [20.0, 0.0], [0.0, 20.0], [20.0, 20.0]])
SIZES = (5, 7, 6, 8)


def noise(rows: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, 2, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def planted() -> tuple[torch.Tensor, torch.Tensor]:
    """Shuffled rows around four centers, and the center of each."""
    cluster = torch.repeat_interleave(torch.arange(4), torch.tensor(SIZES))
    cluster = cluster[torch.randperm(len(cluster), generator=torch.Generator().manual_seed(1))]
    return CENTERS[cluster] + noise(len(cluster), 2), cluster


@pytest.fixture
def anchors() -> torch.Tensor:
    """Three near center 2, two near center 1, one near center 3."""
    return CENTERS[torch.tensor([2, 1, 2, 3, 1, 2])] + noise(6, 3)


def test_planted_clusters_are_found_exactly(planted):
    rows, cluster = planted
    found = k_means(rows, 4, seed=0)
    assert len({(int(a), int(b)) for a, b in zip(found, cluster, strict=True)}) == 4
    assert torch.equal(found, k_means(rows, 4, seed=0))


def test_votes_equal_a_hand_count(planted, anchors):
    rows, cluster = planted
    ranking = FeatureMapping(0.5, clusters=4).rank(Pool(len(rows), rows, anchors))
    votes = {int(cluster[(ranking.groups == group).nonzero()[0]]): int(ranking.votes[group]) for group in range(4)}
    assert votes == {0: 0, 1: 2, 2: 3, 3: 1}
    assert cluster[ranking.rows].unique_consecutive().tolist() == [2, 1, 3, 0]  # by votes, whole clusters


def test_the_kept_rows_are_those_of_the_clusters_with_most_votes(planted, anchors):
    rows, cluster = planted
    pool = Pool(len(rows), rows, anchors)
    assert set(cluster[FeatureMapping(6 / 26, clusters=4).select(pool)].tolist()) == {2}
    assert set(cluster[FeatureMapping(13 / 26, clusters=4).select(pool)].tolist()) == {2, 1}
    assert set(cluster[FeatureMapping(5 / 26, clusters=4, fewest=True).select(pool)].tolist()) == {0}
    part = FeatureMapping(8 / 26, clusters=4).select(
        pool
    )  # six of cluster 2, and the two of cluster 1 nearest to an anchor
    others = (cluster == 1).nonzero().flatten()
    near = others[torch.cdist(rows[others], anchors).min(dim=1).values.argsort()[:2]]
    assert sorted(part.tolist()) == sorted([*(cluster == 2).nonzero().flatten().tolist(), *near.tolist()])


def test_columns_take_the_place_of_clusters(planted, anchors):
    rows, cluster = planted
    pool = Pool(len(rows), rows, anchors, labels=lambda column: [f"{column}{int(c)}" for c in cluster])
    for selector in (FeatureMapping(0.5, label="author"), LabelMapping(0.5, label="author")):
        assert selector.rank(pool).votes.tolist() == [0, 2, 3, 1]
        assert set(cluster[selector.select(pool)].tolist()) == {1, 2}
    fewest = LabelMapping(5 / 26, label="author", fewest=True)
    assert set(cluster[fewest.select(pool)].tolist()) == {0}


def test_label_mapping_needs_classes(planted, anchors):
    rows, _ = planted
    with pytest.raises(ValueError, match="same class"):
        LabelMapping(0.5, "author").select(Pool(len(rows), rows, anchors, labels=lambda _: ["one"] * len(rows)))
    with pytest.raises(ValueError, match="3 labels for 26 rows"):
        LabelMapping(0.5, "author").select(Pool(len(rows), rows, anchors, labels=lambda _: ["a", "b", "c"]))


def test_the_nearest_rows_by_brute_force(planted, anchors):
    rows, _ = planted
    distance = torch.tensor([min(float((row - a).norm()) for a in anchors) for row in rows])
    pool = Pool(len(rows), rows, anchors)
    assert NearestRows(0.2).select(pool).tolist() == sorted(distance.argsort()[:5].tolist())
    assert NearestRows(0.2, lowest=False).select(pool).tolist() == sorted(distance.argsort()[-5:].tolist())


def test_the_nearest_of_many_points_are_those_of_each_alone():
    points, others = noise(5000, 4), noise(3, 5)
    found = nearest(points, others)
    distance = torch.stack([(points - other).norm(dim=-1) for other in others], dim=1)
    assert torch.equal(found.other, distance.argmin(dim=1))
    torch.testing.assert_close(found.distance.float(), distance.min(dim=1).values, rtol=1e-4, atol=1e-5)


def test_moderate_keeps_the_middle_of_the_distances():
    rows = torch.tensor([[0.0], [1.0], [-2.0], [3.0], [-4.0], [5.0], [-6.0], [7.0], [-8.0], [4.0]])
    assert rows.mean() == 0  # so the distances are the absolute values
    by_distance = rows.abs().flatten().argsort(stable=True)
    assert Moderate(0.4).select(Pool(10, rows)).tolist() == sorted(by_distance[3:7].tolist())


def test_moderate_keeps_the_same_share_of_every_cluster(planted):
    rows, cluster = planted
    kept = cluster[Moderate(0.5, clusters=4).select(Pool(len(rows), rows))].bincount(minlength=4)
    assert all(abs(int(n) - size / 2) <= 1 for n, size in zip(kept, SIZES, strict=True))


def test_centers_are_means(planted):
    rows, cluster = planted
    expected = torch.stack([rows[cluster == c].double().mean(dim=0) for c in range(4)])
    torch.testing.assert_close(centers_of(rows, cluster), expected)


VIEW = LanguageView(
    labels=torch.tensor([[1, 2, 0], [0, 0, 0]]),
    mask=torch.tensor([[True, True, False], [True, False, False]]),
    logps=torch.tensor([[-1.0, -3.0, 0.0], [-0.5, 0.0, 0.0]]),
    index=torch.arange(2),
    logits=torch.tensor([[[0.0, 2.0, 1.0], [1.0, 0.0, 0.0], [9.0, 0.0, 0.0]], [[3.0, 0.0, 0.0]] * 3]),
)


def of_view(needs, statistic):
    return statistic(VIEW, {})


def test_gradient_norms_are_those_of_autograd():
    expected = []
    for row in range(2):
        norms = []
        for t in VIEW.mask[row].nonzero().flatten():
            logits = VIEW.logits[row, t].double().requires_grad_()
            torch.nn.functional.cross_entropy(logits, VIEW.labels[row, t]).backward()
            norms.append(logits.grad.norm())
        expected.append(torch.stack(norms).mean())
    pool = Pool(2, measured=of_view)
    torch.testing.assert_close(GradientNorm(0.5).scores(pool), torch.stack(expected), rtol=1e-5, atol=1e-6)
    assert GradientNorm(0.5).select(pool).tolist() == [0]
    assert GradientNorm(0.5, lowest=True).select(pool).tolist() == [1]


def test_min_k_is_the_mean_of_the_least_likely_tokens():
    pool = Pool(2, measured=of_view)
    assert MinKLoss(0.5, k=0.5).scores(pool).tolist() == [3.0, 0.5]
    assert MinKLoss(0.5, k=1.0).scores(pool).tolist() == [2.0, 0.5]
    assert MinKLoss(0.5, lowest=True).select(pool).tolist() == [1]


def test_random_rows_depend_on_the_seed_alone():
    first, again, other = (Random(0.3, seed).select(Pool(40)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(first) == 12


def test_a_mix_has_both_kinds_of_rows_and_the_report_counts_them(planted, anchors):
    rows, cluster = planted
    selected = SelectedSource(FeatureMapping(12 / 26, clusters=4), mix=0.5)
    choice = choose(selected, Pool(len(rows), rows, anchors))
    report = choice.report
    assert (cluster[choice.rows] == 2).sum() == 6  # the half that votes decide
    assert report["kept"] == len(set(choice.rows.tolist())) == 12
    assert report["at_random"] == 6
    assert sorted(zip(report["votes"], report["rows_per_cluster"], strict=True)) == [(0, 5), (1, 8), (2, 7), (3, 6)]
    kept = dict(zip(report["votes"], report["kept_per_cluster"], strict=True))
    assert [kept[v] for v in (0, 2, 3, 1)] == cluster[choice.rows].bincount(minlength=4).tolist()
    assert report["coverage"] == sum(n > 0 for n in report["kept_per_cluster"]) / 4
    assert "6 of them at random" in summary(report)


def test_clusters_without_votes_are_counted_and_coverage_falls(planted, anchors):
    rows, _ = planted
    report = choose(SelectedSource(FeatureMapping(6 / 26, clusters=4)), Pool(len(rows), rows, anchors)).report
    assert report["clusters_without_votes"] == 1
    assert report["coverage"] == 0.25
    assert 0 <= report["overlap_with_random"] <= 1


@pytest.mark.parametrize("keep", [0, -0.1, 1.5, float("nan"), True])
@pytest.mark.parametrize(
    "selector", [FeatureMapping, LabelMapping, Moderate, NearestRows, GradientNorm, MinKLoss, Random]
)
def test_a_share_outside_of_its_range(selector, keep):
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        selector(keep)


def test_a_share_of_less_than_a_row():
    with pytest.raises(ValueError, match=r"keeps no row of 26; accepted is a share of at least 0.038"):
        Random(0.01).select(Pool(26))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MinKLoss(0.5, k=0), "k=0"),
        (lambda: FeatureMapping(0.5, clusters=0), "clusters=0"),
        (lambda: Moderate(0.5, clusters=0), "clusters=0"),
        (lambda: FeatureMapping(0.5, clusters=2, label="a"), "two kinds of clusters"),
        (lambda: Moderate(0.5, clusters=2, label="a"), "two kinds of clusters"),
        (lambda: SelectedSource(Random(0.5), mix=1.5), "mix=1.5"),
        (lambda: FeatureMapping(0.5, clusters=3).rank(Pool(2, torch.eye(2), torch.eye(2))), "clusters=3 is more than"),
        (lambda: FeatureMapping(0.5).rank(Pool(2)), "there are none"),
        (lambda: FeatureMapping(0.5).rank(Pool(2, torch.eye(2))), "to be similar to"),
        (lambda: NearestRows(0.5).rank(Pool(2, torch.eye(2), torch.eye(3))), "3 features and the rows 2"),
        (lambda: NearestRows(0.5).rank(Pool(3, torch.eye(2), torch.eye(2))), "2 embeddings for 3 rows"),
        (lambda: NearestRows(0.5).rank(Pool(2, torch.eye(2) / 0, torch.eye(2))), "not all finite"),
        (lambda: GradientNorm(0.5).rank(Pool(2)), "there is none"),
        (
            lambda: MinKLoss(0.5).rank(Pool(2, measured=lambda *_: torch.tensor([1.0, torch.nan]))),
            "no score for 1 of 2",
        ),
        (lambda: LabelMapping(0.5).rank(Pool(2, torch.eye(2), torch.eye(2))), "have no classes"),
    ],
)
def test_what_cannot_be_selected(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class Forgetful(Selector):
    def rank(self, pool):
        return Ranking(torch.arange(pool.size - 1))


def test_an_own_selector_must_rank_every_row():
    with pytest.raises(ValueError, match="each of the 4 rows once"):
        choose(SelectedSource(Forgetful(0.5)), Pool(4))
