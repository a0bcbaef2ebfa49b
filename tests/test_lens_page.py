"""The lens as a reader has it, a page of its own, opened from a file: numbers, where they come from, and images."""

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from lens_browser import (
    CLASSES,
    HELD,
    PIXELS,
    chances,
    choose,
    in_sight,
    number_shown,
    run_held,
    settle,
    spot,
    strongest,
    told,
)

from shathenet_utils.backend import keras, layers
from shathenet_utils.lens import payload

pytestmark = pytest.mark.browser


def test_hovering_a_pixel_shows_the_number_that_keras_computes(opened, network, images):
    page = opened(network, images, [3, 1, 2], CLASSES)
    outputs = np.asarray(keras.Model(network.input, network.get_layer("conv1").output)(images[:1]))[0]
    row, column, channel = 5, 9, int(outputs[5, 9].argmax())
    page.locator(f"#page .tiles button[title^='channel {channel},']").click()
    box = in_sight(page.locator(PIXELS))
    page.mouse.move(box["x"] + (column + 0.5) * box["width"] / 32, box["y"] + (row + 0.5) * box["height"] / 32)
    assert f"conv1, channel {channel} at row {row}, column {column}" in told(page)
    assert number_shown(page) == pytest.approx(outputs[row, column, channel], abs=5e-4)
    assert "all 3 input channels" in told(page)
    assert "+ bias" in told(page)


def test_the_lens_opens_at_the_strongest_pixel_and_a_image_in_answer_leads_to_its_own(opened, network, images):
    page = opened(network, images)
    most, where = strongest(network, "conv1", images, channel=0)
    assert number_shown(page) == pytest.approx(most[0], abs=5e-4) and most[0] > 0
    assert spot(page) in where[0]
    answers = page.get_by_role("group", name="Images to which the filter responds most").get_by_role("button")
    answers.nth(2).wait_for()
    for answer in answers.all():
        number = int(answer.get_attribute("aria-label").split()[1].rstrip(","))
        answer.click()
        assert page.evaluate("window.lens.state.image") == number
        assert number_shown(page) == pytest.approx(most[number], abs=5e-4)
        assert spot(page) in where[number]


def test_until_the_reader_chooses_a_pixel_each_channel_opens_at_its_largest_value(opened, network, images):
    page = opened(network, images)
    hint, largest = page.locator("#page .panel .hint"), "channel {} of conv1 has its largest value for this image."
    outputs = np.asarray(keras.Model(network.input, network.get_layer("conv1").output)(images))
    for channel, image in ((3, 0), (5, 0), (5, 2)):
        page.evaluate(f"window.lens.set({{ channel: {channel}, image: {image} }})")
        assert number_shown(page) == pytest.approx(outputs[image, ..., channel].max(), abs=5e-4)
        assert spot(page) in strongest(network, "conv1", images, channel)[1][image]
        assert hint.filter(has_text=largest.format(channel)).is_visible()
    page.evaluate("window.lens.set({ place: window.lens.network.layers.length - 1 })")
    settle(page)
    assert hint.filter(has_text="Choose another number of the output.").is_visible()
    page.evaluate("window.lens.set({ place: 3, row: 9, column: 4, channel: 1 })")
    page.evaluate("window.lens.set({ channel: 6, image: 1 })")
    assert spot(page) == (9, 4), "one that is chosen stays"
    assert not hint.filter(has_text="largest value for this image.").filter(has_text="Here").is_visible()


def test_a_channel_without_a_response_and_a_layer_without_numbers_are_said(opened, images):
    pixels = keras.Input((32, 32, 3))
    x = layers.Conv2D(2, 3, activation="relu", name="dead", bias_initializer=keras.initializers.Constant(-1e4))(pixels)
    page = opened(keras.Model(pixels, layers.AutoContrast(name="auto")(x)), images)
    hint = page.locator("#page .panel .hint")
    assert hint.filter(
        has_text="No value of channel 0 of dead is above 0 for this image. Point at a pixel"
    ).is_visible()
    page.evaluate("window.lens.set({ place: 2 })")
    settle(page)
    assert hint.filter(has_text="This layer shows no numbers, so there is none to explain.").is_visible()
    assert not page.locator("#page .sum").is_visible()


