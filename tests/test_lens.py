"""The kernel lens: what JavaScript computes is what Keras computes."""

import json
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from shathenet_utils import models
from shathenet_utils.backend import keras, layers
from shathenet_utils.blocks import Whitening
from shathenet_utils.lens import payload

pytestmark = pytest.mark.browser
SCRIPT = Path(payload.__file__).with_name("lens.js")
RUN = """
([layers, arrays, image]) => {
  const read = (found) => ({ shape: found.shape, data: window.lens.decode(found) });
  const weights = layers.map((layer) =>
    Object.fromEntries(Object.entries(layer.weights).map(([name, path]) => [name, read(arrays[path])])));
  const outputs = window.lens.finish(window.lens.forward(layers, read(image), (place) => weights[place]));
  return outputs.map((output) => output && Array.from(output.data, (x) => (Number.isFinite(x) ? x : String(x))));
}
"""


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_page()
    source = SCRIPT.read_text(encoding="utf-8")
    page.add_script_tag(type="module", content=f"{source}\nwindow.lens = {{ decode, finish, forward }};")
    page.wait_for_function("window.lens")
    yield page
    page.close()


def rounded(model):
    """The model with weights of its own, spread out and rounded to 16 bits."""
    draw = np.random.default_rng(0)
    for weight in model.weights:
        value = weight.numpy()
        spread = draw.uniform(0.5, 1.5, value.shape) if "variance" in weight.path else draw.normal(0, 0.3, value.shape)
        if value.dtype == np.float32:
            weight.assign(spread.astype(np.float16).astype(np.float32))
    return model


def in_javascript(page, model, image):
    """What the lens computes of a image, float32 (height, width, channels): the layers, and each one's output."""
    found = payload.layers_of(model)
    paths = {path for layer in found for path in layer["weights"].values()}
    weights = payload.as_convolutions(found, {weight.path: weight.numpy() for weight in model.weights})
    arrays = {path: payload.encode(array.astype(np.float16)) for path, array in weights.items()}
    assert paths <= set(arrays)
    told = page.evaluate(RUN, [found, arrays, payload.encode(image)])
    return found, [None if numbers is None else np.array(numbers, np.float64) for numbers in told]


def assert_equal(page, model, image):
    """Every layer that has a name of its own, and the end, against Keras."""
    found, ours = in_javascript(page, model, image)
    named = {layer["name"]: place for place, layer in enumerate(found)}
    outputs = {layer.name: layer.output for layer in model.layers if layer.name in named and layer.name != "images"}
    theirs = keras.Model(model.input, outputs)(image[None], training=False)
    for name, output in theirs.items():
        expected, place = np.asarray(output)[0], named[name]
        assert list(expected.shape) == found[place]["shape"], name
        largest = max(1, np.abs(expected).max())
        np.testing.assert_allclose(ours[place], expected.ravel(), rtol=0, atol=1e-5 * largest, err_msg=name)


ACTIVATIONS = strategies.sampled_from(payload.ACTIVATIONS[:-1])


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
                groups=groups, activation=draw(ACTIVATIONS), use_bias=draw(strategies.booleans()),
            )(x)  # fmt: skip
        elif kind == "depthwise":
            square = min(kernel)
            x = layers.DepthwiseConv2D(
                square, draw(number), draw(padding), draw(number), activation=draw(ACTIVATIONS)
            )(x)  # fmt: skip
        elif kind == "pool":
            pool = draw(strategies.sampled_from((layers.MaxPooling2D, layers.AveragePooling2D)))
            x = pool(kernel, draw(number), draw(padding))(x)
        elif kind == "norm":
            scale, center = draw(strategies.booleans()), draw(strategies.booleans())
            x = layers.BatchNormalization(scale=scale, center=center, epsilon=1e-2)(x)
        elif kind == "activation":
            x = draw(strategies.sampled_from((
                layers.Activation(draw(ACTIVATIONS)), layers.ReLU(1.5, 0.1, 0.2), layers.LeakyReLU(0.3),
                layers.Softmax(), layers.Activation("softmax"), layers.Dropout(0.5), layers.Rescaling(0.5, -1),
            )))(x)  # fmt: skip
        elif kind == "resize":
            how = draw(strategies.sampled_from(("nearest", "bilinear")))
            size = (draw(side), draw(side))
            x = draw(strategies.sampled_from((
                layers.Resizing(*size, interpolation=how), layers.UpSampling2D((2, 1), interpolation=how),
            )))(x)  # fmt: skip
        elif kind == "frame":
            around = ((draw(number), 0), (1, draw(number)))
            x = layers.ZeroPadding2D(around)(x)
            if draw(strategies.booleans()):
                x = layers.Cropping2D(((1, 0), (0, 1)))(x)
        else:
            other = layers.Conv2D(channels, 1, activation="tanh")(x)
            how = draw(strategies.sampled_from((
                layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Concatenate,
            )))  # fmt: skip
            x = how()([x, other])
    end = draw(strategies.sampled_from((layers.Flatten, layers.GlobalMaxPooling2D, layers.GlobalAveragePooling2D)))
    x = layers.Dense(4, activation="relu")(end()(x))
    return keras.Model(images, layers.Dense(3, activation=draw(strategies.sampled_from((None, "softmax"))))(x))


