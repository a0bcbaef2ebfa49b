"""What a page needs: header, data or its stand-in, guesses before answers, sentences with numbers, exercise checks."""

import html
import importlib.metadata
import itertools
import json
import os
import platform
import re
from collections.abc import Callable, Iterable

import nbformat
import numpy as np

from shathenet_utils import ROOT, datasets, experiments, output_folder, plots, records

WORDS_A_MINUTE = 200
PACKAGES = ("tensorflow", "keras", "numpy", "matplotlib", "jupyterlab", "ipywidgets")
Fractions = dict[str, dict[str, float]]


class Shown:
    """Something a cell shows: HTML where there is a browser, plain words everywhere else."""

    def __init__(self, markup: str, words: str, widget=None):
        self.markup, self.words, self.widget = markup, words, widget

    def _repr_mimebundle_(self, include=None, exclude=None):
        bundle = self.widget._repr_mimebundle_() if self.widget is not None else {}
        return {**bundle, "text/html": self.markup, "text/plain": self.words}


def say(template: str, **values) -> Shown:
    """A sentence whose numbers are computed: Markdown-free text, filled like `str.format`.

    `{gap:.1%}` and the like format the values; percentages get their thin space.
    """
    text = re.sub(r"(?<=\d)%", "\u202f%", " ".join(template.format(**values).split()))
    return Shown(f"<p>{html.escape(text)}</p>", text)


def header(notebook: str, *questions: experiments.Experiment) -> Shown:
    """The minutes a page takes: to read (counted words), to rerun from the records, to train again (from the records).

    notebook: its number, "01".
    """
    path = next((ROOT / "notebooks").glob(f"{notebook}_*.ipynb"))
    cells = nbformat.read(path, as_version=4).cells
    words = sum(len(cell.source.split()) for cell in cells)
    parts = [f"{max(1, round(words / WORDS_A_MINUTE))} minutes to read", "a minute or so to run from the records"]
    seconds, runs, machines = 0.0, 0, set()
    for question in questions:
        for found in question.load().recorded.values():
            # A run shares its machine with whatever else it does; a variant's fastest tells most about the variant.
            seconds += len(found) * min(record["seconds"]["total"] for record in found)
            runs += len(found)
            machines |= {
                f"{record['machine']['cores']} cores of an {record['machine']['processor']}" for record in found
            }
    if questions:
        parts.append(
            f"{seconds / 60:.0f} minutes to train its {runs} runs again, as fast as they went on "
            f"{' and '.join(sorted(machines))}"
        )
    text = "; ".join(parts) + "."
    return Shown(f"<p><em>{html.escape(text)}</em></p>", text)


def data(validation: int = 5000) -> datasets.Dataset:
    """CIFAR-10 for a page's live cells; without data and network the drawn stand-in, under a banner that says so."""
    try:
        return datasets.cifar10(validation=validation, download=not os.environ.get("SHATHENET_OFFLINE"))
    except datasets.DatasetError as error:
        banner(
            "The live cells of this page run on drawn shapes, not on CIFAR-10; recorded results are the real ones. "
            f"{error}"
        )
        return datasets.toy_shapes()


APART = 0.005  # half a point: what another machine's rounding may do to some of a few thousand pictures


def counted(name: str, count: Callable[[], Fractions], data: datasets.Dataset) -> Fractions:
    """Fractions that take CIFAR-10's pictures to count, {row: {column: fraction}}, the same on a machine without.

    `make rerun` records what `count()` finds in `data/records/facts/<name>.json`. Where the pictures are at hand a page
    counts again; it shows what was recorded, or, under a banner, what differs by more than `APART`. Raises RecordError
    where neither record nor pictures are there.
    """
    path = records.RECORDS / "facts" / f"{name}.json"
    if data.name != "cifar10":
        return records.facts(name)["counted"]
    found = {row: {column: round(float(value), 4) for column, value in cells.items()} for row, cells in count().items()}
    if os.environ.get("SHATHENET_FIGURES"):
        kept = {"schema": 1, "data_fingerprint": data.fingerprint, "counted": found}
        with records.writing_to(path), records.written_whole(path) as temporary:
            temporary.write_text(records.to_json(kept), encoding="utf-8")
    recorded = records.facts(name)["counted"]
    if {row: [*cells] for row, cells in found.items()} == {row: [*cells] for row, cells in recorded.items()}:
        differs = max(abs(found[row][column] - recorded[row][column]) for row in found for column in found[row])
        if differs <= APART:
            return recorded
    banner("What was counted here differs from the record; yours is shown.")
    return found


