"""Computed numbers in Markdown: they are filled, or one sentence says what is wrong."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from shathenet_utils import markers
from shathenet_utils.markers import MarkerError

NUMBERS = {"gain": "+3.2 points (+2.8 to +3.6)", "parameters": "17,882"}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("A gain of <!--=gain-->?<!--/-->.", "A gain of <!--=gain-->+3.2 points (+2.8 to +3.6)<!--/-->."),
        ("With <!--=parameters--><!--/--> and <!--=parameters-->1<!--/-->.",
         "With <!--=parameters-->17,882<!--/--> and <!--=parameters-->17,882<!--/-->."),
        ("**<!--=gain-->old<!--/-->**", "**<!--=gain-->+3.2 points (+2.8 to +3.6)<!--/-->**"),
        ("| a | <!--=parameters--><!--/--> |", "| a | <!--=parameters-->17,882<!--/--> |"),
        ("- has <!--=parameters--><!--/-->", "- has <!--=parameters-->17,882<!--/-->"),
        ("$a$ <!--=parameters--><!--/--> $b$", "$a$ <!--=parameters-->17,882<!--/--> $b$"),
        ("`$` <!--=parameters--><!--/--> `$`", "`$` <!--=parameters-->17,882<!--/--> `$`"),
        ("a <!--=parameters-->two\nlines<!--/--> b", "a <!--=parameters-->17,882<!--/--> b"),
        ("No number, <!-- a comment -->, `code`.", "No number, <!-- a comment -->, `code`."),
    ],
)  # fmt: skip
def test_a_text_is_filled_and_filling_it_again_changes_nothing(text, filled):
    assert markers.fill(text, NUMBERS) == filled
    assert markers.fill(filled, NUMBERS) == filled


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("A <!--=unknown-->x<!--/-->.", "there is no number unknown: name it in a lesson.numbers cell."),
        ("A <!--=gian-->x<!--/-->.", "there is no number gian; did you mean gain?"),
        ("<!--=gain-->x<!--/--> is first.", "the number gain is first on a line"),
        ("Second line:\n<!--=gain-->x<!--/-->", "the number gain is first on a line"),
        ("- <!--=gain-->x<!--/-->", "the number gain is first on a line or list item"),
        ("1. <!--=gain-->x<!--/-->", "the number gain is first on a line or list item"),
        ("> - <!--=gain-->x<!--/-->", "the number gain is first on a line or list item"),
        ("   <!--=gain-->x<!--/-->", "the number gain is first on a line"),
        ("So $x = <!--=gain-->x<!--/-->$.", "the number gain stands inside $…$"),
        ("So $$x = \n a<!--=gain-->x<!--/-->$$.", "the number gain stands inside $…$"),
        (r"So \(x = <!--=gain-->x<!--/-->\).", "the number gain stands inside $…$"),
        ("A <!--=gain-->x.", "a marker is not closed or not well formed"),
        ("A x<!--/-->.", "a marker is not closed or not well formed"),
        ("A <!-- =gain -->x<!--/-->.", "a marker is not closed or not well formed"),
        ("A <!--=a gain-->x<!--/-->.", "a marker is not closed or not well formed"),
        ("A <!--=gain-->x<!--=gain-->y<!--/--> z<!--/-->.", "a marker is not closed or not well formed"),
        ("A <!--=gain-->x, b <!--=gain-->y<!--/-->.", "a marker is not closed or not well formed"),
        ("A `<!--=gain-->x<!--/-->`.", "a marker stands in code"),
        ("```\nA <!--=gain-->x<!--/-->.\n```", "a marker stands in code"),
    ],
)
def test_a_marker_that_is_not_as_it_must_be_is_one_sentence(text, wrong):
    with pytest.raises(MarkerError) as error:
        markers.fill(text, NUMBERS)
    assert str(error.value).startswith(wrong)
    assert "\n" not in str(error.value)


def page(*sources, numbers=(NUMBERS,)):
    cells = [new_markdown_cell(source, id=f"text{i}") for i, source in enumerate(sources)]
    for i, texts in enumerate(numbers):
        output = new_output("execute_result", data={markers.MIME: texts, "text/plain": ""}, execution_count=1)
        cells.append(new_code_cell("lesson.numbers(…)", id=f"numbers{i}", outputs=[output]))
    return new_notebook(cells=cells)


def test_a_notebooks_markdown_is_filled_from_its_outputs_whichever_stands_first():
    notebook = markers.fill_notebook(
        page("A <!--=gain--><!--/-->", "and <!--=other--><!--/-->", numbers=(NUMBERS, {"other": "7"}))
    )
    assert [cell.source for cell in notebook.cells[:2]] == [
        "A <!--=gain-->+3.2 points (+2.8 to +3.6)<!--/-->",
        "and <!--=other-->7<!--/-->",
    ]


def test_a_faulty_notebook_stays_as_it_was_and_the_cell_is_named():
    notebook = page("A <!--=gain--><!--/-->", "A <!--=unknown--><!--/-->")
    before = nbformat.writes(notebook)
    with pytest.raises(MarkerError, match="in cell text1 there is no number unknown"):
        markers.fill_notebook(notebook)
    assert nbformat.writes(notebook) == before


def test_all_faults_of_a_notebook_are_named_at_once():
    with pytest.raises(MarkerError) as error:
        markers.fill_notebook(page("A <!--=one--><!--/-->", "<!--=gain--><!--/-->", "A <!--=two--><!--/-->"))
    assert [text.split()[2] for text in str(error.value).split(" Also ")] == ["text0", "text1", "text2"]
    with pytest.raises(MarkerError) as error:
        markers.check_notebook(page("A <!--=one--><!--/-->", "<!--=gain--><!--/-->"))
    assert str(error.value).startswith("in cell text1 the number gain is first on a line")


def test_a_name_may_be_defined_twice_with_one_text_only():
    assert markers.stored_numbers(page(numbers=(NUMBERS, NUMBERS))) == NUMBERS
    with pytest.raises(MarkerError, match="the number gain is defined twice, as '.3.2 points .*' and as '7'"):
        markers.stored_numbers(page(numbers=(NUMBERS, {"gain": "7"})))


def test_what_is_prose_and_what_is_not():
    text = "Prose `code` and\n```python\nx = 1\n```\nthen $a_1$ <!--=gain-->9 %<!--/-->, `` a ` b `` end"
    assert markers.without_code(text).split() == ["Prose", "and", "then", "$a_1$", "<!--=gain-->9", "%<!--/-->,", "end"]
    assert markers.without_code(text).count("\n") == text.count("\n")
    assert markers.formulas(text) == ["$a_1$"]
    assert markers.formulas("costs `$5` and $$x$$") == ["$$x$$"]
    assert markers.without_math("a $x$ b") == "a     b"
    assert markers.without_numbers("a <!--=gain-->9 %<!--/--> b", "N") == "a N b"
    assert markers.marked(text) == [("gain", "9 %")]
    assert markers.without_code("<details>\n\n```python\nf(1)\n```\n\nWords\n</details>").split() == [
        "<details>",
        "Words",
        "</details>",
    ]
