"""A page's furniture: exercises that tell what they saw, guesses that are kept, sentences that are computed."""

import json
import types

import numpy as np
import pytest
from helpers import a_record, declared_experiment, made_up_runs, tiny_dataset

from shathenet_utils import datasets, lesson, records


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Where this reader's guesses lie."""
    monkeypatch.setenv("SHATHENET_OUTPUT", str(tmp_path))
    return tmp_path


def words(shown):
    return shown._repr_mimebundle_()["text/plain"]


def markup(shown):
    return shown._repr_mimebundle_()["text/html"]


# Exercises


def width(size, stride):
    return -(-size // stride)


def checked(answer, capsys, expected=width, inputs=((192, 6), (33, 2)), **arguments):
    lesson.check("01.2", answer, expected, inputs, **arguments)
    return capsys.readouterr().out


def test_an_open_exercise_shows_the_input_and_what_is_expected(capsys):
    def output_width(size, stride):
        return ...

    assert checked(output_width, capsys) == "Exercise 01.2 is still open: output_width(192, 6) should give 32.\n"
    assert "is still open" in checked(lambda size, stride: None, capsys)


def test_a_wrong_answer_is_shown_with_input_answer_and_expected_value(capsys):
    def output_width(size, stride):
        return size // stride

    assert checked(output_width, capsys) == "Exercise 01.2, not yet: output_width(33, 2) gave 16, expected 17.\n"


def test_an_answer_that_raises_is_told_with_the_input(capsys):
    def output_width(size, stride):
        return size / 0

    printed = checked(output_width, capsys)
    assert printed == "Exercise 01.2, not yet: output_width(192, 6) stopped with ZeroDivisionError: division by zero.\n"


def test_a_right_answer_is_shown_with_an_example(capsys):
    printed = checked(width, capsys)
    assert printed == "Exercise 01.2 is right on 2 inputs, for example width(192, 6) = 32.\n"


@pytest.mark.parametrize(
    ("given", "right"),
    [
        (32.0, True), (np.float32(32), True), (np.int64(32), True), (32 + 1e-7, True), (32.1, False),
        (float("nan"), False), ("32 pixels", False), ([32, 32], False), ({"size": 32}, False), (np.array([32]), False),
    ],
    ids=str,
)  # fmt: skip
def test_an_answer_counts_by_its_value(capsys, given, right):
    printed = checked(lambda size, stride: given, capsys, inputs=[(192, 6)])
    assert ("is right" in printed) == right
    assert ("expected 32" in printed) != right


def test_arrays_are_shown_by_shape_and_first_entries(capsys):
    large = np.arange(12.0).reshape(3, 4)
    printed = checked(lambda array: array + 1, capsys, lambda array: array, [(large,)])
    assert (
        "<lambda>(an array of shape (3, 4) starting 0, 1, 2) gave an array of shape (3, 4) starting 1, 2, 3" in printed
    )


def test_the_tolerance_is_the_exercises(capsys):
    def roughly(size, stride):
        return 1.005 * width(size, stride)

    assert "is right" in checked(roughly, capsys, tolerance=0.01)
    assert "not yet" in checked(roughly, capsys)


# Guesses


def press_keep(shown, value):
    _, row = shown.widget.children
    field, button, told = row.children
    field.value = value
    button.click()
    return told.value


def test_a_guess_is_kept_and_compared(folder):
    assert words(lesson.compare("01.v1_0", 60.8)) == "Measured: 60.8 %. You kept no guess."
    shown = lesson.guess("01.v1_0", "How many per cent?", 10, 100)
    assert "How many per cent?" in words(shown)
    assert press_keep(shown, 50) == "Kept: 50 %"
    assert words(lesson.compare("01.v1_0", 60.8)) == "Measured: 60.8 %. You guessed 50 %, 10.8 away."
    assert words(lesson.compare("01.v1_0", 3, "filters")) == "Measured: 3 filters. You guessed 50 filters, 47 away."
    assert press_keep(lesson.guess("00.nearest", "And here?", 0, 100), 30) == "Kept: 30 %"
    assert json.loads((folder / "data" / "guesses.json").read_text()) == {"01.v1_0": 50, "00.nearest": 30}
    _, row = lesson.guess("01.v1_0", "Again?", 10, 100).widget.children
    assert (row.children[0].value, row.children[2].value) == (50, "Kept: 50 %")


def parts_of(shown):
    """The widgets of an order: list, up, down, keep, what is told."""
    _, row, told = shown.widget.children
    listed, buttons = row.children
    return listed, *buttons.children, told


@pytest.mark.parametrize(("kernel_size", "channels", "filters", "side"), [(3, 3, 16, 8), (5, 7, 4, 6), (7, 2, 9, 5)])
def test_costs_of_convolutions_are_kerass(kernel_size, channels, filters, side):
    from keras import Input, Model, layers

    from shathenet_utils import models

    def built(*kernels):
        x = pictures = Input((side, side, channels))
        for size in kernels:
            x = layers.Conv2D(filters, size, padding="same")(x)
        return Model(pictures, x)

    ways = ([kernel_size], [(1, kernel_size), (kernel_size, 1)], [3] * ((kernel_size - 1) // 2))
    right = [(model.count_params(), models.macs(model)) for model in (built(*kernels) for kernels in ways)]
    assert list(lesson.convolution_costs(kernel_size, channels, filters, side).values()) == right


def test_a_calculator_follows_its_sliders_and_is_a_table_where_they_are_dead():
    shown = lesson.calculator(kernel_size=5, channels=64, filters=64, side=24)
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
    listed, up, down, keep, told = parts_of(lesson.order("11.order", "Which loses least?", measured))
    assert (listed.options, listed.index) == (("pool", "stride", "blur"), 0)
    up.click()  # at the top already
    down.click()
    assert (listed.options, listed.value) == (("stride", "pool", "blur"), "pool")
    listed.value = "blur"
    up.click()
    assert (listed.options, listed.value) == (("stride", "blur", "pool"), "blur")
    keep.click()
    assert told.value == "Kept: stride, blur, pool."
    assert words(lesson.compare_order("11.order", measured)) == (
        "Measured, best first: blur, pool, stride. Of 3 pairs, your order has 1 the right way round."
    )
    assert parts_of(lesson.order("11.order", "Again?", measured))[0].options == ("stride", "blur", "pool")
    assert "You kept no order" in words(lesson.compare_order("11.order", {"pool": 1, "stride": 2}))  # other names


def test_an_order_is_a_plain_question_where_widgets_are_dead(folder):
    shown = lesson.order("11.order", "Which <one>?", ["pool", "stride"])._repr_mimebundle_()
    assert "Which &lt;one&gt;?" in shown["text/html"]
    assert "best first, before you read on: pool, stride.)" in shown["text/plain"]


def test_an_order_and_a_guess_under_one_key_are_no_error(folder):
    lesson.keep_guess("11.order", 5)
    assert "You kept no order" in words(lesson.compare_order("11.order", {"pool": 1, "stride": 2}))
    lesson.keep_guess("11.order", ["pool", "stride"])
    assert "You kept no guess" in words(lesson.compare("11.order", 50))


def test_a_hint_stands_where_an_answer_is_not_right_and_not_where_it_is(capsys):
    assert checked(lambda *_: ..., capsys, hint="Round up.").endswith(" Hint: Round up.\n")
    assert checked(lambda *_: 1, capsys, hint="Round up.").endswith(" Hint: Round up.\n")
    assert "Hint" not in checked(width, capsys, hint="Round up.")


def test_results_are_a_table_and_differences_by_one_call(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    drawing = lesson.results("v1_0", baseline="adam_1e-4")
    assert list(shown[0].index) == ["adam_1e-4", "adam_1e-3", "adam_1e-3_bilinear"]
    assert drawing.alt


def test_a_guess_is_a_widget_where_widgets_live_and_a_question_elsewhere(folder):
    shown = lesson.guess("01.v1_0", "How <many>?", 10, 100)._repr_mimebundle_()
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
    assert "You kept no guess" in words(lesson.compare("01.v1_0", 60.8))
    assert press_keep(lesson.guess("01.v1_0", "How many?", 10, 100), 50) == "Kept: 50 %"
    assert json.loads(path.read_text()) == {"01.v1_0": 50}


# Sentences


def test_a_sentence_holds_its_numbers_and_escapes_its_text():
    shown = lesson.say("{name} gains\n  {gap:.1%} with {count:,} parameters.", name="a<b>&", gap=0.059, count=17882)
    assert words(shown) == "a<b>& gains 5.9\u202f% with 17,882 parameters."
    assert markup(shown) == "<p>a&lt;b&gt;&amp; gains 5.9\u202f% with 17,882 parameters.</p>"


def test_a_table_of_facts_escapes_and_reads_as_text():
    shown = lesson.facts_table({"size": 32, "<i>": "a & b"})
    assert words(shown) == "size: 32\n<i>: a & b"
    assert "<i>" not in markup(shown)
    assert "&lt;i&gt;" in markup(shown) and "a &amp; b" in markup(shown)


def test_a_header_counts_minutes_from_words_and_from_records():
    assert words(lesson.header("00")).endswith("minutes to read; a minute or so to run from the records.")
    runs = made_up_runs()
    for found in runs.recorded.values():
        for record in found:
            record |= {"machine": {"cores": 2, "processor": "AMD <EPYC>"}, "seconds": {"total": 600.0}}
    shown = lesson.header("00", types.SimpleNamespace(load=lambda: runs))
    assert "60 minutes to train its 6 runs again, as fast as they went on 2 cores of an AMD <EPYC>." in words(shown)
    assert "AMD &lt;EPYC&gt;" in markup(shown)
    question, other = types.SimpleNamespace(load=lambda: runs), made_up_runs()
    for record in (record for found in other.recorded.values() for record in found):
        record |= {"machine": {"cores": 4, "processor": "M3"}, "seconds": {"total": 60.0}}
    both = words(lesson.header("00", question, types.SimpleNamespace(load=lambda: other)))
    assert "66 minutes to train its 12 runs again, as fast as they went on 2 cores of an AMD <EPYC> and 4 c" in both


# Data and environment


@pytest.fixture
def displayed(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    return shown


def test_without_data_a_banner_names_the_stand_in_and_the_ways_to_the_data(monkeypatch, tmp_path, displayed):
    stand_in = tiny_dataset()
    monkeypatch.setenv("SHATHENET_DATA", str(tmp_path))
    monkeypatch.setattr(datasets, "toy_shapes", lambda: stand_in, raising=False)
    assert lesson.data() is stand_in
    [banner] = displayed
    assert "run on drawn shapes, not on CIFAR-10" in words(banner)
    assert "SHATHENET_DATA" in words(banner)
    assert 'role="alert"' in markup(banner)


@pytest.fixture
def pictures_at_hand(monkeypatch, tmp_path):
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    monkeypatch.delenv("SHATHENET_FIGURES", raising=False)
    return types.SimpleNamespace(name="cifar10", fingerprint="0123456789abcdef")


def test_what_takes_pictures_to_count_is_recorded_by_a_rerun_and_shown_alike_without(
    monkeypatch, pictures_at_hand, displayed
):
    with pytest.raises(records.RecordError, match="99_dead"):
        lesson.counted("99_dead", None, datasets.toy_shapes())
    monkeypatch.setenv("SHATHENET_FIGURES", "somewhere")
    assert lesson.counted("99_dead", lambda: {"v1.0": {"first": 0.123456}}, pictures_at_hand) == {
        "v1.0": {"first": 0.1235}
    }
    monkeypatch.delenv("SHATHENET_FIGURES")
    assert lesson.counted("99_dead", None, datasets.toy_shapes()) == {"v1.0": {"first": 0.1235}}
    assert lesson.counted("99_dead", lambda: {"v1.0": {"first": 0.1275}}, pictures_at_hand)["v1.0"]["first"] == 0.1235
    assert not displayed
    assert (
        json.loads((records.RECORDS / "facts" / "99_dead.json").read_text())["data_fingerprint"] == "0123456789abcdef"
    )


@pytest.mark.parametrize("found", [{"v1.0": {"first": 0.9}}, {"v1.0": {"last": 0.1235}}, {"mine": {"first": 0.1235}}])
def test_what_a_reader_counts_otherwise_is_shown_under_a_banner(monkeypatch, pictures_at_hand, displayed, found):
    monkeypatch.setenv("SHATHENET_FIGURES", "somewhere")
    lesson.counted("99_dead", lambda: {"v1.0": {"first": 0.1235}}, pictures_at_hand)
    monkeypatch.delenv("SHATHENET_FIGURES")
    assert lesson.counted("99_dead", lambda: found, pictures_at_hand) == found
    assert len(displayed) == 1 and "differs" in displayed[0].words


@pytest.mark.needs_cifar10
def test_with_data_there_is_no_banner(displayed):
    assert lesson.data(validation=100).name == "cifar10"
    assert displayed == []


def test_a_banner_escapes_its_text(displayed):
    lesson.banner("a <b> path")
    assert "a &lt;b&gt; path" in markup(displayed[0])


def test_the_environment_is_what_a_bug_report_needs():
    told = dict(line.split(": ", 1) for line in words(lesson.environment()).splitlines())
    assert told.keys() >= {"Python", "tensorflow", "keras", "numpy", "system", "processor", "CIFAR-10"}
    assert told["TensorFlow's threads"].startswith("1 inter_op")


def test_packages_of_other_versions_than_the_records_are_named(monkeypatch, tmp_path):
    experiment = declared_experiment(monkeypatch, tmp_path)
    assert lesson.differing_versions() == {}
    versions = {"numpy": "1.0.0", "keras": lesson.importlib.metadata.version("keras"), "python": "2.7"}
    records.save(a_record(versions=versions), experiment.path(experiment.variants[0], 0))
    assert lesson.differing_versions() == {"numpy": (lesson.importlib.metadata.version("numpy"), "1.0.0")}