KINDS = ("conv", "depthwise", "pool", "norm", "activation", "resize", "frame", "join")


@hypothesis.settings(
    max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck)
)
@hypothesis.given(model=networks(), seed=strategies.integers(0, 99))
def test_javascript_computes_what_keras_does(page, model, seed):
    image = np.random.default_rng(seed).normal(size=model.input.shape[1:]).astype(np.float32)
    assert_equal(page, rounded(model), image)


@pytest.mark.parametrize("name", ["v1_0", "v1_1", "v1_2", "thin_resnet", "airbench"])
def test_javascript_computes_what_the_books_networks_do(page, name):
    image = np.random.default_rng(1).integers(0, 256, (32, 32, 3)).astype(np.float32)
    assert_equal(page, rounded(models.build(name)), image)


def test_nested_and_sequential_networks_are_unfolded(page):
    inner = keras.Sequential([keras.Input((5, 4, 2)), layers.Conv2D(3, 2), layers.ReLU()], name="inner")
    images = keras.Input((5, 4, 2), name="images")
    both = layers.Concatenate()([inner(images), inner(layers.Rescaling(2.0)(images))])
    model = rounded(keras.Model(images, layers.Flatten()(both)))
    image = np.random.default_rng(2).normal(size=(5, 4, 2)).astype(np.float32)
    found, ours = in_javascript(page, model, image)
    assert [layer["name"].split("/")[0] for layer in found].count("inner") == 4
    np.testing.assert_allclose(ours[-1], np.asarray(model(image[None]))[0], atol=1e-5)
    chain = rounded(keras.Sequential([keras.Input((5, 4, 2)), layers.Conv2D(3, 2), layers.Flatten()]))
    np.testing.assert_allclose(in_javascript(page, chain, image)[1][-1], np.asarray(chain(image[None]))[0], atol=1e-5)


class Doubles(layers.Layer):
    def call(self, x):
        return 2 * x


class Mine(layers.Conv2D):
    """A convolution that may do other things."""


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (Doubles(), "Doubles"),
        (Mine(2, 1), "Mine"),
        (layers.Conv2D(2, 1, activation=lambda x: x * x), "activation <lambda>"),
        (layers.Conv2DTranspose(2, 3), "Conv2DTranspose"),
        (layers.UpSampling2D(2, interpolation="bicubic"), "UpSampling2D with bicubic, antialiasing, crop or padding"),
        (layers.Concatenate(axis=1), "Concatenate along another axis than the channels"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unknown_layer_is_named_and_nothing_after_it_is_guessed(page, layer, said):
    images = keras.Input((6, 6, 2), name="images")
    before = layers.Conv2D(2, 3, padding="same")(images)
    after = layers.Flatten()(layer([before, before] if isinstance(layer, layers.Concatenate) else before))
    image = np.ones((6, 6, 2), np.float32)
    found, ours = in_javascript(page, keras.Model(images, after), image)
    assert [(one["kind"], one.get("type")) for one in found[2:3]] == [("unknown", said)]
    assert ours[1] is not None
    assert ours[2] is ours[3] is None


@pytest.mark.parametrize(
    "model",
    [
        lambda: "a string",
        lambda: keras.Model(keras.Input((4,)), layers.Dense(2)(keras.Input((4,)))),
        lambda: keras.Sequential([layers.Dense(2)]),
    ],
)
def test_what_the_lens_cannot_open_is_one_sentence(model):
    try:
        built = model()
    except ValueError:
        x = keras.Input((None, None, 3))
        built = keras.Model(x, layers.Conv2D(2, 1)(x))
    with pytest.raises(payload.LensError, match="The lens opens"):
        payload.layers_of(built)


def test_numbers_survive_their_encoding(page):
    values = np.array([0, -0.0, 1, 1e-7, -65504, 0.1, np.nan, np.inf, -np.inf], np.float16)
    for array in (values, values.astype(np.float32), np.arange(256, dtype=np.uint8)):
        told = page.evaluate("(found) => Array.from(window.lens.decode(found), String)", payload.encode(array))
        read = np.array([float(text.replace("Infinity", "inf")) for text in told])
        np.testing.assert_array_equal(read, array.astype(np.float64))


def test_the_description_is_json():
    found = payload.layers_of(models.build("airbench"))
    assert json.loads(json.dumps(found)) == found
    assert any(isinstance(layer, Whitening) for layer in models.build("airbench").layers)
