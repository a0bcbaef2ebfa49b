"""Layers and blocks that models share.

Own layers and initialisers are registered with Keras under "shathenet", so that a saved model loads without
`custom_objects`. `Whitening`, `ZCAWhitening` and `LSUV` take their values from training images, once, before the first
training step: see `set_from_images`.
"""

import math

import numpy as np

from shathenet_utils.backend import keras, layers, ops

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)
"""Of the training images' channels, on the scale 0 to 1, in the digits that published recipes use."""

registered = keras.saving.register_keras_serializable("shathenet")


@registered
class Whitening(layers.Conv2D):
    """A convolution whose kernel makes the patches of the training images uncorrelated, and is not trained; its bias
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
        return layers.Layer.get_config(self) | {"kernel_size": self.kernel_size[0], "channels": self.channels}

    def set_from(self, images, epsilon: float = 5e-4) -> None:
        """Compute the kernel from the layer's own input, float32 (n, height, width, channels)."""
        size = self.kernel_size[0]
        windows = np.lib.stride_tricks.sliding_window_view(np.asarray(images, np.float64), (size, size), axis=(1, 2))
        patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, size * size * self.channels)
        variances, components = np.linalg.eigh(patches.T @ patches / len(patches))
        whitening = (components / np.sqrt(variances + epsilon))[:, ::-1]
        largest = np.abs(whitening).argmax(axis=0)
        whitening *= np.sign(whitening[largest, range(len(largest))])  # LAPACK is free to turn a component round
        kernel = np.concatenate([whitening, -whitening], axis=1)
        self._kernel.assign(kernel.reshape(size, size, self.channels, self.filters).astype(np.float32))


@registered
class ZCAWhitening(layers.Layer):
    """Makes the numbers of the training images uncorrelated and of about equal variance, and changes images as little
    as that allows; its weights are not trained.

    y = (x − mean) · V (Λ + epsilon)^(−1/2) Vᵀ, where V Λ Vᵀ is the covariance of all height · width · channels numbers
    of an image. `set_from` computes mean and matrix; before, the layer is the identity. Input and output (n, height,
    width, channels). Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009, appendix A.
    """

    def __init__(self, epsilon: float = 0.1, **arguments):
        super().__init__(**arguments)
        self.epsilon = epsilon

    def build(self, shape):
        size = math.prod(shape[1:])
        self.mean = self.add_weight(shape=(size,), initializer="zeros", trainable=False, name="mean")
        self.matrix = self.add_weight(shape=(size, size), initializer="identity", trainable=False, name="matrix")

    def call(self, images):
        flat = ops.reshape(images, (-1, self.mean.shape[0]))
        return ops.reshape(ops.matmul(flat - self.mean, self.matrix), (-1, *images.shape[1:]))

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return super().get_config() | {"epsilon": self.epsilon}

    def set_from(self, images) -> None:
        """Compute mean and matrix from the layer's own input, float32 (n, height, width, channels)."""
        flat = np.asarray(images).reshape(len(images), -1)
        mean, covariance = flat.mean(axis=0, dtype=np.float64), np.zeros((flat.shape[1],) * 2)
        for first in range(0, len(flat), 1000):
            part = flat[first : first + 1000] - mean
            covariance += part.T @ part
        variances, components = np.linalg.eigh(covariance / len(flat))
        matrix = (components / np.sqrt(np.maximum(variances, 0) + self.epsilon)) @ components.T
        self.mean.assign(mean.astype(np.float32))
        self.matrix.assign(matrix.astype(np.float32))


@registered
class LSUV(keras.initializers.Orthogonal):
    """Orthogonal initial weights that `set_from_images` then divides by the standard deviation of the layer's own
    output on training images, layer by layer, so that each layer's output begins with variance 1.

    Source: D. Mishkin & J. Matas, All You Need Is a Good Init, 2016 (layer-sequential unit-variance). There the
    division is repeated until the variance is near 1; without a bias one division makes it exactly so.
    """


def set_from_images(model: keras.Model, images) -> None:
    """Give the layers that need it their values from training images, uint8 or float32 (n, height, width, channels).

    Each `Whitening` sees the first 5,000, `ZCAWhitening` all of them, a layer whose initialiser is `LSUV` the first
    500; in the order of the model's layers. Other layers are left alone.
    """

    def values_of(tensor, count):
        before = keras.Model(model.inputs, tensor)
        parts = [images[first : first + 500] for first in range(0, min(count, len(images)), 500)]
        shown = [before(ops.cast(part, "float32"), training=False) for part in parts]
        return np.concatenate([ops.convert_to_numpy(ops.cast(part, "float32")) for part in shown])

    for layer in model.layers:
        if isinstance(layer, Whitening):
            layer.set_from(values_of(layer.input, 5000))
        if isinstance(layer, ZCAWhitening):
            layer.set_from(values_of(layer.input, len(images)))
        if isinstance(getattr(layer, "kernel_initializer", None), LSUV):
            deviation = values_of(layer.output, 500).std(dtype=np.float64)
            layer.kernel.assign(layer.kernel / (deviation or 1.0))


