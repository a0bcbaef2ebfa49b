"""What an experiment is: a question, its variants (model × recipe × data), its seeds; and how its records are read.

Nothing here trains, and nothing needs TensorFlow. The book's own experiments are declared in `book/`.
"""

import dataclasses
import html
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

from shathenet_utils import datasets, files, records
from shathenet_utils.recipes import Recipe
from shathenet_utils.runs import Runs

BUDGETS = ("quick", "full")
SWEEP_SEED = 100
"""Of all sweeps; no final run has it."""


@dataclasses.dataclass(frozen=True)
class Variant:
    """One variant of an experiment: a model, a recipe and data.

    model: a function's name in `models`, or a user's function that returns a `keras.Model`. model_arguments: what it is
    called with, only what differs from its defaults. label: the words a reader sees; the name where none is given.
    validation: how many training images are set apart. images_per_class: train on so many of each class, drawn by the
    run's seed; 0: on all. feature_extractor: a pretrained network and its input size, "efficientnet_lite0@160", whose
    features the model is given in place of the images, with those of their mirror images. pilot: a trial run, shown
    without interval, deciding nothing. seeds: where they are other than the experiment's. tuned_by: the sweep that
    chose the learning rate, by runs of this configuration; or "sweep/series", by those of another. starts_from: a
    declared variant of a linear head, "lite0_size/128": the run begins with the pretrained body, and with the head that
    this variant ends with.
    """

    name: str
    model: str | Callable
    recipe: Recipe
    model_arguments: dict = dataclasses.field(default_factory=dict)
    label: str = ""
    dataset: str = "cifar10"
    validation: int = 5000
    images_per_class: int = 0
    feature_extractor: str = ""
    pilot: bool = False
    seeds: tuple[int, ...] = ()
    tuned_by: str = ""
    starts_from: str = ""

    def __post_init__(self):
        without_flip = dataclasses.replace(self.recipe.augmentation, flip="none")
        if self.feature_extractor and without_flip.changes_images:
            raise ValueError(f"{self.name}: features of images can be flipped, and not augmented otherwise.")
        if not self.label:
            object.__setattr__(self, "label", self.name.replace("_", " "))

    @property
    def model_name(self) -> str:
        """The name under which the model stands in a record."""
        return self.model if isinstance(self.model, str) else f"custom:{self.model.__name__}"

    def _data_and_model(self) -> dict:
        lists = {
            name: list(value) if isinstance(value, tuple) else value for name, value in self.model_arguments.items()
        }
        special = {name: getattr(self, name) for name in ("images_per_class", "feature_extractor", "starts_from")}
        return {
            "data": {"dataset": self.dataset, "validation": self.validation, **{k: v for k, v in special.items() if v}},
            "model": {"name": self.model_name, "arguments": lists},
        }

    def config(self) -> dict:
        """The full configuration, as a record holds it: JSON has lists where Python may have tuples."""
        return self._data_and_model() | {"recipe": self.recipe.config()}

    def identity(self) -> dict:
        """The configuration without the recipe's fields at their defaults."""
        return self._data_and_model() | {"recipe": self.recipe.identity()}

    def config_hash(self) -> str:
        """Sixteen hex digits that change with anything that makes these runs other runs."""
        return records.config_hash(self.identity())


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A question with its variants and seeds.

    quick_epochs: how many epochs the budget "quick" trains; 0: the recipe's own. keep_weights: the variants whose first
    seed keeps its final weights. keep_weight_history: those whose first seed keeps its weights after every epoch.
    planned: not all of its runs are recorded yet, and no page rests on it. sweep: its runs choose a learning rate, on
    validation, with `SWEEP_SEED`; the test set is not read. outer_rates: those to which it is extended where the best
    lies at its edge, see `book.learning_rates`. threads: TensorFlow's, of each run; the bit-for-bit promise
    holds per number of threads. custom: a user's, with no records of the book.

    Raises ValueError where two variants have one name, one label or one configuration, where a name means no variant,
    and for seeds, epochs or threads that no run can have.
    """

    name: str
    question: str
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    quick_epochs: int = 0
    keep_weights: tuple[str, ...] = ()
    keep_weight_history: tuple[str, ...] = ()
    planned: bool = False
    sweep: bool = False
    outer_rates: tuple[float, ...] = ()
    threads: int = 2
    custom: bool = False

    def __post_init__(self):
        names = [variant.name for variant in self.variants]
        if len(set(names)) < len(names):
            raise ValueError(f"Experiment {self.name} has two variants of one name: {', '.join(names)}.")
        if not self.custom and len({variant.config_hash() for variant in self.variants}) < len(names):
            raise ValueError(f"Experiment {self.name} has two variants of one configuration.")
        labels = [variant.label for variant in self.variants]
        if len(set(labels)) < len(labels):
            raise ValueError(f"Experiment {self.name} has two variants of one label: {', '.join(labels)}.")
        for field in ("keep_weights", "keep_weight_history"):
            if unknown := set(getattr(self, field)) - set(names):
                raise ValueError(f"Experiment {self.name}: {field} names no variant: {', '.join(sorted(unknown))}.")
        if self.sweep:
            object.__setattr__(self, "seeds", (SWEEP_SEED,))
        for seeds in (self.seeds, *(variant.seeds for variant in self.variants if variant.seeds)):
            if not seeds or len(set(seeds)) < len(seeds) or (SWEEP_SEED in seeds and not self.sweep):
                raise ValueError(f"Experiment {self.name} needs seeds, each once and none {SWEEP_SEED}, not {seeds}.")
        if self.quick_epochs < 0 or self.threads < 1:
            raise ValueError(f"Experiment {self.name} needs quick_epochs from 0 and threads from 1.")
        if self.outer_rates and not self.sweep:
            raise ValueError(f"Experiment {self.name} is no sweep, and has outer_rates.")
        if self.sweep and any(variant.validation == 0 for variant in self.variants):
            raise ValueError(f"Experiment {self.name}: a sweep chooses on validation images; set some apart.")

    def variant(self, name: str) -> Variant:
        """The variant of that name. Raises ValueError, listing those there are, for an unknown one."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        names = ", ".join(variant.name for variant in self.variants)
        raise ValueError(f"Experiment {self.name} has no variant {name!r}; it has {names}.")

    def seeds_of(self, variant: Variant) -> tuple[int, ...]:
        """The seeds that a variant is recorded with: its own, else all, or the first of a pilot or a sweep."""
        return self.seeds[:1] if variant.pilot or self.sweep else variant.seeds or self.seeds

    def path(self, variant: Variant, seed: int, folder: Path | None = None) -> Path:
        """Where the record of one run lies, below the folder of records (or, if given, another)."""
        return (folder or records.RECORDS) / self.name / variant.name / f"seed{seed}.json"

    def load(self, variants: Sequence[str] | None = None) -> Runs:
        """The recorded runs, and beside them the user's own full runs that are there already; nothing is trained.

        variants: names; all where none are given. Of a custom experiment the user's runs stand in the records' place,
        whatever dataset they are on, only those on the images that its newest run saw: runs on other images are no runs
        of one variant. Raises RecordError where a record is missing, damaged or of another declaration.
        """
        chosen = [self.variant(name) for name in variants] if variants is not None else list(self.variants)
        recorded, user_runs = {}, {}
        for variant in chosen:
            seeds = self.seeds_of(variant)
            declared = [records.runs_folder(variant.dataset, "full")]
            folders = records.all_runs_folders("full") if self.custom else declared
            places = itertools.product(folders, seeds)
            own = [found for folder, seed in places if (found := load_user_record(self, variant, seed, folder))]
            if not self.custom:
                recorded[variant.name] = [load_record(self, variant, seed) for seed in seeds]
                user_runs[variant.name] = own
            elif own:
                recorded[variant.name] = own
        if self.custom:
            recorded = self._of_the_newest_images(recorded)
        return self.runs(recorded, {name: own for name, own in user_runs.items() if own})

    def _of_the_newest_images(self, found: dict[str, list[dict]]) -> dict[str, list[dict]]:
        """Of a user's runs, those on the images of the run that ended last; of each variant, on as many as its last."""

        def age(record):
            folder = records.runs_folder(record["dataset"], "full")
            return self.path(self.variant(record["variant"]), record["seed"], folder).stat().st_mtime_ns

        newest = max((record for own in found.values() for record in own), key=age, default=None)
        kept = {}
        for name, own in found.items():
            same = [record for record in own if record["data_fingerprint"] == newest["data_fingerprint"]]
            if same:
                images = max(same, key=age)["split"]["train"]
                kept[name] = [record for record in same if record["split"]["train"] == images]
        return kept

    def runs(self, recorded: dict[str, list[dict]], user_runs: dict[str, list[dict]]) -> Runs:
        """Records of this experiment, with its variants' labels and pilots."""
        pilots = tuple(variant.name for variant in self.variants if variant.pilot)
        labels = {variant.name: variant.label for variant in self.variants}
        return Runs(self.name, recorded, user_runs, pilots, labels)

    def table(self):
        """A pandas table of the variants: what differs between them, by their labels."""
        import pandas

        usual = {**_flat(Recipe(epochs=1).config()), "epochs": None}
        rows = [_flat(variant.config()) for variant in self.variants]
        names = dict.fromkeys(name for row in rows for name in row)
        rows = [{name: row.get(name, "default") for name in names} for row in rows]
        index = [variant.label + (" (pilot)" if variant.pilot else "") for variant in self.variants]
        table = pandas.DataFrame(rows, pandas.Index(index, name="variant"))
        if len(rows) == 1:
            return table[[name for name in table if str(table[name].iloc[0]) != str(usual.get(name))]]
        return table[[name for name in table if table[name].nunique() > 1]]

    def _seeds(self) -> str:
        counts = {len(self.seeds_of(variant)) for variant in self.variants}
        low, high = min(counts), max(counts)
        if high == 1:
            return "One seed."
        return f"{low} seeds per variant." if low == high else f"{low} to {high} seeds per variant."

    def __repr__(self):
        """What a notebook's page shows, in plain text; all fields would fill a screen."""
        return f"{self.question} {self._seeds()}\n{self.table().to_string()}"

    def _repr_html_(self):
        return f"<p><b>{html.escape(self.question)}</b> {self._seeds()}</p>{self.table().to_html()}"


