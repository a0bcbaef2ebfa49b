"""References of page 04's exercises: counting, nearest class mean by angle, cost, a head, two choices."""

import numpy as np

from shathenet_utils.exercises import Exercise

_STREAM = np.random.default_rng(4)
_MEANS = [(_STREAM.random(8).round(2), _STREAM.random((3, 8)).round(2)) for _ in range(4)]


def _count_trained(body_parameters, norm_channels, features, classes):
    """The head alone; or the head and all of the body but a shift and two moving statistics per channel."""
    weights, biases = np.empty((features, classes)), np.empty(classes)
    head = weights.size + biases.size
    fixed = sum(norm_channels for _ in ("shift", "mean", "variance"))
    return {"frozen": head, "fine-tuned": body_parameters - fixed + head}


def _nearest_class(features, means):
    cosines = [features @ mean / (np.linalg.norm(features) * np.linalg.norm(mean)) for mean in means]
    return cosines.index(max(cosines))


def _training_macs(macs, images, epochs, method):
    """Frozen: each image through the body once. Fine-tuned: forward, and two passes of the same size backward."""
    passes = 1 if method == "frozen" else epochs * 3
    return macs * images * passes


def _accuracy_with(images_per_class):
    """A head trained by gradient descent on the first so many of the sample's ten images per class."""
    from shathenet_utils import pretrained

    features, labels, validation_features, validation_labels = pretrained.sample_features()
    rows = np.concatenate([np.flatnonzero(labels == label)[:images_per_class] for label in range(10)])
    features, truth = features[rows].astype(np.float64), np.eye(10)[labels[rows]]
    kernel, bias = np.zeros((features.shape[1], 10)), np.zeros(10)
    for _ in range(100):
        logits = features @ kernel + bias
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        error = exponentials / exponentials.sum(axis=1, keepdims=True) - truth
        kernel -= 0.03 * features.T @ error / len(rows)
        bias -= 0.03 * error.mean(axis=0)
    return np.mean((validation_features @ kernel + bias).argmax(axis=1) == validation_labels)


def _accuracy_is_wrong(accuracy, images_per_class):
    right = _accuracy_with(images_per_class)
    return "" if abs(accuracy - right) <= 0.02 else f"expected {right:.3g}, within 0.02."


EXERCISES = {
    "04.1": Exercise(
        reference=_count_trained,
        cases=[(21_802_784, 17_216, 2048, 10), (21_802_784, 17_216, 2048, 1000), (1_000, 20, 8, 3)],
        hint="The head has one weight per feature and class, and one bias per class. Frozen: only the head trains. "
        "Fine-tuned: which of the body's numbers stay as they are?",
    ),
    "04.2": Exercise(
        reference=_nearest_class,
        cases=_MEANS,
        hint="means @ features gives all scalar products at once; divide them by the lengths of the means, "
        "np.linalg.norm(means, axis=1).",
    ),
    "04.3": Exercise(
        reference=_training_macs,
        cases=[(125_000_000, 5_000, 1, "frozen"), (125_000_000, 5_000, 30, "frozen"),
               (125_000_000, 5_000, 5, "fine-tuned"), (200_000_000, 45_000, 10, "fine-tuned")],
        hint="Frozen: every image goes through the body once, however many epochs the head trains. Fine-tuned: every "
        "image in every epoch, three passes.",
    ),
    "04.4": Exercise(
        reference=None,
        cases=[(1,), (3,), (10,)],
        accepts=_accuracy_is_wrong,
        expects="the validation accuracy of a head that was trained on so many images of each class, a fraction",
        hint="np.flatnonzero(labels == label)[:images_per_class] are the first rows of a class. Put those of all "
        "classes together, rows, and call train_head(features[rows], labels[rows]).",
    ),
    "04.5": Exercise(
        reference=lambda: "B",
        feedback={
            "A": "compiling again is needed so that the body trains, but it leaves batch norm as it is.",
            "C": "in Keras 3 the training=True of fit overrides it; the section on batch normalisation shows it.",
            "D": "a low learning rate changes the weights less. The moving statistics don't depend on it.",
        },
        hint="Go through the lines in their order. After each: which layers are trainable?",
    ),
    "04.6": Exercise(
        reference=lambda: "C",
        feedback={
            "A": "look at the left end again: at 10 and 100 images per class the two intervals are far apart.",
            "B": "read the right end again: there the curve from scratch is not below the other one.",
            "D": "the figure shows this dataset and these two networks; images unlike ImageNet's may differ.",
        },
        hint="Look at the distance between the two curves at the left end, then at the right end.",
    ),
}  # fmt: skip
