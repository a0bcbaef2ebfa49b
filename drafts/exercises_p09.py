"""References of page 09's exercises: a smoothing, spatial dropout, a penalty's gradient, a training, a diagram."""

import numpy as np

from shathenet_utils.exercises import Exercise

_RNG = np.random.default_rng(9)
_MAPS = _RNG.normal(size=(3, 4, 5, 6))
_NUMBERS = _RNG.random((3, 6))
_WEIGHTS = _RNG.normal(size=(4, 3))


def _smoothing_for_gap(gap, classes):
    """By bisection: the gap falls as the smoothing rises."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        others = middle / classes
        if np.log((1 - middle + others) / others) > gap:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _spatial_dropout(x, numbers, rate):
    """Channel by channel."""
    result = np.zeros_like(x)
    for image, channel in np.ndindex(*numbers.shape):
        if numbers[image, channel] >= rate:
            result[image, :, :, channel] = x[image, :, :, channel] / (1 - rate)
    return result


def _penalty_gradient(weights, a, b):
    """By differences, which are exact for a penalty that is quadratic on each side of zero."""
    h = np.abs(weights) / 2
    return (_penalties(weights + h, a, b) - _penalties(weights - h, a, b)) / (2 * h)


def _penalties(weights, a, b):
    return a * np.abs(weights) + b / 2 * weights**2


def _strengths_are_wrong(value, rates):
    trained, new, letter = value
    for name, accuracies in (("training", trained), ("validation", new)):
        if np.shape(accuracies) != (len(rates),):
            return f"the {name} accuracies should be a list of {len(rates)}, one per rate."
        if not all(0 <= accuracy <= 1 for accuracy in accuracies):
            return f"the {name} accuracies should be fractions from 0 to 1."
    if len(set(np.round(trained, 6))) < 2:
        return "the training accuracies are equal: does train_few get the rate, as spatial_dropout=rate?"
    if trained[0] < new[0] + 0.1:
        return (
            "without dropout the training accuracy lies far above the validation accuracy: are the two lists in the "
            "order of the rates, training first?"
        )
    if letter not in ("A", "B", "C"):
        return "the letter is one of A, B, C."
    gaps = [one - other for one, other in zip(trained, new, strict=True)]
    right = "A" if gaps[-1] >= gaps[0] else "B" if new[-1] >= new[0] else "C"
    if letter == right:
        return ""
    found = f"the gap goes from {gaps[0]:.2f} to {gaps[-1]:.2f}, validation accuracy from {new[0]:.2f} to {new[-1]:.2f}"
    return f"{letter}: {found}. Read the three statements again."


EXERCISES = {
    "09.1": Exercise(
        reference=_smoothing_for_gap,
        cases=[(4.0, 10), (np.log(91), 10), (2.0, 100), (0.0, 10)],
        tolerance=1e-4,
        hint="Solve gap = ln(1 + K(1 − ε)/ε) for ε: apply the exponential function to both sides first.",
    ),
    "09.2": Exercise(
        reference=_spatial_dropout,
        cases=[(_MAPS, _NUMBERS, 0.3), (_MAPS, _NUMBERS, 0.8), (_MAPS[:1], _NUMBERS[:1], 0.0)],
        hint="The mask has one value per image and channel. numbers[:, None, None, :] gives it axes for rows and "
        "columns. Divide by 1 − rate.",
    ),
    "09.3": Exercise(
        reference=_penalty_gradient,
        cases=[(_WEIGHTS, 0.1, 0.5), (_WEIGHTS, 0.0, 2.0), (np.array([-3.0, 0.5]), 1.0, 0.0)],
        tolerance=1e-6,
        hint="The derivative of |w| is 1 for positive w and −1 for negative: np.sign.",
    ),
    "09.4": Exercise(
        reference=None,
        cases=[([0.0, 0.2, 0.8],)],
        accepts=_strengths_are_wrong,
        expects="two lists of accuracies, one per rate, and the letter of what they show",
        hint="measure_few(train_few(spatial_dropout=rate, epochs=20)) returns a dict with both accuracies. The gap is "
        "training minus validation accuracy.",
    ),
    "09.5": Exercise(
        reference=lambda: "B",
        feedback={
            "A": "go up from 0.7 on the horizontal axis: at which accuracy is the dot?",
            "C": "a temperature divides all logits of an image by one number: does another logit become the largest?",
            "D": "a dot stands for a whole bin, and its area for the share of images in it.",
        },
        hint="Compare the dots with the grey line, and mind their areas.",
    ),
}  # fmt: skip
