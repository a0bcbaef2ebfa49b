"""A figure draws the values that it was given, and its words hold the same numbers."""

import base64
import io
import itertools
import re

import matplotlib.image
import numpy as np
import pytest
from helpers import a_record, diverged, made_up_runs

from shathenet_utils import book, plots, stats
from shathenet_utils.runs import Runs

CLASSES = ("cat", "dog", "frog")
MATRIX = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.0, 0.05, 0.95]])
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
KERNELS = np.random.default_rng(0).normal(size=(7, 7, 3, 16))

LAYERS = [
    {
        "layer": "conv1",
        "kind": "Conv2D",
        "output": (32, 32, 16),
        "parameters": 2368,
        "count": "7·7·3·16 + 16",
        "macs": 0,
    },
    {"layer": "relu", "kind": "ReLU", "output": (32, 32, 16), "parameters": 0, "count": "", "macs": 0},
    {"layer": "logits", "kind": "Dense", "output": (10,), "parameters": 330, "count": "32·10 + 10", "macs": 0},
]
PUBLISHED = {"value": 0.91, "network": "Inception-v3, from scratch", "parameters": "24M"}


LABELS = {"plain": "no augmentation", "better": "flip + shift"}


def a_sweep():
    """Four learning rates, the last of which diverged."""
    rates = {"1e-4": 0.4, "1e-3": 0.6, "1e-2": 0.5, "1e-1": None}
    found = {}
    for name, accuracy in rates.items():
        recipe = {"recipe": {"learning_rate": float(name)}}
        record = a_record(100, variant=name, config=recipe, validation_accuracy=accuracy, test_accuracy=None)
        found[name] = [record if accuracy else diverged(record)]
    return Runs("rates", found)


def drawings():
    runs = made_up_runs({"plain": [a_record(9, test_accuracy=0.4)]}, LABELS)
    yield plots.images(IMAGES, columns=4, name="images", alt="Twelve images.")
    yield plots.bars({"guessing": 0.1, "ours": 0.608}, label="test accuracy", name="bars")
    yield plots.learning_curves(runs, name="learning_curves")
    yield plots.dots_per_seed(runs, published=[("the original", 0.59)], name="dots_per_seed")
    yield plots.confusion(MATRIX, CLASSES, name="confusion")
    yield plots.kernels({"before": KERNELS, "after": 2 * KERNELS}, name="kernels", alt="Kernels.")
    yield plots.differences(runs, "plain", over="seeds", name="differences")
    yield plots.sweep(a_sweep(), name="sweep")
    yield plots.LiveCurve().draw(a_record()["history"])
    yield plots.timing_bars({"theirs": [3.0, 3.1], "ours": [1.0, 1.2]}, label="seconds per epoch", name="timing_bars")
    yield plots.ledger({"v1": (17_882, 0.598, 0.59, 0.605)}, [PUBLISHED | {"original": True}, PUBLISHED], name="ledger")
    yield plots.architecture(LAYERS, name="architecture")
    parts = {"theirs": {"a": 2.0, "b": 1.0}, "ours": {"a": 1.0, "b": 0.2}}
    yield plots.stacked_bars(parts, label="seconds", name="stacked_bars")
    points = {"small": (1, 0.6, 0.59, 0.62), "large": (100, 0.9)}
    yield plots.scatter(
        points, x_label="seconds", y_label="accuracy", percent=True, logarithmic="x", join=True, name="scatter"
    )
    series = {"plain": {10: stats.mean_ci([0.5, 0.52]), 100: stats.mean_ci([0.6])}}
    yield plots.lines(series, x_label="parameters", y_label="accuracy", logarithmic=True, name="lines")


each_drawing = pytest.mark.parametrize("drawing", list(drawings()), ids=lambda drawing: drawing.name)


@each_drawing
def test_a_figure_is_not_blank_and_says_what_it_shows(drawing):
    image = matplotlib.image.imread(io.BytesIO(drawing.png()))
    assert image[..., :3].std() > 0.01
    assert min(image.shape[:2]) > 100
    assert len(drawing.alt) > 5 and drawing.alt.endswith(".")
    assert "nan" not in drawing.alt


