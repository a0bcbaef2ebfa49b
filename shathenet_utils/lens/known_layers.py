"""Keras's layers in inference, as steps that `js/engine.js` computes; see `steps` for what a step is."""

import inspect
from collections.abc import Callable

import numpy as np

from shathenet_utils.architecture import WRAPPED_BY_KERAS
from shathenet_utils.backend import keras, layers
from shathenet_utils.blocks import Whitening
from shathenet_utils.lens.activations import with_activation
from shathenet_utils.lens.convolutions import convolution, depthwise, lifted, pooling, transposed
from shathenet_utils.lens.resampling import resampled
from shathenet_utils.lens.steps import Call, Unknown, reshaped, size, without_batch


def translation(layer) -> Callable[[object, Call], list[dict]] | None:
    """The function that makes steps of a call of that layer; None of a layer that isn't known by its class.

    A subclass of a known layer is that layer as long as it only builds or configures itself differently; so is a layer
    whose methods nobody has replaced.
    """
    if {name for name in vars(layer) if callable(getattr(type(layer), name, None))} - WRAPPED_BY_KERAS:
        return None
    for kind in type(layer).__mro__:
        if kind in _TRANSLATIONS:
            return _TRANSLATIONS[kind]
        if {name for name, value in vars(kind).items() if _is_code(value)} - _HARMLESS:
            break
    return _preprocessing if isinstance(layer, _PREPROCESSING) else None


def _is_code(value) -> bool:
    return inspect.isroutine(value) or isinstance(value, property | classmethod | staticmethod)


_HARMLESS = {"__init__", "__new__", "build", "get_config", "from_config", "compute_output_shape", "compute_output_spec"}
"""Methods that a subclass may have of its own and still compute what its parent does."""
_PREPROCESSING = layers.RandomFlip.__mro__[1]
"""What Keras's augmentation layers and others that act on images have in common."""


def _channels_last(translate: Callable) -> Callable:
    def checked(layer, call: Call) -> list[dict]:
        if getattr(layer, "data_format", None) == "channels_first":
            raise Unknown("with channels first")
        return translate(layer, call)

    return checked


def _bias(layer):
    return layer.bias if layer.use_bias else None


@_channels_last
def _conv(layer, call: Call) -> list[dict]:
    steps = convolution(
        call.shapes[0], call.shape, layer.kernel, _bias(layer), layer.strides, layer.padding, layer.dilation_rate,
        layer.groups,
    )  # fmt: skip
    return with_activation(steps, layer.activation, call.shape)


@_channels_last
def _depthwise(layer, call: Call) -> list[dict]:
    steps = depthwise(
        call.shapes[0], call.shape, layer.kernel, _bias(layer), layer.strides, layer.padding, layer.dilation_rate
    )  # fmt: skip
    return with_activation(steps, layer.activation, call.shape)


@_channels_last
def _separable(layer, call: Call) -> list[dict]:
    steps = separable(
        call, layer.depthwise_kernel, layer.pointwise_kernel, _bias(layer), layer.strides, layer.padding,
        layer.dilation_rate,
    )  # fmt: skip
    return with_activation(steps, layer.activation, call.shape)


def separable(call: Call, first, second, bias, strides, padding, dilation) -> list[dict]:
    """A depthwise convolution and one of 1×1."""
    between = [*call.shape[:-1], int(first.shape[-1] * first.shape[-2])]
    one = depthwise(call.shapes[0], between, first, None, strides, padding, dilation)
    two = convolution(between, call.shape, second, bias, 1, "valid", 1)
    return [*one[:-1], {"shape": between} | one[-1] | {"part": "depthwise"}, *two]


@_channels_last
def _conv_transpose(layer, call: Call) -> list[dict]:
    steps = transposed(
        call.shapes[0], call.shape, layer.kernel, _bias(layer), layer.strides, layer.padding, layer.dilation_rate
    )  # fmt: skip
    return with_activation(steps, layer.activation, call.shape)


def _dense(layer, call: Call) -> list[dict]:
    weights = {"kernel": layer.kernel} | ({"bias": layer.bias} if layer.use_bias else {})
    return with_activation(
        [{"kind": "dense", "activation": "linear", "weights": weights}], layer.activation, call.shape
    )  # fmt: skip


