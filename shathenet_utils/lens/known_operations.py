"""Plain operations in a model's graph, `x + y`, `keras.ops.mean(x, axis=(1, 2))`, as steps that the lens computes; see
`steps` for what a step is."""

from collections.abc import Callable

from shathenet_utils.backend import keras
from shathenet_utils.lens.convolutions import convolution, depthwise, pooling, transposed
from shathenet_utils.lens.known_layers import einsum, general_relu, separable, softmax, standardise
from shathenet_utils.lens.moves import MOVES
from shathenet_utils.lens.operands import arguments_of, constant, operands
from shathenet_utils.lens.resampling import resampled
from shathenet_utils.lens.steps import Call, Unknown, without_batch


def steps(call: Call) -> list[list[dict]]:
    """The steps of each output of an operation's call. Raises Unknown."""
    operation = call.node.operation
    if not type(operation).__module__.startswith("keras."):
        raise Unknown
    name = type(operation).__name__
    if name in _UNARY:
        given = [getattr(operation, setting) for setting in _UNARY[name][1:]]
        if len(call.shapes) != 1 or not all(isinstance(value, int | float) for value in given):
            raise Unknown
        parameters = {"parameters": [float(value) for value in given]} if given else {}
        return [[{"kind": "activation", "activation": _UNARY[name][0], **parameters}]]
    if name in _JOINS:
        return [_join(_JOINS[name], list(arguments_of(call).values()), call)]
    if name not in _TRANSLATIONS:
        raise Unknown
    if getattr(operation, "data_format", None) == "channels_first":
        raise Unknown("with channels first")
    found = _TRANSLATIONS[name](operation, call)
    return found if isinstance(found[0], list) else [found]


def _join(how: str, values, call: Call) -> list[dict]:
    found = operands(values, call, len(call.shape) + 1)
    numbers = [operand.get("value") for operand in found["operands"]]
    if len(values) == 2 and (line := _line(how, *numbers)):
        return [{"kind": "scale", "factor": [line[0]], "offset": [line[1]]}]
    return [{"kind": "join", "how": how, **found}]


def _line(how: str, first: float | None, second: float | None) -> tuple[float, float] | None:
    """Factor and offset of an input that is joined with a number."""
    if (first is None) == (second is None):
        return None
    number = second if first is None else first
    if how == "add":
        return 1.0, number
    if how == "multiply":
        return number, 0.0
    if how == "subtract":
        return (1.0, -number) if first is None else (-1.0, number)
    return (1 / number, 0.0) if how == "divide" and first is None and number else None


def _reduce(how: str) -> Callable:
    def translate(operation, call: Call) -> list[dict]:
        axis = operation.axes if hasattr(operation, "axes") else operation.axis
        if getattr(operation, "initial", None) is not None:
            raise Unknown("with an initial value")
        return [{"kind": "reduce", "how": how, "axes": without_batch(axis, len(call.shapes[0]) + 1)}]

    return translate


def _moments(operation, call: Call) -> list[list[dict]]:
    return [_reduce("mean")(operation, call), _reduce("var")(operation, call)]


def _norm(operation, call: Call) -> list[dict]:
    if operation.ord not in (None, 2, "fro"):
        raise Unknown(f"of the order {operation.ord}")
    return [{"kind": "reduce", "how": "norm", "axes": without_batch(operation.axis, len(call.shapes[0]) + 1)}]


def _cast(operation, call: Call) -> list[dict]:
    """Between floating point types, and from truth values, the lens computes on; to whole numbers it would not."""
    if not str(operation.dtype).startswith(("float", "bfloat")):
        raise Unknown(f"to {operation.dtype}")
    return [{"kind": "identity"}]


def _einsum(operation, call: Call) -> list[dict]:
    return _product(operation.subscripts, list(call.node.arguments.args), call)


def _product(equation: str, values, call: Call) -> list[dict]:
    """An einsum of inputs and weights. equation: with the batch of the inputs."""
    found = operands(values, call)
    places = [call.place(value) for value in values]
    shapes = [value.shape if place is None else call.shapes[place] for value, place in zip(values, places, strict=True)]
    return [einsum(equation, shapes, found["operands"]) | {"weights": found["weights"]}]


def _matmul(operation, call: Call) -> list[dict]:
    first, second = arguments_of(call).values()
    ranks = len(first.shape), len(second.shape)
    is_input = [call.place(value) is not None for value in (first, second)]
    if is_input == [True, False] and ranks[1] == 2 and ranks[0] >= 2:
        axes = "abcdefgh"[: ranks[0] - 1]
        return _product(f"{axes}y,yz->{axes}z", [first, second], call)
    if is_input == [True, True] and ranks[0] == ranks[1] >= 3:
        axes = "abcdefgh"[: ranks[0] - 2]
        shared = all(one == other for one, other in zip(first.shape[1:-2], second.shape[1:-2], strict=True))
        if shared:
            return _product(f"{axes}xy,{axes}yz->{axes}xz", [first, second], call)
    raise Unknown("of these shapes")


