"""Plain operations in a model's graph, `x + y`, `keras.ops.mean(x, axis=(1, 2))`: the lens computes what Keras does."""

import hypothesis
import lens_in_javascript
import numpy as np
import pytest
from hypothesis import strategies
from lens_in_javascript import assert_equal, with_weights

from shathenet_utils.backend import keras, layers, ops
from shathenet_utils.lens.graph import graph

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(browser):
    page = lens_in_javascript.new_page(browser)
    yield page
    page.close()


ON_ANY_MAP = {
    "x + 1": lambda x: x + 1,
    "1 - x": lambda x: 1 - x,
    "x / 255": lambda x: x / 255,
    "3 / (x² + 1)": lambda x: 3 / (x * x + 1),
    "-x": lambda x: -x,
    "abs(x) ** 1.5": lambda x: abs(x) ** 1.5,
    "x % 2": lambda x: x % 2,
    "x // 2": lambda x: x // 2,
    "x > 0": lambda x: ops.cast(x > 0, "float32") + x,
    "where": lambda x: ops.where(x > 0.5, x, 2 * x),
    "maximum": lambda x: ops.maximum(x, 0.25) - ops.minimum(0.5, x),
    "clip": lambda x: ops.clip(x, -0.5, 1),
    "relu": lambda x: ops.relu(x) + ops.relu6(3 * x) + ops.leaky_relu(x, 0.3) + ops.elu(x, 0.4) + ops.selu(x),
    "sigmoid": lambda x: ops.sigmoid(x) + ops.silu(x) + ops.softplus(x) + ops.softsign(x) + ops.log_sigmoid(x),
    "gelu": lambda x: ops.gelu(x) + ops.gelu(x, approximate=False) + ops.hard_sigmoid(x) + ops.hard_silu(x),
    "shrink": lambda x: ops.hard_shrink(x) + ops.soft_shrink(x) + ops.tanh_shrink(x) + ops.threshold(x, 0.1, -2.0),
    "hard tanh": lambda x: ops.hard_tanh(x) + ops.celu(x, 0.7) + ops.squareplus(x) + ops.sparse_plus(x),
    "exp": lambda x: ops.exp(x / 9) + ops.expm1(x / 9) + ops.log(ops.square(x) + 1) + ops.log1p(ops.abs(x)),
    "sqrt": lambda x: ops.sqrt(ops.abs(x)) + ops.rsqrt(ops.square(x) + 1) + ops.reciprocal(ops.square(x) + 2),
    "sin": lambda x: ops.sin(x) + ops.cos(x) + ops.tanh(x) + ops.arctan(x) + ops.sign(x) + ops.erf(x),
    "round": lambda x: ops.floor(3 * x) + ops.ceil(3 * x),
    "mean of a map": lambda x: x - ops.mean(x, axis=(1, 2), keepdims=True),
    "deviation of a row": lambda x: x / (ops.std(x, axis=2, keepdims=True) + 1),
    "variance of channels": lambda x: x * ops.var(x, axis=-1, keepdims=True),
    "largest": lambda x: ops.max(x, axis=[1, 2], keepdims=True) - ops.min(x, axis=3, keepdims=True) + x,
    "sum and product": lambda x: ops.sum(x, axis=1, keepdims=True) + ops.prod(x / 2, axis=3, keepdims=True) + x,
    "logsumexp": lambda x: x - ops.logsumexp(x, axis=-1, keepdims=True),
    "norm": lambda x: x / (ops.norm(x, axis=-1, keepdims=True) + 1),
    "moments": lambda x: ops.moments(x, axes=[1, 2], keepdims=True)[1] + x,
    "normalize": lambda x: ops.normalize(x, axis=-1),
    "softmax": lambda x: ops.softmax(x) + ops.softmax(x, axis=1) + ops.log_softmax(x),
    "slice": lambda x: x[:, ::-1, 1:, :] + x[:, :, :-1] - x[..., :1, :],
    "slice with a step": lambda x: x[:, ::2, :, -1:],
    "one channel": lambda x: x[..., 0, None],
    "pad with a number": lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 1), (2, 0)), constant_values=0.5),
    "pad by reflection": lambda x: ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect"),
    "flip": lambda x: ops.flip(x, axis=(1, 2)),
    "roll": lambda x: ops.roll(x, 1, axis=2),
    "repeat and tile": lambda x: ops.repeat(x, 2, axis=3) + ops.tile(x, (1, 1, 1, 2)),
    "reshape": lambda x: ops.reshape(x, (-1, x.shape[2], x.shape[1], x.shape[3])),
    "transpose": lambda x: ops.transpose(x, (0, 2, 3, 1)),
    "swapaxes": lambda x: ops.swapaxes(x, 1, 3),
    "moveaxis": lambda x: ops.moveaxis(x, 3, 1),
    "expand and squeeze": lambda x: ops.squeeze(ops.expand_dims(x, 2), 2),
    "concatenate": lambda x: ops.concatenate([x, 2 * x], axis=1),
    "stack": lambda x: ops.stack([x, -x], axis=3)[:, :, :, 1],
    "split": lambda x: ops.concatenate(ops.split(x, [1], axis=2)[::-1], axis=2),
    "channel shuffle": lambda x: ops.reshape(
        ops.transpose(ops.reshape(ops.tile(x, (1, 1, 1, 2)), (-1, *x.shape[1:3], 2, x.shape[3])), (0, 1, 2, 4, 3)),
        (-1, *x.shape[1:3], 2 * x.shape[3]),
    ),
    "matmul": lambda x: ops.matmul(ops.swapaxes(x, 2, 3), x),
    "einsum": lambda x: ops.einsum("bhwc,bhvc->bhwv", x, x),
    "times a matrix": lambda x: ops.matmul(x, np.linspace(-1, 1, 2 * x.shape[3], dtype=np.float32).reshape(-1, 2)),
    "average pool": lambda x: ops.average_pool(x, 2, 1, "same") + ops.max_pool(x, 2, 1, "same"),
    "convolution": lambda x: ops.conv(x, np.full((2, 2, x.shape[3], 3), 0.2, np.float32), padding="same"),
    "resize": lambda x: ops.image.resize(x, (5, 7), "bicubic"),
    "layer norm": lambda x: ops.layer_normalization(x, *[np.full(x.shape[3:], 0.5, np.float32)] * 2),
    "RMS norm": lambda x: ops.rms_normalization(x, axis=-1),
}  # fmt: skip


