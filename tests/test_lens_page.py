"""The lens as a reader has it: a page of its own, opened from a file."""

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from lens_browser import in_sight, settle

from shathenet_utils import ROOT, datasets, files, lens, models
from shathenet_utils.backend import keras, layers
from shathenet_utils.lens import encoding, payload, screenshot, script, widget

pytestmark = pytest.mark.browser
CLASSES = [f"class {number}" for number in range(10)]


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    model = models.v1_0()
    for weight in model.weights:
        weight.assign(weight.numpy().astype(np.float16))
    return model


def told(page):
    settle(page)
    return page.locator("#page .sum").inner_text()


def number_shown(page):
    settle(page)
    return float(page.locator("#page .sum strong").first.inner_text().replace("−", "-"))


def test_hovering_a_pixel_shows_the_number_that_keras_computes(opened, network, images):
    page = opened(network, images, [3, 1, 2], CLASSES)
    outputs = np.asarray(keras.Model(network.input, network.get_layer("conv1").output)(images[:1]))[0]
    row, column, channel = 5, 9, int(outputs[5, 9].argmax())
    page.locator(f"#page .tiles button[title='channel {channel}']").click()
    box = in_sight(page.locator("#page canvas[role=application]:not(.pen)"))
    page.mouse.move(box["x"] + (column + 0.5) * box["width"] / 32, box["y"] + (row + 0.5) * box["height"] / 32)
    assert f"conv1, channel {channel} at row {row}, column {column}" in told(page)
    assert number_shown(page) == pytest.approx(outputs[row, column, channel], abs=5e-4)
    assert "all 3 input channels" in told(page)
    assert "+ bias" in told(page)


def strongest(model, layer, images, channel):
    """The largest number of a channel, image by image, and the rows and columns that have it."""
    maps = np.asarray(keras.Model(model.input, model.get_layer(layer).output)(images))[..., channel]
    most = maps.max(axis=(1, 2))
    return most, [
        list(zip(*np.nonzero(one >= value - 1e-5), strict=True)) for one, value in zip(maps, most, strict=True)
    ]


def spot(page):
    settle(page)
    return tuple(page.evaluate("[window.lens.state.row, window.lens.state.column]"))


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


def test_another_layer_is_looked_at_in_the_same_spot(opened, network, images):
    page = opened(network, images)
    layer = page.get_by_label("Layer", exact=True)
    sides = {name: network.get_layer(name).output.shape[1] for name in ("conv1", "conv2")}
    page.evaluate("window.lens.set({ row: 21, column: 6 })")
    layer.select_option(index=[one.name for one in network.layers].index("conv2"))
    scale = sides["conv2"] / sides["conv1"]
    assert spot(page) == (int(21.5 * scale), int(6.5 * scale))
    layer.select_option(index=len(network.layers) - 1)
    layer.select_option(index=[one.name for one in network.layers].index("conv1"))
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
    page.get_by_label("Layer", exact=True).select_option(index=len(network.layers) - 1)
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
    page.locator("#page canvas[role=application]:not(.pen)").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    assert "at row 4, column 8" in told(page)
    slider = page.locator("#page input[type=range]")
    assert slider.get_attribute("aria-valuetext") == "epoch 2"
    slider.focus()
    page.keyboard.press("Home")
    assert slider.get_attribute("aria-valuetext") == "epoch 0"
    assert number_shown(page) == 0
    assert "before training" in page.locator("#page .lens").inner_text()
    page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "epoch 1"
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
    page.mouse.up()
    assert slider.get_attribute("aria-valuetext") == "epoch 2"
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert slider.get_attribute("aria-valuetext") == "epoch 1"
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


def kernels_shown(page):
    settle(page)
    return page.locator("#page [aria-label=Kernel] button").evaluate_all("all => all.map((one) => one.title)")


