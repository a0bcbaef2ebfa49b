"""The lens in a notebook, and as one page that needs nothing else."""

import dataclasses
import json
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np

from shathenet_utils import datasets, files, plots, runner, weights
from shathenet_utils.book import ledger
from shathenet_utils.lens import screenshot, script
from shathenet_utils.lens.graph import graph
from shathenet_utils.lens.payload import payload
from shathenet_utils.lens.steps import LensError

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; worker-src blob:"
)
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>body {{ margin: 0; color-scheme: light dark; background: light-dark(#fff, #1b1b1b); }}</style>
</head>
<body>
<main id="page"></main>
<script type="application/json" id="data">{data}</script>
<script type="module">
{script}
const contents = JSON.parse(document.getElementById("data").textContent);
window.lens = start(document.getElementById("page"), contents, {{ page: true, address: true }});
</script>
</body>
</html>
"""


VIEW = ("layer", "channel", "row", "column", "input_channel", "image", "epoch")
"""What a view may tell: see `open`."""
LARGE_PAGE = 20_000_000
"""Bytes of a page, or of what a notebook stores of a lens, beyond which a warning says so."""


@dataclasses.dataclass(frozen=True)
class Lens:
    """The lens on a network: a notebook shows it as its last expression, with a figure where no widget can run.

    kernels: the first convolution's by the network's title, float (height, width, channels, filters); the figure shows
    them where there is no screenshot. image: the name of a screenshot, `figures/<image>.png`, which is the figure
    then; `make rerun` (`$SHATHENET_FIGURES`) draws it anew where it finds Chromium.
    Under `make rerun` one with a name is also stored as the page `figures/<name>.html`.
    """

    data: dict | list[dict]
    kernels: dict[str, np.ndarray]
    name: str = ""
    image: str = ""

    def to_html(self, path) -> Path:
        """Write it as one page that opens without a network; returns its path. Raises FileError where it can't.

        A page of more than `LARGE_PAGE` bytes is announced by a warning before it is written.
        """
        path = Path(path)
        self._announce(f"{path.name} will have")
        with files.writing_to(path), files.written_whole(path) as temporary:
            temporary.write_text(page(self.data), encoding="utf-8")
        return path

    def _announce(self, what: str) -> None:
        """Warn of a large page, and of what to do."""
        each = self.data if isinstance(self.data, list) else [self.data]
        letters = [len(array["data"]) for one in each for array in one["arrays"].values()]
        images = [len(one["images"]["data"]) for one in each]
        if sum(letters) + sum(images) <= LARGE_PAGE:
            return
        size, of_weights = (round(count / 1e6) for count in (sum(letters) + sum(images), sum(letters)))
        advice = "open it with fewer images"
        if sum(letters) > sum(images):
            advice = (
                "with output=, a layer's name, the lens goes as far as that layer and leaves out what follows, such as "
                "large dense layers; of a run's epochs, epochs=2 keeps the first and the last"
            )
        warnings.warn(f"{what} {size} MB, {of_weights} of them weights: {advice}.", stacklevel=3)

    def _repr_mimebundle_(self, include=None, exclude=None):
        self._announce("This lens has")
        folder = os.environ.get("SHATHENET_FIGURES")
        if folder and self.name:
            self.to_html(Path(folder, f"{self.name}.html"))
        if folder and self.image:
            with tempfile.TemporaryDirectory() as pages:
                screenshot.take(self.to_html(Path(pages, "lens.html")), Path(folder, f"{self.image}.png"))
        bundle, *_ = _widget(self.data)._repr_mimebundle_()
        return bundle | self._static()

    def _static(self) -> dict[str, str]:
        """What stands in for the widget: the screenshot, or the first kernels."""
        path = screenshot.find(self.image) if self.image else None
        if path is None:
            return _figure(self.kernels)._repr_mimebundle_()
        words = (
            f"The lens on {' and on '.join(self.kernels)}: images, a layer's feature map with one of its values "
            "computed step by step, and the layer's kernels. Run the page to use it."
        )
        return {"text/html": screenshot.markup(path, words), "text/plain": words}


def open(
    model, dataset, images: int = 20, *, name: str = "", image: str = "", view: dict | None = None, **arguments
) -> Lens:
    """The lens on a network and the first so many test images of a dataset.

    dataset: a `datasets.Dataset`, or a pair of arrays, (images, labels), as for `payload`. name, image: see `Lens`.
    view: where it opens, such as {"layer": "conv2", "channel": 6, "image": 3}: any of `layer`, a name; `epoch`, one
    that was kept; `channel`, `row`, `column` of the layer's output, `input_channel` of its kernels and `image`, numbers
    from 0, where one beyond the last is the last. arguments: further ones of `payload`. Raises LensError where network
    and images don't fit, and where the view names a layer or an epoch that there isn't.
    """
    shown = slice(0, max(0, images))
    if isinstance(dataset, datasets.Dataset):
        shown_images, labels, more = dataset.test_images, dataset.test_labels, {"classes": dataset.class_names}
    elif isinstance(dataset, tuple | list) and len(dataset) == 2:
        (shown_images, labels), more = map(np.asarray, dataset), {}
    else:
        raise LensError(
            "The lens takes its images from a datasets.Dataset or from a pair of arrays, (images, labels), not from "
            f"{type(dataset).__name__}."
        )
    data = payload(model, shown_images[shown], **{"labels": labels[shown]} | more | arguments)
    kernels = {data["title"]: _first_kernels(model, arguments.get("output"))}
    return Lens(_at_view(data, view) if view else data, kernels, name, image)


def recorded(experiment: str, variant: str, dataset, seed: int = 0, **arguments) -> Lens:
    """The lens on a network as a recorded run left it, with the epochs that the run kept. Its classes are CIFAR-10's,
    also where other images stand in for those, which then have no class.

    arguments: as for `open`. Raises as `runner.load_trained` and `open`.
    """
    model, record = runner.load_trained(experiment, variant, seed)
    if "history" in record["weights"]:
        kept = weights.load_arrays(record["weights"]["history"])
        arguments = {"weight_history": kept, "history": record["history"]} | arguments
    if dataset.name != record["dataset"]:
        arguments = {"labels": None, "classes": datasets.CIFAR10_CLASSES} | arguments
    title = f"{ledger.ledger_label(experiment, variant)}, seed {seed}"
    return open(model, dataset, **{"title": title} | arguments)


def compare(one: Lens, other: Lens, *, name: str = "", image: str = "", view: dict | None = None) -> Lens:
    """Two lenses side by side, on two versions or two seeds: where one is looked at, the other follows: to the layer of
    the same name, and to the same epoch where both kept the same ones.

    name, image: see `Lens`. view: where `one` opens, as for `open`; without, where it opens alone. Raises LensError
    where the view names what `one` doesn't have.
    """
    data = _at_view(one.data, view) if view else one.data
    return Lens([data, other.data], one.kernels | other.kernels, name, image)


def _at_view(data: dict, view: dict) -> dict:
    """What `payload` gives, so that it opens at a view; see `open`."""
    if unknown := sorted(set(view) - {*VIEW}):
        raise LensError(f"A view has no {unknown[0]!r}: it may have {', '.join(VIEW)}.")
    found = {{"input_channel": "inner"}.get(key, key): int(view[key]) for key in view if key != "layer"}
    if "layer" in view:
        names = [layer["name"] for layer in data["layers"]]
        if view["layer"] not in names:
            raise LensError(f"{data['title']} has no layer {view['layer']!r} to open at: it has {', '.join(names)}.")
        found["place"] = names.index(view["layer"])
    if "epoch" in found and found["epoch"] not in (data["epochs"] or []):
        kept = f"it has epochs {', '.join(map(str, data['epochs']))}" if data["epochs"] else "it has no epochs"
        raise LensError(f"{data['title']} can't open at epoch {found['epoch']}: {kept}.")
    return data | {"view": found}


def _first_kernels(model, output=None) -> np.ndarray:
    """The first convolution's, wherever in nested models it stands; a single zero where there is none."""
    found = graph(model, output)
    kernels = (layer["weights"]["kernel"] for layer in found.layers if layer["kind"] == "conv")
    key = next(kernels, None)
    return np.zeros((1, 1, 3, 1), np.float32) if key is None else found.weights[key].arranged().astype(np.float32)


def _figure(kernels: dict[str, np.ndarray]) -> plots.Drawing:
    """Kernels, where the lens itself can't live; of other than three channels one, in grey."""
    panels, alt = {}, []
    for title, numbers in kernels.items():
        height, width, channels, filters = numbers.shape
        panels[title] = (numbers if channels == 3 else np.repeat(numbers[:, :, :1], 3, axis=2))[..., :32]
        shown = f"{min(filters, 32)} of {filters} kernels, {height}×{width}"
        alt.append(f"The first {shown}, of the first convolution of {title}.")
    alt.append("Run the page for the lens itself.")
    return plots.kernels(panels, name="", alt=" ".join(alt), columns=16)


def _widget(data):
    import anywidget
    import traitlets

    class Widget(anywidget.AnyWidget):
        _esm = script.joined()
        data = traitlets.Any().tag(sync=True)

    return Widget(data=data)


def page(data) -> str:
    """The page's HTML: script and data inlined; no name in the data is ever read as markup."""
    told = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    titles = [one["title"] for one in (data if isinstance(data, list) else [data])]
    title = " and ".join(titles).replace("&", "&amp;").replace("<", "&lt;")
    return PAGE.format(policy=POLICY, title=title, data=told, script=script.joined())
