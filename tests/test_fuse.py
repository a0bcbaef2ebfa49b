"""TensorFlow is set up in one place, quietly; and the folded enlargement computes what the two plain layers do."""

import numpy as np
import pytest
from helpers import tries
from hypothesis import given
from hypothesis import strategies as some

from shathenet_utils import fuse, machine
from shathenet_utils.backend import keras, layers, tf


def enlarged(factor, interpolation="nearest", *, size=(5, 4), channels=3, filters=2, **changes):
    """One enlargement and one convolution that folds, with random weights; `changes` are the convolution's."""
    arguments = {"filters": filters, "kernel_size": factor + 1, "strides": factor, "padding": "same"}
    arguments |= {"activation": "relu", "bias_initializer": "normal"} | changes
    images = keras.Input((*size, channels))
    large = layers.UpSampling2D(factor, interpolation=interpolation)(images)
    return keras.Model(images, layers.Conv2D(**arguments)(large))


def outputs_and_gradients(network, conv, seed=0):
    """Of random images, and a random weighting of the outputs: by kernel, bias and images."""
    stream = np.random.default_rng(seed)
    images = tf.constant(stream.uniform(0, 1, (2, *network.input_shape[1:])), tf.float32)
    weights = tf.constant(stream.normal(size=(2, *network.output_shape[1:])), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = tf.cast(network(images, training=True), tf.float32)
        total = tf.reduce_sum(outputs * weights)
    gradients = tape.gradient(total, [conv.kernel.value, conv.bias.value, images])
    return [np.asarray(tf.cast(found, tf.float32)) for found in (outputs, *gradients)]


@tries(25)
@given(
    factor=some.integers(2, 6),
    interpolation=some.sampled_from(["nearest", "bilinear"]),
    size=some.tuples(some.integers(1, 7), some.integers(1, 7)),
    channels=some.integers(1, 4),
    filters=some.integers(1, 3),
    activation=some.sampled_from(["relu", "linear", "tanh"]),
    seed=some.integers(0, 100),
)
def test_folding_changes_neither_outputs_nor_gradients(
    factor, interpolation, size, channels, filters, activation, seed
):
    keras.utils.set_random_seed(seed)
    plain = enlarged(factor, interpolation, size=size, channels=channels, filters=filters, activation=activation)
    folded = fuse.fuse_layers(plain)
    assert folded is not plain
    conv = plain.layers[-1]
    for ours, theirs in zip(
        outputs_and_gradients(folded, conv, seed), outputs_and_gradients(plain, conv, seed), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_folding_follows_a_model_in_bfloat16(interpolation):
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        plain = enlarged(3, interpolation)
    finally:
        keras.config.set_dtype_policy("float32")
    folded = fuse.fuse_layers(plain)
    assert folded(np.ones((1, 5, 4, 3), np.float32)).dtype == tf.bfloat16
    conv = plain.layers[-1]
    for ours, theirs in zip(outputs_and_gradients(folded, conv), outputs_and_gradients(plain, conv), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0.1, atol=0.1 * np.abs(theirs).max())


def test_a_folded_model_shares_its_variables():
    plain = enlarged(3)
    folded = fuse.fuse_layers(plain)
    images = np.ones((1, 5, 4, 3), np.float32)
    plain.layers[-1].kernel.assign(np.full((4, 4, 3, 2), 0.5))
    np.testing.assert_allclose(folded(images), plain(images), rtol=1e-5)


def test_a_chain_folds_where_it_can_and_keeps_its_other_layers():
    images = keras.Input((6, 6, 3))
    x = layers.Dropout(0.5)(images)
    x = layers.UpSampling2D(2)(x)
    x = layers.Conv2D(4, 3, 2, padding="same")(x)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = layers.Conv2D(2, 3, 2, padding="same")(x)
    plain = keras.Model(images, layers.Flatten()(x))
    folded = fuse.fuse_layers(plain)
    assert sum(isinstance(layer, fuse.FoldedUpsampling) for layer in folded.layers) == 2
    some_images = np.random.default_rng(0).random((2, 6, 6, 3), np.float32)
    np.testing.assert_allclose(folded(some_images), plain(some_images), atol=1e-5)
    assert np.abs(folded(some_images, training=True) - plain(some_images)).max() > 1e-3  # dropout is still there


def two_branches():
    images = keras.Input((4, 4, 3))
    large = layers.UpSampling2D(2)(images)
    one, other = (layers.Conv2D(2, 3, 2, padding="same")(large) for _ in range(2))
    return keras.Model(images, layers.Add()([one, other]))


def large_image_used_twice():
    images = keras.Input((4, 4, 3))
    large = layers.UpSampling2D(2)(images)
    return keras.Model(images, [large, layers.Conv2D(2, 3, 2, padding="same")(large)])


def large_image_changed():
    images = keras.Input((4, 4, 3))
    return keras.Model(images, layers.Conv2D(2, 3, 2, padding="same")(layers.UpSampling2D(2)(images) + 1))


def large_image_used_later():
    images = keras.Input((4, 4, 3))
    large = layers.UpSampling2D(2)(images)
    x = layers.Flatten()(layers.Conv2D(2, 3, 2, padding="same")(large))
    return keras.Model(images, layers.Concatenate()([x, layers.Flatten()(large)]))


def a_convolution_that_does_more():
    class Doubled(layers.Conv2D):
        def call(self, inputs):
            return 2 * super().call(inputs)

    images = keras.Input((4, 4, 3))
    return keras.Model(images, Doubled(2, 3, 2, padding="same")(layers.UpSampling2D(2)(images)))


@pytest.mark.parametrize(
    "build",
    [
        lambda: enlarged(3, strides=2),
        lambda: enlarged(3, padding="valid"),
        lambda: enlarged(3, kernel_size=3),
        lambda: enlarged(3, kernel_size=(4, 5)),
        lambda: enlarged(3, use_bias=False),
        lambda: enlarged(2, strides=1, dilation_rate=2),
        lambda: enlarged(3, groups=2, channels=4),
        lambda: enlarged(3, activity_regularizer="l2"),
        lambda: enlarged(3, "bicubic"),
        two_branches,
        large_image_used_twice,
        large_image_changed,
        large_image_used_later,
        a_convolution_that_does_more,
    ],
    ids=[
        "other stride", "valid padding", "smaller kernel", "oblong kernel", "no bias", "dilated", "groups",
        "a loss of its own", "bicubic", "two branches", "large image is an output", "large image changed",
        "large image used later", "subclass",
    ],
)  # fmt: skip
def test_where_folding_would_not_hold_the_model_is_left_as_it_is(build):
    model = build()
    assert fuse.fuse_layers(model) is model


def normalised(channels=16, **arguments):
    """A convolution under batch normalisation with weights and statistics of its own."""
    images = keras.Input((6, 5, 3))
    x = layers.Conv2D(channels, 3, padding="same")(images)
    x = layers.BatchNormalization(
        beta_initializer="normal", gamma_initializer="uniform", moving_mean_initializer="normal", **arguments
    )(x)
    return keras.Model(images, layers.ReLU()(x))


@pytest.mark.parametrize(
    "arguments",
    [{}, {"scale": False}, {"center": False}, {"momentum": 0.6, "epsilon": 1e-5}, {"trainable": False}],
    ids=str,
)
@pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
@pytest.mark.parametrize("channels", [16, 9, 27, 24, 2])
def test_the_fused_batch_norm_is_kerass(arguments, training, channels):
    keras.utils.set_random_seed(1)
    plain = normalised(channels, **arguments)
    fused = fuse.fuse_layers(plain)
    conv, norm = plain.layers[1:3]
    assert [type(layer).__name__ for layer in fused.layers][2] == "FusedBatchNormalization"
    start, found = [weight.numpy() for weight in norm.weights], []
    for network in (fused, plain):
        for weight, value in zip(norm.weights, start, strict=True):
            weight.assign(value)
        images = tf.constant(np.random.default_rng(0).normal(size=(8, 6, 5, 3)), tf.float32)
        watched = [conv.kernel.value, *(weight.value for weight in norm.trainable_weights), images]
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = network(images, training=training)
            weighting = np.random.default_rng(1).normal(size=outputs.shape).astype(np.float32)
            total = tf.reduce_sum(outputs**2 * weighting)
        statistics = [norm.moving_mean.numpy(), norm.moving_variance.numpy()]
        found.append([outputs.numpy(), *statistics, *map(np.asarray, tape.gradient(total, watched))])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-4)
    changed = any((a != b).any() for a, b in zip(start[-2:], found[0][1:3], strict=True))
    assert changed == (training and arguments.get("trainable", True))


@pytest.mark.parametrize("shape", [(7, 6, 5, 9), (None, 6, 5, 9), (None, None, 4, 9), (3, 3, 3, 24)], ids=str)
def test_pixels_that_make_no_whole_groups_are_left_to_keras(shape):
    assert fuse._pixels_a_vector(shape) == 0


@pytest.mark.parametrize("count", [1, 7])
def test_a_batch_that_makes_no_whole_groups_is_normalised_all_the_same(count):
    plain = normalised(9)
    images = np.random.default_rng(0).normal(size=(count, 6, 5, 3)).astype(np.float32)
    for training in (True, False):
        np.testing.assert_array_equal(
            fuse.fuse_layers(plain)(images, training=training), plain(images, training=training)
        )


@pytest.mark.parametrize("channels", [16, 9])
def test_the_fused_batch_norm_takes_bfloat16(channels):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        plain = normalised(channels)
    finally:
        keras.config.set_dtype_policy("float32")
    images = np.random.default_rng(0).normal(size=(64, 6, 5, 3)).astype(np.float32)
    ours, theirs = fuse.fuse_layers(plain)(images, training=True), plain(images, training=True)
    assert ours.dtype == theirs.dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(ours, "float32"), tf.cast(theirs, "float32"), atol=0.03)


