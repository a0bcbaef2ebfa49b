"""Records held against their declarations, and against themselves."""

import contextlib

import numpy as np

from shathenet_utils import book, files, records, weights
from shathenet_utils.book import learning_rates
from shathenet_utils.experiment import Experiment, Variant, complete_config, load_record

_TEST_ACCURACIES = ("test_accuracy", "test_accuracy_flip", "test_accuracy_tta")
_RESULTS = ("validation_accuracy", "validation_predictions", "test_predictions", *_TEST_ACCURACIES)

_OF_DAMAGE = (AttributeError, KeyError, OverflowError, TypeError, ValueError)
"""What reading a part of a record raises that no run writes like this."""


def check() -> list[str]:
    """What is wrong with the records, one sentence each: missing, damaged, undeclared, of another declaration, at odds
    with their own predictions, of one run under two seeds, or tuned by a sweep that says otherwise."""
    wrong, expected = [], set()
    for experiment in book.EXPERIMENTS.values():
        for variant in experiment.variants:
            for seed in experiment.seeds_of(variant):
                path = experiment.path(variant, seed)
                expected.add(path)
                if not experiment.planned or path.exists():
                    wrong += _wrong_with(experiment, variant, seed)
            wrong += _unlike_each_other(experiment, variant)
            if not experiment.planned:
                wrong += wrong_rate(experiment, variant)
    wrong += _chosen_otherwise()
    for path in sorted(records.RECORDS.glob("*/*/*.json")):
        if path not in expected:
            wrong.append(f"{path} belongs to no declared run: delete it, or declare it.")
    return wrong


def _chosen_otherwise() -> list[str]:
    """Whether the file of learning rates holds something else than the sweeps' records."""
    try:
        entries, _ = learning_rates.of_records(book.EXPERIMENTS.values())
        if entries == learning_rates.load().entries:
            return []
    except files.FileError as error:
        return [str(error)]
    place = learning_rates.path()
    return [f"{place} is not what the sweeps' records say: write it with `python -m shathenet_utils rates`."]


def _wrong_with(experiment: Experiment, variant: Variant, seed: int) -> list[str]:
    path = experiment.path(variant, seed)
    try:
        record = load_record(experiment, variant, seed)
        for kept in (record["weights"] or {}).values():
            weights.load_arrays(kept)
    except files.FileError as error:
        return [str(error)]
    try:
        faults = [*_departures(record, experiment, variant, seed), *contradictions(record)]
    except _OF_DAMAGE as error:
        faults = [f"it is damaged ({type(error).__name__}: {error})"]
    return [f"{path}: {fault}." for fault in faults]


def _unlike_each_other(experiment: Experiment, variant: Variant) -> list[str]:
    """Where a variant's records, as far as they can be read, are not runs of one network with different seeds."""
    found, wrong = [], []
    for seed in experiment.seeds_of(variant):
        with contextlib.suppress(files.FileError):
            found.append((experiment.path(variant, seed), load_record(experiment, variant, seed)))
    for place, (path, record) in enumerate(found):
        for other_path, other in found[:place]:
            if other["epochs"] and _curves(other) == _curves(record):
                wrong.append(f"{path}: its history is that of {other_path.name}, of another seed.")
            named = [name for name in ("parameters", "macs", "model_digest") if record[name] != other[name]]
            if named:
                wrong.append(f"{path}: its {', '.join(named)} differ from those of {other_path.name}.")
    return wrong


def _curves(record: dict) -> dict:
    return {name: values for name, values in record["history"].items() if name not in ("seconds", "learning_rate")}


def _departures(record: dict, experiment: Experiment, variant: Variant, seed: int) -> list[str]:
    """Where a record departs from its declaration, beyond the hash of its configuration."""
    found = []
    names = {"experiment": experiment.name, "variant": variant.name, "seed": seed, "budget": "full"}
    if any(record[key] != value for key, value in names.items()):
        called = f"{record['experiment']} {record['variant']} seed {record['seed']}, budget {record['budget']}"
        found.append(f"it says it is {called}")
    if complete_config(record["config"]) != variant.config():
        found.append("it holds another configuration than its declaration")
    whole = variant.recipe.is_whole(record["history"]) and record["epochs"] == len(record["history"]["loss"])
    if record["status"] == "finished" and not whole:
        found.append(f"it has {record['epochs']} epochs, its declaration {variant.recipe.epochs}")
    if record["dataset"] != variant.dataset or record["split"]["validation"] != variant.validation:
        found.append("it is on other images than its declaration")
    if record["precision"] != variant.recipe.precision:
        found.append(f"it has precision {record['precision']}, its declaration {variant.recipe.precision}")
    if max(record["history"]["learning_rate"], default=0) > variant.recipe.learning_rate * (1 + 1e-5):
        found.append("it trained with a higher learning rate than its declaration")
    for field, part in (("keep_weights", "final"), ("keep_weight_history", "history")):
        first = seed == experiment.seeds_of(variant)[0] and record["status"] == "finished"
        if first and variant.name in getattr(experiment, field) and part not in (record["weights"] or {}):
            found.append(f"it has no {part} weights, which its declaration keeps")
    if experiment.sweep and any(record[key] is not None for key in ("test_predictions", *_TEST_ACCURACIES)):
        found.append("it is of a sweep and has test accuracies")
    if not experiment.sweep and record["status"] == "finished" and record["test_predictions"] is None:
        found.append("it keeps no test predictions")
    return found


