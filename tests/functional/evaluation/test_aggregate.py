import math

import pytest
from scipy import stats

from unlearn_pl.functional import (
    auc_closeness,
    harmonic_mean,
    memorization_score,
    overall_score,
    privacy_score,
    utility_score,
)

RETAIN = {"loss": 0.387, "zlib": 0.308, "min_k": 0.382, "min_k_plus_plus": 0.476}


def test_harmonic_mean_equals_scipys():
    values = [0.3, 0.9, 0.01, 1.0]
    assert harmonic_mean(values) == pytest.approx(stats.hmean(values), rel=1e-12)
    assert harmonic_mean(iter(values)) == pytest.approx(harmonic_mean(values[::-1]), rel=1e-12)
    assert harmonic_mean([0.7]) == 0.7
    assert harmonic_mean([0.7, 0.0]) == 0
    assert harmonic_mean([math.inf, 1.0]) == 2
    assert math.isnan(harmonic_mean([0.7, 0.0, math.nan]))
    for refused in ([], [0.5, -0.1]):
        with pytest.raises(ValueError, match="non-negative"):
            harmonic_mean(refused)


@pytest.mark.parametrize(
    ("parts", "published"),
    [
        # 1 - ES, 1 - EM, 1 - probability, 1 - truth ratio of TOFU models by an independent evaluation
        ((0.3207916755605088, 0.03189577773213381, 0.8951966056297533, 0.3177524389214216), 0.10326957371765141),
        ((0.9410334254012416, 0.40987262561917304, 0.9449263802386122, 0.43290894326792495), 0.582183839279926),
        ((0.9359292238955605, 0.3956164241582155, 0.9403928839910077, 0.46876905970241944), 0.5888596837806762),
    ],
)
def test_memorization_gives_published_values(parts, published):
    assert memorization_score(*(1 - part for part in parts)) == pytest.approx(published, rel=1e-9)


def test_memorization_of_everything_of_nothing_and_of_nan():
    assert memorization_score(0.0, 0.0, 0.0, 0.0) == 1
    assert memorization_score(0.0, 1.0, 0.0, 0.0) == 0
    assert memorization_score(0.0, 1.0 + 1e-9, 0.0, 0.0) == 0  # rounding
    assert math.isnan(memorization_score(1.0, math.nan, 0.0, 0.0))
    with pytest.raises(ValueError, match=r"truth_ratio must be between 0 and 1, but is 1\.2"):
        memorization_score(0.0, 0.0, 0.0, 1.2)


def test_closeness_is_symmetric_and_one_for_equal_attacks():
    assert auc_closeness(0.4, 0.5) == auc_closeness(0.5, 0.4) == pytest.approx(0.8)
    assert auc_closeness(0.4, 0.5) == pytest.approx(1 - abs(0.4 - 0.5) / 0.5)  # the other definition, auc <= retain
    assert auc_closeness(0.0, 0.0) == auc_closeness(0.387, 0.387) == 1
    assert auc_closeness(0.0, 0.5) == 0
    assert math.isnan(auc_closeness(math.nan, 0.5))
    with pytest.raises(ValueError, match="auc_retain must be between 0 and 1"):
        auc_closeness(0.5, 50.0)


def test_privacy_is_the_harmonic_mean_over_attacks():
    aucs = {"zlib": 0.9, "loss": 0.2, "min_k_plus_plus": 0.476, "min_k": 1.0}
    expected = stats.hmean([0.2 / 0.387, 0.308 / 0.9, 0.382 / 1.0, 1.0])
    assert privacy_score(aucs, RETAIN) == pytest.approx(expected, rel=1e-12)
    assert privacy_score(RETAIN, RETAIN) == 1
    assert privacy_score(RETAIN | {"loss": 0.0}, RETAIN) == 0
    assert math.isnan(privacy_score(RETAIN | {"loss": math.nan}, RETAIN))
    for refused in ({}, {"loss": 0.5}):
        with pytest.raises(ValueError, match="same attacks"):
            privacy_score(refused, RETAIN if refused else {})


def test_utility_gives_published_values_and_is_relative_to_the_target():
    target = utility_score(0.6008834008121887, 0.872823725938797)
    assert target == pytest.approx(0.7117632523209635, rel=1e-9)
    assert utility_score(0.5301625506291807, 0.8731878917454742) == pytest.approx(0.6597518422892283, rel=1e-9)
    assert utility_score(0.3, 0.6, target_utility=0.8) == pytest.approx(0.4 / 0.8)
    assert utility_score(0.5905297105697398, 0.8994657691195607, target) == 1  # better than before
    assert utility_score(0.0, 0.9, target) == utility_score(0.5, 0.0) == 0
    assert math.isnan(utility_score(math.nan, 0.9, target))
    assert math.isnan(utility_score(0.9, 0.9, math.nan))
    with pytest.raises(ValueError, match="target_utility is 0"):
        utility_score(0.5, 0.5, target_utility=0.0)


def test_overall_is_the_harmonic_mean_of_the_three():
    assert overall_score(0.5888596837806762, 0.9515464647585539, 0.9261370074946698) == pytest.approx(0.784, abs=5e-4)
    assert overall_score(0.2, 0.5, 0.8) == pytest.approx(stats.hmean([0.2, 0.5, 0.8]), rel=1e-12)
    assert overall_score(1.0, 1.0, 0.0) == 0
    assert math.isnan(overall_score(1.0, 0.0, math.nan))
    with pytest.raises(ValueError, match="privacy must be between 0 and 1"):
        overall_score(0.5, -98.0, 0.5)
