"""The kernel lens: what JavaScript computes is what Keras computes."""

import json

import hypothesis
import lens_in_javascript
import numpy as np
import pytest
from hypothesis import strategies
from lens_in_javascript import assert_close, assert_equal, in_javascript, unknown, with_weights

from shathenet_utils import models
from shathenet_utils.backend import keras, layers, tf
from shathenet_utils.blocks import Whitening
from shathenet_utils.lens import encoding
from shathenet_utils.lens.activations import ACTIVATIONS
from shathenet_utils.lens.graph import graph

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(browser):
    page = lens_in_javascript.new_page(browser)
    yield page
    page.close()


FUNCTIONS = strategies.sampled_from(ACTIVATIONS[:-2])


@strategies.composite
def networks(draw):
    """A random network of every kind of layer that the lens knows, in a chain with branches."""
    side = strategies.integers(4, 11)
    images = keras.Input((draw(side), draw(side), draw(strategies.integers(1, 3))), name="images")
    x, number = images, strategies.integers(1, 3)
    padding = strategies.sampled_from(("same", "valid"))
    for _ in range(draw(strategies.integers(2, 7))):
        height, width, channels = x.shape[1:]
        kernel = (draw(strategies.integers(1, min(4, height))), draw(strategies.integers(1, min(4, width))))
        kind = draw(strategies.sampled_from(KINDS))
        if kind == "conv":
            strides = draw(number)
            dilation = draw(number) if strides == 1 else 1
            groups = draw(strategies.sampled_from([n for n in (1, 2, 3) if channels % n == 0]))
            fits = all((each - 1) * dilation < side for each, side in zip(kernel, (height, width), strict=True))
            x = layers.Conv2D(
                groups * draw(number), kernel, strides, draw(padding) if fits else "same", dilation_rate=dilation,
                groups=groups, activation=draw(FUNCTIONS), use_bias=draw(strategies.booleans()),
            )(x)  # fmt: skip
        elif kind == "depthwise":
            square = min(kernel)
            x = layers.DepthwiseConv2D(
                square, draw(number), draw(padding), draw(number), activation=draw(FUNCTIONS)
            )(x)  # fmt: skip
        elif kind == "pool":
            pool = draw(strategies.sampled_from((layers.MaxPooling2D, layers.AveragePooling2D)))
            x = pool(kernel, draw(number), draw(padding))(x)
        elif kind == "separable":
            x = layers.SeparableConv2D(
                draw(number), min(kernel), draw(number), draw(padding), depth_multiplier=draw(number),
                activation=draw(FUNCTIONS),
            )(x)  # fmt: skip
        elif kind == "transposed":
            strides = draw(number)
            dilation = draw(number) if strides == 1 else 1
            x = layers.Conv2DTranspose(
                draw(number), kernel, strides, draw(padding), dilation_rate=dilation, activation=draw(FUNCTIONS)
            )(x)  # fmt: skip
            x = layers.Resizing(min(x.shape[1], 11), min(x.shape[2], 11), interpolation="nearest")(x)
        elif kind == "standardise":
            groups = draw(strategies.sampled_from([n for n in (-1, 1, 2, 3) if channels % n == 0]))
            axis = draw(strategies.sampled_from(([-1], [1, 2], [1, 2, 3], [2, 3])))
            x = draw(strategies.sampled_from((
                layers.GroupNormalization(groups, epsilon=1e-2), layers.LayerNormalization(axis=axis, epsilon=1e-2),
                layers.RMSNormalization(epsilon=1e-2), layers.UnitNormalization(axis=axis),
                layers.LayerNormalization(center=False, scale=False, epsilon=1e-2),
                layers.BatchNormalization(axis=draw(strategies.sampled_from((1, 2, 3)))),
            )))(x)  # fmt: skip
        elif kind == "order":
            x = draw(strategies.sampled_from((
                layers.Permute((2, 1, 3)), layers.Permute((3, 1, 2)), layers.Reshape((width, height, channels)),
                layers.Reshape((-1, 1, channels)), layers.RandomFlip(), layers.ActivityRegularization(0.1),
            )))(x)  # fmt: skip
        elif kind == "norm":
            scale, center = draw(strategies.booleans()), draw(strategies.booleans())
            x = layers.BatchNormalization(scale=scale, center=center, epsilon=1e-2)(x)
        elif kind == "activation":
            x = draw(strategies.sampled_from((
                layers.Activation(draw(FUNCTIONS)), layers.ReLU(1.5, 0.1, 0.2), layers.LeakyReLU(0.3), layers.ELU(0.7),
                layers.PReLU(), layers.PReLU(shared_axes=[1, 2]), layers.Softmax(), layers.Softmax(axis=[1, 2]),
                layers.Activation("softmax"), layers.Activation("log_softmax"), layers.Dropout(0.5),
                layers.Rescaling(0.5, -1),
            )))(x)  # fmt: skip
        elif kind == "resize":
            how = draw(strategies.sampled_from(("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")))
            size = (draw(side), draw(side))
            x = draw(strategies.sampled_from((
                layers.Resizing(*size, interpolation=how), layers.UpSampling2D((2, 1), interpolation=how),
                layers.Resizing(*size, antialias=True), layers.Resizing(*size, crop_to_aspect_ratio=True),
                layers.Resizing(*size, pad_to_aspect_ratio=True), layers.CenterCrop(*size),
                layers.AdaptiveAveragePooling2D((min(size[0], height), min(size[1], width))),
            )))(x)  # fmt: skip
        elif kind == "frame":
            around = ((draw(number), 0), (1, draw(number)))
            x = layers.ZeroPadding2D(around)(x)
            if draw(strategies.booleans()):
                x = layers.Cropping2D(((1, 0), (0, 1)))(x)
        else:
            other = layers.Conv2D(channels, 1, activation="tanh")(x)
            how = draw(strategies.sampled_from((
                layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum,
                layers.Concatenate,
            )))  # fmt: skip
            if draw(strategies.booleans()) and how is not layers.Concatenate:
                other = layers.GlobalAveragePooling2D()(other)  # one number per channel, for all places
            x = how()([x, other])
    end = draw(strategies.sampled_from((layers.Flatten, layers.GlobalMaxPooling2D, layers.GlobalAveragePooling2D)))
    x = layers.Dense(4, activation="relu")(end()(x))
    return keras.Model(images, layers.Dense(3, activation=draw(strategies.sampled_from((None, "softmax"))))(x))