def test_under_each_feature_map_stand_its_channel_and_its_largest_value(opened, network, images):
    page = opened(network, images)
    outputs = np.asarray(keras.Model(network.input, network.get_layer("conv1").output)(images[:1]))[0]
    tiles = page.get_by_role("radiogroup", name="Channel").get_by_role("radio")
    shown = [text.split() for text in tiles.all_inner_texts()]
    assert [int(channel) for channel, _ in shown] == list(range(16))
    np.testing.assert_allclose([float(most) for _, most in shown], outputs.max(axis=(0, 1)), atol=5e-4)
    panel = page.locator("#page .panel", has=tiles.first)
    assert "Channels of conv1" in panel.inner_text() and "one colour scale" in panel.inner_text()
    assert f"+{np.abs(outputs).max():.3f}" in panel.locator(".legend").inner_text()
    page.evaluate("window.lens.set({ place: window.lens.network.layers.length - 1 })")
    settle(page)
    logits = np.asarray(network(images[:1]))[0]
    shown = [text.replace("−", "-").split(": ") for text in tiles.all_inner_texts()]
    np.testing.assert_allclose([float(value) for _, value in shown], logits, atol=1e-3)
    assert "Numbers of logits" in panel.inner_text() and "colour scale" not in panel.inner_text()


def test_a_map_below_zero_tells_its_smallest_value_too(opened, images):
    pixels = keras.Input((32, 32, 3))
    x = layers.Conv2D(2, 1, name="both", kernel_initializer="ones", bias_initializer=keras.initializers.Constant(-300))(
        pixels
    )
    page = opened(keras.Model(pixels, x), images)
    sums = images[0].astype(float).sum(axis=-1) - 300
    title = page.get_by_role("radiogroup", name="Channel").get_by_role("radio").first.get_attribute("title")
    assert title == f"channel 0, largest value {sums.max():.3f}, smallest {sums.min():.3f}".replace("-", "−")


@pytest.mark.parametrize("width", [1280, 800, 400])
def test_no_number_of_a_table_is_cut(opened, images, width):
    pixels = keras.Input((32, 32, 3))
    x = layers.Conv2D(1, 7, name="first")(layers.Rescaling(1 / 255)(pixels))
    model = keras.Model(pixels, x)
    values = [8.6e-4, -8.6e-4, 1e-5, -1.3e-7, 0.5, -0.0625, 123.456, -1234.5, 1.5e6, -2.5e-12, 0.0, -99.5, 9.9999]
    kernel = np.resize(np.array(values, np.float32), (7, 7, 3, 1))
    model.get_layer("first").set_weights([kernel, np.zeros(1)])
    page = opened(model, images, width=width)
    cut = page.locator("#page .grid input, #page .grid td").evaluate_all(
        "all => all.filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.value ?? one.textContent)"
    )
    assert cut == []
    shown = page.locator("#page .grid input").evaluate_all("all => all.map((one) => one.value)")
    texts = ["0.0009", "−0.0009", "1.0e-5", "−1.3e-7", "0.500", "−0.063", "123.5"]
    texts += ["−1235", "1.5e6", "−2.5e-12", "0", "−99.50", "10.00"]
    assert set(shown) <= set(texts) and len(shown) == 49


def test_another_layer_is_looked_at_in_the_same_spot(opened, network, images):
    page = opened(network, images)
    sides = {name: network.get_layer(name).output.shape[1] for name in ("conv1", "conv2")}
    page.evaluate("window.lens.set({ row: 21, column: 6 })")
    choose(page, "Layer", index=[one.name for one in network.layers].index("conv2"))
    scale = sides["conv2"] / sides["conv1"]
    assert spot(page) == (int(21.5 * scale), int(6.5 * scale))
    choose(page, "Layer", index=len(network.layers) - 1)
    choose(page, "Layer", index=[one.name for one in network.layers].index("conv1"))
    assert number_shown(page) == pytest.approx(strongest(network, "conv1", images, channel=0)[0][0], abs=5e-4), (
        "after numbers without a place"
    )


def test_the_arithmetic_of_every_kind_of_layer_ends_in_the_number(opened, images):
    x = pixels = keras.Input((32, 32, 3), name="images")
    x = layers.Rescaling(1 / 255)(x)
    x = layers.Conv2D(4, 3, 2, padding="same", activation="tanh")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Add()([layers.DepthwiseConv2D(3, padding="same")(x), x])
    x = layers.AveragePooling2D(2)(layers.ReLU()(x))
    x = layers.Dense(5, activation="softmax")(layers.GlobalMaxPooling2D()(x))
    model = keras.Model(pixels, x)
    page = opened(model, images)
    found = page.evaluate("() => window.lens.network.layers.map((layer) => layer.kind)")
    for place in range(1, len(found)):
        page.evaluate(f"window.lens.set({{ place: {place}, channel: 1, row: 3, column: 2 }})")
        lines, shown = told(page).splitlines(), page.locator("#page .sum strong").inner_text()
        lines = [line for line in lines if line and not line.startswith("then ")]
        assert len(lines) > 1, found[place]
        if found[place] != "flatten":
            assert lines[-1].endswith(shown), (found[place], lines)


