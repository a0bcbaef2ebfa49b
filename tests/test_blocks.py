"""TensorFlow is set up in one place, quietly; and the folded enlargement computes what the two plain layers do."""

import os

import numpy as np
import pytest
from helpers import python, tries
from hypothesis import given
from hypothesis import strategies as some

from shathenet_utils import blocks
from shathenet_utils.blocks import keras, layers, tf


def enlarged(factor, interpolation="nearest", *, size=(5, 4), channels=3, filters=2, **changes):
    """One enlargement and one convolution that folds, with random weights; `changes` are the convolution's."""
    arguments = {"filters": filters, "kernel_size": factor + 1, "strides": factor, "padding": "same"}
    arguments |= {"activation": "relu", "bias_initializer": "normal"} | changes
    pictures = keras.Input((*size, channels))
    large = layers.UpSampling2D(factor, interpolation=interpolation)(pictures)
    return keras.Model(pictures, layers.Conv2D(**arguments)(large))


def outputs_and_gradients(network, conv, seed=0):
    """Of random pictures, and a random weighting of the outputs: by kernel, bias and pictures."""
    stream = np.random.default_rng(seed)
    pictures = tf.constant(stream.uniform(0, 1, (2, *network.input_shape[1:])), tf.float32)
    weights = tf.constant(stream.normal(size=(2, *network.output_shape[1:])), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(pictures)
        outputs = tf.cast(network(pictures, training=True), tf.float32)
        total = tf.reduce_sum(outputs * weights)
    gradients = tape.gradient(total, [conv.kernel.value, conv.bias.value, pictures])
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
    folded = blocks.fast_form(plain)
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
    folded = blocks.fast_form(plain)
    assert folded(np.ones((1, 5, 4, 3), np.float32)).dtype == tf.bfloat16
    conv = plain.layers[-1]
    for ours, theirs in zip(outputs_and_gradients(folded, conv), outputs_and_gradients(plain, conv), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0.1, atol=0.1 * np.abs(theirs).max())


def test_a_folded_model_shares_its_variables():
    plain = enlarged(3)
    folded = blocks.fast_form(plain)
    pictures = np.ones((1, 5, 4, 3), np.float32)
    plain.layers[-1].kernel.assign(np.full((4, 4, 3, 2), 0.5))
    np.testing.assert_allclose(folded(pictures), plain(pictures), rtol=1e-5)


def test_a_chain_folds_where_it_can_and_keeps_its_other_layers():
    pictures = keras.Input((6, 6, 3))
    x = layers.Dropout(0.5)(pictures)
    x = layers.UpSampling2D(2)(x)
    x = layers.Conv2D(4, 3, 2, padding="same")(x)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = layers.Conv2D(2, 3, 2, padding="same")(x)
    plain = keras.Model(pictures, layers.Flatten()(x))
    folded = blocks.fast_form(plain)
    assert sum(isinstance(layer, blocks.FoldedUpsampling) for layer in folded.layers) == 2
    some_pictures = np.random.default_rng(0).random((2, 6, 6, 3), np.float32)
    np.testing.assert_allclose(folded(some_pictures), plain(some_pictures), atol=1e-5)
    assert np.abs(folded(some_pictures, training=True) - plain(some_pictures)).max() > 1e-3  # dropout is still there


def two_branches():
    pictures = keras.Input((4, 4, 3))
    large = layers.UpSampling2D(2)(pictures)
    one, other = (layers.Conv2D(2, 3, 2, padding="same")(large) for _ in range(2))
    return keras.Model(pictures, layers.Add()([one, other]))


def large_picture_used_twice():
    pictures = keras.Input((4, 4, 3))
    large = layers.UpSampling2D(2)(pictures)
    return keras.Model(pictures, [large, layers.Conv2D(2, 3, 2, padding="same")(large)])


def large_picture_changed():
    pictures = keras.Input((4, 4, 3))
    return keras.Model(pictures, layers.Conv2D(2, 3, 2, padding="same")(layers.UpSampling2D(2)(pictures) + 1))


def large_picture_used_later():
    pictures = keras.Input((4, 4, 3))
    large = layers.UpSampling2D(2)(pictures)
    x = layers.Flatten()(layers.Conv2D(2, 3, 2, padding="same")(large))
    return keras.Model(pictures, layers.Concatenate()([x, layers.Flatten()(large)]))


def a_convolution_that_does_more():
    class Doubled(layers.Conv2D):
        def call(self, inputs):
            return 2 * super().call(inputs)

    pictures = keras.Input((4, 4, 3))
    return keras.Model(pictures, Doubled(2, 3, 2, padding="same")(layers.UpSampling2D(2)(pictures)))


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
        large_picture_used_twice,
        large_picture_changed,
        large_picture_used_later,
        a_convolution_that_does_more,
    ],
    ids=[
        "other stride", "valid padding", "smaller kernel", "oblong kernel", "no bias", "dilated", "groups",
        "a loss of its own", "bicubic", "two branches", "large picture is an output", "large picture changed",
        "large picture used later", "subclass",
    ],
)  # fmt: skip
def test_where_folding_would_not_hold_the_model_is_left_as_it_is(build):
    model = build()
    assert blocks.fast_form(model) is model


