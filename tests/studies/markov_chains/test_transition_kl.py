import math

import pytest
import torch

from experiments.studies.markov_chains import TransitionKL
from experiments.studies.markov_chains.chain import FORGET2, RETAIN, Chain

LENGTHS = (7, 2, 5)


def batch(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(10, (3, 7), generator=generator)
    mask = torch.tensor([[1] * n + [0] * (7 - n) for n in LENGTHS])
    return torch.randn(3, 7, 10, generator=generator), ids, mask


def test_equals_a_sum_over_states_and_tokens():
    logits, ids, mask = batch()
    matrix = FORGET2.transitions().tolist()
    total, count = 0.0, 0
    for b, length in enumerate(LENGTHS):
        for t in range(length - 1):
            norm = math.log(sum(math.exp(x) for x in logits[b, t].tolist()))
            for p, x in zip(matrix[ids[b, t]], logits[b, t].tolist(), strict=True):
                total += p * (math.log(p) - (x - norm))
            count += 1
    metric = TransitionKL(FORGET2.transitions())
    metric.update(logits, ids, mask)
    assert metric.compute().item() == pytest.approx(total / count, rel=1e-6)


def test_is_a_mean_over_tokens_however_they_are_batched():
    together, apart = TransitionKL(RETAIN.transitions()), TransitionKL(RETAIN.transitions())
    logits, ids, mask = batch()
    together.update(logits, ids, mask)
    for b, length in enumerate(LENGTHS):
        apart.update(logits[b : b + 1, :length], ids[b : b + 1, :length], mask[b : b + 1, :length])
    assert apart.compute().item() == pytest.approx(together.compute().item(), rel=1e-12)


def test_the_chain_itself_has_no_distance_even_where_it_never_goes():
    chain = Chain((0, 1, 2), leakage=0.0)
    _, ids, mask = batch()
    metric = TransitionKL(chain.transitions())
    metric.update(chain.transitions().clamp(min=1e-300).log()[ids], ids, mask)
    assert metric.compute().item() == pytest.approx(0.0, abs=1e-12)


def test_a_uniform_guess_has_a_closed_form():
    ids = torch.tensor([[0, 1, 9, 4]])  # two states of the subset have successors, one other has
    metric = TransitionKL(RETAIN.transitions())
    metric.update(torch.zeros(1, 4, 10), ids, torch.ones(1, 4))
    inside = 0.8 * math.log(10 * 0.8 / 3) + 0.2 * math.log(10 * 0.2 / 7)
    assert metric.compute().item() == pytest.approx(2 * inside / 3)
