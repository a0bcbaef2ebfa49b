"""A figure with its name and its words, and what all figures share.

Colours: seaborn's colour-blind palette for lines, cividis for magnitudes, a diverging map centred on zero for weights.
Figures have a light ground of their own, so that they read in a dark theme too.
"""

import base64
import dataclasses
import html
import io
import os
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from shathenet_utils import files

PALETTE = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#fbafe4", "#949494")
_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A figure with its name and its words.

    alt: what the figure shows, for a reader who can't see it; it is what a text terminal prints, too.
    resolution: dots per inch of the PNG; on a page an inch is 80 pixels wide.
    Under `make rerun` (`$SHATHENET_FIGURES`) a figure with a name is also stored as `figures/<name>.png`.
    """

    figure: Figure
    name: str
    alt: str
    resolution: int = 120

    @property
    def axes(self):
        """The figure's axes, in the order they were made."""
        return self.figure.axes

    def png(self) -> bytes:
        """The figure as a PNG file."""
        buffer = io.BytesIO()
        with matplotlib.rc_context(_STYLE):
            self.figure.savefig(buffer, format="png", dpi=self.resolution, metadata={"Software": None})
        return buffer.getvalue()

    def _repr_mimebundle_(self, include=None, exclude=None):
        png = self.png()
        if self.name and (folder := os.environ.get("SHATHENET_FIGURES")):
            with files.written_whole(Path(folder, f"{self.name}.png")) as path:
                path.write_bytes(png)
        width = round(self.figure.get_figwidth() * 80)
        source = base64.b64encode(png).decode()
        alt, style = html.escape(self.alt), f"width:{width}px;max-width:100%"
        image = f'<img alt="{alt}" src="data:image/png;base64,{source}" style="{style}">'
        return {"text/html": image, "text/plain": self.alt}


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **arguments):
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots(rows, columns, squeeze=False, **arguments)


def plain_numbers(axis) -> None:
    """1, 2, 5, 10, 20 … along a logarithmic axis, in plain digits."""
    axis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,.12g}"))
    axis.set_minor_formatter(matplotlib.ticker.NullFormatter())


def percent_axis(axis) -> None:
    """Fractions in per cent, with as many digits as tell neighbouring ticks apart: 40%, 37.5%."""
    axis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{100 * value:.4g}%"))


_PLACES = (
    ((8, 0), "left", "center"), ((-8, 0), "right", "center"), ((0, 7), "center", "bottom"), ((0, -7), "center", "top"),
    ((6, 5), "left", "bottom"), ((-6, 5), "right", "bottom"), ((6, -5), "left", "top"), ((-6, -5), "right", "top"),
)  # fmt: skip
"""Where a label may stand beside its point, the best first: offset in points, and how the text is aligned there."""


def label_where_there_is_room(ax, labels) -> None:
    """Write labels (text, x, y, style) beside their points, the first ones first; one that would cover another or a
    point is left out."""
    figure = ax.figure
    figure.draw_without_rendering()
    points = np.array([ax.transData.transform((x, y)) for _, x, y, _ in labels])
    taken = []
    for text, x, y, style in labels:
        for offset, ha, va in _PLACES:
            written = ax.annotate(text, (x, y), offset, textcoords="offset points", ha=ha, va=va, **style)
            box = written.get_window_extent()
            inside = ax.bbox.x0 < box.x0 and box.x1 < figure.bbox.x1 and ax.bbox.y0 < box.y0 and box.y1 < ax.bbox.y1
            covered = box.count_contains(points) or any(box.overlaps(other) for other in taken)
            if inside and not covered:
                taken.append(box)
                break
            written.remove()
