"""A Keras model's graph as the list of steps that `js/engine.js` computes: nested models, and layers of a reader's own,
unfolded."""

import dataclasses
import inspect

from shathenet_utils.architecture import graph_of
from shathenet_utils.backend import keras, layers
from shathenet_utils.lens import known_layers, known_operations
from shathenet_utils.lens.steps import Call, LensError, Unknown, Weight
from shathenet_utils.tracing import Untraceable, call_of, traced_layer

INPUT_RANGE = "input range"
"""The name of the step that scales the input of a network for other numbers than 0 to 255."""


@dataclasses.dataclass
class Graph:
    """What the lens computes of a network.

    layers: in the order in which they can be computed, the input first and the output last; a dict each: `name`;
    `type`, Keras's name of what it is; `kind`, one that the lens knows, or "unknown"; `inputs`, the places of those
    before it; `shape` of its output without the batch; its settings; and `weights`, a name → a key of `weights`.
    model: Keras's model from the input to the output.
    """

    model: keras.Model
    layers: list[dict] = dataclasses.field(default_factory=list)
    weights: dict[str, Weight] = dataclasses.field(default_factory=dict)

    def add(self, name: str, type: str, step: dict, inputs: list[int]) -> int:
        """Append a step; returns its place."""
        weights = {of: self._key(name, of, weight) for of, weight in step.get("weights", {}).items()}
        self.layers.append({"name": name, "type": type, **step, "inputs": list(inputs), "weights": weights})
        self.layers[-1].pop("part", None)
        return len(self.layers) - 1

    def _key(self, name: str, of: str, weight) -> str:
        """The key of a weight: its path, which layers of one name in two models share, made unique."""
        weight = weight if isinstance(weight, Weight) else Weight(weight)
        known = next(
            (key for key, one in self.weights.items() if one.value is weight.value and one.arrange == weight.arrange),
            None,
        )
        if known is not None:
            return known
        key = path = weight.path or f"{name}/{of}"
        count = 1
        while key in self.weights:
            count += 1
            key = f"{path} #{count}"
        self.weights[key] = weight
        return key


def graph(
    model, output: str | int | None = None, *, fixed: bool = True, input_range: tuple[float, float] = (0, 255)
) -> Graph:
    """The steps of a network, see `Graph`.

    model: a `keras.Model` with one input of images, (height, width, channels) all known: functional, Sequential, or a
    subclass that Keras can call on symbolic tensors. output: of several, the one that is shown, by its name or number;
    also any layer's name, to go as far as that. fixed: whether the weights are the model's own; where a weight
    history takes their place, no layer can be shown that uses its weights in other forms than they are kept.
    input_range: what the numbers 0 and 255 of an image are to the network; with others a step after the input scales
    them. What isn't known is "unknown", and named. Raises LensError for another model.
    """
    inside = _functional(model)
    shapes = [tuple(one.shape[1:]) for one in inside.inputs]
    if len(shapes) != 1:
        raise LensError(
            f"The lens opens networks with one input; {model.name} has {len(shapes)}: {_names(inside.inputs)}. Open "
            "the part that belongs to one of them: keras.Model(that input, an output that needs it alone)."
        )
    if len(shapes[0]) != 3 or None in shapes[0]:
        raise LensError(
            f"The lens opens networks whose input is images of known height, width and channels, not of {shapes[0]}."
        )
    tensor = _chosen(model, inside, output)
    start = inside.inputs[0]
    found = Graph(keras.Model(start, tensor))
    found.add(start.name, "InputLayer", {"kind": "input", "shape": list(shapes[0])}, [])
    places = {id(start): 0}
    if tuple(input_range) != (0, 255):
        low, high = map(float, input_range)
        scale = {"kind": "scale", "factor": [(high - low) / 255], "offset": [low], "shape": list(shapes[0])}
        places[id(start)] = found.add(INPUT_RANGE, "Rescaling", scale, [0])
    _Unfolding(found, fixed).model(inside, places, [tensor], "")
    if places[id(tensor)] != len(found.layers) - 1:  # the input itself, or what an earlier layer hands on
        shape = list(tensor.shape[1:])
        found.add("output", "Identity", {"kind": "identity", "shape": shape}, [places[id(tensor)]])
    return found


