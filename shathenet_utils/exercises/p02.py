"""References of page 02's exercises: receptive fields, shifts, a transform, a training, two figures to read."""

import numpy as np

from shathenet_utils.exercises import Exercise


def _layers_needed(pixels, kernel_size):
    """Convolutions of stride 1 until the receptive field, 1 at first, is at least `pixels` wide."""
    field, count = 1, 0
    while field < pixels:
        field, count = field + kernel_size - 1, count + 1
    return count


def _shifted_with_zeros(image, down, right):
    """Pixel by pixel: where each value of the result comes from."""
    result = np.zeros_like(image)
    for row, column in np.ndindex(image.shape[:2]):
        if 0 <= row - down < image.shape[0] and 0 <= column - right < image.shape[1]:
            result[row, column] = image[row - down, column - right]
    return result


def _source_of_pixel(row, column, angle, enlargement):
    """A rotation is a product of complex numbers, whose real parts are rows and imaginary parts columns."""
    centre = complex(15.5, 15.5)
    place = centre + (complex(row, column) - centre) * np.exp(1j * angle) / enlargement
    return place.real, place.imag


def _gaps_are_wrong(gaps, pixels):
    without, shifted = gaps
    if not all(isinstance(gap, float | np.floating) and -1 < gap < 1 for gap in gaps):
        return "each of the two is an accuracy minus an accuracy, a fraction between −1 and 1."
    if shifted > without:
        return "the first should be the larger one, the gap without augmentation."
    if without < 0.1:
        return (
            f"without augmentation the gap after twelve epochs is above 0.1, not {without:.2f}: is it the last "
            "training accuracy minus the last validation accuracy?"
        )
    if shifted >= without / 2:
        return (
            f"with shifts the gap should be less than half of that without augmentation, not {shifted:.2f}: does "
            f"flip_and_shift get pixels={pixels}?"
        )
    return "" if without < 0.8 and shifted > -0.2 else "so large a difference is not plausible."


_IMAGES = np.random.default_rng(2).integers(1, 256, (4, 5, 6, 3), np.uint8)

EXERCISES = {
    "02.1": Exercise(
        reference=_layers_needed,
        cases=[(7, 3), (6, 3), (32, 3), (36, 5), (1, 3)],
        hint="Each layer adds kernel_size − 1 pixels to a receptive field that is 1 pixel before the first. Round up.",
    ),
    "02.2": Exercise(
        reference=_shifted_with_zeros,
        cases=[(_IMAGES[0], 1, 2), (_IMAGES[1], 0, -2), (_IMAGES[2], -3, 1), (_IMAGES[3], 0, 0)],
        hint="Pad with np.pad(…, mode='constant') by as many pixels as the larger shift, then cut out a "
        "window of the image's size, as in shifted_images.",
    ),
    "02.3": Exercise(
        reference=_source_of_pixel,
        cases=[(0, 0, 0.0, 2.0), (10, 20, np.pi / 2, 1.0), (20, 4, 0.3, 1.5)],
        hint="Measure row and column from the centre, 15.5. In an image of twice the size neighbouring pixels come "
        "from places half a pixel apart. Then turn the place by R, and add the centre again.",
    ),
    "02.4": Exercise(
        reference=None,
        cases=[(8,)],
        accepts=_gaps_are_wrong,
        expects="two numbers: the gap without augmentation, between 0.1 and 0.8, and the gap with flips and shifts, "
        "less than half of the first",
        hint="train_small(augmentation, 12) returns a dict of lists, one value per epoch; [-1] is the last one.",
    ),
    "02.5": Exercise(
        reference=lambda: "C",
        feedback={
            "A": "It classifies nearly all training images correctly already, and its validation accuracy has not "
            "risen since about the tenth epoch: more epochs can only overfit it further.",
            "B": "Only its training accuracy still rises. Its validation accuracy is flat over the last twenty epochs.",
            "D": "Both of its curves are nearly flat at the end: this network underfits, and more epochs would change "
            "little.",
        },
        hint="Look for a validation curve that still rises at its right end.",
    ),
    "02.6": Exercise(
        reference=lambda: "B",
        feedback={
            "A": "The network differs too, so the difference can't be given to augmentation.",
            "C": "The numbers of epochs differ: 35 and 70.",
            "D": "Augmentation is the same in both; the network and its learning rate differ.",
        },
        hint="Compare network, augmentation, learning rate and epochs of the two runs, one by one.",
    ),
}
