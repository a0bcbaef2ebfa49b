"""What the lens leaves: pages, widgets, figures; two lenses beside each other; recorded runs."""

import numpy as np
import pytest
from lens_browser import PIXELS, in_sight, number_shown, settle, strongest, told

from shathenet_utils import ROOT, datasets, files, lens, models
from shathenet_utils.backend import keras, layers
from shathenet_utils.lens import payload, screenshot, script, widget

pytestmark = pytest.mark.browser


def test_of_two_lenses_one_follows_the_other(opened, network, images):
    pixels = keras.Input((32, 32, 3), name="images")
    other = keras.Model(pixels, layers.Conv2D(16, 3, 4, padding="same", name="conv1")(pixels), name="other")
    first, second = (lens.Lens(payload.payload(model, images), {}) for model in (network, other))
    page = opened(shown=lens.compare(first, second))
    most, _ = strongest(network, "conv1", images, channel=0)
    assert number_shown(page) == pytest.approx(most[0], abs=5e-4)
    rows = page.evaluate("window.lens.map((one) => one.state.row / one.outputs()[one.state.place].shape[0])")
    assert rows[1] == pytest.approx(rows[0], abs=1 / 8)
    box = in_sight(page.locator(PIXELS).first)
    page.mouse.move(box["x"] + box["width"] * 20.5 / 32, box["y"] + box["height"] * 9.5 / 32)
    settle(page)
    said = [one.inner_text().splitlines()[0] for one in page.locator("#page .sum").all()]
    assert said[0].startswith("conv1, channel 0 at row 9, column 20")
    assert said[1].startswith("conv1, channel 0 at row 2, column 5")
    assert page.title() == "v1_0 and other"


def test_a_view_is_where_a_lens_opens_alone_or_beside_another(opened, network, images):
    snapshots = {weight.path: np.stack([0.5 * weight.numpy(), weight.numpy()]) for weight in network.weights}
    data = payload.payload(network, images, weight_history=snapshots)
    one = lens.Lens(data, {})
    view = {"layer": "conv2", "channel": 3, "input_channel": 5, "row": 2, "column": 1, "image": 1, "epoch": 0}
    page = opened(shown=lens.compare(one, one, view=view))
    layer = [layer["name"] for layer in data["layers"]].index("conv2")
    asked = (
        "({ place, channel, inner, row, column, image, epoch }) => [place, channel, inner, row, column, image, epoch]"
    )
    states = page.evaluate(f"window.lens.map((one) => ({asked})(one.state))")
    assert states[0] == [layer, 3, 5, 2, 1, 1, 0]
    assert states[1] == [layer, 3, 0, 2, 1, 1, 0], "the other follows"
    assert "view" not in one.data, "it stays what it was"
    for wrong, sentence in (
        ({"layer": "conv9"}, "v1_0 has no layer 'conv9' to open at: it has images, "),
        ({"epoch": 7}, "v1_0 can't open at epoch 7: it has epochs 0, 1"),
        ({"place": 3}, "A view has no 'place': it may have layer, channel, "),
    ):
        with pytest.raises(lens.LensError, match=sentence):
            lens.compare(one, one, view=wrong)


def test_a_lens_opens_at_its_view(opened, network):
    shown = lens.open(network, datasets.toy_shapes(20, 10, 10), 4, view={"layer": "conv3", "image": 99, "channel": 2})
    page = opened(shown=shown)
    assert "conv3, channel 2 at row " in told(page)
    assert page.evaluate("window.lens.state.image") == 4, "the last, the reader's own"
    with pytest.raises(lens.LensError, match="v1_0 can't open at epoch 1: it has no epochs"):
        lens.open(network, datasets.toy_shapes(20, 10, 10), 4, view={"epoch": 1})


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
