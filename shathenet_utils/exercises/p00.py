"""References of page 00's exercises: a loss, a gradient, class means, standard errors, a training, two intervals."""

import math

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


def overfits(gap, images_per_class):
    """What is wrong with a training accuracy minus a validation accuracy, in a sentence, or ""."""
    gap = float(gap)
    if not -1 <= gap <= 1:
        return "a difference of two accuracies, as fractions, lies between −1 and 1."
    if gap == 0:
        return "the two accuracies should differ: is one of them measured on the validation images?"
    if gap < 0:
        return "on its own training images a classifier is more accurate; subtract the other way round."
    return ""


_random = np.random.default_rng(0)
_images = [(_random.random((4, 4, 3)), _random.random((5, 4, 4, 3))) for _ in range(3)]

EXERCISES = {
    "00.1": Exercise(
        guessing_loss,
        [(10,), (2,), (257,)],
        "Each class gets the same probability, so the true one gets 1/classes.",
    ),
    "00.2": Exercise(
        logit_gradient,
        [(np.array([0.0, 0.0]), 0), (np.array([2.0, 1.0, -1.0]), 1), (np.array([0.0, 3.0, 0.5, 0.5]), 0)],
        "Softmax first; then subtract 1 from the probability of the true class only.",
    ),
    "00.3": Exercise(
        nearest_mean,
        _images,
        "Broadcasting subtracts one image from every mean; sum the squares over all axes but the first.",
    ),
    "00.4": Exercise(
        standard_error,
        [(0.5, 10_000), (0.9, 10_000), (0.9, 100)],
        "The number of images stands under the root.",
    ),
    "00.5": Exercise(
        None,
        [(50,)],
        "few_images gives the images. The first two values of train_linear are what linear_accuracy needs first.",
        accepts=overfits,
        expects="the training accuracy minus the validation accuracy, a fraction above 0",
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