def banner(text: str) -> None:
    """Show a notice that can't be overlooked, in light and dark theme."""
    from IPython.display import display

    style = "border-left:6px solid #de8f05;background:#fff4df;color:#222;padding:0.6em 1em"
    display(Shown(f'<div role="alert" style="{style}">{html.escape(text)}</div>', text))


def environment() -> Shown:
    """What to send with a bug report: versions, machine, threads, and whether the data is there."""
    from shathenet_utils import blocks

    machine = experiments.machine()
    whose = "$SHATHENET_DATA" if os.environ.get("SHATHENET_DATA") else "data/"
    return facts_table({
        "book": importlib.metadata.version("shathenet-utils"),
        "Python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in PACKAGES},
        "system": f"{platform.system()} {platform.release().split('-')[0]} on {platform.machine()}",
        "processor": f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB",
        "TensorFlow's threads": " + ".join(f"{count} {name}" for name, count in blocks.threads().items()),
        "CIFAR-10": f"{'found' if datasets.cifar10_is_here() else 'not'} in {whose}",
    })  # fmt: skip


def facts_table(rows: dict) -> Shown:
    """Names and values in two columns."""
    left = 'style="text-align:left"'
    lines = (
        f"<tr><th {left}>{html.escape(str(k))}</th><td {left}>{html.escape(str(v))}</td></tr>" for k, v in rows.items()
    )
    return Shown(f"<table>{''.join(lines)}</table>", "\n".join(f"{name}: {value}" for name, value in rows.items()))


def differing_versions() -> dict[str, tuple[str, str]]:
    """Packages whose installed version is not the one the book's records were made with: {package: (here, records)}."""
    made_with = {}
    for path in sorted(records.RECORDS.glob("*/*/*.json")):
        made_with |= records.load(path)["versions"]
    made_with.pop("python", None)
    here = {package: importlib.metadata.version(package) for package in made_with}
    return {
        package: (here[package], made_with[package]) for package in made_with if here[package] != made_with[package]
    }


def _guesses_path():
    return output_folder() / "data" / "guesses.json"


def _guesses() -> dict:
    try:
        kept = json.loads(_guesses_path().read_text(encoding="utf-8"))
        return {key: value for key, value in kept.items() if isinstance(value, int | float | list)}
    except (OSError, ValueError, AttributeError):  # none yet, or a damaged file: a guess is not worth an error
        return {}


def keep_guess(key: str, value: float | list[str]) -> None:
    """Write a guess down, beside the earlier ones, in the git-ignored `data/guesses.json`."""
    with records.writing_to(_guesses_path()), records.written_whole(_guesses_path()) as path:
        path.write_text(json.dumps({**_guesses(), key: value}, indent=1) + "\n", encoding="utf-8")


def _number(key: str) -> float | None:
    kept = _guesses().get(key)
    return None if isinstance(kept, list) else kept


def _order(key: str, names: Iterable[str]) -> list[str] | None:
    """The order that was kept, if it is one of these names."""
    kept = _guesses().get(key)
    kept = [str(name) for name in kept] if isinstance(kept, list) else []
    return kept if kept and sorted(kept) == sorted(names) else None


def guess(key: str, question: str, low: float, high: float, unit: str = "%") -> Shown:
    """Ask for a number before the answer: a field and a button, or the plain question where widgets are dead."""
    import ipywidgets as widgets

    kept = _number(key)
    field = widgets.BoundedFloatText(
        value=kept if kept is not None else (low + high) / 2, min=low, max=high, step=1,
        description=f"Your guess ({unit})", style={"description_width": "initial"},
    )  # fmt: skip
    button = widgets.Button(description="Keep my guess", tooltip="Write this guess down; the page compares it later")
    told = widgets.Label("" if kept is None else f"Kept: {kept:g} {unit}")

    def keep(_):
        keep_guess(key, field.value)
        told.value = f"Kept: {field.value:g} {unit}"

    button.on_click(keep)
    asked = widgets.HTML(f"<p>{html.escape(question)}</p>")
    words = f"{question} (A guess from {low:g} to {high:g} {unit}, before you read on.)"
    return Shown(f"<p>{html.escape(words)}</p>", words, widgets.VBox([asked, widgets.HBox([field, button, told])]))