KINDS = (
    "conv", "depthwise", "separable", "transposed", "pool", "norm", "standardise", "activation", "order", "resize",
    "frame", "join",
)  # fmt: skip


@hypothesis.settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
    phases=[hypothesis.Phase.generate],  # the first layer that differs is named: that is small enough
)
@hypothesis.given(model=networks(), seed=strategies.integers(0, 99))
def test_javascript_computes_what_keras_does(page, model, seed):
    image = np.random.default_rng(seed).normal(size=model.input.shape[1:]).astype(np.float32)
    assert_equal(page, with_weights(model), image)


@pytest.mark.parametrize("name", ["v1_0", "v1_1", "v1_2", "thin_resnet", "airbench"])
def test_javascript_computes_what_the_books_networks_do(page, name):
    image = np.random.default_rng(1).integers(0, 256, (32, 32, 3)).astype(np.float32)
    assert_equal(page, with_weights(models.build(name)), image)


def test_nested_and_sequential_networks_are_unfolded(page):
    inner = keras.Sequential([keras.Input((5, 4, 2)), layers.Conv2D(3, 2), layers.ReLU()], name="inner")
    images = keras.Input((5, 4, 2), name="images")
    both = layers.Concatenate()([inner(images), inner(layers.Rescaling(2.0)(images))])
    model = with_weights(keras.Model(images, layers.Flatten()(both)))
    image = np.random.default_rng(2).normal(size=(5, 4, 2)).astype(np.float32)
    found, ours = in_javascript(page, model, image)
    assert [layer["name"].split("/")[0] for layer in found].count("inner") == 4
    assert_close(ours[-1], model(image[None])[0])
    chain = with_weights(keras.Sequential([keras.Input((5, 4, 2)), layers.Conv2D(3, 2), layers.Flatten()]))
    assert_close(in_javascript(page, chain, image)[1][-1], chain(image[None])[0])


