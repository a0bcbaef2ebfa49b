"""References of page 17's exercises: a receptive field, dead filters, an edge, a training, two figures to read."""

import numpy as np

from shathenet_utils.exercises import Exercise


def _dead_filters(feature_maps):
    """Filter by filter: dead if no value of any image is above zero."""
    return [number for number in range(feature_maps.shape[-1]) if not (feature_maps[..., number] > 0).any()]


def _feature_maps(dead, filters=5):
    """Random outputs after ReLU, (4, 3, 3, filters), in which the filters `dead` are zero; filter 1 responds once."""
    maps = np.maximum(np.random.default_rng(17).normal(size=(4, 3, 3, filters)), 0)
    maps[..., 1] = 0
    maps[2, 1, 0, 1] = 0.3
    maps[..., list(dead)] = 0
    return maps


_RISING = np.tile([0, 0.5, 1.0], (3, 1))
_EVEN = [np.ones((3, 3)), np.tile([[0], [0.5], [1.0]], (1, 3)), np.tile([[0], [1.0], [0]], (1, 3))]


def _edge_is_wrong(kernel):
    kernel = np.asarray(kernel, float)
    if kernel.shape != (3, 3):
        return f"the kernel has shape {kernel.shape}, not (3, 3)."
    if abs(rising := (kernel * _RISING).sum() - 1) > 1e-6:
        return f"on the window that rises its output is {rising + 1:.3g}, not 1."
    for window in _EVEN:
        if abs(output := (kernel * window).sum()) > 1e-6:
            rows = ", ".join(f"{value:.1f}" for value in window[:, 0])
            return f"on a window whose rows are all {rows} from top to bottom its output is {output:.3g}, not 0."
    return ""


def _fraction_is_wrong(value, learning_rate):
    if not isinstance(value, float | np.floating):
        return "the fraction is one number."
    if not 0 <= value <= 1:
        return "a fraction lies between 0 and 1."
    return "" if abs(12 * value - round(12 * value)) < 1e-5 else "conv1 has 12 filters: expected a multiple of 1/12."


EXERCISES = {
    "17.1": Exercise(
        reference=lambda side, factor: -(-side // factor),
        cases=[(7, 6), (79, 6), (12, 6), (5, 1), (13, 4)],
        hint="A small pixel is factor enlarged pixels wide, and a part of one counts.",
    ),
    "17.2": Exercise(
        reference=_dead_filters,
        cases=[(_feature_maps([3]),), (_feature_maps([0, 4]),), (_feature_maps([]),)],
        hint="Take the maximum over all axes but the last; where it is zero the filter is dead.",
    ),
    "17.3": Exercise(
        reference=None,
        accepts=_edge_is_wrong,
        expects="an array of shape (3, 3)",
        hint="Each row sums to zero, and the columns that differ in brightness have weights of opposite sign.",
    ),
    "17.4": Exercise(
        reference=None,
        cases=[(0.002,), (0.05,)],
        accepts=_fraction_is_wrong,
        expects="the fraction of dead filters in conv1 after two epochs, between 0 and 1",
        hint='train_lens_network(learning_rate, epochs=2) returns the model first; fraction_dead(...)["first layer"].',
    ),
    "17.5": Exercise(
        reference=lambda: "C",
        feedback={
            "A": "The kernels contain noise, but look at the last row: something smooth was added to it.",
            "B": "If training had added the noise, it would appear in the row trained minus initial.",
            "D": "All rows of the figure share one scale, so that they can be compared.",
        },
        hint="Trained = initial + (trained minus initial). Compare the rows column by column.",
    ),
    "17.6": Exercise(
        reference=lambda: "C",
        feedback={
            "A": "It may respond to another image. Dead means: on every image of a set.",
            "B": "The outputs are zero, not the weights. A negative sum becomes zero by ReLU.",
            "D": "White is the colour of zero on this scale; it says nothing about white in the image.",
        },
        hint="Think of what ReLU does, and of the colour of zero on the diverging scale.",
    ),
}