def test_layers_that_move_numbers_or_mix_neighbours_tell_where_each_is_from(opened):
    pixels = keras.Input((5, 4, 2), name="images")
    x = layers.Rescaling(1 / 255, name="scale")(pixels)
    wide = layers.UpSampling2D((2, 3), interpolation="bilinear", name="wide")(x)
    near = layers.UpSampling2D(2, name="near")(layers.Cropping2D(((1, 0), (0, 1)), name="cut")(x))
    framed = layers.ZeroPadding2D(((1, 1), (2, 4)), name="framed")(near)
    both = layers.Concatenate(name="both")([wide, framed])
    mean = layers.GlobalAveragePooling2D(keepdims=True, name="mean")(both)
    flat = layers.Flatten(name="flat")(layers.Multiply(name="weighed")([both, mean]))
    model = keras.Model(pixels, layers.Dense(3, name="end")(flat))
    images = np.random.default_rng(1).integers(0, 256, (1, 5, 4, 2), np.uint8)
    page = opened(model, images)
    maps = {
        name: np.asarray(keras.Model(pixels, model.get_layer(name).output)(images))[0]
        for name in ("scale", "wide", "near", "framed", "both", "mean", "weighed", "flat")
    }

    def lines(name, **where):
        place = page.evaluate(f"window.lens.network.layers.findIndex((layer) => layer.name === '{name}')")
        page.evaluate("changes => window.lens.set(changes)", {"place": place, **where})
        return [line for line in told(page).splitlines()[1:] if line]

    at = {"row": 7, "column": 5, "channel": 1}
    scaled, (up, low, v), (left, right, u) = maps["scale"], (3, 4, 0.25), (1, 2, 1 / 3)
    above, below = ((1 - u) * scaled[row, left, 1] + u * scaled[row, right, 1] for row in (up, low))
    found = lines("wide", **at)
    assert found[0].startswith(
        f"row {up}, columns {left} and {right} of scale: {1 - u:.3f} · {scaled[up, left, 1]:.3f}"
    )
    assert found[1].endswith(f"+ {u:.3f} · {scaled[low, right, 1]:.3f} = {below:.3f}")
    assert found[2] == f"{1 - v:.3f} · {above:.3f} + {v:.3f} · {below:.3f} = {maps['wide'][7, 5, 1]:.3f}"
    assert lines("cut", row=2, column=1, channel=0) == [f"row 3, column 1 of scale: {scaled[3, 1, 0]:.3f}"]
    assert lines("near", row=5, column=2, channel=1) == [f"row 2, column 1 of cut: {maps['near'][5, 2, 1]:.3f}"]
    assert lines("framed", row=6, column=3, channel=1) == [f"row 5, column 1 of near: {maps['near'][5, 1, 1]:.3f}"]
    assert lines("framed", row=0, column=3, channel=1) == ["padding: 0.000"]
    assert lines("framed", row=9, column=8, channel=1) == ["padding: 0.000"]
    assert lines("both", row=6, column=3, channel=3) == [f"channel 1 of framed: {maps['framed'][6, 3, 1]:.3f}"]
    assert lines("both", row=6, column=3, channel=0) == [f"channel 0 of wide: {maps['wide'][6, 3, 0]:.3f}"]
    assert lines("weighed", row=6, column=3, channel=3) == [
        f"multiply of {maps['both'][6, 3, 3]:.3f} and {maps['mean'][0, 0, 3]:.3f} = {maps['weighed'][6, 3, 3]:.3f}"
    ]
    inner = (6 * 12 + 3) * 4 + 3
    assert lines("flat", channel=inner) == [f"channel 3 at row 6, column 3 of weighed: {maps['flat'][inner]:.3f}"]


def test_what_is_no_map_is_saved_as_numbers_alone(opened, network, images):
    page = opened(network, images)
    png, csv = (page.get_by_role("button", name=name) for name in ("PNG", "CSV"))
    assert png.is_visible() and page.get_by_text("Save this feature map").is_visible()
    choose(page, "Layer", index=len(network.layers) - 1)
    assert not png.is_visible() and csv.is_visible() and page.get_by_text("Save these numbers").is_visible()


