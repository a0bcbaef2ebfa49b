"""The baseline of pages 05 to 15: one small network, and everything that those pages change in it.

*plain* is `baseline()`; *normalised* is `baseline(normalisation="batch")`. The network reads from top to bottom in
`baseline`; each factor is an argument, and its choices are a small function below.
"""

import functools
import string

from shathenet_utils.backend import keras, layers
from shathenet_utils.blocks import CIFAR10_MEAN, CIFAR10_STD, LSUV, ZCAWhitening

CHOICES = {
    "scaling": (
        "0_to_1", "raw", "minus_half_to_half", "minus_1_to_1", "per_channel", "per_image", "zca", "batch_norm",
    ),
    "normalisation": ("none", "batch", "batch_after_activation", "layer", "group"),
    "initialiser": ("glorot_uniform", "zeros", "truncated_normal", "he_normal", "orthogonal", "lsuv"),
    "activation": (
        "relu", "linear", "sigmoid", "tanh", "leaky_relu", "elu", "selu", "gelu", "silu", "mish",
    ),
    "downsampling": ("max", "average", "stride", "extra_convolution", "blur", "max_blur"),
    "head": ("dense", "linear", "average", "max", "average_dense", "convolution_average"),
    "connections": ("plain", "residual", "dense", "inception"),
}  # fmt: skip
"""The arguments of `baseline` that are words, and the words they take; the first is the default."""


def baseline(
    filters: tuple[int, ...] = (16, 32, 64),
    pairs: int = 1,
    dense_units: int = 64,
    scaling: str = "0_to_1",
    normalisation: str = "none",
    norm_momentum: float = 0.9,
    initialiser: str = "glorot_uniform",
    first_kernel: float = 1.0,
    activation: str = "relu",
    downsampling: str = "max",
    head: str = "dense",
    dropout: float = 0.0,
    spatial_dropout: float = 0.0,
    connections: str = "plain",
    classes: int = 10,
) -> keras.Model:
    """Stages of 3×3 convolutions in pairs, each stage followed by downsampling, then a head; 138,330 parameters, 10M
    MACs at the defaults, which are *plain*.

    filters: of each stage's convolutions. pairs: of convolutions per stage; 1, 3, 5, 7 give 8, 20, 32, 44 layers with
        weights, counting the head's two.
    scaling: see `scaled`. normalisation, norm_momentum, activation: after each convolution, see `normalised`.
    initialiser: of all kernels and dense weights, in Keras's words; "truncated_normal" has standard deviation 0.05;
        "lsuv" takes its values from training images, see `blocks.LSUV`. Biases begin at 0.
    first_kernel: by how much the initial kernel of conv1a is multiplied, with "glorot_uniform" and plain connections.
    downsampling: see `downsampled`; "stride" gives the last convolution of each stage a stride of 2.
    head: see `headed`; dense_units: of its hidden layer.
    dropout: before the last layer; spatial_dropout: of whole channels, after each downsampling; shares from 0, below 1.
    connections: of a stage's convolutions, see `residual_stage`, `dense_stage`, `inception_stage`.

    A convolution keeps its bias where a normalisation follows, so that nothing else differs from *plain*.
    Raises ValueError for a word that is not among `CHOICES`, and for two arguments that do not go together.
    """
    chosen = {
        "scaling": scaling, "normalisation": normalisation, "initialiser": initialiser, "activation": activation,
        "downsampling": downsampling, "head": head, "connections": connections,
    }  # fmt: skip
    _check(chosen)
    initial = LSUV if initialiser == "lsuv" else functools.partial(keras.initializers.get, initialiser)
    if first_kernel != 1 and (initialiser, connections) != ("glorot_uniform", "plain"):
        raise ValueError("baseline: first_kernel needs glorot_uniform and plain connections.")
    convolution = functools.partial(_convolution, initial)
    first = functools.partial(_multiplied_glorot, first_kernel) if first_kernel != 1 else initial
    finish = functools.partial(_finished, normalisation, norm_momentum, activation)

    images = keras.Input((32, 32, 3), name="images")
    x = scaled(images, scaling)
    for stage, width in enumerate(filters, 1):
        names = [f"conv{stage}{letter}" for letter in string.ascii_lowercase[: 2 * pairs]]
        if connections == "residual":
            x = residual_stage(x, width, names, convolution, finish)
        elif connections == "dense":
            x = dense_stage(x, width, names, convolution, finish)
        elif connections == "inception":
            x = inception_stage(x, width, names, convolution, finish)
        else:
            for name in names:
                strides = 2 if downsampling == "stride" and name == names[-1] else 1
                make = functools.partial(_convolution, first) if name == "conv1a" else convolution
                x = finish(make(x, width, name, strides=strides), name)
        x = downsampled(x, downsampling, stage, convolution, finish)
        if spatial_dropout:
            x = layers.SpatialDropout2D(spatial_dropout, name=f"drop{stage}")(x)
    logits = headed(x, head, dense_units, classes, activation, dropout, initial)
    return keras.Model(images, logits, name="baseline")