def test_one_thread_between_operations_is_in_effect():
    assert blocks.threads()["inter_op"] == 1
    assert blocks.threads()["intra_op"] >= 1


def test_importing_says_nothing_and_threads_can_be_chosen():
    found = python("from shathenet_utils import blocks\nprint(blocks.threads())", SHATHENET_THREADS="1")
    assert found.stdout == "{'inter_op': 1, 'intra_op': 1}\n"
    assert found.stderr == ""


def test_what_native_code_says_is_shown_only_where_the_import_fails(capfd):
    with blocks._held_back_stderr():
        os.write(2, b"a start-up line\n")
    assert capfd.readouterr().err == ""
    with pytest.raises(ImportError), blocks._held_back_stderr():
        os.write(2, b"the library is broken\n")
        raise ImportError
    assert capfd.readouterr().err == "the library is broken\n"


def test_a_process_that_started_tensorflow_with_other_threads_records_nothing():
    source = (
        "import sys\nimport tensorflow as tf\ntf.config.threading.set_inter_op_parallelism_threads(2)\ntf.constant(0)\n"
        "from shathenet_utils import blocks, experiments\nprint(blocks.threads()['inter_op'])\n"
        "experiments.load_data = lambda variant: sys.exit('it went on')\n"
        "experiment = experiments.get('v1_0')\n"
        "try:\n    experiments.train(experiment, experiment.variants[0], 0, record=True)\n"
        "except ValueError as error:\n    print(error)\n"
    )
    threads, said = python(source).stdout.splitlines()
    assert threads == "2"
    assert said.startswith("TensorFlow was started before shathenet_utils set its threads")


def normalised(channels=16, **arguments):
    """A convolution under batch normalisation with weights and statistics of its own."""
    pictures = keras.Input((6, 5, 3))
    x = layers.Conv2D(channels, 3, padding="same")(pictures)
    x = layers.BatchNormalization(
        beta_initializer="normal", gamma_initializer="uniform", moving_mean_initializer="normal", **arguments
    )(x)
    return keras.Model(pictures, layers.ReLU()(x))


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
    fused = blocks.fast_form(plain)
    conv, norm = plain.layers[1:3]
    assert [type(layer).__name__ for layer in fused.layers][2] == "FusedBatchNormalization"
    start, found = [weight.numpy() for weight in norm.weights], []
    for network in (fused, plain):
        for weight, value in zip(norm.weights, start, strict=True):
            weight.assign(value)
        pictures = tf.constant(np.random.default_rng(0).normal(size=(8, 6, 5, 3)), tf.float32)
        watched = [conv.kernel.value, *(weight.value for weight in norm.trainable_weights), pictures]
        with tf.GradientTape() as tape:
            tape.watch(pictures)
            outputs = network(pictures, training=training)
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
    assert blocks._pixels_a_vector(shape) == 0


@pytest.mark.parametrize("count", [1, 7])
def test_a_batch_that_makes_no_whole_groups_is_normalised_all_the_same(count):
    plain = normalised(9)
    pictures = np.random.default_rng(0).normal(size=(count, 6, 5, 3)).astype(np.float32)
    for training in (True, False):
        np.testing.assert_array_equal(
            blocks.fast_form(plain)(pictures, training=training), plain(pictures, training=training)
        )