@each_drawing
def test_axes_are_labelled(drawing):
    if drawing.name in ("images", "kernels", "architecture"):
        assert not any(ax.get_xlabel() for ax in drawing.axes)  # images have no axes
        return
    labels = [axis.get_label_text() for ax in drawing.axes for axis in (ax.xaxis, ax.yaxis)]
    ticks = [tick.get_text() for tick in drawing.axes[0].get_yticklabels()]
    assert drawing.axes[0].get_xlabel()
    assert sum(map(bool, labels)) >= 2 or any(re.search("[a-z]", tick) for tick in ticks)  # named rows need no label


@pytest.mark.parametrize(
    "draw",
    [
        lambda runs: plots.learning_curves(runs, name=""), lambda runs: plots.dots_per_seed(runs, name=""),
        lambda runs: plots.differences(runs, "plain", over="seeds", name=""),
    ],
    ids=["learning_curves", "dots_per_seed", "differences"],
)  # fmt: skip
def test_a_variant_has_its_label_and_never_its_code_name(draw):
    drawing = draw(made_up_runs(labels={"plain": "no augmentation", "better": "flip + shift"}))
    drawing.figure.draw_without_rendering()
    written = [text.get_text() for text in drawing.figure.findobj(matplotlib.text.Text)]
    for words in (drawing.alt, " ".join(written)):
        assert "flip + shift" in words and "no augmentation" in words
        assert "better" not in words and "plain" not in words


@pytest.mark.parametrize("seconds", [{"a": [1.0], "b": [2.5]}, {"a": [1.0, 1.1], "a long name": [0.001]}])
def test_timing_bars_leave_room_for_their_labels(seconds):
    drawing = plots.timing_bars(seconds, label="seconds per epoch", name="timing_bars")
    drawing.figure.draw_without_rendering()
    ax = drawing.axes[0]
    ends = [label.get_window_extent().x1 for label in ax.texts]
    assert max(ends) <= ax.get_window_extent().x1


def test_timing_bars_say_how_many_times_as_fast_as_the_first():
    seconds = {"theirs": [3.0, 5.0], "ours": [1.0, 1.0]}
    drawing = plots.timing_bars(seconds, label="seconds per epoch", name="timing_bars")
    assert drawing.alt == "Seconds per epoch: theirs 4.0 s; ours 1.0 s, 4.00 times as fast."
    assert [bar.get_width() for bar in drawing.axes[0].patches] == [4.0, 1.0]
    assert [list(line.get_xdata()) for line in drawing.axes[0].lines] == list(seconds.values())


def test_stacked_bars_are_as_long_as_their_parts():
    parts = {"theirs": {"steps": 2.0, "waits": 1.0}, "ours": {"steps": 1.0, "waits": 0.2}}
    drawing = plots.stacked_bars(parts, label="seconds", name="x")
    drawn = [(bar.get_x(), bar.get_width()) for bar in drawing.axes[0].patches]
    np.testing.assert_allclose(drawn, [(0, 2), (2, 1), (0, 1), (1, 0.2)])
    assert drawing.alt == "Seconds. theirs 3.0: steps 2.0, waits 1.0; ours 1.2: steps 1.0, waits 0.2."


def test_figures_leave_out_diverged_seeds_and_name_them():
    runs = made_up_runs()
    empty = {"history": {name: [] for name in a_record()["history"]}}
    runs.recorded["plain"][1] = diverged(runs.recorded["plain"][1]) | empty
    for figure in (plots.dots_per_seed(runs, name=""), plots.learning_curves(runs, name="")):
        assert re.search("plain[^;]*diverged: seed 1", figure.alt)
        assert "better" in figure.alt and not re.search("better[^;]*diverged", figure.alt)
    runs.recorded["plain"] = [diverged(record) for record in runs.recorded["plain"]]
    assert "plain has no such number, diverged: seed 0, 1, 2" in plots.dots_per_seed(runs, name="").alt
    assert "plain: no seed finished, diverged: seed 0, 1, 2" in plots.learning_curves(runs, name="").alt


def test_runs_on_all_images_have_a_training_curve_alone():
    runs = made_up_runs()
    for record in runs.recorded["plain"]:
        record["history"]["validation_accuracy"] = []
    assert "plain: training accuracy ends at" in plots.learning_curves(runs, name="").alt
    assert not re.search("plain[^;]*validation", plots.learning_curves(runs, name="").alt)