def test_a_convolution_is_followed_through_its_batch_norm_and_activation(opened, images):
    pixels = keras.Input((32, 32, 3), name="images")
    x = layers.BatchNormalization(name="bn")(layers.Conv2D(3, 3, 16, name="c")(layers.Rescaling(1 / 255)(pixels)))
    model = keras.Model(pixels, layers.ReLU(name="r")(x))
    model.get_layer("bn").moving_mean.assign([0.5, -0.25, 0.125])
    page = opened(model, images)
    page.evaluate("window.lens.set({ place: 2, channel: 1, row: 1, column: 0 })")
    for name in ("bn", "r"):
        value = np.asarray(keras.Model(pixels, model.get_layer(name).output)(images[:1]))[0, 1, 0, 1]
        said = next(line for line in told(page).splitlines() if line.startswith(f"then {name}: "))
        assert float(said.split(": ")[1].replace("−", "-")) == pytest.approx(value, abs=2e-3)


def test_the_input_channels_that_a_number_mostly_comes_from_are_a_click_away(opened, network, images):
    page = opened(network, images)
    assert not page.get_by_label("Where most comes from").get_by_role("button").all(), (
        "conv1 has three, all of them told"
    )
    place = page.evaluate("() => window.lens.network.layers.findIndex((layer) => layer.name === 'conv2')")
    page.evaluate(f"window.lens.set({{ place: {place}, channel: 5, row: 3, column: 2 }})")
    before = np.asarray(keras.Model(network.input, network.get_layer("conv2").input)(images[:1]))
    kernel, _ = network.get_layer("conv2").get_weights()
    alone = np.zeros((16, *before.shape[1:]), np.float32)
    alone[range(16), ..., range(16)] = np.moveaxis(before[0], -1, 0)
    sums = keras.ops.conv(alone, kernel[..., 5:6], 4, "same")[:, 3, 2, 0].numpy()
    shown = page.get_by_label("Where most comes from").get_by_role("button").all()
    order = np.argsort(-np.abs(sums), kind="stable")[:3]
    assert [one.inner_text().replace("−", "-") for one in shown] == [f"{at}: {sums[at]:.3f}" for at in order]
    shown[1].click()
    assert f"input channel {order[1]}: window" in told(page)
    assert page.get_by_label("Input channel", exact=True).input_value() == str(order[1])


def test_pixels_and_epochs_are_reached_by_keyboard(opened, network, images):
    paths = {weight.path: weight.numpy() for weight in network.weights}
    snapshots = {path: np.stack([value * share for share in (0.0, 0.5, 1.0)]) for path, value in paths.items()}
    page = opened(network, images, weight_history=snapshots, history={"loss": [2.0, 1.5], "accuracy": [0.25, 0.5]})
    page.evaluate("window.lens.set({ row: 3, column: 7 })")
    page.locator(PIXELS).focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    assert "at row 4, column 8" in told(page)
    slider = page.locator("#page input[type=range]")

    def stands_at(epoch):
        page.locator(f'#page input[type=range][aria-valuetext="{epoch}"]').wait_for()

    stands_at("epoch 2")
    slider.focus()
    page.keyboard.press("Home")
    stands_at("epoch 0")
    assert number_shown(page) == 0
    assert "before training" in page.locator("#page .lens").inner_text()
    page.keyboard.press("ArrowRight")
    stands_at("epoch 1")
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
    page.mouse.up()
    stands_at("epoch 2")
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    stands_at("epoch 1")
    assert "training loss 2.00, accuracy 25.0 %" in page.locator("#page .lens").inner_text()


def receptive(page):
    settle(page)
    rect = page.locator("#page .stage rect").first
    x, y, width, height = (int(rect.get_attribute(name)) for name in ("x", "y", "width", "height"))
    return y, y + height - 1, x, x + width - 1


