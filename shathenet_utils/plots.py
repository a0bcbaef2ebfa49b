"""Every figure the book draws. Each function returns a `Drawing`, which a notebook shows as its last expression.

Colours: seaborn's colour-blind palette for lines, cividis for magnitudes, a diverging map centred on zero for
weights. Figures have a light ground of their own, so that they read in a dark theme too.
"""

import base64
import dataclasses
import html
import io
import os
from collections.abc import Iterable
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from shathenet_utils import records, stats

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
    resolution: dots an inch of the PNG; on a page an inch is 80 pixels wide.
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
            with records.written_whole(Path(folder, f"{self.name}.png")) as path:
                path.write_bytes(png)
        width = round(self.figure.get_figwidth() * 80)
        source = base64.b64encode(png).decode()
        alt, style = html.escape(self.alt), f"width:{width}px;max-width:100%"
        image = f'<img alt="{alt}" src="data:image/png;base64,{source}" style="{style}">'
        return {"text/html": image, "text/plain": self.alt}


def _figure(width: float, height: float, rows: int = 1, columns: int = 1, **arguments):
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots(rows, columns, squeeze=False, **arguments)


def _plain_numbers(axis) -> None:
    """1, 2, 5, 10, 20 … along a logarithmic axis, in plain digits."""
    axis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,.12g}"))
    axis.set_minor_formatter(matplotlib.ticker.NullFormatter())


def _percent_axis(axis) -> None:
    axis.set_major_formatter(matplotlib.ticker.PercentFormatter(1, decimals=0))