def renormalised():
    images = keras.Input((6, 5, 16))
    return keras.Model(images, layers.BatchNormalization(renorm=True)(images))


def of_a_vector():
    images = keras.Input((7,))
    return keras.Model(images, layers.BatchNormalization()(images))


def over_rows():
    images = keras.Input((16, 16, 16))
    return keras.Model(images, layers.BatchNormalization(axis=1)(images))


@pytest.mark.parametrize("build", [renormalised, of_a_vector, over_rows])
def test_a_batch_norm_of_another_kind_is_left_as_it_is(build):
    model = build()
    assert fuse.fuse_layers(model) is model


def test_a_sequential_network_folds_too():
    chain = [keras.Input((4, 4, 3)), layers.UpSampling2D(2), layers.Conv2D(2, 3, 2, padding="same")]
    model = keras.Sequential(chain)
    folded = fuse.fuse_layers(model)
    assert type(folded.layers[-1]).__name__ == "FoldedUpsampling"
    images = np.random.default_rng(0).normal(size=(4, 4, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(folded(images), model(images), atol=1e-5)


def test_a_sequential_network_is_fast_too_and_shares_its_weights():
    model = keras.Sequential([keras.Input((6, 5, 3)), layers.Conv2D(16, 3), layers.BatchNormalization(), layers.ReLU()])
    fast = fuse.fuse_layers(model)
    assert {type(layer).__name__ for layer in fast.layers} > {"FusedBatchNormalization"}
    assert [id(weight) for weight in fast.weights] == [id(weight) for weight in model.weights]
    images = np.random.default_rng(0).normal(size=(4, 6, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(fast(images), model(images), atol=1e-5)


# Convolutions of bfloat16 on a processor without instructions for it


def in_bfloat16(**arguments):
    """One convolution with random weights, in bfloat16."""
    keras.utils.set_random_seed(0)
    images = keras.Input((9, 8, 3))
    arguments = {"filters": 5, "kernel_size": 3, "bias_initializer": "normal", "dtype": "mixed_bfloat16"} | arguments
    return keras.Model(images, layers.Conv2D(**arguments)(images))


@pytest.mark.parametrize(
    "arguments",
    [{}, {"padding": "same", "activation": "relu"}, {"strides": 2}, {"dilation_rate": 2}, {"activation": "tanh"}],
    ids=str,
)
def test_widening_changes_outputs_and_gradients_by_rounding_only(arguments, monkeypatch):
    monkeypatch.setattr(fuse, "multiplies_bfloat16", lambda: False)
    plain = in_bfloat16(**arguments)
    widened, conv = fuse.fuse_layers(plain), plain.layers[-1]
    assert widened is not plain
    assert widened.output.dtype == plain.output.dtype == "bfloat16"
    for ours, theirs in zip(outputs_and_gradients(widened, conv), outputs_and_gradients(plain, conv), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=0.02 * np.abs(theirs).max())


def test_widening_rounds_where_bfloat16_does(monkeypatch):
    """Inputs, kernel and outputs: their sum of products is exact until it is rounded."""
    monkeypatch.setattr(fuse, "multiplies_bfloat16", lambda: False)
    plain = in_bfloat16(use_bias=False)
    images = np.random.default_rng(0).normal(size=(2, 9, 8, 3)).astype(np.float32)

    def rounded(values):
        return tf.cast(tf.cast(values, tf.bfloat16), tf.float32)

    exact = tf.nn.conv2d(rounded(images), rounded(plain.layers[-1].kernel.value), 1, "VALID")
    np.testing.assert_array_equal(tf.cast(fuse.fuse_layers(plain)(images), tf.float32), rounded(exact))


@pytest.mark.parametrize("arguments", [{}, {"pool_size": 3, "strides": 2, "padding": "same"}], ids=str)
def test_widened_pooling_chooses_the_same_values_and_sends_gradients_to_them(arguments, monkeypatch):
    monkeypatch.setattr(fuse, "multiplies_bfloat16", lambda: False)
    images = keras.Input((9, 8, 3))
    plain = keras.Model(images, layers.MaxPooling2D(**arguments, dtype="mixed_bfloat16")(images))
    values = np.random.default_rng(0).integers(0, 4, (3, 9, 8, 3)).astype(np.float32)  # many are equal
    found = []
    for network in (fuse.fuse_layers(plain), plain):
        watched = tf.constant(values)
        with tf.GradientTape() as tape:
            tape.watch(watched)
            outputs = network(watched)
            total = tf.reduce_sum(tf.cast(outputs, tf.float32))
        found.append((outputs, tape.gradient(total, watched)))
    for ours, theirs in zip(*found, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(tf.cast(ours, tf.float32), tf.cast(theirs, tf.float32))


@pytest.mark.parametrize(
    "arguments", [{"dtype": "float32"}, {"groups": 3, "filters": 6}, {"activity_regularizer": "l2"}], ids=str
)
def test_other_convolutions_are_not_widened(arguments, monkeypatch):
    monkeypatch.setattr(fuse, "multiplies_bfloat16", lambda: False)
    plain = in_bfloat16(**arguments)
    assert fuse.fuse_layers(plain) is plain


def test_where_the_processor_has_instructions_nothing_is_widened(monkeypatch):
    monkeypatch.setattr(fuse, "multiplies_bfloat16", lambda: True)
    plain = in_bfloat16()
    assert fuse.fuse_layers(plain) is plain


@pytest.mark.parametrize(
    ("cpuinfo", "multiplies"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512_bf16\n", True),
        ("flags\t\t: fpu avx2 fma\n", False),
        ("Features\t: fp asimd bf16\n", True),
        ("model name\t: avx512f\n", False),
        (None, False),
    ],
)
def test_whether_a_processor_multiplies_bfloat16_is_read_off_its_flags(cpuinfo, multiplies, tmp_path):
    path = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        path.write_text(cpuinfo)
    assert machine.multiplies_bfloat16(path) == multiplies
