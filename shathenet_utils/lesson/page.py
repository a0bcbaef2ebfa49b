"""A page's furniture: its header, the check of its network, results, exercise checks, and the environment."""

import html
import importlib.metadata
import itertools
import json
import os
import platform
import re

from shathenet_utils import ROOT, datasets, exercises, markers, plots, records
from shathenet_utils.lesson.shown import Shown, facts_table
from shathenet_utils.machine import machine
from shathenet_utils.runs import Runs

WORDS_PER_MINUTE = 200
PACKAGES = ("tensorflow", "keras", "numpy", "matplotlib", "jupyterlab", "ipywidgets")


def header(page: str, *experiments) -> Shown:
    """The minutes that a page takes, per section, and what its experiments took to train.

    page: its number, "01". Reading is counted: the words of the Markdown at 200 per minute, code left out. What an
    author measured comes from the notebook's metadata: {"shathenet": {"minutes": {"exercises": 40, "sections":
    {"part-keras": 3}}}}, minutes beside reading. Training again is as long as the records took, each variant's runs
    counted as its fastest, which shared its machine least, and as the share of the cores that it used.
    """
    path = next((ROOT / "notebooks").glob(f"{page}_*.ipynb"))
    minutes = section_minutes(json.loads(path.read_text(encoding="utf-8")))
    total = sum(time for title, time in minutes.items() if not title.startswith("Appendix"))
    sentences = [f"About {total} minutes in all. The page runs from its records in about a minute."]
    if experiments:
        sentences.append(_training_again(experiments))
    rows = [f"{title} ({time} min)" for title, time in minutes.items()]
    items = "".join(f"<li>{html.escape(row)}</li>" for row in rows)
    listed = f'<ul style="columns:20em;margin:0.3em 0">{items}</ul>'
    words = " ".join(sentences)
    return Shown(f"<p><em>{html.escape(words)}</em></p>{listed}", "\n".join([words, *rows]))


def section_minutes(notebook) -> dict[str, int]:
    """Whole minutes, at least one, per section of a page by its heading, in the page's order.

    A section begins at a Markdown cell that opens with a heading of the first or second level; the first one is the
    "Introduction". Minutes of the metadata are found by one of that cell's tags.

    notebook: a page as JSON holds it; `nbformat`, which reads it too, would take a page's start a second to import.
    """
    written = notebook["metadata"].get("shathenet", {}).get("minutes", {})
    extra = {**written.get("sections", {}), "part-exercises": written.get("exercises", 0)}
    words, beside, title = {}, {}, "Introduction"
    for cell in notebook["cells"]:
        if cell["cell_type"] != "markdown":
            continue
        source = "".join(cell["source"])
        heading = re.match(r"##? (.+)", source)
        if heading and words:
            title = re.sub(r"[*`]", "", heading[1]).strip()
        words[title] = words.get(title, 0) + _words(source)
        if heading:
            beside[title] = sum(extra.get(tag, 0) for tag in cell["metadata"].get("tags", ()))
    return {title: max(1, round(count / WORDS_PER_MINUTE)) + beside.get(title, 0) for title, count in words.items()}


def _words(source: str) -> int:
    """How many words a reader reads; a computed number is one, whatever it is."""
    text = markers.without_code(markers.without_numbers(source, "number"))
    return len(re.sub(r"<[^>]*>", " ", text).split())


def _training_again(experiments) -> str:
    seconds, count, machines = 0.0, 0, set()
    for runs in itertools.chain.from_iterable(experiment.load().recorded.values() for experiment in experiments):
        seconds += len(runs) * min(record["seconds"]["total"] * _share_of_the_machine(record) for record in runs)
        count += len(runs)
        machines |= {f"{record['machine']['cores']} cores ({record['machine']['processor']}" for record in runs}
    time = f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
    known = [name for name in sorted(machines) if not any(other.startswith(f"{name} ") for other in machines)]
    return f"Training its {count} runs again takes about {time} on {' and '.join(f'{name})' for name in known)}."


