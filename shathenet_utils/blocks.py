"""The pieces that models share.

This is the first module of the network wing, so it is the one place that sets up TensorFlow: its
threads (one inter-op thread is what makes a run repeat bit for bit on a CPU) and its start-up lines,
which are held back unless the import fails.
"""

import contextlib
import os
import sys
import tempfile

import numpy as np


@contextlib.contextmanager
def _held_back_stderr():
    """Keep what native code writes to stderr to ourselves; show it if the block raises."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(stderr, 2)
            held.seek(0)
            sys.stderr.write(held.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with _held_back_stderr():
    import tensorflow as tf

    # A context that a reader's own code has already started keeps its threads; threads() then tells.
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.threading.set_intra_op_parallelism_threads(int(os.environ.get("SHATHENET_THREADS") or _cores()))
    tf.get_logger().setLevel("ERROR")  # it warns of every second model in a process that its functions are traced anew
    tf.constant(0.0)  # starts the context: from here on the threads can't change

import keras  # noqa: E402  (after TensorFlow's threads are set)
from keras import layers, ops  # noqa: E402


def threads() -> dict:
    """TensorFlow's threads in this process, {"inter_op": 1, "intra_op": n} where they are in effect."""
    return {
        "inter_op": tf.config.threading.get_inter_op_parallelism_threads(),
        "intra_op": tf.config.threading.get_intra_op_parallelism_threads(),
    }


def _phases(factor: int, interpolation: str) -> np.ndarray:
    """Weights of (previous, same, next) small pixel in each of the `factor` pixels it becomes, (factor, 3)."""
    weights = np.zeros((factor, 3), np.float32)
    if interpolation == "nearest":
        weights[:, 1] = 1
    else:  # bilinear, between the centres of pixels
        offset = (np.arange(factor) + 0.5) / factor - 0.5
        weights[:, 0] = np.maximum(-offset, 0)
        weights[:, 1] = 1 - np.abs(offset)
        weights[:, 2] = np.maximum(offset, 0)
    return weights


class FoldedUpsampling(layers.Layer):
    """`UpSampling2D(factor)` followed by `conv`, computed without the large picture.

    Holds for a convolution with stride = factor, kernel size = factor + 1 and "same" padding: each of
    its windows covers one small pixel's block and the first row and column of the next. Enlarging is
    linear, so the two layers together are a 2×2 convolution over small pixels (and, for bilinear
    enlargement, their neighbours) whose kernel is a fixed linear map of the layer's own. Outputs and
    gradients agree with the two layers up to rounding; v1.0 trains three times as fast.

    conv: a built `Conv2D`, whose variables are shared. Input (n, h, w, c), output (n, h, w, filters).
    """

    def __init__(self, conv, factor: int, interpolation: str, **arguments):
        super().__init__(**arguments)
        self.conv = conv
        phases = _phases(factor, interpolation)
        self.neighbours = np.flatnonzero(phases.any(axis=0))  # "nearest": the pixel itself only
        self.rows = np.zeros((2, len(self.neighbours), factor + 1), np.float32)  # (block, neighbour, kernel row)
        self.rows[0, :, :factor] = phases[:, self.neighbours].T
        self.rows[1, :, factor] = phases[0, self.neighbours]

    def call(self, pictures):
        height, width = pictures.shape[1:3]
        if len(self.neighbours) > 1:  # at the edge a pixel stands in for the neighbour it lacks
            padded = ops.pad(pictures, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="symmetric")
            shifted = [padded[:, y : y + height, x : x + width] for y in self.neighbours for x in self.neighbours]
            pictures = ops.concatenate(shifted, axis=-1)
        rows = ops.convert_to_tensor(self.rows)
        kernel = ops.einsum("auy,bvx,yxio->abuvio", rows, rows, ops.cast(self.conv.kernel, "float32"))
        kernel = ops.cast(ops.reshape(kernel, (2, 2, pictures.shape[-1], self.conv.filters)), pictures.dtype)
        pictures = ops.pad(pictures, ((0, 0), (0, 1), (0, 1), (0, 0)))  # where "same" pads the large picture
        outputs = ops.conv(pictures, kernel, strides=1, padding="valid")
        return self.conv.activation(outputs + ops.cast(self.conv.bias, outputs.dtype))


def _folds(upsampling, conv) -> bool:
    if type(upsampling) is not layers.UpSampling2D or type(conv) is not layers.Conv2D:  # a subclass may do other things
        return False
    factor = upsampling.size[0]
    return (
        upsampling.size == (factor, factor) == conv.strides
        and upsampling.interpolation in ("nearest", "bilinear")
        and conv.kernel_size == (factor + 1, factor + 1)
        and (conv.padding, conv.groups, conv.dilation_rate, conv.use_bias) == ("same", 1, (1, 1), True)
        and upsampling.data_format == conv.data_format == "channels_last"
        and conv.activity_regularizer is None
    )


def fold_upsampling(model):
    """The same network with each pair (UpSampling2D, Conv2D) that allows it computed by `FoldedUpsampling`.

    Shares its variables with `model`; where nothing folds, or the layers are not one chain, it is `model`.
    """
    if isinstance(model, keras.Sequential):
        return model
    pairs = list(zip(model.layers, model.layers[1:], strict=False))
    folded = {conv.name: (conv, upsampling) for upsampling, conv in pairs if _folds(upsampling, conv)}
    if not folded or any(after.input is not before.output for before, after in pairs):
        return model
    if [id(tensor) for tensor in model.outputs] != [id(model.layers[-1].output)]:
        return model
    skipped = {upsampling.name for _, upsampling in folded.values()}

    def call(layer, pictures, **arguments):
        if layer.name in skipped:
            return pictures
        if layer.name in folded:
            conv, upsampling = folded[layer.name]
            return FoldedUpsampling(conv, upsampling.size[0], upsampling.interpolation, dtype=conv.dtype_policy)(
                pictures
            )
        return layer(pictures, **arguments)

    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)
