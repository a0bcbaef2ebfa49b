"""What a page must hold, as functions from a notebook to its faults, a sentence each; `test_notebooks.py` uses them."""

import ast
import dataclasses
import re
from pathlib import Path

from shathenet_utils import markers

PARTS = (
    "part-question", "part-idea", "part-scratch", "part-keras", "part-predict", "part-experiment", "part-why",
    "part-others", "part-exercises", "part-summary",
)  # fmt: skip
EXERCISES_PER_PAGE = 4


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def is_collapsed(cell) -> bool:
    return bool(cell.metadata.get("jupyter", {}).get("source_hidden"))


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def markdown_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "markdown"]


# The form


def part_faults(notebook, left_out=()) -> list[str]:
    """Parts that are missing, there twice, without a heading, unknown, or there although the list leaves them out."""
    faults = []
    tagged = [(tag, cell) for cell in notebook.cells for tag in tags(cell) if tag.startswith("part-")]
    found = [tag for tag, _ in tagged]
    faults += [f"{part} is missing" for part in PARTS if part not in found and part not in left_out]
    faults += [f"{part} is there, and the list leaves it out" for part in left_out if part in found]
    faults += [f"{part} is there twice" for part in PARTS if found.count(part) > 1]
    faults += [f"there is no {tag}: a section that is no part needs no tag" for tag in found if tag not in PARTS]
    faults += [
        f"{tag} has no heading"
        for tag, cell in tagged
        if cell.cell_type != "markdown" or not re.match(r"#+ \S", cell.source)
    ]
    opening = notebook.cells[0]
    if "part-question" not in tags(opening):
        faults.append("the page does not open with part-question")
    faults += [
        f"the opening does not say: {words}…"
        for words in ("You will be able to", "You need")
        if words.lower() not in opening.source.lower()
    ]
    if not any(re.search(r"\blesson\.header\(", cell.source) for cell in code_cells(notebook)):
        faults.append("no cell shows lesson.header")
    return faults


def network_faults(notebook, left_out=()) -> list[str]:
    """Whether the network stands on the page as code, and is held to the package's; left_out: of the two kinds."""
    code = "\n".join(cell.source for cell in code_cells(notebook) if not is_collapsed(cell))
    faults = []
    if "network" not in left_out and len(re.findall(r"\blayers\.[A-Z]\w*\(", code)) < 3:
        faults.append("no open cell holds the network as code, with its layers")
    if "same-network" not in left_out and "lesson.assert_same_network(" not in code:
        faults.append("no open cell asserts that it is the package's: lesson.assert_same_network")
    return faults


def formula_faults(notebook) -> list[str]:
    found = any(markers.formulas(cell.source) for cell in markdown_cells(notebook))
    return [] if found else ["there is no formula, $…$"]


@dataclasses.dataclass(frozen=True)
class ExerciseCells:
    """An exercise on a page: its cell, the next one, which holds the solution, and the code cells before."""

    cell: dict
    solution: dict
    before: list

    @property
    def name(self) -> str:
        """As the cell's check names it, "01.3"; "" where it names none."""
        found = re.search(r"lesson\.check_exercise\(\s*['\"]([^'\"]+)['\"]", self.cell.source)
        return found[1] if found else ""


def exercise_cells(notebook) -> list[ExerciseCells]:
    cells = notebook.cells
    return [
        ExerciseCells(cell, cells[i + 1] if i + 1 < len(cells) else None, code_before(cells[:i]))
        for i, cell in enumerate(cells)
        if "exercise" in tags(cell)
    ]


def code_before(cells) -> list:
    return [cell for cell in cells if cell.cell_type == "code" and "exercise" not in tags(cell)]


def exercise_faults(notebook, page: str) -> list[str]:
    """Too few exercises, none that trains or interprets, a cell that holds more than a stub and its check, a solution
    that is not folded or of another exercise. page: its number, "01"."""
    found = exercise_cells(notebook)
    faults = []
    if len(found) < EXERCISES_PER_PAGE:
        faults.append(f"there are {len(found)} exercises, not {EXERCISES_PER_PAGE}")
    for kind in ("trains", "interprets"):
        if not any(kind in tags(exercise.cell) for exercise in found):
            faults.append(f"no exercise {kind}")
    names = [exercise.name for exercise in found]
    if names != [f"{page}.{number}" for number in range(1, len(found) + 1)]:
        faults.append(f"the exercises are called {', '.join(names)}, not {page}.1 and so on")
    for exercise in found:
        faults += [f"{exercise.cell.id}: {fault}" for fault in _stub_faults(exercise.cell.source)]
        solution = exercise.solution.source if exercise.solution else ""
        summary = f"<details><summary>Solution {exercise.name}</summary>"
        if (
            not solution.startswith(summary)
            or "```python" not in solution
            or not solution.rstrip().endswith("</details>")
        ):
            faults.append(f"{exercise.cell.id}: the next cell is not {summary} with a ```python block")
    return faults