def _functional(model):
    """The functional model that computes what `model` does. Raises LensError where there is none."""
    if not isinstance(model, keras.Model):
        raise LensError(f"The lens opens Keras models, not {type(model).__name__}.")
    if isinstance(model, keras.Sequential) and not getattr(model, "inputs", None):
        raise LensError(
            f"{model.name} doesn't know its input yet: add a keras.Input of the images' shape as the first entry of "
            "the Sequential, such as keras.Input((32, 32, 3))."
        )
    if inside := as_functional(model):
        return inside
    shape = _called_on(model)
    if shape is None:
        raise LensError(
            f"{model.name} doesn't know its input yet: call it on a batch of images once, such as "
            f"{model.name}(images[:1])."
        )
    try:
        return traced_layer(model, [keras.KerasTensor(shape)], keep=True)
    except Untraceable:
        raise LensError(
            f"The lens can't follow {type(model).__name__}.call: it opens functional and Sequential models, and "
            "subclasses whose call uses Keras's layers and keras.ops alone."
        ) from None


_WRAPPING = {
    "Add", "Subtract", "Multiply", "Power", "Negative", "Square", "Sum", "Prod", "Matmul", "Dot", "Einsum",
}  # fmt: skip
"""Operations, and layers of the same names, that can leave the range of whole numbers of a few bits."""
_MERGE = layers.Add.__mro__[1]
"""What Keras's layers of several inputs have in common."""
_FUNCTIONAL = type(keras.Model(one := keras.Input((1,)), one))


def as_functional(layer):
    """The functional model that a nested model is, or that a Sequential keeps; None of other layers, and of a model
    whose class has a `call` of its own."""
    if isinstance(layer, keras.Sequential):
        return graph_of(layer) if type(layer).call is keras.Sequential.call and layer.built else None
    return layer if isinstance(layer, _FUNCTIONAL) and type(layer).call is _FUNCTIONAL.call else None


def _called_on(model) -> tuple | None:
    """The shape of the one tensor that a subclassed model was called on, with None for the batch."""
    shapes = getattr(model, "_build_shapes_dict", None) or {}
    found = [shape for shape in shapes.values() if shape is not None]
    return (None, *found[0][1:]) if len(found) == 1 and isinstance(found[0], tuple | list) else None


def _names(tensors) -> str:
    return ", ".join(f"“{tensor.name}”" for tensor in tensors)


def _chosen(model, inside, output: str | int | None):
    """The Keras tensor that the last layer of the lens computes."""
    tensors = inside.outputs
    names = getattr(inside, "output_names", None) or [tensor._keras_history.operation.name for tensor in tensors]
    if output is None and len(tensors) == 1:
        return tensors[0]
    choices = ", ".join(f"“{name}”" for name in names)
    if output is None:
        raise LensError(
            f"{model.name} has {len(tensors)} outputs: choose one by its name or number, output={names[0]!r} or "
            f"output=0. They are {choices}."
        )
    if isinstance(output, int) and not isinstance(output, bool) and -len(tensors) <= output < len(tensors):
        return tensors[output]
    if output in names:
        return tensors[names.index(output)]
    for operation in inside.operations:
        if operation.name == output and isinstance(operation, layers.Layer):
            node = next(node for node in _nodes(inside) if node.operation is operation)
            return node.output_tensors[0]
    raise LensError(f"{model.name} has no output {output!r}, and no layer of that name: its outputs are {choices}.")


def _nodes(inside) -> list:
    """The calls that make up a functional model, those that others need first."""
    by_depth = inside._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def _needed(inside, tensors) -> list:
    """Of a functional model's calls those that some tensors need."""
    wanted, order = {id(tensor) for tensor in tensors}, []
    for node in reversed(_nodes(inside)):
        if any(id(tensor) in wanted for tensor in node.output_tensors):
            order.append(node)
            wanted |= {id(tensor) for tensor in node.input_tensors}
    return order[::-1]


