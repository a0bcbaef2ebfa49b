"""The declared experiments: a question, its variants (model × recipe × data), and its seeds.

Browsing what is recorded opens without TensorFlow; the network wing is imported where a run trains.
"""

import contextlib
import dataclasses
import datetime
import html
import json
import os
import platform
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np

from shathenet_utils import datasets, recipes, records
from shathenet_utils.recipes import Recipe

BUDGETS = ("taste", "lesson", "full")


@dataclasses.dataclass(frozen=True)
class Variant:
    """One arm of an experiment: a model, a recipe and data.

    model: a function's name in `models`, or a function of the reader's own that returns a `keras.Model`.
    model_arguments: what it is called with, only what differs from its defaults. validation: how many
    training images are set apart. images_a_class: train on so many of each class, drawn by the run's seed; 0: on all.
    frozen: a pretrained network and its input size, "efficientnet_lite0@160", whose features the model is given in
    place of the pictures, with those of their mirror images. pilot: a trial run, shown without interval, deciding
    nothing. seeds: where they are fewer than the experiment's.
    """

    name: str
    model: str | Callable
    recipe: Recipe
    model_arguments: dict = dataclasses.field(default_factory=dict)
    dataset: str = "cifar10"
    validation: int = 5000
    images_a_class: int = 0
    frozen: str = ""
    pilot: bool = False
    seeds: tuple[int, ...] = ()

    def __post_init__(self):
        if self.frozen and dataclasses.replace(self.recipe, flip="none").augments:
            raise ValueError(f"{self.name}: features of pictures can be flipped, and not augmented otherwise.")

    @property
    def model_name(self) -> str:
        """The name under which the model stands in a record."""
        return self.model if isinstance(self.model, str) else f"own:{self.model.__name__}"

    def config(self) -> dict:
        """The full configuration, as a record holds it: JSON has lists where Python may have tuples."""
        lists = {
            name: list(value) if isinstance(value, tuple) else value for name, value in self.model_arguments.items()
        }
        special = {"images_a_class": self.images_a_class, "frozen": self.frozen}
        return {
            "data": {"dataset": self.dataset, "validation": self.validation, **{k: v for k, v in special.items() if v}},
            "model": {"name": self.model_name, "arguments": lists},
            "recipe": self.recipe.config(),
        }

    def config_hash(self) -> str:
        """Changes with anything that makes these runs other runs; fields at their defaults don't enter."""
        return records.config_hash({**self.config(), "recipe": self.recipe.identity()})


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A question with its variants and seeds.

    epochs_by_budget: how many epochs a shorter budget trains; a budget not named here trains the recipe's own.
    keep_weights: the variants whose first seed keeps its final weights. keep_snapshots: those whose first
    seed keeps all its weights after every epoch. planned: not all of its runs are recorded yet, and no page rests on
    it.
    """

    name: str
    question: str
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    epochs_by_budget: dict[str, int] = dataclasses.field(default_factory=dict)
    keep_weights: tuple[str, ...] = ()
    keep_snapshots: tuple[str, ...] = ()
    planned: bool = False

    def variant(self, name: str) -> Variant:
        """The variant of that name. Raises ValueError, listing those there are, for an unknown one."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        names = ", ".join(variant.name for variant in self.variants)
        raise ValueError(f"Experiment {self.name} has no variant {name!r}; it has {names}.")

    def seeds_of(self, variant: Variant) -> tuple[int, ...]:
        """The seeds that a variant is recorded with: its own, else all, or the first of a pilot."""
        return self.seeds[:1] if variant.pilot else variant.seeds or self.seeds

    def path(self, variant: Variant, seed: int, folder: Path | None = None) -> Path:
        """Where the record of one run lies, below the folder of records (or, if given, another)."""
        return (folder or records.RECORDS) / self.name / variant.name / f"seed{seed}.json"

    def table(self):
        """A pandas table of the variants: what differs between them."""
        import pandas

        usual = {**Recipe(epochs=1).config(), "epochs": None}
        rows = [_flat(variant.config()) for variant in self.variants]
        names = dict.fromkeys(name for row in rows for name in row)
        rows = [{name: row.get(name, "default") for name in names} for row in rows]
        index = [variant.name + (" (pilot)" if variant.pilot else "") for variant in self.variants]
        table = pandas.DataFrame(rows, pandas.Index(index, name="variant"))
        if len(rows) == 1:
            return table[[name for name in table if str(table[name].iloc[0]) != str(usual.get(name.replace(" ", "_")))]]
        return table[[name for name in table if table[name].nunique() > 1]]

    def _seeds(self) -> str:
        counts = {len(self.seeds_of(variant)) for variant in self.variants}
        return f"{' to '.join(map(str, sorted({min(counts), max(counts)})))} seeds each."

    def __repr__(self):
        """What a notebook's page shows, in plain text; all fields would fill a screen."""
        return f"{self.question} {self._seeds()}\n{self.table().to_string()}"

    def _repr_html_(self):
        return f"<p><b>{html.escape(self.question)}</b> {self._seeds()}</p>{self.table().to_html()}"

    def run(
        self,
        *,
        retrain: bool = False,
        budget: str = "full",
        variants: Sequence[str] | None = None,
        seeds: Sequence[int] | None = None,
        data: datasets.Dataset | None = None,
        on_epoch: Callable[[dict], None] | None = None,
    ) -> records.Runs:
        """The experiment's records, and beside them the reader's own runs.

        What is recorded is loaded from `data/records/`; what is not is trained, unless it was already, and stands in
        the record's place. retrain: train the chosen variants and seeds here, recorded or not (Ctrl-C is safe). budget:
        of what is trained here. data: what to train on in place of the declared dataset. The reader's runs go to
        `data/runs/`, never to the records. Raises RecordError where a record is damaged or of another declaration.
        """
        check_budget(budget)
        chosen = [self.variant(name) for name in variants] if variants is not None else list(self.variants)
        declared = EXPERIMENTS.get(self.name) is self
        recorded, own, stopped = {}, {}, False
        for variant in chosen:
            there = {}
            for seed in self.seeds_of(variant) if declared else ():
                if self.path(variant, seed).exists():
                    there[seed] = _load(self, variant, seed, records.RECORDS)
            recorded[variant.name] = list(there.values())
            folder = records.runs_folder(data.name if data else variant.dataset, budget)
            for seed in self.seeds_of(variant) if seeds is None else seeds:
                found = None if retrain else _load_own(self, variant, seed, folder, data)
                if found is None and (retrain or seed not in there) and not stopped:
                    limit = _live_seconds()
                    try:
                        found = train(self, variant, seed, data=data, budget=budget, on_epoch=on_epoch, seconds=limit)
                    except KeyboardInterrupt:  # before the first step or after the last
                        print("Stopped; the same call will go on from the last whole epoch.")
                    stopped = found is None  # Ctrl-C: no other run is begun
                if found is not None:
                    others = [one for one in there.values() if one["data_fingerprint"] != found["data_fingerprint"]]
                    beside = seed in there or (declared and budget != "full") or others
                    place = own.setdefault(variant.name, []) if beside else recorded[variant.name]
                    place.append(found)
        pilots = tuple(variant.name for variant in chosen if variant.pilot)
        return records.Runs(self.name, {name: found for name, found in recorded.items() if found}, own, pilots)

    def load(self, variants: Sequence[str] | None = None) -> records.Runs:
        """As `run`, and nothing is trained. Raises RecordError where a record is missing too."""
        for variant in self.variants if variants is None else map(self.variant, variants):
            for seed in self.seeds_of(variant):
                if not self.path(variant, seed).exists():
                    records.load(self.path(variant, seed))  # which says what to do
        return self.run(variants=variants)