def _stub_faults(source: str) -> list[str]:
    faults = []
    statements = ast.parse(source).body
    stubs = [node for node in statements if isinstance(node, ast.FunctionDef)]
    if not stubs:
        faults.append("there is no function to fill in")
    for stub in stubs:
        body = stub.body[1:] if ast.get_docstring(stub) else stub.body
        if [ast.unparse(node) for node in body] != ["..."]:
            faults.append(f"{stub.name} is not open: its body should be ...")
    if ast.unparse(statements[-1]).split("(")[0] != "lesson.check_exercise":
        faults.append("the last line is not lesson.check_exercise")
    return faults


def needed(source: str, before) -> str:
    """What an exercise needs of the cells before it: the imports, and the functions and assignments that it uses."""
    statements = [node for cell in before for node in ast.parse(cell.source).body]
    names, taken = _used(ast.parse(source)), set()
    while True:
        more = {i for i, node in enumerate(statements) if _defined(node) & names} - taken
        if not more:
            break
        taken |= more
        names |= {name for i in more for name in _used(statements[i])}
    kept = (node for i, node in enumerate(statements) if i in taken or isinstance(node, ast.Import | ast.ImportFrom))
    return "\n".join(ast.unparse(node) for node in kept)


def _used(tree) -> set[str]:
    """The names that code takes from elsewhere: those it reads, without a function's arguments and own variables."""
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    read = {node.id for node in names if isinstance(node.ctx, ast.Load)}
    if not isinstance(tree, ast.FunctionDef):
        return read
    arguments = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    return read - arguments - {node.id for node in names if isinstance(node.ctx, ast.Store)}


def _defined(node) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return set()


# Numbers


def number_faults(notebook) -> list[str]:
    """Markers that are not as they must be, and numbers in Markdown that are not those of the page's outputs."""
    try:
        numbers = markers.stored_numbers(notebook)
    except markers.MarkerError as error:
        return [str(error)]
    faults = []
    for cell in markdown_cells(notebook):
        try:
            filled = markers.fill(cell.source, numbers)
        except markers.MarkerError as error:
            faults.append(f"{cell.id}: {error}")
            continue
        if filled != cell.source:
            differs = [name for name, text in markers.marked(cell.source) if numbers[name] != text]
            faults.append(f"{cell.id}: {', '.join(differs)} is not what the page computed: make rerun")
    return faults


_NUMBER = r"[-+−]?\d[\d,.]*"
_UNIT = r"(?:\\?%|per\s?cent\b|(?:percentage )?points?\b|seconds?\b|minutes?\b|hours?\b|times\b|×(?!\w|\s*[\d$]))"
_TYPED = re.compile(rf"(?<![\w.,-]){_NUMBER}(?:\s*(?:to|and|or|–|-)\s*{_NUMBER})?[\s\u00a0\u202f-]*{_UNIT}")
_INTERVAL = re.compile(r"95[\s\u00a0\u202f]*%(?=[\s-]+(?:\w+[\s-]+){0,2}intervals?\b)")


def typed_numbers(text: str) -> list[str]:
    """Numbers with a unit that stand in a text: measured, it seems, and typed."""
    return [found[0] for found in _TYPED.finditer(_INTERVAL.sub("", text))]


def typed_number_faults(notebook) -> list[str]:
    """Numbers with a unit outside markers: in Markdown, code apart, or in the strings of code cells."""
    faults = []
    for cell in markdown_cells(notebook):
        text = markers.without_code(markers.without_numbers(cell.source, "(computed)"))
        inside = [found for formula in markers.formulas(text) for found in re.findall(r"[\d.]+\s*\\?%", formula)]
        faults += [f"{cell.id}: {found}" for found in [*typed_numbers(markers.without_math(text)), *inside]]
    for cell in code_cells(notebook):
        for text in strings(cell.source):
            faults += [f"{cell.id}: {found}" for found in typed_numbers(re.sub(r"\{[^{}]*\}", "", text))]
    return faults


