"""What translators of layers and of operations share: a call, the steps that compute it, and the error of what is
unknown.

A step is a dict: `kind`, one that `js/engine.js` knows, its settings, and where needed `shape` (of its output, without
the batch; the call's without), `inputs` (0, 1 … for the call's inputs, -1 for the step before; without, the call's
inputs for the first step and the step before for the others) and `weights`, a name → a Keras variable, an array or a
`Weight`. `{"model": model}` in a step's place stands for all that a functional model computes.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from shathenet_utils.backend import keras


class LensError(ValueError):
    """A network or an image that the lens can't show; one sentence says why."""


class Unknown(Exception):
    """What of a layer the lens doesn't know."""


@dataclasses.dataclass(frozen=True)
class Reshaped:
    """Numbers of `rank` axes, and of whatever axes stand before them, in another shape."""

    rank: int
    shape: tuple[int, ...]

    def __call__(self, numbers: np.ndarray) -> np.ndarray:
        return numbers.reshape(*numbers.shape[: numbers.ndim - self.rank], *self.shape)


@dataclasses.dataclass(frozen=True)
class Weight:
    """Numbers that a step computes with.

    value: a Keras variable, or an array that never changes. arrange: how its numbers are put in the order that
    the lens wants; it acts on the last axes, whatever axes stand before them. Two of them that do the same are equal.
    """

    value: object
    arrange: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def path(self) -> str | None:
        """The path of a weight that training changes; None of a constant."""
        return self.value.path if isinstance(self.value, keras.Variable) else None

    def arranged(self, numbers=None) -> np.ndarray:
        """The weight's numbers, or others in their place, (…, *shape), in the order that the lens wants."""
        numbers = np.asarray(keras.ops.convert_to_numpy(self.value) if numbers is None else numbers)
        return numbers if self.arrange is None else self.arrange(numbers)


@dataclasses.dataclass(frozen=True)
class Call:
    """A call of a layer or an operation in a model's graph: Keras's node, and the shapes around it without the batch.

    shapes: of the inputs, in order. shape: of the output; of several, of the first.
    """

    node: object
    shapes: list[list[int]]
    shape: list[int]

    def place(self, value) -> int | None:
        """Which of the call's inputs a value is; None where it is no Keras tensor."""
        return next((place for place, one in enumerate(self.node.input_tensors) if one is value), None)


def reshaped(value, shape) -> Weight:
    """A weight in another shape."""
    return Weight(value, Reshaped(len(value.shape), tuple(map(int, shape))))


def without_batch(axes, rank: int) -> list[int]:
    """Axes of a tensor of that rank, sorted and counted without the batch. Raises Unknown where one is the batch's."""
    axes = range(rank) if axes is None else [axes] if isinstance(axes, int) else list(axes)
    found = sorted(int(axis) % rank for axis in axes)
    if 0 in found:
        raise Unknown("over the batch")
    return [axis - 1 for axis in found]


def size(shape) -> int:
    return math.prod(shape)