def _flat(config: dict) -> dict:
    flat = {}
    for key, value in config.items():
        flat |= (
            _flat(value)
            if isinstance(value, dict)
            else {key.replace("_", " "): str(value) if isinstance(value, list) else value}
        )
    return flat


def _live_seconds() -> float | None:
    """The limit under test on what a notebook trains live, in seconds; a reader has none."""
    limit = os.environ.get("SHATHENET_LIVE_SECONDS")
    return float(limit) if limit else None


def _load(experiment: Experiment, variant: Variant, seed: int, folder: Path) -> dict:
    """A record that matches its declaration; RecordError otherwise."""
    path = experiment.path(variant, seed, folder)
    record = records.load(path)
    if record["config_hash"] != variant.config_hash():
        raise records.RecordError(
            f"{path} is of another declaration than {experiment.name} {variant.name} has now: train it again "
            f"with `python -m shathenet_utils train {experiment.name} --record`."
        )
    return record


def _load_own(experiment: Experiment, variant: Variant, seed: int, folder: Path, data=None) -> dict | None:
    """A reader's run, if there is one of this declaration on these pictures (and, for a model of their own, of this
    architecture)."""
    try:
        record = _load(experiment, variant, seed, folder)
    except records.RecordError:
        return None
    if data is not None:
        part = datasets.few(data, variant.images_a_class, seed)
        if (record["data_fingerprint"], record["split"]) != (part.fingerprint, part.split):
            return None
    if callable(variant.model):
        from shathenet_utils import models

        if record["model_digest"] != models.model_digest(models.build(variant.model, variant.model_arguments)):
            return None
    return record


