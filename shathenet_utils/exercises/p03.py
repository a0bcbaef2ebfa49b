"""References of page 03's exercises: factorised and reduced convolutions, a block of branches, a training, a figure."""

import numpy as np

from shathenet_utils import stats
from shathenet_utils.exercises import Exercise


def _factorised_costs(pairs, k, channels, filters):
    """Layer by layer: the parameters, and how many rows one output depends on."""
    parameters, rows = 0, 1
    for layer in range(2 * pairs):
        height = k if layer % 2 else 1
        parameters += (k * channels + 1) * filters
        rows, channels = rows + height - 1, filters
    return parameters, rows


def _block_is_wrong(block, channels, filters):
    kernels = {layer.kernel_size: layer for layer in block.layers if hasattr(layer, "kernel_size")}
    if set(kernels) != {(3, 3), (5, 5)}:
        return f"its kernels are {', '.join(map(str, sorted(kernels)))}, not (3, 3) and (5, 5)."
    if block.input_shape != (None, 24, 24, channels) or block.output_shape != (None, 24, 24, filters):
        shapes = f"{block.input_shape} to {block.output_shape}"
        return f"it goes from {shapes}, not from (None, 24, 24, {channels}) to (None, 24, 24, {filters})."
    for size, layer in kernels.items():
        if layer.input.shape[-1] != channels or layer.filters != filters // 2:
            found = f"{layer.input.shape[-1]} input channels and {layer.filters} filters"
            return f"the {size[0]}×{size[1]} convolution has {found}, not {channels} and {filters // 2}."
    expected = ((9 * channels + 1) + (25 * channels + 1)) * filters // 2
    if block.count_params() != expected:
        return f"it has {block.count_params():,} parameters, not {expected:,}."
    noise = np.random.default_rng(0).normal(size=(1, 24, 24, channels)).astype("float32")
    return "" if np.min(block(noise)) >= 0 else "some outputs are negative: the ReLU is missing."


def _reduced_multiply_adds(side, channels, reduced, filters):
    per_position = channels * reduced + 5 * 5 * reduced * filters
    return side**2 * per_position


def _differences_are_wrong(value, seeds):
    differences, letter = value
    if np.shape(differences) != (len(seeds),):
        return f"that is not one difference for each of {len(seeds)} seeds."
    if not all(-0.25 < difference < 0.15 for difference in differences):
        return "the accuracies of the two networks differ by less than that: is it 5×5 minus 3×3, as fractions?"
    if len(set(differences)) < len(seeds):
        return "the differences are equal: do they depend on the seed?"
    interval = stats.mean_ci(differences)
    right = "A" if interval.low > 0 else "B" if interval.high < 0 else "C"
    if letter == right:
        return ""
    found = f"the 95 % interval of these differences is {stats.format_difference(interval)}"
    return {
        "A": f"A: {found}. Does it lie above zero?",
        "B": f"B: {found}. Does it lie below zero?",
        "C": f"C: {found}. It does not contain zero.",
        "D": "D: not to see a difference is not to see that there is none.",
    }.get(letter, "the letter is one of A, B, C, D.")


EXERCISES = {
    "03.1": Exercise(
        reference=_factorised_costs,
        cases=[(1, 5, 64, 64), (2, 7, 3, 16), (3, 3, 1, 10)],
        hint="A 1×k or k×1 filter has k · (input channels) weights and one bias. A pair adds k − 1 to the side of the "
        "receptive field, which is 1 before the first.",
    ),
    "03.2": Exercise(
        reference=None,
        cases=[(64, 32), (3, 10)],
        accepts=_block_is_wrong,
        expects="a keras.Model of two convolutions side by side, 3×3 and 5×5",
        hint="x = keras.Input((24, 24, channels)); call both layers on x, then layers.Concatenate() on their outputs.",
    ),
    "03.3": Exercise(
        reference=_reduced_multiply_adds,
        cases=[(28, 192, 16, 32), (24, 64, 8, 64), (1, 10, 1, 10)],
        hint="multiply-adds = positions · kernel area · input channels · filters, for each of the two.",
    ),
    "03.4": Exercise(
        reference=None,
        cases=[([0, 1],)],
        accepts=_differences_are_wrong,
        expects="a list of two differences between −0.25 and 0.15, 5×5 minus 3×3, and the letter from A to D that "
        "their interval shows",
        hint="train_live(5, (8, 16, 20), epochs=4, seed=seed) returns an accuracy per epoch; [-1] is the last.",
    ),
    "03.5": Exercise(
        reference=lambda: "B",
        feedback={
            "A": "a network without the branch was trained too: look at “side by side without 5×5” and its interval.",
            "C": "compare the two networks without 5×5 with each other; the page gives that difference's interval.",
            "D": "“3×3 and 5×5 side by side” has branches. Which networks without branches lie below it?",
        },
        hint="If an interval includes zero, the figure does not show a difference.",
    ),
}