def _flat(config: dict, prefix: str = "", argument: bool = False) -> dict:
    """A configuration in one level, readable names: model "v1_0" apart from an optimizer's name "adam".

    argument: these are a model's arguments, which may have a recipe field's name.
    """
    flat = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= _flat(value, prefix if key in ("data", "recipe") else key, key == "arguments")
            continue
        name = key.replace("_", " ")
        if argument:
            name = f"model's {name}"
        elif key == "name":
            name = prefix
        flat[name] = str(value) if isinstance(value, list) else value
    return flat


def complete_config(config: dict) -> dict:
    """A record's configuration, with the recipe's fields that are newer than the record: they have their defaults."""

    def filled(given: dict, usual: dict) -> dict:
        parts = {name: filled(given.get(name, {}), value) for name, value in usual.items() if isinstance(value, dict)}
        return usual | given | parts

    return config | {"recipe": filled(config["recipe"], Recipe(epochs=1).config())}


def load_record(experiment: Experiment, variant: Variant, seed: int, folder: Path | None = None) -> dict:
    """A record that matches its declaration; RecordError otherwise."""
    path = experiment.path(variant, seed, folder)
    record = records.load(path)
    if record["config_hash"] != variant.config_hash():
        raise records.RecordError(
            f"{path} is of another declaration than {experiment.name} {variant.name} has now: train it again "
            f"with `python -m shathenet_utils train {experiment.name} --record`."
        )
    return record


