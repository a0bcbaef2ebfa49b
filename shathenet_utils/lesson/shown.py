"""What a cell shows: tables of facts and of computed numbers, and notices."""

import html

import numpy as np

from shathenet_utils import markers, stats


class Shown:
    """Something a cell shows: HTML where there is a browser, plain text everywhere else.

    data: further types, such as the numbers that a page's Markdown quotes.
    """

    def __init__(self, markup: str, words: str, widget=None, data: dict | None = None):
        self.markup, self.words, self.widget, self.data = markup, words, widget, data or {}

    def _repr_mimebundle_(self, include=None, exclude=None):
        bundle = self.widget._repr_mimebundle_() if self.widget is not None else {}
        return {**bundle, **self.data, "text/html": self.markup, "text/plain": self.words}


def paragraph(text: str) -> Shown:
    """Plain text as a paragraph."""
    return Shown(f"<p>{html.escape(text)}</p>", text)


def banner(text: str) -> None:
    """Show a notice that can't be overlooked, in light and dark theme."""
    from IPython.display import display

    style = "border-left:6px solid #de8f05;background:#fff4df;color:#222;padding:0.6em 1em"
    display(Shown(f'<div role="alert" style="{style}">{html.escape(text)}</div>', text))


def facts_table(rows: dict) -> Shown:
    """Names and values in two columns."""
    left = 'style="text-align:left"'
    lines = (
        f"<tr><th {left}>{html.escape(str(k))}</th><td {left}>{html.escape(str(v))}</td></tr>" for k, v in rows.items()
    )
    return Shown(f"<table>{''.join(lines)}</table>", "\n".join(f"{name}: {value}" for name, value in rows.items()))


def numbers(**values) -> Shown:
    """Numbers that the page's Markdown quotes, `<!--=name-->text<!--/-->`, as a folded table of two columns.

    A `stats.Interval` is written as "84.1 % (83.8 to 84.4)", a `stats.Difference` as "+3.2 points (+2.8 to +3.6)", an
    int as "17,882", a string as it is. `make rerun` writes the texts into the Markdown. Raises TypeError for a float,
    whose unit and digits only the page knows, and for anything else.
    """
    texts = {name: _text(name, value) for name, value in values.items()}
    table = facts_table(texts)
    folded = f"<details><summary>numbers quoted below</summary>{table.markup}</details>"
    return Shown(folded, table.words, data={markers.MIME: texts})


def _text(name: str, value) -> str:
    if isinstance(value, stats.Interval):
        return stats.format_mean_ci(value)
    if isinstance(value, stats.Difference):
        return stats.format_difference(value)
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return f"{value:,}".replace("-", "−")
    if not isinstance(value, str):
        raise TypeError(
            f"The number {name} is of type {type(value).__name__}: say what it is, for example "
            f'stats.percent(x), stats.points(x) or f"{{x:.1f}} seconds".'
        )
    if not value.strip() or any(sign in value for sign in ("\n", "<", "`", "$")):
        raise ValueError(f"The text of {name} goes into a sentence: some words on one line, without <, ` and $.")
    return value