def test_kernels_are_told_by_norm_likeness_and_whether_they_ever_answer(opened, images):
    pixels = keras.Input((32, 32, 3))
    x = layers.Conv2D(4, 3, name="first")(layers.Rescaling(1 / 255)(pixels))
    model = keras.Model(pixels, layers.ReLU()(layers.BatchNormalization()(x)))
    draw = np.random.default_rng(0)
    kernel = draw.normal(size=(3, 3, 3, 4)).astype(np.float16).astype(np.float32)
    kernel[..., 2] = 2 * kernel[..., 0]  # a twin
    kernel[..., 3] = -np.abs(kernel[..., 3])  # never positive
    model.get_layer("first").set_weights([kernel, np.zeros(4)])
    page = opened(model, images)
    page.get_by_label("Layer", exact=True).select_option(index=2)
    norms = [f"{norm:.3f}" for norm in np.linalg.norm(kernel.reshape(-1, 4), axis=0)]
    assert kernels_shown(page) == [f"kernel {number}, norm {norm}" for number, norm in enumerate(norms)]
    said = page.locator("#page .lens").inner_text()
    assert "1 of 6 pairs nearly alike" in said
    page.get_by_text("1 of 4 filters never respond to these 3 images: 3.").wait_for()
    page.get_by_label("Order").select_option("norm")
    assert kernels_shown(page)[0] == f"kernel {np.argmax(norms)}, norm {max(norms)}"
    page.get_by_label("Order").select_option("likeness to the chosen one")
    assert [title.split(",")[0] for title in kernels_shown(page)[:2]] == ["kernel 0", "kernel 2"]


def test_what_training_changed_in_kernels_is_shown_without_their_start(opened, network, images):
    draw, paths = np.random.default_rng(0), {weight.path: weight.numpy() for weight in network.weights}
    snapshots = {path: np.stack([draw.normal(size=value.shape), value, value]) for path, value in paths.items()}
    snapshots = {path: kept.astype(np.float16).astype(np.float32) for path, kept in snapshots.items()}
    page = opened(network, images, weight_history=snapshots)
    tick, told = page.get_by_label("minus the initial weights"), page.locator("#page .lens")

    def norms(kernel):
        found = np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), axis=0)
        return [f"kernel {number}, norm {norm:.3f}" for number, norm in enumerate(found)]

    start, _, end = snapshots["conv1/kernel"]
    moved = np.linalg.norm(end - start) / np.linalg.norm(start)
    assert f"{moved:.2f} times the norm of the initial weights" in told.inner_text()
    assert kernels_shown(page) == norms(end) and "since the initial weights" not in told.inner_text()
    tick.check()
    assert kernels_shown(page) == norms(end - start) and "The change since the initial weights." in told.inner_text()
    page.locator("#page input[type=range]").focus()
    page.keyboard.press("Home")
    assert kernels_shown(page) == norms(0 * start)
    tick.uncheck()
    assert kernels_shown(page) == norms(start)


def test_a_page_without_epochs_does_not_offer_what_changed(opened, network, images):
    page = opened(network, images)
    assert kernels_shown(page) and not page.get_by_text("minus the initial weights").is_visible()


def chances(page):
    settle(page)
    return np.array(page.evaluate("() => Array.from(window.lens.outputs().at(-1).data)"))


def test_an_edited_kernel_changes_the_rest_as_in_keras_and_is_reset(opened, network, images):
    page = opened(network, images, [3, 1, 2], CLASSES)
    start = chances(page)
    np.testing.assert_allclose(start, np.asarray(network(images[:1]))[0], atol=1e-5)
    other = models.v1_0()
    other.set_weights(network.get_weights())
    kernel, bias = other.get_layer("conv1").get_weights()
    page.locator("#page .tiles button[title='channel 4']").click()
    page.get_by_label("kernel, filter 4, row 2, column 3").fill("0.75")
    page.keyboard.press("Enter")
    kernel[2, 3, 0, 4] = 0.75
    other.get_layer("conv1").set_weights([kernel, bias])
    np.testing.assert_allclose(chances(page), np.asarray(other(images[:1]))[0], atol=1e-5)
    assert (chances(page) != start).any()
    page.get_by_role("button", name="negative").click()
    kernel[..., 4] *= -1
    other.get_layer("conv1").set_weights([kernel, bias])
    np.testing.assert_allclose(chances(page), np.asarray(other(images[:1]))[0], atol=1e-5)
    page.get_by_role("button", name="switch the filter off").click()
    kernel[..., 4] = 0
    other.get_layer("conv1").set_weights([kernel, bias])
    np.testing.assert_allclose(chances(page), np.asarray(other(images[:1]))[0], atol=1e-5)
    right = [int((np.asarray(one(images)).argmax(axis=1) == [3, 1, 2]).sum()) for one in (other, network)]
    page.get_by_text(
        f"Edited, the network classifies {right[0]} of these 3 images correctly; as trained, {right[1]}."
    ).wait_for()
    page.get_by_role("button", name="reset").click()
    np.testing.assert_array_equal(chances(page), start)