def _attention(operation, call: Call) -> list[dict]:
    given = arguments_of(call)
    query, key, value = (given.pop(name) for name in ("query", "key", "value"))
    scale = given.pop("scale", None)
    if any(one is not None for one in given.values()) or operation.is_causal or operation.attn_logits_soft_cap:
        raise Unknown("with a mask or a bias")
    places = [call.place(one) for one in (query, key, value)]
    if None in places or len({call.shapes[place][1] for place in places}) != 1:
        raise Unknown("of grouped heads")
    to, heads, width = call.shapes[places[0]]
    tokens = call.shapes[places[1]][0]
    shape = [heads, to, tokens]
    both = [{"input": 0}, {"input": 1}]
    return [
        {"kind": "einsum", "equation": "tnh,snh->nts", "operands": both, "summed": width, "shape": shape,
         "inputs": places[:2], "part": "scores"},
        {"kind": "scale", "factor": [float(scale or width**-0.5)], "offset": [0.0], "shape": shape, "part": "scaled"},
        {"kind": "activation", "activation": "softmax", "shape": shape, "part": "weights"},
        {"kind": "einsum", "equation": "nts,snh->tnh", "operands": both, "summed": tokens, "inputs": [-1, places[2]]},
    ]  # fmt: skip


def _conv(operation, call: Call) -> list[dict]:
    kernel = _only_input_first(call, "kernel")
    return convolution(
        call.shapes[0], call.shape, kernel, None, operation.strides, operation.padding, operation.dilation_rate, None
    )  # fmt: skip


def _depthwise(operation, call: Call) -> list[dict]:
    kernel = _only_input_first(call, "kernel")
    return depthwise(
        call.shapes[0], call.shape, kernel, None, operation.strides, operation.padding, operation.dilation_rate
    )  # fmt: skip


def _separable(operation, call: Call) -> list[dict]:
    kernels = [_only_input_first(call, name) for name in ("depthwise_kernel", "pointwise_kernel")]
    return separable(call, *kernels, None, operation.strides, operation.padding, operation.dilation_rate)


def _conv_transpose(operation, call: Call) -> list[dict]:
    kernel = _only_input_first(call, "kernel")
    return transposed(
        call.shapes[0], call.shape, kernel, None, operation.strides, operation.padding, operation.dilation_rate
    )  # fmt: skip


def _only_input_first(call: Call, name: str):
    """The argument of that name, a constant beside the one input. Raises Unknown where it is computed."""
    if len(call.shapes) != 1:
        raise Unknown("with a kernel that is computed")
    return constant(arguments_of(call)[name])


def _pool(how: str) -> Callable:
    return lambda operation, call: pooling(
        call.shapes[0], call.shape, how, operation.pool_size, operation.strides, operation.padding
    )  # fmt: skip


def _batch_norm(operation, call: Call) -> list[dict]:
    if len(call.shapes) != 1 or operation.axis not in (-1, len(call.shape)):
        raise Unknown("over another axis than the channels")
    given = arguments_of(call)
    names = {"mean": "mean", "variance": "variance", "beta": "offset", "gamma": "scale"}
    weights = {name: constant(given[of]) for name, of in names.items() if given.get(of) is not None}
    return [{"kind": "norm", "epsilon": float(operation.epsilon), "weights": weights}]


def _standardised(how: str, epsilon_of: Callable, gamma: str = "gamma") -> Callable:
    def translate(operation, call: Call) -> list[dict]:
        if len(call.shapes) != 1:
            raise Unknown("with weights that are computed")
        given = arguments_of(call)
        named = {"gamma": given.get(gamma), "beta": given.get("beta")}
        named = {name: value if value is None else constant(value) for name, value in named.items()}
        own = "deviation" if getattr(operation, "rms_scaling", False) else how
        axes = without_batch(operation.axis, len(call.shape) + 1)
        return [standardise(own, axes, epsilon_of(operation), call, **named)]

    return translate


def _epsilon(operation) -> float:
    return keras.backend.epsilon() if operation.epsilon is None else operation.epsilon


def _normalize(operation, call: Call) -> list[dict]:
    if operation.order != 2:
        raise Unknown(f"of the order {operation.order}")
    return _standardised("unit", _epsilon)(operation, call)


def _resize(operation, call: Call) -> list[dict]:
    return resampled(operation.call, call.shapes[0], call.shape)