class _Unfolding:
    """Appends the steps of models to a graph."""

    def __init__(self, found: Graph, fixed: bool):
        self.found, self.fixed = found, fixed

    def model(self, inside, places: dict[int, int], tensors, prefix: str) -> None:
        """Of a functional model what some of its tensors need. places: id of a Keras tensor → where it is computed."""
        batch = inside.inputs[0].shape[:1]
        for node in _needed(inside, tensors):
            if isinstance(node.operation, layers.InputLayer) or not node.input_tensors:
                continue
            before = [places[id(tensor)] for tensor in node.input_tensors]
            outputs = self._call(node, before, prefix + node.operation.name, batch)
            places.update(zip(map(id, node.output_tensors), outputs, strict=True))

    def _call(self, node, before: list[int], name: str, batch: tuple) -> list[int]:
        """Unfold a call; the places of its outputs."""
        operation = node.operation
        shapes = [list(tensor.shape[1:]) for tensor in node.output_tensors]
        if any(None in shape for shape in shapes):
            shapes = self._measured(node, before) or shapes
        try:
            if any(tensor.shape[:1] != batch for tensor in (*node.input_tensors, *node.output_tensors)):
                raise Unknown("over the batch")
            if any(None in shape for shape in shapes):
                raise Unknown("of an unknown size")
            call = Call(node, [self.found.layers[place]["shape"] for place in before], shapes[0])
            inside, steps = self._translated(operation, call)
        except (Unknown, Untraceable) as unknown:
            step = {"kind": "unknown"}
            told = _named(operation, str(unknown))
            return [self.found.add(name, told, step | {"shape": shape}, before) for shape in shapes]
        if inside is not None:
            return self._nested(inside, before, f"{name}/")
        return [
            self._append(some, before, name, _type(operation), shape) for some, shape in zip(steps, shapes, strict=True)
        ]

    def _measured(self, node, before: list[int]) -> list[list[int]] | None:
        """The shapes of a call's outputs, where Keras knows them only once it computes; None where it can't."""
        zeros = [
            keras.ops.zeros((2, *self.found.layers[place]["shape"]), dtype=tensor.dtype)
            for place, tensor in zip(before, node.input_tensors, strict=True)
        ]
        args, kwargs = call_of(node)(*zeros)
        try:
            return [list(one.shape[1:]) for one in keras.tree.flatten(node.operation(*args, **kwargs))]
        except Exception:  # whatever a layer can't do with zeros
            return None

    def _translated(self, operation, call: Call):
        """What a call is unfolded to: (a functional model, None), or (None, the steps of each output)."""
        if _is_masked(call.node):
            raise Unknown("with a mask")
        if (inside := as_functional(operation)) is not None:
            return inside, None
        if getattr(operation, "quantization_mode", None):
            raise Unknown(f"in {operation.quantization_mode}")
        if type(operation).__name__ in _WRAPPING and "int" in (dtype := call.node.output_tensors[0].dtype):
            raise Unknown(f"in {dtype}, whose numbers wrap around")
        if not isinstance(operation, layers.Layer):
            return None, known_operations.steps(call)
        translate = known_layers.translation(operation)
        if translate is not None:
            if len(call.shapes) != 1 and not isinstance(operation, _MERGE):
                raise Unknown("called with several tensors")
            return None, [translate(operation, call)]
        inside = traced_layer(operation, call.node.input_tensors, call_of(call.node))
        if not self.fixed and _uses_weights_in_other_forms(operation, inside):
            raise Unknown("whose weights are used in other forms than they are kept")
        return inside, None

    def _nested(self, inside, before: list[int], prefix: str) -> list[int]:
        within = dict(zip(map(id, inside.inputs), before, strict=True))
        self.model(inside, within, inside.outputs, prefix)
        return [within[id(tensor)] for tensor in inside.outputs]

    def _append(self, steps: list[dict], before: list[int], name: str, type: str, shape: list[int]) -> int:
        """Append the steps of one output of a call to the graph; the place of the last."""
        last = None
        for number, step in enumerate(steps):
            inputs = step.get("inputs", [-1] if number else range(len(before)))
            inputs = [last if place < 0 else before[place] for place in inputs]
            if "model" in step:
                (last,) = self._nested(step["model"], inputs, f"{name}/")
                continue
            own = name if number == len(steps) - 1 else f"{name}/{step.get('part', number + 1)}"
            last = self.found.add(own, type, {"shape": shape} | step, inputs)
        return last


def _type(operation) -> str:
    name = type(operation).__name__
    return name if isinstance(operation, layers.Layer) else f"keras.ops.{name}"


def _named(operation, reason: str) -> str:
    """What an unknown layer is called: its type stands first."""
    return reason if reason.startswith(_type(operation)) else f"{_type(operation)} {reason}".strip()


def _is_masked(node) -> bool:
    """Whether a layer gets a mask that Keras hands on beside a tensor, and takes it into account."""
    masks = [mask for one in node.input_tensors if (mask := getattr(one, "_keras_mask", None)) is not None]
    return bool(masks) and any(name.endswith("mask") for name in inspect.signature(node.operation.call).parameters)


def _uses_weights_in_other_forms(layer, inside) -> bool:
    """Whether a traced layer has weights that its graph doesn't hold as they are."""
    held = {id(variable) for variable in inside.variables}
    for node in _nodes(inside):
        held |= {id(one) for one in keras.tree.flatten((node.arguments.args, node.arguments.kwargs))}
    return any(id(variable) not in held for variable in layer.weights)
