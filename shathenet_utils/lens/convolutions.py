"""Convolutions and pools as steps, in one and two dimensions; see `steps` for what a step is.

before, after: the shapes of input and output, without the batch; one dimension is a map of one column.
"""

import dataclasses

from shathenet_utils.lens.steps import Reshaped, Unknown, Weight


def convolution(before, after, kernel, bias, strides, padding, dilation, groups: int | None = 1) -> list[dict]:
    """kernel: (height, width, channels per group, filters), or without the width. groups: None where only the
    channels tell."""
    shape = _square(kernel.shape)
    groups = before[-1] // shape[2] if groups is None else groups
    return _conv(before, after, kernel, shape, bias, strides, padding, dilation, groups)


def depthwise(before, after, kernel, bias, strides, padding, dilation) -> list[dict]:
    """kernel: (height, width, channels, filters per channel), or without the width: the same numbers in the same order
    as a group per channel."""
    rows, columns, channels, each = _square(kernel.shape)
    return _conv(before, after, kernel, [rows, columns, 1, channels * each], bias, strides, padding, dilation, channels)


def _conv(before, after, kernel, shape, bias, strides, padding, dilation, groups: int, arrange=None, **more):
    if len(after) not in (2, 3):
        raise Unknown("in three dimensions")
    strides, dilation = _pair(strides, after), _pair(dilation, after)
    if padding == "causal":
        more["top_left"] = [(shape[0] - 1) * dilation[0], 0]
    weights = {"kernel": Weight(kernel, arrange or Reshaped(len(kernel.shape), tuple(map(int, shape))))}
    if bias is not None:
        weights["bias"] = bias
    step = {
        "kind": "conv", "kernel_shape": [int(side) for side in shape], "strides": strides, "padding": padding,
        "dilation": dilation, "groups": int(groups), "activation": "linear", "weights": weights, **more,
    }  # fmt: skip
    return lifted(step, before, after)


@dataclasses.dataclass(frozen=True)
class _Turned:
    """The kernel of a transposed convolution, of `rank` axes, as that of the convolution that it equals, (height,
    width, channels, filters): turned by half a turn."""

    rank: int
    shape: tuple[int, ...]

    def __call__(self, numbers):
        rows, columns, channels, filters = self.shape
        numbers = numbers.reshape(*numbers.shape[: numbers.ndim - self.rank], rows, columns, filters, channels)
        return numbers[..., ::-1, ::-1, :, :].swapaxes(-1, -2)


def transposed(before, after, kernel, bias, strides, padding, dilation) -> list[dict]:
    """A transposed convolution: zeros between the input's pixels, then a convolution of stride 1.

    kernel: (height, width, filters, channels), or without the width. In TensorFlow it is the gradient of the
    convolution from its output to its input, whose padding it shares.
    """
    rows, columns, filters, channels = _square(kernel.shape)
    strides, dilation = _pair(strides, after), _pair(dilation, after)
    first = []
    for side in range(2):
        small, large = (shape[side] if side < len(shape) - 1 else 1 for shape in (before, after))
        reach = ((rows, columns)[side] - 1) * dilation[side] + 1
        around = max((small - 1) * strides[side] + reach - large, 0) // 2 if padding == "same" else 0
        first.append(reach - 1 - around)
    turned = _Turned(len(kernel.shape), (rows, columns, channels, filters))
    return _conv(
        before, after, kernel, turned.shape, bias, 1, padding, dilation, 1, turned, spread=strides, top_left=first
    )  # fmt: skip


def pooling(before, after, how: str, size, strides, padding) -> list[dict]:
    if len(after) not in (2, 3):
        raise Unknown("in three dimensions")
    size = _pair(size, after)
    strides = size if strides is None else _pair(strides, after)
    return lifted({"kind": "pool", "how": how, "size": size, "strides": strides, "padding": padding}, before, after)


def lifted(step: dict, before, after) -> list[dict]:
    """A step on maps as it acts on [length, channels]: as on a map of one column."""
    if len(after) == 3:
        return [step]
    return [
        {"kind": "flatten", "shape": [before[0], 1, before[1]], "part": "as a map"},
        step | {"shape": [after[0], 1, after[1]], "part": "on one column"},
        {"kind": "flatten"},
    ]


def _square(shape) -> list[int]:
    """A kernel's shape in two dimensions."""
    shape = [int(side) for side in shape]
    if len(shape) not in (3, 4):
        raise Unknown("in three dimensions")
    return shape if len(shape) == 4 else [shape[0], 1, *shape[1:]]


def _pair(value, after) -> list[int]:
    """Rows and columns of a stride, a size or a dilation that may be one number, or of one dimension."""
    values = [int(one) for one in value] if isinstance(value, tuple | list) else [int(value)]
    if len(after) == 2:
        return [values[0], 1]
    return values * 2 if len(values) == 1 else values
