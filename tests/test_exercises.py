"""Exercises: a reader's function is compared with the reference, case by case, and never breaks the page."""

import importlib
import re
import sys
import types

import numpy as np
import pytest
from helpers import WITHOUT_TENSORFLOW, python

from shathenet_utils import ROOT, exercises
from shathenet_utils.exercises import Exercise, brief, equal, verdict


def width(size, stride):
    return -(-size // stride)


WIDTH = Exercise(width, [(192, 6), (33, 2)], "Round up.")
CHOICE = Exercise(lambda: "B", feedback={"A": "That is the training curve.", "C": "Look at the unit of the axis."})
TRAIN = Exercise(
    None,
    [(0.5,), (0.1,)],
    "Call fit.",
    accepts=lambda value, rate: "" if 0 <= value <= 1 else "an accuracy lies between 0 and 1.",
    expects="the validation accuracy, a fraction",
)


def verdict_on(function, exercise=WIDTH):
    return verdict("01.2", exercise, function)


# Compared with a reference


@pytest.mark.parametrize("nothing", [None, ...])
def test_an_open_exercise_shows_the_input_and_what_is_expected(nothing):
    def output_width(size, stride):
        return nothing

    assert verdict_on(output_width) == (
        "Exercise 01.2 is still open: output_width(192, 6) should give 32. Hint: Round up."
    )


def test_an_exercise_that_is_not_implemented_is_open():
    def output_width(size, stride):
        raise NotImplementedError

    assert "is still open" in verdict_on(output_width)


def test_a_wrong_value_is_shown_with_input_and_expected_value():
    def output_width(size, stride):
        return size // stride

    assert verdict_on(output_width) == (
        "Exercise 01.2, not yet: output_width(33, 2) gave 16, expected 17. Hint: Round up."
    )


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (SystemExit("bye"), "SystemExit: bye"),
        (RecursionError("too deep"), "RecursionError: too deep"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_function_that_raises_is_shown_with_the_input(error, text):
    def output_width(size, stride):
        raise error

    assert verdict_on(output_width) == (
        f"Exercise 01.2, not yet: output_width(192, 6) stopped with {text}. Hint: Round up."
    )


def test_ctrl_c_is_not_swallowed():
    def output_width(size, stride):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verdict_on(output_width)


def test_a_right_function_is_shown_with_an_example_and_without_the_hint():
    assert verdict_on(width) == "Exercise 01.2 is right on 2 inputs, for example width(33, 2) = 17."


def test_a_result_in_place_of_the_function_is_named():
    assert verdict_on(32) == "Exercise 01.2 needs the function itself: leave out the ()."


def test_a_reader_who_changes_the_input_changes_nobody_elses():
    array = np.arange(3.0)
    doubled = Exercise(lambda values: 2 * values, [(array,), (array,)])

    def in_place(values):
        values *= 2
        return values

    assert "is right on 2 inputs" in verdict_on(in_place, doubled)
    np.testing.assert_array_equal(array, [0, 1, 2])


class Unspeakable:
    """A value that raises whatever is asked of it."""

    def __array__(self, *_):
        raise RuntimeError("no")

    def __repr__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize("value", [Unspeakable(), object(), {}, [], "32 pixels", [[1], [1, 2]], 1j, b"", lambda: 32])
@pytest.mark.parametrize("exercise", [WIDTH, CHOICE, TRAIN], ids=["width", "choice", "train"])
def test_no_value_whatever_breaks_the_page(value, exercise):
    assert "not yet" in verdict_on(lambda *_: value, exercise)


@pytest.mark.parametrize(
    ("value", "right", "alike"),
    [
        (32.0, 32, True), (np.float32(32), 32, True), (np.int64(32), 32, True), (32 + 1e-7, 32, True),
        (32.1, 32, False), (np.nan, 32, False), (np.nan, np.nan, True), ([32, 32], 32, False),
        (np.array([32]), 32, False), (np.array(32), 32, True), ([1, 2], (1, 2), True), ([1, 2], [2, 1], False),
        (True, True, True), ("a", "a", True), ("a", "b", False), (1, "1", False), ("1", 1, False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1}, {"b": 1}, False), ([1], {"a": 1}, False), (np.ones((2, 1)), np.ones(2), False),
    ],
    ids=str,
)  # fmt: skip
def test_a_value_counts_by_what_it_is_worth(value, right, alike):
    assert equal(value, right) == alike


def test_the_tolerance_is_the_exercises():
    def roughly(size, stride):
        return 1.005 * width(size, stride)

    assert "is right" in verdict_on(roughly, Exercise(width, [(192, 6)], tolerance=0.01))
    assert "not yet" in verdict_on(roughly)


def test_of_large_arrays_the_first_place_that_differs_is_shown():
    large = np.arange(12.0).reshape(3, 4)
    wrong = large.copy()
    wrong[1, 2] = 7
    shown = verdict_on(lambda array: wrong, Exercise(lambda array: array, [(large,)]))
    assert "<lambda>(an array of shape (3, 4): 0, 1, 2, 3, …) gave 7 at [1, 2], expected 6 there." in shown


def test_of_arrays_of_different_shapes_the_shapes_are_shown():
    shown = verdict_on(lambda: np.zeros((7, 1)), Exercise(lambda: np.zeros(7)))
    assert "gave an array of shape (7, 1): 0, 0, 0, 0, …, expected an array of shape (7,): 0, 0, 0, 0, …." in shown
    shown = verdict_on(lambda: [[1.0], [2.0]], Exercise(lambda: np.array([1.0, 2.0])))
    assert "gave [[1], [2]], expected [1, 2]." in shown


def test_small_arrays_are_shown_whole():
    def gradient(logits, label): ...

    shown = verdict_on(gradient, Exercise(lambda logits, label: logits - 0.5, [(np.array([0.0, 1.0]), 0)]))
    assert "gradient([0, 1], 0) should give [-0.5, 0.5]." in shown


def test_numbers_that_look_alike_get_the_digits_that_differ():
    assert "gave 1.00002, expected 1.00004." in verdict_on(lambda: 1.00002, Exercise(lambda: 1.00004, tolerance=1e-7))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567, "1,234,567"),
        (0.123456, "0.1235"),
        ("x", "'x'"),
        (True, "True"),
        (None, "None"),
        ((1, 2), "(1, 2)"),
        (np.array([[0.123456, 2.0]]), "[[0.1235, 2]]"),
        ([], "[]"),
        ([3], "[3]"),
        ((41_088, 5.0, 1e300, float("nan")), "(41088, 5, 1e+300, nan)"),
        ((41_088.0, 4e9, 4_000_000_000), "(41088, 4e+09, 4000000000)"),
        ([(7, 6), (5, 4)], "[(7, 6), (5, 4)]"),
        (([0.1, -0.25], "C"), "([0.1, -0.25], 'C')"),
        ([(1,), [True], None], "[(1,), [True], None]"),
        (([0.1] * 7, "C"), "a tuple"),
        ([[]] * 7, "an array of"),
        (range(7), "an array of shape (7,): 0, 1, 2, 3, …"),
    ],
    ids=str,
)
def test_values_are_shown_in_brief(value, text):
    assert brief(value).startswith(text)


