"""What a run keeps of its weights: the final ones, as small as they may be, and those of its epochs."""

import numpy as np

from shathenet_utils import training, weights
from shathenet_utils.datasets import Dataset


def final_weights(model, data: Dataset) -> dict[str, np.ndarray]:
    """The final weights, in float16 where the accuracy then differs by less than a tenth of a percent: on the
    validation images, or the first training images where there are none; the test set is not read."""
    part = "validation" if len(data.validation_labels) else "train"
    images, labels = getattr(data, f"{part}_images")[:5000], getattr(data, f"{part}_labels")[:5000]

    def accuracy():
        return training.accuracy(training.predict(model, images), labels)

    full, before = training.weights_of(model), accuracy()
    half = {name: array.astype(np.float16) for name, array in full.items()}
    training.set_weights(model, half)
    agree = abs(accuracy() - before) < 0.001
    training.set_weights(model, full)
    return half if agree else full


SMALL = 100_000  # parameters: a network that small keeps all its weights of every epoch


def weight_history_arrays(model, weight_history: list[dict]) -> dict[str, np.ndarray]:
    """What is kept of a run's epochs: weight → (epochs + 1, …) in float16, from epoch 0, the initial weights.

    Of a large network, in eight bits where they are finite: at most twenty epochs, evenly spaced, of the first two
    convolutions, the first, the middle and the last of the rest; "epochs" and "epochs of the rest" name them.
    """
    last = len(weight_history) - 1
    if model.count_params() <= SMALL:
        return {
            name: np.stack([kept[name] for kept in weight_history]).astype(np.float16) for name in weight_history[0]
        }
    few = sorted({0, last // 2, last})
    every = sorted({round(epoch) for epoch in np.linspace(0, last, min(last + 1, 19))} | set(few))
    convolutions = [layer for layer in model.layers if len(getattr(layer, "kernel", np.empty(0)).shape) == 4]
    first = {weight.path for layer in convolutions[:2] for weight in layer.weights}
    stacked = {"epochs": np.array(every), "epochs of the rest": np.array(few)}
    for name in weight_history[0]:
        values = np.stack([weight_history[epoch][name] for epoch in (every if name in first else few)])
        if values.ndim > 2 and np.isfinite(values).all():
            stacked |= weights.in_steps(name, values)
        else:
            stacked[name] = values.astype(np.float16)
    return stacked
