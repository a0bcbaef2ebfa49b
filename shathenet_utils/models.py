"""The versions, one plain function each.

A model takes images of shape (n, height, width, channels) with values 0 to 255, uint8 or float32, and
returns logits, float32 (n, classes). Scaling and enlarging are layers of the model, inside the graph.
"""

import functools

from shathenet_utils import architecture
from shathenet_utils.backend import keras, layers
from shathenet_utils.baseline import baseline
from shathenet_utils.blocks import (
    CIFAR10_MEAN,
    CIFAR10_STD,
    CollapsedTruncatedNormal,
    Dirac,
    ScaledConv2D,
    Whitening,
    inception,
    torch_uniform,
)  # fmt: skip

FIRST_LAYERS = ("enlarged_7x7", "conv_2x2", "conv_2x2_initial", "conv_2x2_initial_and_steps")


def v1_0(
    interpolation: str = "nearest",
    classes: int = 10,
    filters: tuple[int, int, int] = (16, 16, 32),
    dense_units: int = 32,
    first_layer: str = "enlarged_7x7",
) -> keras.Model:
    """ShatheNet v1.0: three strided convolutions and two dense layers; 17,882 parameters, 2.9M MACs.

    CIFAR-10's 32×32 images are enlarged six times, to the 192×192 of the original. interpolation: "nearest" or
    "bilinear"; the original does not say which. Kernels are drawn from Keras's truncated normal (standard deviation
    0.05), as in the original project. filters, dense_units: widths of the layers.
    first_layer: "enlarged_7x7" as above; or the 2×2 convolution on the small image that computes the same functions
    (nearest only): "conv_2x2", drawn from the same truncated normal; "conv_2x2_initial", drawn as the sums of a 7×7
    kernel's weights (`CollapsedTruncatedNormal`); "conv_2x2_initial_and_steps", the same, each weight multiplied by how
    many of those it stands for (`ScaledConv2D`).
    Source: github.com/Shathe/DeepLearning, ShatheNet/models/ShatheNet.py, ShatheNet_v1_0.

    Raises ValueError for an unknown first layer.
    """
    if first_layer not in FIRST_LAYERS:
        raise ValueError(f"v1_0: first_layer must be one of {', '.join(FIRST_LAYERS)}, not {first_layer!r}.")
    arguments = {"padding": "same", "activation": "relu"}
    images = keras.Input((32, 32, 3), name="images")
    x = layers.Rescaling(1 / 255, name="scale")(images)
    if first_layer == "enlarged_7x7":
        x = layers.UpSampling2D(6, interpolation=interpolation, name="enlarge")(x)
        first = layers.Conv2D(filters[0], 7, 6, kernel_initializer="truncated_normal", name="conv1", **arguments)
    elif first_layer == "conv_2x2_initial_and_steps":
        counts, initial = CollapsedTruncatedNormal.counts(6), CollapsedTruncatedNormal(average=True)
        first = ScaledConv2D(filters[0], 2, counts, kernel_initializer=initial, name="conv1", **arguments)
    else:
        initial = "truncated_normal" if first_layer == "conv_2x2" else CollapsedTruncatedNormal()
        first = layers.Conv2D(filters[0], 2, kernel_initializer=initial, name="conv1", **arguments)
    x = first(x)
    for name, width, kernel_size, strides in (("conv2", filters[1], 5, 4), ("conv3", filters[2], 3, 2)):
        conv = layers.Conv2D(width, kernel_size, strides, kernel_initializer="truncated_normal", name=name, **arguments)
        x = conv(x)
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(dense_units, activation="relu", kernel_initializer="truncated_normal", name="dense")(x)
    logits = layers.Dense(classes, kernel_initializer="truncated_normal", dtype="float32", name="logits")(x)
    return keras.Model(images, logits, name="v1_0")


def dense_network(units: tuple[int, ...], block: int = 1, classes: int = 10) -> keras.Model:
    """Dense layers with ReLU on the image's numbers, without a convolution.

    units: of each hidden layer. block: the image is first averaged over blocks of block × block pixels; 1: it is not.
    """
    images = keras.Input((32, 32, 3), name="images")
    x = layers.Rescaling(1 / 255, name="scale")(images)
    if block > 1:
        x = layers.AveragePooling2D(block, name="average")(x)
    x = layers.Flatten(name="flatten")(x)
    for number, width in enumerate(units, 1):
        x = layers.Dense(width, activation="relu", name=f"dense{number}")(x)
    logits = layers.Dense(classes, dtype="float32", name="logits")(x)
    return keras.Model(images, logits, name="dense_network")


