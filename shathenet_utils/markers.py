"""Computed numbers in a page's Markdown: `<!--=name-->text<!--/-->`, between markers that no viewer shows.

A page's `lesson.numbers` cells leave the text of each name in their outputs, under the type `MIME`; `fill_notebook`
writes it between the markers. This file knows text and notebooks, and nothing of experiments.
"""

import difflib
import re

MIME = "application/vnd.shathenet.numbers+json"
"""The type under which a cell's output holds {name: text}."""

_MARKED = re.compile(r"<!--=(?P<name>[^\W\d]\w*)-->(?P<text>.*?)<!--/-->", re.DOTALL)
_CODE = re.compile(
    r"^[ \t]*(?P<fence>```+|~~~+).*?(?:^[ \t]*(?P=fence)[ \t]*$|\Z)|(?<!`)(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)",
    re.DOTALL | re.MULTILINE,
)
_MATH = re.compile(r"\$\$.+?\$\$|(?<![\\$])\$(?:\\.|(?!\n\s*\n)[^$\\])+\$|\\\(.+?\\\)|\\\[.+?\\\]", re.DOTALL)
_BEFORE_TEXT = re.compile(r"[\s>]*(?:(?:[-*+]|\d+[.)])\s+)*")


class MarkerError(ValueError):
    """A marker is not as it must be, or its number is unknown; one sentence says which and what to do."""


def without_code(text: str) -> str:
    """Markdown with each character of its code blocks and inline code replaced by a blank; lines stay lines."""
    return _CODE.sub(lambda code: re.sub(r"[^\n]", " ", code[0]), text)


def without_math(text: str) -> str:
    """Markdown with each character of its formulas, $…$ and $$…$$, replaced by a blank; lines stay lines."""
    return _MATH.sub(lambda math: re.sub(r"[^\n]", " ", math[0]), text)


def without_numbers(text: str, instead: str = "") -> str:
    """Markdown with each marked number, its markers too, replaced by `instead`."""
    return _MARKED.sub(instead, text)


def formulas(text: str) -> list[str]:
    """The formulas of a Markdown text, with their dollar signs."""
    return _MATH.findall(without_code(text))


def marked(text: str) -> list[tuple[str, str]]:
    """The numbers of a Markdown text: (name, what stands between its markers)."""
    return [(found["name"], found["text"]) for found in _MARKED.finditer(text)]


def check(text: str) -> None:
    """Raises MarkerError where a marker would show, would hide text, or is none."""
    prose = without_code(text)
    if prose.count("<!--=") + prose.count("<!--/") != text.count("<!--=") + text.count("<!--/"):
        raise MarkerError("a marker stands in code, where readers would see it: take it out.")
    found = list(_MARKED.finditer(prose))
    nested = next((number for number in found if "<!--" in number["text"]), None)
    if nested or not len(found) == len(re.findall(r"<!--\s*=", prose)) == len(re.findall(r"<!--\s*/", prose)):
        raise MarkerError("a marker is not closed or not well formed: write <!--=name-->text<!--/-->, without blanks.")
    formulas = [math.span() for math in _MATH.finditer(prose)]
    for number in found:
        line = text[: number.start()].rpartition("\n")[2]
        if _BEFORE_TEXT.fullmatch(line):
            raise MarkerError(f"the number {number['name']} is first on a line or list item: put a word before it.")
        if any(start < number.start() < end for start, end in formulas):
            raise MarkerError(f"the number {number['name']} stands inside $…$: end the formula before it.")


def fill(text: str, numbers: dict[str, str]) -> str:
    """Markdown with the text of each name between its markers. Raises MarkerError as `check`, and for unknown names."""

    def filled(number):
        name = number["name"]
        if name not in numbers:
            near = difflib.get_close_matches(name, numbers, 1)
            hint = f"; did you mean {near[0]}?" if near else ": name it in a lesson.numbers cell."
            raise MarkerError(f"there is no number {name}{hint}")
        return f"<!--={name}-->{numbers[name]}<!--/-->"

    check(text)
    return _MARKED.sub(filled, text)


def stored_numbers(notebook) -> dict[str, str]:
    """The text of each name, as the outputs of a notebook's `lesson.numbers` cells hold it.

    Raises MarkerError where two cells give one name different texts.
    """
    numbers = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            for name, text in output.get("data", {}).get(MIME, {}).items():
                if numbers.setdefault(name, text) != text:
                    raise MarkerError(f"the number {name} is defined twice, as {numbers[name]!r} and as {text!r}.")
    return numbers


def check_notebook(notebook) -> None:
    """Raises MarkerError where a marker of a notebook's Markdown is not as it must be, whatever the numbers are."""
    _each_text(notebook, lambda source: check(source))


def fill_notebook(notebook):
    """Write the numbers that a notebook's outputs hold into its Markdown; returns the notebook.

    Raises MarkerError, which names each cell at fault, and the notebook is as it was.
    """
    numbers = stored_numbers(notebook)
    filled = _each_text(notebook, lambda source: fill(source, numbers))
    for cell in notebook.cells:
        cell.source = filled.get(cell.id, cell.source)
    return notebook


def _each_text(notebook, function) -> dict[str, str]:
    """What a function makes of each Markdown cell, by the cell's id; all its MarkerErrors as one."""
    results, faults = {}, []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            try:
                results[cell.id] = function(cell.source)
            except MarkerError as error:
                faults.append(f"in cell {cell.id} {error}")
    if faults:
        raise MarkerError(" Also ".join(faults))
    return results
