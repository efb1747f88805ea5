from collections import Counter
from itertools import chain, product

import pytest
from torch.utils.data import DistributedSampler

from unlearn_pl.data import StepSampler, StepShare, step_draws, step_indices

SIZES = [(1, 1), (4, 4), (4, 10), (8, 3), (6, 7), (32, 40)]


def sampler(num_examples: int, world: int = 1, rank: int = 0, batch_size: int = 8, start=lambda: 0) -> StepSampler:
    return StepSampler(
        range(num_examples),
        "forget",
        seed=0,
        batch_size=batch_size,
        steps_per_epoch=5,
        start=start,
        num_replicas=world,
        rank=rank,
    )


@pytest.mark.parametrize(("batch_size", "num_examples"), SIZES)
def test_everybody_is_seen_once_before_anybody_is_seen_twice(batch_size, num_examples):
    steps = [step_indices(3, "retain", step, batch_size, num_examples) for step in range(3 * num_examples)]

    assert all(len(step) == batch_size for step in steps)
    order = list(chain.from_iterable(steps))
    for start in range(0, len(order), num_examples):
        assert sorted(order[start : start + num_examples]) == list(range(num_examples))


@pytest.mark.parametrize(("batch_size", "num_examples"), [(1, 1), (4, 4), (4, 10), (8, 17), (32, 40), (7, 8), (5, 9)])
@pytest.mark.parametrize("world", [1, 2, 4])
def test_nobody_is_in_a_step_twice_so_no_two_ranks_share_an_example(batch_size, num_examples, world):
    batch_size *= world
    num_examples = max(num_examples, batch_size)
    for seed, step in product(range(3), range(80)):
        drawn = step_indices(seed, "retain", step, batch_size, num_examples)
        share = batch_size // world
        ranks = [set(drawn[rank * share : (rank + 1) * share]) for rank in range(world)]
        assert len(set.union(*ranks)) == sum(map(len, ranks)) == batch_size


def test_only_who_was_just_seen_is_passed_over():
    for step in range(0, 400, 17):  # 8 steps of 17 are 17 steps of 8: where a round begins with a step
        whole = [draw.example for s in range(step, step + 17) for draw in step_draws(0, "retain", s, 8, 17)]
        rounds = [whole[start : start + 17] for start in range(0, len(whole), 17)]
        unchanged = [step_indices(0, "retain", 8 * step // 17 + r, 17, 17) for r in range(8)]
        for i, (mine, plain) in enumerate(zip(rounds, unchanged, strict=True)):
            shared = 17 * i % 8
            just_seen = set(rounds[i - 1][17 - shared :]) if shared else set()
            passed = [example for example in plain[:8] if example in just_seen]
            if not set(passed) & set(plain[: 8 - shared]):
                assert mine == plain
            else:
                assert (
                    mine[: 8 - shared] == [example for example in plain[:8] if example not in just_seen][: 8 - shared]
                )
                assert mine[8:] == plain[8:]


def test_round_counts_how_often_everybody_was_seen():
    rounds = [draw.round for step in range(5) for draw in step_draws(0, "forget", step, 4, 10)]

    assert rounds == [0] * 10 + [1] * 10


def test_rounds_seeds_and_streams_have_their_own_orders():
    orders = [
        step_indices(0, "forget", 0, 50, 50),
        step_indices(0, "forget", 1, 50, 50),
        step_indices(1, "forget", 0, 50, 50),
        step_indices(0, "retain", 0, 50, 50),
    ]

    assert len({tuple(order) for order in orders}) == 4


def test_order_is_the_same_in_every_process():
    # Written down once: a change of these numbers changes every published run.
    assert step_indices(0, "forget", 0, 8, 20) == [18, 6, 7, 4, 17, 1, 10, 5]


def test_companion_streams_have_the_order_of_their_parent():
    for step in range(7):
        assert step_draws(5, "forget.alternate", step, 4, 9) == step_draws(5, "forget", step, 4, 9)


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("num_examples", [3, 17, 40])
def test_ranks_together_see_every_step(world, num_examples):
    shares = [list(sampler(num_examples, world, rank)) for rank in range(world)]

    for step in range(5):
        assert all(rank[step].step == step and len(rank[step].draws) == 8 // world for rank in shares)
        seen = [draw for rank in shares for draw in rank[step].draws]
        assert Counter(seen) == Counter(step_draws(0, "forget", step, 8, num_examples))


def test_iteration_begins_at_the_step_that_start_says_by_then():
    done = [0]
    steps = sampler(17, start=lambda: done[0])
    whole = list(steps)

    done[0] = 2
    resumed = list(steps)

    assert resumed[:3] == whole[2:]
    assert resumed[3:] == [StepShare(step, step_draws(0, "forget", step, 8, 17)) for step in (5, 6)]


def test_epoch_does_not_change_the_order():
    steps = sampler(17, world=2, rank=1)
    before = list(steps)

    steps.set_epoch(7)

    assert list(steps) == before
    assert len(steps) == len(before) == 5


def test_lightning_takes_it_for_a_distributed_sampler():
    assert isinstance(sampler(4), DistributedSampler)


def test_refuses_shares_of_different_size():
    with pytest.raises(ValueError, match=r"batch_size=8 cannot be shared equally by 3 devices"):
        sampler(10, world=3)


@pytest.mark.parametrize(("step", "batch_size", "num_examples"), [(-1, 4, 4), (0, 0, 4), (0, 4, 0)])
def test_refuses_impossible_numbers(step, batch_size, num_examples):
    with pytest.raises(ValueError, match=f"num_examples={num_examples}"):
        step_indices(0, "forget", step, batch_size, num_examples)
