"""What can be counted of any network: its layers, parameters, multiply-adds, memory traffic; and its digest."""

import hashlib
import json
import math
import types

from shathenet_utils.backend import keras, layers
from shathenet_utils.blocks import ScaledConv2D, Whitening
from shathenet_utils.tracing import Untraceable, call_of, traced_layer


def graph_of(model: keras.Model):
    """The graph of operations behind a model: itself, or what a `Sequential` keeps."""
    return model._functional if isinstance(model, keras.Sequential) else model


def calls_of(model: keras.Model) -> list:
    """Keras's nodes, one per call of a layer in the model's graph; a shared layer has several."""
    graph = graph_of(model)
    ours = [node for nodes in graph._nodes_by_depth.values() for node in nodes]
    known = set(map(id, ours))

    def of(operation):
        """Its calls in the order in which they were made; a layer that was traced has forgotten it."""
        calls = [node for node in operation._inbound_nodes if id(node) in known]
        return calls or [node for node in ours if node.operation is operation]

    return [node for operation in graph.operations for node in of(operation)]


def layer_table(model: keras.Model) -> list[dict]:
    """A row per layer: name, kind, output shape (without the batch), parameters, how they are counted, MACs per image.

    MACs (multiply-accumulates) are those of convolutions, dense layers and matrix products; activations, pools,
    normalisations and enlarging count as none, as is usual; those of a layer of a user's own are those of what it is
    made of. A layer that is called again has a row per call, its parameters in the first. Raises NotImplementedError
    for a layer that it can't count.
    """
    rows, seen = [], set()
    for call in calls_of(model):
        layer = call.operation
        if isinstance(layer, layers.InputLayer):
            continue
        if not isinstance(layer, layers.Layer):
            rows += _operation_rows(call)
            continue
        if isinstance(layer, keras.Model) and hasattr(graph_of(layer), "operations"):
            rows += layer_table(layer)
            continue
        shape = tuple(call.output_tensors[0].shape[1:])
        macs = _macs_of(layer, call)
        count = ""
        if hasattr(layer, "kernel"):
            bias = f" + {layer.bias.shape[0]}" if getattr(layer, "bias", None) is not None else ""
            count = "·".join(map(str, layer.kernel.shape)) + bias
        parameters = 0 if layer in seen else layer.count_params()
        rows.append(_row(layer.name, type(layer).__name__, shape, parameters, count, macs))
        seen.add(layer)
    return rows


def _macs_of(layer, call) -> int:
    """The MACs of a call of a layer. Raises NotImplementedError where they can't be counted."""
    shape = call.output_tensors[0].shape[1:]
    if isinstance(layer, layers.SeparableConv1D | layers.SeparableConv2D):
        weights = math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
        return weights * math.prod(shape[:-1])
    if isinstance(layer, layers.DepthwiseConv1D | layers.DepthwiseConv2D):
        return math.prod(layer.kernel.shape) * math.prod(shape[:-1])
    if type(layer) in (layers.Conv1DTranspose, layers.Conv2DTranspose):
        return math.prod(layer.kernel.shape) * math.prod(call.input_tensors[0].shape[1:-1])
    if type(layer) in (layers.Conv1D, layers.Conv2D, layers.Conv3D, Whitening, ScaledConv2D):
        return math.prod(layer.kernel.shape) * math.prod(shape[:-1])
    if type(layer) is layers.Dense:
        return layer.kernel.shape[0] * math.prod(shape)
    of_keras = type(layer).__module__.startswith("keras.")
    if of_keras and not any(len(weight.shape) > 1 for weight in layer.weights):
        return 0
    try:
        return macs(traced_layer(layer, call.input_tensors, call_of(call)))
    except Untraceable:
        if isinstance(layer, layers.LayerNormalization | layers.PReLU) or not layer.weights:
            return 0
        raise NotImplementedError(
            f"layer_table() can't count the MACs of {layer.name}, a {type(layer).__name__}."
        ) from None