def _einsum_dense(layer, call: Call) -> list[dict]:
    step = einsum(layer.equation, [call.shapes[0], layer.kernel.shape], [{"input": 0}, {"weight": "kernel"}])
    steps = [step | {"weights": {"kernel": layer.kernel}}]
    if layer.bias is not None:
        operands = [{"input": 0}, {"weight": "bias"}]
        steps.append({"kind": "join", "how": "add", "operands": operands, "weights": {"bias": layer.bias}})
    return with_activation(steps, layer.activation, call.shape)


def einsum(equation: str, shapes, operands) -> dict:
    """An einsum without its batch. shapes: of the operands, without the batch of those that are inputs."""
    terms, _, result = equation.replace(" ", "").partition("->")
    terms = terms.split(",")
    if "." in equation or not result or len(terms) != len(operands):
        raise Unknown(f"with the equation {equation}")
    batch = next(term[0] for term, operand in zip(terms, operands, strict=True) if "input" in operand)
    short = []
    for term, operand, shape in zip(terms, operands, shapes, strict=True):
        is_input = "input" in operand
        fits = term[0] == batch if is_input else batch not in term
        if not fits or batch in term[1:] or len(term) != len(shape) + is_input:
            raise Unknown("over the batch")
        short.append(term[1:] if is_input else term)
    if result[0] != batch:
        raise Unknown("over the batch")
    sides = {
        letter: int(side)
        for term, shape in zip(short, shapes, strict=True)
        for letter, side in zip(term, shape, strict=True)
    }
    summed = size(side for letter, side in sides.items() if letter not in result)
    return {"kind": "einsum", "equation": f"{','.join(short)}->{result[1:]}", "operands": operands, "summed": summed}


def _batch_norm(layer, call: Call) -> list[dict]:
    if layer.renorm:
        raise Unknown("with renorm")
    rank = len(call.shape)
    (axis,) = without_batch(layer.axis, rank + 1)
    named = {"gamma": layer.gamma, "beta": layer.beta, "mean": layer.moving_mean, "variance": layer.moving_variance}
    weights = {name: weight for name, weight in named.items() if weight is not None}
    step = {"kind": "norm", "epsilon": layer.epsilon, "weights": weights}
    if axis == rank - 1:
        return [step]
    order = [*(one for one in range(rank) if one != axis), axis]
    back = [order.index(one) for one in range(rank)]
    turned = [call.shape[one] for one in order]
    return [
        {"kind": "transpose", "order": order, "shape": turned, "part": "turned"},
        step | {"shape": turned, "part": "norm"},
        {"kind": "transpose", "order": back},
    ]


def standardise(how: str, axes, epsilon: float, call: Call, **named) -> dict:
    """A normalisation over some axes (without the batch) of one example. named: gamma and beta, of those axes' sizes or
    of a shape that broadcasts."""
    weights = {}
    for name, weight in named.items():
        if weight is None:
            continue
        full = len(weight.shape) == len(axes)
        beside = [side if axis in axes else 1 for axis, side in enumerate(call.shape)]
        weights[name] = reshaped(weight, beside) if full else weight
    return {"kind": "standardise", "how": how, "axes": axes, "epsilon": float(epsilon), "weights": weights}


def _layer_norm(layer, call: Call) -> list[dict]:
    axes = without_batch(layer.axis, len(call.shape) + 1)
    how = "deviation" if layer.rms_scaling else "standard"
    return [standardise(how, axes, layer.epsilon, call, gamma=layer.gamma, beta=layer.beta)]


def _rms_norm(layer, call: Call) -> list[dict]:
    return [standardise("rms", without_batch(layer.axis, len(call.shape) + 1), layer.epsilon, call, gamma=layer.scale)]


def _group_norm(layer, call: Call) -> list[dict]:
    if layer.axis not in (-1, len(call.shape)):
        raise Unknown("over another axis than the channels")
    rank = len(call.shape)
    step = standardise("standard", [*range(rank - 1), rank], layer.epsilon, call)
    weights = {
        name: weight for name, weight in {"gamma": layer.gamma, "beta": layer.beta}.items() if weight is not None
    }
    return [step | {"groups": int(layer.groups), "weights": weights}]