def compare(key: str, truth: float, unit: str = "%") -> Shown:
    """The reader's guess beside the measured number, to a tenth; beside a count, an int, as it is."""
    kept, form = _number(key), "g" if isinstance(truth, int) else ".1f"
    if kept is None:
        return say("Measured: {truth} {unit}. You kept no guess.", truth=f"{truth:{form}}", unit=unit)
    return say(
        "Measured: {truth} {unit}. You guessed {kept:g} {unit}, {gap} away.",
        truth=f"{truth:{form}}", unit=unit, kept=kept, gap=f"{abs(kept - truth):{form}}",
    )  # fmt: skip


def order(key: str, question: str, names: Iterable[str]) -> Shown:
    """Ask for an order, best first, before the answer: a list with buttons, or the plain question where widgets are
    dead. By keyboard: arrows choose a name, Tab leads to the buttons, Space presses one."""
    import ipywidgets as widgets

    names = list(names)
    kept = _order(key, names)
    listed = widgets.Select(options=kept or names, rows=len(names), description="Best first")
    up = widgets.Button(description="Move up", tooltip="The chosen name changes places with the one above")
    down = widgets.Button(description="Move down", tooltip="The chosen name changes places with the one below")
    keep = widgets.Button(description="Keep my order", tooltip="Write this order down; the page compares it later")
    told = widgets.Label("" if kept is None else "Kept.")

    def move(by):
        now, place = list(listed.options), listed.index
        other = min(max(place + by, 0), len(now) - 1)
        now[place], now[other] = now[other], now[place]
        listed.options, listed.index = now, other

    def write(_):
        keep_guess(key, list(listed.options))
        told.value = f"Kept: {', '.join(listed.options)}."

    up.on_click(lambda _: move(-1))
    down.on_click(lambda _: move(1))
    keep.on_click(write)
    words = f"{question} (Put them in your order, best first, before you read on: {', '.join(names)}.)"
    asked = widgets.HTML(f"<p>{html.escape(question)}</p>")
    box = widgets.VBox([asked, widgets.HBox([listed, widgets.VBox([up, down, keep])]), told])
    return Shown(f"<p>{html.escape(words)}</p>", words, box)


def compare_order(key: str, measured: dict[str, float]) -> Shown:
    """The reader's order beside the measured one, highest first: how many pairs stand the right way round."""
    right = sorted(measured, key=measured.get, reverse=True)
    kept = _order(key, measured)
    if kept is None:
        return say("Measured, best first: {right}. You kept no order.", right=", ".join(right))
    pairs = list(itertools.combinations(right, 2))
    agree = sum(kept.index(better) < kept.index(worse) for better, worse in pairs)
    return say(
        "Measured, best first: {right}. Of {all} pairs, your order has {agree} the right way round.",
        right=", ".join(right), all=len(pairs), agree=agree,
    )  # fmt: skip


