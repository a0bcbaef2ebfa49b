"""The arrows between the package's files: a file imports only from its left, and pages open without TensorFlow."""

import ast
import graphlib

import pytest
from helpers import WITHOUT_TENSORFLOW, a_record, python

import shathenet_utils
from shathenet_utils import ROOT, records

PACKAGE = ROOT / "shathenet_utils"
ORDER = (
    {"__init__"},
    {"progress", "interrupts", "files", "markers", "machine", "worker", "lab", "shapes"},
    {"datasets", "augment", "recipes", "stats"},
    {"records", "weights"},
    {"runs", "facts", "checkpoints"},
    {"plots"},
    {"backend"},
    {"blocks", "checks", "fuse", "tracing"},
    {"architecture"},
    {"baseline"},
    {"models"},
    {"pretrained"},
    {"optimizers"},
    {"training"},
    {"kept_weights"},
    {"experiment"},
    {"declared"},
    {"book"},
    {"runner"},
    {"estimates"},
    {"queue"},
    {"exercises"},
    {"lesson", "lens", "benchmarks", "rerun"},
    {"cluster_table"},
    {"cluster"},
    {"__main__"},
)
"""From left to right; of a folder, all its files."""
NETWORK_WING = {
    "backend", "blocks", "checks", "fuse", "tracing", "architecture", "baseline", "models", "pretrained", "optimizers",
    "training", "kept_weights", "lens", "benchmarks.contenders", "benchmarks.torch_twin",
}  # fmt: skip
"""What opens TensorFlow, or may: files, and folders with all their files."""
RANK = {room: rank for rank, group in enumerate(ORDER) for room in group}


def files_of(package):
    """Name → path of each of the package's files; a folder's own name is that of its `__init__`."""
    named = {
        path.relative_to(package).with_suffix("").as_posix().replace("/", "."): path for path in package.rglob("*.py")
    }
    return {name.removesuffix(".__init__"): path for name, path in named.items()}


FILES = files_of(PACKAGE)
FOLDERS = sorted(name for name, path in FILES.items() if path.parent != PACKAGE and path.stem == "__init__")


def room(file):
    """Where a file stands in the order: its folder's name, or its own."""
    return file.split(".")[0]


def in_network_wing(file):
    return file in NETWORK_WING or room(file) in NETWORK_WING


