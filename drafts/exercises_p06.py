"""References of page 06's exercises: mixed labels, CutMix, layers with their units, a training, a figure to read."""

import math

import numpy as np

from shathenet_utils.exercises import Exercise
from shathenet_utils.exercises.images import page_data

_RNG = np.random.default_rng(6)
_IMAGES = _RNG.integers(0, 256, (4, 8, 10, 3), np.uint8)
_IMAGES[3, :, :5] = _IMAGES[2, :, :5]  # equal pixels: whoever counts what differs is found out


def _lowest_loss(share):
    """The entropy of two shares, as a sum over ten classes."""
    label = np.zeros(10)
    label[[0, 1]] = share, 1 - share
    return float(-np.sum(label * np.log(np.where(label > 0, label, 1))))


def _cut_mix_is_wrong(value, image, other, row, column, side):
    """Pixel by pixel: whether it lies in the square decides from which image it comes."""
    mixed, share = value
    expected, pasted = image.copy(), 0
    for place in np.ndindex(image.shape[:2]):
        if all(-side // 2 <= at - centre < side // 2 for at, centre in zip(place, (row, column), strict=True)):
            expected[place] = other[place]
            pasted += 1
    if np.shape(mixed) != image.shape:
        return f"the image has the shape {np.shape(mixed)}, not {image.shape}."
    wrong = np.argwhere(np.any(np.asarray(mixed) != expected, axis=-1))
    if len(wrong):
        place = tuple(int(at) for at in wrong[0])
        inside = np.array_equal(expected[place], other[place])
        owner = "second" if inside else "first"
        return f"the pixel in row {place[0]}, column {place[1]} should be that of the {owner}."
    right = 1 - pasted / (image.shape[0] * image.shape[1])
    if not math.isclose(share, right, abs_tol=1e-6):
        return f"the image is right; but {pasted} of its pixels are the second's, so the share is {right:.4g}."
    return ""


def _layers_are_wrong(value, degrees, pixels, side):
    turn, move = value
    names = [type(layer).__name__ for layer in value]
    if names != ["RandomRotation", "RandomTranslation"]:
        return f"the list holds {' and '.join(names)}, not RandomRotation and RandomTranslation."
    if not np.allclose(turn.factor, (-degrees / 360, degrees / 360)):
        most = 360 * max(abs(bound) for bound in turn.factor)
        return f"its rotation goes up to {most:,.4g} degrees, not {degrees}: its factor is a fraction of a whole turn."
    for direction, bounds in (
        ("up and down", (move.height_lower, move.height_upper)), ("sideways", (move.width_lower, move.width_upper)),
    ):  # fmt: skip
        if not np.allclose(bounds, (-pixels / side, pixels / side)):
            most = side * max(abs(bound) for bound in bounds)
            return f"it shifts {direction} by up to {most:,.4g} pixels, not {pixels}: a factor is a share of the side."
    return ""


def _accuracies_are_wrong(value, flip_mode, epochs):
    without_upright, without_turned, with_upright, with_turned = (float(number) for number in value)
    if not all(0 < number < 1 for number in value):
        return "each of the four is an accuracy, a fraction between 0 and 1."
    if len({round(float(number), 4) for number in value}) < 3:
        return "several of the four are equal: are the networks, and the images, different ones?"
    is_real = page_data().name == "cifar10"  # the stand-in's shapes are harder to learn
    if is_real and min(without_upright, with_upright) < 0.2:
        return f"after {epochs} epochs it should be better than that on upright images: use the seed of the exercise."
    fall_without, fall_with = without_upright - without_turned, with_upright - with_turned
    if fall_with > fall_without + (-0.02 if is_real else 0.05):
        return (
            "the network trained with vertical flip should lose less when images are turned upside down than the one "
            "trained without: are the four in the order that is asked for?"
        )
    return "" if abs(fall_with) < 0.15 else "with vertical flip upright and upside-down images differ by less."


EXERCISES = {
    "06.1": Exercise(
        reference=_lowest_loss,
        cases=[(0.5,), (0.9,), (0.25,), (1.0,)],
        hint="The cross-entropy is minus the sum over classes of label × ln(probability). Here both are the same ten "
        "numbers, and only two of them are not zero. Python's and NumPy's ln(0) is no number: leave out a part of 0.",
    ),
    "06.2": Exercise(
        reference=None,
        cases=[
            (_IMAGES[0], _IMAGES[1], 4, 5, 4), (_IMAGES[1], _IMAGES[2], 0, 9, 6), (_IMAGES[2], _IMAGES[3], 7, 1, 4),
        ],
        accepts=_cut_mix_is_wrong,
        expects="the mixed image, and the fraction of its pixels that are the first image's",
        hint="As in cut_square, but with other[…] of the same rows and columns on the right-hand side. Count the "
        "pixels of the square that lie inside the image.",
    ),
    "06.3": Exercise(
        reference=None,
        cases=[(15, 4, 32), (90, 2, 64)],
        accepts=_layers_are_wrong,
        expects="a list of two layers, RandomRotation and RandomTranslation",
        hint="help(layers.RandomRotation) names its factor's unit. A shift of 4 of 32 pixels was 4 / 32 above.",
    ),
    "06.4": Exercise(
        reference=None,
        cases=[("vertical", 10)],
        accepts=_accuracies_are_wrong,
        expects="four accuracies: without augmentation upright and upside down, with it upright and upside down; the "
        "second difference is the smaller one",
        hint="network, _ = train_augmented(layers.RandomFlip(flip_mode, seed=0), epochs=epochs); images[:, ::-1] turns "
        "images upside down.",
    ),
    "06.5": Exercise(
        reference=lambda: "C",
        feedback={
            "A": "the triangles lie at very different accuracies: compare the first and the last row.",
            "B": "whoever guesses among ten classes is correct for one tenth of every class, the dotted line.",
            "D": "the squares are the images flipped left to right: how far are they from the circles?",
        },
        hint="Which classes have the circles farthest to the right, and which the triangles?",
    ),
}  # fmt: skip