def test_a_page_gets_the_figure_with_its_words_escaped():
    drawing = plots.images(IMAGES, name="x", alt='Cats & "dogs" <b>.')
    bundle = drawing._repr_mimebundle_()
    assert bundle.keys() == {"text/html", "text/plain"}
    assert bundle["text/plain"] == 'Cats & "dogs" <b>.'
    assert 'alt="Cats &amp; &quot;dogs&quot; &lt;b&gt;."' in bundle["text/html"]
    assert base64.b64decode(re.search('base64,([^"]+)', bundle["text/html"])[1]) == drawing.png()


def test_a_figure_is_stored_only_where_figures_are_asked_for(monkeypatch, tmp_path):
    monkeypatch.delenv("SHATHENET_FIGURES", raising=False)
    drawing = plots.bars({"ours": 0.6}, label="accuracy", name="stored")
    monkeypatch.chdir(tmp_path)
    drawing._repr_mimebundle_()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("SHATHENET_FIGURES", str(tmp_path / "figures"))
    drawing._repr_mimebundle_()
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["stored.png"]
    assert (tmp_path / "figures" / "stored.png").read_bytes() == drawing.png()


def test_the_same_figure_is_the_same_file():
    one, other = (plots.dots_per_seed(made_up_runs(), name="x").png() for _ in range(2))
    assert one == other


def test_images_are_drawn_as_they_are_under_their_titles():
    titles = [f"image {i}" for i in range(12)]
    drawing = plots.images(IMAGES, titles, columns=5, rows=["first", "second", "third"], name="x", alt="x.")
    assert len(drawing.axes) == 15
    shown = [ax for ax in drawing.axes if ax.images]
    for ax, image, title in zip(shown, IMAGES, titles, strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), image)
        assert ax.get_title() == title
    assert [drawing.axes[i].get_ylabel() for i in (0, 5, 10)] == ["first", "second", "third"]


def test_no_images_are_a_sheet_that_says_so():
    drawing = plots.images(IMAGES[:0], [], name="x", alt="Nothing.")
    assert "only where CIFAR-10 is." in drawing.axes[0].texts[0].get_text()
    other = plots.images(IMAGES[:0], name="x", alt="Nothing.", missing="weights are")
    assert "only where weights are." in other.axes[0].texts[0].get_text()
    assert len(drawing.png()) > 0


def test_bars_are_as_long_as_their_values():
    values = {"guessing": 0.1, "ours": 0.608, "theirs": 0.59}
    drawing = plots.bars(values, label="test accuracy", name="x", others=["theirs"])
    [ax] = drawing.axes
    assert [bar.get_width() for bar in ax.patches] == list(values.values())
    assert [tick.get_text() for tick in ax.get_yticklabels()] == list(values)
    assert [text.get_text() for text in ax.texts] == ["10.0%", "60.8%", "59%"]
    assert [bar.get_facecolor() == (1, 1, 1, 1) for bar in ax.patches] == [False, False, True]
    assert drawing.alt == "Test accuracy: guessing 10.0%, ours 60.8%, theirs 59%."


def test_learning_curves_are_each_seeds_their_mean_and_ones_own_dashed():
    own = a_record(9, epochs=2)
    runs = made_up_runs({"plain": [own]})
    drawing = plots.learning_curves(runs, name="x")
    assert [ax.get_title() for ax in drawing.axes] == ["plain", "better"]
    lines = drawing.axes[0].lines
    for key in ("accuracy", "validation_accuracy"):
        curves = [record["history"][key] for record in runs.recorded["plain"]]
        for curve in [*curves, np.mean(curves, axis=0).tolist(), own["history"][key]]:
            assert any(
                list(line.get_ydata()) == pytest.approx(curve) for line in lines if len(line.get_ydata()) == len(curve)
            )
    dashed = [line for line in lines if line.get_linestyle() == "--" and len(line.get_xdata())]
    assert sorted(list(line.get_ydata()) for line in dashed) == sorted(
        own["history"][key] for key in ("accuracy", "validation_accuracy")
    )
    assert list(dashed[0].get_xdata()) == [1, 2]
    mean = np.mean([record["history"]["accuracy"][-1] for record in runs.recorded["plain"]])
    assert f"plain: training accuracy ends at {mean:.1%}" in drawing.alt
    assert [ax.get_title() for ax in plots.learning_curves(runs, ["better"], name="x").axes] == ["better"]


