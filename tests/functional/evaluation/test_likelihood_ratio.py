"""LiRA's score equals scipy's normal densities, and an AUC of it sees what attacks across examples do not."""

import pytest
import torch
from scipy.stats import norm

from unlearn_pl.functional import auc, likelihood_ratio_attack, logit_confidence, loss_attack


def test_the_confidence_by_hand():
    logps = torch.tensor([[0.5, 0.25, 1.0], [0.9, 1.0, 1.0]]).log()
    mask = torch.tensor([[True, True, False], [True, False, False]])
    p = torch.tensor([(0.5 * 0.25) ** 0.5, 0.9], dtype=torch.float64)
    torch.testing.assert_close(logit_confidence(logps, mask), (p / (1 - p)).log(), rtol=1e-6, atol=1e-6)
    assert logit_confidence(torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool)).isfinite()


def test_the_score_by_scipy():
    generator = torch.Generator().manual_seed(1)
    phi, out, member = (torch.randn(20, n, generator=generator, dtype=torch.float64) for n in (1, 5, 4))
    phi = phi[:, 0]
    ends = [(part.mean(-1).numpy(), part.std(-1).numpy()) for part in (out, member)]
    expected = norm(*ends[0]).logpdf(phi) - norm(*ends[1]).logpdf(phi)
    assert likelihood_ratio_attack(phi, out, member).tolist() == pytest.approx(expected.tolist())
    assert likelihood_ratio_attack(phi, out).tolist() == pytest.approx(
        ((ends[0][0] - phi.numpy()) / ends[0][1]).tolist()
    )


def test_hard_members_are_found():
    # members are hard and nonmembers easy: across examples, the nonmembers look like members
    hard, easy = torch.full((30,), -3.0), torch.full((30,), 3.0)
    noise = 0.2 * torch.randn(4, 30, generator=torch.Generator().manual_seed(0))
    shadows = [torch.stack([level + noise[0], level + noise[1]], dim=-1) for level in (hard, easy)]
    members = likelihood_ratio_attack(hard + 2 + noise[2], shadows[0])
    others = likelihood_ratio_attack(easy + noise[3], shadows[1])
    assert auc(members, others) > 0.9
    everything = torch.ones(30, 1, dtype=torch.bool)
    losses = [loss_attack(level.sigmoid().log()[:, None], everything) for level in (hard + 2, easy)]
    assert auc(*losses) == 0.0


def test_few_shadow_models():
    with pytest.raises(ValueError, match="without has 1 shadow models"):
        likelihood_ratio_attack(torch.zeros(2), torch.zeros(2, 1))
    with pytest.raises(ValueError, match="within has 0 shadow models"):
        likelihood_ratio_attack(torch.zeros(2), torch.zeros(2, 2), torch.zeros(2, 0))
    same = likelihood_ratio_attack(torch.tensor([1.0]), torch.zeros(1, 3))
    assert same.item() == pytest.approx(-10)  # of a spread of 0.1, not 0
