"""Shares of a window: when ranks add up their counts, and what a rank's own shares are."""

from unittest import mock

import torch

from tests.gradients.zeroth_order_kit import classifier_case
from unlearn_pl.gradients import window_of


def test_counts_are_summed_over_ranks_once_and_only_where_shares_are_read():
    objectives, runtime, data = classifier_case()

    def twice(counts):
        counts.mul_(2)  # two ranks with as many examples each

    with mock.patch("torch.distributed.all_reduce", side_effect=twice) as reduce:
        window = window_of(data, objectives, runtime.count, world_size=2)
        alone = window.alone
        assert alone.shares["forget"].tolist() == [3 / 4, 1 / 4]
        assert alone.sequence_shares["retain"].tolist() == [2 / 6, 4 / 6]
        assert alone.totals.tolist() == [[4, 6, 6], [4, 6, 6]]
        assert not reduce.called
        assert window.shares["forget"].tolist() == [3 / 8, 1 / 8]
        assert window.sequence_shares["retain"].tolist() == [2 / 12, 4 / 12]
        assert reduce.call_count == 1
    assert torch.equal(window.counts[0], torch.tensor([3.0, 1.0], dtype=torch.float64))
