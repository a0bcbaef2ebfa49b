"""The arrows between the package's modules: a module imports only from its left, and pages open without TensorFlow."""

import ast

import pytest
from helpers import WITHOUT_TENSORFLOW, a_record, python

import shathenet_utils
from shathenet_utils import ROOT, records

PACKAGE = ROOT / "shathenet_utils"
ORDER = (
    {"__init__"},
    {"progress"},
    {"datasets", "augment", "recipes", "stats"},
    {"records"},
    {"facts", "plots"},
    {"blocks"},
    {"models"},
    {"pretrained"},
    {"training"},
    {"experiments"},
    {"torch_twin"},
    {"contenders"},
    {"bench"},
    {"lens", "lesson", "cluster", "rerun"},
    {"__main__"},
)
NETWORK_WING = {"blocks", "models", "pretrained", "training", "torch_twin", "contenders", "lens"}
OPEN_WITHOUT_TENSORFLOW = set().union(*ORDER) - NETWORK_WING
RANK = {module: rank for rank, group in enumerate(ORDER) for module in group}
MODULES = sorted({path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")})


def imports(module):
    """(imported name, whether at module level) for each import in a module, a name of the package or another."""
    for path in [*PACKAGE.glob(f"{module}.py"), *PACKAGE.glob(f"{module}/**/*.py")]:
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
                assert node.level == 0, f"{module} imports relatively: write the package's name out."
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                yield name, id(node) not in inside


def arrows(module):
    """(imported module of the package, whether at module level)."""
    for name, at_top in imports(module):
        first, *rest = name.split(".")
        if first == "shathenet_utils":
            yield (rest[0] if rest and rest[0] in MODULES else "__init__"), at_top


def test_every_module_has_its_place():
    for module in MODULES:
        assert module in RANK, f"{module} has no place in the order: give it one, in the house's drawing and here."


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_its_left(module):
    for imported, _ in arrows(module):
        own = imported == module and (PACKAGE / module).is_dir()  # a folder's files may import each other
        assert own or RANK[imported] < RANK[module], (
            f"{module} imports {imported}, an arrow that points back to the right."
        )


@pytest.mark.parametrize("module", sorted(OPEN_WITHOUT_TENSORFLOW & set(MODULES)))
def test_tensorflow_is_imported_only_inside_functions_outside_the_network_wing(module):
    for imported, at_top in arrows(module):
        inside = imported not in NETWORK_WING or not at_top
        assert inside, f"{module} imports {imported} at its top, an arrow into the network wing that opens TensorFlow."
    for name, _ in imports(module):
        assert name.split(".")[0] not in ("tensorflow", "keras"), (
            f"{module} imports {name}: that is the network wing's."
        )


def test_the_order_is_seen_to_be_broken(tmp_path, monkeypatch):
    (tmp_path / "stats.py").write_text("def late():\n    from shathenet_utils import lesson\n")
    monkeypatch.setattr("test_architecture.PACKAGE", tmp_path)
    assert list(arrows("stats")) == [("lesson", False)]
    with pytest.raises(AssertionError, match="stats imports lesson, an arrow"):
        test_a_module_imports_only_from_its_left("stats")


def test_results_open_without_tensorflow_installed(tmp_path):
    source = WITHOUT_TENSORFLOW + (
        "from shathenet_utils import datasets, recipes, stats, records, plots, facts, experiments, lesson, __main__\n"
        "from helpers import made_up_runs\n"
        "assert len(experiments.check()) >= 0\n"
        "runs = made_up_runs()\n"
        "assert '17,882' in runs.table().to_string()\n"
        "assert plots.seeds(runs, name='x').png()\n"
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
        f"record = records.load(pathlib.Path({str(tmp_path / 'seed0.json')!r}))\n"
        "print(records.Runs('made_up', {'plain': [record]}, {}).table().to_string())\n"
        "print(time.process_time())\n"
    )
    *table, seconds = python(source).stdout.splitlines()
    assert "17,882" in table[-1]
    assert float(seconds) < 2.5, f"Opening a record and drawing its table took {seconds} s of processor time."


def test_the_package_is_found_from_its_file():
    assert (ROOT / "pyproject.toml").is_file()
    assert shathenet_utils.output_folder() != ROOT  # under test, what is written goes elsewhere
