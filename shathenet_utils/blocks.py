"""The pieces that models share.

This is the first module of the network wing, so it is the one place that sets up TensorFlow: its
threads (one inter-op thread is what makes a run repeat bit for bit on a CPU) and its start-up lines,
which are held back unless the import fails.
"""

import contextlib
import math
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


class FusedBatchNormalization(layers.Layer):
    """A `BatchNormalization` layer's own arithmetic, as one TensorFlow operation or four in place of Keras's dozen.

    norm: a built `BatchNormalization` over the last of four axes, whose variables are shared. Outputs, gradients and
    moving statistics agree with the layer's up to rounding. In bfloat16 the statistics are still float32. Channels that
    don't come in sixteens are taken in groups of pixels that do; where the pixels can't be grouped so, the layer itself
    is called.
    """

    def __init__(self, norm, **arguments):
        super().__init__(**arguments)
        self.norm = norm

    def call(self, x, training=None, mask=None):
        norm = self.norm
        pixels = _pixels_a_vector(x.shape)
        if not pixels:
            return norm(x, training=training)
        ones, zeros = ops.ones_like(norm.moving_mean), ops.zeros_like(norm.moving_mean)
        scale = ops.convert_to_tensor(norm.gamma) if norm.scale else ones
        offset = ops.convert_to_tensor(norm.beta) if norm.center else zeros
        if not (training and norm.trainable):
            mean, variance = (ops.convert_to_tensor(kept) for kept in (norm.moving_mean, norm.moving_variance))
            return _standardised(x, scale, offset, mean, variance, norm.epsilon, pixels)
        if pixels > 1:
            y, mean, variance = _normalised(x, scale, offset, norm.epsilon, pixels)
        else:
            arguments = {"epsilon": norm.epsilon, "is_training": True, "mean": [], "variance": []}
            y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(x=x, scale=scale, offset=offset, **arguments)
            count = tf.cast(tf.size(x) // x.shape[-1], tf.float32)
            variance *= (count - 1) / count  # the operation tells the unbiased one, Keras keeps the other
        keep = norm.momentum
        norm.moving_mean.assign(norm.moving_mean * keep + mean * (1 - keep))
        norm.moving_variance.assign(norm.moving_variance * keep + variance * (1 - keep))
        return y

    def compute_output_shape(self, shape):
        return shape


FUSED_CHANNELS = 16
"""oneDNN's batch normalisation is fast where channels come in whole vectors of 16 numbers, and elsewhere slower than
Keras's dozen operations."""


def _pixels_a_vector(shape) -> int:
    """How many neighbouring pixels' channels together are a multiple of sixteen numbers; 0 where a batch of this shape,
    (n, height, width, channels), isn't a whole number of such groups, or not known to be."""
    count, height, width, channels = shape
    pixels = FUSED_CHANNELS // math.gcd(channels, FUSED_CHANNELS)
    known = pixels == 1 or (height and width and height * width * (count or 1) % pixels == 0)
    return pixels if known else 0


def _grouped(x, pixels: int):
    """The same numbers as (groups, 1, 1, pixels · channels)."""
    return x if pixels == 1 else tf.reshape(x, (-1, 1, 1, pixels * x.shape[-1]))


def _standardised(x, scale, offset, mean, variance, epsilon: float, pixels: int):
    """scale · (x - mean) / sqrt(variance + epsilon) + offset, of x's type; all but x by channel, float32."""
    scale, offset, mean, variance = (tf.tile(values, [pixels]) for values in (scale, offset, mean, variance))
    y, *_ = tf.raw_ops.FusedBatchNormV3(
        x=_grouped(x, pixels), scale=scale, offset=offset, mean=mean, variance=variance, epsilon=epsilon,
        is_training=False,
    )  # fmt: skip
    return tf.reshape(y, tf.shape(x))


def _normalised(x, scale, offset, epsilon: float, pixels: int):
    """A batch normalised by its own statistics, taken in groups of pixels: outputs, mean, variance (biased).

    Each place in a group gets statistics of its own from the fast operation; those of a channel follow from them.
    """
    groups = tf.cast(tf.size(x) // (pixels * x.shape[-1]), tf.float32)

    def by_place(values):
        return tf.reshape(values, (pixels, -1))

    @tf.custom_gradient
    def normalised(x, scale, offset):
        ones = tf.ones(pixels * x.shape[-1])
        _, means, variances, *_ = tf.raw_ops.FusedBatchNormV3(
            x=_grouped(x, pixels), scale=ones, offset=ones, mean=[], variance=[], epsilon=epsilon, is_training=True
        )
        means, variances = by_place(means), by_place(variances) * ((groups - 1) / groups)
        mean = tf.reduce_mean(means, axis=0)
        variance = tf.reduce_mean(variances + (means - mean) ** 2, axis=0)

        def gradient(of_y, *_):
            # With s = (x - mean) / deviation: of_x = scale / deviation · (of_y - mean(of_y) - s · mean(of_y · s)).
            first, of_scale, of_offset, *_ = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=_grouped(of_y, pixels), x=_grouped(x, pixels), scale=tf.tile(scale, [pixels]),
                reserve_space_1=tf.tile(mean, [pixels]), reserve_space_2=tf.tile(variance, [pixels]),
                reserve_space_3=[], epsilon=epsilon, is_training=False,
            )  # fmt: skip
            of_scale, of_offset = (tf.reduce_sum(by_place(sums), axis=0) for sums in (of_scale, of_offset))
            share = scale * tf.math.rsqrt(variance + epsilon) / (groups * pixels)
            rest = _standardised(x, -share * of_scale, -share * of_offset, mean, variance, epsilon, pixels)
            return tf.reshape(first, tf.shape(x)) + rest, of_scale, of_offset

        return (_standardised(x, scale, offset, mean, variance, epsilon, pixels), mean, variance), gradient

    return normalised(x, tf.identity(scale), tf.identity(offset))  # values: its gradient takes no variables


def _fuses(layer) -> bool:
    """Whether `FusedBatchNormalization` can stand in for the layer."""
    return (
        type(layer) is layers.BatchNormalization
        and len(layer.input.shape) == 4
        and layer.axis in (-1, 3)
        and not layer.renorm
    )


def fast_form(model):
    """The same network, its variables shared, in the form that trains fastest here.

    Each pair (UpSampling2D, Conv2D) that allows it is computed by `FoldedUpsampling`, each batch normalisation of
    pictures by `FusedBatchNormalization`. Where neither applies it is `model` itself.
    """
    original = model
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs, model.outputs, name=model.name)
    folded = _foldable(model)
    skipped = {upsampling.name for _, upsampling in folded.values()}
    fused = {layer.name for layer in model.layers if _fuses(layer)}
    if not folded and not fused:
        return original

    def call(layer, pictures, **arguments):
        if layer.name in skipped:
            return pictures
        if layer.name in folded:
            conv, upsampling = folded[layer.name]
            return FoldedUpsampling(conv, upsampling.size[0], upsampling.interpolation, dtype=conv.dtype_policy)(
                pictures
            )
        if layer.name in fused:
            return FusedBatchNormalization(layer, dtype=layer.dtype_policy)(pictures, **arguments)
        return layer(pictures, **arguments)

    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)


