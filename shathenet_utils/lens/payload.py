"""A network in words and numbers that `lens.js` computes with: its layers, its weights, some images.

A layer is a dict: `name`; `kind`, one that `lens.js` knows, or "unknown", then `type` says what it was; `inputs`, the
places of those before it in the list; `shape` of its output without the batch, [height, width, channels] or [units];
its settings; and `weights`, a name → the path of a Keras variable.
"""

import base64
from collections.abc import Callable

import numpy as np

from shathenet_utils import weights
from shathenet_utils.backend import keras, layers
from shathenet_utils.blocks import Whitening

ACTIVATIONS = (
    "linear", "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "sigmoid", "tanh", "softplus", "softsign",
    "exponential", "hard_sigmoid", "hard_silu", "mish", "softmax",
)  # fmt: skip
"""Those that `lens.js` computes, as Keras names them."""


class LensError(ValueError):
    """A network or a image that the lens can't show; one sentence says why."""


class _Unknown(Exception):
    """What of a layer `lens.js` doesn't know."""


def layers_of(model) -> list[dict]:
    """The network's layers in the order in which they can be computed, see above.

    model: a functional or Sequential `keras.Model` with one input of images, (height, width, channels) all known; its
    nested models are unfolded. A layer that the lens doesn't know is "unknown", and named. Raises LensError for another
    model.
    """
    if isinstance(model, keras.Sequential) and model.built:
        model = keras.Model(model.inputs, model.outputs, name=model.name)
    if not isinstance(model, keras.Model) or not hasattr(model, "operations"):
        raise LensError(f"The lens opens functional and Sequential Keras models, not {type(model).__name__}.")
    shapes = [tuple(one.shape[1:]) for one in model.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 3 or None in shapes[0]:
        raise LensError(f"The lens opens networks with one input of images of known size, not of {shapes}.")
    found = [{"name": model.inputs[0].name, "kind": "input", "inputs": [], "shape": list(shapes[0]), "weights": {}}]
    _unfold(model, {id(model.inputs[0]): 0}, found, "")
    return found


def _unfold(model, places: dict[int, int], found: list[dict], prefix: str) -> None:
    """Append a functional model's layers to `found`. places: id of a Keras tensor → the place where it is computed."""
    for node in _nodes(model):
        layer = node.operation
        if isinstance(layer, layers.InputLayer):
            continue
        name, before = prefix + layer.name, [places[id(tensor)] for tensor in node.input_tensors]
        if isinstance(layer, keras.Sequential):
            inside = keras.Model(layer.inputs, layer.outputs)
        else:
            inside = layer if isinstance(layer, keras.Model) and hasattr(layer, "operations") else None
        if inside is not None:
            within = dict(zip(map(id, inside.inputs), before, strict=True))
            _unfold(inside, within, found, f"{name}/")
            outputs = [within[id(tensor)] for tensor in inside.outputs]
            places.update(zip(map(id, node.output_tensors), outputs, strict=True))
            continue
        shape = list(node.output_tensors[0].shape[1:])
        found.append({"name": name, "inputs": before, "shape": shape, "weights": {}, **_step(layer, node)})
        places.update({id(tensor): len(found) - 1 for tensor in node.output_tensors})


def _nodes(model) -> list:
    """The calls that make up a functional model, those that others need first."""
    every = [node for nodes in model._nodes_by_depth.values() for node in nodes]
    made, order, seen = {id(tensor): node for node in every for tensor in node.output_tensors}, [], set()

    def visit(tensor):
        node = made.get(id(tensor))
        if node is None or id(node) in seen:
            return
        seen.add(id(node))
        if id(tensor) not in inputs:
            for before in node.input_tensors:
                visit(before)
        order.append(node)

    inputs = {id(tensor) for tensor in model.inputs}
    for tensor in model.outputs:
        visit(tensor)
    return order


def _step(layer, node) -> dict:
    """What `lens.js` computes for a call of a layer."""
    translate = _TRANSLATIONS.get(type(layer))
    try:
        if translate is None:
            raise _Unknown(type(layer).__name__)
        if len(node.output_tensors) != 1 or getattr(layer, "data_format", "channels_last") != "channels_last":
            raise _Unknown(f"{type(layer).__name__} with channels first, or with several outputs")
        return translate(layer)
    except _Unknown as unknown:
        return {"kind": "unknown", "type": str(unknown)}


def _activation(function: Callable) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    if name not in ACTIVATIONS or getattr(keras.activations, name) is not function:
        raise _Unknown(f"activation {name}")
    return name


def _weights(layer, **names) -> dict:
    return {name: weight.path for name, weight in names.items() if weight is not None}


def _conv(layer) -> dict:
    rows, columns, inner, filters = layer.kernel.shape
    groups = getattr(layer, "groups", 1)
    if type(layer) is layers.DepthwiseConv2D:  # the same numbers in the same order, as a group a channel
        groups, inner, filters = inner, 1, inner * filters
    return {
        "kind": "conv", "kernel_shape": [rows, columns, inner, filters], "strides": list(layer.strides),
        "padding": layer.padding, "dilation": list(layer.dilation_rate), "groups": groups,
        "activation": _activation(layer.activation),
        "weights": _weights(layer, kernel=layer.kernel, bias=layer.bias if layer.use_bias else None),
    }  # fmt: skip


def _dense(layer) -> dict:
    weights = _weights(layer, kernel=layer.kernel, bias=layer.bias if layer.use_bias else None)
    return {"kind": "dense", "activation": _activation(layer.activation), "weights": weights}


def _norm(layer) -> dict:
    if layer.axis not in (-1, len(layer.input.shape) - 1) or layer.renorm:
        raise _Unknown("BatchNormalization over another axis, or with renorm")
    weights = _weights(
        layer, gamma=layer.gamma if layer.scale else None, beta=layer.beta if layer.center else None,
        mean=layer.moving_mean, variance=layer.moving_variance,
    )  # fmt: skip
    return {"kind": "norm", "epsilon": layer.epsilon, "weights": weights}


def _scale(factor, offset) -> dict:
    """factor, offset: a number, or one a channel."""
    factor, offset = (np.ravel(np.asarray(values, np.float64)).tolist() for values in (factor, offset))
    return {"kind": "scale", "factor": factor, "offset": offset}


def _normalization(layer) -> dict:
    if layer.invert or layer._keep_axis not in ((), (len(layer.input.shape) - 1,)):
        raise _Unknown("Normalization over other axes, or inverted")
    mean, variance = (np.asarray(values, np.float64) for values in (layer.mean, layer.variance))
    deviation = np.maximum(np.sqrt(variance), keras.backend.epsilon())
    return _scale(1 / deviation, -mean / deviation)


def _pool(how: str) -> Callable:
    def translate(layer) -> dict:
        return {
            "kind": "pool", "how": how, "size": list(layer.pool_size), "strides": list(layer.strides),
            "padding": layer.padding,
        }  # fmt: skip

    return translate


def _global_pool(how: str) -> Callable:
    return lambda layer: {"kind": "global_pool", "how": how}


def _resize(layer) -> dict:
    others = ("crop_to_aspect_ratio", "pad_to_aspect_ratio", "antialias")  # of Resizing only
    if layer.interpolation not in ("nearest", "bilinear") or any(getattr(layer, name, False) for name in others):
        raise _Unknown(f"{type(layer).__name__} with {layer.interpolation}, antialiasing, crop or padding")
    return {"kind": "resize", "how": layer.interpolation}


def _relu(layer) -> dict:
    largest = None if layer.max_value is None else float(layer.max_value)
    return {
        "kind": "activation", "activation": "general_relu", "slope": float(layer.negative_slope),
        "threshold": float(layer.threshold), "largest": largest,
    }  # fmt: skip


def _join(how: str) -> Callable:
    return lambda layer: {"kind": "join", "how": how}


def _concatenate(layer) -> dict:
    if layer.axis not in (-1, len(layer.output.shape) - 1):
        raise _Unknown("Concatenate along another axis than the channels")
    return {"kind": "concatenate"}


def _identity(layer) -> dict:
    return {"kind": "identity"}


_TRANSLATIONS = {
    Whitening: _conv,
    layers.Conv2D: _conv,
    layers.DepthwiseConv2D: _conv,
    layers.Dense: _dense,
    layers.BatchNormalization: _norm,
    layers.Rescaling: lambda layer: _scale(layer.scale, layer.offset),
    layers.Normalization: _normalization,
    layers.MaxPooling2D: _pool("max"),
    layers.AveragePooling2D: _pool("average"),
    layers.GlobalMaxPooling2D: _global_pool("max"),
    layers.GlobalAveragePooling2D: _global_pool("average"),
    layers.Resizing: _resize,
    layers.UpSampling2D: _resize,
    layers.ZeroPadding2D: lambda layer: {"kind": "pad", "padding": [list(side) for side in layer.padding]},
    layers.Cropping2D: lambda layer: {"kind": "crop", "cropping": [list(side) for side in layer.cropping]},
    layers.Flatten: lambda layer: {"kind": "flatten"},
    layers.Activation: lambda layer: {"kind": "activation", "activation": _activation(layer.activation)},
    layers.ReLU: _relu,
    layers.LeakyReLU: lambda layer: {
        "kind": "activation", "activation": "general_relu", "slope": float(layer.negative_slope), "threshold": 0.0,
        "largest": None,
    },
    layers.Softmax: lambda layer: {"kind": "activation", "activation": "softmax"},
    layers.Add: _join("add"),
    layers.Subtract: _join("subtract"),
    layers.Multiply: _join("multiply"),
    layers.Average: _join("average"),
    layers.Maximum: _join("maximum"),
    layers.Concatenate: _concatenate,
    **dict.fromkeys(
        (layers.Dropout, layers.SpatialDropout2D, layers.GaussianNoise, layers.GaussianDropout, layers.Identity),
        _identity,
    ),
}  # fmt: skip


def encode(array) -> dict:
    """An array as JSON: its shape, its dtype ("f2", "f4", "u1" or "i1", little-endian) and its bytes in base 85, four
    in five letters (RFC 1924's, with a comma for "<", which must not stand in a page)."""
    array = np.asarray(array)
    kind = {"float16": "f2", "float32": "f4", "uint8": "u1", "int8": "i1"}[array.dtype.name]
    data = np.ascontiguousarray(array, "<" + kind if kind[0] == "f" else kind)
    told = base64.b85encode(data.tobytes()).decode("ascii").replace("<", ",")
    return {"shape": list(array.shape), "dtype": kind, "data": told}


def in_eight_bits(stacked) -> dict:
    """Weights of some epochs in `weights.in_eight_bits`, encoded, with their `scale`."""
    numbers, scale = weights.in_eight_bits(stacked)
    return encode(numbers) | {"scale": encode(scale)}


LARGE = 4_000_000  # bytes of weights, beyond which a page holds them in eight bits


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
) -> dict:
    """All that the lens shows of a network, ready for JSON.

    images: uint8 (n, height, width, channels), of the network's input size; labels: (n,), numbers of `classes`, the
    names of the network's outputs. weight_history: what a run kept of its epochs, as `weights.load_arrays` reads it;
    without, the model's own weights are shown. epochs: at most so many of them, first and last included, beside
    those that a large network kept of all its layers. history: a record's, for its curve. Weights are rounded to
    float16, and kernels to 8 bits and a scale where there would be more than `LARGE` bytes of them; `rounded` says
    which. Raises LensError where something doesn't fit.
    """
    found = layers_of(model)
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or list(images.shape[1:]) != found[0]["shape"]:
        size = " × ".join(map(str, found[0]["shape"]))
        raise LensError(
            f"The lens wants images of 8 bits, {size} as {model.name} takes them, not {images.dtype} {images.shape}."
        )
    paths = {path for layer in found for path in layer["weights"].values()}
    if weight_history is None:
        weights = {weight.path: np.asarray(weight) for weight in model.weights if weight.path in paths}
        arrays, shown = {path: encode(_half(array)) for path, array in as_convolutions(found, weights).items()}, None
    else:
        if lacking := sorted(paths - set(weight_history)):
            raise LensError(f"The weight history is not of {model.name}: it lacks {lacking[0]}.")
        stacked = {path: np.asarray(weight_history[path]) for path in sorted(paths)}  # a page is the same each time
        every = weight_history.get("epochs", range(max(map(len, stacked.values()))))
        few = weight_history.get("epochs of the rest", every)
        kept = [[int(epoch) for epoch in some] for some in (every, few)]
        arrays, shown = _of_epochs(as_convolutions(found, stacked), *kept, epochs)
    rounded = "8 bits" if any(array["dtype"] == "i1" for array in arrays.values()) else "16 bits"
    return {
        "title": title or model.name,
        "rounded": rounded,
        "layers": found,
        "arrays": arrays,
        "epochs": shown,
        "curve": history and {of: [round(float(value), 4) for value in history[of]] for of in ("loss", "accuracy")},
        "images": encode(images),
        "labels": None if labels is None else [int(label) for label in labels],
        "classes": None if classes is None else [str(name) for name in classes],
    }


