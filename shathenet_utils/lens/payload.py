"""All that a lens shows, as JSON: a network in words and numbers that the lens computes with, some images, what its
outputs mean."""

import numpy as np

from shathenet_utils.backend import keras
from shathenet_utils.lens import encoding
from shathenet_utils.lens.graph import INPUT_RANGE, Graph, graph
from shathenet_utils.lens.heads import head_of
from shathenet_utils.lens.images import numbers_of, prepared
from shathenet_utils.lens.steps import LensError


def payload(
    model,
    images,
    labels=None,
    classes=None,
    *,
    weight_history: dict | None = None,
    history: dict | None = None,
    epochs: int = 20,
    title: str = "",
    output: str | int | None = None,
    head: str | None = None,
    input_range: tuple[float, float] | None = None,
) -> dict:
    """All that the lens shows of a network, ready for JSON.

    model: see `graph.graph`. images: uint8 (n, height, width, channels), see `images.prepared`; none at all is allowed.
    labels: numbers of `classes`, (n,), (n, 1) or one-hot. classes: the names of the network's outputs, or of the two
    classes of a single output. weight_history: what a run kept of its epochs, as `weights.load_arrays` reads it;
    without, the model's own weights are shown. epochs: at most so many of them, first and last included, beside
    those that a large network kept of all its layers. history: a record's, for its curve. output: which of several
    outputs, by name or number, or the layer that is the last one shown. head: what the outputs are, one of
    `heads.HEADS`, where the network doesn't tell. input_range: what black and white are to the network, (0, 1) or
    (-1, 1) for one without a layer that scales; (0, 255) otherwise.

    Weights are rounded to float16, or kept in float32 where that would lose digits; kernels to 8 bits and a scale where
    there would be more than `encoding.LARGE` bytes of them; `rounded` says which. Raises LensError where something
    doesn't fit.
    """
    found = graph(model, output, fixed=weight_history is None, input_range=input_range or (0, 255))
    images, notes = prepared(images, found.layers[0]["shape"], model.name)
    if input_range is None and not _scales(found.layers):
        notes.append(
            f"No layer of {model.name} scales its input. If it was trained on numbers from 0 to 1, or from −1 to 1, "
            "choose its range under “Pixel values”, or open it with input_range=(0, 1) or (-1, 1)."
        )
    if short := {layer.compute_dtype for layer in found.model._flatten_layers()} & {"float16", "bfloat16"}:
        notes.append(f"Keras computes layers of {model.name} in {short.pop()}, the lens in float32: digits differ.")
    classes = None if classes is None else [str(name) for name in classes]
    shown, more = head_of(found.layers, classes, _loss_of(model, output), head, lambda: _outputs(found, images))
    if weight_history is None:
        arrays = {key: weight.arranged() for key, weight in found.weights.items()}
        constants = {key for key, weight in found.weights.items() if weight.path is None}
        encoded, epochs_shown = encoding.weights(arrays, dict.fromkeys(arrays, 0), constants), None
    else:
        encoded, epochs_shown = _of_epochs(found, model.name, weight_history, epochs)
    return {
        "title": title or model.name,
        "notes": notes + more,
        "rounded": "8 bits" if any(array["dtype"] == "i1" for array in encoded.values()) else "16 bits",
        "layers": found.layers,
        "arrays": encoded,
        "epochs": epochs_shown,
        "curve": history and {of: [round(float(value), 4) for value in history[of]] for of in ("loss", "accuracy")},
        "images": encoding.encode(images),
        "labels": numbers_of(labels, len(images), classes),
        "classes": classes,
        "head": shown,
    }


def _outputs(found: Graph, images: np.ndarray) -> np.ndarray:
    """What Keras computes of a few images, or of random ones where there are none: (images, numbers)."""
    some = images[:3]
    if not len(some):
        some = np.random.default_rng(0).integers(0, 256, (2, *images.shape[1:]))
    some = some.astype(np.float32)
    if found.layers[1:] and found.layers[1]["name"] == INPUT_RANGE:
        some = some * np.float32(found.layers[1]["factor"][0]) + np.float32(found.layers[1]["offset"][0])
    numbers = np.asarray(keras.ops.convert_to_numpy(found.model(some, training=False)), np.float64)
    return numbers.reshape(len(some), -1)


def _scales(layers: list[dict]) -> bool:
    """Whether something scales the input before it is weighed."""
    return any(
        layer["kind"] in ("scale", "norm", "standardise", "reduce", "join", "unknown")
        for layer in layers[: next((at for at, one in enumerate(layers) if one["kind"] in ("conv", "dense")), 0)]
    )


def _loss_of(model, output):
    """The loss that a model was compiled with for one of its outputs; None where it isn't known."""
    loss, names = getattr(model, "loss", None), list(getattr(model, "output_names", None) or [])
    if not isinstance(loss, dict | list | tuple):
        return loss if output is None else None
    name = names[output] if isinstance(output, int) and -len(names) <= output < len(names) else output
    if isinstance(loss, dict):
        return loss.get(name)
    return loss[names.index(name)] if name in names and len(loss) == len(names) else None


def _of_epochs(found: Graph, name: str, kept: dict, most: int) -> tuple[dict, list[int]]:
    """The weights of some epochs, encoded, each with those that it has; and all epochs that are shown.

    kept: a weight's path → its numbers, with an axis of epochs before the weight's own; "epochs": those that were kept;
    "epochs of the rest": those of the arrays that are shorter.
    """
    constants = {key: weight.arranged() for key, weight in found.weights.items() if weight.path is None}
    paths = {key: weight.path for key, weight in found.weights.items() if weight.path is not None}
    if lacking := sorted(set(paths.values()) - set(kept)):
        raise LensError(f"The weight history is not of {name}: it lacks {lacking[0]}.")
    stacked = {key: found.weights[key].arranged(kept[paths[key]]) for key in sorted(paths)}  # the same page each time
    every = [int(epoch) for epoch in kept.get("epochs", range(max(map(len, stacked.values()))))]
    few = [int(epoch) for epoch in kept.get("epochs of the rest", every)]
    places = np.linspace(0, len(every) - 1, max(2, min(most, len(every)))).round().astype(int)
    shown = sorted({every[place] for place in places} | (set(few) if few != every else set()))
    epochs_of = {}
    for key, numbers in stacked.items():
        own = every if len(numbers) == len(every) else few
        epochs_of[key] = [epoch for epoch in own if epoch in shown]
        stacked[key] = numbers[[own.index(epoch) for epoch in epochs_of[key]]]
    before = dict.fromkeys(stacked, 1) | dict.fromkeys(constants, 0)
    encoded = encoding.weights(stacked | constants, before, set(constants))
    return {key: one | ({"epochs": epochs_of[key]} if key in epochs_of else {}) for key, one in encoded.items()}, shown