def pictures(
    images, titles=None, *, columns: int = 10, rows=None, name: str, alt: str, missing: str = "CIFAR-10 is"
) -> Drawing:
    """A sheet of pictures: uint8 (n, height, width, 3), with a title each, or a label a row.

    No pictures at all, where the dataset is not there, gives a sheet that says so; missing: what they need, and "is".
    """
    if len(images) == 0:
        figure, axes = _figure(6.5, 0.6)
        axes[0][0].text(0, 0.5, f"These pictures can be drawn only where {missing}.", va="center")
        axes[0][0].axis("off")
        return Drawing(figure, name, alt)
    lines, (height, width) = -(-len(images) // columns), images[0].shape[:2]
    across = 0.85 * max(1, 0.9 * width / height)  # inches; a pair of pictures gets more room than one
    high = across * height / width + (0.04 if titles is None else 0.22)
    figure, axes = _figure(columns * (across + 0.04) + (0.6 if rows else 0), lines * high, lines, columns)
    for i, ax in enumerate(axes.flat):
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        if i < len(images):
            ax.imshow(images[i], interpolation="nearest")
            if titles is not None:
                ax.set_title(titles[i], fontsize=7, loc="center", pad=2)
    for ax, label in zip(axes[:, 0], rows or (), strict=False):
        ax.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
    return Drawing(figure, name, alt, resolution=80)


def bars(values: dict[str, float], *, label: str, name: str, others=()) -> Drawing:
    """One horizontal bar a value, a fraction of 1, in the order given, each with its number.

    others: the names of bars that are not of this book's measuring; they are drawn hollow, and told in whole per cent.
    """
    figure, axes = _figure(6.5, 0.38 * len(values) + 0.8)
    ax = axes[0][0]
    faces = ["white" if text in others else PALETTE[0] for text in values]
    ax.barh(range(len(values)), list(values.values()), color=faces, edgecolor=PALETTE[0], height=0.6)
    told = {text: f"{value:.0%}" if text in others else f"{value:.1%}" for text, value in values.items()}
    for row, (text, value) in enumerate(values.items()):
        ax.annotate(told[text], (value, row), (4, 0), textcoords="offset points", va="center")
    ax.set_yticks(range(len(values)), list(values))
    ax.invert_yaxis()
    ax.set(xlim=(0, 1), xlabel=label)
    _percent_axis(ax.xaxis)
    words = ", ".join(f"{text} {number}" for text, number in told.items())
    return Drawing(figure, name, f"{label.capitalize()}: {words}.")


def learning_curves(runs: records.Runs, variants=None, *, name: str) -> Drawing:
    """Accuracy on training images (as trained on) and on validation images, epoch by epoch, one panel a variant.

    A thin line a seed, a thick one for their mean; a reader's own runs dashed.
    """
    variants = list(variants or runs.recorded)
    figure, axes = _figure(3.3 * len(variants) + 0.6, 3.4, 1, len(variants), sharey=True)
    sentences = []
    for ax, variant in zip(axes[0], variants, strict=True):
        ends = {}
        for colour, key, label in (
            (PALETTE[1], "accuracy", "training"),
            (PALETTE[0], "validation_accuracy", "validation"),
        ):
            curves = [record["history"][key] for record in runs.finished(variant)]
            if not any(curves):  # no seed finished, or all pictures were trained on
                continue
            for curve in curves:
                ax.plot(range(1, len(curve) + 1), curve, color=colour, alpha=0.3, linewidth=0.8)
            mean = np.mean(curves, axis=0)
            ax.plot(range(1, len(mean) + 1), mean, color=colour, linewidth=2)
            late = np.array(curves)[:, -max(1, len(mean) // 3) :]  # as wide as a label
            ends[label] = (mean[-1], len(mean), colour, late)
            for record in runs.own.get(variant, ()):
                own = record["history"][key]
                ax.plot(range(1, len(own) + 1), own, color=colour, linewidth=1.2, linestyle="--")
        higher = max(ends, key=lambda label: ends[label][0], default=None)
        for label, (_, epochs, colour, late) in ends.items():
            y, va, offset = (late.max(), "bottom", 3) if label == higher else (late.min(), "top", -3)
            ax.annotate(
                label, (epochs, y), (0, offset), textcoords="offset points",
                ha="right", va=va, color=colour, weight="bold",
            )  # fmt: skip
        if runs.own.get(variant):
            ax.plot([], [], color="0.3", linestyle="--", label="yours")
            ax.legend(loc="lower right", frameon=False)
        ax.set(title=variant, xlabel="epoch")
        told = ", ".join(f"{label} accuracy at {value:.1%}" for label, (value, *_) in ends.items())
        told = told.replace("accuracy at", "accuracy ends at", 1) or "no seed finished"
        sentences.append(f"{variant}: {told}{_lost(runs, variant)}")
    axes[0][0].set_ylabel("accuracy")
    _percent_axis(axes[0][0].yaxis)
    return Drawing(figure, name, "Learning curves. " + "; ".join(sentences) + ".")


def seeds(runs: records.Runs, *, key: str = "test_accuracy", published=(), name: str) -> Drawing:
    """Every seed of every variant as a dot, the mean with its 95 % interval beside them.

    published: pairs (label, accuracy as a fraction), drawn as dotted lines. A reader's own runs are triangles.
    """
    variants = list(runs.recorded)
    figure, axes = _figure(6.5, 0.7 * len(variants) + 1.4)
    ax = axes[0][0]
    words = []
    for row, variant in enumerate(variants):
        values = runs.values(variant, key)
        if len(values) == 0:
            words.append(f"{variant} has no such number{_lost(runs, variant)}")
            continue
        interval = runs.interval(variant, key)
        ax.plot(
            values, np.full(len(values), row + 0.14), "o", color=PALETTE[0], alpha=0.6, markersize=5, markeredgewidth=0
        )
        ax.errorbar(
            interval.mean, row - 0.14, xerr=[[interval.mean - interval.low], [interval.high - interval.mean]],
            fmt="D", color="black", markersize=5, capsize=4,
        )  # fmt: skip
        own = [record[key] for record in runs.own.get(variant, ()) if record[key] is not None]
        ax.plot(own, np.full(len(own), row + 0.3), "^", color=PALETTE[3], markersize=7)
        spread = f"95 % interval {interval.low:.1%} to {interval.high:.1%}, {interval.n} seeds"
        spread = spread if interval.n > 1 else "one seed"
        words.append(f"{variant} {interval.mean:.1%} ({spread}){_lost(runs, variant)}")
    for label, value in published:
        ax.axvline(value, color=PALETTE[3], linestyle=":", linewidth=1.5)
        ax.annotate(
            f"{label}: {value:.0%}", (value, len(variants) - 0.55), (3, 0), textcoords="offset points",
            color=PALETTE[3], ha="left", va="bottom", fontsize=9, annotation_clip=False,
        )  # fmt: skip
        words.append(f"{label} {value:.0%}")
    ax.set_yticks(range(len(variants)), variants)
    ax.set_ylim(len(variants) - 0.4, -0.6)
    ax.set_xlabel(key.replace("_", " ") + "; dots: seeds, diamonds: mean and 95 % interval")
    _percent_axis(ax.xaxis)
    return Drawing(figure, name, f"{key.replace('_', ' ').capitalize()}: " + "; ".join(words) + ".")


def _lost(runs: records.Runs, variant: str) -> str:
    """Names the seeds that diverged, for a figure's words."""
    lost = runs.diverged(variant)
    return f", diverged: seed {', '.join(map(str, lost))}" if lost else ""


def confusion(matrix, class_names, *, name: str) -> Drawing:
    """A confusion matrix of shares: row = true class, column = predicted class; each row sums to 1."""
    import seaborn

    figure, axes = _figure(6.6, 5.4)
    ax = axes[0][0]
    seaborn.heatmap(
        matrix, ax=ax, vmin=0, vmax=1, cmap="cividis", annot=True, fmt=".0%", annot_kws={"size": 8}, square=True,
        xticklabels=class_names, yticklabels=class_names,
        cbar_kws={"label": "share of the true class's pictures", "format": matplotlib.ticker.PercentFormatter(1)},
    )  # fmt: skip
    ax.set(xlabel="predicted class", ylabel="true class")
    ax.tick_params(axis="x", rotation=40)
    right = np.diag(matrix)
    wrong = np.array(matrix) * (1 - np.eye(len(class_names)))
    i, j = np.unravel_index(wrong.argmax(), wrong.shape)
    best, worst = right.argmax(), right.argmin()
    alt = (
        f"Confusion matrix. Best known: {class_names[best]} ({right[best]:.0%}); least: {class_names[worst]} "
        f"({right[worst]:.0%}); the commonest error: {class_names[i]} called {class_names[j]} ({wrong[i, j]:.0%})."
    )
    return Drawing(figure, name, alt)


def kernels(panels: dict[str, np.ndarray], *, name: str, alt: str, columns: int = 8) -> Drawing:
    """Kernels as colour pictures, float (height, width, 3, filters) a panel; grey is zero, each has its own scale."""
    rows = {title: -(-array.shape[-1] // columns) for title, array in panels.items()}
    figure, axes = _figure(columns * 0.8, sum(rows.values()) * 0.8 + 0.35 * len(panels), sum(rows.values()), columns)
    top = 0
    for title, array in panels.items():
        for i, ax in enumerate(axes[top : top + rows[title]].flat):
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set(visible=i < array.shape[-1], color="0.7", linewidth=0.5)
            if i < array.shape[-1]:
                kernel = array[..., i].astype(np.float32)
                ax.imshow(0.5 + 0.5 * kernel / max(np.abs(kernel).max(), 1e-9), interpolation="nearest")
        axes[top][0].set_title(" ", fontsize=10)  # holds the height; the words, longer than a kernel, widen nothing
        axes[top][0].annotate(
            title, (0, 1), (0, 4), xycoords="axes fraction", textcoords="offset points", fontsize=10
        ).set_in_layout(False)
        top += rows[title]
    return Drawing(figure, name, " ".join(alt.split()))


def paired_differences(runs: records.Runs, baseline: str, *, key: str = "test_accuracy", name: str) -> Drawing:
    """Each variant minus the baseline, seed by seed, in percentage points, with the mean and its 95 % interval."""
    variants = [variant for variant in runs.recorded if variant != baseline]
    figure, axes = _figure(6.5, 0.7 * len(variants) + 1.2)
    ax = axes[0][0]
    words = []
    for row, variant in enumerate(variants):
        ours, theirs = (100 * values for values in runs.paired(variant, baseline, key))
        points, interval = ours - theirs, stats.paired_difference(ours, theirs)
        ax.plot(points, np.full(len(points), row + 0.14), "o", color=PALETTE[0], alpha=0.6, markeredgewidth=0)
        ax.errorbar(
            interval.mean, row - 0.14, xerr=[[interval.mean - interval.low], [interval.high - interval.mean]],
            fmt="D", color="black", markersize=5, capsize=4,
        )  # fmt: skip
        spread = f"{interval.low:+.1f} to {interval.high:+.1f}" if interval.n > 1 else "one seed"
        words.append(f"{variant} {interval.mean:+.1f} points ({spread})")
    ax.axvline(0, color="0.4", linewidth=1)
    ax.set_yticks(range(len(variants)), variants)
    ax.set_ylim(len(variants) - 0.4, -0.6)
    ax.set_xlabel(f"{key.replace('_', ' ')} minus that of {baseline}, percentage points")
    return Drawing(figure, name, f"Difference to {baseline}, paired by seed: " + "; ".join(words) + ".")


def turns(seconds: dict[str, list[float]], *, label: str, name: str) -> Drawing:
    """Seconds of contenders that took turns: a bar for the mean, a dot a round, and how many times faster than the
    first."""
    figure, axes = _figure(6.5, 0.42 * len(seconds) + 0.8)
    ax = axes[0][0]
    first, words = np.mean(next(iter(seconds.values()))), []
    for row, (contender, rounds) in enumerate(seconds.items()):
        mean = np.mean(rounds)
        ax.barh(row, mean, color=PALETTE[0], alpha=0.45, height=0.62)
        ax.plot(rounds, np.full(len(rounds), row), "o", color="black", markersize=3, alpha=0.7)
        times = "" if row == 0 else f", {first / mean:.2f} times as fast"
        ax.annotate(
            f"{mean:.1f} s{times}", (max(rounds), row), (5, 0), textcoords="offset points", va="center", fontsize=9
        )
        words.append(f"{contender} {mean:.1f} s{times}")
    ax.set_yticks(range(len(seconds)), list(seconds))
    ax.invert_yaxis()
    ax.set(xlabel=f"{label}; dots: rounds", xlim=(0, 1.45 * max(max(rounds) for rounds in seconds.values())))
    return Drawing(figure, name, f"{label.capitalize()}: {'; '.join(words)}.")


def stacked(parts: dict[str, dict[str, float]], *, label: str, name: str) -> Drawing:
    """What a quantity consists of: a bar for each name, divided into the same parts, each with its number."""
    kinds = list(next(iter(parts.values())))
    figure, axes = _figure(6.5, 0.55 * len(parts) + 1.4)
    ax, words = axes[0][0], []
    for row, (bar, amounts) in enumerate(parts.items()):
        left = 0.0
        for colour, kind in zip(PALETTE, kinds, strict=False):
            ax.barh(row, amounts[kind], left=left, color=colour, height=0.62, label=kind if row == 0 else None)
            if amounts[kind] > 0.06 * max(sum(other.values()) for other in parts.values()):
                middle = left + amounts[kind] / 2
                ax.annotate(f"{amounts[kind]:.1f}", (middle, row), ha="center", va="center", color="white", fontsize=9)
            left += amounts[kind]
        ax.annotate(f"{left:.1f}", (left, row), (5, 0), textcoords="offset points", va="center", fontsize=9)
        words.append(f"{bar} {left:.1f}: {', '.join(f'{kind} {amount:.1f}' for kind, amount in amounts.items())}")
    ax.set_yticks(range(len(parts)), list(parts))
    ax.invert_yaxis()
    ax.margins(x=0.12)
    ax.set(xlabel=label)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return Drawing(figure, name, f"{label.capitalize()}. {'; '.join(words)}.")


def roofline(
    networks: dict[str, tuple[float, float]], roofs: dict[str, float], bandwidth: float, *, name: str
) -> Drawing:
    """What a machine allows, and where networks lie under it, both axes logarithmic.

    networks: name → (FLOP a byte, GFLOP/s reached); roofs: label → GFLOP/s at best; bandwidth: GB/s.
    """
    figure, axes = _figure(6.5, 4.2)
    ax = axes[0][0]
    intensity = np.geomspace(0.5, 1000, 200)
    for colour, (label, roof) in zip(PALETTE, roofs.items(), strict=False):
        ax.plot(intensity, np.minimum(bandwidth * intensity, roof), color=colour, linewidth=2)
        above = roof == max(roofs.values())
        ax.annotate(
            f"{label}: {roof:.0f} GFLOP/s", (1000, roof), (0, 4 if above else -4), textcoords="offset points",
            ha="right", va="bottom" if above else "top", color=colour,
        )  # fmt: skip
    ax.annotate(
        f"memory: {bandwidth:.0f} GB/s", (0.6, bandwidth * 0.6), (8, -12), textcoords="offset points", color="0.35"
    )
    words = []
    for label, (x, y) in networks.items():
        ax.plot(x, y, "o", color="black", markersize=6)
        ax.annotate(label, (x, y), (7, -4), textcoords="offset points", fontsize=9)
        words.append(f"{label} {y:.0f} GFLOP/s at {x:.1f} FLOP a byte")
    ax.set(xscale="log", yscale="log", xlabel="arithmetic for each byte moved, FLOP/byte", ylabel="GFLOP/s")
    _plain_numbers(ax.xaxis)
    _plain_numbers(ax.yaxis)
    told = ", ".join(f"{label} {roof:.0f} GFLOP/s" for label, roof in roofs.items())
    return Drawing(figure, name, f"Roofline: {told}, memory {bandwidth:.0f} GB/s. {'; '.join(words)}.")


def scatter(
    points: dict[str, tuple], *, x_label: str, y_label: str, name: str, logarithmic: str = "", percent: bool = False,
    join: bool = False,
) -> Drawing:  # fmt: skip
    """Named points (x, y) or (x, y, low, high), the last two an interval of y.

    logarithmic: which axes are, of "xy". percent: y is a fraction of 1. join: a line through the points, in their
    order.
    """
    figure, axes = _figure(6.5, 3.6)
    ax = axes[0][0]
    words, places = [], [x for x, *_ in points.values()]
    middle = (min(places) * max(places)) ** 0.5 if "x" in logarithmic else (min(places) + max(places)) / 2
    for label, (x, y, *interval) in points.items():
        error = [[y - interval[0]], [interval[1] - y]] if interval else None
        ax.errorbar(x, y, error, fmt="o", color=PALETTE[0], markersize=6, capsize=3)
        left = x > middle  # of its point: the label then stays inside
        ax.annotate(
            label,
            (x, y),
            (-7 if left else 7, 5),
            textcoords="offset points",
            ha="right" if left else "left",
            fontsize=9,
        )
        told = f"{y:.1%}" if percent else f"{y:.3g}"
        words.append(f"{label} {told} at {x:,.4g}")
    if join:
        ax.plot([x for x, *_ in points.values()], [y for _, y, *_ in points.values()], color=PALETTE[0], linewidth=1)
    ax.margins(x=0.15, y=0.15)
    ax.set(xlabel=x_label, ylabel=y_label)
    for axis in logarithmic:
        getattr(ax, f"set_{axis}scale")("log")
        _plain_numbers(getattr(ax, f"{axis}axis"))
    if percent:
        _percent_axis(ax.yaxis)
    return Drawing(figure, name, f"{y_label.capitalize()} against {x_label}: {'; '.join(words)}.")


_MARKERS = "osD^vPX*"
FEW = 8  # numbers that find room beside each other under an axis


def lines(
    series: dict[str, dict[float, stats.Interval]], *, x_label: str, y_label: str, name: str, logarithmic: bool = False
) -> Drawing:
    """How a fraction of 1 depends on a number: a line a series through means, with their intervals.

    series: label → number → interval, at most eight of them. logarithmic: the numbers' axis. It bears the numbers
    themselves, where they are few.
    """
    if len(series) > len(_MARKERS):
        raise ValueError(f"lines() tells at most {len(_MARKERS)} series apart, not {len(series)}.")
    figure, axes = _figure(6.5, 3.8)
    ax, words, ends = axes[0][0], [], []
    for colour, marker, (label, points) in zip(PALETTE, _MARKERS, series.items(), strict=False):
        x, means = list(points), [interval.mean for interval in points.values()]
        errors = np.array([(i.mean - i.low, i.high - i.mean) if i.n > 1 else (0, 0) for i in points.values()]).T
        ax.errorbar(x, means, errors, fmt=f"{marker}-", color=colour, markersize=6, capsize=4)
        ends.append((means[-1], x[-1], label, colour))
        told = ", ".join(f"{records.told(interval)} at {number:,.12g}" for number, interval in points.items())
        words.append(f"{label} {told}")
    if logarithmic:
        ax.set_xscale("log")
        ax.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    numbers = sorted({number for points in series.values() for number in points})
    if len(numbers) <= FEW:
        ax.set_xticks(numbers, [f"{number:,.12g}" for number in numbers])
    elif logarithmic:
        _plain_numbers(ax.xaxis)
    ax.margins(x=0.3, y=0.12)
    ax.set(xlabel=x_label, ylabel=y_label)
    _percent_axis(ax.yaxis)
    figure.draw_without_rendering()
    lowest = -np.inf
    for y, x, label, colour in sorted(ends):  # each above the one below it, where two lines end close together
        height = ax.transData.transform((x, y))[1] * 72 / figure.dpi
        lowest = max(height, lowest + 12)
        place = (8, lowest - height)
        ax.annotate(label, (x, y), place, textcoords="offset points", va="center", color=colour)
    return Drawing(figure, name, f"{y_label.capitalize()} against {x_label}: {'; '.join(words)}.")


_LAYERS = {  # kind of layer → colour and how it is named
    "Conv2D": (PALETTE[0], "convolution"), "MaxPooling2D": (PALETTE[2], "pool"), "Dense": (PALETTE[1], "dense"),
    "Concatenate": (PALETTE[4], "concatenation"), "UpSampling2D": ("0.6", "enlarged picture"),
    "Resizing": ("0.6", "enlarged picture"),
}  # fmt: skip


def architecture(rows: list[dict], *, name: str) -> Drawing:
    """A network from left to right, from `models.layer_table`: what each layer that shrinks, mixes or enlarges gives,
    as high as the map is and as wide as it has channels (roots of both), with its kernel and its parameters.
    """
    shown = [row for row in rows if row["kind"] in _LAYERS]
    figure, axes = _figure(max(6.5, 0.75 * len(shown) + 0.5), 3.4)
    ax, left, words = axes[0][0], 0.0, []
    for row in shown:
        *side, channels = row["output"]
        colour, kind = _LAYERS[row["kind"]]
        height, width = (side[0] ** 0.5 if side else channels**0.5 / 4), max(0.8, channels**0.5 / 4 if side else 0.8)
        ax.add_patch(Rectangle((left, -height / 2), width, height, facecolor=colour, alpha=0.85, linewidth=0))
        size = "×".join(map(str, row["output"]))
        kernel = row["count"].split("·")
        label = [row["layer"], f"{kernel[0]}×{kernel[1]}" if row["kind"] == "Conv2D" else ""]
        ax.annotate(size, (left + width / 2, height / 2), (0, 4), textcoords="offset points", ha="center", fontsize=8)
        ax.annotate(
            "\n".join([*filter(None, label), f"{row['parameters']:,}" if row["parameters"] else ""]),
            (left + width / 2, -height / 2), (0, -4), textcoords="offset points", ha="center", va="top", fontsize=8,
        )  # fmt: skip
        words.append(f"{row['layer']}, {kind} {label[1]}".strip() + f" → {size}")
        left += width + 1.4
    top = max(row["output"][0] ** 0.5 if len(row["output"]) > 1 else 1 for row in shown) / 2
    ax.set(xlim=(-0.7, left - 0.7), ylim=(-1.35 * top - 1.5, 1.2 * top + 0.5))
    ax.axis("off")
    kinds = {row["kind"]: _LAYERS[row["kind"]] for row in shown}
    handles = {label: Rectangle((0, 0), 1, 1, facecolor=colour, alpha=0.85) for colour, label in kinds.values()}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    total = sum(row["parameters"] for row in rows)
    return Drawing(figure, name, f"A network of {total:,} parameters: {'; '.join(words)}.")


def ledger(ours: dict[str, tuple], published: Iterable[dict], *, name: str) -> Drawing:
    """Test accuracy against parameters, on scales on which half the parameters and half the errors are steps alike:
    the book's networks among published ones.

    ours: label → (parameters, mean accuracy, low, high). published: entries of `records.published`; those that say
    `"original": True`, of the document that the book grew from, stand out. Others are named where there is room.
    """
    figure, axes = _figure(8, 5.6)
    ax, words, labels = axes[0][0], [], []
    ax.set(xscale="log", yscale="log", xlabel="parameters", ylabel="test accuracy")
    ax.set(xlim=(4e3, 6e7), ylim=(0.5, 0.022))
    for label, (x, y, low, high) in ours.items():
        error = [[high - y], [y - low]]  # of 1 - y
        ax.errorbar(x, 1 - y, error, fmt="o", color=PALETTE[0], markersize=8, capsize=4, zorder=3)
        labels.append((label, x, 1 - y, {"fontsize": 10, "color": PALETTE[0]}))
        words.append(f"ours, {label}, {y:.1%} with {x:,}")
    for entry in sorted(published, key=lambda entry: not entry.get("original")):
        original, x, y = entry.get("original", False), records.count(entry["parameters"]), 1 - entry["value"]
        ax.plot(
            x, y, "D" if original else "o", color=PALETTE[1] if original else "0.6", markersize=7 if original else 4
        )
        label = entry["network"].partition(",")[0]
        labels.append((label, x, y, {"fontsize": 9 if original else 7, "color": "0.2" if original else "0.4"}))
        if original:
            words.append(f"the original's {label} {entry['value']:.0%} with {entry['parameters']}")
    ax.xaxis.set_major_formatter(matplotlib.ticker.EngFormatter(sep=""))
    ticks = [0.6, 0.7, 0.8, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97]
    ax.set_yticks([1 - tick for tick in ticks], [f"{tick:.0%}" for tick in ticks])
    ax.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    _label_where_there_is_room(ax, labels)
    return Drawing(figure, name, f"Test accuracy against parameters: {'; '.join(words)}; others in grey.")


def _label_where_there_is_room(ax, labels) -> None:
    """Write labels (text, x, y, style) beside their points, the first ones first; one that would cover another or a
    point is left out."""
    figure = ax.figure
    figure.draw_without_rendering()
    points = np.array([ax.transData.transform((x, y)) for _, x, y, _ in labels])
    taken = []
    for text, x, y, style in labels:
        for offset, ha, va in (((8, 0), "left", "center"), ((-8, 0), "right", "center"), ((0, 7), "center", "bottom"),
                               ((0, -7), "center", "top")):  # fmt: skip
            written = ax.annotate(text, (x, y), offset, textcoords="offset points", ha=ha, va=va, **style)
            box = written.get_window_extent()
            inside = ax.bbox.x0 < box.x0 and box.x1 < figure.bbox.x1 and ax.bbox.y0 < box.y0 and box.y1 < ax.bbox.y1
            covered = box.count_contains(points) or any(box.overlaps(other) for other in taken)
            if inside and not covered:
                taken.append(box)
                break
            written.remove()


class LiveCurve:
    """A learning curve that redraws itself while a run trains: pass it as `on_epoch`."""

    def __init__(self):
        self._handle = None

    def __call__(self, history: dict) -> None:
        from IPython.display import display

        drawing = self.draw(history)
        if self._handle is None:
            self._handle = display(drawing, display_id=True)
        else:
            self._handle.update(drawing)

    def draw(self, history: dict) -> Drawing:
        """The curve of one run so far."""
        figure, axes = _figure(5.5, 3)
        ax = axes[0][0]
        for colour, key, label in (
            (PALETTE[1], "accuracy", "training"),
            (PALETTE[0], "validation_accuracy", "validation"),
        ):
            values = history[key]
            ax.plot(range(1, len(values) + 1), values, "o-", color=colour, markersize=4, label=label)
        epochs = len(history["loss"])
        ax.set(xlabel="epoch", ylabel="accuracy", ylim=(0, 1), xlim=(0.5, max(epochs, 8) + 0.5))
        ax.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
        _percent_axis(ax.yaxis)
        ax.legend(frameon=False, loc="lower right")
        label, values = "validation", history["validation_accuracy"]
        if not values:  # all pictures are trained on
            label, values = "training", history["accuracy"]
        return Drawing(figure, "", f"After epoch {epochs}: {label} accuracy {values[-1]:.1%}.")