def test_a_large_network_is_rounded_to_eight_bits_and_says_so(opened, network, images, monkeypatch):
    monkeypatch.setattr(encoding, "LARGE", 1000)
    snapshots = {weight.path: np.stack([np.zeros(weight.shape), weight.numpy()]) for weight in network.weights}
    told_page = payload.payload(network, images, weight_history=snapshots)
    page = opened(shown=lens.Lens(told_page, {}))
    assert "kernels are rounded to 8 bits" in page.locator("#page .lens").inner_text()
    rounded = models.v1_0()
    for weight, own in zip(rounded.weights, network.weights, strict=True):
        value = own.numpy()
        if value.ndim > 1:
            scale = np.abs(value).reshape(-1, value.shape[-1]).max(axis=0) / 127
            value = np.clip(np.rint(value / scale), -127, 127) * scale
        weight.assign(value)
    np.testing.assert_allclose(chances(page), np.asarray(rounded(images[:1]))[0], atol=1e-5)


@pytest.fixture(scope="module")
def slow_network():
    keras.utils.set_random_seed(0)
    model = models.v1_2()
    for weight in model.weights:
        weight.assign(weight.numpy().astype(np.float16))
    return model


LIVELINESS = """() => {
  const times = []; window.gaps = times;
  const look = (now) => { times.push(now); requestAnimationFrame(look); };
  requestAnimationFrame(look);
}"""


# A pass begun, seen, and given up for another, all in the page: from outside it might be over before one looks. On a
# fast machine a pass may end before its bar is drawn, so several are begun.
GIVEN_UP = """async () => {
  const at = (what) => document.querySelector("#page").shadowRoot.querySelector(what);
  const seen = () => at("progress").checkVisibility();
  let found = [false, "false"];
  for (let pass = 0; pass < 10 && !found[0]; pass++) {
    window.lens.set({ image: pass % 2 ? 0 : 2 });
    const begun = performance.now();
    while (!seen() && performance.now() - begun < 1000) await new Promise(requestAnimationFrame);
    found = [seen(), at(".body").ariaBusy];
  }
  window.lens.set({ row: 3, column: 4, image: 1 });
  return found;
}"""


def test_a_slow_networks_pass_has_a_bar_and_leaves_the_page_alive(opened, slow_network, images):
    page = opened(slow_network, images, [3, 1, 2], CLASSES)
    bar, body = page.get_by_label("Computing"), page.locator("#page .body")
    bar.wait_for(state="hidden")
    np.testing.assert_allclose(chances(page), np.asarray(slow_network(images[:1]))[0], atol=1e-5)
    page.evaluate(LIVELINESS)
    assert page.evaluate(GIVEN_UP) == [True, "true"]
    settle(page)
    assert not bar.is_visible() and body.get_attribute("aria-busy") == "false"
    frames = np.array(page.evaluate("window.gaps"))
    assert len(frames) > 5 and np.median(np.diff(frames)) < 60  # milliseconds; all at once it would be one gap of 500
    np.testing.assert_allclose(chances(page), np.asarray(slow_network(images[1:2]))[0], atol=1e-5)
    assert "at row 3, column 4" in told(page)


