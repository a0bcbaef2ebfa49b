"""References of page 02's exercises: receptive fields, shifts, counting, a training, two figures and tables to read."""

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


def _different_images(pixels, flip):
    offsets = range(-pixels, pixels + 1)
    return len({(down, right, side) for down in offsets for right in offsets for side in range(2 if flip else 1)})


def _gap_is_wrong(gap, pixels):
    if not isinstance(gap, float | np.floating):
        return "the gap is one number: training accuracy minus validation accuracy."
    return "" if -1 < gap < 1 else "accuracies are fractions, so their difference lies between −1 and 1."


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
        hint="Pad with np.pad(…, mode='constant') by as many pixels as the larger shift, then crop, as in "
        "shifted_images.",
    ),
    "02.3": Exercise(
        reference=_different_images,
        cases=[(4, True), (2, False), (0, True)],
        hint="A shift down takes 2 · pixels + 1 values, from −pixels to pixels; so does a shift to the right.",
    ),
    "02.4": Exercise(
        reference=None,
        cases=[(0,), (8,)],
        accepts=_gap_is_wrong,
        expects="the gap after three epochs, training accuracy minus validation accuracy, a number between −1 and 1",
        hint="train_small(augmentation, 3) returns a dict of lists, one value per epoch; [-1] is the last one.",
    ),
    "02.5": Exercise(
        reference=lambda: "C",
        feedback={
            "A": "It classifies nearly all training images correctly already, and its validation accuracy has not "
            "risen since about the tenth epoch: more epochs can only overfit it further.",
            "B": "Only its training accuracy still rises. Its validation accuracy is flat over the last twenty epochs.",
            "D": "Both of its curves are nearly flat: this network underfits. It needs more parameters or less "
            "augmentation, not more epochs.",
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