def imports(path):
    """(imported name, whether at the file's top level) for each import in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively: write the package's name out."
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            yield name, id(node) not in inside


def arrows(path, files=FILES):
    """(imported file of the package, whether at top level)."""
    for name, at_top in imports(path):
        first, *parts = name.split(".")
        if first == "shathenet_utils":
            while parts and ".".join(parts) not in files:  # what is left names something inside a file
                parts.pop()
            yield ".".join(parts) or "__init__", at_top


def check_order(file, files=FILES):
    for imported, _ in arrows(files[file], files):
        same_folder = room(imported) == room(file) in FOLDERS
        assert same_folder or RANK[room(imported)] < RANK[room(file)], (
            f"{file} imports {imported}, an arrow that points back to the right."
        )


def check_inside(folder, files=FILES):
    """Raises graphlib.CycleError where a folder's files can't be put in an order."""
    inside = [file for file in files if room(file) == folder]
    graph = {file: {to for to, _ in arrows(files[file], files) if to in inside} for file in inside}
    graphlib.TopologicalSorter(graph).prepare()


def check_wing(file, files=FILES):
    for imported, at_top in arrows(files[file], files):
        assert not (at_top and in_network_wing(imported)), (
            f"{file} imports {imported} at its top, an arrow into the network wing that opens TensorFlow."
        )
    for name, _ in imports(files[file]):
        assert name.split(".")[0] not in ("tensorflow", "keras", "torch"), f"{file} imports {name}: the network wing's."


def test_every_file_has_its_place():
    assert len(RANK) == sum(map(len, ORDER))
    for file in FILES:
        assert room(file) in RANK, f"{file} has no place in the order: give it one, in the house's drawing and here."
    for place in {*RANK, *NETWORK_WING}:
        assert place in FILES, f"{place} has a place in the order, and is not there."


@pytest.mark.parametrize("file", sorted(FILES))
def test_a_file_imports_only_from_its_left(file):
    check_order(file)


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_files_of_a_folder_have_an_order_too(folder):
    check_inside(folder)


@pytest.mark.parametrize("file", sorted(file for file in FILES if not in_network_wing(file)))
def test_tensorflow_is_imported_only_inside_functions_outside_the_network_wing(file):
    check_wing(file)


def a_package(folder, **sources):
    for name, source in sources.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
    return files_of(folder)


def test_an_arrow_that_points_back_is_found(tmp_path):
    files = a_package(
        tmp_path,
        stats="def late():\n    from shathenet_utils.lesson import numbers\n",
        lesson="from shathenet_utils import stats",
    )
    assert list(arrows(files["stats"], files)) == [("lesson", False)]
    with pytest.raises(AssertionError, match="stats imports lesson, an arrow"):
        check_order("stats", files)
    check_order("lesson", files)


def test_a_circle_inside_a_folder_is_found(tmp_path):
    files = a_package(
        tmp_path, book__p01="from shathenet_utils.book.p02 import RECIPE\n", book__p02="",
        book__ledger="from shathenet_utils.book import p01\n",
    )  # fmt: skip
    check_inside("book", files)
    files["book.p02"].write_text("def late():\n    from shathenet_utils.book import ledger\n")
    with pytest.raises(graphlib.CycleError):
        check_inside("book", files)


def test_an_import_that_opens_tensorflow_is_found(tmp_path):
    files = a_package(
        tmp_path,
        runs="def late():\n    from shathenet_utils import models\n",
        models="",
        stats="from shathenet_utils.models import v1_0\n",
        facts="def late():\n    import keras.layers\n",
        benchmarks__contenders="",
        benchmarks__bench="from shathenet_utils.benchmarks import contenders\n",
    )
    check_wing("runs", files)
    for file, message in (
        ("stats", "models at its top"),
        ("facts", "keras.layers"),
        ("benchmarks.bench", "contenders"),
    ):
        with pytest.raises(AssertionError, match=f"{file} imports .*{message}"):
            check_wing(file, files)


def test_results_open_without_tensorflow_installed(tmp_path):
    rooms = sorted(file for file in FILES if not in_network_wing(file) and file != "__init__")
    source = WITHOUT_TENSORFLOW + (
        f"import importlib\nfor file in {rooms}:\n    importlib.import_module(f'shathenet_utils.{{file}}')\n"
        "from helpers import made_up_runs\n"
        "from shathenet_utils import book, facts, plots, records\n"
        "assert book.load_experiment('v1_0').load().recorded\n"
        "runs = made_up_runs()\n"
        "assert '17,882' in runs.table().to_string()\n"
        "assert plots.dots_per_seed(runs, name='x').png()\n"
        "print(facts.card(records.facts())['classes'])\n"
    )
    found = python(source, PYTHONPATH=str(ROOT / "tests"), SHATHENET_OUTPUT=str(tmp_path))
    assert found.stdout.startswith("airplane, automobile")
    assert found.stderr == ""


def test_a_table_of_records_opens_in_a_moment(tmp_path):
    records.save(a_record(), tmp_path / "seed0.json")
    source = WITHOUT_TENSORFLOW + (
        "import time, pathlib\n"
        "from shathenet_utils import records\n"
        "from shathenet_utils.runs import Runs\n"
        f"record = records.load(pathlib.Path({str(tmp_path / 'seed0.json')!r}))\n"
        "print(Runs('made_up', {'plain': [record]}, {}).table().to_string())\n"
        "print(time.process_time())\n"
    )
    *table, seconds = python(source).stdout.splitlines()
    assert "17,882" in table[-1]
    assert float(seconds) < 2.5, f"Opening a record and drawing its table took {seconds} s of processor time."


def test_the_package_is_found_from_its_file():
    assert (ROOT / "pyproject.toml").is_file()
    assert shathenet_utils.output_folder() != ROOT  # under test, what is written goes elsewhere
