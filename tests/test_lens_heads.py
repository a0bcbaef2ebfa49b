"""What a reader sees of a network's last layer, and why: classes, probabilities each on its own, or plain numbers."""

import numpy as np
import pytest
from lens_browser import settle

from shathenet_utils.backend import keras, layers

pytestmark = pytest.mark.browser
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 6, 6, 3), np.uint8)
LOG9 = 2.1972246


@pytest.fixture
def shown(opened):
    """A function that opens a network that ends in a dense layer with these biases, kernels zero; returns the page."""

    def shown(activation, biases, classes=None, labels=None, images=IMAGES, **more):
        pixels = keras.Input((6, 6, 3), name="images")
        x = layers.Flatten()(layers.Conv2D(2, 3, name="conv")(layers.Rescaling(1 / 255)(pixels)))
        x = layers.Dense(
            len(biases), activation, kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(biases)
        )(x)
        return opened(keras.Model(pixels, x), images, labels, classes, **more)

    return shown


def lines(page):
    """What stands in the table of the last layer's numbers, the title first."""
    settle(page)
    rows = page.locator("#page .classes tr").all_inner_texts()
    return [" ".join(row.replace("\n", " ").replace("true class", " (true)").split()) for row in rows]


def test_one_sigmoid_unit_tells_two_classes_apart(shown):
    page = shown("sigmoid", [-LOG9], ["cat", "dog"], [0, 1, 1, 1])
    assert lines(page) == ["Class Probability", "cat (true) 90.0 %", "dog 10.0 %"]
    assert page.locator("#page .predicted").all_inner_texts()[0].startswith("cat")
    page.evaluate("window.lens.set({ image: 1 })")
    assert lines(page) == ["Class Probability", "cat 90.0 %", "dog (true) 10.0 %"]
    page.get_by_role("button", name="negative").click()
    page.get_by_text("classifies 1 of these 4 images correctly; as trained, 1.").wait_for()
    assert lines(page)[1:] == ["cat 90.0 % +0.0", "dog (true) 10.0 % +0.0"]


def test_one_logit_with_two_classes_is_told_by_the_reader(shown):
    page = shown(None, [LOG9], ["cat", "dog"], [0, 1, 1, 1], head="binary_logit")
    assert lines(page) == ["Class Probability", "dog 90.0 %", "cat (true) 10.0 %"]


def test_several_sigmoids_stand_each_on_its_own(shown):
    page = shown("sigmoid", [LOG9, 0, -LOG9], ["fur", "eyes", "wheels"])
    assert lines(page) == ["Class Probability", "fur 90.0 %", "eyes 50.0 %", "wheels 10.0 %"]
    assert page.locator("#page .predicted").count() == 0, "none of them excludes another"


def test_a_plain_number_is_a_number(shown):
    page = shown(None, [-3.5], ["cat", "dog"], [0, 1, 1, 1])
    assert lines(page) == ["Output Number", "output 0 −3.500"]
    page.get_by_role("button", name="negative").click()
    assert lines(page) == ["Output Number By your edits", "output 0 −3.500 +0.000"]
    page.get_by_role("group", name="Images to which the filter responds most").get_by_role("button").first.wait_for()
    assert "images correctly" not in page.locator("#page .lens").inner_text(), "a regression is not right or wrong"
    assert "%" not in page.locator("#page .classes").inner_text()


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_classes_are_sorted_and_the_true_one_is_marked(shown, activation):
    names, chances = [f"class {number}" for number in range(12)], np.arange(1, 13) / 78
    page = shown(activation, np.log(chances).tolist(), names, [0, 11, 5, 3])
    expected = [f"class {number} {100 * chances[number]:.1f} %" for number in range(11, 1, -1)]
    assert lines(page) == ["Class Probability", *expected, f"class 0 (true) {100 * chances[0]:.1f} %"]
    page.get_by_role("button", name="show all 12").click()
    assert len(lines(page)) == 13
    page.get_by_role("button", name="show the first 10").click()
    page.evaluate("window.lens.set({ image: 1 })")
    assert lines(page)[1] == f"class 11 (true) {100 * chances[11]:.1f} %" and len(lines(page)) == 11
    page.evaluate("window.lens.set({ image: 4 })")
    assert not [line for line in lines(page) if "(true)" in line], "the reader's own image has no label"


def test_a_lens_without_images_opens_on_the_readers_own(shown):
    page = shown("softmax", [0.0, 1.0], ["cat", "dog"], images=IMAGES[:0])
    assert page.evaluate("[window.lens.state.image, window.lens.count]") == [0, 0]
    assert lines(page) == ["Class Probability", "dog 73.1 %", "cat 26.9 %"]
    page.get_by_role("button", name="negative").click()
    assert lines(page)[1:] == ["dog 73.1 % +0.0", "cat 26.9 % +0.0"]


def test_a_map_at_the_end_and_lists_of_any_rank_are_shown_and_explained(opened):
    pixels = keras.Input((6, 6, 3), name="images")
    x = layers.Reshape((36, 3), name="list")(layers.Rescaling(1 / 255, name="scale")(pixels))
    x = layers.LayerNormalization(name="normal")(layers.Permute((2, 1), name="turned")(x))
    x = keras.ops.mean(x, axis=(1, 2))
    x = layers.Reshape((1,), name="one")(x)
    images = layers.Reshape((6, 6, 3), name="map")(layers.RepeatVector(108, name="many")(x))
    page = opened(keras.Model(pixels, images), IMAGES)
    assert lines(page) == []
    scaled = IMAGES[0].reshape(36, 3) / 255
    for name, channel, text in (
        ("list", 7, f"channel 1 at row 0, column 2 of scale: {scaled[2, 1]:.3f}"),
        ("turned", 38, f"number 2, 1 of list: {scaled[2, 1]:.3f}"),
        ("map", 0, "of many: "),
    ):
        place = page.evaluate(f"window.lens.network.layers.findIndex((layer) => layer.name.startsWith('{name}'))")
        page.evaluate(f"window.lens.set({{ place: {place}, channel: {channel} }})")
        settle(page)
        assert text in page.locator("#page .sum").inner_text(), name
    for place in range(page.evaluate("window.lens.network.layers.length")):
        page.evaluate(f"window.lens.set({{ place: {place}, channel: 0 }})")
        settle(page)
        assert "NaN" not in page.locator("#page .sum").inner_text()
        assert page.locator("#page .sum p").count() > 1
