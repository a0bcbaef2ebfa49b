"""The baseline: *plain* and *normalised* never change, and each factor of pages 05 to 15 does what its words say."""

import functools

import numpy as np
import pytest
from helpers import flat_recipe, tiny_dataset

from shathenet_utils import architecture, backend, blocks, models, training
from shathenet_utils.backend import keras, layers
from shathenet_utils.baseline import CHOICES, baseline, dense_growth, normalised, scaled

PLAIN, NORMALISED = "37367eaff8a71b63", "ffffe10760da219a"
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.float32)
NARROW = {"filters": (8, 8, 8), "dense_units": 4}


@functools.cache
def table(**arguments):
    return {row["layer"]: row for row in architecture.layer_table(built(**arguments))}


@functools.cache
def built(**arguments):
    keras.utils.set_random_seed(0)
    return models.build("baseline", arguments)


def test_plain_and_normalised_never_change():
    """Every effect of part II is measured on these: a changed digest makes all of its records another network's."""
    plain, normalised = built(), built(normalisation="batch")
    assert (architecture.model_digest(plain), plain.count_params()) == (PLAIN, 138_330)
    assert (architecture.model_digest(normalised), normalised.count_params()) == (NORMALISED, 138_330 + 4 * 224)
    assert architecture.macs(plain) == architecture.macs(normalised) == 9_945_728


def test_plain_and_normalised_differ_by_the_normalisation_alone():
    norms = [layer for layer in built(normalisation="batch").layers if isinstance(layer, layers.BatchNormalization)]
    assert len(norms) == 6 and {norm.momentum for norm in norms} == {0.9}
    rest = [layer.name for layer in built(normalisation="batch").layers if layer not in norms]
    assert rest == [layer.name for layer in built().layers]
    order = [layer.name for layer in built(normalisation="batch").layers][2:8]
    assert order == ["conv1a", "conv1a_norm", "conv1a_relu", "conv1b", "conv1b_norm", "conv1b_relu"]
    assert all(layer.use_bias for layer in built(normalisation="batch").layers if isinstance(layer, layers.Conv2D))


MEDIUM = {"filters": (24, 24, 24), "dense_units": 4}
CHANGES = [
    {argument: word} for argument, words in CHOICES.items() for word in words[1:] if word != "zca"
]  # fmt: skip


@pytest.mark.parametrize("argument", CHOICES)
def test_every_choice_gives_logits_and_can_be_copied(argument):
    for change in CHANGES:
        if argument in change:
            model = built(**MEDIUM | change)
            expected = np.asarray(model(IMAGES))
            assert (expected.shape, expected.dtype) == ((3, 10), np.float32), change
            assert np.isfinite(expected).all()
            assert architecture.macs(model) > 0
            copied = keras.models.clone_model(model)
            copied.set_weights(model.get_weights())
            np.testing.assert_array_equal(np.asarray(copied(IMAGES)), expected)


@pytest.mark.parametrize(
    "arguments",
    [
        {"normalisation": "group", "initialiser": "lsuv", "dropout": 0.5, "spatial_dropout": 0.1, "head": "max"},
        {"scaling": "per_image", "normalisation": "batch", "connections": "inception", "downsampling": "max_blur"},
    ],
    ids=str,
)
def test_a_saved_network_is_loaded_as_it_was(arguments, tmp_path):
    model = built(**MEDIUM | arguments)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(loaded(IMAGES)), np.asarray(model(IMAGES)))
    assert architecture.model_digest(loaded) == architecture.model_digest(model)


def test_two_choices_are_never_the_same_network():
    found = {architecture.model_digest(built(**MEDIUM | change)) for change in CHANGES}
    assert len(found | {architecture.model_digest(built(**MEDIUM))}) == len(CHANGES) + 1


@pytest.mark.parametrize("argument", CHOICES)
def test_an_unknown_word_is_one_sentence(argument):
    with pytest.raises(ValueError, match=rf"^baseline: {argument} must be one of {CHOICES[argument][0]}, .*not 'best'"):
        baseline(**{argument: "best"})