def convolution_costs(kernel_size: int, channels: int, filters: int, side: int) -> dict[str, tuple[int, int]]:
    """Three ways to let a pixel see a square of `kernel_size` pixels, odd: way → (parameters, multiply-adds a picture).

    channels, filters: of the map before and after. side: of both maps, in pixels; padding "same", one bias a filter.
    """

    def cost(*kernels):
        into = (channels, *[filters] * (len(kernels) - 1))
        weights = sum(size * many * filters for size, many in zip(kernels, into, strict=True))
        return weights + filters * len(kernels), weights * side**2

    threes = max(1, (kernel_size - 1) // 2)
    return {
        f"one {kernel_size}×{kernel_size}": cost(kernel_size**2),
        f"1×{kernel_size}, then {kernel_size}×1": cost(kernel_size, kernel_size),
        f"{threes} of 3×3, one after another": cost(*[9] * threes),
    }


def calculator(kernel_size: int = 5, channels: int = 64, filters: int = 64, side: int = 24) -> Shown:
    """What a convolution costs, with a slider for each number; where widgets are dead, a table of the first values."""
    import ipywidgets as widgets
    import pandas

    columns = ("way", "parameters", "million multiply-adds a picture")

    def rows(**values):
        found = convolution_costs(**values)
        return [(way, f"{weights:,}", f"{macs / 1e6:,.1f}") for way, (weights, macs) in found.items()]

    def markup(**values):
        return pandas.DataFrame(rows(**values), columns=columns).to_html(index=False, border=0)

    first = {"kernel_size": kernel_size, "channels": channels, "filters": filters, "side": side}
    limits = {"kernel_size": (3, 11, 2), "channels": (1, 256, 1), "filters": (1, 256, 1), "side": (2, 64, 1)}
    sliders = {
        name: widgets.IntSlider(
            value=first[name], min=low, max=high, step=step, description=name.replace("_", " "),
            style={"description_width": "initial"},
        )
        for name, (low, high, step) in limits.items()
    }  # fmt: skip
    shown = widgets.HTML(markup(**first))

    def redraw(_):
        shown.value = markup(**{name: slider.value for name, slider in sliders.items()})

    for slider in sliders.values():
        slider.observe(redraw, "value")
    told = f"At {kernel_size}×{kernel_size}, {channels} channels in, {filters} filters, a map of {side}×{side}: "
    words = told + "; ".join(
        f"{way}: {weights} parameters, {macs} {columns[2]}" for way, weights, macs in rows(**first)
    )
    return Shown(f"<p>{html.escape(told)}</p>{markup(**first)}", words + ".", widgets.VBox([*sliders.values(), shown]))


def results(name: str, baseline: str, **arguments) -> plots.Drawing:
    """An experiment's table, shown at once, and the figure of its differences from a variant, paired by seed.

    arguments: further ones of `plots.paired_differences`.
    """
    from IPython.display import display

    runs = experiments.get(name).load()
    display(runs.table())
    return plots.paired_differences(runs, baseline, name=f"{name}_differences", **arguments)


def check(
    exercise: str,
    answer: Callable,
    expected: Callable,
    inputs: Iterable[tuple],
    tolerance: float = 1e-5,
    hint: str = "",
) -> None:
    """Compare a reader's function with a right one on some inputs, and print input, answer and expected value.

    A wrong, unfinished or failing function is told so in a sentence, with the hint; nothing is raised, so that the page
    runs on.
    """
    hint = f" Hint: {hint}" if hint else ""
    shown = []
    for arguments in inputs:
        right = expected(*arguments)
        call = f"{answer.__name__}({', '.join(_brief(argument) for argument in arguments)})"
        try:
            given = answer(*arguments)
        except Exception as error:  # the reader's own code may raise anything
            print(f"Exercise {exercise}, not yet: {call} stopped with {type(error).__name__}: {error}.{hint}")
            return
        if given is None or given is Ellipsis:
            print(f"Exercise {exercise} is still open: {call} should give {_brief(right)}.{hint}")
            return
        if not _equal(given, right, tolerance):
            print(f"Exercise {exercise}, not yet: {call} gave {_brief(given)}, expected {_brief(right)}.{hint}")
            return
        shown.append(f"{call} = {_brief(right)}")
    print(f"Exercise {exercise} is right on {len(shown)} inputs, for example {shown[0]}.")


def _equal(given, right, tolerance: float) -> bool:
    try:
        given, right = np.asarray(given, np.float64), np.asarray(right, np.float64)
    except (TypeError, ValueError):
        return False
    return given.shape == right.shape and bool(np.allclose(given, right, rtol=tolerance, atol=tolerance))


def _brief(value) -> str:
    """A value in a few words: numbers with separators, arrays by shape and first entries."""
    if isinstance(value, bool | str) or value is None:
        return repr(value)
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    array = np.asarray(value)
    if array.dtype.kind in "iuf" and array.size > 4:
        first = ", ".join(f"{number:.4g}" for number in array.flat[:3])
        return f"an array of shape {array.shape} starting {first}"
    return str(value)