def test_edits_of_a_slow_network_end_as_in_keras(opened, slow_network, images):
    page = opened(slow_network, images, [3, 1, 2], CLASSES)
    bar = page.get_by_label("Computing")
    bar.wait_for(state="hidden")
    start = chances(page)
    other = models.v1_2()
    other.set_weights(slow_network.get_weights())
    kernel, bias = other.get_layer("conv1a").get_weights()
    page.get_by_role("button", name="negative").click()
    page.get_by_role("button", name="negative").click()  # before the first has been computed
    page.get_by_role("button", name="blur").click()
    kernel[..., 0] = 1 / 25
    other.get_layer("conv1a").set_weights([kernel, bias])
    bar.wait_for(state="hidden")
    np.testing.assert_allclose(chances(page), np.asarray(other(images[:1]))[0], atol=1e-5)
    before, after = (np.asarray(keras.ops.softmax(one(images[:1])))[0] for one in (slow_network, other))
    page.evaluate("window.lens.set({ channel: 1 })")
    rows = [text.split("\t") for text in page.locator("#page .bar").all_inner_texts()]
    changes = [float(change.replace("−", "-")) for *_, change in rows]
    order = np.argsort(-after)
    np.testing.assert_allclose(changes, 100 * (after - before)[order], atol=0.06)
    assert [row[0].replace("true class", "").strip() for row in rows] == [CLASSES[number] for number in order]
    assert [row[0] for row in rows if "true class" in row[0]] == ["class 3true class"]
    page.get_by_role("button", name="reset").click()
    bar.wait_for(state="hidden")
    np.testing.assert_array_equal(chances(page), start)


def test_the_keyboard_stays_where_it_was(opened, network, images):
    page = opened(network, images)
    page.locator("#page .tiles button[title='channel 3']").focus()
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


def test_what_a_filter_answers_is_never_told_of_another_layer(opened, network, images):
    pixels = keras.Input((32, 32, 3), name="images")
    x = layers.Conv2D(4, 3, name="straight")(layers.Conv2D(4, 3, activation="relu", name="bent")(pixels))
    model = keras.Model(pixels, layers.MaxPooling2D(2)(x))
    page = opened(model, images)
    page.get_by_text("4 filters never respond to these 3 images").wait_for()
    page.get_by_label("Layer", exact=True).select_option(index=2)
    assert "straight" in told(page)
    shown = page.get_by_label("Images to which the filter responds most").get_by_role("button")
    shown.first.wait_for()
    most = np.asarray(keras.Model(pixels, model.get_layer("straight").output)(images))[..., 0].max(axis=(1, 2))
    said = [float(text.replace("−", "-")) for text in shown.all_inner_texts()]
    assert said == pytest.approx(sorted(most, reverse=True), rel=5e-3)
    assert "never respond" not in page.locator("#page .lens").inner_text(), "a filter without activation can't be dead"


def test_labels_need_no_names(opened, network, images):
    page = opened(network, images, [3, 1, 2])
    assert page.get_by_label("class 3, image 0").count() == 1


def test_three_channels_are_seen_as_colours_or_one_by_one(opened, network, images):
    page = opened(network, images)
    words = page.locator("#page .lens")
    assert "grey is zero" in words.inner_text()
    page.get_by_label("Input channel").fill("2")
    assert "white zero" in words.inner_text()
    assert "input channel 2: window" in told(page)
    page.get_by_label("three channels as colours").check()
    assert "grey is zero" in words.inner_text()


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
    page.get_by_label("Layer", exact=True).select_option(index=2)
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
    page = opened(network, images, at="#place=4&channel=2&row=3&column=1&image=1&epoch=7")
    assert "conv2, channel 2 at row 3, column 1" in told(page)
    page.evaluate("window.lens.set({ row: 5 })")
    page.wait_for_timeout(500)  # it is written when the reader has stopped moving
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
    page.locator("#page .tiles button[title='channel 3']").click()
    with page.expect_download() as waited:
        page.get_by_role("button", name="CSV").click()
    assert waited.value.suggested_filename == "v1_0_conv1_3.csv"
    numbers = np.loadtxt(waited.value.path(), delimiter=",")
    outputs = np.asarray(keras.Model(network.input, network.get_layer("conv1").output)(images[:1]))[0, ..., 3]
    np.testing.assert_allclose(numbers, outputs, atol=1e-5)
    with page.expect_download() as waited:
        page.get_by_role("button", name="PNG").click()
    assert waited.value.path().read_bytes()[:4] == b"\x89PNG"