def test_seeds_are_dots_with_their_mean_and_interval():
    runs = made_up_runs({"plain": [a_record(9, test_accuracy=0.4)]})
    drawing = plots.dots_per_seed(runs, published=[("the original", 0.59)], name="x")
    [ax] = drawing.axes
    drawn = [list(line.get_xdata()) for line in ax.lines]
    assert list(runs.values("plain")) in drawn and list(runs.values("better")) in drawn
    assert [0.4] in drawn
    assert [0.59, 0.59] in drawn
    for variant in ("plain", "better"):
        mean, low, high, _ = runs.mean_ci(variant)
        assert any(len(x) == 1 and x[0] == pytest.approx(mean) for x in drawn)
        spans = [segment[:, 0] for bars in ax.collections for segment in bars.get_segments()]
        assert any(span == pytest.approx([low, high]) for span in spans)
        assert f"{variant} {mean:.1%} (95 % interval {low:.1%} to {high:.1%}, 3 seeds)" in drawing.alt
    assert "the original 59%" in drawing.alt
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["plain", "better"]


def test_one_seed_is_a_dot_without_an_interval():
    runs = made_up_runs()
    for found in runs.recorded.values():
        del found[1:]
    assert plots.dots_per_seed(runs, name="x").alt == "Test accuracy: plain 50.0% (one seed); better 56.0% (one seed)."
    drawing = plots.differences(runs, "plain", over="seeds", name="x")
    assert drawing.alt == "Difference to plain (95 % over seeds): better +6.0 points."
    assert drawing.png()


def test_lines_join_the_means_of_a_series():
    series = {name: {1: stats.mean_ci([low]), 5: stats.mean_ci([low + 0.1])} for name, low in (("a", 0.2), ("b", 0.7))}
    drawing = plots.lines(series, x_label="parameters", y_label="accuracy", name="x")
    said = "Accuracy against parameters: a 20.0 % at 1, 30.0 % at 5; b 70.0 % at 1, 80.0 % at 5."
    assert drawing.alt == said.replace(" %", "\u202f%")
    drawn = [list(line.get_ydata()) for line in drawing.axes[0].lines]
    assert [0.2, pytest.approx(0.3)] in drawn and [0.7, pytest.approx(0.8)] in drawn


def test_labels_of_lines_that_end_together_stand_apart():
    series = {name: {1: stats.mean_ci([0.2]), 5: stats.mean_ci([0.31])} for name in ("one", "two", "three")}
    drawing = plots.lines(series, x_label="parameters", y_label="accuracy", name="x")
    drawing.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in drawing.axes[0].texts]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


@pytest.mark.parametrize("logarithmic", [False, True])
def test_many_numbers_under_lines_do_not_overlap(logarithmic):
    series = {"a": {number: stats.mean_ci([0.2]) for number in range(1, 71)}}
    drawing = plots.lines(series, x_label="epoch", y_label="accuracy", name="x", logarithmic=logarithmic)
    drawing.figure.draw_without_rendering()
    labels = [label for label in drawing.axes[0].get_xticklabels() if label.get_text()]
    boxes = [label.get_window_extent() for label in labels]
    assert labels and not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_more_lines_than_markers_are_refused():
    series = {str(number): {1: stats.mean_ci([0.2])} for number in range(9)}
    with pytest.raises(ValueError, match="at most 8 series"):
        plots.lines(series, x_label="epoch", y_label="accuracy", name="x")


def test_differences_are_drawn_in_points_with_the_interval_that_is_asked_for():
    runs = made_up_runs(labels=LABELS)
    drawing = plots.differences(runs, "plain", over="seeds", name="x")
    [ax] = drawing.axes
    drawn = [list(line.get_xdata()) for line in ax.lines]
    assert any(x == pytest.approx([5, 5, 5]) for x in drawn if len(x) == 3)  # minus the baseline's mean
    mean, low, high, _ = runs.difference("better", "plain", over="seeds")
    assert any(len(x) == 1 and x[0] == pytest.approx(100 * mean) for x in drawn)
    [span] = [segment[:, 0] for bars in ax.collections for segment in bars.get_segments()]
    assert list(span) == pytest.approx([100 * low, 100 * high])
    assert f"flip + shift +5.0 points (+{100 * low:.1f} to +{100 * high:.1f})" in drawing.alt
    assert [0, 0] in drawn
    assert "percentage points" in ax.get_xlabel() and "over seeds)" in ax.get_xlabel()


