"""Means, intervals and paired differences, against SciPy and by hand."""

import math

import numpy as np
import pytest
from helpers import tries
from hypothesis import given
from hypothesis import strategies as some

from shathenet_utils import stats

accuracies = some.lists(some.floats(0, 1), min_size=2, max_size=12)


@tries(100)
@given(accuracies, some.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_the_interval_is_students(values, confidence):
    from scipy.stats import sem, t

    found = stats.interval(values, confidence)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.n == len(values)
    if sem(values) == 0:
        assert found.low == found.mean == found.high
    else:
        low, high = t.interval(confidence, len(values) - 1, loc=np.mean(values), scale=sem(values))
        assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_a_known_interval():
    found = stats.interval([0.60, 0.61, 0.62])  # t(2, 97.5 %) = 4.3027, standard error 0.01 / √3
    assert found.high - found.mean == pytest.approx(4.30265 * 0.01 / math.sqrt(3), rel=1e-5)


def test_one_value_has_a_mean_and_no_bounds():
    mean, low, high, n = stats.interval([0.6])
    assert (mean, n) == (0.6, 1)
    assert math.isnan(low)
    assert math.isnan(high)


def test_equal_values_have_an_interval_of_no_width():
    assert stats.interval([0.5, 0.5, 0.5]) == (0.5, 0.5, 0.5, 3)


@pytest.mark.parametrize("values", [[], [[1.0, 2.0]], 0.6, [0.6, math.nan], [0.6, math.inf], [0.6, None]])
def test_what_is_no_row_of_finite_numbers_is_refused(values):
    with pytest.raises(ValueError, match=r"interval\(\) needs a row of finite numbers"):
        stats.interval(values)


@tries(100)
@given(accuracies)
def test_a_paired_difference_is_the_interval_of_the_differences(values):
    baseline = np.linspace(0.2, 0.3, len(values))
    assert stats.paired_difference(values, baseline) == stats.interval(np.array(values) - baseline)


def test_pairing_removes_what_the_seeds_share():
    baseline = np.array([0.2, 0.5, 0.8])
    found = stats.paired_difference(baseline + 0.1, baseline)
    assert found.mean == pytest.approx(0.1)
    assert found.high - found.low < 1e-9


def test_unequal_numbers_of_seeds_are_refused():
    with pytest.raises(ValueError, match="one value a seed on both sides"):
        stats.paired_difference([0.1, 0.2], [0.1])


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (stats.Interval(0.059, 0.051, 0.067, 5), "+5.9 (+5.1 to +6.7)"),
        (stats.Interval(-0.002, -0.01, 0.006, 5), "-0.2 (-1.0 to +0.6)"),
        (stats.Interval(0.03, math.nan, math.nan, 1), "+3.0"),
    ],
)
def test_points_reads_as_a_sentence_has_it(interval, text):
    assert stats.points(interval) == text