def _foldable(model) -> dict:
    """The convolutions that take in the enlargement before them, {name: (conv, upsampling)}; only in a plain chain."""
    pairs = list(zip(model.layers, model.layers[1:], strict=False))
    folded = {conv.name: (conv, upsampling) for upsampling, conv in pairs if _folds(upsampling, conv)}
    if not folded or any(after.input is not before.output for before, after in pairs):
        return {}
    if [id(tensor) for tensor in model.outputs] != [id(model.layers[-1].output)]:
        return {}
    return folded


class Whitening(layers.Conv2D):
    """A convolution whose kernel makes the patches of the training pictures uncorrelated, and is not trained; its bias
    is.

    Filters: each principal component of the patches, divided by its standard deviation, and its negative: 2 · k · k ·
    channels. `set_from` gives the kernel its values; training does so before its first step. Source: K. Jordan, 94% on
    CIFAR-10 in 3.29 seconds on a single GPU, 2024, section 3.2.
    """

    def __init__(self, kernel_size: int = 2, channels: int = 3, **arguments):
        self.channels = channels
        filters = 2 * kernel_size * kernel_size * channels
        super().__init__(filters, kernel_size, padding="valid", use_bias=True, **arguments)

    def build(self, shape):
        super().build(shape)
        self._kernel.trainable = False

    def get_config(self):
        return {"kernel_size": self.kernel_size[0], "channels": self.channels, "name": self.name}

    def set_from(self, pictures, epsilon: float = 5e-4) -> None:
        """Compute the kernel from the layer's own input, float32 (n, height, width, channels)."""
        size = self.kernel_size[0]
        windows = np.lib.stride_tricks.sliding_window_view(np.asarray(pictures, np.float64), (size, size), axis=(1, 2))
        patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, size * size * self.channels)
        variances, components = np.linalg.eigh(patches.T @ patches / len(patches))
        whitening = (components / np.sqrt(variances + epsilon))[:, ::-1]
        largest = np.abs(whitening).argmax(axis=0)
        whitening *= np.sign(whitening[largest, range(len(largest))])  # LAPACK is free to turn a component round
        kernel = np.concatenate([whitening, -whitening], axis=1)
        self._kernel.assign(kernel.reshape(size, size, self.channels, self.filters).astype(np.float32))