@pytest.mark.parametrize("channels", [16, 9])
def test_the_fused_batch_norm_takes_bfloat16(channels):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        plain = normalised(channels)
    finally:
        keras.config.set_dtype_policy("float32")
    pictures = np.random.default_rng(0).normal(size=(64, 6, 5, 3)).astype(np.float32)
    ours, theirs = blocks.fast_form(plain)(pictures, training=True), plain(pictures, training=True)
    assert ours.dtype == theirs.dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(ours, "float32"), tf.cast(theirs, "float32"), atol=0.03)


def renormalised():
    pictures = keras.Input((6, 5, 16))
    return keras.Model(pictures, layers.BatchNormalization(renorm=True)(pictures))


def of_a_vector():
    pictures = keras.Input((7,))
    return keras.Model(pictures, layers.BatchNormalization()(pictures))


def over_rows():
    pictures = keras.Input((16, 16, 16))
    return keras.Model(pictures, layers.BatchNormalization(axis=1)(pictures))


@pytest.mark.parametrize("build", [renormalised, of_a_vector, over_rows])
def test_a_batch_norm_of_another_kind_is_left_as_it_is(build):
    model = build()
    assert blocks.fast_form(model) is model


def test_a_sequential_network_folds_too():
    chain = [keras.Input((4, 4, 3)), layers.UpSampling2D(2), layers.Conv2D(2, 3, 2, padding="same")]
    model = keras.Sequential(chain)
    folded = blocks.fast_form(model)
    assert type(folded.layers[-1]).__name__ == "FoldedUpsampling"
    pictures = np.random.default_rng(0).normal(size=(4, 4, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(folded(pictures), model(pictures), atol=1e-5)


def test_a_sequential_network_is_fast_too_and_shares_its_weights():
    model = keras.Sequential([keras.Input((6, 5, 3)), layers.Conv2D(16, 3), layers.BatchNormalization(), layers.ReLU()])
    fast = blocks.fast_form(model)
    assert {type(layer).__name__ for layer in fast.layers} > {"FusedBatchNormalization"}
    assert [id(weight) for weight in fast.weights] == [id(weight) for weight in model.weights]
    pictures = np.random.default_rng(0).normal(size=(4, 6, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(fast(pictures), model(pictures), atol=1e-5)


def test_whitened_patches_of_pictures_are_uncorrelated_and_of_variance_one():
    stream = np.random.default_rng(0)
    pictures = stream.normal(size=(200, 9, 9, 3)) @ stream.normal(size=(3, 3)) + 0.2 * stream.normal(size=3)
    network = keras.Sequential([keras.Input((9, 9, 3)), blocks.Whitening(2)])
    layer = network.layers[0]
    layer.set_from(pictures, epsilon=0)
    outputs = np.asarray(network(pictures.astype(np.float32))).reshape(-1, 24)
    np.testing.assert_allclose(outputs[:, :12].T @ outputs[:, :12] / len(outputs), np.eye(12), atol=1e-3)
    np.testing.assert_array_equal(outputs[:, 12:], -outputs[:, :12])
    assert [weight.path.split("/")[-1] for weight in layer.trainable_weights] == ["bias"]
    kernel = layer.kernel.numpy()
    layer.set_from(pictures, epsilon=0)
    np.testing.assert_array_equal(kernel, layer.kernel.numpy())
    again = blocks.Whitening.from_config(layer.get_config())
    assert (again.filters, again.kernel_size, again.padding) == (24, (2, 2), "valid")


@pytest.mark.parametrize("size", [3, 5])
def test_a_dirac_kernel_passes_its_input_on(size):
    pictures = np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype(np.float32)
    same = layers.Conv2D(4, size, padding="same", use_bias=False, kernel_initializer=blocks.Dirac())
    np.testing.assert_allclose(same(pictures), pictures, atol=1e-6)
    keras.utils.set_random_seed(0)
    wider = layers.Conv2D(10, size, padding="same", use_bias=False, kernel_initializer=blocks.Dirac())
    np.testing.assert_allclose(wider(pictures)[..., :4], pictures, atol=1e-6)
    rest = wider.kernel.numpy()[..., 4:]
    assert np.abs(rest).max() <= 1 / np.sqrt(size * size * 4)
    assert rest.std() == pytest.approx(1 / np.sqrt(3 * size * size * 4), rel=0.15)
    narrower = layers.Conv2D(2, size, padding="same", use_bias=False, kernel_initializer=blocks.Dirac("zeros"))
    np.testing.assert_allclose(narrower(pictures), pictures[..., :2], atol=1e-6)
