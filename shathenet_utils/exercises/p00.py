"""References of page 00's exercises: a loss, a gradient, class means, standard errors, a training, two intervals."""

import math
import os

import numpy as np

from shathenet_utils.exercises import Exercise


def guessing_loss(classes):
    return math.log(classes)


def logit_gradient(logits, label):
    exponentials = np.exp(logits - np.max(logits))
    gradient = exponentials / exponentials.sum()
    gradient[label] -= 1
    return gradient


def nearest_mean(image, means):
    return int(((means - image) ** 2).sum(axis=(1, 2, 3)).argmin())


def standard_error(accuracy, images):
    return math.sqrt(accuracy * (1 - accuracy) / images)


PLAUSIBLE = {50: ((0.56, 0.66), (0.25, 0.34)), 200: ((0.47, 0.56), (0.31, 0.40))}
"""By images per class: in which range the training and the validation accuracy lie on CIFAR-10, whatever the seed."""


def accuracies_are_wrong(accuracies, images_per_class):
    """What is wrong with a training and a validation accuracy, in a sentence, or ""."""
    accuracies = [float(accuracy) for accuracy in accuracies]
    if len(accuracies) != 2:
        return f"these are {len(accuracies)} values, not two."
    if not all(0 <= accuracy <= 1 for accuracy in accuracies):
        return "an accuracy, as a fraction, lies between 0 and 1."
    if "SHATHENET_LIVE_SECONDS" in os.environ:  # fewer images than the exercise asks for
        return "" if accuracies[0] > accuracies[1] else "the training accuracy should be the higher one."
    for part, accuracy, (low, high) in zip(
        ("training", "validation"), accuracies, PLAUSIBLE[images_per_class], strict=True
    ):
        if not low <= accuracy <= high:
            return (
                f"on CIFAR-10 the {part} accuracy should lie between {low:.2f} and {high:.2f}. Are these 100 epochs, a "
                "learning rate of 0.01, and first the training images, then the validation images?"
            )
    return ""


_random = np.random.default_rng(0)
_one_pixel = np.array([[[1.0, 2.0, 3.0]]])
_images = [(_one_pixel, np.array([[[[1.0, 2.0, 5.0]]], [[[1.0, 3.0, 3.0]]]]))]
_images += [(_random.random((4, 4, 3)), _random.random((5, 4, 4, 3))) for _ in range(3)]

EXERCISES = {
    "00.1": Exercise(
        guessing_loss,
        [(10,), (2,), (257,)],
        "Each class gets the same probability, so the true one gets 1/classes.",
    ),
    "00.2": Exercise(
        logit_gradient,
        [(np.array([0.0, 0.0]), 0), (np.array([2.0, 1.0, -1.0]), 1), (np.array([0.0, 3.0, 0.5, 0.5]), 0)],
        "Softmax first; then subtract 1 from the probability of the true class only. `softmax` above wants rows: "
        "`softmax(logits[None])[0]`.",
    ),
    "00.3": Exercise(
        nearest_mean,
        _images,
        "Broadcasting subtracts one image from every mean; sum the squares over all axes but the first.",
    ),
    "00.4": Exercise(
        standard_error,
        [(0.5, 10_000), (0.9, 10_000), (0.9, 100)],
        "The number of images stands under the root. Leave out 1.96: that gives the margin.",
    ),
    "00.5": Exercise(
        None,
        [(50,), (200,)],
        "few_images gives the images. The first two values of train_linear are what linear_accuracy needs first.",
        accepts=accuracies_are_wrong,
        expects="the training accuracy and the validation accuracy, two fractions",
    ),
    "00.6": Exercise(
        lambda: "B",
        feedback={
            "A": "This chooses with the test images. They then stop being a fair test: chance has entered the choice.",
            "C": "Training accuracy is no argument here: with one neighbour each training image finds itself.",
            "D": "The interval on the validation images includes 0: a higher mean alone shows nothing yet.",
        },
        hint="Look at whether the two intervals include 0, and at which images may be used for a choice.",
    ),
}