def own(model: Callable, recipe: Recipe, *, seeds: Sequence[int] = (0, 1, 2), **arguments) -> Experiment:
    """An experiment around a model function of the reader's own: the same protocol, table and figures.

    model: returns a `keras.Model` from uint8-ranged pictures (n, 32, 32, 3) to logits (n, 10). arguments: as for
    `Variant`. Example: `experiments.own(my_network, Recipe(epochs=10)).run()`.
    """
    if not callable(model) or not hasattr(model, "__name__") or hasattr(model, "layers"):
        raise TypeError(f"own() needs the function that returns a model, not {type(model).__name__}: leave out the ().")
    variant = Variant(model.__name__, model, recipe, **arguments)
    return Experiment(f"own_{model.__name__}", f"How good is {model.__name__}?", (variant,), tuple(seeds))


def check() -> list[str]:
    """What is wrong with the records, a sentence each: missing, damaged, undeclared, or of another declaration."""
    wrong, expected = [], set()
    for experiment in EXPERIMENTS.values():
        for variant in experiment.variants:
            for seed in experiment.seeds_of(variant):
                path = experiment.path(variant, seed)
                expected.add(path)
                if experiment.planned and not path.exists():
                    continue
                try:
                    record = _load(experiment, variant, seed, records.RECORDS)
                    names = {"experiment": experiment.name, "variant": variant.name, "seed": seed, "budget": "full"}
                    if any(record[key] != value for key, value in names.items()):
                        wrong.append(
                            f"{path} says it is {record['experiment']} {record['variant']} seed {record['seed']}."
                        )
                    for kept in (record["weights"] or {}).values():
                        records.load_arrays(kept)
                except records.RecordError as error:
                    wrong.append(str(error))
    for path in sorted(records.RECORDS.glob("*/*/*.json")):
        if path not in expected:
            wrong.append(f"{path} belongs to no declared run: delete it, or declare it.")
    return wrong


def check_budget(budget: str) -> None:
    """Raises ValueError, listing those there are, for an unknown budget."""
    if budget not in BUDGETS:
        raise ValueError(f"budget must be one of {', '.join(BUDGETS)}, not {budget!r}.")


