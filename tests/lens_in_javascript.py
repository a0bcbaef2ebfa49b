"""What the lens's JavaScript computes of a network, beside what Keras does."""

import numpy as np
from lens_browser import until

from shathenet_utils.backend import keras
from shathenet_utils.lens import encoding, script
from shathenet_utils.lens.graph import graph

BATCH = 4_000_000  # letters of encoded weights at a time
READ = """
(found) => {
  window.arrays ??= {};
  for (const [key, one] of Object.entries(found)) {
    window.arrays[key] = { shape: one.shape, data: window.lens.decode(one) };
  }
}
"""
RUN = """
([layers, image, few]) => {
  const { decode, finish, forward } = window.lens;
  const weights = layers.map((layer) =>
    Object.fromEntries(Object.entries(layer.weights).map(([name, key]) => [name, window.arrays[key]])));
  const found = finish(forward(layers, { shape: image.shape, data: decode(image) }, (place) => weights[place]));
  delete window.arrays;
  const told = ({ data }) => Array.from(data, (x) => (Number.isFinite(x) ? x : String(x)));
  const wanted = (place) => !few || place === found.length - 1;
  return found.map((output, place) => (output === null ? null : wanted(place) ? told(output) : []));
}
"""


def new_page(browser):
    """A page with the lens's functions as `window.lens`."""
    page = browser.new_page()
    names = "brief, decode, finish, format, forward, receptiveField"
    page.add_script_tag(type="module", content=f"{script.joined()}\nwindow.lens = {{ {names} }};")
    until(page, "Boolean(window.lens)")
    return page


def with_weights(model):
    """The model with weights of its own, spread out and rounded to 16 bits, so that nothing is lost on the way.

    Kernels are drawn so that numbers keep their size from layer to layer, in networks of any depth.
    """
    draw = np.random.default_rng(0)
    for weight in model.weights:
        if not keras.backend.is_float_dtype(weight.dtype):
            continue
        shape, name = tuple(weight.shape), weight.path.split("/")[-1]
        if "variance" in name:
            spread = draw.uniform(0.5, 1.5, shape)
        elif name in ("gamma", "scale"):
            spread = draw.uniform(0.7, 1.3, shape)
        elif len(shape) > 1:
            inputs = np.prod(shape[:2]) if "depthwise" in name else np.prod(shape[:-1])
            spread = draw.normal(0, 1.2 / np.sqrt(max(inputs, 1)), shape)
        else:
            spread = draw.normal(0, 0.1, shape)
        weight.assign(spread.astype(np.float16).astype(np.float32))
    return model


def in_javascript(page, model, image, output=None, *, end_only=False):
    """What the lens computes of an image, float32 (height, width, channels): the graph's layers, and each one's
    numbers, float64, None where it computes none; with `end_only` all but the last are left out."""
    found = graph(model, output)
    batch, letters = {}, 0
    page.evaluate(READ, {})
    for key, weight in found.weights.items():
        batch[key] = _whole(weight.arranged())
        letters += len(batch[key]["data"])
        if letters > BATCH:
            page.evaluate(READ, batch)
            batch, letters = {}, 0
    page.evaluate(READ, batch)
    told = page.evaluate(RUN, [found.layers, encoding.encode(image), end_only])
    return found.layers, [None if numbers is None else np.array(numbers, np.float64) for numbers in told]


def _whole(array):
    """An array, encoded in as few bits as hold all its digits."""
    array = np.asarray(array, np.float32)
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return encoding.encode(half if np.array_equal(half, array, equal_nan=True) else array)


def unknown(layers):
    """The layers that the lens doesn't know, by their types."""
    return [layer["type"] for layer in layers if layer["kind"] == "unknown"]


def assert_close(found, expected, name=""):
    """Within 1e-5 of the largest number, or of 1."""
    expected = np.asarray(keras.ops.convert_to_numpy(expected), np.float64)
    assert found is not None, f"{name} was not computed"
    largest = max(1, np.abs(expected[np.isfinite(expected)]).max(initial=0))
    np.testing.assert_allclose(found, expected.ravel(), rtol=0, atol=1e-5 * largest, err_msg=name)


def assert_equal(page, model, image):
    """Every layer whose name the graph holds, and the end, against Keras. Returns the graph's layers."""
    layers, numbers = in_javascript(page, model, image)
    assert not unknown(layers), unknown(layers)
    places = {layer["name"]: place for place, layer in enumerate(layers)}
    tensors = {layer.name: layer.output for layer in model.layers if layer.name in places and layer._inbound_nodes}
    tensors["the end"] = model.output
    places["the end"] = len(layers) - 1
    theirs = keras.Model(model.inputs[0], tensors)(image[None], training=False)
    for name in sorted(theirs, key=places.get):
        output = theirs[name]
        assert list(output.shape[1:]) == layers[places[name]]["shape"], name
        assert_close(numbers[places[name]], output[0], f"{name}: {layers[places[name]]}")
    return layers
