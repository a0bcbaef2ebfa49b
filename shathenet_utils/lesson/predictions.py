"""Predictions before answers: a reader commits to a number or an order, and the page compares it later.

They lie in the git-ignored `data/guesses.json`.
"""

import html
import itertools
import json
from collections.abc import Iterable

from shathenet_utils import files, output_folder, stats
from shathenet_utils.lesson.shown import Shown, paragraph


def predict_number(key: str, question: str, low: float, high: float, unit: str = "%") -> Shown:
    """Ask for a number before the answer: a field and a button, or the plain question where widgets are dead.

    key: the page and a word, "01.v1_0", under which the number is kept. low, high: the smallest and largest, in `unit`.
    """
    import ipywidgets as widgets

    kept = _kept_number(key)
    field = widgets.BoundedFloatText(
        value=kept if kept is not None else (low + high) / 2, min=low, max=high, step=1,
        description=f"Your guess ({unit})", style={"description_width": "initial"},
    )  # fmt: skip
    button = widgets.Button(description="Keep my guess", tooltip="Write this guess down; the page compares it later")
    status = widgets.Label("" if kept is None else f"Kept: {kept:g} {unit}")

    def keep(_):
        _keep(key, field.value)
        status.value = f"Kept: {field.value:g} {unit}"

    button.on_click(keep)
    heading = widgets.HTML(f"<p>{html.escape(question)}</p>")
    words = f"{question} (A guess from {low:g} to {high:g} {unit}, before you read on.)"
    box = widgets.VBox([heading, widgets.HBox([field, button, status])])
    return Shown(f"<p>{html.escape(words)}</p>", words, box)


def compare_number(key: str, truth: float | stats.Interval, unit: str = "%") -> Shown:
    """The reader's guess beside the measured number, to a tenth; beside a count, an int, as it is.

    truth: in `unit`; or the interval of an accuracy, a fraction, whose mean is shown in per cent.
    """
    truth = 100 * truth.mean if isinstance(truth, stats.Interval) else truth
    kept, digits = _kept_number(key), "g" if isinstance(truth, int) else ".1f"
    unit = "\u202f%" if unit == "%" else f" {unit}"
    measured = f"Measured: {truth:{digits}}{unit}."
    if kept is None:
        return paragraph(f"{measured} You kept no guess.")
    return paragraph(f"{measured} You guessed {kept:g}{unit}, {abs(kept - truth):{digits}} away.")


def predict_order(key: str, question: str, labels: Iterable[str]) -> Shown:
    """Ask for an order, best first, before the answer: a list with buttons, or the plain question where widgets are
    dead. By keyboard: arrows choose a label, Tab leads to the buttons, Space presses one."""
    import ipywidgets as widgets

    labels = list(labels)
    kept = _kept_order(key, labels)
    listed = widgets.Select(options=kept or labels, rows=len(labels), description="Best first")
    up = widgets.Button(description="Move up", tooltip="The chosen label changes places with the one above")
    down = widgets.Button(description="Move down", tooltip="The chosen label changes places with the one below")
    keep = widgets.Button(description="Keep my order", tooltip="Write this order down; the page compares it later")
    status = widgets.Label("" if kept is None else "Kept.")

    def move(by):
        order, place = list(listed.options), listed.index
        other = min(max(place + by, 0), len(order) - 1)
        order[place], order[other] = order[other], order[place]
        listed.options, listed.index = order, other

    def write(_):
        _keep(key, list(listed.options))
        status.value = f"Kept: {_listed(listed.options)}."

    up.on_click(lambda _: move(-1))
    down.on_click(lambda _: move(1))
    keep.on_click(write)
    words = f"{question} (Put them in your order, best first, before you read on: {_listed(labels)}.)"
    heading = widgets.HTML(f"<p>{html.escape(question)}</p>")
    box = widgets.VBox([heading, widgets.HBox([listed, widgets.VBox([up, down, keep])]), status])
    return Shown(f"<p>{html.escape(words)}</p>", words, box)


def compare_order(key: str, measured: dict[str, float]) -> Shown:
    """The reader's order beside the measured one, {label: value}, highest first: on how many pairs they agree."""
    ranking = sorted(measured, key=measured.get, reverse=True)
    kept = _kept_order(key, measured)
    words = f"Measured, best first: {_listed(ranking)}."
    if kept is None:
        return paragraph(f"{words} You kept no order.")
    pairs = list(itertools.combinations(ranking, 2))
    agree = sum(kept.index(better) < kept.index(worse) for better, worse in pairs)
    return paragraph(f"{words} Your order agrees with it on {agree} of {len(pairs)} pairs.")


def _listed(labels: Iterable[str]) -> str:
    """Labels one after another, apart by semicolons where one holds a comma itself: "v1.0, none; v1.1, none"."""
    labels = list(labels)
    return ("; " if any("," in label for label in labels) else ", ").join(labels)


def _path():
    return output_folder() / "data" / "guesses.json"


def _kept() -> dict:
    try:
        kept = json.loads(_path().read_text(encoding="utf-8"))
        return {key: value for key, value in kept.items() if isinstance(value, int | float | list)}
    except (OSError, ValueError, AttributeError):  # none yet, or a damaged file: a guess is not worth an error
        return {}


def _keep(key: str, value: float | list[str]) -> None:
    files.write_text(_path(), json.dumps({**_kept(), key: value}, indent=1) + "\n")


def _kept_number(key: str) -> float | None:
    kept = _kept().get(key)
    return None if isinstance(kept, list) else kept


def _kept_order(key: str, labels: Iterable[str]) -> list[str] | None:
    """The order that was kept, if it is one of these labels."""
    kept = _kept().get(key)
    kept = [str(label) for label in kept] if isinstance(kept, list) else []
    return kept if kept and sorted(kept) == sorted(labels) else None