def _half(array) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(array, np.float32).astype(np.float16)


def as_convolutions(found: list[dict], arrays: dict) -> dict:
    """The arrays, a kernel in its layer's `kernel_shape`, whatever axes stand before it."""
    shapes = {layer["weights"]["kernel"]: layer["kernel_shape"] for layer in found if layer["kind"] == "conv"}
    return {
        path: array.reshape(*array.shape[:-4], *shapes[path]) if path in shapes else array
        for path, array in arrays.items()
    }


def _of_epochs(arrays: dict, every: list[int], few: list[int], most: int) -> tuple[dict, list[int]]:
    """Stacked arrays, encoded, each with the epochs that it has; and all epochs that are shown. every: the epochs that
    were kept; few: those of the arrays that are shorter."""
    places = np.linspace(0, len(every) - 1, max(2, min(most, len(every)))).round().astype(int)
    shown = sorted({every[place] for place in places} | (set(few) if few != every else set()))
    taken = {}
    for path, stacked in arrays.items():
        own = every if len(stacked) == len(every) else few
        kept = [epoch for epoch in own if epoch in shown]
        taken[path] = kept, stacked[[own.index(epoch) for epoch in kept]]
    large = 2 * sum(stacked.size for _, stacked in taken.values()) > LARGE
    encoded = {}
    for path, (kept, stacked) in taken.items():
        few_bits = large and stacked.ndim > 2 and np.isfinite(stacked).all()
        encoded[path] = (in_eight_bits(stacked) if few_bits else encode(_half(stacked))) | {"epochs": kept}
    return encoded, shown
