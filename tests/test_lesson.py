"""A page's furniture: minutes, computed numbers, predictions that are kept, live data, checks."""

import importlib.metadata
import importlib.util
import json
import sys
import types

import numpy as np
import pytest
from helpers import a_record, tiny_dataset
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from shathenet_utils import datasets, lesson, markers, records, stats
from shathenet_utils.exercises import Exercise
from shathenet_utils.lesson import page, predictions
from shathenet_utils.lesson.live import code_digest


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Where this reader's guesses lie."""
    monkeypatch.setenv("SHATHENET_OUTPUT", str(tmp_path))
    return tmp_path


def words(shown):
    return shown._repr_mimebundle_()["text/plain"]


def markup(shown):
    return shown._repr_mimebundle_()["text/html"]


# Numbers


def test_numbers_are_a_table_and_texts_for_the_markdown():
    shown = lesson.numbers(
        with_bn=stats.Interval(0.841, 0.838, 0.844, 5),
        gain=stats.Difference(0.032, 0.028, 0.036, 5),
        parameters=17882,
        fewer=np.int64(-1234),
        low="0.01",
    )
    texts = {
        "with_bn": "84.1\u202f% (83.8 to 84.4)",
        "gain": "+3.2 points (+2.8 to +3.6)",
        "parameters": "17,882",
        "fewer": "−1,234",
        "low": "0.01",
    }
    assert shown._repr_mimebundle_()[markers.MIME] == texts
    assert words(shown).splitlines() == [f"{name}: {text}" for name, text in texts.items()]
    assert all(text in markup(shown) for text in texts.values())


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), True, None, [1], 1j, (0.1, 0.2, 0.3, 5)], ids=repr)
def test_a_number_whose_text_is_not_known_is_refused(value):
    with pytest.raises(TypeError, match="The number gain is of type .*: say what it is"):
        lesson.numbers(gain=value)


@pytest.mark.parametrize("value", ["", " ", "two\nlines", "a <b>", "`code`", "$x$"], ids=repr)
def test_a_text_that_would_break_the_sentence_is_refused(value):
    with pytest.raises(ValueError, match="The text of gain goes into a sentence"):
        lesson.numbers(gain=value)


# Exercises


def test_a_page_checks_an_exercise_by_its_name(monkeypatch, capsys):
    module = types.ModuleType("shathenet_utils.exercises.p98")
    module.EXERCISES = {"98.1": Exercise(lambda size: 2 * size, [(3,), (4,)], "Twice.")}
    monkeypatch.setitem(sys.modules, module.__name__, module)
    lesson.check_exercise("98.1", lambda size: ...)
    lesson.check_exercise("98.1", lambda size: 6)
    lesson.check_exercise("98.1", lambda size: size + size)
    lesson.check_exercise("98.2", lambda size: size)
    assert capsys.readouterr().out.splitlines() == [
        "Exercise 98.1 is still open: <lambda>(3) should give 6. Hint: Twice.",
        "Exercise 98.1, not yet: <lambda>(4) gave 6, expected 8. Hint: Twice.",
        "Exercise 98.1 is right on 2 inputs, for example <lambda>(4) = 8.",
        "There is no exercise 98.2.",
    ]


# The page's network


def network(**changes):
    from shathenet_utils.backend import keras, layers

    names = {"conv1": "conv1", "padding": "same", "filters": 32} | changes
    images = keras.Input((32, 32, 3), name="images")
    x = layers.UpSampling2D(6, name="enlarge")(layers.Rescaling(1 / 255, name="scale")(images))
    convolutions = [(names["conv1"], 16, 7, 6), ("conv2", 16, 5, 4), ("conv3", names["filters"], 3, 2)]
    for name, filters, kernel_size, strides in convolutions:
        x = layers.Conv2D(
            filters, kernel_size, strides, padding=names["padding"], activation="relu", name=name,
            kernel_initializer="truncated_normal",
        )(x)  # fmt: skip
    x = layers.Flatten(name="flatten")(layers.MaxPooling2D(2, name="pool")(x))
    x = layers.Dense(32, activation="relu", kernel_initializer="truncated_normal", name="dense")(x)
    return keras.Model(images, layers.Dense(10, kernel_initializer="truncated_normal", name="logits")(x))