def _unit_norm(layer, call: Call) -> list[dict]:
    return [standardise("unit", without_batch(layer.axis, len(call.shape) + 1), 1e-12, call)]


def _scale(factor, offset) -> list[dict]:
    """factor, offset: a number, or one per channel."""
    factor, offset = (np.ravel(np.asarray(values, np.float64)).tolist() for values in (factor, offset))
    return [{"kind": "scale", "factor": factor, "offset": offset}]


def _normalization(layer, call: Call) -> list[dict]:
    if layer.invert or layer._keep_axis not in ((), (len(call.shape),)):
        raise Unknown("over other axes, or inverted")
    mean, variance = (np.asarray(values, np.float64) for values in (layer.mean, layer.variance))
    deviation = np.maximum(np.sqrt(variance), keras.backend.epsilon())
    return _scale(1 / deviation, -mean / deviation)


def _pool(how: str) -> Callable:
    @_channels_last
    def translate(layer, call: Call) -> list[dict]:
        return pooling(call.shapes[0], call.shape, how, layer.pool_size, layer.strides, layer.padding)

    return translate


def _global_pool(how: str) -> Callable:
    @_channels_last
    def translate(layer, call: Call) -> list[dict]:
        if len(call.shapes[0]) == 3:
            return [{"kind": "global_pool", "how": how}]
        axes = list(range(len(call.shapes[0]) - 1))
        return [{"kind": "reduce", "how": {"average": "mean"}.get(how, how), "axes": axes}]

    return translate


@_channels_last
def _resize(layer, call: Call) -> list[dict]:
    others = ("crop_to_aspect_ratio", "pad_to_aspect_ratio", "antialias")  # of Resizing only
    if layer.interpolation in ("nearest", "bilinear") and not any(getattr(layer, name, False) for name in others):
        return [{"kind": "resize", "how": layer.interpolation}]
    return resampled(layer, call.shapes[0], call.shape)


def _upsampling_1d(layer, call: Call) -> list[dict]:
    return lifted({"kind": "resize", "how": "nearest"}, call.shapes[0], call.shape)


@_channels_last
def _resampled(layer, call: Call) -> list[dict]:
    return resampled(layer, call.shapes[0], call.shape)


@_channels_last
def _preprocessing(layer, call: Call) -> list[dict]:
    """Augmentation layers are the identity in inference, and the others are known if they only resample; both are tried
    on random images."""
    image = np.random.default_rng(0).uniform(0, 255, (2, *call.shapes[0])).astype(np.float32)
    try:
        shown = np.asarray(keras.ops.convert_to_numpy(layer(image, training=False)))
    except Exception:  # whatever a layer of a reader's own refuses
        raise Unknown from None
    if np.array_equal(shown, image):
        return [{"kind": "identity"}]
    return resampled(layer, call.shapes[0], call.shape)


@_channels_last
def _pad(layer, call: Call) -> list[dict]:
    padding = layer.padding
    if len(call.shape) == 2:
        return lifted({"kind": "pad", "padding": [list(padding), [0, 0]], "value": 0}, call.shapes[0], call.shape)
    return [{"kind": "pad", "padding": [list(side) for side in padding], "value": 0}]


@_channels_last
def _crop(layer, call: Call) -> list[dict]:
    if len(call.shape) == 2:
        return lifted({"kind": "crop", "cropping": [list(layer.cropping), [0, 0]]}, call.shapes[0], call.shape)
    return [{"kind": "crop", "cropping": [list(side) for side in layer.cropping]}]


def _reshape(layer, call: Call) -> list[dict]:
    if size(call.shape) != size(call.shapes[0]):
        raise Unknown("over the batch")
    return [{"kind": "flatten"}]


def _repeat_vector(layer, call: Call) -> list[dict]:
    units = call.shapes[0][0]
    return [
        {"kind": "flatten", "shape": [1, units], "part": "as a row"},
        {"kind": "take", "indices": [[0] * layer.n, None]},
    ]


def general_relu(layer, call: Call) -> list[dict]:
    largest = None if layer.max_value is None else float(layer.max_value)
    return [{
        "kind": "activation", "activation": "general_relu", "slope": float(layer.negative_slope),
        "threshold": float(layer.threshold), "largest": largest,
    }]  # fmt: skip


