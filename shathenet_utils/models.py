"""The versions, one plain function each, and what can be counted of any network.

A model takes pictures of shape (n, height, width, channels) with values 0 to 255, uint8 or float32, and
returns logits, float32 (n, classes). Scaling and enlarging are layers of the model, inside the graph.
"""

import hashlib
import json
import math

from shathenet_utils.blocks import Dirac, Whitening, inception, keras, layers, ops, tf, torch_uniform


class PixelRangeError(ValueError):
    """Pictures in another range than 0 to 255."""

    _keras_call_info_injected = True  # Keras then passes the sentence on as it is, without the layers it came through


class PixelScaling(layers.Rescaling):
    """Values 0…255 to 0…1. Called with pictures that are plainly scaled already, it raises ValueError.

    The check reads values, so it works where there are some: on an eager call, not inside a graph.
    """

    def __init__(self, **arguments):
        super().__init__(scale=1 / 255, **arguments)

    def call(self, inputs):
        if isinstance(inputs, tf.Tensor) and hasattr(inputs, "numpy"):
            low, high = float(ops.min(inputs)), float(ops.max(inputs))
            fractions = bool(ops.any(inputs != ops.floor(inputs)))
            finite = bool(ops.all(ops.isfinite(inputs)))  # NaN is passed over by some minima and maxima
            if low < 0 or high > 255 or (fractions and high <= 1) or not finite:
                raise PixelRangeError(
                    f"The model was given pictures with values from {low:.3g} to {high:.3g}; it scales them itself, "
                    "so pass them as the dataset holds them, 0 to 255."
                )
        return super().call(inputs)


def v1_0(interpolation: str = "nearest", classes: int = 10) -> keras.Model:
    """ShatheNet v1.0: three strided convolutions and two dense layers; 17,882 parameters, 2.9M MACs.

    CIFAR-10's 32×32 pictures are enlarged six times, to the 192×192 of the original. `interpolation`:
    "nearest" or "bilinear"; the original does not say which. Kernels start from Keras's truncated normal
    (standard deviation 0.05), as in the original project.
    Source: github.com/Shathe/DeepLearning, ShatheNet/models/ShatheNet.py, ShatheNet_v1_0.
    """
    start = "truncated_normal"
    pictures = keras.Input((32, 32, 3), name="pictures")
    x = PixelScaling(name="scale")(pictures)
    x = layers.UpSampling2D(6, interpolation=interpolation, name="enlarge")(x)
    for name, filters, kernel_size, strides in (("conv1", 16, 7, 6), ("conv2", 16, 5, 4), ("conv3", 32, 3, 2)):
        x = layers.Conv2D(
            filters, kernel_size, strides, padding="same", activation="relu", kernel_initializer=start, name=name
        )(x)
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(32, activation="relu", kernel_initializer=start, name="dense")(x)
    logits = layers.Dense(classes, kernel_initializer=start, dtype="float32", name="logits")(x)
    return keras.Model(pictures, logits, name="v1_0")


CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)
"""Of the training pictures' channels, on the scale 0 to 1, in the digits that published recipes use."""