def test_a_pages_network_is_the_packages():
    lesson.assert_same_network(network(), "v1_0")


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"conv1": "first"}, "at conv1 it has name=first, and v1_0 has name=conv1."),
        ({"padding": "valid"}, "at conv1 it has padding=valid, and v1_0 has padding=same."),
        ({"filters": 64}, "at conv3 it has filters=64, and v1_0 has filters=32."),
    ],
)
def test_a_network_that_is_another_is_named_by_its_first_difference(changes, difference):
    with pytest.raises(AssertionError) as error:
        lesson.assert_same_network(network(**changes), "v1_0")
    assert str(error.value) == f"This is not v1_0: {difference}"


def test_a_network_with_other_arguments_or_more_layers_is_another():
    from shathenet_utils.backend import keras, layers

    with pytest.raises(AssertionError, match="at enlarge it has interpolation=nearest, and v1_0 has .*=bilinear"):
        lesson.assert_same_network(network(), "v1_0", {"interpolation": "bilinear"})
    model = network()
    longer = keras.Model(model.input, layers.ReLU()(model.output))
    with pytest.raises(AssertionError, match="after the last layer it has kind=ReLU, .*and v1_0 has kind=no layer"):
        lesson.assert_same_network(longer, "v1_0")


# Predictions


def press_keep(shown, value):
    _, row = shown.widget.children
    field, button, status = row.children
    field.value = value
    button.click()
    return status.value


def test_a_guess_is_kept_and_compared(folder):
    assert words(lesson.compare_number("01.v1_0", 60.8)) == "Measured: 60.8\u202f%. You kept no guess."
    shown = lesson.predict_number("01.v1_0", "How many per cent?", 10, 100)
    assert "How many per cent?" in words(shown)
    assert press_keep(shown, 50) == "Kept: 50 %"
    assert words(lesson.compare_number("01.v1_0", 60.8)) == "Measured: 60.8\u202f%. You guessed 50\u202f%, 10.8 away."
    assert (
        words(lesson.compare_number("01.v1_0", 3, "filters")) == "Measured: 3 filters. You guessed 50 filters, 47 away."
    )
    assert press_keep(lesson.predict_number("00.nearest", "And here?", 0, 100), 30) == "Kept: 30 %"
    assert json.loads((folder / "data" / "guesses.json").read_text()) == {"01.v1_0": 50, "00.nearest": 30}
    _, row = lesson.predict_number("01.v1_0", "Again?", 10, 100).widget.children
    assert (row.children[0].value, row.children[2].value) == (50, "Kept: 50 %")


def parts_of(shown):
    """The widgets of an order: list, up, down, keep, status."""
    _, row, status = shown.widget.children
    listed, buttons = row.children
    return listed, *buttons.children, status