@pytest.mark.parametrize(("row", "column"), [(0, 0), (2, 1), (3, 3)])
def test_the_outline_is_what_the_number_depends_on(opened, row, column):
    x = pixels = keras.Input((21, 17, 1), name="images")
    x = layers.Conv2D(1, (3, 5), 2, padding="same", kernel_initializer="ones")(x)
    dilated = layers.Conv2D(1, 3, padding="same", dilation_rate=2, kernel_initializer="ones")(x)
    x = layers.Concatenate()([dilated, layers.AveragePooling2D(3, 1, "same")(x)])
    x = layers.ZeroPadding2D(((1, 0), (0, 1)))(layers.UpSampling2D(2)(x))
    x = layers.MaxPooling2D(2)(layers.Conv2D(1, 2, kernel_initializer="ones")(x))
    model = keras.Model(pixels, x)
    page = opened(model, np.zeros((1, 21, 17, 1), np.uint8))
    page.evaluate(f"window.lens.set({{ place: window.lens.network.layers.length - 1, row: {row}, column: {column} }})")
    each = np.asarray(model(np.eye(21 * 17, dtype=np.float32).reshape(-1, 21, 17, 1)))[:, row, column, 0].reshape(
        21, 17
    )
    rows, columns = np.nonzero(each.any(axis=1))[0], np.nonzero(each.any(axis=0))[0]
    assert receptive(page) == (rows[0], rows[-1], columns[0], columns[-1])


@pytest.mark.parametrize("width", [1280, 400])
def test_the_outlines_lie_where_their_pixels_are_drawn(opened, network, images, width):
    page = opened(network, images, [3, 1, 2], CLASSES, width=width)
    page.evaluate("window.lens.set({ row: 31, column: 20 })")
    top, bottom, left, right = receptive(page)
    for place, (rows, columns) in enumerate([((top, bottom), (left, right)), ((31, 31), (20, 20))]):
        stage = page.locator("#page .stage").nth(place)
        image, drawn = (stage.locator(what).bounding_box() for what in ("canvas", "rect"))
        line = image["width"] / 32
        expected = [
            image["x"] + columns[0] * line,
            image["y"] + rows[0] * line,
            (columns[1] - columns[0] + 1) * line,
            (rows[1] - rows[0] + 1) * line,
        ]
        assert [drawn[name] for name in ("x", "y", "width", "height")] == pytest.approx(expected, abs=2)


def test_the_keyboard_stays_where_it_was(opened, network, images):
    page = opened(network, images)
    page.locator("#page .tiles button[title^='channel 3,']").focus()
    page.keyboard.press("Enter")
    settle(page)
    page.keyboard.press("ArrowRight")
    assert "conv1, channel 4 " in told(page)
    cell = page.get_by_label("kernel, filter 4, row 1, column 1")
    cell.fill("0.5")
    page.keyboard.press("Enter")
    settle(page)
    assert page.evaluate("document.activeElement.shadowRoot.activeElement.ariaLabel") == cell.get_attribute(
        "aria-label"
    )


def test_labels_need_no_names(opened, network, images):
    page = opened(network, images, [3, 1, 2])
    assert page.get_by_label("class 3, image 0").count() == 1


def test_names_are_never_markup(opened, network, images):
    evil = ["<img src=x onerror=alert(1)>", "</script><script>window.hacked=1</script>", *CLASSES[2:]]
    page = opened(network, images, [0, 1, 2], evil, title="<b>&amp;</b></title><script>window.hacked=1</script>")
    assert page.evaluate("window.hacked") is None
    assert page.locator("#page img").count() == 0
    assert page.locator("#page h1").inner_text().startswith("<b>&amp;</b>")
    assert page.title().startswith("<b>&amp;</b>")
    assert evil[0] in page.locator("#page .lens").inner_text()


def test_an_unknown_layer_is_named(opened, images):
    pixels = keras.Input((32, 32, 3))
    model = keras.Model(pixels, layers.Flatten()(layers.AutoContrast(name="auto")(layers.Conv2D(2, 3)(pixels))))
    page = opened(model, images)
    choose(page, "Layer", index=2)
    said = page.locator("#page .note").inner_text()
    assert said == "The lens doesn't know AutoContrast (layer auto), so it shows nothing that is computed from it."


def test_weights_that_are_no_numbers_are_said(opened, images):
    pixels = keras.Input((32, 32, 3))
    model = keras.Model(pixels, layers.Conv2D(2, 3, name="bad")(pixels))
    model.layers[-1].kernel.assign(np.full((3, 3, 3, 2), np.nan))
    page = opened(model, images)
    assert "bad holds numbers that are NaN" in page.locator("#page .note").inner_text()