def test_what_does_not_go_together_is_one_sentence():
    with pytest.raises(ValueError, match="^baseline: with residual connections, no convolution takes the stride"):
        baseline(connections="residual", downsampling="stride")
    with pytest.raises(ValueError, match="^baseline: inception connections need filters in multiples of 3, not 16"):
        baseline(connections="inception")
    for other in ({"initialiser": "he_normal"}, {"connections": "residual"}):
        with pytest.raises(ValueError, match="^baseline: first_kernel needs glorot_uniform and plain connections"):
            baseline(first_kernel=2.0, **other)


# Inputs


def inputs_of(how, images=IMAGES):
    given = keras.Input((32, 32, 3))
    model = keras.Model(given, scaled(given, how))
    return model, np.asarray(model(images))


def test_scaled_inputs_have_the_range_that_their_word_says():
    np.testing.assert_array_equal(inputs_of("raw")[1], IMAGES)
    np.testing.assert_allclose(inputs_of("0_to_1")[1], IMAGES / 255, atol=1e-6)
    np.testing.assert_allclose(inputs_of("minus_half_to_half")[1], IMAGES / 255 - 0.5, atol=1e-6)
    np.testing.assert_allclose(inputs_of("minus_1_to_1")[1], IMAGES / 127.5 - 1, atol=1e-6)
    expected = (IMAGES / 255 - blocks.CIFAR10_MEAN) / blocks.CIFAR10_STD
    np.testing.assert_allclose(inputs_of("per_channel")[1], expected, atol=1e-5)
    per_image = inputs_of("per_image")[1]
    np.testing.assert_allclose(per_image.mean(axis=(1, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(per_image.std(axis=(1, 2, 3)), 1, atol=1e-3)


def test_a_first_batch_norm_normalises_each_channel_of_a_batch():
    model, _ = inputs_of("batch_norm")
    shown = np.asarray(model(IMAGES, training=True))
    np.testing.assert_allclose(shown.mean(axis=(0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(shown.std(axis=(0, 1, 2)), 1, atol=1e-3)


def test_zca_whitening_makes_the_numbers_of_images_uncorrelated_and_changes_them_little():
    stream = np.random.default_rng(1)
    mixing = np.eye(12) + 0.3 * stream.normal(size=(12, 12))
    images = (stream.normal(size=(4000, 12)) @ mixing + 2).reshape(-1, 2, 2, 3).astype(np.float32)
    layer = blocks.ZCAWhitening(epsilon=0)
    np.testing.assert_allclose(layer(images[:5]), images[:5], atol=1e-5)  # the identity, until it is set
    layer.set_from(images)
    white = np.asarray(layer(images)).reshape(-1, 12)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(white.T), np.eye(12), atol=1e-2)
    matrix = layer.matrix.numpy()
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-5)  # of all that whiten, the symmetric one changes least
    assert layer.trainable_weights == []
    assert blocks.ZCAWhitening.from_config(layer.get_config()).epsilon == 0


def test_zca_whitening_is_counted_copied_and_loaded_with_its_weights(tmp_path):
    images = keras.Input((4, 4, 3))
    model = keras.Model(images, blocks.ZCAWhitening()(images))
    shown = np.random.default_rng(0).normal(size=(60, 4, 4, 3)).astype(np.float32)
    blocks.set_from_images(model, shown)
    assert architecture.macs(model) == 48**2
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(loaded(shown)), np.asarray(model(shown)))
    assert not np.allclose(model(shown), shown, atol=0.01)


# Normalisation


@pytest.mark.parametrize(("kind", "axes"), [("batch", (0, 1, 2)), ("layer", (1, 2, 3))])
def test_a_normalisation_gives_mean_0_and_deviation_1_over_its_axes(kind, axes):
    given = keras.Input((5, 5, 16))
    model = keras.Model(given, normalised(given, kind, 0.9, "norm"))
    maps = np.random.default_rng(0).normal(3, 5, (4, 5, 5, 16)).astype(np.float32)
    shown = np.asarray(model(maps, training=True))
    np.testing.assert_allclose(shown.mean(axis=axes), 0, atol=1e-4)
    np.testing.assert_allclose(shown.std(axis=axes), 1, atol=1e-3)


def test_a_group_norm_has_eight_groups_and_batch_norm_after_the_activation_its_place():
    groups = [layer.groups for layer in built(normalisation="group").layers if "norm" in layer.name]
    assert groups == [8] * 6
    order = [layer.name for layer in built(normalisation="batch_after_activation").layers]
    assert order[2:5] == ["conv1a", "conv1a_relu", "conv1a_norm"]


# Initialisation


@pytest.mark.parametrize(
    ("initialiser", "deviation"),
    [
        ("zeros", 0), ("truncated_normal", 0.05 * 0.8796), ("glorot_uniform", (2 / (32 + 64) / 9) ** 0.5),
        ("he_normal", (2 / (9 * 32)) ** 0.5), ("orthogonal", (1 / (9 * 32)) ** 0.5),
    ],
    ids=str,
)  # fmt: skip
def test_an_initialisers_weights_have_the_deviation_it_is_known_for(initialiser, deviation):
    model = built(initialiser=initialiser)
    assert model.get_layer("conv3a").kernel.numpy().std() == pytest.approx(deviation, rel=0.05)
    for layer in model.layers:
        if hasattr(layer, "bias"):
            assert not layer.bias.numpy().any()
            assert initialiser != "zeros" or not layer.kernel.numpy().any()


@pytest.mark.parametrize(("normalisation", "precision"), [("none", "mixed_bfloat16"), ("batch", "float32")])
def test_with_lsuv_each_layers_output_begins_with_variance_1(normalisation, precision):
    with backend.precision(precision):
        keras.utils.set_random_seed(0)
        model = baseline(initialiser="lsuv", normalisation=normalisation, **NARROW)
    images = tiny_dataset(train=600).train_images
    blocks.set_from_images(model, images)
    counted = 0
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            outputs = keras.Model(model.input, layer.output)(images[:500].astype(np.float32), training=False)
            assert np.asarray(outputs, np.float64).std() == pytest.approx(1, abs=0.02), layer.name
            counted += 1
    assert counted == 8
    kernel = model.get_layer("conv2b").kernel.numpy().reshape(-1, 8)
    products = kernel.T @ kernel
    np.testing.assert_allclose(products / products[0, 0], np.eye(8), atol=1e-4)  # orthogonal, then scaled


# Downsampling, heads, connections


def test_a_first_kernel_is_multiplied_and_no_other():
    """So a network on raw pixels with 1/255 begins as the one on values from 0 to 1."""
    plain, large = built(), built(first_kernel=255.0)
    for ours, theirs in zip(plain.weights, large.weights, strict=True):
        factor = 255 if ours.path == "conv1a/kernel" else 1
        np.testing.assert_allclose(theirs, factor * np.asarray(ours), rtol=1e-4, atol=1e-6)
    raw = built(scaling="raw", first_kernel=1 / 255)
    np.testing.assert_allclose(raw(IMAGES), plain(IMAGES), rtol=1e-3, atol=1e-4)


def test_every_downsampling_halves_the_side_three_times():
    for how in CHOICES["downsampling"]:
        assert built(downsampling=how).get_layer("flatten").input.shape[1:] == (4, 4, 64), how
    strided = [layer.name for layer in built(downsampling="stride").layers if getattr(layer, "strides", 0) == (2, 2)]
    assert strided == ["conv1b", "conv2b", "conv3b"]
    extra = table(downsampling="extra_convolution")
    assert [name for name in extra if name.endswith("_down")] == ["conv1_down", "conv2_down", "conv3_down"]


def test_a_blur_is_the_kernel_1_2_1_at_each_second_place():
    down = built(**NARROW, downsampling="blur")
    first, last = down.get_layer("blur1"), down.get_layer("average1")
    maps = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    shown = np.asarray(last(first(maps)))
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    windows = np.lib.stride_tricks.sliding_window_view(maps, (3, 3), axis=(1, 2))[:, ::2, ::2]
    np.testing.assert_allclose(shown[:, :3, :3], np.einsum("nyxcij,ij->nyxc", windows, kernel), atol=1e-6)


def test_heads_have_the_parameters_of_their_layers():
    body = 72_080
    expected = {
        "dense": 1024 * 64 + 64 + 650, "linear": 10_250, "average": 650, "max": 650,
        "average_dense": 64 * 64 + 64 + 650, "convolution_average": 650,
    }  # fmt: skip
    for head, parameters in expected.items():
        assert built(head=head).count_params() == body + parameters, head


def test_averaged_class_maps_and_a_layer_on_averages_compute_the_same():
    one, other = built(head="convolution_average"), built(head="average")
    other.set_weights([weight.reshape(weight.shape[-2:]) if weight.ndim == 4 and weight.shape[:2] == (1, 1) else weight
                       for weight in one.get_weights()])  # fmt: skip
    np.testing.assert_allclose(one(IMAGES), other(IMAGES), atol=1e-4)


EQUAL = {
    "8 layers": ({}, {"filters": (21, 42, 72), "dense_units": 62}),
    "20 layers, normalised": (
        {"filters": (8, 16, 32), "pairs": 3, "normalisation": "batch"}, {"filters": (12, 18, 36), "dense_units": 76},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("plain", "inception"), EQUAL.values(), ids=EQUAL)
@pytest.mark.parametrize("connections", ["residual", "dense", "inception"])
def test_connections_are_compared_at_equal_parameters_and_macs(plain, inception, connections):
    other = plain | (inception if connections == "inception" else {}) | {"connections": connections}
    assert built(**other).count_params() == pytest.approx(built(**plain).count_params(), rel=0.021)
    assert architecture.macs(built(**other)) == pytest.approx(architecture.macs(built(**plain)), rel=0.035)


def test_a_residual_pair_passes_its_input_on_where_its_kernels_are_zero():
    model = built(**NARROW, pairs=3, connections="residual", initialiser="zeros")
    block = keras.Model(model.get_layer("conv1b_relu").output, model.get_layer("conv1f_relu").output)
    maps = np.abs(np.random.default_rng(0).normal(size=(2, 32, 32, 8))).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(block(maps)), maps)


def test_a_dense_connection_sees_all_outputs_before_it():
    model, growth = built(**NARROW, pairs=3, connections="dense"), dense_growth(3, 8, 6)
    shapes = [model.get_layer(f"conv1{letter}").kernel.shape for letter in "abcdef"]
    assert shapes == [(3, 3, 3 + number * growth, growth) for number in range(6)]
    assert model.get_layer("conv1_transition").kernel.shape == (1, 1, 3 + 6 * growth, 8)


@pytest.mark.parametrize(("pairs", "counted"), [(1, 8), (3, 20), (5, 32), (7, 44)])
def test_pairs_give_the_depths_of_residual_networks(pairs, counted):
    model = built(filters=(2, 2, 2), dense_units=2, pairs=pairs)
    assert sum(hasattr(layer, "kernel") for layer in model.layers) == counted
    depths = [len(layer.name) for layer in model.layers if layer.name.startswith("conv1")]
    assert depths and len({layer.name for layer in model.layers}) == len(model.layers)


# Training


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [
        (
            {"dropout": 0.5, "spatial_dropout": 0.2, "normalisation": "batch", "connections": "dense"},
            {"precision": "mixed_bfloat16", "optimizer": "lion"},
        ),
        (
            {"initialiser": "lsuv", "normalisation": "group", "scaling": "batch_norm", "downsampling": "max_blur"},
            {"early_stopping": 1, "cutout": 8},
        ),
    ],
    ids=["dropout in bfloat16", "LSUV and early stopping"],
)
def test_a_stopped_run_of_any_factor_goes_on_bit_for_bit(arguments, fields, tmp_path):
    data = tiny_dataset(train=80, validation=30)
    recipe = flat_recipe(epochs=3, batch_size=40, **fields)

    def fitted(path, on_epoch=None):
        with backend.precision(recipe.precision):
            training.set_seed(3)
            model = baseline(**NARROW, **arguments)
        ended = training.fit(model, data, recipe, seed=3, checkpoint=path, identity="a run", on_epoch=on_epoch)
        return ended, [weight.numpy() for weight in model.weights]

    def stop(history):
        if len(history["loss"]) == 1:
            raise KeyboardInterrupt

    whole, expected = fitted(tmp_path / "whole.npz")
    stopped, _ = fitted(tmp_path / "stopped.npz", stop)
    assert (whole.status, stopped.status) == ("finished", "interrupted")
    resumed, weights = fitted(tmp_path / "stopped.npz")
    assert resumed.history["loss"] == whole.history["loss"]
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_network_of_zeros_learns_its_last_bias_alone():
    data = tiny_dataset(train=80)
    model = baseline(**NARROW, initialiser="zeros")
    training.fit(model, data, flat_recipe(epochs=1, optimizer="sgd", learning_rate=0.1))
    changed = [weight.path for weight in model.weights if weight.numpy().any()]
    assert changed == ["logits/bias"]