# Multiple choice


def test_an_open_choice_names_the_letters_and_not_the_right_one():
    assert verdict_on(lambda: None, CHOICE) == (
        "Exercise 01.2 is still open: <lambda>() should give one of the letters A, B, C."
    )


def test_a_wrong_letter_gets_its_own_words_and_not_the_right_letter():
    assert verdict_on(lambda: "A", CHOICE) == (
        "Exercise 01.2, not yet: <lambda>() gave 'A'. That is the training curve."
    )
    assert verdict_on(lambda: " c ", CHOICE).endswith("gave 'C'. Look at the unit of the axis.")
    assert not re.search(r"\bB\b", verdict_on(lambda: "A", CHOICE) + verdict_on(lambda: "c", CHOICE))


@pytest.mark.parametrize("letter", ["B", "b", " B "])
def test_the_right_letter_is_right(letter):
    assert "is right on 1 input" in verdict_on(lambda: letter, CHOICE)


@pytest.mark.parametrize("value", ["D", "", 2, "AB"])
def test_what_is_no_letter_of_the_choice_is_told_the_letters(value):
    assert "should give one of the letters A, B, C." in verdict_on(lambda: value, CHOICE)


# Trainings


def test_a_training_is_judged_by_what_the_exercise_accepts():
    assert verdict_on(lambda rate: 0.4, TRAIN) == (
        "Exercise 01.2 is right on 2 inputs: <lambda>(0.5) = 0.4; <lambda>(0.1) = 0.4."
    )
    assert verdict_on(lambda rate: 40.0 if rate < 0.5 else 0.4, TRAIN) == (
        "Exercise 01.2, not yet: <lambda>(0.1) gave 40: an accuracy lies between 0 and 1. Hint: Call fit."
    )
    assert verdict_on(lambda rate: None, TRAIN) == (
        "Exercise 01.2 is still open: <lambda>(0.5) should give the validation accuracy, a fraction. Hint: Call fit."
    )
    assert "'forty': that is not the validation accuracy, a fraction." in verdict_on(lambda rate: "forty", TRAIN)


