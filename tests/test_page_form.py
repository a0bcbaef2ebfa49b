"""The tests of pages are tested: a good page has no fault, and each fault that is put into it is found."""

import copy

import page_form
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from shathenet_utils import markers


def text(cell_id, source, *tags):
    return new_markdown_cell(source, id=cell_id, metadata={"tags": list(tags)} if tags else {})


def code(cell_id, source, *tags, collapsed=False, data=None):
    metadata = {"tags": list(tags)} if tags else {}
    if collapsed:
        metadata["jupyter"] = {"source_hidden": True}
    outputs = [new_output("execute_result", data=data, execution_count=1)] if data else []
    return new_code_cell(source, id=cell_id, metadata=metadata, outputs=outputs)


def exercise(number, *kinds):
    check = f'lesson.check_exercise("99.{number}", solve_{number})'
    stub = f'def solve_{number}(size):\n    """Return it doubled."""\n    ...\n\n\n{check}'
    answer = f"```python\ndef solve_{number}(size):\n    return 2 * size\n```"
    return [
        text(f"task-{number}", f"**99.{number}** Double it. Use `5 %` if you like."),
        code(f"exercise-{number}", stub, "exercise", *kinds),
        text(f"solution-{number}", f"<details><summary>Solution 99.{number}</summary>\n\n{answer}\n</details>"),
    ]


NETWORK = """images = keras.Input((32, 32, 3))
x = layers.Conv2D(16, 3)(layers.Rescaling(1 / 255)(images))
network = keras.Model(images, layers.Dense(10)(x))
lesson.assert_same_network(network, "v1_0")"""
OPENING = "# 99 · A page\n\nWhy?\n\n**You will be able to** count. **You need** page 00."
GAIN = "+3.0 points (+2.0 to +4.0)"


@pytest.fixture
def page():
    return new_notebook(
        cells=[
            text("title", OPENING, "part-question"),
            code("header", 'import keras\nfrom keras import layers\n\nlesson.header("99")'),
            text("idea", "## The idea\n\nAn image is $x$, and so on.", "part-idea"),
            text("scratch", "## From scratch", "part-scratch"),
            text("keras", "## In Keras\n\n```\n10 % of nothing\n```", "part-keras"),
            code("network", NETWORK),
            text("predict", "## Predict", "part-predict"),
            text("experiment", "## The experiment\n\nA 95 % interval over seeds.", "part-experiment"),
            code("numbers", "lesson.numbers(gain=gain)", collapsed=True, data={markers.MIME: {"gain": GAIN}}),
            text("why", f"## Why\n\nIt gains <!--=gain-->{GAIN}<!--/-->, three times as much.", "part-why"),
            text("others", "## What others found", "part-others"),
            text("exercises", "## Exercises", "part-exercises"),
            *exercise(1),
            *exercise(2),
            *exercise(3, "trains"),
            *exercise(4, "interprets"),
            text("summary", "## Summary", "part-summary"),
        ]
    )


def faults(page):
    return [
        *page_form.part_faults(page),
        *page_form.network_faults(page),
        *page_form.formula_faults(page),
        *page_form.exercise_faults(page, "99"),
        *page_form.number_faults(page),
        *page_form.typed_number_faults(page),
        *page_form.word_faults(page),
    ]


def cell(page, cell_id):
    return next(cell for cell in page.cells if cell.id == cell_id)


def test_a_good_page_has_no_fault(page):
    assert faults(page) == []
    assert page_form.formatting_share(page) == 0


def without(cell_id):
    return lambda page: page.cells.remove(cell(page, cell_id))


def change(cell_id, old, new):
    def changed(page):
        found = cell(page, cell_id)
        assert old in found.source
        found.source = found.source.replace(old, new)

    return changed


def retag(cell_id, *new):
    return lambda page: cell(page, cell_id).metadata.update(tags=list(new))


@pytest.mark.parametrize(
    ("put_in", "fault"),
    [
        (without("why"), "part-why is missing"),
        (retag("why", "part-idea"), "part-idea is there twice"),
        (retag("why", "part-because"), "there is no part-because"),
        (change("why", "## Why", "Why"), "part-why has no heading"),
        (without("title"), "the page does not open with part-question"),
        (change("title", "**You need**", "After"), "the opening does not say: You need…"),
        (change("header", "lesson.header", "header"), "no cell shows lesson.header"),
        (without("network"), "no open cell holds the network as code, with its layers"),
        (change("network", 'lesson.assert_same_network(network, "v1_0")', ""), "no open cell asserts that it is the"),
        (change("idea", "$x$", "x"), "there is no formula, $…$"),
        (without("exercise-2"), "there are 3 exercises, not 4"),
        (retag("exercise-3", "exercise"), "no exercise trains"),
        (retag("exercise-4", "exercise"), "no exercise interprets"),
        (change("exercise-2", "99.2", "99.3"), "the exercises are called 99.1, 99.3, 99.3, 99.4, not 99.1 and"),
        (change("exercise-2", "    ...\n", "    return 2 * size\n"), "exercise-2: solve_2 is not open: its body"),
        (change("exercise-2", "    ...\n", "    ...\n\n\ndef right():\n    return 2\n"), "exercise-2: right is not"),
        (change("exercise-2", "lesson.check_exercise", "print"), "exercise-2: the last line is not lesson.check_"),
        (change("solution-2", "Solution 99.2", "Solution"), "exercise-2: the next cell is not <details><summary>Sol"),
        (change("why", GAIN, "+5.0 points"), "why: gain is not what the page computed: make rerun"),
        (change("why", "=gain", "=gian"), "why: there is no number gian; did you mean gain?"),
        (change("why", "It gains ", ""), "why: the number gain is first on a line or list item"),
        (change("why", "<!--=gain-->", "$x =<!--=gain-->$"), "why: the number gain stands inside $…$"),
        (change("why", "three times", "3 times"), "why: 3 times"),
        (change("idea", "$x$", "$x = 83\\%$"), "idea: 83\\%"),
        (change("numbers", "gain=gain", "gain='about 7 %'"), "numbers: 7 %"),
        (change("idea", "An image", "A picture"), "idea: “picture”: write image"),
        (change("idea", "and so on", "and it tells us"), "idea: “tells”: write predicts, is classified as"),
        (change("idea", "and so on", "ten images\na class"), "idea: “images a class”: write per class"),
        (change("header", "import keras", "import keras\ntaste = 1"), "header: taste: “taste”: write quick"),
        (change("header", "import keras", "import keras\nkept = 1"), "header: kept: write a noun"),
        (change("header", "import keras", "import keras\npictures_seen = 1"), "header: pictures_seen: “pictures”"),
        (change("header", "import keras", "import keras\nlabel = 'the picture'"), "header: “picture”: write image"),
    ],
)  # fmt: skip
def test_each_fault_is_found(page, put_in, fault):
    page = copy.deepcopy(page)
    put_in(page)
    found = faults(page)
    assert [one for one in found if one.startswith(fault)], found