def _operation_rows(call) -> list[dict]:
    """The row of an operation that multiplies matrices; none of another."""
    name, shape = type(call.operation).__name__, call.output_tensors[0].shape[1:]
    given = [*call.arguments.args, *call.arguments.kwargs.values()]
    if name in ("Matmul", "Dot"):
        macs = math.prod(shape) * given[0].shape[-1]
    elif name in ("Conv", "DepthwiseConv"):
        macs = math.prod(given[1].shape) * math.prod(shape[:-1])
    elif name in ("Einsum", "Tensordot", "ConvTranspose", "SeparableConv", "DotProductAttention"):
        raise NotImplementedError(f"layer_table() can't count the MACs of {call.operation.name}, keras.ops.{name}.")
    else:
        return []
    return [_row(call.operation.name, f"keras.ops.{name}", tuple(shape), 0, "", macs)]


def _row(name: str, kind: str, output: tuple, parameters: int, count: str, macs: int) -> dict:
    return {"layer": name, "kind": kind, "output": output, "parameters": parameters, "count": count, "macs": macs}


def macs(model: keras.Model) -> int:
    """Multiply-accumulates of one forward pass of one image."""
    return sum(row["macs"] for row in layer_table(model))


def traffic(model: keras.Model) -> list[dict]:
    """A row per layer: its arithmetic and its traffic for one image, forward.

    flops: 2 · MACs. numbers: values read (inputs) and written (outputs), as if each layer went to memory. weights:
    values of its variables, read once per batch. A training step takes about three times all of it: forward, the
    gradients of the inputs, those of the weights. Source: S. Williams et al., Roofline, 2009.
    """
    counted = {row["layer"]: row for row in layer_table(model)}
    rows = []
    for call in calls_of(model):
        layer = call.operation
        if isinstance(layer, layers.InputLayer) or layer.name not in counted:
            continue
        tensors = [*call.input_tensors, *call.output_tensors]
        rows.append(
            {
                "layer": layer.name,
                "kind": type(layer).__name__,
                "flops": 2 * counted[layer.name]["macs"],
                "numbers": sum(math.prod(tensor.shape[1:]) for tensor in tensors),
                "weights": sum(math.prod(weight.shape) for weight in layer.weights),
            }
        )
    return rows


def _essentials(value):
    """A layer's configuration without names, precision and what is not set."""
    if isinstance(value, dict):
        kept = {key: _essentials(item) for key, item in value.items() if key not in _NOT_ARCHITECTURE}
        return {key: item for key, item in kept.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_essentials(item) for item in value]
    return value


_NOT_ARCHITECTURE = {"name", "dtype", "module", "registered_name", "build_config", "seed", "batch_shape"}


_NOT_OF_A_READER = ("keras.", "tensorflow.", "numpy", "shathenet_utils.", "builtins")
WRAPPED_BY_KERAS = {"build", "quantize"}
"""Methods that Keras replaces in every layer."""


def _is_a_readers(value) -> bool:
    """Whether a function or a class is neither Keras's, TensorFlow's, NumPy's nor this package's."""
    return not (value.__module__ or "").startswith(_NOT_OF_A_READER)