JUMPS = {"x % 2", "x // 2", "x > 0", "where", "round", "shrink", "normalize", "norm", "RMS norm", "layer norm"}
"""Operations that a last digit of their input may change by much, so that only they themselves can be compared."""


def on_a_map(shape=(6, 5, 4)):
    images = keras.Input(shape, name="images")
    return images, layers.Conv2D(shape[2], 1, name="mixed")(images)


def test_operations_are_computed_as_keras_does(page):
    images, x = on_a_map()
    found = [
        layers.Flatten()(layers.Identity(name=f"of_{number}")(operation(x)))
        for number, operation in enumerate(ON_ANY_MAP.values())
    ]
    model = with_weights(keras.Model(images, layers.Concatenate()(found)))
    image = np.random.default_rng(0).normal(size=images.shape[1:]).astype(np.float32)
    assert len(assert_equal(page, model, image)) > len(ON_ANY_MAP)


@hypothesis.settings(
    max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck),
    phases=[hypothesis.Phase.generate],
)  # fmt: skip
@hypothesis.given(
    shape=strategies.tuples(*[strategies.integers(3, 6)] * 2, strategies.integers(1, 3)),
    names=strategies.lists(strategies.sampled_from(sorted(set(ON_ANY_MAP) - JUMPS)), min_size=2, max_size=5),
)
def test_operations_in_any_order_are_computed_as_keras_does(page, shape, names):
    images, x = on_a_map(shape)
    for number, name in enumerate(names):
        if min(x.shape[1:3]) < 2:
            break
        x = layers.Identity(name=f"{number}_{name.encode().hex()}")(operation := ON_ANY_MAP[name](x))
        if operation.shape[1] * operation.shape[2] * operation.shape[3] > 2000:
            break
    model = with_weights(keras.Model(images, x))
    assert_equal(page, model, np.random.default_rng(1).normal(size=shape).astype(np.float32))


class Scaled(layers.Layer):
    """Weights of several shapes, joined with a map, on either side."""

    def build(self, shape):
        self.per_channel = self.add_weight(shape=(shape[-1],), name="per_channel")
        self.per_place = self.add_weight(shape=(1, *shape[1:3], 1), name="per_place")
        self.alone = self.add_weight(shape=(), name="alone")

    def call(self, x):
        y = self.per_channel * x + self.per_place - self.alone
        return y / np.linspace(1, 2, x.shape[2], dtype=np.float32)[:, None] + np.ones((1, 1, 1, 1), np.float32)


