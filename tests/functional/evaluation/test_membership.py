import math
import zlib

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score

from unlearn_pl.functional import (
    auc,
    gradient_norm_attack,
    log_prob_moments,
    loss_attack,
    min_k,
    min_k_plus_plus,
    priv_leak,
    reference_attack,
    token_log_probs,
    zlib_attack,
)

LENGTHS = [1, 2, 3, 7, 12, 20]
VOCABULARY = 13


def logits_and_labels(side: str = "right", seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Answers of unequal length after a prompt; the tokens do not depend on the side of the padding."""
    generator = torch.Generator().manual_seed(seed)
    width = max(LENGTHS) + 4
    logits = torch.full((len(LENGTHS), width, VOCABULARY), 3.0, dtype=torch.float64)
    labels = torch.full((len(LENGTHS), width), -100)
    for i, length in enumerate(LENGTHS):
        start = 2 if side == "right" else width - length
        logits[i, start - 1 : start - 1 + length] = torch.randn(length, VOCABULARY, generator=generator).double() * 3
        labels[i, start : start + length] = torch.randint(VOCABULARY, (length,), generator=generator)
    return logits, labels


def rows(values: torch.Tensor, mask: torch.Tensor) -> list[np.ndarray]:
    return [row[keep].numpy() for row, keep in zip(values, mask, strict=True)]


def scores(side: str = "right", order: list[int] | None = None) -> dict[str, torch.Tensor]:
    logits, labels = logits_and_labels(side)
    order = order or list(range(len(LENGTHS)))
    logits, labels = logits[order], labels[order]
    logps, mask = token_log_probs(logits, labels)
    moments = log_prob_moments(logits[:, :-1], mask)
    texts = [f"text {LENGTHS[i]} " * LENGTHS[i] for i in order]
    return {
        "loss": loss_attack(logps, mask),
        "zlib": zlib_attack(logps, mask, texts),
        "reference": reference_attack(logps, logps * 0.8 - 0.3, mask),
        "min_k": min_k(logps, mask),
        "min_k++": min_k_plus_plus(logps, *moments, mask),
    }


def test_scores_are_their_formulas():
    logits, labels = logits_and_labels()
    logps, mask = token_log_probs(logits, labels)
    found, sequences = scores(), rows(logps, mask)
    nll = np.array([-row.mean() for row in sequences])
    texts = [f"text {length} " * length for length in LENGTHS]
    assert [len(row) for row in sequences] == LENGTHS
    np.testing.assert_allclose(found["loss"], nll, rtol=1e-12)
    sizes = [len(zlib.compress(bytes(text, "utf-8"))) for text in texts]
    np.testing.assert_allclose(found["zlib"], nll / sizes, rtol=1e-12)
    np.testing.assert_allclose(found["reference"], nll - (0.8 * nll + 0.3), rtol=1e-10)


@pytest.mark.parametrize("k", [0.01, 0.2, 0.4, 0.7, 1.0])
def test_min_k_equals_the_formula_in_both_conventions(k):
    logps, mask = token_log_probs(*logits_and_labels())

    def lowest(row: np.ndarray) -> float:
        return -np.sort(row)[: max(1, int(k * len(row)))].mean() if len(row) else 0.0

    np.testing.assert_allclose(min_k(logps, mask, k), [lowest(row) for row in rows(logps, mask)], rtol=1e-12)
    theirs = min_k(logps, mask, k, compat="openunlearning")
    np.testing.assert_allclose(theirs, [lowest(row[:-1]) for row in rows(logps, mask)], rtol=1e-12)


@pytest.mark.parametrize("compat", [None, "openunlearning"])
@pytest.mark.parametrize("k", [0.2, 0.4])
def test_min_k_plus_plus_equals_the_formula(k, compat):
    logits, labels = logits_and_labels()
    logps, mask = token_log_probs(logits, labels)
    found = min_k_plus_plus(logps, *log_prob_moments(logits[:, :-1], mask), mask, k, compat)
    for i in range(len(LENGTHS)):
        positions = np.flatnonzero(mask[i])
        positions = positions[:-1] if compat else positions
        p = np.exp(logits[i, positions].numpy())
        p /= p.sum(-1, keepdims=True)
        mu, second = (p * np.log(p)).sum(-1), (p * np.log(p) ** 2).sum(-1)
        np.testing.assert_allclose(-mu, stats.entropy(p, axis=-1), rtol=1e-10)
        z = (logps[i, positions].numpy() - mu) / np.sqrt(second - mu**2)
        expected = -np.sort(z)[: max(1, int(k * len(z)))].mean() if len(z) else 0.0
        assert found[i].item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("attack", list(scores()))
def test_padding_side_and_order_change_nothing(attack):
    expected = scores()[attack]
    torch.testing.assert_close(scores(side="left")[attack], expected, rtol=1e-12, atol=0)
    order = [3, 0, 5, 1, 4, 2]
    torch.testing.assert_close(scores(order=order)[attack], expected[order], rtol=1e-12, atol=0)


def test_with_all_tokens_min_k_is_the_loss_and_with_fewer_at_least_that():
    logps, mask = token_log_probs(*logits_and_labels())
    loss = loss_attack(logps, mask)
    torch.testing.assert_close(min_k(logps, mask, k=1.0), loss, rtol=1e-12, atol=0)
    assert (min_k(logps, mask, k=0.2) >= min_k(logps, mask, k=0.4) - 1e-12).all()
    assert (min_k(logps, mask, k=0.4) >= loss - 1e-12).all()


def test_a_likelier_text_has_lower_scores():
    logps, mask = token_log_probs(*logits_and_labels())
    likelier, texts, other = logps * 0.5, ["same"] * len(logps), torch.zeros_like(logps)
    assert (loss_attack(likelier, mask) < loss_attack(logps, mask)).all()
    assert (zlib_attack(likelier, mask, texts) < zlib_attack(logps, mask, texts)).all()
    assert (reference_attack(likelier, logps, mask) < reference_attack(logps, logps, mask)).all()
    assert (min_k(likelier, mask) < min_k(logps, mask)).all()
    moments = other - 2.0, other + 1.0
    assert (min_k_plus_plus(likelier, *moments, mask) < min_k_plus_plus(logps, *moments, mask)).all()


def test_nothing_scored_impossible_tokens_and_nan():
    logps = torch.tensor([[-1.0, -2.0, math.nan], [-1.0, -math.inf, -3.0], [-1.0, math.nan, -9.0]])
    mask = torch.tensor([[False, False, False], [True, True, False], [True, True, True]])
    mean, variance = torch.full_like(logps, -1.0), torch.ones_like(logps)
    expected = [math.nan, math.inf, math.nan]
    for found in (
        loss_attack(logps, mask),
        zlib_attack(logps, mask, ["", "a", "b"]),
        reference_attack(logps, torch.full_like(logps, -1.0), mask),
        min_k(logps, mask),
        min_k_plus_plus(logps, mean, variance, mask),
    ):
        assert found.tolist() == pytest.approx(expected, nan_ok=True)
    assert min_k(logps, mask, compat="openunlearning").tolist() == pytest.approx([0, 1, math.nan], nan_ok=True)
    assert min_k(torch.zeros(2, 0), torch.zeros(2, 0, dtype=torch.bool)).isnan().all()


def test_moments_of_certain_uniform_impossible_and_nan_distributions():
    inf = math.inf
    logits = torch.tensor([[[0.0, -inf, -inf, -inf], [2.0] * 4, [0.0, 0.0, -inf, -inf], [0.0, math.nan, 0.0, 0.0]]])
    mean, variance = log_prob_moments(logits, torch.ones(1, 4, dtype=torch.bool))
    assert mean[0, :3].tolist() == pytest.approx([0, -math.log(4), -math.log(2)], rel=1e-6)
    assert variance[0, :3].tolist() == pytest.approx([0, 0, 0], abs=1e-12)
    assert mean[0, 3].isnan()
    assert variance[0, 3].isnan()
    logps = torch.log_softmax(logits, dim=-1)[..., 0]  # of the first token: as likely as any other that is possible
    mask = torch.tensor([[True, True, True, False]])
    assert min_k_plus_plus(logps, mean, variance, mask, k=1.0).item() == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("chunk_size", [1, 7, 1000])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_moments_do_not_depend_on_chunks_or_on_what_is_not_scored(chunk_size, dtype):
    logits, labels = logits_and_labels()
    logits, mask = logits[:, :-1].to(dtype), labels[:, 1:] != -100
    exact = torch.log_softmax(logits.double(), dim=-1)
    mu = (exact.exp() * exact).sum(-1)
    sigma2 = (exact.exp() * exact.square()).sum(-1) - mu.square()
    logits[~mask] = math.nan
    mean, variance = log_prob_moments(logits, mask, chunk_size)
    tolerance = {"rtol": 1e-10, "atol": 1e-10} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(mean.double(), mu.masked_fill(~mask, 0), **tolerance)
    torch.testing.assert_close(variance.double(), sigma2.masked_fill(~mask, 0), **tolerance)
    assert mean.dtype == variance.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize("spread", [1e-3, 1.0, 20.0])
def test_variance_is_not_rounding_noise_for_nearly_equal_or_nearly_certain_tokens(spread):
    logits = torch.randn(1, 1, 2000, generator=torch.Generator().manual_seed(0)) * spread
    _, variance = log_prob_moments(logits, torch.tensor([[True]]))
    log_p = torch.log_softmax(logits[0, 0].double(), dim=-1).numpy()
    expected = np.cov(log_p, aweights=np.exp(log_p), ddof=0).item()
    assert variance.item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 5), (40, 31), (200, 400)])
@pytest.mark.parametrize("levels", [2, 5, 10**9])
def test_auc_is_the_area_under_the_curve(n, m, levels):
    rng = np.random.default_rng(n + m + levels)
    members, others = rng.integers(levels, size=n), rng.integers(levels, size=m) + levels // 5
    labels = np.concatenate([np.zeros(n), np.ones(m)])
    found = auc(members.tolist(), torch.tensor(others))
    assert found == pytest.approx(roc_auc_score(labels, np.concatenate([members, others])), abs=1e-12)
    assert found == pytest.approx(stats.mannwhitneyu(others, members).statistic / (n * m), abs=1e-12)
    assert auc(others.tolist(), members.tolist()) == pytest.approx(1 - found, abs=1e-12)


def test_auc_of_special_scores():
    assert auc([1.0, 2.0], [3.0, 4.0]) == 1
    assert auc([3.0, 4.0], [1.0, 2.0]) == 0
    assert auc([1.0] * 3, [1.0] * 5) == 0.5
    assert auc([1.0, math.inf], [math.inf, math.inf]) == 0.75
    assert auc([-math.inf], [1.0]) == 1
    assert math.isnan(auc([1.0, math.nan], [2.0]))
    assert math.isnan(auc([1.0], [math.nan]))
    with pytest.raises(ValueError, match="got 0 and 1"):
        auc([], [1.0])


def test_a_model_that_knows_the_members_has_an_auc_of_one():
    logits, labels = logits_and_labels()
    logps, mask = token_log_probs(logits, labels)
    for attack in (loss_attack, min_k):
        assert auc(attack(logps * 0.01, mask), attack(logps - 1, mask)) == 1


@pytest.mark.parametrize("retain", [0.3, 0.5, 0.5228])
def test_priv_leak_equals_the_formula(retain):
    for value in (0.0, 0.2, 0.5, 0.9, 1.0):
        expected = ((1 - value) - (1 - retain)) / (1 - retain) * 100
        assert priv_leak(value, retain) == pytest.approx(expected, rel=1e-12)
        theirs = ((1 - value) - (1 - retain)) / ((1 - retain) + 1e-10) * 100
        assert priv_leak(value, retain, compat="openunlearning") == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize(("auc_retain", "highest"), [(0.4772, 109.5557), (0.5393, 85.4256)])
def test_priv_leak_has_the_bounds_of_muse(auc_retain, highest):
    """The AUCs that MUSE's authors give for their retrained models, written their way: 1 minus ours."""
    assert priv_leak(1.0, 1 - auc_retain) == pytest.approx(-100)
    assert priv_leak(0.0, 1 - auc_retain) == pytest.approx(highest, abs=1e-4)
    assert priv_leak(1 - auc_retain, 1 - auc_retain) == 0


def test_priv_leak_of_special_values():
    assert priv_leak(0.9, 1.0) == math.inf
    assert math.isnan(priv_leak(1.0, 1.0))
    assert priv_leak(1.0, 1.0, compat="openunlearning") == 0
    assert math.isnan(priv_leak(math.nan, 0.5))
    assert math.isnan(priv_leak(0.5, math.nan))
    assert math.isnan(priv_leak(math.nan, 1.0))


def test_bad_arguments_are_refused():
    logps, mask = torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)
    for k in (0.0, 1.1, -0.4, math.nan):
        with pytest.raises(ValueError, match="at most 1, but is"):
            min_k(logps, mask, k)
    with pytest.raises(ValueError, match="None or 'openunlearning'"):
        min_k(logps, mask, compat="muse")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"min_variance must be positive, but is 0\.0"):
        min_k_plus_plus(logps, logps, logps, mask, min_variance=0.0)
    with pytest.raises(ValueError, match="got 1 for 2"):
        zlib_attack(logps, mask, ["one"])
    with pytest.raises(ValueError, match="chunk_size must be at least 1, but is 0"):
        log_prob_moments(torch.zeros(2, 3, 4), mask, chunk_size=0)
    with pytest.raises(ValueError, match=r"between 0 and 1; got 1\.2 and 0\.5"):
        priv_leak(1.2, 0.5)
    with pytest.raises(ValueError, match="between 0 and 1"):
        priv_leak(0.5, -0.1)


def test_gradient_norm_is_that_of_all_parameters_together():
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(shape, generator=generator) for shape in ((3, 4), (5,), (2, 2, 2))]
    together = torch.cat([gradient.double().flatten() for gradient in gradients])
    assert gradient_norm_attack(gradients) == pytest.approx(together.norm().item(), rel=1e-12)
    mean = sum(gradient.double().norm().item() for gradient in gradients) / 3
    assert gradient_norm_attack(gradients, "openunlearning") == pytest.approx(mean, rel=1e-12)
    assert gradient_norm_attack([torch.full((1000,), 1e30)]) == pytest.approx(1e30 * 1000**0.5)  # squares overflow fp32
    assert gradient_norm_attack([torch.zeros(3)]) == 0
    assert math.isnan(gradient_norm_attack([torch.tensor([1.0, math.nan])]))
    assert math.isnan(gradient_norm_attack([]))
    with pytest.raises(ValueError, match="compat must be None or 'openunlearning'"):
        gradient_norm_attack(gradients, "muse")
