"""A layer or a function of a reader's own as a functional model that computes the same in inference.

Its code is run on symbolic tensors: where it uses Keras's layers and `keras.ops` alone, that leaves a graph. The graph
is then compared with the code on random numbers, for code may do what no graph holds.
"""

import contextlib
import functools
import inspect
from collections.abc import Callable

import numpy as np

from shathenet_utils.backend import keras, layers


class Untraceable(Exception):
    """Code that leaves no graph, or not one that computes the same; its words say which, if it is the latter."""


def call_of(node) -> Callable[..., tuple[tuple, dict]]:
    """How a layer was called: a function from new tensors in place of the node's to arguments, (args, kwargs)."""

    def arguments(*new):
        swap = dict(zip(map(id, node.input_tensors), new, strict=True))
        given = (node.arguments.args, node.arguments.kwargs)
        return keras.tree.map_structure(lambda one: swap.get(id(one), one), given)

    return arguments


def traced_layer(layer, tensors, arguments=lambda tensor: ((tensor,), {}), *, keep: bool = False) -> keras.Model:
    """The functional model that a layer's `call` makes in inference.

    tensors: Keras tensors, whose shapes and dtypes the model's inputs take. arguments: a function from as many tensors
    to what the layer is called with, (args, kwargs). keep: the layers inside keep their part in it, so that models of
    its tensors can be made; else they are left as they were. Raises Untraceable where its code can't be followed.
    """
    signature = inspect.signature(layer.call)
    inference = {"training": False} if "training" in signature.parameters else {}

    def call(function, *given):
        args, kwargs = arguments(*given)
        return function(*args, **kwargs | inference)

    inside = [] if keep else [one for one in layer._flatten_layers() if one is not layer]
    with _joining_symbols(layer.variables):
        return _traced(lambda *new: call(layer.call, *new), lambda *new: call(layer, *new), tensors, inside)


_OPERATORS = {
    "__add__": "add", "__sub__": "subtract", "__mul__": "multiply", "__truediv__": "true_divide", "__pow__": "power",
    "__floordiv__": "floor_divide", "__mod__": "mod", "__matmul__": "matmul",
}  # fmt: skip


@functools.cache
def _symbolic(kind: type) -> type:
    """A class of Keras variables whose `variable * tensor` works with symbolic tensors, as `tensor * variable` does."""

    def operator(name: str, operation: str) -> Callable:
        def method(self, other):
            if isinstance(other, keras.KerasTensor):
                return getattr(keras.ops, operation)(self, other)
            return getattr(kind, name)(self, other)

        return method

    return type(kind.__name__, (kind,), {name: operator(name, operation) for name, operation in _OPERATORS.items()})


@contextlib.contextmanager
def _joining_symbols(variables):
    kinds = [(variable, type(variable)) for variable in variables]
    try:
        for variable, kind in kinds:
            variable.__class__ = _symbolic(kind)
        yield
    finally:
        for variable, kind in kinds:
            variable.__class__ = kind


def traced_function(function: Callable, shape) -> keras.Model:
    """The functional model that a function of a tensor, or a layer as a function, makes of one of a shape without the
    batch. Raises Untraceable where its code can't be followed."""
    within = list(function._flatten_layers()) if isinstance(function, layers.Layer) else []
    return _traced(function, function, [keras.KerasTensor((None, *shape))], within)


def _traced(symbolic: Callable, numeric: Callable, tensors, layers_inside: list) -> keras.Model:
    inputs = [keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype) for tensor in tensors]
    nodes = [(one, len(one._inbound_nodes), len(one._outbound_nodes)) for one in layers_inside]
    try:
        outputs = keras.tree.flatten(symbolic(*inputs))
        if not outputs or not all(isinstance(one, keras.KerasTensor) for one in outputs):
            raise Untraceable
        inside = keras.Model(inputs, outputs)
        for seed in (0, 1):
            _compare(inside, numeric, [_random(tensor, seed) for tensor in tensors])
    except Untraceable:
        raise
    except Exception:  # whatever a reader's code does with a tensor that holds no numbers
        raise Untraceable from None
    finally:
        for one, inbound, outbound in nodes:  # the reader's layers are left as they were
            del one._inbound_nodes[inbound:], one._outbound_nodes[outbound:]
    return inside


def _random(tensor, seed: int):
    numbers = np.random.default_rng(seed).normal(0, 1, (tensor.shape[0] or 2, *tensor.shape[1:]))
    return keras.ops.convert_to_tensor(numbers, dtype=tensor.dtype)


def _compare(inside: keras.Model, numeric: Callable, values: list) -> None:
    """Raises Untraceable unless the model computes what the code does."""
    theirs, ours = keras.tree.flatten(numeric(*values)), keras.tree.flatten(inside(values, training=False))
    for one, other in zip(theirs, ours, strict=True):
        one, other = (np.asarray(keras.ops.convert_to_numpy(each), np.float64) for each in (one, other))
        close = one.shape == other.shape and np.allclose(one, other, rtol=1e-4, atol=1e-5 * max(1, abs(one).max()))
        if not close:
            raise Untraceable("which computes something else each time")
