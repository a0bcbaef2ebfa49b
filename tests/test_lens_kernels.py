"""Kernels in the lens: how they are alike, what training changed, what they respond to, and what an edit changes."""

import numpy as np
import pytest
from lens_browser import CLASSES, chances, choose, settle, told

from shathenet_utils import lens, models
from shathenet_utils.backend import keras, layers
from shathenet_utils.lens import encoding, payload

pytestmark = pytest.mark.browser


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
    choose(page, "Layer", index=2)
    norms = [f"{norm:.3f}" for norm in np.linalg.norm(kernel.reshape(-1, 4), axis=0)]
    assert kernels_shown(page) == [f"kernel {number}, norm {norm}" for number, norm in enumerate(norms)]
    said = page.locator("#page .lens").inner_text()
    assert "1 of 6 pairs nearly alike" in said
    page.get_by_text("1 of 4 filters never respond to these 3 images: 3.").wait_for()
    choose(page, "Order", value="norm")
    assert kernels_shown(page)[0] == f"kernel {np.argmax(norms)}, norm {max(norms)}"
    choose(page, "Order", value="likeness to the chosen one")
    assert [title.split(",")[0] for title in kernels_shown(page)[:2]] == ["kernel 0", "kernel 2"]


def test_the_words_about_kernels_are_explained(opened, network, images):
    page = opened(network, images)
    for summary, words in (
        ("What these words mean", ("norm", "cosine", "minus the initial weights")),
        ("What these buttons do", ("zero", "negative", "identity", "blur", "Sobel, upright", "Sobel, level")),
    ):
        meanings = page.locator("#page details", has=page.get_by_text(summary))
        assert not meanings.locator("dd").first.is_visible()
        page.get_by_text(summary).click()
        found = dict(
            zip(meanings.locator("dt").all_inner_texts(), meanings.locator("dd").all_inner_texts(), strict=True)
        )
        assert set(words) <= set(found) and all(found[word].endswith(".") for word in words)
        if summary == "What these buttons do":
            assert all(page.get_by_role("button", name=word).get_attribute("title") == found[word] for word in words)


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
    assert kernels_shown(page) and not page.get_by_label("minus the initial weights").is_visible()


def test_an_edited_kernel_changes_the_rest_as_in_keras_and_is_reset(opened, network, images):
    page = opened(network, images, [3, 1, 2], CLASSES)
    start = chances(page)
    np.testing.assert_allclose(start, np.asarray(network(images[:1]))[0], atol=1e-5)
    other = models.v1_0()
    other.set_weights(network.get_weights())
    kernel, bias = other.get_layer("conv1").get_weights()
    page.locator("#page .tiles button[title^='channel 4,']").click()
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
    assert page.evaluate(GIVEN_UP) == [True, "true"], "a frame was drawn while the pass was under way"
    settle(page)
    assert not bar.is_visible() and body.get_attribute("aria-busy") == "false"
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


def test_what_a_filter_answers_is_never_told_of_another_layer(opened, network, images):
    pixels = keras.Input((32, 32, 3), name="images")
    x = layers.Conv2D(4, 3, name="straight")(layers.Conv2D(4, 3, activation="relu", name="bent")(pixels))
    model = keras.Model(pixels, layers.MaxPooling2D(2)(x))
    page = opened(model, images)
    page.get_by_text("4 filters never respond to these 3 images").wait_for()
    choose(page, "Layer", index=2)
    assert "straight" in told(page)
    shown = page.get_by_label("Images to which the filter responds most").get_by_role("button")
    shown.first.wait_for()
    most = np.asarray(keras.Model(pixels, model.get_layer("straight").output)(images))[..., 0].max(axis=(1, 2))
    said = [float(text.replace("−", "-")) for text in shown.all_inner_texts()]
    assert said == pytest.approx(sorted(most, reverse=True), rel=5e-3)
    assert "never respond" not in page.locator("#page .lens").inner_text(), "a filter without activation can't be dead"


def test_three_channels_are_seen_as_colours_or_one_by_one(opened, network, images):
    page = opened(network, images)
    words = page.locator("#page .lens")
    assert "grey is zero" in words.inner_text()
    page.get_by_label("Input channel").fill("2")
    assert "white zero" in words.inner_text()
    assert "input channel 2: window" in told(page)
    page.get_by_label("three channels as colours").check()
    assert "grey is zero" in words.inner_text()


def test_the_images_that_a_filter_answers_most_come_first(opened, network, images):
    page = opened(network, images)
    outputs = np.asarray(keras.Model(network.input, network.get_layer("conv1").output)(images))
    page.get_by_label("Images to which the filter responds most").get_by_role("button").first.wait_for()

    def told_of(channel):
        settle(page)
        order = np.argsort(-outputs[..., channel].max(axis=(1, 2)), kind="stable")
        shown = page.get_by_label("Images to which the filter responds most").get_by_role("button").all()
        assert [int(one.get_attribute("aria-label").split()[1].rstrip(",")) for one in shown] == order.tolist()
        most = [float(one.inner_text().replace("−", "-")) for one in shown]
        np.testing.assert_allclose(most, outputs[order, ..., channel].max(axis=(1, 2)), atol=1e-3)

    page.locator("#page .tiles button[title^='channel 5,']").click()
    told_of(5)
    page.evaluate("window.lens.set({ channel: 2, image: 1 })")
    told_of(2)