def test_nested_models_with_layers_of_one_name_keep_their_own_weights(page):
    def part(filters):
        images = keras.Input((6, 6, filters))
        return keras.Model(images, layers.Conv2D(filters, 3, padding="same", name="conv")(images))

    images = keras.Input((6, 6, 2))
    one, other = part(2), part(2)
    one.name, other.name = "one", "other"
    model = with_weights(keras.Model(images, other(one(images))))
    for weight in other.weights:
        weight.assign(-weight)
    found = graph(model)
    assert len(found.weights) == 4
    image = np.random.default_rng(3).normal(size=(6, 6, 2)).astype(np.float32)
    assert_close(in_javascript(page, model, image)[1][-1], model(image[None])[0])


class Halved(layers.Layer):
    """A layer of a reader's own, with a layer, an operation and weights in it."""

    def build(self, shape):
        self.conv = layers.Conv2D(shape[-1], 1)
        self.conv.build(shape)
        self.gamma = self.add_weight(shape=(shape[-1],), initializer="ones", name="gamma")

    def call(self, x, training=None):
        return layers.Dropout(0.5)(self.conv(x), training=training) * self.gamma / 2


class Masked(layers.Conv2D):
    """A convolution that changes its kernel first."""

    def call(self, x):
        mask = np.tri(*self.kernel.shape[:2], dtype=np.float32)[:, :, None, None]
        return keras.ops.conv(x, self.kernel * mask, padding=self.padding) + self.bias


class Named(layers.Conv2D):
    """A convolution with a name."""

    def __init__(self, filters, **arguments):
        super().__init__(filters, 3, name="mine", **arguments)


def doubled():
    layer = layers.Conv2D(2, 3)
    single = layer.call
    layer.call = lambda x: 2 * single(x)
    return layer


OWN = {
    "a layer with layers in it": lambda: Halved(),
    "a layer whose call was replaced": doubled,
    "a convolution that computes otherwise": lambda: Masked(2, 3),
    "a convolution by another name": lambda: Named(2),
    "a Lambda of keras.ops": lambda: layers.Lambda(lambda x: keras.ops.relu(1 - x / 3)),
    "tf.nn.relu": lambda: layers.Conv2D(2, 3, activation=tf.nn.relu),
    "tf.nn.gelu": lambda: layers.Conv2D(2, 3, activation=lambda x: tf.nn.gelu(x, approximate=True)),
    "a function of keras.ops": lambda: layers.Dense(2, activation=lambda x: keras.ops.square(x) - 1),
    "a softmax over the rows": lambda: layers.Conv2D(2, 3, activation=lambda x: keras.ops.softmax(x, axis=1)),
    "a log-softmax over the rows": lambda: layers.Activation(lambda x: keras.ops.log_softmax(x, axis=1)),
    "a ReLU up to 5000": lambda: layers.Activation(lambda x: keras.ops.clip(10_000 * x, 0, 5000)),
    "a layer as activation": lambda: layers.Conv2D(2, 3, activation=layers.LeakyReLU(0.1)),
    "PReLU as activation": lambda: layers.Conv2D(2, 3, activation=layers.PReLU(shared_axes=[1, 2])),
    "spectral normalisation": lambda: layers.SpectralNormalization(layers.Conv2D(2, 3)),
    "augmentation": lambda: keras.Sequential([
        layers.RandomFlip(), layers.RandomRotation(0.1), layers.RandomZoom(0.1), layers.RandomContrast(0.1),
        layers.RandomTranslation(0.1, 0.1), layers.RandomCrop(6, 6), layers.RandomBrightness(0.1),
        layers.RandomErasing(), layers.GaussianNoise(0.1),
    ]),
}  # fmt: skip