def test_differences_are_over_seeds_and_images_unless_asked_otherwise():
    runs = book.load_experiment("v1_0").load()
    ours, baseline = "adam_1e-3", "adam_1e-4"
    drawing = plots.differences(runs, baseline, name="x")
    found = stats.format_difference(runs.difference(ours, baseline, over="seeds and images"))
    assert f"{runs.labels[ours]} {found}" in drawing.alt
    assert "95 % over seeds and images" in drawing.alt
    chosen = plots.differences(runs, baseline, [ours], name="x")
    assert [label.get_text() for label in chosen.axes[0].get_yticklabels()] == [runs.labels[ours]]
    assert "over seeds and images" in drawing.axes[0].get_xlabel().replace("\n", " ")


def test_a_sweep_is_a_line_over_rates_with_its_best_ringed():
    drawing = plots.sweep(a_sweep(), name="x")
    [ax] = drawing.axes
    assert ax.get_xscale() == "log"
    drawn = [(list(line.get_xdata()), list(line.get_ydata()), line) for line in ax.lines]
    assert ([1e-4, 1e-3, 1e-2], [0.4, 0.6, 0.5]) in [(x, y) for x, y, _ in drawn]
    [ring] = [(x, y) for x, y, line in drawn if line.get_fillstyle() == "none"]
    assert ring == ([1e-3], [0.6])
    [cross] = [x for x, _, line in drawn if line.get_marker() == "x"]
    assert cross == [0.1]
    assert "40.0% at 0.0001, 60.0% at 0.001, 50.0% at 0.01, diverged at [0.1]" in drawing.alt


def test_a_sweep_of_several_series_has_a_line_and_a_ring_each():
    runs = a_sweep()
    drawing = plots.sweep(runs, series={"narrow": ["1e-4", "1e-3"], "wide": ["1e-2", "1e-1"]}, name="x")
    rings = [line for line in drawing.axes[0].lines if line.get_fillstyle() == "none"]
    assert [list(ring.get_xdata()) for ring in rings] == [[1e-3], [1e-2]]
    assert [text.get_text() for text in drawing.axes[0].get_legend().get_texts()] == ["narrow", "wide"]
    assert "narrow 40.0% at 0.0001, 60.0% at 0.001; wide 50.0% at 0.01, diverged at [0.1]" in drawing.alt


def test_a_confusion_matrix_shows_every_share_and_names_best_worst_and_commonest_error():
    drawing = plots.confusion(MATRIX, CLASSES, name="x")
    ax = drawing.axes[0]
    np.testing.assert_allclose(np.ravel(ax.collections[0].get_array()), MATRIX.ravel())
    assert [text.get_text() for text in ax.texts] == [f"{share:.0%}" for share in MATRIX.ravel()]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == list(CLASSES)
    assert "Highest accuracy: frog (95%); lowest: dog (60%); most frequent error: dog as cat (30%)." in drawing.alt


def test_kernels_are_grey_at_zero_and_each_on_its_own_scale():
    kernels = np.zeros((3, 3, 3, 2))
    kernels[0, 0, 0] = [1, 100]
    kernels[2, 2, 2] = [-0.5, -100]
    drawing = plots.kernels({"before": kernels, "after": KERNELS}, columns=4, name="x", alt="Kernels.")
    shown = [ax.images[0].get_array() for ax in drawing.axes if ax.images]
    assert len(shown) == 2 + 16
    assert shown[0][0, 0, 0] == shown[1][0, 0, 0] == 1
    assert (shown[0][2, 2, 2], shown[1][2, 2, 2]) == (0.25, 0)
    assert (shown[0][1, 1] == 0.5).all()
    assert [text.get_text() for ax in drawing.axes for text in ax.texts] == ["before", "after"]


def test_a_panels_long_title_pushes_no_kernels_apart():
    drawing = plots.kernels({"a title much longer than a kernel is wide": KERNELS}, columns=8, name="x", alt="Kernels.")
    drawing.figure.savefig(io.BytesIO())
    lefts = [ax.get_position().x0 for ax in drawing.axes[:8]]
    assert np.ptp(np.diff(lefts)) < 1e-6