def test_the_images_that_a_filter_answers_most_come_first(opened, network, images):
    page = opened(network, images)
    outputs = np.asarray(keras.Model(network.input, network.get_layer("conv1").output)(images))
    page.get_by_text("Images to which the filter responds most").wait_for()

    def told_of(channel):
        order = np.argsort(-outputs[..., channel].max(axis=(1, 2)), kind="stable")
        shown = page.get_by_label("Images to which the filter responds most").get_by_role("button").all()
        assert [int(one.get_attribute("aria-label").split()[1].rstrip(",")) for one in shown] == order.tolist()
        most = [float(one.inner_text().replace("−", "-")) for one in shown]
        np.testing.assert_allclose(most, outputs[order, ..., channel].max(axis=(1, 2)), atol=1e-3)

    page.locator("#page .tiles button[title='channel 5']").click()
    told_of(5)
    page.evaluate("window.lens.set({ channel: 2, image: 1 })")
    told_of(2)


def test_of_two_lenses_one_follows_the_other(opened, network, images):
    pixels = keras.Input((32, 32, 3), name="images")
    other = keras.Model(pixels, layers.Conv2D(16, 3, 4, padding="same", name="conv1")(pixels), name="other")
    first, second = (lens.Lens(payload.payload(model, images), {}) for model in (network, other))
    page = opened(shown=lens.compare(first, second))
    most, _ = strongest(network, "conv1", images, channel=0)
    assert number_shown(page) == pytest.approx(most[0], abs=5e-4)
    rows = page.evaluate("window.lens.map((one) => one.state.row / one.outputs()[one.state.place].shape[0])")
    assert rows[1] == pytest.approx(rows[0], abs=1 / 8)
    maps = page.locator("#page canvas[role=application]:not(.pen)")
    box = maps.first.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 20.5 / 32, box["y"] + box["height"] * 9.5 / 32)
    said = [one.inner_text().splitlines()[0] for one in page.locator("#page .sum").all()]
    assert said[0].startswith("conv1, channel 0 at row 9, column 20")
    assert said[1].startswith("conv1, channel 0 at row 2, column 5")
    assert page.title() == "v1_0 and other"


def test_of_two_lenses_both_see_the_readers_own_image_and_the_epoch(opened, network, images):
    snapshots = {weight.path: np.stack([0.5 * weight.numpy(), weight.numpy()]) for weight in network.weights}
    both = [lens.Lens(payload.payload(network, images[:n], weight_history=snapshots), {}) for n in (2, 3)]
    page = opened(shown=lens.compare(*both))
    page.get_by_text("Your own image", exact=True).last.click()
    page.locator("#page canvas.pen").last.focus()
    for key in ("ArrowDown", " "):
        page.keyboard.press(key)
    settle(page)
    drawn = np.full((1, 32, 32, 3), 255, np.uint8)
    drawn[0, 1, 0] = 0
    states = page.evaluate("window.lens.map((one) => [one.state.image, Array.from(one.outputs().at(-1).data)])")
    assert [image for image, _ in states] == [2, 3]
    for _, chances in states:
        np.testing.assert_allclose(chances, np.asarray(network(drawn))[0], atol=1e-5)
    page.get_by_role("button", name="clear").last.click()
    assert page.evaluate("window.lens.every((one) => one.own.data.every((value) => value === 255))")
    page.evaluate("window.lens[0].set({ epoch: 0 })")
    assert page.evaluate("window.lens.map((one) => one.state.epoch)") == [0, 0]


@pytest.mark.parametrize(
    ("name", "variant", "second", "limit"),
    [("v1_0", "adam_1e-3", 3, 1.5e6), ("airbench", "epochs_12", 1, 5e6), ("v1_2", "original", 4, 6e6)],
)
def test_a_versions_page_stays_small(tmp_path, monkeypatch, name, variant, second, limit):
    """With twenty images and, of v1.0, twenty epochs."""
    data = datasets.toy_shapes(20, 20, 20)
    shown = lens.recorded(name, variant, data, name="page")
    assert shown.data["epochs"][:2] == [0, second] and len(shown.data["epochs"]) <= 20
    assert shown.data["curve"] and shown.data["images"]["shape"][0] == 20
    monkeypatch.setenv("SHATHENET_FIGURES", str(tmp_path))
    shown._repr_mimebundle_()
    assert 10_000 < (tmp_path / "page.html").stat().st_size < limit


