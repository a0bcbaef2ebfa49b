"""Rewrites a model into a faster one that computes the same, its variables shared.

`fuse_layers(model)` is what training and evaluation run; nothing else needs to know of it.
"""

import math

import numpy as np

from shathenet_utils.backend import keras, layers, ops, tf
from shathenet_utils.machine import multiplies_bfloat16


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
    """`UpSampling2D(factor)` followed by `conv`, computed without the large image.

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

    def call(self, images):
        height, width = images.shape[1:3]
        if len(self.neighbours) > 1:  # at the edge a pixel stands in for the neighbour it lacks
            padded = ops.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="symmetric")
            shifted = [padded[:, y : y + height, x : x + width] for y in self.neighbours for x in self.neighbours]
            images = ops.concatenate(shifted, axis=-1)
        rows = ops.convert_to_tensor(self.rows)
        kernel = ops.einsum("auy,bvx,yxio->abuvio", rows, rows, ops.cast(self.conv.kernel, "float32"))
        kernel = ops.cast(ops.reshape(kernel, (2, 2, images.shape[-1], self.conv.filters)), images.dtype)
        images = ops.pad(images, ((0, 0), (0, 1), (0, 1), (0, 0)))  # where "same" pads the large image
        outputs = ops.conv(images, kernel, strides=1, padding="valid")
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
            variance *= (count - 1) / count  # the operation returns the unbiased one, Keras keeps the other
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


class WidenedConvolution(layers.Layer):
    """A convolution of bfloat16 values that multiplies and adds in float32, as instructions for bfloat16 do: for
    processors that have none.

    conv: a built `Conv2D`, whose variables are shared. Inputs, kernel, outputs and gradients are rounded to bfloat16
    where the layer itself rounds them, so that they agree with the layer's up to the order of the sums.
    """

    def __init__(self, conv, **arguments):
        super().__init__(**arguments)
        self.conv = conv

    def call(self, images):
        conv, half = self.conv, self.compute_dtype
        kernel = ops.cast(ops.cast(conv.kernel, half), "float32")
        outputs = ops.cast(conv.convolution_op(ops.cast(images, "float32"), kernel), half)
        if conv.use_bias:
            outputs = ops.add(outputs, ops.reshape(ops.cast(conv.bias, half), (1, 1, 1, conv.filters)))
        return conv.activation(outputs)


class WidenedPooling(layers.Layer):
    """A `MaxPooling2D` of bfloat16 values as one of float32, which chooses the same ones and is faster on a processor
    without instructions for bfloat16."""

    def __init__(self, pool, **arguments):
        super().__init__(**arguments)
        self.pool = pool

    def call(self, images):
        return ops.cast(self.pool.call(ops.cast(images, "float32")), self.compute_dtype)


def _widens(layer) -> bool:
    """Whether `WidenedConvolution` or `WidenedPooling` stands in for the layer."""
    return (
        type(layer) in (layers.Conv2D, layers.MaxPooling2D)
        and layer.compute_dtype == "bfloat16"
        and not multiplies_bfloat16()
        and layer.data_format == "channels_last"
        and getattr(layer, "groups", 1) == 1
        and getattr(layer, "activity_regularizer", None) is None
    )


def _fuses(layer) -> bool:
    """Whether `FusedBatchNormalization` can stand in for the layer."""
    return (
        type(layer) is layers.BatchNormalization
        and len(layer.input.shape) == 4
        and layer.axis in (-1, 3)
        and not layer.renorm
    )


def fuse_layers(model):
    """The same network, its variables shared, in the form that trains fastest here.

    Each pair (UpSampling2D, Conv2D) that allows it is computed by `FoldedUpsampling`, each batch normalisation of
    images by `FusedBatchNormalization`, and, on a processor without instructions for it, each convolution and max
    pooling of bfloat16 by `WidenedConvolution` and `WidenedPooling`. Where none of them applies it is `model` itself.
    """
    original = model
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs, model.outputs, name=model.name)
    folded = _foldable(model)
    skipped = {upsampling.name for _, upsampling in folded.values()}
    fused = {layer.name for layer in model.layers if _fuses(layer)}
    widened = {layer.name for layer in model.layers if _widens(layer)}
    if not folded and not fused and not widened:
        return original

    def call(layer, images, **arguments):
        if layer.name in skipped:
            return images
        if layer.name in folded:
            conv, upsampling = folded[layer.name]
            return FoldedUpsampling(conv, upsampling.size[0], upsampling.interpolation, dtype=conv.dtype_policy)(images)
        if layer.name in fused:
            return FusedBatchNormalization(layer, dtype=layer.dtype_policy)(images, **arguments)
        if layer.name in widened:
            widen = WidenedConvolution if isinstance(layer, layers.Conv2D) else WidenedPooling
            return widen(layer, dtype=layer.dtype_policy)(images)
        return layer(images, **arguments)

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