def test_kernels_on_one_scale_can_be_compared_and_none_is_clipped():
    kernels = np.full((3, 3, 3, 1), 0.5)
    whole = 2 * kernels
    whole[0, 0, 0] = -4  # one weight of 54, beyond all the others
    panels = {"half": kernels, "whole": whole}
    drawing = plots.kernels(panels, columns=1, one_scale=True, name="x", alt="Kernels.")
    half, whole = (np.asarray(ax.images[0].get_array()) for ax in drawing.axes)
    np.testing.assert_allclose(half, 0.5625)
    np.testing.assert_allclose(whole[1:], 0.625)
    assert whole[0, 0, 0] == 0
    assert drawing.figure.get_supxlabel() == "Scale of each colour: none at −4.00, half at 0, full at +4.00."


def test_kernels_of_several_scales_state_no_ends():
    assert plots.kernels({"a": KERNELS}, name="x", alt="Kernels.").figure.get_supxlabel() == ""


@pytest.mark.parametrize("numbers", [False, True])
def test_kernels_are_numbered_where_a_page_asks_for_it(numbers):
    panels = {"before": KERNELS, "after": KERNELS[..., :5]}
    drawing = plots.kernels(panels, columns=4, numbers=numbers, name="x", alt="Kernels.")
    below = [ax.get_xlabel() for ax in drawing.axes]
    count = KERNELS.shape[-1]
    assert below == ([*map(str, range(count)), *map(str, range(5)), "", "", ""] if numbers else [""] * (count + 8))


def test_kernels_of_nothing_but_zeros_are_grey():
    drawing = plots.kernels({"none": np.zeros((3, 3, 3, 1))}, columns=2, name="x", alt="Zeros.")
    assert (drawing.axes[0].images[0].get_array() == 0.5).all()


def test_a_live_curve_is_shown_once_and_then_redrawn(monkeypatch):
    shown, redrawn = [], []

    class Handle:
        update = staticmethod(redrawn.append)

    def display(drawing, display_id):
        shown.append(drawing)
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    live = plots.LiveCurve()
    for epochs in (1, 2, 3):
        live(a_record(epochs=epochs)["history"])
    assert (len(shown), len(redrawn)) == (1, 2)
    assert redrawn[-1].alt == "After epoch 3: validation accuracy 50.0%."
    lines = {line.get_label(): list(line.get_ydata()) for line in redrawn[-1].axes[0].lines}
    history = a_record()["history"]
    assert lines == {"training": history["accuracy"], "validation": history["validation_accuracy"]}


def test_a_live_curve_without_validation_images_shows_the_training_accuracy():
    history = a_record()["history"] | {"validation_accuracy": []}
    assert plots.LiveCurve().draw(history).alt == "After epoch 3: training accuracy 60.0%."


def test_the_ledger_draws_every_network_and_labels_without_covering():
    published = [PUBLISHED | {"value": 0.9 + 0.001 * n, "parameters": f"{n + 1}M"} for n in range(12)]
    drawing = plots.ledger(
        {"v1.0": (17_882, 0.598, 0.59, 0.605), "v2": (46_000, 0.92, 0.918, 0.922)}, published, name="x"
    )
    [ax] = drawing.axes
    dots = [line for line in ax.lines if len(line.get_xdata()) == 1 and line.get_marker() in ("o", "D")]
    assert len(dots) == 14
    drawing.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert {"v1.0", "v2"} <= {text.get_text() for text in ax.texts}
    assert not any(one.overlaps(other) for n, one in enumerate(boxes) for other in boxes[:n])
    assert "the book's v1.0 59.8% with 17,882" in drawing.alt


def test_the_ledgers_yardstick_is_a_line_across_it():
    drawing = plots.ledger({"v1.0": (17_882, 0.598, 0.59, 0.605)}, [PUBLISHED], yardstick=0.91, name="x")
    [ax] = drawing.axes
    [line] = [line for line in ax.lines if line.get_linestyle() == "--"]
    np.testing.assert_allclose(line.get_ydata(), 1 - 0.91)
    assert "yardstick, 91%" in [text.get_text() for text in ax.texts]
    assert "a line at the yardstick, 91%" in drawing.alt


def test_an_architecture_shows_sizes_kernels_and_parameters():
    drawing = plots.architecture(LAYERS, name="x")
    written = [text.get_text() for text in drawing.axes[0].texts]
    assert written == ["32×32×16", "conv1\n7×7\n2,368", "10", "logits\n330"]
    assert drawing.alt == ("A network of 2,698 parameters: conv1, convolution 7×7 → 32×32×16; logits, dense → 10.")