class Dirac(keras.initializers.Initializer):
    """Kernels that pass their input on: filter i < inputs has a 1 in the middle of channel i, all else is `rest`'s.

    With one input channel for each filter the layer starts as the identity. rest: a Keras initialiser of the filters
    beyond the input channels. Source: K. Jordan, 2024, as `Whitening`.
    """

    def __init__(self, rest: str = "torch_uniform"):
        self.rest = rest

    def __call__(self, shape, dtype=None):
        height, width, inputs, filters = shape
        kernel = np.zeros(shape, np.float32)
        same = range(min(inputs, filters))
        kernel[height // 2, width // 2, same, same] = 1
        if filters > inputs:
            rest = torch_uniform() if self.rest == "torch_uniform" else keras.initializers.get(self.rest)
            kernel[..., inputs:] = ops.convert_to_numpy(rest(shape))[..., inputs:]
        return ops.convert_to_tensor(kernel, dtype or "float32")

    def get_config(self):
        return {"rest": self.rest}


def torch_uniform():
    """PyTorch's start of a convolution or a dense layer: even between ±1/√(fan in)."""
    return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")


def inception(
    x, filters: int, activation: str | None = "relu", sides: tuple[int, ...] = (1, 3, 5), factorised: bool = True,
    **arguments,
):  # fmt: skip
    """Kernels of different size side by side, joined by concatenation: square ones and, if factorised, 5×5 as 1×5 and
    5×1; as many filters each.

    x: a Keras tensor (n, height, width, channels). sides: of the square kernels, pixels. arguments: of each
    convolution; `name` begins all their names.
    Sources: C. Szegedy et al., Going Deeper with Convolutions, 2015; the factorised branch: Rethinking the Inception
    Architecture, 2016.

    Raises ValueError where the filters are no multiple of the branches.
    """
    count = len(sides) + factorised
    part, rest = divmod(filters, count)
    if rest:
        raise ValueError(f"inception: filters must be a multiple of {count}, not {filters}.")
    name = arguments.pop("name")

    def conv(x, kernel_size, suffix):
        return layers.Conv2D(part, kernel_size, activation=activation, name=f"{name}_{suffix}", **arguments)(x)

    branches = [conv(x, side, f"{side}x{side}") for side in sides]
    if factorised:
        branches.append(conv(conv(x, (1, 5), "1x5"), (5, 1), "5x1"))
    return layers.Concatenate(name=f"{name}_join")(branches)