def _check(chosen: dict[str, str]) -> None:
    for argument, word in chosen.items():
        if word not in CHOICES[argument]:
            raise ValueError(f"baseline: {argument} must be one of {', '.join(CHOICES[argument])}, not {word!r}.")
    if chosen["downsampling"] == "stride" and chosen["connections"] != "plain":
        raise ValueError(f"baseline: with {chosen['connections']} connections, no convolution takes the stride.")


def _multiplied_glorot(factor: float):
    """The kernel of glorot_uniform, multiplied: its variance by the factor's square."""
    return keras.initializers.VarianceScaling(factor**2, "fan_avg", "uniform")


def _convolution(initial, x, width: int, name: str, kernel_size=3, strides: int = 1):
    return layers.Conv2D(width, kernel_size, strides, padding="same", kernel_initializer=initial(), name=name)(x)


def _finished(normalisation: str, momentum: float, activation: str, x, name: str, around=None):
    """What follows a convolution: normalisation and activation. around: is added before the activation."""
    after = normalisation == "batch_after_activation"
    if not after:
        x = normalised(x, normalisation, momentum, f"{name}_norm")
    if around is not None:
        x = layers.Add(name=f"{name}_add")([x, around])
    x = layers.Activation(activation, name=f"{name}_{activation}")(x)
    return normalised(x, "batch", momentum, f"{name}_norm") if after else x


def normalised(x, kind: str, momentum: float, name: str):
    """Feature maps, (n, height, width, channels), normalised; of "none", themselves.

    "batch": per channel over the images of a batch; momentum: how much of the moving statistics stays per step. "layer"
    and "group": per image, over all channels or over each eighth of them (Wu & He, Group Normalization, 2018).
    """
    if kind == "batch":
        return layers.BatchNormalization(momentum=momentum, name=name)(x)
    if kind in ("layer", "group"):
        return layers.GroupNormalization(1 if kind == "layer" else 8, name=name)(x)
    return x


def scaled(images, how: str):
    """Images, (n, 32, 32, 3) with values from 0 to 255, as the first convolution gets them.

    "raw": as they are. "0_to_1", "minus_half_to_half", "minus_1_to_1": in that range. "per_channel": each channel minus
    its mean, divided by its standard deviation, both of the training images. "per_image": each image minus its mean,
    divided by its standard deviation. "zca": as per channel, then `ZCAWhitening`. "batch_norm": by a batch
    normalisation that learns.
    """
    if how == "raw":
        return images
    if how == "batch_norm":
        return layers.BatchNormalization(momentum=0.9, name="normalise")(images)
    if how == "minus_half_to_half":
        return layers.Rescaling(1 / 255, -0.5, name="scale")(images)
    if how == "minus_1_to_1":
        return layers.Rescaling(1 / 127.5, -1, name="scale")(images)
    dtype = "float32" if how == "zca" else None  # sums of 3,072 products that cancel: bfloat16 would lose them
    x = layers.Rescaling(1 / 255, name="scale", dtype=dtype)(images)
    if how == "per_image":
        return layers.LayerNormalization(
            axis=(1, 2, 3), epsilon=1e-6, center=False, scale=False, name="normalise"
        )(x)  # fmt: skip
    if how in ("per_channel", "zca"):
        variance = [std**2 for std in CIFAR10_STD]
        x = layers.Normalization(mean=CIFAR10_MEAN, variance=variance, name="normalise", dtype=dtype)(x)
    return ZCAWhitening(name="whiten", dtype=dtype)(x) if how == "zca" else x


