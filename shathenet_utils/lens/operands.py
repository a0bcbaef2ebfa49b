"""What an operation was called with."""

import inspect

import numpy as np

from shathenet_utils.backend import keras
from shathenet_utils.lens.steps import Call, Unknown, reshaped


def arguments_of(call: Call) -> dict:
    """What the operation was called with, by the names of its `call`."""
    bound = inspect.signature(call.node.operation.call).bind(*call.node.arguments.args, **call.node.arguments.kwargs)
    return dict(bound.arguments)


def constant(value) -> object:
    """An argument that isn't computed: a Keras variable, or an array of numbers."""
    if isinstance(value, keras.Variable):
        return value
    try:
        numbers = np.asarray(keras.ops.convert_to_numpy(value))
    except Exception:  # whatever it is, it is no array
        raise Unknown("with an argument that holds no numbers") from None
    if numbers.dtype.kind not in "fiub":
        raise Unknown("with an argument that holds no numbers")
    return numbers.astype(np.float32)


def operands(values, call: Call, rank: int | None = None) -> dict:
    """Operands of a step: inputs, numbers and weights, {"operands": …, "weights": …}.

    rank: of the result, with the batch, where they are joined number by number: inputs must then have it, and constants
    of the same rank a batch of one.
    """
    found, weights = [], {}
    for value in values:
        place = call.place(value)
        if place is not None:
            if rank is not None and len(value.shape) != rank:
                raise Unknown("over the batch")
            found.append({"input": place})
            continue
        weight = constant(value)
        shape = tuple(weight.shape)
        if rank is not None and len(shape) >= rank:
            if len(shape) > rank or shape[0] != 1:
                raise Unknown("over the batch")
            weight = reshaped(weight, shape[1:])
        if shape == () and not isinstance(weight, keras.Variable):
            found.append({"value": float(weight)})
        else:
            name = f"operand {len(found)}"
            weights[name] = weight
            found.append({"weight": name})
    return {"operands": found, "weights": weights}