@pytest.mark.parametrize(("kernel_size", "channels", "filters", "side"), [(3, 3, 16, 8), (5, 7, 4, 6), (7, 2, 9, 5)])
def test_costs_of_convolutions_are_kerass(kernel_size, channels, filters, side):
    from shathenet_utils.architecture import macs
    from shathenet_utils.backend import keras, layers

    def built(*kernels):
        x = images = keras.Input((side, side, channels))
        for size in kernels:
            x = layers.Conv2D(filters, size, padding="same")(x)
        return keras.Model(images, x)

    ways = ([kernel_size], [(1, kernel_size), (kernel_size, 1)], [3] * ((kernel_size - 1) // 2))
    right = [(model.count_params(), macs(model)) for model in (built(*kernels) for kernels in ways)]
    assert list(lesson.convolution_costs(kernel_size, channels, filters, side).values()) == right


def test_a_calculator_follows_its_sliders_and_is_a_table_where_they_are_dead():
    shown = lesson.convolution_calculator(kernel_size=5, channels=64, filters=64, side=24)
    *sliders, table = shown.widget.children
    kernel_size, channels, filters, side = sliders
    assert "102,464" in table.value  # 5 · 5 · 64 · 64 + 64
    kernel_size.value, channels.value, filters.value, side.value = 3, 1, 2, 4
    assert "<td>20</td>" in table.value  # 3 · 3 · 2 + 2
    assert "102,464" in markup(shown)
    assert "one 5×5: 102,464 parameters" in words(shown)


def test_an_order_is_moved_kept_and_compared(folder):
    measured = {"pool": 0.8, "stride": 0.7, "blur": 0.9}
    assert words(lesson.compare_order("11.order", measured)) == (
        "Measured, best first: blur, pool, stride. You kept no order."
    )
    listed, up, down, keep, status = parts_of(lesson.predict_order("11.order", "Which loses least?", measured))
    assert (listed.options, listed.index) == (("pool", "stride", "blur"), 0)
    up.click()  # at the top already
    down.click()
    assert (listed.options, listed.value) == (("stride", "pool", "blur"), "pool")
    listed.value = "blur"
    up.click()
    assert (listed.options, listed.value) == (("stride", "blur", "pool"), "blur")
    keep.click()
    assert status.value == "Kept: stride, blur, pool."
    assert words(lesson.compare_order("11.order", measured)) == (
        "Measured, best first: blur, pool, stride. Your order agrees with it on 1 of 3 pairs."
    )
    assert parts_of(lesson.predict_order("11.order", "Again?", measured))[0].options == ("stride", "blur", "pool")
    assert "You kept no order" in words(lesson.compare_order("11.order", {"pool": 1, "stride": 2}))  # other names


def test_an_order_is_a_plain_question_where_widgets_are_dead(folder):
    shown = lesson.predict_order("11.order", "Which <one>?", ["pool", "stride"])._repr_mimebundle_()
    assert "Which &lt;one&gt;?" in shown["text/html"]
    assert "best first, before you read on: pool, stride.)" in shown["text/plain"]


def test_labels_that_hold_commas_are_apart_by_semicolons(folder):
    measured = {"v1.0, none": 0.6, "v1.1, none": 0.7}
    asked = words(lesson.predict_order("11.order", "Which?", measured))
    assert asked.endswith("before you read on: v1.0, none; v1.1, none.)")
    assert "best first: v1.1, none; v1.0, none." in words(lesson.compare_order("11.order", measured))


def test_an_order_and_a_guess_under_one_key_are_no_error(folder):
    predictions._keep("11.order", 5)
    assert "You kept no order" in words(lesson.compare_order("11.order", {"pool": 1, "stride": 2}))
    predictions._keep("11.order", ["pool", "stride"])
    assert "You kept no guess" in words(lesson.compare_number("11.order", 50))


def test_a_guess_is_compared_with_the_mean_of_an_interval(folder):
    interval = stats.Interval(0.608, 0.602, 0.614, 5)
    assert words(lesson.compare_number("01.v1_0", interval)) == "Measured: 60.8\u202f%. You kept no guess."


def test_a_guess_is_a_widget_where_widgets_live_and_a_question_elsewhere(folder):
    shown = lesson.predict_number("01.v1_0", "How <many>?", 10, 100)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in shown
    assert "How &lt;many&gt;?" in shown["text/html"]
    assert "How <many>? (A guess from 10 to 100 %" in shown["text/plain"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"5", b"null", b'{"01.v1_0": "many"}', b'{"01.v1_0": null}', b'{"01.v1_0": [1]}', b"\xff"],
    ids=repr,
)
def test_a_damaged_file_of_guesses_is_no_error_and_takes_new_ones(folder, content):
    path = folder / "data" / "guesses.json"
    path.parent.mkdir()
    path.write_bytes(content)
    assert "You kept no guess" in words(lesson.compare_number("01.v1_0", 60.8))
    assert press_keep(lesson.predict_number("01.v1_0", "How many?", 10, 100), 50) == "Kept: 50 %"
    assert json.loads(path.read_text()) == {"01.v1_0": 50}


# What a cell shows


def test_a_table_of_facts_escapes_and_reads_as_text():
    shown = lesson.facts_table({"size": 32, "<i>": "a & b"})
    assert words(shown) == "size: 32\n<i>: a & b"
    assert "<i>" not in markup(shown)
    assert "&lt;i&gt;" in markup(shown) and "a &amp; b" in markup(shown)


# The header


def runs_of(seconds, threads=None, **machine):
    machine = {"cores": 2, "processor": "AMD <EPYC>"} | machine
    record = {"machine": machine, "threads": {"inter_op": 1, "intra_op": threads or machine["cores"]}}
    slow_and_fast = [record | {"seconds": {"total": 3 * seconds}}, record | {"seconds": {"total": seconds}}]
    runs = types.SimpleNamespace(recorded={"plain": slow_and_fast, "better": slow_and_fast})
    return types.SimpleNamespace(load=lambda: runs)


def test_training_again_is_as_long_as_each_variants_fastest_run():
    shown = lesson.header("00", runs_of(600.0))
    assert "Training its 4 runs again takes about 40 minutes on 2 cores (AMD <EPYC>)." in words(shown)
    assert "AMD &lt;EPYC&gt;" in markup(shown)
    both = words(lesson.header("00", runs_of(1800.0), runs_of(60.0, cores=4, processor="M3")))
    assert "its 8 runs again takes about 2.1 hours on 2 cores (AMD <EPYC>) and 4 cores (M3)." in both
    one = words(lesson.header("00", runs_of(60.0, processor="M3"), runs_of(60.0, processor="M3 (2023)")))
    assert one.count("cores") == 1 and "on 2 cores (M3 (2023))." in one  # the one named more fully
    beside = words(lesson.header("00", runs_of(600.0, threads=1), runs_of(600.0, threads=4)))
    assert "its 8 runs again takes about 60 minutes" in beside  # one thread's run leaves a core to another
    assert "Training" not in words(lesson.header("00"))


def text(count, tag="", heading=""):
    source = f"{heading}\n\n{'word ' * count}"
    return new_markdown_cell(source, metadata={"tags": [tag] if tag else []})


def test_minutes_are_counted_per_section():
    cells = [
        text(20, "part-question", "# 99 · A page"),
        new_code_cell("a = 1  # " + "word " * 1000),
        text(400, "part-idea", "## The idea: *small* `things`"),
        text(200, heading="### A detail"),
        new_markdown_cell("```python\n" + "word " * 1000 + "\n```\n`" + "word " * 500 + "`"),
        text(200, "part-keras", "## In Keras"),
        text(200, heading="## An aside"),
        text(100, "part-exercises", "## Exercises"),
        text(800, "appendix", "## Appendix: more"),
    ]
    minutes = {"exercises": 40, "sections": {"part-keras": 3}}
    notebook = new_notebook(cells=cells, metadata={"shathenet": {"minutes": minutes}})
    assert page.section_minutes(notebook) == {
        "Introduction": 1,
        "The idea: small things": 3,
        "In Keras": 1 + 3,
        "An aside": 1,
        "Exercises": 1 + 40,
        "Appendix: more": 4,
    }


def test_a_header_does_not_change_when_its_pages_numbers_are_filled():
    empty, filled = (
        new_notebook(cells=[new_markdown_cell(f"a <!--=gain-->{text}<!--/--> " * 200)])
        for text in ("", "a b c d e f g")
    )
    assert page.section_minutes(empty) == page.section_minutes(filled)


def test_a_header_lists_its_sections_and_their_sum(monkeypatch):
    monkeypatch.setattr(page, "section_minutes", lambda notebook: {"The <idea>": 3, "Exercises": 41, "Appendix: x": 9})
    shown = lesson.header("00")
    assert words(shown).splitlines() == [
        "About 44 minutes in all. The page runs from its records in about a minute.",
        "The <idea> (3 min)",
        "Exercises (41 min)",
        "Appendix: x (9 min)",
    ]
    assert "<li>The &lt;idea&gt; (3 min)</li>" in markup(shown)


# Data and environment


@pytest.fixture
def displayed(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    return shown


def test_without_data_a_banner_names_the_stand_in_and_the_ways_to_the_data(monkeypatch, tmp_path, displayed):
    stand_in = tiny_dataset()
    monkeypatch.setenv("SHATHENET_DATA", str(tmp_path))
    monkeypatch.setattr(datasets, "toy_shapes", lambda: stand_in)
    assert lesson.data() is stand_in
    [banner] = displayed
    assert "run on drawn shapes, not on CIFAR-10" in words(banner)
    assert "SHATHENET_DATA" in words(banner)
    assert 'role="alert"' in markup(banner)


@pytest.mark.parametrize(("seconds", "count"), [("3", 500), (None, 4000)])
def test_live_images_are_few_and_evenly_drawn(monkeypatch, seconds, count):
    monkeypatch.delenv("SHATHENET_LIVE_SECONDS", raising=False)
    if seconds:
        monkeypatch.setenv("SHATHENET_LIVE_SECONDS", seconds)
    live = lesson.live_images(datasets.toy_shapes(4500, 1200, 100))
    assert np.bincount(live.train_labels).tolist() == [count // 10] * 10
    assert np.bincount(live.validation_labels).tolist() == [100] * 10
    assert len(live.train_images) == live.split["train"] == count
    assert len(live.validation_images) == live.split["validation"] == 1000
    assert len(live.test_images) == 100


def test_live_images_are_drawn_from_a_pages_data(monkeypatch, displayed):
    stand_in = tiny_dataset(600, 50, 60)
    monkeypatch.setattr(datasets, "cifar10", lambda **_: stand_in)
    monkeypatch.setenv("SHATHENET_LIVE_SECONDS", "3")
    live = lesson.live_images()
    assert len(live.train_images) == 500
    assert len(live.validation_images) == 50  # all there are
    assert not displayed


@pytest.fixture
def images_at_hand(monkeypatch, tmp_path):
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    monkeypatch.delenv("SHATHENET_FIGURES", raising=False)
    monkeypatch.delenv("SHATHENET_ANEW", raising=False)
    return types.SimpleNamespace(name="cifar10", fingerprint="0123456789abcdef")


def test_what_takes_images_to_compute_is_recorded_by_a_rerun_and_shown_alike_without(
    monkeypatch, images_at_hand, displayed
):
    with pytest.raises(records.RecordError, match="99_dead"):
        lesson.load_or_compute("99_dead", None, datasets.toy_shapes())
    monkeypatch.setenv("SHATHENET_FIGURES", "somewhere")
    assert lesson.load_or_compute("99_dead", lambda: {"v1.0": {"first": 0.123456}}, images_at_hand) == {
        "v1.0": {"first": 0.1235}
    }
    monkeypatch.delenv("SHATHENET_FIGURES")
    assert lesson.load_or_compute("99_dead", None, datasets.toy_shapes()) == {"v1.0": {"first": 0.1235}}
    assert (
        lesson.load_or_compute("99_dead", lambda: {"v1.0": {"first": 0.1275}}, images_at_hand)["v1.0"]["first"]
        == 0.1235
    )
    assert not displayed
    assert (
        json.loads((records.RECORDS / "facts" / "99_dead.json").read_text())["data_fingerprint"] == "0123456789abcdef"
    )


def test_what_takes_minutes_is_computed_where_there_is_no_record_and_by_a_rerun_that_has_a_reason(
    monkeypatch, images_at_hand
):
    calls = []

    def compute():
        calls.append(1)
        return {"v1.0": {"first": 0.1 * len(calls)}}

    def load(images=images_at_hand):
        return lesson.load_or_compute("99_slow", compute, images, again=False)["v1.0"]["first"]

    assert (load(), load()) == (0.1, 0.2)
    monkeypatch.setenv("SHATHENET_FIGURES", "somewhere")
    assert (load(), load(), len(calls)) == (0.3, 0.3, 3)
    monkeypatch.setenv("SHATHENET_ANEW", "yes")
    assert load() == 0.4
    monkeypatch.delenv("SHATHENET_ANEW")
    assert load(types.SimpleNamespace(name="cifar10", fingerprint="other images")) == 0.5
    monkeypatch.delenv("SHATHENET_FIGURES")
    assert (load(), load(), len(calls)) == (0.5, 0.5, 5)


PAGE = """
import numpy as np

RATES, array = (0.1, 0.3), np.zeros(3)

def inner(rate):
    return rate + 1

def outer():
    return [inner(rate) for rate in RATES] + list(array)
"""


def page_function(folder, text, name):
    path = folder / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.outer


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("rate + 1", "rate + 2", False),  # a function that it calls
        ("0.3", "0.4", False),  # a value
        ("[inner", "[2 * inner", False),  # itself
        ("zeros(3)", "ones(3)", True),  # an array is not looked into
        ("import numpy as np", "import numpy as np\n\nunused = 3", True),
    ],
)
def test_the_digest_of_a_pages_code_changes_with_what_the_function_uses(tmp_path, old, new, same):
    first = code_digest(page_function(tmp_path, PAGE, "page_before"))
    assert old in PAGE and len(first) == 16
    assert (code_digest(page_function(tmp_path, PAGE.replace(old, new), "page_after")) == first) is same


@pytest.mark.parametrize("found", [{"v1.0": {"first": 0.9}}, {"v1.0": {"last": 0.1235}}, {"mine": {"first": 0.1235}}])
def test_what_a_reader_computes_otherwise_is_shown_under_a_banner(monkeypatch, images_at_hand, displayed, found):
    monkeypatch.setenv("SHATHENET_FIGURES", "somewhere")
    lesson.load_or_compute("99_dead", lambda: {"v1.0": {"first": 0.1235}}, images_at_hand)
    monkeypatch.delenv("SHATHENET_FIGURES")
    assert lesson.load_or_compute("99_dead", lambda: found, images_at_hand) == found
    assert len(displayed) == 1 and "differs" in displayed[0].words


@pytest.mark.needs_cifar10
def test_with_data_there_is_no_banner(displayed):
    assert lesson.data(validation=100).name == "cifar10"
    assert displayed == []


def test_a_banner_escapes_its_text(displayed):
    lesson.banner("a <b> path")
    assert "a &lt;b&gt; path" in markup(displayed[0])


def test_the_environment_is_what_a_bug_report_needs():
    shown = dict(line.split(": ", 1) for line in words(lesson.environment()).splitlines())
    assert shown.keys() >= {"Python", "tensorflow", "keras", "numpy", "system", "processor", "CIFAR-10"}
    assert shown["TensorFlow's threads"].startswith("1 inter_op")


def test_results_are_a_table_and_differences_by_one_call(displayed):
    from shathenet_utils.book import load_experiment

    drawing = lesson.results(load_experiment("v1_0").load(), baseline="adam_1e-4", name="v1_0_differences")
    assert [name.split(",")[0] for name in displayed[0].index] == ["learning rate 1e-4"] + 2 * ["learning rate 1e-3"]
    assert drawing.name == "v1_0_differences"
    assert drawing.alt


def test_packages_of_other_versions_than_the_records_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    assert lesson.differing_versions() == {}
    versions = {"numpy": "1.0.0", "keras": importlib.metadata.version("keras"), "python": "2.7"}
    records.save(a_record(versions=versions), tmp_path / "made_up" / "plain" / "seed0.json")
    assert lesson.differing_versions() == {"numpy": (importlib.metadata.version("numpy"), "1.0.0")}
