import pytest
import torch

from experiments.studies.markov_chains.chain import FORGET1, FORGET2, RETAIN, Chain

IN, OUT, ANY = 0.8 / 3, 0.2 / 7, 0.1


@pytest.mark.parametrize(("chain", "first"), [(RETAIN, 0), (FORGET1, 3), (FORGET2, 6)])
def test_matrices_are_those_of_the_paper(chain, first):
    inside = [IN if first <= state < first + 3 else OUT for state in range(10)]
    rows = [inside if first <= state < first + 3 else [ANY] * 10 for state in range(10)]
    assert torch.allclose(chain.transitions(), torch.tensor(rows, dtype=torch.float64), atol=1e-15)
    assert torch.allclose(chain.initial(), torch.tensor(inside, dtype=torch.float64), atol=1e-15)


def test_rows_are_distributions_for_other_chains_too():
    chain = Chain((1, 4, 7, 9), leakage=0.5)
    assert torch.allclose(chain.transitions().sum(dim=1), torch.ones(10, dtype=torch.float64))
    assert chain.transitions()[4, [1, 4, 7, 9]].tolist() == pytest.approx([0.125] * 4)
    assert chain.transitions()[4, [0, 2, 3, 5, 6, 8]].tolist() == pytest.approx([0.5 / 6] * 6)


def test_samples_follow_the_matrix():
    count, length = 4000, 6
    sequences = FORGET1.sample(count, length, torch.Generator().manual_seed(0))
    assert sequences.shape == (count, length)
    starts = sequences[:, 0].bincount(minlength=10) / count
    assert torch.allclose(starts.double(), FORGET1.initial(), atol=4 * (0.25 / count) ** 0.5)
    for state in range(10):
        followers = sequences[:, 1:][sequences[:, :-1] == state]
        error = 4 * (0.25 / len(followers)) ** 0.5
        shares = (followers.bincount(minlength=10) / len(followers)).double()
        assert torch.allclose(shares, FORGET1.transitions()[state], atol=error), state


def test_without_a_leak_the_subset_is_never_left():
    sequences = Chain((2, 5), leakage=0.0).sample(50, 30, torch.Generator().manual_seed(1))
    assert set(sequences.unique().tolist()) == {2, 5}


@pytest.mark.parametrize("subset", [(), (0, 10), (-1,), (2, 2), tuple(range(10))])
def test_subsets_that_make_no_chain_are_refused(subset):
    with pytest.raises(ValueError, match="subset="):
        Chain(subset)


def test_a_leak_is_a_probability():
    with pytest.raises(ValueError, match=r"leakage=1\.2"):
        Chain((0,), leakage=1.2)
