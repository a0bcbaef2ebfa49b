"""Which function of `js/activations.js` a function of Python is, whatever it is called."""

import functools
from collections.abc import Callable

import numpy as np

from shathenet_utils.backend import keras
from shathenet_utils.lens.steps import Unknown
from shathenet_utils.tracing import Untraceable, traced_function

ACTIVATIONS = (
    "linear", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "sigmoid", "tanh", "softplus",
    "softsign", "exponential", "hard_sigmoid", "hard_silu", "hard_tanh", "hard_shrink", "soft_shrink", "tanh_shrink",
    "log_sigmoid", "mish", "squareplus", "sparse_plus", "sparse_sigmoid", "softmax", "log_softmax",
)  # fmt: skip
"""Those of Keras that the lens computes, as Keras names them; the last two act on all channels."""


def with_activation(steps: list[dict], function: Callable | None, shape) -> list[dict]:
    """A layer's steps, and its activation: of the last convolution or dense layer among them where the lens knows the
    function, else as steps of its own. shape: of the output, without the batch."""
    if function is None:
        return steps
    name = named(function, len(shape) + 1)
    if name == "linear":
        return steps
    if name is None:
        try:
            return [*steps, {"model": traced_function(function, shape)}]
        except Untraceable:
            raise Unknown(f"with activation {_called(function)}") from None
    place = max((at for at, step in enumerate(steps) if "activation" in step), default=len(steps) - 1)
    return [*steps[:place], steps[place] | {"activation": name}, *steps[place + 1 :]]


def named(function: Callable, rank: int) -> str | None:
    """The name, of `ACTIVATIONS` or "gelu_tanh", of a function that is one of Keras's, or computes the same numbers as
    one, such as `tf.nn.relu`, of tensors of that rank, the batch's axis included; None of another."""
    name = _called(function)
    if name in ACTIVATIONS and getattr(keras.activations, name) is function:
        return name
    if isinstance(function, keras.layers.Layer) or rank > 5:  # TensorFlow's softmax takes no more
        return None
    try:
        numbers = _numbers(function, rank)
    except Exception:  # whatever a reader's function does with numbers
        return None
    return next((name for name, known in _known(rank) if _same(known, numbers)), None)


def _called(function) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _probe(rank: int) -> np.ndarray:
    """Numbers, small and large, on which no two of the functions agree, and no softmax along another axis: 128, of a
    rank from 2 to 5."""
    sizes = np.geomspace(1e-3, 1e9, 34)
    numbers = np.random.default_rng(0).permutation(np.concatenate([np.linspace(-9, 9, 60), sizes, -sizes]))
    return numbers.astype(np.float32).reshape(*[2] * (rank - 2), -1, 8)


def _numbers(function: Callable, rank: int) -> np.ndarray:
    numbers = keras.ops.convert_to_numpy(function(keras.ops.convert_to_tensor(_probe(rank))))
    return np.asarray(numbers, np.float64)


@functools.cache
def _known(rank: int) -> list[tuple[str, np.ndarray]]:
    functions = {name: getattr(keras.activations, name) for name in ACTIVATIONS}
    functions["gelu_tanh"] = functools.partial(keras.activations.gelu, approximate=True)
    return [(name, _numbers(function, rank)) for name, function in functions.items()]


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and np.allclose(one, other, rtol=1e-5, atol=1e-6, equal_nan=True)