@pytest.mark.parametrize("make", OWN.values(), ids=OWN)
def test_layers_and_functions_of_a_readers_own_are_followed(page, make):
    images = keras.Input((6, 6, 2), name="images")
    before = layers.Conv2D(2, 3, padding="same", name="before")
    layer = make()
    model = keras.Model(images, layers.Flatten()(layer(before(images))))
    nodes = len(layer._inbound_nodes)
    assert_equal(page, with_weights(model), np.random.default_rng(4).normal(size=(6, 6, 2)).astype(np.float32))
    assert len(layer._inbound_nodes) == nodes
    assert layer.output is not None, "the reader's layer is left as it was"


class Squares(layers.Layer):
    """A layer with TensorFlow's functions, which leave no graph of Keras's."""

    def call(self, x):
        return tf.square(x)


class Noisy(layers.Layer):
    """A layer that computes something else each time, in inference too."""

    def call(self, x):
        return x + keras.random.normal((6, 6, 2))


def quantised():
    layer = layers.Dense(2)
    layer.build((None, 6, 6, 2))
    layer.quantize("int8")
    return layer


def masked(x):
    """A list of tokens, those that are all 0 masked."""
    return layers.Masking()(keras.ops.relu(layers.Reshape((36, 2))(x)))


UNKNOWN = {
    "Squares": lambda x: Squares()(x),
    "Noisy which computes something else each time": lambda x: Noisy()(x),
    "Lambda": lambda x: layers.Lambda(lambda x: tf.square(x))(x),
    "Conv2D with activation <lambda>": lambda x: layers.Conv2D(2, 1, activation=lambda x: tf.square(x))(x),
    "AutoContrast": lambda x: layers.AutoContrast()(x),
    "keras.ops.Cumsum": lambda x: keras.ops.cumsum(x, axis=1),
    "keras.ops.Mean over the batch": lambda x: x - keras.ops.mean(x, axis=0, keepdims=True),
    "keras.ops.Reshape over the batch": lambda x: keras.ops.reshape(keras.ops.reshape(x, (-1, 2)), (-1, 6, 6, 2)),
    "keras.ops.Add over the batch": lambda x: x + keras.ops.mean(x, axis=2),
    "Softmax called with several tensors": lambda x: layers.Softmax()(x, mask=x > 0),
    "MultiHeadAttention with a mask": lambda x: layers.MultiHeadAttention(2, 3)(masked(x), masked(x)),
    "Attention with a mask": lambda x: layers.Attention()([masked(x), masked(x)]),
    "GlobalAveragePooling1D with a mask": lambda x: layers.GlobalAveragePooling1D()(masked(x)),
    "Flatten with channels first": lambda x: layers.Flatten(data_format="channels_first")(x),
    "Dense in int8": lambda x: quantised()(x),
    "Conv2D with channels first": lambda x: layers.Conv2D(6, 1, data_format="channels_first")(x),
}


@pytest.mark.parametrize(("told", "make"), UNKNOWN.items(), ids=UNKNOWN)
def test_an_unknown_layer_is_named_and_nothing_after_it_is_guessed(page, told, make):
    images = keras.Input((6, 6, 2), name="images")
    before = layers.Conv2D(2, 3, padding="same", name="before")(images)
    model = keras.Model(images, layers.Flatten()(make(before)))
    found, ours = in_javascript(page, model, np.ones((6, 6, 2), np.float32))
    assert unknown(found)[0] == told
    place = next(place for place, layer in enumerate(found) if layer["kind"] == "unknown")
    assert ours[1] is not None
    assert ours[place] is None
    assert ours[-1] is None


