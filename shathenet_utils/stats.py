"""Mean, confidence interval and paired difference over seeds: plain functions on arrays."""

import math
from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """A mean with its 95 % t-interval, in the unit of what was averaged; NaN bounds where n is 1."""

    mean: float
    low: float
    high: float
    n: int


def interval(values, confidence: float = 0.95) -> Interval:
    """Mean and t-interval of independent values (one a seed), shape (n,), n at least 1.

    Raises ValueError where there are no values or one is not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"interval() needs a row of finite numbers, not {values!r}.")
    mean = float(values.mean())
    if values.size == 1:
        return Interval(mean, math.nan, math.nan, 1)
    from scipy import special  # here, and not scipy.stats: a page of records opens in under a second

    half = special.stdtrit(values.size - 1, (1 + confidence) / 2) * values.std(ddof=1) / math.sqrt(values.size)
    return Interval(mean, float(mean - half), float(mean + half), values.size)


def paired_difference(values, baseline, confidence: float = 0.95) -> Interval:
    """Mean of values − baseline, paired by position (the same seed), with its t-interval.

    values, baseline: shape (n,). Raises ValueError where the lengths differ.
    """
    values, baseline = np.asarray(values, np.float64), np.asarray(baseline, np.float64)
    if values.shape != baseline.shape:
        raise ValueError(
            f"paired_difference() needs one value a seed on both sides, not {values.shape} and {baseline.shape}."
        )
    return interval(values - baseline, confidence)


def points(difference: Interval) -> str:
    """A difference of fractions in percentage points with its interval: "+5.9 (+5.1 to +6.7)"."""
    mean, low, high = (f"{100 * bound:+.1f}" for bound in difference[:3])
    return mean if difference.n == 1 else f"{mean} ({low} to {high})"
