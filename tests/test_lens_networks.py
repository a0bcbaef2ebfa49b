"""Networks that no one wrote for the lens: each opens and ends as Keras computes it, or what it can't is named."""

import lens_in_javascript
import numpy as np
import pytest
from lens_in_javascript import assert_close, in_javascript, unknown, with_weights
from lens_networks import NETWORKS, classes, conv

from shathenet_utils.backend import keras, layers, ops

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def page(browser):
    page = lens_in_javascript.new_page(browser)
    yield page
    page.close()


def test_there_are_forty():
    assert len(NETWORKS) >= 40


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_opens_and_agrees_with_keras(page, name):
    model = with_weights(NETWORKS[name]())
    image = np.random.default_rng(0).uniform(0, 2, model.input.shape[1:]).astype(np.float32)
    found, numbers = in_javascript(page, model, image, end_only=True)
    assert unknown(found) == []
    assert_close(numbers[-1], model(image[None], training=False)[0], name)


def test_each_output_of_several_agrees(page):
    images = keras.Input((16, 16, 3), name="images")
    x = conv(images, 8)
    heads = [classes(x, 4), layers.Dense(2, name="place")(layers.Flatten()(x)), layers.Conv2D(1, 1, name="mask")(x)]
    model = with_weights(keras.Model(images, heads))
    image = np.random.default_rng(1).normal(size=(16, 16, 3)).astype(np.float32)
    for number, expected in enumerate(model(image[None], training=False)):
        _, numbers = in_javascript(page, model, image, number, end_only=True)
        assert_close(numbers[-1], expected[0], number)


class Patches(layers.Layer):
    """Keras's example of a vision transformer cuts images so."""

    def call(self, images):
        return ops.image.extract_patches(images, 4)


def test_what_the_lens_does_not_know_is_named(page):
    images = keras.Input((16, 16, 3), name="images")
    patches = Patches(name="patches")(images)
    model = keras.Model(images, layers.Dense(3)(layers.Flatten()(patches)))
    found, numbers = in_javascript(page, model, np.ones((16, 16, 3), np.float32))
    assert unknown(found) == ["keras.ops.ExtractPatches"]
    assert numbers[-1] is None