def _share_of_the_machine(record) -> float:
    """A run of one thread leaves the other cores to runs beside it."""
    return min(1, record["threads"]["intra_op"] / record["machine"]["cores"])


def results(runs: Runs, baseline: str, *, name: str, **arguments) -> plots.Drawing:
    """An experiment's table, shown at once, and the figure of each variant's difference from the baseline.

    name: of the figure's file. arguments: further ones of `plots.differences`.
    """
    from IPython.display import display

    display(runs.table())
    return plots.differences(runs, baseline, name=name, **arguments)


def check_exercise(name: str, function) -> None:
    """Compare a reader's function with the exercise's reference, "01.3", and print the input, the reader's value and
    the expected value of a case where they differ. Nothing is raised, so that the page runs on."""
    try:
        exercise = exercises.find(name)
    except KeyError as error:
        print(error.args[0])
        return
    print(exercises.verdict(name, exercise, function))


def assert_same_network(model, name: str, arguments: dict | None = None) -> None:
    """Assert that a page's network is the package's, so that recorded weights load into it.

    name, arguments: of a function in `models`. Compares the digests, and the names of the layers that have
    weights. Raises AssertionError, which names the first layer that differs.
    """
    from shathenet_utils import models
    from shathenet_utils.architecture import model_digest

    package = models.build(name, arguments)
    names = [[layer.name for layer in network.layers if layer.weights] for network in (model, package)]
    if model_digest(model) == model_digest(package) and names[0] == names[1]:
        return
    for mine, theirs in itertools.zip_longest(model.layers, package.layers):
        here, there = _arguments(mine), _arguments(theirs)
        differs = [key for key in {**here, **there} if here.get(key) != there.get(key)]
        if differs:
            here, there = (", ".join(f"{key}={layer.get(key)}" for key in differs) for layer in (here, there))
            where = f"at {theirs.name}" if theirs is not None else "after the last layer"
            raise AssertionError(f"This is not {name}: {where} it has {here}, and {name} has {there}.")
    raise AssertionError(f"This is not {name}: its layers are connected otherwise.")


def _arguments(layer) -> dict:
    """What makes a layer the layer it is: its kind, its name where it has weights, its arguments."""
    if layer is None:
        return {"kind": "no layer"}
    skipped = ("name", "dtype", "trainable", "batch_shape", "sparse", "ragged", "optional")
    arguments = {key: _argument(value) for key, value in layer.get_config().items() if key not in skipped}
    return {"kind": type(layer).__name__, "name": layer.name if layer.weights else None, **arguments}


def _argument(value):
    """An argument of a layer; of a nested object, such as an initialiser, its class and what is set."""
    if not isinstance(value, dict) or "class_name" not in value:
        return value
    given = (f"{key}={item}" for key, item in value["config"].items() if item is not None and key != "seed")
    return f"{value['class_name']}({', '.join(given)})"


def environment() -> Shown:
    """What to send with a bug report: versions, machine, threads, and whether the data is there."""
    from shathenet_utils import backend

    here = machine()
    folder = "$SHATHENET_DATA" if os.environ.get("SHATHENET_DATA") else "data/"
    return facts_table({
        "book": importlib.metadata.version("shathenet-utils"),
        "Python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in PACKAGES},
        "system": f"{platform.system()} {platform.release().split('-')[0]} on {platform.machine()}",
        "processor": f"{here['processor']}, {here['cores']} cores, {here['memory_gib']} GiB",
        "TensorFlow's threads": " + ".join(f"{count} {name}" for name, count in backend.threads().items()),
        "CIFAR-10": f"{'found' if datasets.cifar10_is_here() else 'not'} in {folder}",
    })  # fmt: skip


def differing_versions() -> dict[str, tuple[str, str]]:
    """Packages whose installed version is not the one the book's records were made with: {package: (here, records)}."""
    made_with = {}
    for path in sorted(records.RECORDS.glob("*/*/*.json")):
        made_with |= records.load(path)["versions"]
    made_with.pop("python", None)
    here = {package: importlib.metadata.version(package) for package in made_with}
    return {
        package: (here[package], made_with[package]) for package in made_with if here[package] != made_with[package]
    }
