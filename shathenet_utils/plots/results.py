"""Accuracies of an experiment's runs: learning curves, dots per seed, differences, bars, lines, scatter."""

import matplotlib
import numpy as np

from shathenet_utils import stats
from shathenet_utils.plots.drawing import PALETTE, Drawing, new_figure, percent_axis, plain_numbers
from shathenet_utils.runs import Runs


def bars(values: dict[str, float], *, label: str, name: str, others=()) -> Drawing:
    """One horizontal bar per value, a fraction of 1, in the order given, each with its number.

    others: names of bars that this book has not measured; they are drawn hollow, their numbers in whole per cent.
    """
    figure, axes = new_figure(6.5, 0.38 * len(values) + 0.8)
    ax = axes[0][0]
    faces = ["white" if text in others else PALETTE[0] for text in values]
    ax.barh(range(len(values)), list(values.values()), color=faces, edgecolor=PALETTE[0], height=0.6)
    words_ = {text: f"{value:.0%}" if text in others else f"{value:.1%}" for text, value in values.items()}
    for row, (text, value) in enumerate(values.items()):
        ax.annotate(words_[text], (value, row), (4, 0), textcoords="offset points", va="center")
    ax.set_yticks(range(len(values)), list(values))
    ax.invert_yaxis()
    ax.set(xlim=(0, 1), xlabel=label)
    percent_axis(ax.xaxis)
    words = ", ".join(f"{text} {number}" for text, number in words_.items())
    return Drawing(figure, name, f"{label.capitalize()}: {words}.")


