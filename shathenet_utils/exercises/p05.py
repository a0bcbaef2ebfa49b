"""References of page 05's exercises: training statistics, a stable rate, a training, a sweep to read, the rule."""

import math

import numpy as np

from shathenet_utils.book import lineage
from shathenet_utils.exercises import Exercise
from shathenet_utils.exercises.images import page_data

_RNG = np.random.default_rng(5)
_TRAIN = _RNG.uniform(0, 1, (6, 4, 4, 3))
_TEST = _RNG.uniform(0.2, 0.9, (3, 4, 4, 3))


def _normalised(train_images, test_images):
    """Channel by channel."""
    channels = []
    for channel in range(train_images.shape[-1]):
        known = train_images[..., channel].ravel()
        channels.append((test_images[..., channel] - known.mean()) / known.std())
    return np.stack(channels, axis=-1)


def _stability_limit(inputs):
    """The largest eigenvalue of XᵀX / n is the largest singular value of X, squared, divided by n."""
    return 2 * len(inputs) / np.linalg.norm(inputs, 2) ** 2


def _training_is_wrong(value, steps):
    """Trains again, with the learning rate that was found."""
    learning_rate, loss = (float(number) for number in value)
    if not 0 < learning_rate < math.inf:
        return "the first number should be the learning rate, larger than zero."
    data = page_data()
    right = _linear_loss(data.train_images[:500], data.train_labels[:500], learning_rate, steps)
    if not abs(loss - right) < 0.01:
        return f"with the learning rate {learning_rate:.3g} the loss should be {right:.3f} nats."
    if loss < (2 if data.name == "cifar10" else 2.25):  # the stand-in is harder
        return ""
    if loss > 2.4:
        return f"the loss {loss:.3g} is above 2.30, that of guessing: the learning rate is too large."
    return f"the loss is {loss:.2f} nats: try a learning rate a few times as large or as small."


def _linear_loss(images, labels, learning_rate, steps):
    """The loss of a linear classifier after steps of gradient descent on images with numbers from 0 to 100."""
    inputs = np.column_stack([images.reshape(len(images), -1) / 2.55, np.ones(len(images))])
    weights, classes = np.zeros((inputs.shape[1], 10)), np.eye(10)[labels]
    for _ in range(steps):
        weights -= learning_rate * inputs.T @ (np.exp(_log_softmax(inputs @ weights)) - classes) / len(inputs)
    return float(-np.mean(np.maximum((_log_softmax(inputs @ weights) * classes).sum(axis=1), math.log(1e-12))))


def _log_softmax(logits):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _is_kept(low, high, seconds):
    """With the numbers of the package's rule."""
    tolerable = low > -100 * lineage.TOLERATED
    return low > 0 or (tolerable and seconds <= 1 - lineage.SAVED)


EXERCISES = {
    "05.1": Exercise(
        reference=_normalised,
        cases=[(_TRAIN, _TEST), (_TEST, _TRAIN[:1]), (_TRAIN[..., :1], _TEST[..., :1])],
        hint="mean(axis=(0, 1, 2)) is a mean over images, rows and columns, one per channel.",
    ),
    "05.2": Exercise(
        reference=_stability_limit,
        cases=[
            (np.array([[1.0, 0.0], [0.0, 1.0]]),), (np.array([[255.0], [100.0]]),), (_RNG.normal(2, 1, (50, 4)),),
        ],
        tolerance=1e-4,
        hint="H is the mean of x xᵀ: inputs.T @ inputs / len(inputs). np.linalg.eigvalsh gives its eigenvalues, the "
        "largest last.",
    ),
    "05.3": Exercise(
        reference=None,
        cases=[(40,)],
        accepts=_training_is_wrong,
        expects="the learning rate, and the loss after 40 steps, below 2 nats",
        hint="With values from 0 to 1 the loss is lowest at a learning rate between 0.01 and 0.03. What does it change "
        "that the inputs are 100 times as large?",
    ),
    "05.4": Exercise(
        reference=lambda: "B",
        feedback={
            "A": "at their best learning rate raw pixels reach more than six times the accuracy of chance.",
            "C": "at the three smaller learning rates the two are as close as runs that differ in the seed only.",
            "D": "look at the right end of each line.",
        },
        hint="Compare raw pixels with values from 0 to 1 on a vertical line at 3e-4, then on one at 3e-3. Then per "
        "channel with values from 0 to 1, at 3e-3 and at 0.01.",
    ),
    "05.5": Exercise(
        reference=_is_kept,
        cases=[
            (0.1, 2.0, 3.0), (-0.2, 0.4, 0.7), (-0.2, 0.4, 1.0), (-0.5, 3.0, 0.5), (-0.2, 0.1, 0.8), (0.0, 1.0, 1.0),
        ],
        hint="Two conditions, joined by or; the second needs both of its parts.",
    ),
}  # fmt: skip
