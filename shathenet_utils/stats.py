"""Means, differences and their 95 % intervals, over seeds or over seeds and images: plain functions on arrays.

Over seeds: how much a rerun on this test set would vary. Over seeds and images: how much a rerun on another test set
of as many images would vary, which is what a claim about networks in general needs. The formulas of the second kind
are those of a two-way random-effects model: correctness = mean + seed + image + residual, each with its own variance.
That interval is wider as a rule. It can come out a little narrower where the seeds' part, known from few seeds, is
nearly all of the variance, since the images' part has many more degrees of freedom.
Welch, "The generalization of 'Student's' problem when several different population variances are involved" (1947);
Satterthwaite, "An approximate distribution of estimates of variance components" (1946).
"""

import math
from typing import NamedTuple

import numpy as np

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean with its 95 % interval, in the unit of what was averaged. n: the number of seeds; NaN bounds where it is
    1."""

    mean: float
    low: float
    high: float
    n: int


class Difference(NamedTuple):
    """A difference of two means with its 95 % interval, in their unit. n: the number of seeds, of pairs, or of seeds
    of the side that has fewer; NaN bounds where it is 1."""

    mean: float
    low: float
    high: float
    n: int


class StandardErrors(NamedTuple):
    """How far chance moves a mean or a difference, in its unit: from the seeds, from the images, from both."""

    seeds: float
    images: float
    both: float


def mean_ci(values) -> Interval:
    """Mean and t-interval of independent values, one per seed, shape (n,), n at least 1.

    Raises ValueError where there are no values or one is not finite.
    """
    values = _row(values, "mean_ci")
    return Interval(*_with_bounds(values.mean(), [_term(values)], values.size))


def of_fractions(interval: Interval) -> Interval:
    """The interval of a mean of fractions, cut at 0 and 1: that of a few seeds may reach further."""
    return interval._replace(low=float(np.clip(interval.low, 0, 1)), high=float(np.clip(interval.high, 0, 1)))


def welch_difference(values, baseline) -> Difference:
    """Mean of values − mean of baseline, independent of each other, with Welch's t-interval.

    values, baseline: one per seed, shapes (n,) and (m,), each at least 1. Raises ValueError as `mean_ci` does.
    """
    values, baseline = _row(values, "welch_difference"), _row(baseline, "welch_difference")
    terms = [_term(values), _term(baseline)]
    return Difference(*_with_bounds(values.mean() - baseline.mean(), terms, min(values.size, baseline.size)))


def paired_difference(values, baseline) -> Difference:
    """Mean of values − baseline, pair by pair, with its t-interval.

    values, baseline: shape (n,), n at least 1; the caller has matched them, as `Runs.paired_difference` does by seed
    number. Raises ValueError where the lengths differ, and as `mean_ci` does.
    """
    values, baseline = _row(values, "paired_difference"), _row(baseline, "paired_difference")
    if values.shape != baseline.shape:
        raise ValueError(
            f"paired_difference() needs one value per pair on both sides, not {values.size} and {baseline.size}."
        )
    return Difference(*mean_ci(values - baseline))


def two_way_mean_ci(correct) -> Interval:
    """Mean accuracy of one network with its interval over seeds and images.

    correct: bool (or numbers), shape (seeds, images): whether the run of a seed classified an image correctly. At
    least 1 seed and 2 images. The variance of the mean is s²(seed means)/n + s²(image means)/N − s²(residual)/(nN) for
    n seeds and N images. Raises ValueError where the shape is another or a number is not finite.
    """
    correct = _table(correct, "two_way_mean_ci")
    return Interval(*_with_bounds(correct.mean(), *_two_way([correct])))


def two_way_difference(correct, baseline) -> Difference:
    """Mean accuracy of a network − that of another on the same images, with its interval over seeds and images.

    correct, baseline: bool (or numbers), shapes (n, images) and (m, images), the images in the same order. The variance
    is s²(seed means)/n of each network, plus s²(difference of the image means)/N, minus s²(residual)/(nN) of each.
    Raises ValueError where the numbers of images differ, and as `two_way_mean_ci` does.
    """
    correct, baseline = _on_the_same_images(correct, baseline, "two_way_difference")
    return Difference(*_with_bounds(correct.mean() - baseline.mean(), *_two_way([correct, baseline])))


def standard_errors(correct, baseline=None) -> StandardErrors:
    """Where the uncertainty of an accuracy, or of a difference of two on the same images, comes from.

    correct, baseline: as in `two_way_mean_ci` and `two_way_difference`. Raises ValueError as they do, and where a
    network has one seed.
    """
    networks = [_table(correct, "standard_errors")]
    if baseline is not None:
        networks = list(_on_the_same_images(correct, baseline, "standard_errors"))
    terms, n, floor = _two_way(networks)
    if n == 1:
        raise ValueError("standard_errors() needs at least two seeds per network.")
    residual = -sum(value for value, _ in terms if value < 0)
    seeds = sum(value for value, _ in terms[: len(networks)])
    images = max(terms[len(networks)][0] - residual, 0)
    return StandardErrors(*(float(math.sqrt(value)) for value in (seeds, images, _total(terms, floor))))


def _row(values, caller: str) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"{caller}() needs a row of finite numbers, not {values!r}.")
    return values


def _table(correct, caller: str) -> np.ndarray:
    correct = np.asarray(correct, dtype=np.float64)
    if correct.ndim != 2 or correct.shape[0] < 1 or correct.shape[1] < 2 or not np.isfinite(correct).all():
        raise ValueError(
            f"{caller}() needs finite numbers of shape (seeds, images), at least (1, 2), not {correct.shape}."
        )
    return correct


def _on_the_same_images(correct, baseline, caller: str) -> tuple[np.ndarray, np.ndarray]:
    correct, baseline = _table(correct, caller), _table(baseline, caller)
    if correct.shape[1] != baseline.shape[1]:
        raise ValueError(
            f"{caller}() needs both networks on the same images, not on {correct.shape[1]:,} and {baseline.shape[1]:,}."
        )
    return correct, baseline


def _term(values: np.ndarray) -> tuple[float, int]:
    """The estimated variance of the mean of some values, and its degrees of freedom; (NaN, 0) from one value."""
    return (values.var(ddof=1) / values.size if values.size > 1 else math.nan), values.size - 1


def _two_way(networks: list[np.ndarray]) -> tuple[list[tuple[float, int]], int, float]:
    """What `_with_bounds` needs for one network, or for the difference of the first and the second.

    Returns the terms of the variance (those of the seeds first, then that of the images, then those that are
    subtracted), the smallest number of seeds, and the floor of the variance.
    """
    n = min(len(correct) for correct in networks)
    images = networks[0].mean(axis=0) - (networks[1].mean(axis=0) if len(networks) > 1 else 0)
    residuals = [_residual(correct) for correct in networks] if n > 1 else []
    seeds = [_term(correct.mean(axis=1)) for correct in networks]
    # An estimate of the images' variance may come out negative, as may the whole; the true variance of the mean is
    # never below the seeds' part, nor below the residual's.
    floor = max(sum(value for value, _ in seeds), -sum(value for value, _ in residuals))
    return [*seeds, _term(images), *residuals], n, floor


def _residual(correct: np.ndarray) -> tuple[float, int]:
    """What the residual takes from the variance of a mean over (seeds, images), both at least 2."""
    rest = correct - correct.mean(axis=1, keepdims=True) - correct.mean(axis=0) + correct.mean()
    freedom = (correct.shape[0] - 1) * (correct.shape[1] - 1)
    return -float((rest**2).sum()) / freedom / correct.size, freedom


def _total(terms, floor: float) -> float:
    return max(sum(value for value, _ in terms), floor)


def _with_bounds(mean: float, terms, n: int, floor: float = 0.0) -> tuple[float, float, float, int]:
    """(mean, low, high, n) from the terms of the variance, each with its degrees of freedom (Welch–Satterthwaite)."""
    mean = float(mean)
    if n == 1:
        return mean, math.nan, math.nan, 1
    variance = _total(terms, floor)
    if variance == 0:  # every value is the same
        return mean, mean, mean, n
    from scipy import special  # here, and not scipy.stats: a page of records opens in under a second

    shares = [(value / variance) ** 2 / freedom for value, freedom in terms]  # no underflow where all are tiny
    half = float(special.stdtrit(1 / sum(shares), (1 + CONFIDENCE) / 2) * math.sqrt(variance))
    return mean, mean - half, mean + half, n


def percent(fraction: float) -> str:
    """A fraction in per cent, with a narrow no-break space: "27.8 %"."""
    return f"{100 * fraction:.1f}\u202f%"


def points(fraction: float) -> str:
    """A difference of fractions in percentage points: "+1.2 points", "−0.3 points", "0.0 points"."""
    return f"{_signed(fraction)} points"


def format_mean_ci(interval: Interval) -> str:
    """A mean of fractions with its interval: "76.0 % (74.3 to 77.7)"; without bounds, only the mean."""
    text = percent(interval.mean)
    return text if math.isnan(interval.low) else f"{text} ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def format_difference(difference: Difference) -> str:
    """A difference of fractions with its interval: "+6.7 points (+4.9 to +8.6)"; without bounds, only the mean."""
    text = points(difference.mean)
    return text if math.isnan(difference.low) else f"{text} ({_signed(difference.low)} to {_signed(difference.high)})"


def _signed(fraction: float) -> str:
    text = f"{100 * fraction:+.1f}".replace("-", "−")
    return text[1:] if text[1:] == "0.0" else text