def downsampled(x, how: str, stage: int, convolution, finish):
    """Feature maps with half the side.

    "max", "average": of 2×2 values. "stride": the stage's last convolution did it. "extra_convolution": one more 3×3
    convolution, with stride 2 (Springenberg et al., Striving for Simplicity, 2015). "blur": each second value of a blur
    with the kernel 1 2 1, which two averages of 2×2 values make. "max_blur": a maximum of 2×2 values at each place,
    then the blur (Zhang, Making Convolutional Networks Shift-Invariant Again, 2019).
    """
    if how == "extra_convolution":
        name = f"conv{stage}_down"
        return finish(convolution(x, x.shape[-1], name, strides=2), name)
    if how == "max":
        return layers.MaxPooling2D(2, name=f"pool{stage}")(x)
    if how == "max_blur":
        x = layers.MaxPooling2D(2, strides=1, padding="same", name=f"pool{stage}")(x)
    if how in ("blur", "max_blur"):
        x = layers.AveragePooling2D(2, strides=1, padding="same", name=f"blur{stage}")(x)
    return x if how == "stride" else layers.AveragePooling2D(2, name=f"average{stage}")(x)


def headed(x, kind: str, units: int, classes: int, activation: str, dropout: float, initial):
    """Logits, (n, classes), from feature maps.

    "dense": all values, a hidden layer of so many units, the output layer. "linear": all values, the output layer.
    "average", "max": of each channel over its map, the output layer. "average_dense": the same with a hidden layer.
    "convolution_average": a 1×1 convolution makes a map per class, and their averages are the logits (Lin et al.,
    Network in Network, 2014).
    """
    if kind == "convolution_average":
        if dropout:
            x = layers.Dropout(dropout, name="dropout")(x)
        x = layers.Conv2D(classes, 1, kernel_initializer=initial(), name="class_maps")(x)
        return layers.GlobalAveragePooling2D(name="logits", dtype="float32")(x)
    if kind in ("dense", "linear"):
        x = layers.Flatten(name="flatten")(x)
    elif kind == "max":
        x = layers.GlobalMaxPooling2D(name="pool")(x)
    else:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
    if kind in ("dense", "average_dense"):
        x = layers.Dense(units, kernel_initializer=initial(), name="dense")(x)
        x = layers.Activation(activation, name=f"dense_{activation}")(x)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    return layers.Dense(classes, kernel_initializer=initial(), dtype="float32", name="logits")(x)


def residual_stage(x, width: int, names: list[str], convolution, finish):
    """Pairs of convolutions; what comes into a pair is added before its last activation (He et al., 2016). Where the
    channels change, a 1×1 convolution takes it there."""
    for first, second in zip(names[::2], names[1::2], strict=True):
        around = x if x.shape[-1] == width else convolution(x, width, f"{first}_around", kernel_size=1)
        x = finish(convolution(x, width, first), first)
        x = finish(convolution(x, width, second), second, around)
    return x


def dense_stage(x, width: int, names: list[str], convolution, finish):
    """Each convolution sees the outputs of all before it; a 1×1 convolution takes all of them to the stage's width
    (Huang et al., Densely Connected Convolutional Networks, 2017). So many channels each that the stage has about as
    many weights, and MACs, as a plain one."""
    growth = dense_growth(x.shape[-1], width, len(names))
    joined = x
    for name in names:
        added = finish(convolution(joined, growth, name), name)
        joined = layers.Concatenate(name=f"{name}_join")([joined, added])
    name = f"{names[0][:-1]}_transition"
    return finish(convolution(joined, width, name, kernel_size=1), name)


def dense_growth(inputs: int, width: int, count: int) -> int:
    """How many channels each of `count` densely connected convolutions adds, so that the stage has about as many
    weights as as many plain ones of `width`."""
    plain = 9 * width * (inputs + (count - 1) * width)

    def weights(growth):
        convolutions = sum(9 * growth * (inputs + number * growth) for number in range(count))
        return convolutions + (inputs + count * growth) * width

    return min(range(1, width + 1), key=lambda growth: abs(weights(growth) - plain))


def inception_stage(x, width: int, names: list[str], convolution, finish):
    """Each convolution is three side by side, 1×1, 3×3, and 1×5 followed by 5×1, a third of the width each (Szegedy et
    al., 2015 and 2016). Raises ValueError for a width that is no multiple of three."""
    part, rest = divmod(width, 3)
    if rest:
        raise ValueError(f"baseline: inception connections need filters in multiples of 3, not {width}.")
    for name in names:
        wide = convolution(convolution(x, part, f"{name}_1x5", kernel_size=(1, 5)), part, f"{name}_5x1", (5, 1))
        branches = [convolution(x, part, f"{name}_1x1", kernel_size=1), convolution(x, part, f"{name}_3x3"), wide]
        x = finish(layers.Concatenate(name=f"{name}_join")(branches), name)
    return x