@dataclasses.dataclass(frozen=True)
class Run:
    """One run: a variant of an experiment with one seed, in a budget, on a dataset; and where its files lie.

    record: whether it is to be the book's evidence.
    """

    experiment: Experiment
    variant: Variant
    seed: int
    budget: str
    dataset: str
    record: bool = False

    @property
    def name(self) -> str:
        """How it is told: "v1_0 adam_1e-3 seed 0"."""
        return f"{self.experiment.name} {self.variant.name} seed {self.seed}"

    @property
    def recipe(self) -> Recipe:
        """The variant's, with the epochs of the budget."""
        epochs = self.experiment.epochs_by_budget.get(self.budget, self.variant.recipe.epochs)
        return dataclasses.replace(self.variant.recipe, epochs=epochs)

    @property
    def folder(self) -> Path:
        """Below which its record will lie."""
        return records.RECORDS if self.record else records.runs_folder(self.dataset, self.budget)

    @property
    def path(self) -> Path:
        """Its record's."""
        return self.experiment.path(self.variant, self.seed, self.folder)

    @property
    def checkpoint(self) -> Path:
        """Where it keeps its state until it is finished."""
        return records.checkpoint_path(self.path.relative_to(self.folder), self.dataset, self.budget)

    def weights_path(self, suffix: str) -> Path:
        """Weights of the book's evidence lie under data/weights/, others beside their record."""
        root = records.WEIGHTS if self.record else self.folder
        return root / self.path.relative_to(self.folder).with_name(self.path.stem + suffix)

    def is_there(self) -> bool:
        """Whether there is a record of it, of the declaration as it is now. Raises RecordError for a damaged one."""
        if not self.path.exists():
            return False
        record = records.load(self.path)
        whole = (
            record["status"] == "diverged" or record["epochs"] == self.recipe.epochs
        )  # the budget's, not stopped early
        return whole and record["config_hash"] == self.variant.config_hash()

    def stamp(self) -> tuple[int, int] | None:
        """Changes when another record takes this one's place; None while there is none."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def keeps(self, variants: Sequence[str]) -> bool:
        """Whether this is the run of those variants that keeps weights: of the first seed, in the full budget."""
        first = self.experiment.seeds_of(self.variant)[0]
        return self.budget == "full" and self.seed == first and self.variant.name in variants

    @contextlib.contextmanager
    def alone(self, wait: bool = True, on_wait: Callable | None = None):
        """Be the only process at this run, and clear away what a killed one left; as `records.locked`."""
        with records.locked(self.checkpoint.with_suffix(".lock"), wait, on_wait) as waited:
            weights = (self.weights_path(suffix) for suffix in (".npz", "_epochs.npz"))
            for place in (self.path, self.checkpoint, *weights):
                records.remove_leftovers(place)
            yield waited


def check_evidence(experiment: Experiment, variant: Variant, seed: int, budget: str) -> None:
    """Raises ValueError for what no record can hold: a shorter budget, or a run that is not declared."""
    if budget != "full":
        raise ValueError("Only a run of the full budget on the declared data can be recorded.")
    if EXPERIMENTS.get(experiment.name) is not experiment or seed not in experiment.seeds_of(variant):
        raise ValueError(f"Only a declared run can be recorded; {experiment.name} {variant.name} seed {seed} is none.")


def load_data(variant: Variant) -> datasets.Dataset:
    """The dataset that a variant declares; raises as `datasets` does, and ValueError for an unknown one."""
    if variant.dataset == "toy_shapes":
        return datasets.toy_shapes()
    if variant.dataset != "cifar10":
        raise ValueError(f"There is no dataset {variant.dataset!r}; there are cifar10, toy_shapes.")
    return datasets.cifar10(validation=variant.validation, download=not os.environ.get("SHATHENET_OFFLINE"))


def train(
    experiment: Experiment,
    variant: Variant,
    seed: int,
    *,
    data: datasets.Dataset | None = None,
    budget: str = "full",
    record: bool = False,
    seconds: float | None = None,
    on_epoch: Callable[[dict], None] | None = None,
    wait: bool = True,
) -> dict | None:
    """Train one run and write its record; returns the record, or None where Ctrl-C stopped it.

    data: what to train on instead of the declared dataset, for readers without it. record: the run is the
    book's evidence, written below `data/records/`; otherwise it goes to `data/runs/`. seconds: a limit, under test.
    Where another process is at the same run, its record is waited for and returned; wait: False raises records.Busy.
    Raises ValueError where `record` asks for what evidence must not be: an undeclared run, a shorter budget, other
    data, threads that don't repeat; RecordError where the record could not be written.
    """
    from shathenet_utils import blocks

    check_budget(budget)
    if record and (data is not None or seconds is not None):
        raise ValueError("Only a run of the full budget on the declared data can be recorded.")
    if record:
        check_evidence(experiment, variant, seed, budget)
    if record and blocks.threads()["inter_op"] != 1:
        raise ValueError("TensorFlow was started before shathenet_utils set its threads: record from a fresh process.")
    asked = Run(experiment, variant, seed, budget, data.name if data else variant.dataset, record)
    before = asked.stamp()
    data = data or load_data(variant)
    run = dataclasses.replace(asked, dataset=data.name)
    records.check_writable(run.path.parent)

    def tell():
        print(f"Another process is training {run.name}: waiting for it.")

    with run.alone(wait, tell) as waited:
        ended_elsewhere = waited or asked.stamp() != before
        if ended_elsewhere and (found := _load_own(experiment, variant, seed, run.folder, data)):
            return found
        result = _train(run, data, seconds, on_epoch)
        if result is not None:
            records.save(result, run.path)
            run.checkpoint.unlink(missing_ok=True)
        return result


def built(variant: Variant, seed: int):
    """A variant's model as a run with this seed starts from it: its weights drawn, in its precision."""
    from shathenet_utils import blocks, models, training

    blocks.keras.config.set_dtype_policy(variant.recipe.precision)
    try:
        training.set_seed(seed)
        return models.build(variant.model, variant.model_arguments)
    finally:
        blocks.keras.config.set_dtype_policy("float32")


def trained(name: str, variant: str, seed: int = 0):
    """A recorded run's network, float32, with the weights that it ended with, and its record.

    Raises ValueError for a run that kept no weights, or that isn't declared, RecordError where they are missing.
    """
    from shathenet_utils import models, training

    experiment = get(name)
    chosen = experiment.variant(variant)
    record = records.load(experiment.path(chosen, seed))
    if "final" not in (record["weights"] or {}):
        raise ValueError(f"{name} {variant} seed {seed} kept no weights: the first seed of a variant may have.")
    model = models.build(chosen.model, chosen.model_arguments)
    training.set_weights(model, records.load_arrays(record["weights"]["final"]))
    return model, record


def shown(
    variant: Variant, seed: int, data: datasets.Dataset | None = None
) -> tuple[datasets.Dataset, datasets.Dataset]:
    """The pictures that a run trains on, and what its model is shown of them: themselves, or a frozen network's
    features.

    data: what to draw from in place of the variant's dataset. Raises as `datasets` and `pretrained` do.
    """
    pictures = datasets.few(data or load_data(variant), variant.images_a_class, seed)
    if not variant.frozen:
        return pictures, pictures
    from shathenet_utils import pretrained

    return pictures, pretrained.features(pictures, variant.frozen)


def counts(variant: Variant, model) -> dict:
    """What a record holds of an architecture: digest, parameters and MACs, a frozen network's among the latter two."""
    from shathenet_utils import models, pretrained

    total = {"parameters": model.count_params(), "macs": models.macs(model)}
    if variant.frozen:
        body = pretrained.frozen(variant.frozen, imagenet=False)
        total = {"parameters": total["parameters"] + body.count_params(), "macs": total["macs"] + models.macs(body)}
    return {"model_digest": models.model_digest(model), **total}