def learning_curves(runs: Runs, variants=None, *, columns: int = 3, name: str) -> Drawing:
    """Accuracy on training images (as trained on) and on validation images, epoch by epoch, one panel per variant.

    A thin line per seed, a thick one for their mean; user's runs dashed. columns: panels side by side, at most.
    """
    variants = list(variants or runs.recorded)
    columns = min(columns, len(variants))
    rows = -(-len(variants) // columns)
    figure, axes = new_figure(3.3 * columns + 0.6, 3.4 * rows, rows, columns, sharey=True)
    sentences = []
    for ax in axes.flat[len(variants) :]:
        ax.axis("off")
    for ax, variant in zip(axes.flat, variants, strict=False):
        ends = {}
        for colour, key, label in (
            (PALETTE[1], "accuracy", "training"),
            (PALETTE[0], "validation_accuracy", "validation"),
        ):
            curves = [record["history"][key] for record in runs.finished(variant)]
            if not any(curves):  # no seed finished, or all images were trained on
                continue
            for curve in curves:
                ax.plot(range(1, len(curve) + 1), curve, color=colour, alpha=0.3, linewidth=0.8)
            mean = np.mean(curves, axis=0)
            ax.plot(range(1, len(mean) + 1), mean, color=colour, linewidth=2)
            late = np.array(curves)[:, -max(1, len(mean) // 3) :]  # as wide as a label
            ends[label] = (mean[-1], len(mean), colour, late)
            for record in runs.user_runs.get(variant, ()):
                yours = record["history"][key]
                ax.plot(range(1, len(yours) + 1), yours, color=colour, linewidth=1.2, linestyle="--")
        higher = max(ends, key=lambda label: ends[label][0], default=None)
        for label, (_, epochs, colour, late) in ends.items():
            y, va, offset = (late.max(), "bottom", 3) if label == higher else (late.min(), "top", -3)
            ax.annotate(
                label, (epochs, y), (0, offset), textcoords="offset points",
                ha="right", va=va, color=colour, weight="bold",
            )  # fmt: skip
        if runs.user_runs.get(variant):
            ax.plot([], [], color="0.3", linestyle="--", label="yours")
            ax.legend(loc="lower right", frameon=False)
        ax.set(title=runs.labels[variant], xlabel="epoch")
        ax.margins(y=0.12)  # room for the label of the upper curve
        words_ = ", ".join(f"{label} accuracy at {value:.1%}" for label, (value, *_) in ends.items())
        words_ = words_.replace("accuracy at", "accuracy ends at", 1) or "no seed finished"
        sentences.append(f"{runs.labels[variant]}: {words_}{_lost(runs, variant)}")
    for ax in axes[:, 0]:
        ax.set_ylabel("accuracy")
        percent_axis(ax.yaxis)
    return Drawing(figure, name, "Learning curves. " + "; ".join(sentences) + ".")


def dots_per_seed(runs: Runs, *, key: str = "test_accuracy", published=(), name: str) -> Drawing:
    """Every seed of every variant as a dot, the mean with its 95 % interval beside them.

    published: pairs (label, accuracy as a fraction), drawn as dotted lines. User's runs are triangles.
    """
    variants = list(runs.recorded)
    figure, axes = new_figure(6.5, 0.7 * len(variants) + 1.4)
    ax = axes[0][0]
    words = []
    for row, variant in enumerate(variants):
        values = runs.values(variant, key)
        if len(values) == 0:
            words.append(f"{runs.labels[variant]} has no such number{_lost(runs, variant)}")
            continue
        interval = runs.mean_ci(variant, key)
        ax.plot(
            values, np.full(len(values), row + 0.14), "o", color=PALETTE[0], alpha=0.6, markersize=5, markeredgewidth=0
        )
        ax.errorbar(
            interval.mean, row - 0.14, xerr=[[interval.mean - interval.low], [interval.high - interval.mean]],
            fmt="D", color="black", markersize=5, capsize=4,
        )  # fmt: skip
        yours = [record[key] for record in runs.user_runs.get(variant, ()) if record[key] is not None]
        ax.plot(yours, np.full(len(yours), row + 0.3), "^", color=PALETTE[3], markersize=7)
        spread = f"95 % interval {interval.low:.1%} to {interval.high:.1%}, {interval.n} seeds"
        spread = spread if interval.n > 1 else "one seed"
        words.append(f"{runs.labels[variant]} {interval.mean:.1%} ({spread}){_lost(runs, variant)}")
    for label, value in published:
        ax.axvline(value, color=PALETTE[3], linestyle=":", linewidth=1.5)
        ax.annotate(
            f"{label}: {value:.0%}", (value, len(variants) - 0.55), (3, 0), textcoords="offset points",
            color=PALETTE[3], ha="left", va="bottom", fontsize=9, annotation_clip=False,
        )  # fmt: skip
        words.append(f"{label} {value:.0%}")
    ax.set_yticks(range(len(variants)), [runs.labels[variant] for variant in variants])
    ax.set_ylim(len(variants) - 0.4, -0.6)
    ax.set_xlabel(key.replace("_", " ") + "; dots: seeds, diamonds: mean and 95 % interval")
    percent_axis(ax.xaxis)
    return Drawing(figure, name, f"{key.replace('_', ' ').capitalize()}: " + "; ".join(words) + ".")


def _lost(runs: Runs, variant: str) -> str:
    """Names the seeds that diverged, for a figure's words."""
    lost = runs.diverged(variant)
    return f", diverged: seed {', '.join(map(str, lost))}" if lost else ""


def differences(
    runs: Runs, baseline: str, variants=None, *, key: str = "test_accuracy", over: str = "seeds and images", name: str
) -> Drawing:
    """Each variant minus the baseline, in percentage points: the mean with its 95 % interval, and a dot per seed, minus
    the baseline's mean. variants: names, all others where none are given. over: as in `Runs.difference`."""
    variants = list(variants or (variant for variant in runs.recorded if variant != baseline))
    figure, axes = new_figure(6.5, 0.7 * len(variants) + 1.35)
    ax, words, usual = axes[0][0], [], runs.values(baseline, key).mean()
    for row, variant in enumerate(variants):
        points = 100 * (runs.values(variant, key) - usual)
        difference = runs.difference(variant, baseline, key, over)
        mean, low, high = (100 * bound for bound in difference[:3])
        ax.plot(points, np.full(len(points), row + 0.14), "o", color=PALETTE[0], alpha=0.6, markeredgewidth=0)
        error = [[mean - low], [high - mean]] if np.isfinite(low) else None
        ax.errorbar(mean, row - 0.14, xerr=error, fmt="D", color="black", markersize=5, capsize=4)
        words.append(f"{runs.labels[variant]} {stats.format_difference(difference)}")
    ax.axvline(0, color="0.4", linewidth=1)
    ax.set_yticks(range(len(variants)), [runs.labels[variant] for variant in variants])
    ax.set_ylim(len(variants) - 0.4, -0.6)
    quantity = key.replace("_", " ")
    other = runs.labels[baseline]
    other = f"minus that of{' ' if len(other) <= 25 else chr(10)}{other}"
    label = f"{quantity} in percentage points,\n{other}\n(95 % interval over {over})"
    ax.set_xlabel(label)
    return Drawing(figure, name, f"Difference to {runs.labels[baseline]} (95 % over {over}): {'; '.join(words)}.")


def sweep(runs: Runs, *, series: dict[str, list[str]] | None = None, name: str) -> Drawing:
    """Validation accuracy against the learning rate, a line per series, one run per dot, each series' best ringed.

    series: label → names of variants, all as one where none are given; runs that diverged stand at the foot as crosses.
    """
    series = series or {"": list(runs.recorded)}
    figure, axes = new_figure(6.5, 3.8)
    ax, words = axes[0][0], []
    for colour, marker, (label, variants) in zip(PALETTE, _MARKERS, series.items(), strict=False):
        rates = {name: runs.recorded[name][0]["config"]["recipe"]["learning_rate"] for name in variants}
        ordered = sorted(variants, key=rates.get)
        known = [name for name in ordered if len(runs.values(name, "validation_accuracy"))]
        accuracies = [runs.values(name, "validation_accuracy").mean() for name in known]
        ax.plot([rates[name] for name in known], accuracies, f"{marker}-", color=colour, label=label or None)
        best = int(np.argmax(accuracies))
        ax.plot(rates[known[best]], accuracies[best], "o", color=colour, markersize=13, fillstyle="none")
        lost = [rates[name] for name in ordered if name not in known]
        ax.plot(lost, np.full(len(lost), 0.1), "x", color=colour)
        found = ", ".join(f"{y:.1%} at {rates[name]:g}" for name, y in zip(known, accuracies, strict=True))
        words.append(f"{label} {found}".strip() + (f", diverged at {lost}" if lost else ""))
    ax.set(xscale="log", xlabel="learning rate", ylabel="validation accuracy")
    percent_axis(ax.yaxis)
    if len(series) > 1:  # below: lines may pass anywhere
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2, frameon=False, fontsize=9)
    return Drawing(figure, name, f"Validation accuracy against learning rate: {'; '.join(words)}.")


def scatter(
    points: dict[str, tuple], *, x_label: str, y_label: str, name: str, logarithmic: str = "", percent: bool = False,
    join: bool = False,
) -> Drawing:  # fmt: skip
    """Named points (x, y) or (x, y, low, high), the last two an interval of y.

    logarithmic: which axes are, of "xy". percent: y is a fraction of 1. join: a line through the points, in their
    order.
    """
    figure, axes = new_figure(6.5, 3.6)
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
        words_ = f"{y:.1%}" if percent else f"{y:.3g}"
        words.append(f"{label} {words_} at {x:,.4g}")
    if join:
        ax.plot([x for x, *_ in points.values()], [y for _, y, *_ in points.values()], color=PALETTE[0], linewidth=1)
    ax.margins(x=0.15, y=0.15)
    ax.set(xlabel=x_label, ylabel=y_label)
    for axis in logarithmic:
        getattr(ax, f"set_{axis}scale")("log")
        plain_numbers(getattr(ax, f"{axis}axis"))
    if percent:
        percent_axis(ax.yaxis)
    return Drawing(figure, name, f"{y_label.capitalize()} against {x_label}: {'; '.join(words)}.")


_MARKERS = "osD^vPX*"
FEW = 8  # numbers that find room beside each other under an axis


def lines(
    series: dict[str, dict[float, stats.Interval]], *, x_label: str, y_label: str, name: str, logarithmic: bool = False
) -> Drawing:
    """How a fraction of 1 depends on a number: a line per series through means, with their intervals.

    series: label → number → interval, at most eight of them. logarithmic: the numbers' axis. It bears the numbers
    themselves, where they are few.
    """
    if len(series) > len(_MARKERS):
        raise ValueError(f"lines() tells at most {len(_MARKERS)} series apart, not {len(series)}.")
    figure, axes = new_figure(6.5, 3.8)
    ax, words, ends = axes[0][0], [], []
    for colour, marker, (label, points) in zip(PALETTE, _MARKERS, series.items(), strict=False):
        x, means = list(points), [interval.mean for interval in points.values()]
        errors = np.array([(i.mean - i.low, i.high - i.mean) for i in points.values()]).T  # NaN where n is 1: no bar
        ax.errorbar(x, means, errors, fmt=f"{marker}-", color=colour, markersize=6, capsize=4)
        ends.append((means[-1], x[-1], label, colour))
        words_ = ", ".join(f"{stats.format_mean_ci(interval)} at {number:,.12g}" for number, interval in points.items())
        words.append(f"{label} {words_}")
    if logarithmic:
        ax.set_xscale("log")
        ax.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    numbers = sorted({number for points in series.values() for number in points})
    if len(numbers) <= FEW:
        ax.set_xticks(numbers, [f"{number:,.12g}" for number in numbers])
    elif logarithmic:
        plain_numbers(ax.xaxis)
    ax.margins(x=0.3, y=0.12)
    ax.set(xlabel=x_label, ylabel=y_label)
    percent_axis(ax.yaxis)
    figure.draw_without_rendering()
    lowest = -np.inf
    for y, x, label, colour in sorted(ends):  # each above the one below it, where two lines end close together
        height = ax.transData.transform((x, y))[1] * 72 / figure.dpi
        lowest = max(height, lowest + 12)
        place = (8, lowest - height)
        ax.annotate(label, (x, y), place, textcoords="offset points", va="center", color=colour)
    return Drawing(figure, name, f"{y_label.capitalize()} against {x_label}: {'; '.join(words)}.")
