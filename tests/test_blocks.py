"""Layers and initialisers that models share."""

import numpy as np
import pytest

from shathenet_utils import blocks, models
from shathenet_utils.backend import keras, layers


def test_whitened_patches_of_images_are_uncorrelated_and_of_variance_one():
    stream = np.random.default_rng(0)
    images = stream.normal(size=(200, 9, 9, 3)) @ stream.normal(size=(3, 3)) + 0.2 * stream.normal(size=3)
    network = keras.Sequential([keras.Input((9, 9, 3)), blocks.Whitening(2)])
    layer = network.layers[0]
    layer.set_from(images, epsilon=0)
    outputs = np.asarray(network(images.astype(np.float32))).reshape(-1, 24)
    np.testing.assert_allclose(outputs[:, :12].T @ outputs[:, :12] / len(outputs), np.eye(12), atol=1e-3)
    np.testing.assert_allclose(outputs[:, 12:], -outputs[:, :12], atol=1e-5)
    assert [weight.path.split("/")[-1] for weight in layer.trainable_weights] == ["bias"]
    kernel = layer.kernel.numpy()
    layer.set_from(images, epsilon=0)
    np.testing.assert_array_equal(kernel, layer.kernel.numpy())
    again = blocks.Whitening.from_config(layer.get_config())
    assert (again.filters, again.kernel_size, again.padding) == (24, (2, 2), "valid")


@pytest.mark.parametrize("size", [3, 5])
def test_a_dirac_kernel_passes_its_input_on(size):
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype(np.float32)
    same = layers.Conv2D(4, size, padding="same", use_bias=False, kernel_initializer=blocks.Dirac())
    np.testing.assert_allclose(same(images), images, atol=1e-6)
    keras.utils.set_random_seed(0)
    wider = layers.Conv2D(10, size, padding="same", use_bias=False, kernel_initializer=blocks.Dirac())
    np.testing.assert_allclose(wider(images)[..., :4], images, atol=1e-6)
    rest = wider.kernel.numpy()[..., 4:]
    assert np.abs(rest).max() <= 1 / np.sqrt(size * size * 4)
    assert rest.std() == pytest.approx(1 / np.sqrt(3 * size * size * 4), rel=0.15)
    narrower = layers.Conv2D(2, size, padding="same", use_bias=False, kernel_initializer=blocks.Dirac("zeros"))
    np.testing.assert_allclose(narrower(images), images[..., :2], atol=1e-6)


def test_v1_0s_first_layer_as_a_2x2_convolution_computes_the_same_at_first():
    images, outputs = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.float32), {}
    for first_layer in models.FIRST_LAYERS:
        keras.utils.set_random_seed(3)
        outputs[first_layer] = models.v1_0(first_layer=first_layer)(images).numpy()
    wide, usual, initial, steps = outputs.values()
    np.testing.assert_allclose(initial, wide, atol=1e-6)
    np.testing.assert_allclose(steps, wide, atol=1e-6)
    assert np.abs(usual - wide).max() > 1e-3


def test_a_scaled_convolution_is_the_convolution_with_its_kernel_times_the_scale():
    scale = blocks.CollapsedTruncatedNormal.counts(6)
    scaled = blocks.ScaledConv2D(4, 2, scale, padding="same", activation="relu", kernel_initializer="he_normal")
    plain = layers.Conv2D(4, 2, padding="same", activation="relu")
    images = np.random.default_rng(0).normal(size=(2, 5, 6, 3)).astype(np.float32)
    scaled(images), plain(images)
    plain.set_weights([scaled.kernel.numpy() * scale, scaled.bias.numpy()])
    np.testing.assert_allclose(scaled(images), plain(images), atol=1e-5)


@pytest.mark.parametrize("name", models.MODELS)
def test_every_model_is_cloned_and_saved_without_custom_objects(name, tmp_path):
    arguments = {"dense_network": {"units": (5, 156)}, "v1_0": {"first_layer": "conv_2x2_initial_and_steps"}}
    model = models.build(name, arguments.get(name))
    inputs = np.random.default_rng(0).integers(0, 256, (2, *model.input_shape[1:])).astype(np.float32)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(inputs), model(inputs), atol=1e-5)
    cloned = keras.models.clone_model(model)
    cloned.set_weights(model.get_weights())
    np.testing.assert_allclose(cloned(inputs), model(inputs), atol=1e-5)