def _train(run: Run, data: datasets.Dataset, seconds: float | None, on_epoch) -> dict | None:
    """Train one run, alone at it: its record, not yet written; None where Ctrl-C stopped it."""
    from shathenet_utils import blocks, training

    variant, recipe = run.variant, run.recipe
    model = built(variant, run.seed)
    counted = counts(variant, model)  # before training: a model that can't be counted is told so at once
    pictures, data = shown(variant, run.seed, data)
    keeps_snapshots = not seconds and run.keeps(run.experiment.keep_snapshots)
    identity = {"config": variant.config_hash(), "model": counted["model_digest"], "data": data.fingerprint}
    identity |= {"split": data.split, "epochs": recipe.epochs, "seed": run.seed, "snapshots": keeps_snapshots}
    versions = {name: metadata.version(name) for name in ("tensorflow", "keras", "numpy")}
    identity |= {"versions": versions, "inter_op": blocks.threads()["inter_op"]}  # what a run ends with depends on them
    trained = training.fit(
        model,
        data,
        recipe,
        seed=run.seed,
        seconds=seconds,
        on_epoch=on_epoch,
        checkpoint=None if seconds else run.checkpoint,
        identity=json.dumps(identity, sort_keys=True),
        snapshots=keeps_snapshots,
        description=run.name,
    )
    if trained.status == "interrupted":
        return None
    tested = _tested(model, data, recipe) if trained.status != "diverged" else None
    history = trained.history
    return {
        "schema": records.SCHEMA,
        "experiment": run.experiment.name,
        "variant": variant.name,
        "seed": run.seed,
        "budget": run.budget,
        "status": "finished" if tested else "diverged",
        "dataset": data.name,
        "data_fingerprint": pictures.fingerprint,
        "split": data.split,
        "config": variant.config() | {"recipe": recipe.config()},
        "config_hash": variant.config_hash(),
        **counted,
        "epochs": trained.epochs,
        "history": history,
        "validation_accuracy": (history["validation_accuracy"] or [None])[-1] if tested else None,
        **(tested or dict.fromkeys(_TESTED)),
        "weights": None if seconds else _kept(run, model, data, trained.snapshots) or None,
        "seconds": {"total": round(sum(history["seconds"]), 1), "median_epoch": _median(history["seconds"])},
        "precision": recipe.precision,
        "threads": blocks.threads(),
        "machine": machine(),
        "versions": versions | {"python": platform.python_version()},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


_TESTED = ("test_accuracy", "test_accuracy_flip", "test_accuracy_tta", "test_predictions")


def _tested(model, data: datasets.Dataset, recipe: Recipe) -> dict | None:
    """What a record holds of the test set, `_TESTED`; None where the network's answers are no numbers."""
    from shathenet_utils import training

    predict = training.predictor(model)
    single = predict(data.test_images)
    if not np.isfinite(single).all():
        return None
    all_views = recipes.WORDS["test_views"]
    further = {
        views: training.accuracy(training.average_of_views(predict, data.test_images, views), data.test_labels)
        for views in all_views[1 : all_views.index(recipe.test_views) + 1]
    }
    found = (training.accuracy(single, data.test_labels), further.get("flip"), further.get("multi_crop"))
    return dict(zip(_TESTED, (*found, records.encode_classes(single.argmax(axis=1))), strict=True))


def _kept(run: Run, model, data: datasets.Dataset, snapshots: list[dict]) -> dict:
    """Store what this run keeps of its weights; the record's entry."""
    kept = {}
    if run.keeps(run.experiment.keep_weights):
        kept["final"] = records.save_arrays(run.weights_path(".npz"), _small_enough(model, data))
    if snapshots:
        kept["snapshots"] = records.save_arrays(run.weights_path("_epochs.npz"), _stacked(model, snapshots))
    return kept


def _median(values) -> float | None:
    return round(float(np.median(values)), 3) if values else None


def _small_enough(model, data: datasets.Dataset) -> dict[str, np.ndarray]:
    """The final weights, in float16 where the accuracy then differs by less than a tenth of a percent: on the
    validation pictures, or the first training pictures where there are none; the test set is not asked."""
    from shathenet_utils import training

    part = "validation" if len(data.validation_labels) else "train"
    images, labels = getattr(data, f"{part}_images")[:5000], getattr(data, f"{part}_labels")[:5000]

    def accuracy():
        return training.accuracy(training.predict(model, images), labels)

    full, before = training.weights_of(model), accuracy()
    half = {name: array.astype(np.float16) for name, array in full.items()}
    training.set_weights(model, half)
    agree = abs(accuracy() - before) < 0.001
    training.set_weights(model, full)
    return half if agree else full


SMALL = 100_000  # parameters: a network that small keeps all its weights of every epoch


def _stacked(model, snapshots: list[dict]) -> dict[str, np.ndarray]:
    """What is kept of a run's epochs: weight → (epochs + 1, …) in float16, from epoch 0, the start.

    Of a large network, in eight bits where they are finite: at most twenty epochs, evenly spaced, of the first two
    convolutions, the first, the middle and the last of the rest; "epochs" and "epochs of the rest" tell which.
    """
    last = len(snapshots) - 1
    if model.count_params() <= SMALL:
        return {name: np.stack([kept[name] for kept in snapshots]).astype(np.float16) for name in snapshots[0]}
    few = sorted({0, last // 2, last})
    every = sorted({round(epoch) for epoch in np.linspace(0, last, min(last + 1, 19))} | set(few))
    convolutions = [layer for layer in model.layers if len(getattr(layer, "kernel", np.empty(0)).shape) == 4]
    first = {weight.path for layer in convolutions[:2] for weight in layer.weights}
    stacked = {"epochs": np.array(every), "epochs of the rest": np.array(few)}
    for name in snapshots[0]:
        values = np.stack([snapshots[epoch][name] for epoch in (every if name in first else few)])
        if values.ndim > 2 and np.isfinite(values).all():
            stacked |= records.in_steps(name, values)
        else:
            stacked[name] = values.astype(np.float16)
    return stacked


def machine() -> dict:
    """What a run ran on: processor (x86's with family and model: one name stands for several generations), cores this
    process may use, memory in GiB, system."""
    processor, told = platform.processor() or platform.machine(), {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            told.setdefault(name.strip(), value.strip())
    processor = told.get("model name", processor)
    if "cpu family" in told:
        processor += f" (family {told['cpu family']}, model {told['model']})"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"processor": processor, "cores": cores, "memory_gib": round(memory), "system": platform.system()}


_V1_0 = Recipe(epochs=60, batch_size=32)
# Keller Jordan's airbench (2024), in this book's terms: its 11.5 a kilostep is 0.75 for the mean loss of 512 pictures.
AIRBENCH = Recipe(
    epochs=12, batch_size=512, optimizer="sgd", learning_rate=0.75, momentum=0.85, nesterov=True, weight_decay=0.0013,
    decay="coupled", schedule="linear", warmup=0.23, start=0.2, end=0.07, label_smoothing=0.2, averaging="lookahead",
    bias_rate=64, flip="alternating", translate=2, precision="mixed_bfloat16", test_views="multi_crop",
)  # fmt: skip

# v1.1 and v1.2 take 128 pictures a step where the original's v1.0 took 32; v1_1_batch tries what that changes.
_V1_1 = Recipe(epochs=70, batch_size=128, precision="mixed_bfloat16")
_ORIGINAL = dataclasses.replace(_V1_1, **recipes.ORIGINAL_AUGMENTATION)
_FLIP_TRANSLATE = dataclasses.replace(_V1_1, flip="random", translate=4)
_KERNELS = Recipe(
    epochs=8, batch_size=128, precision="mixed_bfloat16", schedule="cosine", warmup=0.1, flip="random", translate=4
)

_KERNEL_ARMS = {
    "stacked": {},
    "3x3": {"kernels": "3x3", "widths": (48, 64, 64, 128, 128)},
    "5x5": {"kernels": "5x5", "widths": (32, 32, 48, 80, 96), "dense": 448},
    "side_by_side": {"kernels": "side_by_side", "widths": (48, 64, 64, 96, 128), "dense": 528},
}
"""The arguments of v1.2 at equal parameters."""

_WITHOUT_5X5 = {"kernels": "side_by_side", "sides": (1, 3), "widths": (66, 81, 81, 126, 150)}
_BRANCH_ARMS = {
    "without_5x5": _WITHOUT_5X5,
    "without_5x5_he": {**_WITHOUT_5X5, "start": "he_normal"},
    "3x3_and_5x5": {
        "kernels": "side_by_side",
        "sides": (3, 5),
        "factorised": False,
        "widths": (36, 48, 52, 88, 108),
    },
}

LINEAR_HEAD = Recipe(epochs=30, batch_size=256, schedule="cosine", flip="random", test_views="flip")
_LITE0 = "efficientnet_lite0@224"
_FEW = dataclasses.replace(AIRBENCH, batch_size=128, learning_rate=0.3)
_INCEPTION = Recipe(
    epochs=3, batch_size=128, schedule="one_cycle", warmup=0.2, flip="random", translate=4, precision="mixed_bfloat16"
)


EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            name="v1_0",
            question="How far do 17,882 parameters go?",
            variants=(
                Variant("adam_1e-4", "v1_0", dataclasses.replace(_V1_0, learning_rate=1e-4)),
                Variant("adam_1e-3", "v1_0", _V1_0),
                Variant("adam_1e-3_bilinear", "v1_0", _V1_0, {"interpolation": "bilinear"}),
            ),
            seeds=(0, 1, 2, 3, 4),
            epochs_by_budget={"taste": 8},
            keep_weights=("adam_1e-4", "adam_1e-3", "adam_1e-3_bilinear"),
            keep_snapshots=("adam_1e-3",),
        ),
        Experiment(
            name="v1_1",
            question="What did seventy times the parameters buy, and what did augmentation?",
            variants=(
                Variant("original_1e-3", "v1_1", dataclasses.replace(_ORIGINAL, epochs=35)),
                Variant(
                    "original_3e-4", "v1_1", dataclasses.replace(_ORIGINAL, learning_rate=3e-4), seeds=(0, 1, 2, 3, 4)
                ),
                Variant("plain", "v1_1", dataclasses.replace(_V1_1, learning_rate=3e-4, epochs=35)),
                Variant("flip_translate", "v1_1", dataclasses.replace(_FLIP_TRANSLATE, learning_rate=3e-4)),
                Variant("small_plain", "v1_0", _V1_1),
                Variant("small_flip_translate", "v1_0", _FLIP_TRANSLATE),
                Variant("small_original", "v1_0", _ORIGINAL),
            ),
            epochs_by_budget={"taste": 4},
            keep_weights=("original_3e-4", "flip_translate"),
        ),
        Experiment(
            name="v1_1_batch",
            question="Is it the batch? The original's 32 pictures a step, four times the steps.",
            variants=(
                Variant(
                    "batch_32",
                    "v1_1",
                    dataclasses.replace(_ORIGINAL, learning_rate=3e-4, batch_size=32, epochs=35),
                    pilot=True,
                ),
            ),
        ),
        Experiment(
            name="v1_2",
            question="What does the original's own v1.2 reach?",
            variants=(Variant("original", "v1_2", dataclasses.replace(_ORIGINAL, learning_rate=3e-4)),),
            seeds=(0, 1, 2, 3, 4),
            epochs_by_budget={"taste": 1},
            keep_weights=("original",),
            keep_snapshots=("original",),
        ),
        Experiment(
            name="v1_2_kernels",
            question="At equal parameters, which kernels: stacked as in v1.2, of one size, or side by side?",
            variants=tuple(Variant(name, "v1_2", _KERNELS, arguments) for name, arguments in _KERNEL_ARMS.items()),
            epochs_by_budget={"taste": 3},
            keep_weights=("side_by_side",),
        ),
        Experiment(
            name="v1_2_start",
            question="Do branches reach more where their kernels start after He, each as its size asks?",
            variants=(
                Variant("side_by_side", "v1_2", _KERNELS, {**_KERNEL_ARMS["side_by_side"], "start": "he_normal"}),
            ),
            epochs_by_budget={"taste": 3},
        ),
        Experiment(
            name="v1_2_branches",
            question="At equal parameters, which of the branches side by side are worth theirs?",
            variants=tuple(Variant(name, "v1_2", _KERNELS, arguments) for name, arguments in _BRANCH_ARMS.items()),
            epochs_by_budget={"taste": 3},
        ),
        Experiment(
            name="lite0",
            question="How good is a linear layer on a frozen EfficientNet-Lite0, and with how many pictures?",
            variants=(
                Variant("all", "linear_head", LINEAR_HEAD, frozen=_LITE0, validation=0, seeds=(0, 1, 2, 3, 4)),
                *(
                    Variant(
                        f"{count}_a_class",
                        "linear_head",
                        dataclasses.replace(LINEAR_HEAD, epochs=epochs),
                        images_a_class=count,
                        frozen=_LITE0,
                    )
                    for count, epochs in ((10, 500), (100, 150), (1000, 60), (4500, 30))
                ),
            ),
            keep_weights=("all",),
        ),
        Experiment(
            name="few_from_scratch",
            question="How good is a network without a past, with as few pictures?",
            variants=tuple(
                Variant(f"{count}_a_class", "airbench", dataclasses.replace(_FEW, epochs=epochs), images_a_class=count)
                for count, epochs in ((10, 200), (100, 80), (1000, 24))
            ),
        ),
        Experiment(
            name="inception_pilot",
            question="How fast does Inception-v3 learn from scratch, at its smallest input?",
            variants=(Variant("75", "inception_v3", _INCEPTION, pilot=True),),
        ),
        Experiment(
            name="lite0_size",
            question="To what size should pictures be enlarged for a frozen EfficientNet-Lite0?",
            variants=tuple(
                Variant(str(size), "linear_head", LINEAR_HEAD, images_a_class=500, frozen=f"efficientnet_lite0@{size}")
                for size in (96, 128, 160, 192, 224)
            ),
        ),
        Experiment(
            name="airbench",
            question="How good is the 64/128/128 network, trained on all 50,000 pictures, and how long does it take?",
            variants=tuple(
                Variant(f"epochs_{epochs}", "airbench", dataclasses.replace(AIRBENCH, epochs=epochs), validation=0)
                for epochs in (12, 8)
            ),
            seeds=(0, 1, 2, 3, 4),
            epochs_by_budget={"taste": 2},
            keep_weights=("epochs_12",),
            keep_snapshots=("epochs_12",),
        ),
        Experiment(
            name="airbench_length",
            question="How few epochs of the 64/128/128 network reach the yardstick's 91 %?",
            variants=tuple(
                Variant(f"epochs_{epochs}", "airbench", dataclasses.replace(AIRBENCH, epochs=epochs))
                for epochs in (7, 8)
            ),
            seeds=(0, 1, 2, 3, 4),
            epochs_by_budget={"taste": 2},
        ),
    )
}