def contradictions(record: dict) -> list[str]:
    """Where a record is at odds with itself or with its dataset's facts: accuracies with predictions, histories with
    epochs, counts with parts."""
    found = []
    if record["status"] not in ("finished", "diverged"):
        found.append(f"its status is {record['status']!r}")
    shares = [(key, [record[key]]) for key in ("validation_accuracy", *_TEST_ACCURACIES) if record[key] is not None]
    shares += [(f"history of {key}", record["history"][key]) for key in ("accuracy", "validation_accuracy")]
    found += [f"its {what} is no fraction" for what, values in shares if not all(0 <= value <= 1 for value in values)]
    for key in ("loss", "validation_loss", "learning_rate", "seconds"):
        if min(record["history"][key], default=0) < 0:
            found.append(f"its history of {key} has negative numbers")
    if record["status"] == "diverged":
        found += [f"it diverged and has a {key}" for key in _RESULTS if record[key] is not None]
    if record["dataset"] == "cifar10":
        facts = records.facts("cifar10")
        if record["data_fingerprint"] != facts["data_fingerprint"]:
            found.append("its images are not those of the dataset's facts")
        subset = 10 * record["config"]["data"].get("images_per_class", 0)
        sizes = {"train": subset or 50_000 - record["split"]["validation"], "test": 10_000}
        found += [f"it has not {n:,} {part} images" for part, n in sizes.items() if record["split"][part] != n]
        for key in _TEST_ACCURACIES:
            if record[key] is not None and abs(record[key] * 10_000 - round(record[key] * 10_000)) > 1e-6:
                found.append(f"its {key} is that of no number of images")
        for part, size in (("test", 10_000), ("validation", 5_000)):
            predictions, accuracy = record[f"{part}_predictions"], record[f"{part}_accuracy"]
            if predictions is None and part == "test" and accuracy is not None:
                found.append("its test accuracy has no test predictions")
            if predictions is None or (part == "validation" and record["split"]["validation"] != size):
                continue
            truth = records.decode_classes(facts[f"{part}_labels"])
            predicted = records.decode_classes(predictions)
            if predicted.shape != truth.shape:
                found.append(f"it holds {len(predicted):,} {part} predictions, not {len(truth):,}")
            elif accuracy is None or abs(np.mean(predicted == truth) - accuracy) > 1e-9:
                found.append(f"its {part} accuracy is not that of its {part} predictions")
    for name, values in record["history"].items():
        none = name.startswith("validation") and not record["split"]["validation"]
        if len(values) != (0 if none else record["epochs"]):
            found.append(f"its history has {len(values)} values of {name} for {record['epochs']} epochs")
    curve, losses = record["history"]["validation_accuracy"], record["history"]["validation_loss"]
    early = record["config"].get("recipe", {}).get("early_stopping")
    kept = losses.index(min(losses)) if early else -1
    if record["status"] == "finished" and record["validation_accuracy"] != (curve[kept] if curve else None):
        found.append("its validation accuracy is not that of the epoch that it ends with")
    if abs(sum(record["history"]["seconds"]) - record["seconds"]["total"]) > 0.1:
        found.append("its seconds are not the sum of its epochs")
    median = np.median(record["history"]["seconds"]) if record["history"]["seconds"] else None
    if median is not None and abs(median - record["seconds"]["median_epoch"]) > 0.01:
        found.append("its seconds of an epoch are not the median of its epochs")
    return found


def wrong_rate(experiment: Experiment, variant: Variant) -> list[str]:
    """What speaks against a variant's learning rate: it must be its sweep's best on validation, and not at its edge.

    Empty where no sweep chose it.
    """
    if not variant.tuned_by:
        return []
    sweep, alike = tuning_runs(variant)
    called = f"{experiment.name} {variant.name}"
    if not alike:
        return [f"{called}: {variant.tuned_by} has no variant of its configuration."]
    try:
        found = [learning_rates.accuracy_of(sweep, other) for other in alike]
    except files.FileError as error:
        return [str(error)]
    if None in found:
        lacking = sweep.path(alike[found.index(None)], sweep.seeds[0])
        return [f"{called}: There is no record {lacking} of its sweep as it is declared."]
    accuracies = {other.recipe.learning_rate: accuracy for other, accuracy in zip(alike, found, strict=True)}
    best, edge = learning_rates.judge(accuracies)
    if best != variant.recipe.learning_rate:
        return [f"{called} has learning rate {variant.recipe.learning_rate:g}; the best of {sweep.name} is {best:g}."]
    if edge:
        return [f"{called}: {best:g} is the best of {sweep.name} and lies at its edge: extend the sweep."]
    return []


def tuning_runs(variant: Variant) -> tuple[Experiment, list[Variant]]:
    """The sweep that chooses a variant's learning rate, and which of its variants do."""
    name, _, series = variant.tuned_by.partition("/")
    sweep = book.load_experiment(name)
    if series:
        return sweep, [other for other in sweep.variants if learning_rates.series_of(other) == series]
    return sweep, [other for other in sweep.variants if _tuned(other) == _tuned(variant)]


def _tuned(variant: Variant) -> dict:
    """What must be the same in a sweep and in its final: all but learning rate and epochs."""
    identity = variant.identity()
    recipe = {name: value for name, value in identity["recipe"].items() if name not in ("learning_rate", "epochs")}
    return identity | {"recipe": recipe}