def test_what_a_page_leaves_out_is_really_left_out(page):
    assert page_form.part_faults(page, {"part-why"}) == ["part-why is there, and the list leaves it out"]
    page.cells.remove(cell(page, "why"))
    assert page_form.part_faults(page, {"part-why"}) == []
    page.cells.remove(cell(page, "network"))
    assert page_form.network_faults(page, {"network", "same-network"}) == []


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("It reaches 27.8 % here.", ["27.8 %"]),
        ("It reaches 27.8\u202f% here.", ["27.8\u202f%"]),
        ("+3.2 points", ["+3.2 points"]),
        ("a gain of 3 percentage points", ["3 percentage points"]),
        ("10 to 12 seconds", ["10 to 12 seconds"]),
        ("a 10-minute run", ["10-minute"]),
        ("2 hours", ["2 hours"]),
        ("1.3× faster", ["1.3×"]),
        ("41 per cent", ["41 per cent"]),
        ("12.5 times", ["12.5 times"]),
        ("a 95 % interval, and 95 % t-intervals", []),
        ("the 95 % confidence interval", []),
        ("an accuracy of 95 %", ["95 %"]),
        ("7×7 kernels, 32 × 32 pixels, five points, CIFAR-10 times out, 60 epochs, 17,882 parameters", []),
    ],
)
def test_a_number_with_a_unit_is_taken_for_measured(typed, found):
    assert page_form.typed_numbers(typed) == found


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("x = 1\ny = f'{x}'", {2}),
        ("'{}'.format(\n    1\n)", {1, 2, 3}),
        ("'%d' % 3\n3 % 2", {1}),
        ("round(x)\nnp.round(x)\nx.round(1)", {1, 2, 3}),
        ("pd.DataFrame(\n    rows\n)", {1, 2, 3}),
        ("x = '<b>bold</b>'\ny = 'a < b'", {1}),
        ("lesson.numbers(gain=gain)\nplots.bars(values)", set()),
    ],
)
def test_lines_that_format_are_counted(source, lines):
    assert page_form.formatting_lines(source) == lines


def test_the_share_of_formatting_leaves_out_what_is_collapsed_blank_or_a_comment(page):
    page.cells = [
        code("a", "x = 1\n\n# a comment\ny = 2\nz = f'{x}'"),
        code("b", "f'{x}'\n" * 20, collapsed=True),
        text("c", "f'{x}'"),
    ]
    assert page_form.formatting_share(page) == 1 / 3


def test_an_exercise_runs_with_what_it_needs_and_no_more():
    before = [
        code("a", "import math\nunused = 1 / 0\nsize = 3"),
        code("b", "double = make(size)\n\n\ndef make(size, unused=2):\n    other = size\n    return other * factor"),
        code("c", "factor = 2\nfor _ in ():\n    size = 4"),
    ]
    found = page_form.needed("answer = double + math.pi", before)
    assert found.splitlines()[:4] == ["import math", "size = 3", "double = make(size)", "def make(size, unused=2):"]
    assert found.splitlines()[-1] == "factor = 2"
    assert "1 / 0" not in found and "size = 4" not in found
    assert page_form.needed("x = 1", before) == "import math"


def test_a_module_is_read_by_its_docstrings_and_public_names():
    source = '''
"""What a picture tells."""

_pictures, taste, size = 1, 2, 3


class Desk:
    """A taste of it."""

    pictures: int

    def say(self, snapshots, say, _arm):
        """Fine."""
        pictures = 1


def _hear(pictures):
    """The arms."""
'''
    assert page_form.public_names(source) == (
        {"Desk", "pictures", "say", "size", "taste"},
        {"self", "snapshots", "say"},
    )
    faults = [fault.split(":")[0] for fault in page_form.module_word_faults(source)]
    assert faults == ["“picture”", "“tells”", "“taste”", "“arms”", "Desk", "pictures", "say", "taste", "snapshots"]


def test_a_banned_word_is_a_whole_word():
    assert page_form.prose_faults("pictured in a farm, an ARM processor, tellsome, cloud, hearing, tasteful") == []
    assert page_form.name_faults("snapshotless", "names") == []
    assert page_form.name_faults("keep_snapshots", "names") == ["keep_snapshots: “snapshots”: write weight history, "
                                                                "per-epoch checkpoint weights"]  # fmt: skip
    assert page_form.name_faults("owner", "names") == []