def test_the_page_in_figures_has_the_lens_of_today():
    """It holds a copy of the script; `make rerun` makes it anew."""
    assert script.joined() in (ROOT / "figures" / "lens_v1_0.html").read_text()


def test_on_other_images_a_recorded_network_keeps_its_classes_and_claims_no_labels():
    shapes = datasets.toy_shapes(20, 20, 20)
    data = lens.recorded("v1_0", "adam_1e-3", shapes).data
    assert (data["classes"], data["labels"]) == (list(datasets.CIFAR10_CLASSES), None)
    own = lens.open(models.v1_0(), shapes).data
    assert own["classes"] == list(shapes.class_names) and own["labels"] == shapes.test_labels.tolist()


def test_only_the_variant_that_was_kept_bears_its_versions_name():
    data = datasets.toy_shapes(20, 20, 20)
    titles = [lens.recorded("v1_0", variant, data).data["title"] for variant in ("adam_1e-3", "adam_1e-4")]
    assert titles == ["v1.0, seed 0", "v1_0 adam_1e-4, seed 0"]


def test_a_run_without_weights_is_told(monkeypatch):
    with pytest.raises(ValueError, match="v1_0 adam_1e-3 seed 1 kept no weights"):
        lens.recorded("v1_0", "adam_1e-3", datasets.toy_shapes(20, 20, 20), seed=1)


def test_a_notebook_gets_a_widget_and_a_figure_with_its_words(network):
    shown = lens.open(network, datasets.toy_shapes(20, 10, 10), images=4)
    bundle = shown._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/plain"].startswith("The first 16 of 16 kernels, 7×7, of the first convolution of v1_0.")
    assert '<img alt="The first 16' in bundle["text/html"]
    assert shown.data["images"]["shape"] == [4, 32, 32, 3]
    assert shown.data["classes"][0] == datasets.toy_shapes(20, 10, 10).class_names[0]


def test_two_lenses_leave_a_figure_of_both(network):
    one, other = (lens.open(network, datasets.toy_shapes(20, 10, 10), 2, title=title) for title in ("this", "that"))
    told = lens.compare(one, other)._repr_mimebundle_()["text/plain"]
    assert all(f"of the first convolution of {title}." in told for title in ("this", "that"))


def test_a_page_that_cannot_be_written_is_one_sentence(network, images, tmp_path):
    shown = lens.Lens(payload.payload(network, images), {})
    (tmp_path / "file").touch()
    with pytest.raises(files.FileError, match=r"lens\.html"):
        shown.to_html(tmp_path / "file" / "lens.html")


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
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_a_lens_with_an_image_leaves_its_screenshot(network, images, monkeypatch, tmp_path):
    """What a page's static output shows is the lens itself, small enough for a notebook."""
    from PIL import Image

    monkeypatch.setenv("SHATHENET_FIGURES", str(tmp_path))
    shown = lens.Lens(payload.payload(network, images), {"v1_0": widget._first_kernels(network)}, image="shot")
    bundle = shown._repr_mimebundle_()
    assert bundle["text/plain"].startswith("The lens on v1_0: ")
    assert '<img alt="The lens on v1_0: ' in bundle["text/html"]
    drawn = tmp_path / "shot.png"
    assert 10_000 < drawn.stat().st_size < 150_000
    assert len(Image.open(drawn).convert("RGB").getcolors(2**24)) > 50, "not a blank page"


def test_without_a_browser_and_a_stored_screenshot_the_kernels_stand_in(network, images, monkeypatch, tmp_path):
    monkeypatch.setenv("SHATHENET_FIGURES", str(tmp_path))
    monkeypatch.setattr(screenshot, "browser", lambda: None)
    shown = lens.Lens(payload.payload(network, images), {"v1_0": widget._first_kernels(network)}, image="no such shot")
    assert shown._repr_mimebundle_()["text/plain"].startswith("The first 16 of 16 kernels")
    assert list(tmp_path.iterdir()) == []
