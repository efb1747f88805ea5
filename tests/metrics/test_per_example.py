import math

import pytest
import torch

from unlearn_pl.functional import rouge_l_recall
from unlearn_pl.metrics import CandidateNLL, PerExampleMetric, RougeRecall

VALUES = {0: 0.25, 3: -1.5, 4: 1e-9, 7: 2.0, 11: 1 / 3}


def fill(metric: PerExampleMetric, keys: list[int]) -> PerExampleMetric:
    metric.update(torch.tensor(keys), torch.tensor([VALUES[key] for key in keys], dtype=torch.float64))
    return metric


def as_rank(metric: PerExampleMetric, others: list[PerExampleMetric]) -> PerExampleMetric:
    """``metric`` as one of several ranks: gathering a state gives every rank's tensor of that state."""
    states = iter([torch.cat(getattr(rank, name)) for rank in [metric, *others]] for name in ("key", "value"))

    def gather(tensor, group=None):
        gathered = next(states)
        assert torch.equal(gathered[0], tensor)
        assert {rank.dtype for rank in gathered} == {tensor.dtype}  # unequal dtypes hang or garble a real gather
        return gathered

    metric.dist_sync_fn, metric.distributed_available_fn = gather, lambda: True
    return metric


@pytest.mark.parametrize("batches", [[[0, 3, 4, 7, 11]], [[11], [7, 4], [3, 0]], [[0, 3, 4, 0], [3, 7, 11, 0]]])
def test_order_batches_and_repetitions_change_nothing(batches):
    metric = PerExampleMetric()
    for keys in batches:
        fill(metric, keys)
    assert metric.per_example() == VALUES
    assert metric.compute().item() == torch.tensor(list(VALUES.values()), dtype=torch.float64).mean().item()


@pytest.mark.parametrize(
    "ranks",
    [
        [[0, 3, 4], [7, 11, 0]],
        [[11], [0, 3, 4, 7]],
        [[0, 3, 4, 7, 11], []],
        [[], [0, 3, 4, 7, 11]],
        [[7], [11], [0, 4, 3]],
    ],
)
def test_ranks_with_unequal_repeated_or_no_examples_give_the_same_table(ranks):
    first, *others = [fill(PerExampleMetric(), keys) if keys else PerExampleMetric() for keys in ranks]
    table = as_rank(first, others).per_example()
    assert table == VALUES
    assert list(table) == sorted(table)


def test_the_mean_is_the_same_to_the_last_digit_on_any_number_of_ranks():
    keys, values = torch.arange(1000), torch.rand(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    means = []
    for world in (1, 3):
        ranks = [PerExampleMetric() for _ in range(world)]
        for rank, metric in enumerate(ranks):
            metric.update(keys[rank::world].flip(0), values[rank::world].flip(0))
        means.append((as_rank(ranks[0], ranks[1:]) if world > 1 else ranks[0]).compute().item())
    assert means[0] == means[1]


def test_reset_forgets_and_an_empty_metric_is_nan():
    metric = fill(PerExampleMetric(), [0, 3])
    metric.reset()
    assert metric.per_example() == {}
    fill(metric, [7])
    assert metric.per_example() == {7: 2.0}
    empty = PerExampleMetric()
    empty.update(torch.empty(0, dtype=torch.long), torch.empty(0))
    assert empty.compute().isnan()


def test_nan_is_kept_and_reaches_the_mean():
    metric = PerExampleMetric()
    metric.update(torch.tensor([1, 2]), torch.tensor([math.nan, 0.5]))
    assert math.isnan(metric.per_example()[1])
    assert metric.compute().isnan()


def test_large_keys_and_precision_survive():
    metric = PerExampleMetric()
    metric.update(torch.tensor([2**53 + 1]), torch.tensor([0.1], dtype=torch.float64))
    assert metric.per_example() == {2**53 + 1: 0.1}


def test_candidates_are_normalized_by_their_own_length():
    metric = CandidateNLL()
    metric.update(
        torch.tensor([2, 0, 2]), torch.tensor([4, 0, 0]), torch.tensor([6.0, 5.0, 7.0]), torch.tensor([3, 1, 2])
    )
    metric.update(torch.tensor([2]), torch.tensor([4]), torch.tensor([6.0]), torch.tensor([3]))
    table = metric.candidates()
    assert table == {0: {0: 5.0}, 2: {0: 3.5, 4: 2.0}}
    assert [list(nlls) for nlls in table.values()] == [[0], [0, 4]]


def test_impossible_and_broken_candidates_are_kept_as_they_are():
    metric = CandidateNLL()
    nll, num_tokens = torch.tensor([math.inf, math.nan, 0.0, 0.0]), torch.tensor([3, 2, 1, 0])
    metric.update(torch.arange(4), torch.zeros(4, dtype=torch.long), nll, num_tokens)
    values = [nlls[0] for nlls in metric.candidates().values()]
    assert values[0] == math.inf
    assert math.isnan(values[1])
    assert values[2] == 0
    assert math.isnan(values[3])  # no token was scored


def test_rouge_recall_scores_each_text_against_its_answer():
    answers = ["In Karlsby.", "She wrote four novels about bees.", "Yes"]
    texts = ["It was in Karlsby", "She writes novels", "No"]
    metric = RougeRecall()
    metric.update(torch.tensor([5, 1, 9]), texts, answers)
    expected = {5: 1.0, 1: rouge_l_recall(answers[1], texts[1]), 9: 0.0}
    assert metric.per_example() == expected
    assert metric.compute().item() == pytest.approx(sum(expected.values()) / 3, rel=1e-12)


def test_rouge_recall_needs_as_many_texts_as_answers():
    with pytest.raises(ValueError, match="zip"):
        RougeRecall().update(torch.tensor([0, 1]), ["one"], ["one", "two"])
