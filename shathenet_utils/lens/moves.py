"""Operations that only move numbers, `keras.ops.reshape(x, …)`, `x[:, ::2]`, as steps that `js/engine.js` computes; see
`steps` for what a step is."""

from collections.abc import Callable

import numpy as np

from shathenet_utils.backend import keras
from shathenet_utils.lens.operands import arguments_of, constant
from shathenet_utils.lens.steps import Call, Unknown, size, without_batch


def _reshape(operation, call: Call) -> list[dict]:
    if size(call.shape) != size(call.shapes[0]):
        raise Unknown("over the batch")
    return [{"kind": "flatten"}]


def _expand(operation, call: Call) -> list[dict]:
    axis = operation.axis if isinstance(operation.axis, tuple | list) else [operation.axis]
    rank = len(call.shape) + 1
    if any(one % rank == 0 for one in axis):
        raise Unknown("over the batch")
    return [{"kind": "flatten"}]


def _squeeze(operation, call: Call) -> list[dict]:
    if operation.axis is not None:
        without_batch(operation.axis, len(call.shapes[0]) + 1)
    return _reshape(operation, call)


def _transpose(order_of: Callable) -> Callable:
    """order_of: from the operation and the places of the axes, the batch's first, to their new order."""

    def translate(operation, call: Call) -> list[dict]:
        order = order_of(operation, list(range(len(call.shapes[0]) + 1)))
        if order[0] != 0:
            raise Unknown("over the batch")
        return [{"kind": "transpose", "order": [int(axis) - 1 for axis in order[1:]]}]

    return translate


def _moved(operation, axes: list[int]) -> list[int]:
    source, destination = ([axis % len(axes) for axis in some] for some in (operation.source, operation.destination))
    order = [axis for axis in axes if axis not in source]
    for to, axis in sorted(zip(destination, source, strict=True)):
        order.insert(to, axis)
    return order


def _swapped(axes: list[int], one: int, other: int) -> list[int]:
    axes[one], axes[other] = axes[other], axes[one]
    return axes


def _take(indices_of: Callable) -> Callable:
    """indices_of: from the operation, an axis (without the batch) and its places, to those that the output takes."""

    def translate(operation, call: Call) -> list[dict]:
        shape = call.shapes[0]
        axes = without_batch(operation.axis, len(shape) + 1)
        indices = [
            indices_of(operation, np.arange(side)).tolist() if axis in axes else None for axis, side in enumerate(shape)
        ]
        return [{"kind": "take", "indices": indices}]

    return translate


def _item(operation, call: Call) -> list[dict]:
    """A slice of an input: whole numbers, slices, None and … alone, and all of the batch."""
    key = arguments_of(call)["key"]
    key = list(key) if isinstance(key, tuple | list) else [key]
    shape, rank = call.shapes[0], len(call.shapes[0]) + 1
    if not all(one is None or one is Ellipsis or isinstance(one, int | slice) for one in key):
        raise Unknown("with an index that is computed")
    used = sum(one is not None and one is not Ellipsis for one in key)
    if Ellipsis not in key:
        key.append(Ellipsis)
    at = key.index(Ellipsis)
    key = [*key[:at], *[slice(None)] * (rank - used), *key[at + 1 :]]
    if key[0] != slice(None):
        raise Unknown("over the batch")
    kept = [one for one in key if one is not None][1:]
    indices = [
        np.atleast_1d(np.arange(side)[one]).tolist() if one != slice(None) else None
        for one, side in zip(kept, shape, strict=True)
    ]
    return [{"kind": "take", "indices": indices}]


def _split(operation, call: Call) -> list[list[dict]]:
    shape = call.shapes[0]
    (axis,) = without_batch(operation.axis, len(shape) + 1)
    parts = operation.indices_or_sections
    found = np.split(np.arange(shape[axis]), parts if isinstance(parts, int) else list(parts))
    return [
        [{"kind": "take", "indices": [p.tolist() if at == axis else None for at in range(len(shape))]}] for p in found
    ]


def _unstack(operation, call: Call) -> list[list[dict]]:
    shape = call.shapes[0]
    (axis,) = without_batch(operation.axis, len(shape) + 1)
    return [
        [{"kind": "take", "indices": [[place] if at == axis else None for at in range(len(shape))]}]
        for place in range(shape[axis])
    ]


def _tile(operation, call: Call) -> list[dict]:
    shape = call.shapes[0]
    repeats = [operation.repeats] if isinstance(operation.repeats, int) else [int(one) for one in operation.repeats]
    repeats = [1] * (len(shape) + 1 - len(repeats)) + repeats
    if len(repeats) != len(shape) + 1 or repeats[0] != 1:
        raise Unknown("over the batch")
    indices = [np.tile(np.arange(side), times).tolist() for side, times in zip(shape, repeats[1:], strict=True)]
    return [{"kind": "take", "indices": indices}]


def _broadcast(operation, call: Call) -> list[dict]:
    shape = call.shapes[0]
    if len(shape) != len(call.shape):
        raise Unknown("over the batch")
    indices = [None if one == other else [0] * other for one, other in zip(shape, call.shape, strict=True)]
    return [{"kind": "take", "indices": indices}]


def _pad(operation, call: Call) -> list[dict]:
    shape, width = call.shapes[0], [tuple(map(int, pair)) for pair in operation.pad_width]
    width = width * (len(shape) + 1) if len(width) == 1 else width
    if width[0] != (0, 0):
        raise Unknown("over the batch")
    if operation.mode != "constant":
        if operation.mode not in ("reflect", "symmetric", "edge", "wrap"):
            raise Unknown(f"with the mode {operation.mode}")
        pairs = zip(shape, width[1:], strict=True)
        return [{"kind": "take", "indices": [np.pad(np.arange(n), pair, operation.mode).tolist() for n, pair in pairs]}]
    value = arguments_of(call).get("constant_values")
    number = 0.0 if value is None else float(constant(value))
    return [{"kind": "pad", "padding": [list(pair) for pair in width[1:]], "value": number}]


def _concatenate(operation, call: Call) -> list[dict]:
    (axis,) = without_batch(operation.axis, len(call.shape) + 1)
    if len(call.shapes) != len(keras.tree.flatten(call.node.arguments.args)):
        raise Unknown("of constants")
    return [{"kind": "concatenate", "axis": axis}]


MOVES = {
    "Reshape": _reshape, "ExpandDims": _expand, "Squeeze": _squeeze,
    "Transpose": _transpose(lambda operation, axes: operation.axes or axes[::-1]),
    "Swapaxes": _transpose(lambda operation, axes: _swapped(axes, operation.axis1, operation.axis2)),
    "Moveaxis": _transpose(_moved),
    "GetItem": _item, "Split": _split, "Unstack": _unstack, "Tile": _tile, "BroadcastTo": _broadcast, "Pad": _pad,
    "Flip": _take(lambda operation, places: places[::-1]),
    "Roll": _take(lambda operation, places: np.roll(places, operation.shift)),
    "Repeat": _take(lambda operation, places: np.repeat(places, operation.repeats)),
    "Concatenate": _concatenate, "Stack": _concatenate,
}  # fmt: skip
"""Name of the operation → the function that makes steps of its call."""