def test_weights_and_arrays_of_any_shape_are_joined(page):
    images, x = on_a_map()
    model = with_weights(keras.Model(images, Scaled(name="scaled")(x)))
    layers_found = assert_equal(page, model, np.random.default_rng(2).normal(size=(6, 5, 4)).astype(np.float32))
    assert {"scaled/per_channel", "scaled/per_place", "scaled/alone"} <= set(graph(model).weights)
    assert layers_found[-1]["kind"] == "join"


def test_attention_is_computed_as_keras_does(page):
    images, x = on_a_map((4, 4, 6))
    tokens = layers.Reshape((16, 6))(x)
    attended = layers.MultiHeadAttention(2, 3, name="attention")(tokens, tokens)
    pooled = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(layers.Add()([tokens, attended])))
    model = with_weights(keras.Model(images, layers.Dense(3, activation="softmax")(pooled)))
    assert_equal(page, model, np.random.default_rng(3).normal(size=(4, 4, 6)).astype(np.float32))


def test_layers_of_one_dimension_are_computed_as_keras_does(page):
    images, x = on_a_map((8, 3, 2))
    x = layers.Reshape((8, 6))(x)
    for layer in (
        layers.Conv1D(4, 3, padding="causal", activation="relu"), layers.Conv1D(4, 3, strides=2, padding="same"),
        layers.ZeroPadding1D(3), layers.DepthwiseConv1D(3, dilation_rate=2), layers.SeparableConv1D(4, 2),
        layers.UpSampling1D(2), layers.AveragePooling1D(2), layers.Conv1DTranspose(5, 3, strides=2),
        layers.Cropping1D((1, 2)), layers.MaxPooling1D(2, padding="same"), layers.SpatialDropout1D(0.5),
        layers.EinsumDense("abc,cd->abd", output_shape=(None, 5), bias_axes="d", activation="tanh"),
    ):  # fmt: skip
        x = layer(x)
    pooled = layers.Concatenate()([layers.GlobalMaxPooling1D()(x), layers.GlobalAveragePooling1D()(x)])
    model = with_weights(keras.Model(images, layers.RepeatVector(2)(pooled)))
    assert_equal(page, model, np.random.default_rng(4).normal(size=(8, 3, 2)).astype(np.float32))


def test_the_outline_of_a_pixel_is_what_its_number_depends_on(page):
    """Of layers that the lens knows by their kinds: no pixel outside the outline changes the number."""
    images = keras.Input((9, 8, 2), name="images")
    x = layers.Conv2DTranspose(2, 3, strides=2, padding="same", name="transposed")(images)
    x = layers.SeparableConv2D(3, 3, dilation_rate=2, name="separable")(x)
    x = layers.Resizing(7, 9, interpolation="bicubic", name="resized")(x)
    x = layers.Identity(name="sliced")(x[:, 1:, ::-1])
    x = layers.LayerNormalization(name="normalised")(x)
    x = layers.Concatenate(name="joined")([x, layers.PReLU()(x)])
    model = with_weights(keras.Model(images, x))
    image = np.random.default_rng(5).normal(size=(9, 8, 2)).astype(np.float32)
    found = graph(model).layers
    draw = np.random.default_rng(6)
    for name in ("transposed", "separable", "resized", "sliced", "normalised", "joined"):
        place = next(place for place, layer in enumerate(found) if layer["name"] == name)
        height, width, _ = found[place]["shape"]
        row, column = int(draw.integers(height)), int(draw.integers(width))
        top, bottom, left, right = page.evaluate(
            "(given) => window.lens.receptiveField(...given)", [found, place, row, column]
        )  # fmt: skip
        changed = draw.normal(size=image.shape).astype(np.float32)
        changed[top : bottom + 1, left : right + 1] = image[top : bottom + 1, left : right + 1]
        part = keras.Model(images, model.get_layer(name).output)
        one, other = (np.asarray(part(each[None]))[0, row, column] for each in (image, changed))
        np.testing.assert_allclose(one, other, atol=1e-5, err_msg=name)
        assert (bottom - top + 1) * (right - left + 1) <= 72
