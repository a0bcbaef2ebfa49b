"""The exercises' references, a file per page (`p01.py`), and how a reader's function is compared with them."""

import copy
import dataclasses
import importlib
import itertools
from collections.abc import Callable, Sequence

import numpy as np

SHOWN_WHOLE = 6  # numbers of an array that a message shows whole


@dataclasses.dataclass(frozen=True)
class Exercise:
    """What a reader's function should return.

    reference: the right function; None where `accepts` decides. cases: tuples of arguments that both are called with.
    hint: a sentence for a reader who is not there yet. tolerance: relative and absolute, of numbers. feedback: makes it
    multiple choice: reference returns the right letter, feedback holds what to consider for each wrong one. accepts:
    for what has no single right value, such as a training; called with the reader's value and the case, it returns what
    is wrong in a sentence, or "" where it is right. expects: what such a value is, in words ("the validation accuracy,
    a fraction").
    """

    reference: Callable | None
    cases: Sequence[tuple] = ((),)
    hint: str = ""
    tolerance: float = 1e-5
    feedback: dict[str, str] = dataclasses.field(default_factory=dict)
    accepts: Callable | None = None
    expects: str = ""


def find(name: str) -> Exercise:
    """The exercise of that name, "01.3", from its page's file. Raises KeyError where there is none."""
    page = f"{__name__}.p{name.partition('.')[0]}"
    try:
        return importlib.import_module(page).EXERCISES[name]
    except ModuleNotFoundError as error:
        if error.name != page:
            raise
    except KeyError:
        pass
    raise KeyError(f"There is no exercise {name}.")


def verdict(name: str, exercise: Exercise, function: Callable) -> str:
    """What a reader's function is worth, in a sentence or two: right, not yet (on which input), or still open.

    Never raises for what the function does, and never shows the reference's code.
    """
    if not callable(function):
        return f"Exercise {name} needs the function itself: leave out the ()."
    judge = _choice if exercise.feedback else _accepted if exercise.accepts else _compared
    given = []
    hint = f" Hint: {exercise.hint}" if exercise.hint else ""
    for case in exercise.cases:
        call = f"{getattr(function, '__name__', 'your function')}({', '.join(brief(argument) for argument in case)})"
        try:
            value = function(*_copied(case))
        except NotImplementedError:
            value = None
        except (Exception, SystemExit) as error:  # the reader's own code may raise anything
            return f"Exercise {name}, not yet: {call} stopped with {type(error).__name__}: {error}.{hint}"
        wrong, expected = judge(exercise, case, value)
        if value is None or value is Ellipsis:
            return f"Exercise {name} is still open: {call} should give {expected}.{hint}"
        if wrong:
            return f"Exercise {name}, not yet: {call} gave {wrong}{hint}"
        given.append((call, value))
    cases = "1 input" if len(exercise.cases) == 1 else f"{len(exercise.cases)} inputs"
    shown = [f"{call} = {brief(value)}" for call, value in given if not exercise.accepts or _is_small(value)]
    if exercise.accepts:  # no single value is right: a reader compares those of all inputs
        return f"Exercise {name} is right on {cases}{': ' * bool(shown)}{'; '.join(shown)}."
    return f"Exercise {name} is right on {cases}, for example {shown[-1]}."


def _compared(exercise: Exercise, case: tuple, value) -> tuple[str, str]:
    """What is wrong with a value, or "", and what is expected."""
    right = exercise.reference(*_copied(case))
    if equal(value, right, exercise.tolerance):
        return "", brief(right)
    return f"{_beside(value, right, exercise.tolerance)}.", brief(right)


def _choice(exercise: Exercise, case: tuple, value) -> tuple[str, str]:
    right = exercise.reference(*case)
    letters = sorted({right, *exercise.feedback})
    expected = f"one of the letters {', '.join(letters)}"
    letter = value.strip().upper() if isinstance(value, str) else None
    if letter not in letters:
        return f"{brief(value)}, and should give {expected}.", expected
    return "" if letter == right else f"{brief(letter)}. {exercise.feedback[letter]}", expected


def _accepted(exercise: Exercise, case: tuple, value) -> tuple[str, str]:
    try:
        wrong = "" if value is None or value is Ellipsis else exercise.accepts(value, *_copied(case))
    except Exception:  # a value of a kind that the check can't even look at
        wrong = f"that is not {exercise.expects}."
    return f"{brief(value)}: {wrong}" if wrong else "", exercise.expects