def _leaky_relu(layer, call: Call) -> list[dict]:
    return [{
        "kind": "activation", "activation": "general_relu", "slope": float(layer.negative_slope), "threshold": 0.0,
        "largest": None,
    }]  # fmt: skip


def _softmax(layer, call: Call) -> list[dict]:
    return softmax(layer.axis, call)


def softmax(axis, call: Call, log: bool = False) -> list[dict]:
    axes, name = without_batch(axis, len(call.shape) + 1), "log_softmax" if log else "softmax"
    if axes == [len(call.shape) - 1]:
        return [{"kind": "activation", "activation": name}]
    return [{"kind": "softmax", "axes": axes, "log": log}]


def _activation(layer, call: Call) -> list[dict]:
    return with_activation([{"kind": "activation", "activation": "linear"}], layer.activation, call.shape)


def _join(how: str) -> Callable:
    def translate(layer, call: Call) -> list[dict]:
        return [{"kind": "join", "how": how}]

    return translate


def _concatenate(layer, call: Call) -> list[dict]:
    (axis,) = without_batch(layer.axis, len(call.shape) + 1)
    return [{"kind": "concatenate", "axis": axis}]


def _identity(layer, call: Call) -> list[dict]:
    return [{"kind": "identity"}]


_TRANSLATIONS = {
    **dict.fromkeys((Whitening, layers.Conv1D, layers.Conv2D), _conv),
    **dict.fromkeys((layers.DepthwiseConv1D, layers.DepthwiseConv2D), _depthwise),
    **dict.fromkeys((layers.SeparableConv1D, layers.SeparableConv2D), _separable),
    **dict.fromkeys((layers.Conv1DTranspose, layers.Conv2DTranspose), _conv_transpose),
    layers.Dense: _dense,
    layers.EinsumDense: _einsum_dense,
    layers.BatchNormalization: _batch_norm,
    layers.LayerNormalization: _layer_norm,
    layers.GroupNormalization: _group_norm,
    layers.RMSNormalization: _rms_norm,
    layers.UnitNormalization: _unit_norm,
    layers.Rescaling: lambda layer, call: _scale(layer.scale, layer.offset),
    layers.Normalization: _normalization,
    **dict.fromkeys((layers.MaxPooling1D, layers.MaxPooling2D), _pool("max")),
    **dict.fromkeys((layers.AveragePooling1D, layers.AveragePooling2D), _pool("average")),
    **dict.fromkeys((layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D), _global_pool("max")),
    **dict.fromkeys((layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D), _global_pool("average")),
    **dict.fromkeys((layers.Resizing, layers.UpSampling2D), _resize),
    **dict.fromkeys((layers.CenterCrop, layers.AdaptiveAveragePooling2D), _resampled),
    layers.UpSampling1D: _upsampling_1d,
    **dict.fromkeys((layers.ZeroPadding1D, layers.ZeroPadding2D), _pad),
    **dict.fromkeys((layers.Cropping1D, layers.Cropping2D), _crop),
    layers.Flatten: _channels_last(_reshape),
    layers.Reshape: _reshape,
    layers.Permute: lambda layer, call: [{"kind": "transpose", "order": [axis - 1 for axis in layer.dims]}],
    layers.RepeatVector: _repeat_vector,
    layers.Activation: _activation,
    layers.ReLU: general_relu,
    layers.LeakyReLU: _leaky_relu,
    layers.ELU: lambda layer, call: [
        {"kind": "activation", "activation": "elu", "parameters": [float(layer.alpha)]}
    ],
    layers.PReLU: lambda layer, call: [
        {"kind": "activation", "activation": "prelu", "weights": {"alpha": layer.alpha}}
    ],
    layers.Softmax: _softmax,
    layers.Add: _join("add"),
    layers.Subtract: _join("subtract"),
    layers.Multiply: _join("multiply"),
    layers.Average: _join("average"),
    layers.Maximum: _join("maximum"),
    layers.Minimum: _join("minimum"),
    layers.Concatenate: _concatenate,
    **dict.fromkeys(
        (
            layers.Dropout, layers.SpatialDropout1D, layers.SpatialDropout2D, layers.AlphaDropout,
            layers.GaussianNoise, layers.GaussianDropout, layers.ActivityRegularization, layers.Identity,
        ),
        _identity,
    ),
}  # fmt: skip
