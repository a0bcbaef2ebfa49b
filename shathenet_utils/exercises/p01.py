"""References of page 01's exercises: a convolution by hand, output sizes, parameters, a training, a learning curve."""

import os

import numpy as np

from shathenet_utils.exercises import Exercise

_IMAGE = np.array([[1, 2, 0], [0, 1, 3], [2, 1, 1]])
_KERNEL = np.array([[1, 0], [-1, 2]])
_BIAS = -1


def _feature_map_is_wrong(rows):
    """Compares with every window of the image times the kernel, plus the bias, after ReLU; names one wrong value."""
    windows = np.lib.stride_tricks.sliding_window_view(_IMAGE, _KERNEL.shape)
    expected = np.maximum((windows * _KERNEL).sum(axis=(2, 3)) + _BIAS, 0)
    given = np.asarray(rows, float)
    if given.shape != expected.shape:
        return f"a 2×2 kernel fits at 2×2 positions of a 3×3 image, so the shape is (2, 2), not {given.shape}."
    for row, column in np.argwhere(given != expected):
        value = f"{given[row, column]:g}"
        return f"the value in row {row}, column {column} is {value}, expected {expected[row, column]}."
    return ""


def _output_size(size, kernel_size, stride, padding):
    """Counts the positions of a window that begins at 0 and moves on by the stride."""
    last_start = size - 1 if padding == "same" else size - kernel_size
    return len(range(0, last_start + 1, stride))


def _count_parameters(kernel_size, channels, filters):
    kernel = np.empty((kernel_size, kernel_size, channels, filters))
    return kernel.size + filters


def _losses_are_wrong(losses, kernel_initializer):
    losses = [float(loss) for loss in losses]
    if len(losses) != 3:
        return f"these are {len(losses)} values, not one per epoch."
    if not np.isfinite(losses).all():
        return "a loss is not a finite number: the learning rate may be too large."
    if "SHATHENET_LIVE_SECONDS" in os.environ:  # too few images to leave the plateau
        return ""
    if kernel_initializer == "he_normal" and losses[-1] > losses[0] - 0.05:
        return "the loss should fall by more than 0.05: is this the initialiser, and 0.05 the learning rate?"
    if kernel_initializer == "truncated_normal" and not all(2.25 < loss < 2.35 for loss in losses):
        return "each loss should lie between 2.25 and 2.35, near ln 10: is this the initialiser, on 4,000 images?"
    return ""


EXERCISES = {
    "01.1": Exercise(
        reference=None,
        accepts=_feature_map_is_wrong,
        expects="a list of two rows of two numbers",
        hint="Lay the kernel over the top left 2×2 window: 1·1 + 2·0 + 0·(−1) + 1·2, then add the bias. ReLU sets "
        "negative values to zero.",
    ),
    "01.2": Exercise(
        reference=_output_size,
        cases=[(192, 7, 6, "same"), (33, 3, 2, "same"), (32, 3, 1, "valid"), (32, 5, 4, "valid"), (7, 7, 3, "valid")],
        hint="Use the two formulas of the section on padding and stride; a // b divides and rounds down.",
    ),
    "01.3": Exercise(
        reference=_count_parameters,
        cases=[(7, 3, 16), (5, 16, 16), (1, 64, 10)],
        hint="A filter has kernel_size · kernel_size · channels weights, and one bias.",
    ),
    "01.4": Exercise(
        reference=None,
        cases=[("truncated_normal",), ("he_normal",)],
        accepts=_losses_are_wrong,
        expects="a list of three mean losses, one per epoch",
        hint="build_v1_0(kernel_initializer) builds the network; train_epoch(network, live, 0.05, epoch) returns the "
        "mean loss of an epoch.",
    ),
    "01.5": Exercise(
        reference=lambda: "B",
        feedback={
            "A": "Overfitting is more than a gap: the training curve rises while the validation curve does not. At "
            "1e-4 both still rise.",
            "C": "The height of the training curve does not matter: it rises while the validation curve hardly does.",
            "D": "The curves at 1e-4 still rise, but the figure ends there: how far they would get is not shown.",
        },
        hint="Look at the right half of both curves: which of them still rise?",
    ),
}