def equal(value, right, tolerance: float = 1e-5) -> bool:
    """Whether two values agree: numbers and arrays within the tolerance and in shape, all else exactly."""
    if isinstance(right, dict):
        same_keys = isinstance(value, dict) and value.keys() == right.keys()
        return same_keys and all(equal(value[key], right[key], tolerance) for key in right)
    if isinstance(right, str) or isinstance(value, str):  # NumPy would read "32" as a number
        return isinstance(value, str) and value == right
    try:
        value, right = np.asarray(value, np.float64), np.asarray(right, np.float64)
    except Exception:  # not numbers; whatever it is may raise what it likes
        return False
    close = value.shape == right.shape and np.allclose(value, right, rtol=tolerance, atol=tolerance, equal_nan=True)
    return bool(close)


def brief(value) -> str:
    """A value in a few words: numbers with separators, a few of them whole, other arrays by shape and first entries."""
    if isinstance(value, bool | str) or value is None:
        return repr(value)
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    if isinstance(value, list | tuple) and not value:
        return "[]"
    try:
        if isinstance(value, list | tuple) and _are_few(value):
            return _written(value)
        array = np.asarray(value)
        if _is_small(array) and array.ndim:
            return _written(array)
        if array.dtype.kind in "iuf" and array.ndim:
            first = ", ".join(f"{number:.4g}" for number in array.flat[:4])
            return f"an array of shape {array.shape}: {first}{', …' * (array.size > 4)}"
        return f"{array:.4g}" if array.dtype.kind in "iuf" else str(value)[:100]
    except Exception:  # a reader's value may not even have words
        return f"a {type(value).__name__}"


def _is_small(value) -> bool:
    """Whether these are a few numbers, or a few numbers and words, which can be shown whole."""
    try:
        if isinstance(value, list | tuple) and _are_few(value):
            return True
        array = np.asarray(value)
        return array.dtype.kind in "iuf" and 0 < array.size <= SHOWN_WHOLE
    except Exception:  # not even an array of objects
        return False


def _are_few(value: list | tuple) -> bool:
    """Whether a list or tuple, whatever is nested in it, holds only a few numbers and words."""
    leaves = list(itertools.islice(_leaves(value), SHOWN_WHOLE + 1))
    plain = all(leaf is None or isinstance(leaf, str | int | float | np.number) for leaf in leaves)
    return plain and 0 < len(leaves) <= SHOWN_WHOLE


def _leaves(value):
    if isinstance(value, list | tuple):
        for part in value:
            yield from _leaves(part)
    else:
        yield value


def _written(value) -> str:
    """A few numbers and words as Python writes them, numbers with four digits: "[(1, 0.25), (4e+09, 'C')]"."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_written, value))}{',' * (len(value) == 1)})"
    if isinstance(value, list) or np.ndim(value):
        return f"[{', '.join(map(_written, value))}]"
    if value is None or isinstance(value, str | bool):
        return repr(value)
    rounded = f"{value:.4g}"
    whole = value == np.round(value) and abs(value) < 1e15 and float(rounded) != value  # not shortened
    return f"{int(value)}" if whole or isinstance(value, int | np.integer) else rounded


def _beside(value, right, tolerance: float) -> str:
    """A wrong value and the right one, where they differ."""
    shown = brief(value), brief(right)
    try:
        mine, theirs = np.asarray(value, np.float64), np.asarray(right, np.float64)
    except Exception:
        return f"{shown[0]}, expected {shown[1]}"
    if mine.shape == theirs.shape and mine.size > 4:
        differs = ~np.isclose(mine, theirs, rtol=tolerance, atol=tolerance, equal_nan=True)
        place = tuple(int(index[0]) for index in np.nonzero(differs))
        shown = f"{mine[place]:.6g} at {list(place)}", f"{theirs[place]:.6g} there"
    elif mine.shape == theirs.shape == () and shown[0] == shown[1]:
        shown = f"{mine:.10g}", f"{theirs:.10g}"
    return f"{shown[0]}, expected {shown[1]}"


def _copied(case: tuple) -> tuple:
    """Arguments that a function may change without changing those of the next."""
    return tuple(
        copy.deepcopy(argument) if isinstance(argument, np.ndarray | list | dict | set) else argument
        for argument in case
    )
