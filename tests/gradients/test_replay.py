"""A window of micro-batches with any counts gives the gradients of the means over the whole window."""

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn

from tests.runtime import FakeRuntime, by_stream
from unlearn_pl.gradients import Replay, window_of
from unlearn_pl.objectives import Objective
from unlearn_pl.types import IGNORE_INDEX, LanguageView, label_mask

VOCAB = 9


class TokenMean(Objective):
    """Mean over tokens of a made-up loss."""

    def loss(self, view: LanguageView) -> Tensor:
        return (view.logps.square() * view.mask).sum() / view.count("tokens").clamp(min=1)


class SequenceMean(Objective):
    """Mean over sequences of the sigmoid of the summed log-probability, as NPO's."""

    mean_over = "sequences"

    def loss(self, view: LanguageView) -> Tensor:
        scored = view.mask.any(dim=-1)
        return (view.logps.sum(dim=-1).sigmoid() * scored).sum() / view.count("sequences").clamp(min=1)


class PairMean(Objective):
    """Mean over pairs of two streams, as DPO's."""

    mean_over = "sequences"

    def __init__(self) -> None:
        super().__init__()
        self.stream = ("forget", "forget.alternate")

    def loss(self, first: LanguageView, second: LanguageView) -> Tensor:
        margin = first.logps.sum(dim=-1) - second.logps.sum(dim=-1)
        scored = first.mask.any(dim=-1)
        return (margin.sigmoid() * scored).sum() / first.count("sequences").clamp(min=1)


def token_mean(views: list[list[LanguageView]]) -> Tensor:
    return torch.cat([v.logps[v.mask].square() for (v,) in views]).mean()


def sequence_mean(views: list[list[LanguageView]]) -> Tensor:
    return torch.cat([v.logps[v.mask.any(-1)].sum(-1).sigmoid() for (v,) in views]).mean()


def pair_mean(views: list[list[LanguageView]]) -> Tensor:
    margins = [(a.logps.sum(-1) - b.logps.sum(-1))[a.mask.any(-1)] for a, b in views]
    return torch.cat(margins).sigmoid().mean()


@dataclass
class Case:
    """A bigram model and a window; ``expected`` runs all micro-batches in one graph."""

    empty: tuple[tuple[int, str], ...] = ()
    num_micro_batches: int = 3
    seed: int = 0
    calls: list[tuple[str, int]] = field(default_factory=list)
    backwards: list[bool] = field(default_factory=list)
    synced: int = 0

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        self.table = nn.Parameter(torch.randn(VOCAB, VOCAB, generator=generator, dtype=torch.float64))
        self.unused = nn.Parameter(torch.ones(2, dtype=torch.float64))
        self.objectives = {
            "token": TokenMean(),
            "retain": TokenMean("retain"),
            "pair": PairMean(),
            "sequence": SequenceMean(),
        }
        self.truth = {"token": token_mean, "retain": token_mean, "pair": pair_mean, "sequence": sequence_mean}
        self.micro_batches = [self.micro_batch(m, generator) for m in range(self.num_micro_batches)]

    def micro_batch(self, m: int, generator: torch.Generator):
        size = int(torch.randint(1, 5, [1], generator=generator))
        batch = {}
        for stream in ("forget", "forget.alternate", "retain"):
            length = int(torch.randint(2, 8, [1], generator=generator))
            ids = torch.randint(0, VOCAB, [size, length], generator=generator)
            hidden = torch.rand(size, length, generator=generator) < 0.4
            labels = ids.masked_fill(hidden, IGNORE_INDEX)
            if (m, stream) in self.empty:
                labels = labels.fill_(IGNORE_INDEX)
            batch[stream] = {
                "input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels, "index": torch.arange(size)
            }  # fmt: skip
        return batch

    def view(self, stream: str, batch) -> LanguageView:
        self.calls.append((stream, id(batch)))
        labels, mask = batch["labels"][:, 1:], label_mask(batch["labels"])
        logps = self.table.log_softmax(-1)[batch["input_ids"][:, :-1], batch["input_ids"][:, 1:]] * mask
        return LanguageView(labels=labels, mask=mask, logps=logps, index=batch["index"])

    def backward(self, loss: Tensor, retain_graph: bool) -> None:
        self.backwards.append(retain_graph)
        loss.backward(retain_graph=retain_graph)

    def replay(self, names: list[str] | None = None) -> Replay:
        objectives = {n: self.objectives[n] for n in names or self.objectives}
        runtime = FakeRuntime([self.table, self.unused], self.view)
        runtime.backward = self.backward
        return Replay(window_of(by_stream(self.micro_batches), objectives, runtime.count), runtime)

    def expected(self, name: str) -> tuple[Tensor, Tensor]:
        objective = self.objectives[name]
        views = [[self.view(s, batch[s]) for s in objective.streams] for batch in self.micro_batches]
        if not any(v[0].mask.any() for v in views):
            return torch.zeros(()).double(), torch.zeros_like(self.table)
        loss = self.truth[name](views)
        return loss.detach(), torch.autograd.grad(loss, self.table)[0]