def _where(operation, call: Call) -> list[dict]:
    values = list(arguments_of(call).values())
    if len(values) != 3 or any(value is None for value in values):
        raise Unknown("without two choices")
    return _join("where", values, call)


_UNARY = {
    "Relu": ("relu",), "Relu6": ("relu6",), "LeakyRelu": ("leaky_relu", "negative_slope"), "Elu": ("elu", "alpha"),
    "Selu": ("selu",), "Celu": ("celu", "alpha"), "Silu": ("silu",), "Sigmoid": ("sigmoid",),
    "HardSigmoid": ("hard_sigmoid",), "HardSilu": ("hard_silu",), "HardTanh": ("hard_tanh",), "Tanh": ("tanh",),
    "HardShrink": ("hard_shrink", "threshold"), "SoftShrink": ("soft_shrink", "threshold"),
    "TanhShrink": ("tanh_shrink",), "LogSigmoid": ("log_sigmoid",), "Softplus": ("softplus",),
    "Softsign": ("softsign",), "Squareplus": ("squareplus", "b"), "SparsePlus": ("sparse_plus",),
    "SparseSigmoid": ("sparse_sigmoid",), "Threshold": ("threshold", "threshold", "default_value"),
    "Clip": ("clip", "x_min", "x_max"), "Exp": ("exponential",), "Exp2": ("exp2",), "Expm1": ("expm1",),
    "Log": ("log",), "Log2": ("log2",), "Log10": ("log10",), "Log1p": ("log1p",), "Sqrt": ("sqrt",),
    "Rsqrt": ("rsqrt",), "Cbrt": ("cbrt",), "Square": ("square",), "Abs": ("abs",), "Absolute": ("abs",),
    "Fabs": ("abs",), "Negative": ("negative",), "Reciprocal": ("reciprocal",), "Sign": ("sign",), "Sin": ("sin",),
    "Cos": ("cos",), "Tan": ("tan",), "Arctan": ("arctan",), "Sinh": ("sinh",), "Cosh": ("cosh",),
    "Arcsinh": ("arcsinh",), "Floor": ("floor",), "Ceil": ("ceil",), "Trunc": ("trunc",), "Erf": ("erf",),
    "StopGradient": ("linear",), "Copy": ("linear",), "LogicalNot": ("logical_not",), "Mish": ("mish",),
}  # fmt: skip
"""Operations on each number alone: name → the lens's function, and the attributes that are its parameters."""

_JOINS = {
    "Add": "add", "Subtract": "subtract", "Multiply": "multiply", "Divide": "divide", "TrueDivide": "divide",
    "DivideNoNan": "divide_no_nan", "Power": "power", "Maximum": "maximum", "Minimum": "minimum", "Mod": "mod",
    "FloorDivide": "floor_divide", "Hypot": "hypot", "Arctan2": "arctan2", "Greater": "greater",
    "GreaterEqual": "greater_equal", "Less": "less", "LessEqual": "less_equal", "Equal": "equal",
    "NotEqual": "not_equal", "LogicalAnd": "multiply", "LogicalOr": "maximum", "Logaddexp": "logaddexp",
}  # fmt: skip
"""Operations on two numbers: name → `how` of a join."""

_TRANSLATIONS = {
    "Mean": _reduce("mean"), "Sum": _reduce("sum"), "Max": _reduce("max"), "Amax": _reduce("max"),
    "Min": _reduce("min"), "Amin": _reduce("min"), "Prod": _reduce("prod"), "Var": _reduce("var"),
    "Std": _reduce("std"), "Logsumexp": _reduce("logsumexp"), "Any": _reduce("max"), "All": _reduce("min"),
    "Moments": _moments, "Norm": _norm,
    **MOVES,
    "Einsum": _einsum, "Matmul": _matmul, "Dot": _matmul, "DotProductAttention": _attention,
    "Conv": _conv, "DepthwiseConv": _depthwise, "SeparableConv": _separable, "ConvTranspose": _conv_transpose,
    "MaxPool": _pool("max"), "AveragePool": _pool("average"),
    "BatchNorm": _batch_norm, "LayerNorm": _standardised("standard", _epsilon),
    "RMSNorm": _standardised("rms", _epsilon, "scale"), "Normalize": _normalize,
    "Softmax": lambda operation, call: softmax(operation.axis, call),
    "LogSoftmax": lambda operation, call: softmax(operation.axis, call, log=True),
    "Gelu": lambda operation, call: [
        {"kind": "activation", "activation": "gelu_tanh" if operation.approximate else "gelu"}
    ],
    "Cast": _cast,
    "ReLU": general_relu, "Resize": _resize, "Where": _where,
}  # fmt: skip