# The book's lineage: version → the experiment that decides it. The version is the variant best on validation.
VERSIONS = {"v1.0": "v1_0"}


# What stands in the ledger: label → experiment, variant (None: the one that was kept), the original's entry beside it.
LEDGER = {
    **{version: (name, None, f"original_{name}") for version, name in VERSIONS.items()},
    "v1.1": ("v1_1", "original_3e-4", "original_v1_1"),
    "v1.1 with flip and translation": ("v1_1", "flip_translate", None),
    "v1.2": ("v1_2", "original", "original_v1_2"),
    "frozen EfficientNet-Lite0, image augmentation": ("lite0", "all", "original_inception_v3"),
    "64/128/128": ("airbench", "epochs_12", None),
}


def ledger() -> dict[str, dict]:
    """The book's networks, a row each: parameters, macs, epochs, accuracy (an `Interval` over the seeds that did not
    diverge), how many did, multi_crop (an interval, or None), and the original's published entry, or None. Raises
    RecordError where a record is missing."""
    published, rows = records.published(), {}
    for label, (name, variant, original) in LEDGER.items():
        runs = get(name).load([variant] if variant else None)
        variant = variant or runs.best()
        first = runs.recorded[variant][0]
        rows[label] = {
            **{key: first[key] for key in ("parameters", "macs", "epochs")},
            "accuracy": runs.interval(variant),
            "diverged": len(runs.diverged(variant)),
            "multi_crop": runs.interval(variant, "test_accuracy_tta") if first["test_accuracy_tta"] else None,
            "original": original and published[original],
        }
    return rows