def load_user_record(
    experiment: Experiment, variant: Variant, seed: int, folder: Path, data: datasets.Dataset | None = None
) -> dict | None:
    """A user's run, if there is one of this declaration on these images (and, for a custom model, of this
    architecture)."""
    try:
        record = load_record(experiment, variant, seed, folder)
    except files.FileError:
        return None
    if data is not None:
        part = datasets.subset_per_class(data, variant.images_per_class, seed)
        if record["data_fingerprint"] != data.fingerprint or record["split"].get("digest") != part.digest:
            return None
    if callable(variant.model):
        from shathenet_utils import architecture, models

        built = models.build(variant.model, variant.model_arguments)
        if record["model_digest"] != architecture.model_digest(built):
            return None
    return record


def custom_experiment(model: Callable, recipe: Recipe, *, seeds: Sequence[int] = (0, 1, 2), **arguments) -> Experiment:
    """An experiment around a user's own model function: the same protocol, table and figures.

    model: returns a `keras.Model` from images (n, 32, 32, 3), values 0 to 255, to logits (n, 10). arguments: as for
    `Variant`. Example: `runner.train(custom_experiment(my_network, Recipe(epochs=10)))`.
    """
    if not callable(model) or not hasattr(model, "__name__") or hasattr(model, "layers"):
        raise TypeError(
            "custom_experiment() needs the function that returns a model, "
            f"not {type(model).__name__}: leave out the ()."
        )
    variant = Variant(model.__name__, model, recipe, **arguments)
    question = f"How accurate is {model.__name__}?"
    return Experiment(f"custom_{model.__name__}", question, (variant,), tuple(seeds), custom=True)


def check_budget(budget: str) -> None:
    """Raises ValueError, listing those there are, for an unknown budget."""
    if budget not in BUDGETS:
        raise ValueError(f"budget must be one of {', '.join(BUDGETS)}, not {budget!r}.")
