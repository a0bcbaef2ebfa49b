"""References of page 17's exercises: a receptive field, dead filters, an edge, a training, two images to read."""

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


def _receptive_field(stack):
    """From above: which input pixels one output touches, counted by their first and their last."""
    first, last = 0, 0
    for kernel_size, stride in reversed(stack):
        first, last = first * stride, last * stride + kernel_size - 1
    return last - first + 1


_USUAL_RATE, _TOO_HIGH = 0.002, 0.05


def _fractions_are_wrong(value, learning_rate):
    if len(value) != 2 or not all(0 <= fraction <= 1 for fraction in value):
        return "expected two fractions, between 0 and 1: conv1's and conv2's."
    for fraction, (name, filters) in zip(value, {"conv1": 12, "conv2": 24}.items(), strict=True):
        if abs(filters * fraction - round(filters * fraction)) > 1e-4:
            return f"{name} has {filters} filters: expected a multiple of 1/{filters}, not {fraction:.4g}."
    if learning_rate == _USUAL_RATE and max(value) > 0.25:
        return f"at {_USUAL_RATE} at most a quarter of a layer is dead after two epochs."
    if learning_rate == _TOO_HIGH and value[1] < 0.5:
        return f"at {_TOO_HIGH} more than half of conv2's filters are dead after two epochs."
    return ""


EXERCISES = {
    "17.1": Exercise(
        reference=_receptive_field,
        cases=[
            ([(7, 6), (5, 4)],),
            ([(5, 1), (5, 1), (2, 2), (3, 1)],),
            ([(7, 6), (5, 4), (3, 2), (2, 2)],),
            ([(3, 2)],),
        ],
        hint="Begin with a side and a distance of 1. Change the side first: it needs the distance below the layer.",
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
        cases=[(_USUAL_RATE,), (_TOO_HIGH,)],
        accepts=_fractions_are_wrong,
        expects="two fractions, conv1's and conv2's dead filters after two epochs",
        hint="train_lens_network(learning_rate, epochs=2) returns the model first; dead_per_layer(…) returns an array "
        "of booleans per layer, whose mean is the fraction.",
    ),
    "17.5": Exercise(
        reference=lambda: "D",
        feedback={
            "A": "On an evenly bright window the block counts too. Add up its 36 weights.",
            "B": "A sum is not nearly zero because each of its 36 parts is small. Add up the block's weights.",
            "C": "Dark in the kernel means negative weights: a bright pixel there makes the sum smaller.",
        },
        hint="sums_over_pixels(kernel)[:, 4] holds the sums over the four small pixels, for three colours each.",
    ),
    "17.6": Exercise(
        reference=lambda: "C",
        feedback={
            "A": "It may respond to another image. Dead means: on every image of a set.",
            "B": "The outputs are zero, not the weights. A negative sum becomes zero by ReLU.",
            "D": "White is the colour of small values on this scale; it has nothing to do with white in the image.",
        },
        hint="Think of what ReLU does to values below zero, and of how many images you see.",
    ),
}
