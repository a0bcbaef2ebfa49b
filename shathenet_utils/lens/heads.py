"""What the numbers of a network's last layer mean: probabilities, or plain numbers."""

from collections.abc import Callable

import numpy as np

from shathenet_utils.lens.steps import LensError, size

HEADS = ("softmax", "sigmoid", "logits", "binary_logit", "sigmoid_logits", "numbers")
"""What a reader may say of the last layer: it ends in softmax or sigmoid; softmax or sigmoid of it are probabilities,
of one class or of each; or it holds plain numbers, as in regression."""


def head_of(
    layers: list[dict], classes: list[str] | None, loss=None, said: str | None = None, outputs: Callable | None = None
) -> tuple[dict, list[str]]:
    """What the lens shows of the last layer, and sentences on what does not fit.

    {"kind": "none"}: nothing, it is a map of more than one pixel. {"kind": "numbers", "names"}: plain numbers.
    {"kind": "probabilities", "names", "apply": a function, or "none", that makes the numbers probabilities;
    "exclusive": whether they sum to one; "binary": whether the one number is the probability of the second of two}.

    layers: as `graph` makes them. classes: names for the outputs, or for the two classes of a single one. loss: what
    the model was compiled with, if it was. said: one of `HEADS`, where the reader says what the numbers are. outputs:
    computes the last layer's numbers of some images, (images, numbers).
    """
    if said is not None and said not in HEADS:
        raise LensError(f"head={said!r} is none of {', '.join(HEADS)}.")
    shape = layers[-1]["shape"]
    count = size(shape)
    if not shape or count != shape[-1]:
        return {"kind": "none"}, []
    function = _last_function(layers)
    known = function in ("softmax", "log_softmax", "sigmoid")
    if not said and not known and count > 1 and outputs is not None:
        function = _sums_to_one(outputs()) or function
    found = said or _told_by(function, count, classes, _loss_name(loss))
    if found in ("softmax", "logits", "log_softmax") and count == 1:
        note = "A softmax of one number is 1 whatever the network computes: use sigmoid, or two outputs."
        return {"kind": "numbers", "names": ["output 0"]}, [note]
    binary = count == 1 and found in ("sigmoid", "sigmoid_logits", "binary_logit")
    names, notes = _names(2 if binary else count, classes, found == "numbers", binary)
    if found == "numbers":
        return {"kind": "numbers", "names": names}, notes
    apply = {"logits": "softmax", "log_softmax": "exp", "binary_logit": "sigmoid", "sigmoid_logits": "sigmoid"}
    return {
        "kind": "probabilities", "apply": apply.get(found, "none"), "binary": binary,
        "exclusive": binary or found in ("softmax", "logits", "log_softmax"), "names": names,
    }, notes  # fmt: skip


def _last_function(layers: list[dict]) -> str:
    """The activation that the last numbers went through, last of all."""
    place = len(layers) - 1
    while True:
        layer = layers[place]
        if layer.get("activation", "linear") != "linear":
            return layer["activation"]
        if layer["kind"] == "softmax":
            return "log_softmax" if layer["log"] else "softmax"
        place = layer["inputs"][0] if layer["inputs"] else None
        unchanged = layer["kind"] in ("identity", "flatten", "activation") and place is not None
        if not unchanged or layers[place]["shape"][-1:] != layer["shape"][-1:]:
            return "linear"


def _sums_to_one(numbers) -> str | None:
    """Which function numbers seem to come from, (images, numbers), that are probabilities, or their logarithms."""
    with np.errstate(over="ignore"):
        if (numbers >= 0).all() and np.allclose(numbers.sum(axis=1), 1, atol=1e-4):
            return "softmax"
        return "log_softmax" if np.allclose(np.exp(numbers).sum(axis=1), 1, atol=1e-4) else None


def _loss_name(loss) -> str:
    name = loss if isinstance(loss, str) else getattr(loss, "name", None) or getattr(loss, "__name__", "")
    return str(name).lower()


_REGRESSION = ("mean_squared", "mean_absolute", "mse", "mae", "mape", "msle", "huber", "log_cosh", "logcosh", "poisson")


def _told_by(function: str, count: int, classes, loss: str) -> str:
    """One of `HEADS`, or "log_softmax", of a network whose last function and loss are known."""
    if function in ("softmax", "sigmoid", "log_softmax"):
        return function
    if function != "linear" or any(word in loss for word in _REGRESSION):
        return "numbers"
    if "binary" in loss:
        return "sigmoid_logits"
    if count > 1 and ("categorical" in loss or (classes is not None and len(classes) == count)):
        return "logits"
    return "numbers"


def _names(count: int, classes, plain: bool, binary: bool) -> tuple[list[str], list[str]]:
    """A name for each bar, and a sentence where the classes' don't fit."""
    if classes is not None and len(classes) == count:
        return list(classes), []
    word = "output" if plain else "class"
    names = [f"{word} {number}" for number in range(count)]
    if classes is None or (plain and count == 1):
        return names, []
    outputs = "has one output for two classes" if binary else f"has {count} outputs"
    return names, [f"There are {len(classes)} class names and the network {outputs}: its outputs are numbered."]
