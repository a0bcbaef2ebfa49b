"""References of page 07's exercises: group norm, a gradient, an average, folding, a training, a sweep to read."""

import math

import numpy as np

from shathenet_utils.exercises import Exercise

_RNG = np.random.default_rng(7)
_MAPS = _RNG.normal(2, 3, (3, 4, 5, 6))


def _group_norm(x, groups, epsilon=1e-3):
    """Image by image and group by group."""
    result, width = np.empty_like(x, dtype=float), x.shape[-1] // groups
    for image in range(len(x)):
        for first in range(0, x.shape[-1], width):
            part = x[image, ..., first : first + width]
            result[image, ..., first : first + width] = (part - part.mean()) / math.sqrt(part.var() + epsilon)
    return result


def _centring_gradient(of_y):
    """The derivative of the outputs is the identity minus 1/N everywhere, and symmetric."""
    count = len(of_y)
    return (np.eye(count) - np.full((count, count), 1 / count)) @ of_y


def _steps_until(fraction, momentum):
    """After n steps the average is 1 − momentumⁿ of the mean; the small number is for rounding."""
    return math.ceil(math.log(1 - fraction) / math.log(momentum) - 1e-9)


def _folded_dense(kernel, bias, gamma, beta, mean, variance, epsilon=1e-3):
    """Read off what the two layers compute: their output at zero, and at each unit vector."""

    def outputs(x):
        return (gamma * (x - mean) / np.sqrt(variance + epsilon) + beta) @ kernel + bias

    at_zero = outputs(np.zeros(len(kernel)))
    return np.stack([*(outputs(unit) - at_zero for unit in np.eye(len(kernel))), at_zero])


def _tenfold_is_wrong(value, learning_rate):
    plain, normalised, factor = (float(number) for number in value)
    guessing = math.log(10)
    if math.isfinite(plain) and plain < guessing - 0.05:
        return f"plain reached {plain:.2f} nats: are all of its six kernels ten times as large?"
    if not math.isfinite(normalised) or normalised > guessing:
        return (
            f"normalised ended at {normalised:.3g} nats, and guessing is {guessing:.2f}: is it the second number, and "
            "are only the convolutions' kernels ten times as large?"
        )
    if normalised < 1:
        return "so low a loss is not plausible after so few steps."
    if not math.isclose(factor, 100, rel_tol=1e-3):
        return f"not by {factor:g}: how many times smaller is the gradient, and how many times longer the kernel?"
    return ""


EXERCISES = {
    "07.1": Exercise(
        reference=_group_norm,
        cases=[(_MAPS, 3), (_MAPS, 1), (_MAPS, 6), (_MAPS[:1], 2)],
        hint="x.reshape(*x.shape[:3], groups, -1) has an axis for the groups and one for the channels within a group.",
    ),
    "07.2": Exercise(
        reference=_centring_gradient,
        cases=[(_RNG.normal(1, 2, (5, 3)),), (np.array([[1.0], [3.0]]),), (np.ones((4, 2)),)],
        hint="y_i depends on x_j directly if i = j, and through the mean for every i: the derivative is δ_ij − 1/N.",
    ),
    "07.3": Exercise(
        reference=_steps_until,
        cases=[(0.9, 0.99), (0.9, 0.9), (0.5, 0.99), (0.99, 0.999), (0.05, 0.9)],
        hint="In each step average = momentum · average + (1 − momentum) · mean. Take 1 as the mean, and count.",
    ),
    "07.4": Exercise(
        reference=_folded_dense,
        cases=[
            (
                _RNG.normal(size=(4, 3)), _RNG.normal(size=3), _RNG.uniform(0.5, 2, 4), _RNG.normal(size=4),
                _RNG.normal(size=4), _RNG.uniform(0.1, 3, 4),
            ),
            (np.eye(2), np.zeros(2), np.ones(2), np.array([1.0, -1.0]), np.zeros(2), np.full(2, 0.999)),
        ],
        hint="y = scale · r + (beta − scale · mean), with scale = gamma / sqrt(variance + epsilon). Put that into "
        "y @ kernel + bias, and collect what multiplies r.",
    ),
    "07.5": Exercise(
        reference=None,
        cases=[(0.1,)],
        accepts=_tenfold_is_wrong,
        expects="three numbers: the loss of plain, the loss of normalised, and the factor",
        hint="for name in convolutions: kernel = model.get_layer(name).kernel, then kernel.assign(10 * kernel). "
        "losses_of_descent(model, [learning_rate]) returns a dict. For the factor see the effective learning rate.",
    ),
    "07.6": Exercise(
        reference=lambda: "C",
        feedback={
            "A": "look at the left end of the two lines: which one is higher there?",
            "B": "its line falls at both ends; at 0.1 it is at chance.",
            "D": "between 0.01 and 0.03 plain falls to chance; its best is further left.",
        },
        hint="Compare the two ringed dots: where do they lie, and how far are they apart?",
    ),
}  # fmt: skip