def test_a_layer_of_ten_thousand_filters_freezes_nothing(opened):
    pixels = keras.Input((4, 4, 1))
    model = keras.Model(pixels, layers.Conv2D(10_000, 1)(pixels))
    page = opened(model, np.zeros((1, 4, 4, 1), np.uint8))
    assert page.locator("#page .note").inner_text() == "256 of 10,000 channels are drawn."


def test_weights_of_another_network_are_refused_in_one_sentence(network):
    with pytest.raises(payload.LensError, match="The weight history is not of v1_0: it lacks conv1/bias"):
        payload.payload(network, np.zeros((1, 32, 32, 3), np.uint8), weight_history={"x": np.zeros((2, 3))})


def test_the_address_holds_what_is_looked_at(opened, network, images):
    page = opened(network, images, at="#place=4&channel=2&row=3&column=1&image=1&epoch=7", before=HELD)
    assert "conv2, channel 2 at row 3, column 1" in told(page)
    page.evaluate("window.lens.set({ row: 5 })")
    run_held(page)  # it is written when the reader has stopped moving
    assert "row=5" in page.evaluate("location.hash")
    page = opened(network, images, at="#place=99&channel=-1&row=%3Cb%3E&nonsense")
    assert "logits" in told(page)


def test_a_file_of_the_readers_own_is_seen_and_never_sent(opened, network, images, tmp_path):
    from PIL import Image

    colour = np.full((90, 70, 3), (200, 30, 60), np.uint8)
    Image.fromarray(colour).save(tmp_path / "own.png")
    page = opened(network, images, [3, 1, 2], CLASSES)
    page.get_by_text("Your own image", exact=True).click()
    page.get_by_label("Or a file").set_input_files(tmp_path / "own.png")
    page.get_by_text("made 32×32 here; it has not left this page").wait_for()
    np.testing.assert_allclose(chances(page), np.asarray(network(colour[None, :32, :32]))[0], atol=1e-5)
    (tmp_path / "none.png").write_text("no image")
    page.get_by_label("Or a file").set_input_files(tmp_path / "none.png")
    page.get_by_text("This file is not an image that the browser can read.").wait_for()


def test_a_image_is_drawn_by_keyboard_and_by_pointer(opened, network, images):
    page = opened(network, images)
    page.get_by_text("Your own image", exact=True).click()
    pen = page.locator("#page canvas.pen")
    pen.focus()
    for key in ("ArrowDown", "ArrowRight", " "):
        page.keyboard.press(key)
    drawn = np.full((1, 32, 32, 3), 255, np.uint8)
    drawn[0, 1, 1] = 0
    np.testing.assert_allclose(chances(page), np.asarray(network(drawn))[0], atol=1e-5)
    pen.scroll_into_view_if_needed()
    box = pen.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 10.5 / 32, box["y"] + box["height"] * 20.5 / 32)
    page.mouse.down()
    page.mouse.up()
    drawn[0, 20, 10] = 0
    np.testing.assert_allclose(chances(page), np.asarray(network(drawn))[0], atol=1e-5)
    page.get_by_role("button", name="clear").click()
    np.testing.assert_allclose(chances(page), np.asarray(network(np.full_like(drawn, 255)))[0], atol=1e-5)


def test_a_map_is_saved_as_numbers_and_as_a_image(opened, network, images, tmp_path):
    page = opened(network, images)
    page.locator("#page .tiles button[title^='channel 3,']").click()
    with page.expect_download() as waited:
        page.get_by_role("button", name="CSV").click()
    assert waited.value.suggested_filename == "v1_0_conv1_3.csv"
    numbers = np.loadtxt(waited.value.path(), delimiter=",")
    outputs = np.asarray(keras.Model(network.input, network.get_layer("conv1").output)(images[:1]))[0, ..., 3]
    np.testing.assert_allclose(numbers, outputs, atol=1e-5)
    with page.expect_download() as waited:
        page.get_by_role("button", name="PNG").click()
    assert waited.value.path().read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_has_no_fault_of_accessibility(opened, network, images, scheme):
    page = opened(network, images, [3, 1, 2], CLASSES, history={"loss": [1.5], "accuracy": [0.5]})
    page.emulate_media(color_scheme=scheme)
    page.get_by_text("Your own image", exact=True).click()
    page.get_by_text("filters never respond").wait_for()
    faults = Axe().run(page).response["violations"]
    assert [(fault["id"], fault["impact"], fault["nodes"][0]["html"]) for fault in faults] == []


def test_the_page_fits_a_telephone(opened, network, images):
    page = opened(network, images, width=400)
    for summary in page.locator("#page summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