def test_whole_numbers_that_may_wrap_around_are_not_guessed():
    images = keras.Input((6, 6, 2), dtype="uint8")
    found = graph(keras.Model(images, (images + images) // 2)).layers
    assert unknown(found) == ["keras.ops.Add in uint8, whose numbers wrap around"]
    assert unknown(graph(keras.Model(images, layers.Rescaling(1 / 255)(images // 2))).layers) == []


def test_numbers_survive_their_encoding(page):
    values = np.array([0, -0.0, 1, 1e-7, -65504, 0.1, np.nan, np.inf, -np.inf], np.float16)
    for array in (values, values.astype(np.float32), np.arange(256, dtype=np.uint8)):
        told = page.evaluate("(found) => Array.from(window.lens.decode(found), String)", encoding.encode(array))
        read = np.array([float(text.replace("Infinity", "inf")) for text in told])
        np.testing.assert_array_equal(read, array.astype(np.float64))


def test_numbers_beyond_float16_are_kept_in_float32(page):
    for array, kind in (
        ([1e5, 1.0], "f4"), ([1e-9, 1.0], "f4"), ([0.0, 1.0], "f2"), ([np.nan, 1.0], "f2"),
        (np.full((3, 3), 1e-6), "f4"), ([[1e-9, 1.0]], "f2"),
    ):  # fmt: skip
        found = encoding.rounded(np.array(array, np.float32))
        assert found["dtype"] == kind, array
    images = keras.Input((2, 2, 1), name="images")
    conv = layers.Conv2D(1, 1, kernel_initializer=keras.initializers.Constant(2.0))
    norm = layers.BatchNormalization()
    model = keras.Model(images, norm(conv(images)))
    norm.moving_mean.assign([255.0])
    norm.moving_variance.assign([1e5])
    _, ours = in_javascript(page, model, np.full((2, 2, 1), 255, np.float32))
    np.testing.assert_allclose(ours[-1], 0.806, atol=5e-4)
    assert_close(ours[-1], model(np.full((1, 2, 2, 1), 255.0))[0])


def test_a_dense_layer_on_a_map_sums_over_its_channels(page):
    images = keras.Input((6, 6, 2), name="images")
    model = keras.Model(images, layers.Dense(10, name="dense")(layers.Conv2D(4, 3, name="conv")(images)))
    assert_equal(page, with_weights(model), np.random.default_rng(5).normal(size=(6, 6, 2)).astype(np.float32))
    assert graph(model).layers[-1]["shape"] == [4, 4, 10]


def test_the_description_is_json():
    found = graph(models.build("airbench")).layers
    assert json.loads(json.dumps(found)) == found
    assert any(isinstance(layer, Whitening) for layer in models.build("airbench").layers)


@pytest.mark.parametrize(
    ("value", "sentence", "cell"),
    [
        ("0", "0.000", "0"), ("-0.25", "−0.250", "−0.250"), ("9.99996", "10.000", "10.00"),
        ("99.9996", "100.000", "100.0"),
        ("8.6e-4", "0.00086", "0.0009"), ("-8.6e-5", "−8.60e-5", "−8.6e-5"), ("1e-10", "1.00e-10", "1.0e-10"),
        ("-999.9", "−999.900", "−999.9"), ("1234.56", "1234.6", "1235"), ("99999", "99999.0", "99999"),
        ("123456", "1.23e5", "1.2e5"), ("NaN", "NaN", "NaN"), ("-Infinity", "−Infinity", "−Infinity"),
    ],
)  # fmt: skip
def test_a_number_is_written_in_a_sentence_and_in_a_cell(page, value, sentence, cell):
    assert page.evaluate(f"[window.lens.format({value}), window.lens.brief({value})]") == [sentence, cell]
