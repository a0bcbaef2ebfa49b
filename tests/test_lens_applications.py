"""Every family of `keras.applications` in the lens: it opens and agrees with Keras, or names the layer that the lens
doesn't know. `python tests/test_lens_applications.py` prints the README's table."""

import re

import keras
import lens_in_javascript
import numpy as np
import pytest
from lens_in_javascript import assert_close, in_javascript, unknown, with_weights

from shathenet_utils import ROOT

pytestmark = [pytest.mark.browser, pytest.mark.slow]
A = keras.applications
FAMILIES = {
    "MobileNet": (A.MobileNet, 32, {"alpha": 0.25}),
    "MobileNetV2": (A.MobileNetV2, 32, {"alpha": 0.35}),
    "MobileNetV3": (A.MobileNetV3Small, 32, {"alpha": 0.75}),
    "EfficientNet": (A.EfficientNetB0, 32, {}),
    "NASNet": (A.NASNetMobile, 32, {}),
    "EfficientNetV2": (A.EfficientNetV2B0, 32, {}),
    "DenseNet": (A.DenseNet121, 32, {}),
    "VGG": (A.VGG16, 32, {}),
    "ResNet": (A.ResNet50, 32, {}),
    "ResNetV2": (A.ResNet50V2, 32, {}),
    "Xception": (A.Xception, 71, {}),
    "Inception-v3": (A.InceptionV3, 75, {}),
    "ConvNeXt": (A.ConvNeXtTiny, 32, {}),
    "Inception-ResNet-v2": (A.InceptionResNetV2, 75, {}),
}
"""Family → its smallest network, the smallest side of its images, and its smallest width."""


def build(family):
    make, side, width = FAMILIES[family]
    model = make(weights=None, include_top=False, pooling="avg", input_shape=(side, side, 3), **width)
    return with_weights(model)


def difference(page, family):
    """The largest difference of the end from Keras's, over 1 or the largest number, and the layers not known."""
    model = build(family)
    image = np.random.default_rng(0).integers(0, 256, model.input.shape[1:]).astype(np.float32)
    layers, numbers = in_javascript(page, model, image, end_only=True)
    if unknown(layers):
        return model, None, unknown(layers)
    expected = np.asarray(model(image[None], training=False))[0]
    assert_close(numbers[-1], expected, family)
    return model, np.abs(numbers[-1] - expected).max() / max(1, np.abs(expected).max()), []


def row(page, family):
    model, found, unknown_layers = difference(page, family)
    make, side, width = FAMILIES[family]
    told = "agrees" if not unknown_layers else f"doesn't know {unknown_layers[0]}"
    name = make.__name__ + "".join(f", α = {value}" for key, value in width.items() if key == "alpha")
    return f"| {family} | {name} | {side} × {side} | {model.count_params() / 1e6:.1f} M | {told} |", found


@pytest.fixture(scope="module")
def page(browser):
    page = lens_in_javascript.new_page(browser)
    yield page
    page.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_opens_and_stands_in_the_readme(page, family):
    line, found = row(page, family)
    print(line, found)
    assert line in (ROOT / "README.md").read_text(encoding="utf-8")
    keras.backend.clear_session()


def test_no_family_is_left_out():
    makers = {name for name in dir(A) if name[0].isupper()}
    families = {re.sub(r"(Tiny|Small|Base|Large|XLarge|Mobile|V?\d.*|B\d|[SML])$", "", name) for name in makers}
    assert families <= {re.sub(r"(Tiny|Small|Mobile|V?\d.*|B\d)$", "", make.__name__) for make, *_ in FAMILIES.values()}


if __name__ == "__main__":
    import chromium
    from playwright.sync_api import sync_playwright

    with sync_playwright() as program:
        opened = lens_in_javascript.new_page(
            program.chromium.launch(executable_path=chromium.find(), args=["--no-sandbox"])
        )
        for name in FAMILIES:
            print(*row(opened, name), flush=True)