def test_what_a_training_gave_is_shown_where_it_is_a_few_numbers():
    of_any_kind = Exercise(None, [(1,), (2,)], accepts=lambda value, seed: "", expects="anything")
    assert verdict_on(lambda seed: [seed, 0.5], of_any_kind) == (
        "Exercise 01.2 is right on 2 inputs: <lambda>(1) = [1, 0.5]; <lambda>(2) = [2, 0.5]."
    )
    for other in (object(), np.zeros(7), "a word"):
        assert verdict_on(lambda seed, other=other: other, of_any_kind) == "Exercise 01.2 is right on 2 inputs."


# The book's own


def test_an_exercise_is_found_in_its_pages_file(monkeypatch):
    page = types.ModuleType("shathenet_utils.exercises.p98")
    page.EXERCISES = {"98.1": WIDTH}
    monkeypatch.setitem(sys.modules, page.__name__, page)
    assert exercises.find("98.1") is WIDTH
    for unknown in ("98.2", "97.1", "", "98"):
        with pytest.raises(KeyError, match="There is no exercise"):
            exercises.find(unknown)


PAGES = sorted(path.stem for path in (ROOT / "shathenet_utils" / "exercises").glob("p*.py"))


@pytest.mark.parametrize("page", PAGES)
def test_every_exercise_of_the_book_has_a_hint_and_its_reference_is_right(page):
    found = importlib.import_module(f"shathenet_utils.exercises.{page}").EXERCISES
    assert len(found) >= 4
    for name, exercise in found.items():
        assert re.fullmatch(rf"{page[1:]}\.\d", name)
        assert exercise.cases
        if exercise.accepts:
            assert exercise.expects and exercise.reference is None
        else:
            assert "is right" in verdict(name, exercise, exercise.reference)
        if exercise.feedback:
            assert exercise.reference() not in exercise.feedback and len(exercise.feedback) >= 2
            letter = exercise.reference()
            assert not any(re.search(rf"\b{letter}\b", text) for text in [*exercise.feedback.values(), exercise.hint])
        assert exercise.hint or exercise.feedback


def test_exercises_open_without_tensorflow():
    imports = "".join(f"import shathenet_utils.exercises.{page}\n" for page in PAGES)
    assert python(WITHOUT_TENSORFLOW + imports + "import shathenet_utils.exercises").stderr == ""


@pytest.mark.parametrize("name", ["00.5", "01.4"])
def test_no_constant_passes_for_a_training(monkeypatch, name):
    monkeypatch.delenv("SHATHENET_LIVE_SECONDS", raising=False)
    exercise = exercises.find(name)
    constants = [0.3, [0.6, 0.3], [0.52, 0.35], [2.3, 2.29, 2.2], [2.3, 2.3, 2.3], [0.0, 0.0, 0.0]]
    for constant in constants:
        assert "not yet" in verdict(name, exercise, lambda *_, constant=constant: constant)


def test_what_those_trainings_should_give_passes(monkeypatch):
    monkeypatch.delenv("SHATHENET_LIVE_SECONDS", raising=False)
    accuracies = {50: [0.606, 0.302], 200: [0.519, 0.355]}
    assert "is right" in verdict("00.5", exercises.find("00.5"), accuracies.get)
    losses = {"truncated_normal": [2.304, 2.303, 2.302], "he_normal": [2.2, 2.05, 1.95]}
    assert "is right" in verdict("01.4", exercises.find("01.4"), losses.get)
