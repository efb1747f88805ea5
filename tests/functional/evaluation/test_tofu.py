import math

import numpy as np
import pytest
import torch
from scipy import stats

from unlearn_pl.functional import (
    answer_probability,
    forget_quality,
    forget_truth_ratio,
    log10_forget_quality,
    model_utility,
    probability_with_options,
    truth_ratio,
    utility_truth_ratio,
)


def nlls(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 5


def test_probabilities_equal_their_formulas():
    answer, options = nlls(7), nlls(7, 3, seed=1)
    p, wrong = np.exp(-answer.numpy()), np.exp(-options.numpy())
    np.testing.assert_allclose(answer_probability(answer), p, rtol=1e-12)
    np.testing.assert_allclose(probability_with_options(answer, options), p / (p + wrong.sum(-1)), rtol=1e-12)


def test_truth_ratio_equals_both_formulas():
    para, perturbed = nlls(4, 6), nlls(4, 6, 5, seed=1)
    p, wrong = np.exp(-para.numpy()), np.exp(-perturbed.numpy())
    np.testing.assert_allclose(truth_ratio(para, perturbed), stats.gmean(wrong, axis=-1) / p, rtol=1e-12)
    np.testing.assert_allclose(truth_ratio(para, perturbed, "arithmetic"), wrong.mean(-1) / p, rtol=1e-12)


def test_the_averages_agree_for_equal_answers_and_differ_otherwise():
    para = torch.tensor(2.0, dtype=torch.float64)
    same, different = torch.full([5], 2.0, dtype=torch.float64), torch.tensor([1.0, 3.0], dtype=torch.float64)
    assert truth_ratio(para, same).item() == pytest.approx(1, rel=1e-12)
    assert truth_ratio(para, same, "arithmetic").item() == pytest.approx(1, rel=1e-12)
    assert truth_ratio(para, different) < truth_ratio(para, different, "arithmetic")  # the means' inequality


@pytest.mark.parametrize("average", ["geometric", "arithmetic"])
def test_truth_ratio_of_impossible_answers(average):
    finite, impossible = torch.tensor([1.0, 2.0]), torch.tensor([math.inf, math.inf])
    assert truth_ratio(torch.tensor(math.inf), finite, average) == math.inf
    assert truth_ratio(torch.tensor(1.0), impossible, average) == 0
    assert truth_ratio(torch.tensor(math.inf), impossible, average).isnan()
    assert truth_ratio(torch.tensor(1.0), torch.tensor([1.0, math.nan]), average).isnan()


def test_truth_ratio_does_not_depend_on_the_order_of_the_perturbed_answers():
    para, perturbed = nlls(3), nlls(3, 5, seed=1)
    torch.testing.assert_close(truth_ratio(para, perturbed), truth_ratio(para, perturbed.flip(-1)))


def test_truth_ratio_refuses_nothing_and_unknown_averages():
    with pytest.raises(ValueError, match="at least one perturbed answer"):
        truth_ratio(torch.tensor(1.0), torch.empty(0))
    with pytest.raises(ValueError, match=r"'geometric' or 'arithmetic', but is 'harmonic'"):
        truth_ratio(torch.tensor(1.0), torch.ones(2), "harmonic")  # type: ignore[arg-type]


def test_aggregates_of_truth_ratios_by_hand():
    ratios = torch.tensor([0.5, 2.0, 4.0, 0.0, math.inf], dtype=torch.float64)
    assert forget_truth_ratio(ratios).item() == pytest.approx((0.5 + 0.5 + 0.25 + 0 + 0) / 5, rel=1e-12)
    assert utility_truth_ratio(ratios).item() == pytest.approx((0.5 + 0 + 0 + 1 + 0) / 5, rel=1e-12)


def test_forget_truth_ratio_does_not_care_which_way_the_ratio_is_written():
    ratios = nlls(40).exp()
    torch.testing.assert_close(forget_truth_ratio(ratios), forget_truth_ratio(1 / ratios))


@pytest.mark.parametrize("aggregate", [forget_truth_ratio, utility_truth_ratio])
def test_nan_is_not_dropped(aggregate):
    assert aggregate(torch.tensor([0.5, math.nan])).isnan()


def ks_statistic(a: np.ndarray, b: np.ndarray) -> float:
    points = np.concatenate([a, b])
    return max(abs((a <= point).mean() - (b <= point).mean()) for point in points)


@pytest.mark.parametrize(("n", "m", "shift"), [(40, 40, 0.0), (40, 31, 0.3), (200, 150, 0.8)])
def test_forget_quality_against_a_permutation_free_oracle(n, m, shift):
    a, b = nlls(n).exp(), nlls(m, seed=1).exp() * math.exp(shift)
    quality = forget_quality(a, b)
    assert quality == stats.ks_2samp(a.numpy(), b.numpy()).pvalue
    # Smirnov's limit distribution of the brute-force statistic, good to a few percent at these sizes
    d = ks_statistic(a.numpy(), b.numpy())
    assert quality == pytest.approx(stats.kstwobign.sf(d * math.sqrt(n * m / (n + m))), rel=0.5, abs=0.05)


def test_forget_quality_is_symmetric_and_depends_on_the_order_alone():
    a, b = nlls(30), nlls(25, seed=1) + 0.4
    assert forget_quality(a, b) == pytest.approx(forget_quality(b, a), rel=1e-9)
    assert forget_quality(a.exp(), b.exp()) == pytest.approx(forget_quality(a, b), rel=1e-12)
    assert forget_quality((-a).exp(), (-b).exp()) == pytest.approx(forget_quality(a, b), rel=1e-9)
    assert forget_quality(a, a) == 1


def test_forget_quality_of_special_values():
    assert math.isnan(forget_quality([0.1, math.nan], [0.1, 0.2]))
    assert forget_quality([0.1, math.inf], [0.1, math.inf]) == 1
    with pytest.raises(ValueError, match="got 0 and 2"):
        forget_quality([], [0.1, 0.2])


def test_log10_forget_quality_is_always_a_number():
    assert log10_forget_quality(1.06e-239) == pytest.approx(-238.97469, abs=1e-4)
    assert log10_forget_quality(0.0) == pytest.approx(-323.3, abs=0.1)
    assert math.isnan(log10_forget_quality(math.nan))


def test_model_utility_is_the_harmonic_mean():
    values = (0.1 + nlls(9) / 6).tolist()
    assert model_utility(values) == pytest.approx(stats.hmean(values), rel=1e-12)
    assert model_utility(torch.tensor(values)) == pytest.approx(stats.hmean(values), rel=1e-6)
    assert model_utility([0.3] * 9) == pytest.approx(0.3, rel=1e-12)
    assert model_utility([0.5, 0.0, 1.0]) == 0
    assert math.isnan(model_utility([0.5, math.nan, 0.0]))


@pytest.mark.parametrize("values", [[], [0.5, -0.1]])
def test_model_utility_refuses_what_has_no_harmonic_mean(values):
    with pytest.raises(ValueError, match="non-negative"):
        model_utility(values)