CASES = [
    *[Case(num_micro_batches=n, seed=seed) for n, seed in [(1, 0), (2, 1), (3, 2), (5, 3)]],
    Case(empty=((0, "forget"),), seed=4),
    Case(empty=((2, "forget"), (0, "retain")), seed=5),
    Case(empty=tuple((m, "forget") for m in range(3)), seed=6),
    Case(empty=tuple((m, s) for m in range(3) for s in ("forget", "forget.alternate", "retain")), seed=7),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.num_micro_batches} {case.empty}")
def test_rows_and_losses_are_those_of_the_whole_window(case):
    replay = case.replay()
    rows = replay.rows()
    assert list(rows) == list(case.objectives)
    for name, (gradient, unused) in rows.items():
        loss, expected = case.expected(name)
        torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(replay.losses[name], loss, rtol=1e-12, atol=1e-14)
        assert unused is None
    assert case.table.grad is None


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.num_micro_batches} {case.empty}")
def test_the_weighted_sum_is_that_of_the_rows(case):
    weights = {"token": 0.5, "retain": 2.0, "pair": -1.5, "sequence": 0.0}
    replay = case.replay()
    replay.weighted_sum(weights)
    expected = sum(weight * case.expected(name)[1] for name, weight in weights.items())
    torch.testing.assert_close(case.table.grad, expected, rtol=1e-11, atol=1e-13)
    for name in weights:
        torch.testing.assert_close(replay.losses[name], case.expected(name)[0], rtol=1e-12, atol=1e-14)


def test_a_stream_is_run_once_per_micro_batch_and_its_graph_freed_after_its_last_objective():
    case = Case()
    case.replay().rows()
    assert len(case.calls) == len(set(case.calls)) == 3 * 3
    # per micro-batch: token, pair, sequence share two forwards; retain has its own
    assert case.backwards == 3 * [True, True, False] + 3 * [False]


def test_a_window_can_be_run_again():
    case = Case()
    replay = case.replay()
    first, losses = replay.rows(), dict(replay.losses)
    second = replay.rows()
    assert all(torch.equal(first[name][0], second[name][0]) for name in first)
    assert replay.losses == losses


def test_some_of_the_objectives():
    case = Case()
    replay = case.replay()
    everything = replay.rows()
    case.calls.clear()
    some = replay.rows(["pair", "token"])
    assert list(some) == ["token", "pair"]
    assert {stream for stream, _ in case.calls} == {"forget", "forget.alternate"}
    assert all(torch.equal(some[name][0], everything[name][0]) for name in some)
    assert set(replay.losses) == set(case.objectives)  # the others' losses are still known


def test_gradients_that_were_there_before_do_not_count():
    case = Case()
    clean = case.replay().rows()
    case.table.grad = torch.ones_like(case.table)
    again = case.replay().rows()
    case.table.grad = torch.ones_like(case.table)
    case.replay(["token"]).weighted_sum({"token": 1.0})
    assert all(torch.equal(clean[name][0], again[name][0]) for name in clean)
    torch.testing.assert_close(case.table.grad, clean["token"][0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("method", ["rows", "weighted_sum"])
def test_only_the_last_micro_batch_is_reduced_over_ranks(method):
    case = Case()
    inside = []

    class NoSync:
        def __enter__(self):
            inside.append(True)

        def __exit__(self, *_):
            inside.pop()

    quiet = []
    replay = case.replay()
    replay.runtime.no_sync = NoSync
    replay.runtime.backward = lambda loss, retain: (quiet.append(bool(inside)), loss.backward(retain_graph=retain))
    if method == "rows":
        replay.rows()
        assert quiet == 6 * [True] + 3 * [False] + 2 * [True] + [False]
    else:
        replay.weighted_sum(dict.fromkeys(case.objectives, 1.0))
        assert quiet == 5 * [True] + [False]
