"""References of page 03's exercises: factorised and reduced convolutions, kernels with zeros, a training, a figure."""

import numpy as np

from shathenet_utils.exercises import Exercise


def _factorised_parameters(k, channels, filters):
    first, second = np.empty((1, k, channels, filters)), np.empty((k, 1, filters, filters))
    return first.size + second.size + 2 * filters


def _as_5x5(kernel):
    height, width, *rest = kernel.shape
    large = np.zeros((5, 5, *rest), kernel.dtype)
    top, left = 2 - height // 2, 2 - width // 2
    large[top : top + height, left : left + width] = kernel
    return large


def _reduced_multiply_adds(side, channels, reduced, filters):
    per_position = channels * reduced + 5 * 5 * reduced * filters
    return side**2 * per_position


def _difference_is_wrong(difference, seed):
    if not isinstance(difference, float | np.floating):
        return "the difference is one number: the last accuracy of 5×5 minus that of 3×3."
    return "" if -1 < difference < 1 else "accuracies are fractions, so their difference lies between −1 and 1."


_KERNELS = [
    np.random.default_rng(3).normal(size=(height, width, 2, 3)) for height, width in ((3, 3), (1, 1), (1, 5), (5, 5))
]

EXERCISES = {
    "03.1": Exercise(
        reference=_factorised_parameters,
        cases=[(5, 64, 64), (7, 3, 16), (3, 1, 10)],
        hint="A filter of the first has k · channels weights and one bias; the second reads `filters` channels.",
    ),
    "03.2": Exercise(
        reference=_as_5x5,
        cases=[(kernel,) for kernel in _KERNELS],
        hint="np.pad takes a pair (before, after) per axis. The kernel must stay in the middle: from 3 rows to 5 it "
        "takes one row of zeros on either side.",
    ),
    "03.3": Exercise(
        reference=_reduced_multiply_adds,
        cases=[(28, 192, 16, 32), (24, 64, 8, 64), (1, 10, 1, 10)],
        hint="multiply-adds = positions · kernel area · input channels · filters, for each of the two.",
    ),
    "03.4": Exercise(
        reference=None,
        cases=[(0,), (1,)],
        accepts=_difference_is_wrong,
        expects="the last validation accuracy of 5×5 minus that of 3×3, a number between −1 and 1",
        hint="train_live(5, (8, 16, 20), epochs=4, seed=seed) returns an accuracy per epoch; [-1] is the last.",
    ),
    "03.5": Exercise(
        reference=lambda: "B",
        feedback={
            "A": "a network without the branch was trained too: look at “side by side without 5×5” and its interval.",
            "C": "compare the two networks without 5×5 with each other; the page gives that difference's interval.",
            "D": "“3×3 and 5×5 side by side” has branches. Which networks without branches lie below it?",
        },
        hint="An interval that includes zero shows no difference.",
    ),
}