def ledger_label(name: str, variant: str) -> str:
    """What the ledger calls a variant of an experiment; both their names where it has none. Raises RecordError where
    the records are missing that tell which variant was kept."""
    for label, (experiment, kept, _) in LEDGER.items():
        if experiment == name and variant == (kept or get(name).load().best()):
            return label
    return f"{name} {variant}"


def ledger_figure(name: str = "ledger"):
    """The ledger drawn among published networks, a `plots.Drawing`."""
    from shathenet_utils import plots

    ours = {label.partition(",")[0]: (row["parameters"], *row["accuracy"][:3]) for label, row in ledger().items()}
    accuracies = {
        key: {**entry, "original": key.startswith("original_")}
        for key, entry in records.published().items()
        if entry["what"] == "CIFAR-10 test accuracy" and entry["value"]
    }
    return plots.ledger(ours, accuracies.values(), name=name)


def get(name: str) -> Experiment:
    """The declared experiment of that name. Raises ValueError, listing those there are, for an unknown one."""
    if name not in EXPERIMENTS:
        raise ValueError(f"There is no experiment {name!r}; there are {', '.join(EXPERIMENTS)}.")
    return EXPERIMENTS[name]


TABLE_MARKS = ("<!-- table: written by python -m shathenet_utils table -->", "<!-- end of table -->")


def readme_table() -> str:
    """The versions in a Markdown table: ours from the records, the original's beside them."""
    lines = [
        "| version | parameters | MACs | epochs | CIFAR-10 test accuracy (95 % interval, seeds) | the original's |",
        "|---|---|---|---|---|---|",
    ]
    for label, row in ledger().items():
        accuracy, original = row["accuracy"], row["original"]
        lost = f", {row['diverged']} more diverged" * (row["diverged"] > 0)
        there = "no number" if original and not original["value"] else "–"
        if original and original["value"]:
            there = f"{100 * original['value']:.0f} % at {original['parameters']}"
        lines.append(
            f"| {label} | {row['parameters']:,} | {row['macs'] / 1e6:.1f}M | {row['epochs']} "
            f"| {records.told(accuracy)}, {accuracy.n} seeds{lost} | {there} |"
        )
    return "\n".join(lines)


def with_table(text: str, table: str, marks: tuple[str, str] = TABLE_MARKS) -> str:
    """The README's text with a table between its marks. Raises ValueError where the marks are missing."""
    begin, end = marks
    if begin not in text or end not in text:
        raise ValueError(f"README.md lacks the marks {begin} and {end} that hold a table.")
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