def v1_1(size: int = 36, classes: int = 10, original: bool = False) -> keras.Model:
    """ShatheNet v1.1: three pairs of convolutions, the first of each with stride 2, and two dense layers; 1,252,138
    parameters.

    size: the side to which CIFAR-10's 32×32 pictures are enlarged (bilinear), 36 (36.6M MACs) or 40 (43.7M); the
    original's three max-pools are left out, so that the last map is 5×5×128 as there. original: as the original has it,
    enlarged to 299×299, with the pools: 1.48G MACs. Another size changes the parameters.
    Source: github.com/Shathe/DeepLearning, ShatheNet/models/ShatheNet.py (there ShatheNet_v1_2 in its last state).
    """
    start = "truncated_normal"
    size = 299 if original else size
    pictures = keras.Input((32, 32, 3), name="pictures")
    x = PixelScaling(name="scale")(pictures)
    x = layers.Resizing(size, size, name="enlarge")(x)
    for name, filters, kernel_size, strides, activation in (
        ("conv1a", 32, 7, 2, "relu"), ("conv1b", 32, 7, 1, None),
        ("conv2a", 64, 5, 2, "relu"), ("conv2b", 64, 5, 1, "relu"),
        ("conv3a", 128, 3, 2, "relu"), ("conv3b", 128, 3, 1, "relu"),
    ):  # fmt: skip
        x = layers.Conv2D(
            filters, kernel_size, strides, padding="same", activation=activation, kernel_initializer=start, name=name
        )(x)
        if original and name.endswith("b"):
            x = layers.MaxPooling2D(2, name=f"pool{name[-2]}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(256, activation="relu", name="dense")(x)
    logits = layers.Dense(classes, dtype="float32", name="logits")(x)
    return keras.Model(pictures, logits, name="v1_1")


KERNELS = ("stacked", "3x3", "5x5", "side_by_side")


def v1_2(
    kernels: str = "stacked",
    widths: tuple[int, ...] = (32, 64, 64, 128, 128),
    dense: int = 512,
    classes: int = 10,
    original: bool = False,
    start: str = "truncated_normal",
    sides: tuple[int, ...] = (1, 3, 5),
    factorised: bool = True,
) -> keras.Model:
    """ShatheNet v1.2: five pairs of convolutions with pools between them, and two dense layers; 1,269,418 parameters.

    CIFAR-10's 32×32 pictures are enlarged to 48×48 (bilinear), padding is "same", and the original's fifth pool is left
    out, so that the last map is 3×3×128 as there; 118M MACs. original: as the original has it, enlarged to 224×224,
    padding "valid", five pools: 2.2G MACs. kernels: "stacked" as the original stacks them, 5×5 in the first pair, 3×3
    in the others; "3x3" or "5x5" throughout; or "side_by_side", each convolution an `inception` with these sides
    and, if factorised, a factorised 5×5. widths: of the pairs, for the latter multiples of the branches. start: a Keras
    initialiser of the convolutions' kernels; the original's has the standard deviation 0.05 whatever the kernel's size.
    Source: github.com/Shathe/DeepLearning, ShatheNet/models/ShatheNet.py, "mix and add different convolutions".

    Raises ValueError for unknown kernels.
    """
    if kernels not in KERNELS:
        raise ValueError(f"v1_2: kernels must be one of {', '.join(KERNELS)}, not {kernels!r}.")
    padding = "valid" if original else "same"
    size, pools = (224, 5) if original else (48, 4)
    pictures = keras.Input((32, 32, 3), name="pictures")
    x = PixelScaling(name="scale")(pictures)
    x = layers.Resizing(size, size, name="enlarge")(x)
    for pair, width in enumerate(widths, 1):
        side = {"stacked": 5 if pair == 1 else 3, "3x3": 3, "5x5": 5}.get(kernels)
        for part in "ab":
            activation = None if (pair, part) == (1, "b") else "relu"
            arguments = {"padding": padding, "kernel_initializer": start, "name": f"conv{pair}{part}"}
            if side:
                x = layers.Conv2D(width, side, activation=activation, **arguments)(x)
            else:
                x = inception(x, width, activation, sides, factorised, **arguments)
        if pair <= pools:
            x = layers.MaxPooling2D(2, name=f"pool{pair}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(dense, activation="relu", name="dense")(x)
    logits = layers.Dense(classes, dtype="float32", name="logits")(x)
    return keras.Model(pictures, logits, name="v1_2")


def thin_resnet(widths: tuple[int, ...] = (9, 16, 27), classes: int = 10) -> keras.Model:
    """A residual network of one block a width, after He et al. (2016); 17,058 parameters, 3.4M MACs at the default
    widths.

    The first convolution and each block have a width of their own; every block but the first halves the map's side.
    Where the width or the side changes, the way around the block is a 1×1 convolution.
    """
    pictures = keras.Input((32, 32, 3), name="pictures")
    x = PixelScaling(name="scale")(pictures)
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
    return keras.Model(pictures, logits, name="thin_resnet")


def airbench(widths: tuple[int, ...] = (64, 128, 128), classes: int = 10) -> keras.Model:
    """A fast network after Keller Jordan's airbench (2024), with ReLU; 570,296 parameters, 54M MACs at the default
    widths.

    A whitening convolution, then a block a width (convolution, max-pool, batch norm, ReLU, convolution, batch norm,
    ReLU), a global max-pool and a dense layer without bias; logits are divided by nine. With widths 64/256/256, 1.97M.
    Source: K. Jordan, 94% on CIFAR-10 in 3.29 seconds on a single GPU, 2024; github.com/KellerJordan/cifar10-airbench.
    """
    pictures = keras.Input((32, 32, 3), name="pictures")
    x = PixelScaling(name="scale")(pictures)
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
    return keras.Model(pictures, logits, name="airbench")


FEATURES = 1280
"""Of EfficientNet-Lite0: what its last layer hands to the head."""


def linear_head(features: int = FEATURES, classes: int = 10) -> keras.Model:
    """A linear layer on what `pretrained.features` makes of pictures, uint8 (n, 1, 2, features); of the two views it
    takes the first. 12,810 parameters by default.
    """
    codes = keras.Input((1, 2, features), name="features")
    x = layers.Cropping2D(((0, 0), (0, 1)), name="first_view")(codes)
    x = layers.Rescaling(6**0.5 / 255, name="scale")(layers.Flatten(name="flatten")(x))
    x = layers.Multiply(name="square")([x, x])
    logits = layers.Dense(classes, dtype="float32", name="logits")(x)
    return keras.Model(codes, logits, name="linear_head")


def inception_v3(size: int = 75, classes: int = 10, inference: bool = False) -> keras.Model:
    """Inception-v3 with a head of its own, on pictures enlarged (bilinear) to size × size, at least 75; random weights.
    21,823,274 parameters with ten classes; 23,851,784 with ImageNet's 1,000.

    inference: batch norm never takes a batch's own statistics, for weights that come from elsewhere.
    Source: C. Szegedy et al., Rethinking the Inception Architecture for Computer Vision, 2016; layers: Keras's.
    """
    body = keras.applications.InceptionV3(
        include_top=False, weights=None, input_shape=(size, size, 3), pooling="avg", name="inception"
    )
    pictures = keras.Input((32, 32, 3), name="pictures")
    x = layers.Rescaling(1 / 127.5, -1, name="scale")(pictures)
    x = layers.Resizing(size, size, name="enlarge")(x)
    x = body(x, training=False) if inference else body(x)
    logits = layers.Dense(classes, dtype="float32", name="logits")(x)
    return keras.Model(pictures, logits, name="inception_v3")


def build(model, arguments: dict | None = None) -> keras.Model:
    """Build a model from its name in this module or from a reader's own function.

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
    if not hasattr(_graph(built), "operations"):
        raise TypeError(
            f"{model.__name__}() must return a model made of layers, starting from a keras.Input of known shape."
        )
    return built


MODELS = {
    function.__name__: function for function in (v1_0, v1_1, v1_2, thin_resnet, airbench, inception_v3, linear_head)
}


def _graph(model: keras.Model):
    """The graph of operations behind a model: itself, or what a `Sequential` keeps."""
    return model._functional if isinstance(model, keras.Sequential) else model


def _calls(model: keras.Model) -> list:
    """Keras's nodes, one a call of a layer in the model's graph; a shared layer has several."""
    graph = _graph(model)
    ours = {id(node) for nodes in graph._nodes_by_depth.values() for node in nodes}
    return [node for operation in graph.operations for node in operation._inbound_nodes if id(node) in ours]


def layer_table(model: keras.Model) -> list[dict]:
    """A row a layer: name, kind, output shape (without the batch), parameters, how they are counted, MACs a picture.

    MACs (multiply-accumulates) are those of convolutions and dense layers; activations, pools,
    normalisations and the enlargement count as none, as is usual. A layer that is called again has a row
    a call, its parameters in the first. Raises NotImplementedError for a layer with a kernel that it can't count.
    """
    rows, seen = [], set()
    for call in _calls(model):
        layer = call.operation
        if isinstance(layer, layers.InputLayer) or not isinstance(layer, layers.Layer):
            continue
        if isinstance(layer, keras.Model):
            rows += layer_table(layer)
            continue
        shape = tuple(call.output_tensors[0].shape[1:])
        macs, count = 0, ""
        if isinstance(layer, layers.DepthwiseConv2D):
            macs = math.prod(layer.kernel.shape) * math.prod(shape[:2])
        elif type(layer) in (layers.Conv1D, layers.Conv2D, Whitening):
            macs = math.prod(layer.kernel.shape) * math.prod(shape[:-1])
        elif type(layer) is layers.Dense:
            macs = layer.kernel.shape[0] * math.prod(shape)
        elif hasattr(layer, "kernel"):
            raise NotImplementedError(f"layer_table() can't count the MACs of {layer.name}, a {type(layer).__name__}.")
        if hasattr(layer, "kernel"):
            count = "·".join(map(str, layer.kernel.shape)) + (f" + {layer.bias.shape[0]}" if layer.use_bias else "")
        rows.append(
            {
                "layer": layer.name,
                "kind": type(layer).__name__,
                "output": shape,
                "parameters": 0 if layer in seen else layer.count_params(),
                "count": count,
                "macs": macs,
            }
        )
        seen.add(layer)
    return rows


def macs(model: keras.Model) -> int:
    """Multiply-accumulates of one forward pass of one picture."""
    return sum(row["macs"] for row in layer_table(model))


def traffic(model: keras.Model) -> list[dict]:
    """A row a layer: its arithmetic and its traffic for one picture, forward.

    flops: 2 · MACs. numbers: values read (inputs) and written (outputs), as if each layer went to memory. weights:
    values of its variables, read once a batch. A training step takes about three times all of it: forward, the
    gradients of the inputs, those of the weights. Source: S. Williams et al., Roofline, 2009.
    """
    counted = {row["layer"]: row for row in layer_table(model)}
    rows = []
    for call in _calls(model):
        layer = call.operation
        if isinstance(layer, layers.InputLayer) or layer.name not in counted:
            continue
        tensors = [*call.input_tensors, *call.output_tensors]
        rows.append(
            {
                "layer": layer.name,
                "kind": type(layer).__name__,
                "flops": 2 * counted[layer.name]["macs"],
                "numbers": sum(math.prod(tensor.shape[1:]) for tensor in tensors),
                "weights": sum(math.prod(weight.shape) for weight in layer.weights),
            }
        )
    return rows


def _essentials(value):
    """A layer's configuration without names, precision and what is not set."""
    if isinstance(value, dict):
        kept = {key: _essentials(item) for key, item in value.items() if key not in _NOT_ARCHITECTURE}
        return {key: item for key, item in kept.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_essentials(item) for item in value]
    return value


_NOT_ARCHITECTURE = {"name", "dtype", "module", "registered_name", "build_config", "seed", "batch_shape"}


def model_digest(model: keras.Model) -> str:
    """Sixteen hex digits that change with the architecture: kinds, arguments, shapes and wiring of layers.

    Names, precision and weights' values do not enter.
    """
    calls = _calls(model)
    producer = {id(tensor): index for index, call in enumerate(calls) for tensor in call.output_tensors}
    first = {}
    lines = []
    for index, call in enumerate(calls):
        layer, nested = call.operation, isinstance(call.operation, keras.Model)
        line = {
            "kind": type(layer).__name__,
            "arguments": model_digest(layer) if nested else _essentials(layer.get_config()),
            "from": [producer[id(tensor)] for tensor in call.input_tensors],
            "output": [list(tensor.shape) for tensor in call.output_tensors],
            "weights": [list(weight.shape) for weight in getattr(layer, "weights", ())],
        }
        if first.setdefault(layer, index) != index:
            line["shared"] = first[layer]
        if not isinstance(layer, layers.Layer):  # plain arithmetic, such as x + 1: its numbers are no layer's arguments
            given = keras.tree.flatten((call.arguments.args, call.arguments.kwargs))
            line["numbers"] = [str(value) for value in given if not isinstance(value, keras.KerasTensor)]
        lines.append(line)
    return hashlib.sha256(json.dumps(lines, sort_keys=True).encode()).hexdigest()[:16]
