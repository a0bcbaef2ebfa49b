"""The lens in a browser, for its tests."""

import time

import numpy as np
import pytest

CLASSES = [f"class {number}" for number in range(10)]
PIXELS = "#page canvas[role=application]:not(.pen)"
LONGEST_WAIT = 60_000  # milliseconds; a machine that does much else is slow, and not wrong

HELD = """
let timers = 0;
const { setTimeout: set, clearTimeout: clear } = window;
window.held = new Map();
window.setTimeout = (then, wait, ...more) => {
  if (!(wait >= 300)) return set(then, wait, ...more);
  window.held.set(--timers, then);
  return timers;
};
window.clearTimeout = (number) => window.held.delete(number) || clear(number);
"""
"""A script that holds what waits for the reader to stop, until `run_held`: no test then depends on how fast it runs."""


@pytest.fixture(scope="module")
def images():
    """Three images of noise, uint8 (3, 32, 32, 3)."""
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def network():
    """v1.0, not trained, with weights that float16 holds."""
    from shathenet_utils import models
    from shathenet_utils.backend import keras

    keras.utils.set_random_seed(0)
    return rounded(models.v1_0())


@pytest.fixture
def opened(browser, tmp_path):
    """A function that opens a lens in a page of its own, from a file; an error in it, or a request for anything but
    the file, fails the test."""
    from shathenet_utils import lens
    from shathenet_utils.lens import payload

    pages, asked, errors = [], [], []

    def opened(*arguments, shown=None, width=1280, at="", before="", touch=False, **more):
        """The page on `shown`, a `lens.Lens`, or on that of `payload.payload`'s arguments. at: what follows the
        address; before: a script that runs first; touch: whether the screen takes touches."""
        shown = shown or lens.Lens(payload.payload(*arguments, **more), {})
        path = shown.to_html(tmp_path / f"lens{len(pages)}.html")
        page = browser.new_page(has_touch=touch, viewport={"width": width, "height": 900})
        pages.append(page)
        page.set_default_timeout(LONGEST_WAIT)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        if before:
            page.add_init_script(before)
        page.goto(path.as_uri() + at)
        settle(page)
        return page

    yield opened
    for page in pages:
        page.close()
    assert not errors
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def settle(page) -> None:
    """Wait until all that was asked of the page's lenses is computed and drawn."""
    page.evaluate("Promise.all([window.lens].flat().map((one) => one.ready()))")


def until(page, expression) -> None:
    """Wait until an expression is true; a page that lets no text become code can't be asked to watch it by itself."""
    end = time.monotonic() + LONGEST_WAIT / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"{expression} did not come true"
        page.wait_for_timeout(20)


def choose(page, name, **option) -> None:
    """Choose an option, by `value`, `label` or `index`, of the list that is called so."""
    page.get_by_role("combobox", name=name, exact=True).select_option(**option)
    settle(page)


def in_sight(element) -> dict:
    """Where an element is, once it has been scrolled to."""
    element.scroll_into_view_if_needed()
    return element.bounding_box()


def run_held(page) -> int:
    """Do what `HELD` holds; returns how many things that was."""
    return page.evaluate("""() => {
      const due = [...window.held.values()];
      window.held.clear();
      due.forEach((then) => then());
      return due.length;
    }""")


def rounded(model):
    """The model with weights that float16 holds."""
    for weight in model.weights:
        weight.assign(weight.numpy().astype(np.float16))
    return model


def told(page) -> str:
    """The explanation of the number that is looked at."""
    settle(page)
    return page.locator("#page .sum").inner_text()


def number_shown(page) -> float:
    settle(page)
    return float(page.locator("#page .sum strong").first.inner_text().replace("−", "-"))


def spot(page) -> tuple[int, int]:
    """The row and the column that are looked at."""
    settle(page)
    return tuple(page.evaluate("[window.lens.state.row, window.lens.state.column]"))


def chances(page) -> np.ndarray:
    """The last layer's numbers."""
    settle(page)
    return np.array(page.evaluate("() => Array.from(window.lens.outputs().at(-1).data)"))


def strongest(model, layer, images, channel):
    """The largest number of a channel, image by image, and the rows and columns that have it."""
    from shathenet_utils.backend import keras

    maps = np.asarray(keras.Model(model.input, model.get_layer(layer).output)(images))[..., channel]
    most = maps.max(axis=(1, 2))
    return most, [
        list(zip(*np.nonzero(one >= value - 1e-5), strict=True)) for one, value in zip(maps, most, strict=True)
    ]