@registered
class Dirac(keras.initializers.Initializer):
    """Kernels that pass their input on: filter i < inputs has a 1 in the middle of channel i, all else is `rest`'s.

    With one input channel for each filter the layer is the identity at first. rest: a Keras initialiser of the filters
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
    """PyTorch's initialiser of convolutions and dense layers: uniform between ±1/√(fan in)."""
    return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")


@registered
class CollapsedTruncatedNormal(keras.initializers.Initializer):
    """Initial 2×2 kernels that compute what v1.0's 7×7 kernels would at first: those are drawn, and the weights that
    lie over one pixel of the small image are added up.

    The 7×7 kernel (side factor + 1, stride `factor`) lies over an image that was enlarged `factor` times by repeating
    pixels, so `counts` = factor², factor, factor and 1 of its weights share a pixel. average: their mean, not their
    sum, for a layer that multiplies by the counts again (`ScaledConv2D`). Built after the same seed, it draws the same
    7×7 kernel as Keras's "truncated_normal" (standard deviation 0.05) in its place.
    """

    def __init__(self, factor: int = 6, average: bool = False):
        self.factor, self.average = factor, average
        self.wide = keras.initializers.TruncatedNormal(stddev=0.05)

    @staticmethod
    def counts(factor: int) -> np.ndarray:
        """How many weights of the large kernel each weight of the 2×2 stands for, float32 (2, 2, 1, 1)."""
        return np.outer([factor, 1], [factor, 1]).astype(np.float32)[:, :, None, None]

    def __call__(self, shape, dtype=None):
        side = self.factor + 1
        wide = ops.convert_to_numpy(self.wide((side, side, *shape[2:])))
        parts = (slice(0, self.factor), slice(self.factor, side))
        kernel = np.array([[wide[rows, columns].sum(axis=(0, 1)) for columns in parts] for rows in parts])
        if self.average:
            kernel = kernel / self.counts(self.factor)
        return ops.convert_to_tensor(kernel, dtype or "float32")

    def get_config(self):
        return {"factor": self.factor, "average": self.average}


@registered
class ScaledConv2D(layers.Conv2D):
    """A convolution whose kernel is `scale` times its trained weights, so that an Adam step moves the kernel `scale`
    times as far.

    scale: numbers that broadcast to (height, width, channels, filters), as nested lists. Stride 1.
    """

    def __init__(self, filters: int, kernel_size, scale, **arguments):
        super().__init__(filters, kernel_size, **arguments)
        self.scale = np.asarray(scale, np.float32)

    def call(self, inputs):
        kernel = self.kernel * ops.cast(self.scale, self.kernel.dtype)
        outputs = ops.conv(inputs, ops.cast(kernel, inputs.dtype), strides=1, padding=self.padding)
        return self.activation(outputs + ops.cast(self.bias, outputs.dtype))

    def get_config(self):
        return super().get_config() | {"scale": self.scale.tolist()}


def inception(
    x, filters: int, activation: str | None = "relu", kernel_sizes: tuple[int, ...] = (1, 3, 5),
    factorised: bool = True, **arguments,
):  # fmt: skip
    """Kernels of different size side by side, joined by concatenation: square ones and, if factorised, 5×5 as 1×5 and
    5×1; as many filters each.

    x: a Keras tensor (n, height, width, channels). kernel_sizes: of the square kernels, in pixels. arguments: of each
    convolution; `name` begins all their names.
    Sources: C. Szegedy et al., Going Deeper with Convolutions, 2015; the factorised branch: Rethinking the Inception
    Architecture, 2016.

    Raises ValueError where the filters are no multiple of the branches.
    """
    count = len(kernel_sizes) + factorised
    part, rest = divmod(filters, count)
    if rest:
        raise ValueError(f"inception: filters must be a multiple of {count}, not {filters}.")
    name = arguments.pop("name")

    def conv(x, kernel_size, suffix):
        return layers.Conv2D(part, kernel_size, activation=activation, name=f"{name}_{suffix}", **arguments)(x)

    branches = [conv(x, size, f"{size}x{size}") for size in kernel_sizes]
    if factorised:
        branches.append(conv(conv(x, (1, 5), "1x5"), (5, 1), "5x1"))
    return layers.Concatenate(name=f"{name}_join")(branches)