def v1_1(size: int = 36, classes: int = 10, original: bool = False, dense_units: int = 256) -> keras.Model:
    """ShatheNet v1.1: three pairs of convolutions, the first of each with stride 2, and two dense layers; 1,252,138
    parameters.

    size: the side to which CIFAR-10's 32×32 images are enlarged (bilinear), 36 (36.6M MACs) or 40 (43.7M); the
    original's three max-pools are left out, so that the last feature map is 5×5×128 as there. original: as the original
    has it, enlarged to 299×299, with the pools: 1.48G MACs. Another size or dense_units changes the parameters.
    Source: github.com/Shathe/DeepLearning, ShatheNet/models/ShatheNet.py (there ShatheNet_v1_2 in its last state).
    """
    size = 299 if original else size
    images = keras.Input((32, 32, 3), name="images")
    x = layers.Rescaling(1 / 255, name="scale")(images)
    x = layers.Resizing(size, size, name="enlarge")(x)
    for name, filters, kernel_size, strides, activation in (
        ("conv1a", 32, 7, 2, "relu"), ("conv1b", 32, 7, 1, None),
        ("conv2a", 64, 5, 2, "relu"), ("conv2b", 64, 5, 1, "relu"),
        ("conv3a", 128, 3, 2, "relu"), ("conv3b", 128, 3, 1, "relu"),
    ):  # fmt: skip
        x = layers.Conv2D(
            filters, kernel_size, strides, padding="same", activation=activation,
            kernel_initializer="truncated_normal", name=name,
        )(x)  # fmt: skip
        if original and name.endswith("b"):
            x = layers.MaxPooling2D(2, name=f"pool{name[-2]}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(dense_units, activation="relu", name="dense")(x)
    logits = layers.Dense(classes, dtype="float32", name="logits")(x)
    return keras.Model(images, logits, name="v1_1")


KERNELS = ("stacked", "3x3", "5x5", "side_by_side")


def v1_2(
    kernels: str = "stacked",
    widths: tuple[int, ...] = (32, 64, 64, 128, 128),
    dense_units: int = 512,
    classes: int = 10,
    original: bool = False,
    kernel_initializer: str = "truncated_normal",
    kernel_sizes: tuple[int, ...] = (1, 3, 5),
    factorised: bool = True,
) -> keras.Model:
    """ShatheNet v1.2: five pairs of convolutions with pools between them, and two dense layers; 1,269,418 parameters.

    CIFAR-10's 32×32 images are enlarged to 48×48 (bilinear), padding is "same", and the original's fifth pool is left
    out, so that the last feature map is 3×3×128 as there; 118M MACs. original: as the original has it, enlarged to
    224×224, padding "valid", five pools: 2.2G MACs. kernels: "stacked" as the original stacks them, 5×5 in the first
    pair, 3×3 in the others; "3x3" or "5x5" throughout; or "side_by_side", each convolution an `inception` with these
    kernel_sizes and, if factorised, a factorised 5×5. widths: filters of the pairs, for the latter multiples of the
    number of branches. kernel_initializer: of the convolutions; the original's has the standard deviation 0.05 whatever
    the kernel's size.
    Source: github.com/Shathe/DeepLearning, ShatheNet/models/ShatheNet.py, "mix and add different convolutions".

    Raises ValueError for unknown kernels.
    """
    if kernels not in KERNELS:
        raise ValueError(f"v1_2: kernels must be one of {', '.join(KERNELS)}, not {kernels!r}.")
    padding = "valid" if original else "same"
    size, pools = (224, 5) if original else (48, 4)
    images = keras.Input((32, 32, 3), name="images")
    x = layers.Rescaling(1 / 255, name="scale")(images)
    x = layers.Resizing(size, size, name="enlarge")(x)
    for pair, width in enumerate(widths, 1):
        kernel_size = {"stacked": 5 if pair == 1 else 3, "3x3": 3, "5x5": 5}.get(kernels)
        for part in "ab":
            activation = None if (pair, part) == (1, "b") else "relu"
            arguments = {"padding": padding, "kernel_initializer": kernel_initializer, "name": f"conv{pair}{part}"}
            if kernel_size:
                x = layers.Conv2D(width, kernel_size, activation=activation, **arguments)(x)
            else:
                x = inception(x, width, activation, kernel_sizes, factorised, **arguments)
        if pair <= pools:
            x = layers.MaxPooling2D(2, name=f"pool{pair}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(dense_units, activation="relu", name="dense")(x)
    logits = layers.Dense(classes, dtype="float32", name="logits")(x)
    return keras.Model(images, logits, name="v1_2")


def thin_resnet(widths: tuple[int, ...] = (9, 16, 27), classes: int = 10) -> keras.Model:
    """A residual network of one block per width, after He et al. (2016); 17,058 parameters, 3.4M MACs at the default
    widths.

    The first convolution and each block have a width of their own; every block but the first halves the feature map's
    side. Where the width or the side changes, the way around the block is a 1×1 convolution.
    """
    images = keras.Input((32, 32, 3), name="images")
    x = layers.Rescaling(1 / 255, name="scale")(images)
    x = layers.Normalization(mean=CIFAR10_MEAN, variance=[std**2 for std in CIFAR10_STD], name="normalise")(x)

    def conv(x, filters, kernel_size, strides, name):
        return layers.Conv2D(
            filters, kernel_size, strides, padding="same", use_bias=False, kernel_initializer="he_normal", name=name
        )(x)

    def conv_bn(x, filters, strides, name):
        x = conv(x, filters, 3, strides, name)
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)

    x = layers.Activation("relu", name="conv0_relu")(conv_bn(x, widths[0], 1, "conv0"))
    for number, width in enumerate(widths, 1):
        strides = 1 if number == 1 else 2
        around = x if (strides, x.shape[-1]) == (1, width) else conv(x, width, 1, strides, f"around{number}")
        x = layers.Activation("relu", name=f"conv{number}a_relu")(conv_bn(x, width, strides, f"conv{number}a"))
        x = conv_bn(x, width, 1, f"conv{number}b")
        x = layers.Activation("relu", name=f"block{number}")(layers.Add(name=f"add{number}")([x, around]))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    logits = layers.Dense(classes, dtype="float32", name="logits")(x)
    return keras.Model(images, logits, name="thin_resnet")


def airbench(widths: tuple[int, ...] = (64, 128, 128), classes: int = 10) -> keras.Model:
    """A fast network after Keller Jordan's airbench (2024), with ReLU; 570,296 parameters, 54M MACs at the default
    widths.

    A whitening convolution, then a block per width (convolution, max-pool, batch norm, ReLU, convolution, batch norm,
    ReLU), a global max-pool and a dense layer without bias; logits are divided by nine. With widths 64/256/256, 1.97M.
    Source: K. Jordan, 94% on CIFAR-10 in 3.29 seconds on a single GPU, 2024; github.com/KellerJordan/cifar10-airbench.
    """
    images = keras.Input((32, 32, 3), name="images")
    x = layers.Rescaling(1 / 255, name="scale")(images)
    x = layers.Normalization(mean=CIFAR10_MEAN, variance=[std**2 for std in CIFAR10_STD], name="normalise")(x)
    x = layers.Activation("relu", name="whiten_relu")(Whitening(2, name="whiten")(x))
    for number, width in enumerate(widths, 1):
        for part in "ab":
            name = f"conv{number}{part}"
            x = layers.Conv2D(width, 3, padding="same", use_bias=False, kernel_initializer=Dirac(), name=name)(x)
            if part == "a":
                x = layers.MaxPooling2D(2, name=f"pool{number}")(x)
            x = layers.BatchNormalization(scale=False, momentum=0.6, epsilon=1e-5, name=f"{name}_norm")(x)
            x = layers.Activation("relu", name=f"{name}_relu")(x)
    x = layers.GlobalMaxPooling2D(name="pool")(x)
    x = layers.Dense(classes, use_bias=False, kernel_initializer=torch_uniform(), name="dense")(x)
    logits = layers.Rescaling(1 / 9, dtype="float32", name="logits")(x)
    return keras.Model(images, logits, name="airbench")


FEATURES = 1280
"""Of EfficientNet-Lite0: what its last layer hands to the head."""


def linear_head(features: int = FEATURES, classes: int = 10) -> keras.Model:
    """A linear layer on what `pretrained.features` makes of images, uint8 (n, 1, 2, features); of the two views it
    takes the first. 12,810 parameters by default.
    """
    codes = keras.Input((1, 2, features), name="features")
    x = layers.Cropping2D(((0, 0), (0, 1)), name="first_view")(codes)
    x = layers.Rescaling(6**0.5 / 255, name="scale")(layers.Flatten(name="flatten")(x))
    x = layers.Multiply(name="square")([x, x])
    logits = layers.Dense(classes, dtype="float32", name="logits")(x)
    return keras.Model(codes, logits, name="linear_head")


def inception_v3(size: int = 75, classes: int = 10, inference: bool = False) -> keras.Model:
    """Inception-v3 with a head of its own, on images enlarged (bilinear) to size × size, at least 75; random weights.
    21,823,274 parameters with ten classes; 23,851,784 with ImageNet's 1,000.

    inference: batch norm is frozen (`freeze_batch_norm`), for weights that come from elsewhere.
    Source: C. Szegedy et al., Rethinking the Inception Architecture for Computer Vision, 2016; layers: Keras's.
    """
    body = keras.applications.InceptionV3(
        include_top=False, weights=None, input_shape=(size, size, 3), pooling="avg", name="inception"
    )
    images = keras.Input((32, 32, 3), name="images")
    x = layers.Rescaling(1 / 127.5, -1, name="scale")(images)
    x = layers.Resizing(size, size, name="enlarge")(x)
    logits = layers.Dense(classes, dtype="float32", name="logits")(body(x))
    if inference:
        freeze_batch_norm(body)
    return keras.Model(images, logits, name="inception_v3")


def freeze_batch_norm(model: keras.Model) -> None:
    """Keep the model's batch norms in inference mode: they use their moving statistics and change nothing.

    That holds in `model(x, training=True)` and in `fit` too. Calling a nested model with `training=False` does not hold
    there: in Keras 3 the outer call's `training` overrides it. Call this again after `model.trainable = True`, which
    unfreezes every layer.
    """
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False


# Repeats, kernel size, stride, expansion, filters of EfficientNet-B0's stages; Lite0 has the same.
_LITE0_STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip


def efficientnet_lite0(size: int = 128, classes: int = 10) -> keras.Model:
    """EfficientNet-Lite0 with a head of its own, on images enlarged (bilinear) to size × size; random weights. Its
    batch norms are frozen (`freeze_batch_norm`), all else trains. 3,425,834 parameters with ten classes.

    Its layer "features" gives `FEATURES` numbers per image, from 0 to 6. `pretrained.load_lite0` gives it ImageNet's
    weights.
    Source: M. Tan & Q. Le, EfficientNet, 2019; the lite variant has ReLU6 and no squeeze-and-excitation.
    """
    images = keras.Input((32, 32, 3), name="images")
    features = lite0_body(images, size)
    logits = layers.Dense(classes, dtype="float32", name="logits")(features)
    model = keras.Model(images, logits, name="efficientnet_lite0")
    freeze_batch_norm(model)
    return model


def lite0_body(images, size: int):
    """EfficientNet-Lite0's layers up to its features, on images (a Keras tensor) enlarged to size × size: the tensor of
    features, (n, `FEATURES`)."""
    x = layers.Resizing(size, size, name="enlarge")(images)
    x = layers.Rescaling(1 / 128, -127 / 128, name="scale")(x)

    def conv(x, filters, kernel_size, strides, name, norm_name, activation=True):
        kind = layers.DepthwiseConv2D if filters is None else functools.partial(layers.Conv2D, filters)
        x = kind(kernel_size, strides=strides, padding="same", use_bias=False, name=name)(x)
        x = layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=norm_name)(x)
        return layers.ReLU(6, name=f"{norm_name}_relu")(x) if activation else x

    x = conv(x, 32, 3, 2, "conv_stem", "bn0")
    number = 0
    for repeats, kernel_size, stride, expansion, filters in _LITE0_STAGES:
        for repeat in range(repeats):
            block, block_input = f"block{number}", x
            if expansion > 1:
                x = conv(x, x.shape[-1] * expansion, 1, 1, f"{block}_expand_conv", f"{block}_bn0")
            strides = stride if repeat == 0 else 1
            x = conv(x, None, kernel_size, strides, f"{block}_depthwise_conv", f"{block}_bn1")
            x = conv(x, filters, 1, 1, f"{block}_project_conv", f"{block}_bn2", activation=False)
            if repeat > 0:
                x = layers.Add(name=f"add{number}")([x, block_input])
            number += 1
    x = conv(x, FEATURES, 1, 1, "conv_head", "bn1")
    return layers.GlobalAveragePooling2D(name="features")(x)


def build(model, arguments: dict | None = None) -> keras.Model:
    """Build a model from its name in this module or from a user's function.

    Raises ValueError for an unknown name, TypeError where the function does not return a keras.Model made of
    layers with a known input (functional, or sequential with an Input).
    """
    if isinstance(model, str):
        if model not in MODELS:
            raise ValueError(f"There is no model named {model!r}; this book has {', '.join(MODELS)}.")
        model = MODELS[model]
    built = model(**(arguments or {}))
    if not isinstance(built, keras.Model):
        raise TypeError(f"{model.__name__}() must return a keras.Model, not {type(built).__name__}.")
    if not hasattr(architecture.graph_of(built), "operations"):
        raise TypeError(
            f"{model.__name__}() must return a model made of layers, starting from a keras.Input of known shape."
        )
    return built


MODELS = {
    function.__name__: function
    for function in (
        v1_0,
        dense_network,
        v1_1,
        v1_2,
        thin_resnet,
        airbench,
        inception_v3,
        linear_head,
        efficientnet_lite0,
        baseline,
    )
}
