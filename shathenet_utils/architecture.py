"""What can be counted of any network: its layers, parameters, multiply-adds, memory traffic; and its digest."""

import hashlib
import json
import math
import types

from shathenet_utils.backend import keras, layers
from shathenet_utils.blocks import ScaledConv2D, Whitening, ZCAWhitening


def graph_of(model: keras.Model):
    """The graph of operations behind a model: itself, or what a `Sequential` keeps."""
    return model._functional if isinstance(model, keras.Sequential) else model


def calls_of(model: keras.Model) -> list:
    """Keras's nodes, one per call of a layer in the model's graph; a shared layer has several."""
    graph = graph_of(model)
    ours = {id(node) for nodes in graph._nodes_by_depth.values() for node in nodes}
    return [node for operation in graph.operations for node in operation._inbound_nodes if id(node) in ours]


def layer_table(model: keras.Model) -> list[dict]:
    """A row per layer: name, kind, output shape (without the batch), parameters, how they are counted, MACs per image.

    MACs (multiply-accumulates) are those of convolutions and dense layers; activations, pools,
    normalisations and enlarging count as none, as is usual. A layer that is called again has a row
    per call, its parameters in the first. Raises NotImplementedError for a layer with a kernel that it can't count.
    """
    rows, seen = [], set()
    for call in calls_of(model):
        layer = call.operation
        if isinstance(layer, layers.InputLayer) or not isinstance(layer, layers.Layer):
            continue
        if isinstance(layer, keras.Model):
            rows += layer_table(layer)
            continue
        shape = tuple(call.output_tensors[0].shape[1:])
        macs, count = 0, ""
        if isinstance(layer, layers.DepthwiseConv2D):
            macs = math.prod(layer.kernel.shape) * math.prod(shape[:2])
        elif type(layer) in (layers.Conv1D, layers.Conv2D, Whitening, ScaledConv2D):
            macs = math.prod(layer.kernel.shape) * math.prod(shape[:-1])
        elif type(layer) is layers.Dense:
            macs = layer.kernel.shape[0] * math.prod(shape)
        elif isinstance(layer, ZCAWhitening):
            macs = math.prod(layer.matrix.shape)
        elif hasattr(layer, "kernel"):
            raise NotImplementedError(f"layer_table() can't count the MACs of {layer.name}, a {type(layer).__name__}.")
        if hasattr(layer, "kernel"):
            count = "·".join(map(str, layer.kernel.shape)) + (f" + {layer.bias.shape[0]}" if layer.use_bias else "")
        rows.append(
            {
                "layer": layer.name,
                "kind": type(layer).__name__,
                "output": shape,
                "parameters": 0 if layer in seen else layer.count_params(),
                "count": count,
                "macs": macs,
            }
        )
        seen.add(layer)
    return rows


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


def _code(value):
    """What a function computes, its constants and its closure, whatever file and line it stands in."""
    if isinstance(value, types.FunctionType):
        return [
            _code(value.__code__),
            _code(value.__defaults__),
            _code([c.cell_contents for c in value.__closure__ or ()]),
        ]
    if isinstance(value, types.CodeType):
        return [value.co_code.hex(), _code(value.co_consts), list(value.co_names)]
    if isinstance(value, list | tuple):
        return [_code(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(map(repr, value))
    plain = value is None or isinstance(value, bool | int | float | complex | str | bytes)
    return repr(value) if plain else type(value).__name__


def _functions(layer) -> dict:
    """The code of a `Lambda`, or of a layer's class that a user wrote; of other layers the name says enough."""
    if isinstance(layer, layers.Lambda):
        return {"function": _code(layer.function)}
    if type(layer).__module__.startswith(("keras.", "shathenet_utils.")):
        return {}
    return {name: _code(value) for name, value in vars(type(layer)).items() if isinstance(value, types.FunctionType)}


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
            "arguments": model_digest(layer) if nested else _essentials(layer.get_config()),
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
            line["numbers"] = [str(value) for value in given if not isinstance(value, keras.KerasTensor)]
        lines.append(line)
    return hashlib.sha256(json.dumps(lines, sort_keys=True).encode()).hexdigest()[:16]