def _code(value, seen: tuple = ()):
    """What a function computes, its constants, its closure, and what it uses of its file, whatever file and line it
    stands in; of other values what differs between them. seen: functions and classes that are being described."""

    def of(other):
        return _code(other, (*seen, value))

    if isinstance(value, types.FunctionType | type):
        if any(value is one for one in seen) or (seen and not _is_a_readers(value)):
            return value.__qualname__
        if isinstance(value, type):
            return {name: of(one) for name, one in vars(value).items() if isinstance(one, types.FunctionType)}
        used = {name: value.__globals__[name] for name in _names(value.__code__) if name in value.__globals__}
        return [
            of(value.__code__),
            of(value.__defaults__),
            of([c.cell_contents for c in value.__closure__ or ()]),
            {name: of(one) for name, one in used.items() if not isinstance(one, types.ModuleType)},
        ]
    if isinstance(value, types.CodeType):
        return [value.co_code.hex(), of(value.co_consts), list(value.co_names)]
    if isinstance(value, list | tuple):
        return [of(item) for item in value]
    if isinstance(value, dict):
        return {str(key): of(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if isinstance(value, layers.Layer):
        return [type(value).__name__, _arguments(value), _functions(value)]
    if hasattr(value, "shape"):
        return _array(value)
    plain = value is None or isinstance(value, bool | int | float | complex | str | bytes)
    return repr(value) if plain else type(value).__name__


def _names(code: types.CodeType) -> set[str]:
    """The names that a function's code uses, that of functions inside it included."""
    inside = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*map(_names, inside))


def _array(value) -> str:
    """An array's numbers in short; of a variable, whose numbers training changes, its shape."""
    if isinstance(value, keras.Variable | keras.KerasTensor):
        return f"{type(value).__name__} {tuple(value.shape)}"
    numbers = keras.ops.convert_to_numpy(value)
    return f"{numbers.dtype} {numbers.shape} {hashlib.sha256(numbers.tobytes()).hexdigest()[:16]}"


def _functions(layer) -> dict:
    """The code of a `Lambda`, of a layer's class that a user wrote, and of a user's functions and objects that a layer
    was given, such as an activation; of others the name is enough."""
    if isinstance(layer, layers.Lambda):
        return {"function": _code(layer.function)}
    found = {}
    for name, value in vars(layer).items():
        kind = value if isinstance(value, types.FunctionType) else type(value)
        if (
            name not in WRAPPED_BY_KERAS
            and _is_a_readers(kind)
            and callable(value)
            and not isinstance(value, layers.Layer)
        ):
            found[name] = _code(kind)
    if _is_a_readers(type(layer)):
        found |= _code(type(layer))
    return found


def _arguments(layer) -> dict:
    """A layer's configuration as far as architectures differ by it; where there is none, what the layer holds."""
    try:
        return _essentials(layer.get_config())
    except NotImplementedError:
        hidden = {name: value for name, value in vars(layer).items() if not name.startswith("_")}
        return {
            name: _code(value) for name, value in hidden.items() if name not in _NOT_ARCHITECTURE | WRAPPED_BY_KERAS
        }


def model_digest(model: keras.Model) -> str:
    """Sixteen hex digits that change with the architecture: kinds, arguments, shapes and wiring of layers, the code of
    a user's own.

    Names, precision and weights' values do not enter.
    """
    calls = calls_of(model)
    producer = {id(tensor): index for index, call in enumerate(calls) for tensor in call.output_tensors}
    first = {}
    lines = []
    for index, call in enumerate(calls):
        layer, nested = call.operation, isinstance(call.operation, keras.Model)
        line = {
            "kind": type(layer).__name__,
            "arguments": model_digest(layer) if nested else _arguments(layer),
            "from": [producer[id(tensor)] for tensor in call.input_tensors],
            "output": [list(tensor.shape) for tensor in call.output_tensors],
            "weights": [list(weight.shape) for weight in getattr(layer, "weights", ())],
        }
        if first.setdefault(layer, index) != index:
            line["shared"] = first[layer]
        if code := _functions(layer):
            line |= {"code": code}
        if isinstance(layer, layers.Lambda):
            del line["arguments"]["function"]  # compiled: it would change with its file and line
        if not isinstance(layer, layers.Layer):  # plain arithmetic, such as x + 1: its numbers are no layer's arguments
            given = keras.tree.flatten((call.arguments.args, call.arguments.kwargs))
            given = [value for value in given if not isinstance(value, keras.KerasTensor)]
            line["numbers"] = [_array(value) if hasattr(value, "shape") else str(value) for value in given]
        lines.append(line)
    return hashlib.sha256(json.dumps(lines, sort_keys=True).encode()).hexdigest()[:16]
