"""Records held against their declarations, and against themselves."""

import numpy as np

from shathenet_utils import book, files, records, weights
from shathenet_utils.book import learning_rates
from shathenet_utils.experiment import Experiment, Variant, complete_config, load_record

_TEST_ACCURACIES = ("test_accuracy", "test_accuracy_flip", "test_accuracy_tta")
_RESULTS = ("validation_accuracy", "validation_predictions", "test_predictions", *_TEST_ACCURACIES)


def check() -> list[str]:
    """What is wrong with the records, one sentence each: missing, damaged, undeclared, of another declaration, at odds
    with their own predictions, or tuned by a sweep that says otherwise."""
    wrong, expected = [], set()
    for experiment in book.EXPERIMENTS.values():
        for variant in experiment.variants:
            for seed in experiment.seeds_of(variant):
                path = experiment.path(variant, seed)
                expected.add(path)
                if not experiment.planned or path.exists():
                    wrong += _wrong_with(experiment, variant, seed)
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
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # a part that no run writes like this
        faults = [f"it is damaged ({type(error).__name__}: {error})"]
    return [f"{path}: {fault}." for fault in faults]


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
    if experiment.sweep and any(record[key] is not None for key in ("test_predictions", *_TEST_ACCURACIES)):
        found.append("it is of a sweep and has test accuracies")
    if not experiment.sweep and record["status"] == "finished" and record["test_predictions"] is None:
        found.append("it keeps no test predictions")
    return found


def contradictions(record: dict) -> list[str]:
    """Where a record is at odds with itself or with its dataset's facts: accuracies with predictions, histories with
    epochs, counts with parts."""
    found = []
    if record["status"] == "diverged":
        found += [f"it diverged and has a {key}" for key in _RESULTS if record[key] is not None]
    if record["dataset"] == "cifar10":
        facts = records.facts("cifar10")
        if record["data_fingerprint"] != facts["data_fingerprint"]:
            found.append("its images are not those of the dataset's facts")
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