def strings(source: str) -> list[str]:
    """The strings of Python code, without the format specifications of f-strings."""
    nodes = list(ast.walk(ast.parse(source)))
    formats = [node.format_spec for node in nodes if isinstance(node, ast.FormattedValue) and node.format_spec]
    skipped = {id(part) for spec in formats for part in ast.walk(spec)}
    return [
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped
    ]


def formatting_share(notebook) -> float:
    """Of the lines of code in cells that aren't collapsed, the fraction that formats text or builds tables."""
    lines = formatting = 0
    for cell in code_cells(notebook):
        if not is_collapsed(cell):
            code = {i for i, line in enumerate(cell.source.splitlines(), 1) if line.strip() and line.strip()[0] != "#"}
            lines += len(code)
            formatting += len(code & formatting_lines(cell.source))
    return formatting / lines if lines else 0.0


def formatting_lines(source: str) -> set[int]:
    """The numbers of the lines with f-strings, .format, %, rounding, pandas tables or HTML."""
    return {
        line
        for node in ast.walk(ast.parse(source))
        if _formats(node)
        for line in range(node.lineno, node.end_lineno + 1)
    }


def _formats(node) -> bool:
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func).split(".")[-1]
        return name in {"format", "round", "around", "DataFrame", "Series", "to_html", "to_string", "HTML", "Markdown"}
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return isinstance(node.left, ast.Constant) and isinstance(node.left.value, str)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.search(r"</?[a-z]\w*[\s>/]", node.value) is not None
    return isinstance(node, ast.JoinedStr)


# Words


def banned_words() -> dict[str, list[tuple[re.Pattern, str]]]:
    """tests/banned_words.txt: {section: [(whole words, what to write)]}."""
    found, section, flags = {}, "", 0
    for line in Path(__file__).with_name("banned_words.txt").read_text(encoding="utf-8").splitlines():
        if re.fullmatch(r"\[.+\]", line):
            section, flags = line[1:-1], re.IGNORECASE if line == "[words]" else 0
        elif line.strip() and not line.startswith("#"):
            pattern, instead = line.split(" -> ")
            found.setdefault(section, []).append((re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", flags), instead))
    return found


BANNED = banned_words()


def prose_faults(text: str) -> list[str]:
    """Banned words of a text, with what to write."""
    text = " ".join(text.split())
    return [
        f"“{found[0]}”: write {instead}" for pattern, instead in BANNED["words"] for found in pattern.finditer(text)
    ]


def name_faults(name: str, *sections: str) -> list[str]:
    """What is wrong with a public name: one of its words, or the whole of it."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_+", " ", name).strip()
    whole = [
        f"{name}: write {instead}"
        for section in sections
        for pattern, instead in BANNED[section]
        if pattern.fullmatch(name)
    ]
    return whole or [f"{name}: {fault}" for fault in prose_faults(words)]


def word_faults(notebook) -> list[str]:
    """Banned words in a page's Markdown and strings, and in the names that its cells define."""
    faults = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text = re.sub(r"\]\([^)]*\)|<[^>]*>", " ", markers.without_math(markers.without_code(cell.source)))
            faults += [f"{cell.id}: {fault}" for fault in prose_faults(text)]
        else:
            tree = ast.parse(cell.source)
            names = {name for node in tree.body for name in _defined(node)}
            found = [fault for text in strings(cell.source) for fault in prose_faults(text)]
            found += [fault for name in sorted(names) for fault in name_faults(name, "page names")]
            faults += [f"{cell.id}: {fault}" for fault in found]
    return faults


def module_word_faults(source: str) -> list[str]:
    """Banned words in a module's docstrings and in its public names: functions, classes, fields, parameters."""
    faults = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            faults += prose_faults(ast.get_docstring(node) or "")
    names, parameters = public_names(source)
    faults += [fault for name in sorted(names) for fault in name_faults(name, "names")]
    return faults + [fault for name in sorted(parameters) for fault in name_faults(name)]


def public_names(source: str) -> tuple[set[str], set[str]]:
    """What a module offers, at its top and in its public classes; and the parameters of its public functions."""
    names, parameters = set(), set()

    def collect(body, in_class=False):
        for node in body:
            defined = set() if in_class and isinstance(node, ast.Assign) else _defined(node)
            public = {name for name in defined if not name.startswith("_")}
            names.update(public)
            if isinstance(node, ast.ClassDef) and public:
                collect(node.body, in_class=True)
            if isinstance(node, ast.FunctionDef) and public:
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                parameters.update(argument.arg for argument in arguments if not argument.arg.startswith("_"))

    collect(ast.parse(source).body)
    return names, parameters
