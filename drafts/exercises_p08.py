"""References of page 08's exercises: a variance, dead filters, an initialiser, one factor for all kernels, a figure."""

import math

import numpy as np

from shathenet_utils.exercises import Exercise

_RNG = np.random.default_rng(8)
_VALUES = _RNG.normal(-2.2, 1, (8, 3, 3, 12))
_VALUES[..., 0] = -np.abs(_VALUES[..., 0])
_VALUES[..., 1] = np.minimum(_VALUES[..., 1], 0)
_VALUES[:, 0, 0, 1] = 0


def _variance_for_leaky_relu(n, slope):
    """The mean square that the activation leaves is a mean over the two signs."""
    left = np.mean([1, slope**2])
    return 1 / (n * left)


def _dead_fraction(z, count):
    outputs = np.maximum(z[:count], 0)
    return 1 - np.count_nonzero(outputs.sum(axis=(0, 1, 2))) / z.shape[-1]


def _initialiser_is_wrong(initialiser):
    for shape in ((3, 3, 64, 32), (400, 100)):
        values = np.asarray(initialiser(shape), np.float64)
        m, n = math.prod(shape) // shape[-2], math.prod(shape[:-1])
        if values.shape != shape:
            return f"it should give weights of shape {shape}, not {values.shape}."
        if abs(values.mean()) > 0.1 * values.std():
            return f"on shape {shape} the mean of its weights is {values.mean():.3g}, not about 0."
        if not 0.93 < values.var() * m / 2 < 1.07:
            return f"with n = {n} and m = {m} the variance of its weights is {values.var():.4g}, not {2 / m:.4g}."
    return ""


def _factor():
    """The factor that makes the product of the 19 layers' factors 1, in the page's network for images of 8×8."""
    channels, side, logarithm, variance = 3, 8, 0.0, (0.05 * 0.8796) ** 2
    for filters in (8, 16, 32):
        for _ in range(6):
            if channels != 3:
                inside = (1 - 2 / (3 * side)) ** 2
                logarithm += math.log(9 * channels * variance * inside / 2)
            channels = filters
        side //= 2
    logarithm += math.log(channels * side * side * variance / 2) + math.log(64 * variance / 2)
    return math.exp(-logarithm / (2 * 19))


def _one_factor_is_wrong(value, seed):
    factor, accuracy = (float(number) for number in value)
    right = _factor()
    if not abs(factor / right - 1) < 0.1:
        return (
            f"with the factor {factor:.3g} the mean square changes by a factor of "
            f"{(factor / right) ** 38:.2g} from the first layer to the logits, not by 1."
        )
    if not 0 < accuracy < 0.8:
        return f"the second number should be a validation accuracy, a fraction, not {accuracy:.3g}."
    return ""


EXERCISES = {
    "08.1": Exercise(
        reference=_variance_for_leaky_relu,
        cases=[(288, 0.0), (288, 0.2), (64, 1.0)],
        hint="Which share of the mean square does the activation leave? ReLU leaves one half.",
    ),
    "08.2": Exercise(
        reference=_dead_fraction,
        cases=[(_VALUES, 1), (_VALUES, 3), (_VALUES, 8)],
        hint="z[:count].max(axis=(0, 1, 2)) is the largest value of each filter on the first images.",
    ),
    "08.3": Exercise(
        reference=None,
        cases=[()],
        accepts=_initialiser_is_wrong,
        expects="an initialiser whose weights have mean 0 and variance 2/m",
        hint="VarianceScaling(scale, mode, distribution) draws weights with the variance scale / n, or scale / m.",
    ),
    "08.4": Exercise(
        reference=None,
        cases=[(0,)],
        accepts=_one_factor_is_wrong,
        expects="the factor, near 3, and the validation accuracy, two numbers",
        hint="A factor of c multiplies each layer's mean square by c². After the first layer come "
        "19 more: c to the power of 38 should make up for what the theory says is lost.",
    ),
    "08.5": Exercise(
        reference=lambda: "B",
        feedback={
            "A": "look at the values with orthogonal weights: do they stay level?",
            "C": "look at the gradients of the last layers.",
            "D": "look at the area around the line: it reaches from the smallest to the largest of ten draws.",
        },
        hint="Compare the slopes of two lines at a time.",
    ),
}
