"""What trains a declared run and writes its record.

A run is one variant with one seed. It is locked while it trains, resumes from its last epoch after a stop, and ends
with a record below `data/records/` (the book's evidence) or `data/runs/` (everything else).
"""

import dataclasses
import datetime
import json
import os
import platform
from collections.abc import Callable, Sequence
from importlib import metadata

import numpy as np

from shathenet_utils import (
    book,
    checkpoints,
    datasets,
    files,
    interrupts,
    machine,
    progress,
    recipes,
    records,
    weights,
    worker,
)
from shathenet_utils.declared import Run
from shathenet_utils.experiment import Experiment, Variant, check_budget, load_record, load_user_record
from shathenet_utils.recipes import Recipe
from shathenet_utils.runs import Runs


def train(
    experiment: Experiment,
    variants: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    *,
    retrain: bool = False,
    budget: str = "full",
    data: datasets.Dataset | None = None,
    on_epoch: Callable[[dict], None] | None = None,
) -> Runs:
    """Train the chosen variants and seeds here; returns the user's runs beside the records.

    What a user trained before is loaded, unless retrain is True; what is recorded and was not asked for by `seeds`,
    `retrain` or another budget is loaded too. Ctrl-C is safe: the same call goes on from the last whole epoch. budget:
    "quick" or "full". data: what to train on in place of the declared dataset. The user's runs go to `data/runs/`,
    never to the records, and are never ranked among them; those of a custom experiment, which has no records, stand in
    their place. A full run of the book's own, on its declared data, is trained by a process of its own where this one
    has another number of TensorFlow's threads than the experiment declares: it then ends with the recorded numbers on
    the recorded kind of machine. Raises as `train_run`, and WorkerError where that process fails.
    """
    check_budget(budget)
    chosen = [experiment.variant(name) for name in variants] if variants is not None else list(experiment.variants)
    recorded, user_runs, stopped = {}, {}, False
    for variant in chosen:
        there = {}
        for seed in () if experiment.custom else experiment.seeds_of(variant):
            if experiment.path(variant, seed).exists():
                there[seed] = load_record(experiment, variant, seed)
        if there:
            recorded[variant.name] = list(there.values())
        folder = records.runs_folder(data.name if data else variant.dataset, budget)
        images = load_data(variant) if experiment.custom and data is None else data
        for seed in experiment.seeds_of(variant) if seeds is None else seeds:
            found = None if retrain else load_user_record(experiment, variant, seed, folder, images)
            if found is None and (retrain or budget != "full" or seed not in there) and not stopped:
                apart = budget == "full" and _needs_own_process(experiment, variant, data)
                try:
                    if apart:
                        found = _train_apart(Run(experiment, variant, seed, budget, variant.dataset), data, on_epoch)
                    else:
                        options = {"budget": budget, "on_epoch": on_epoch, "seconds": _live_seconds()}
                        found = train_run(experiment, variant, seed, data=images, **options)
                except KeyboardInterrupt:  # before the first step or after the last
                    print("Stopped; the same call will go on from the last whole epoch.")
                stopped = found is None  # Ctrl-C: no other run is begun
            if found is not None:
                (recorded if experiment.custom else user_runs).setdefault(variant.name, []).append(found)
    return experiment.runs(recorded, user_runs)


def _live_seconds() -> float | None:
    """The limit under test on what a notebook trains live, in seconds; a reader has none."""
    limit = os.environ.get("SHATHENET_LIVE_SECONDS")
    return float(limit) if limit else None


def _needs_own_process(experiment: Experiment, variant: Variant, data: datasets.Dataset | None) -> bool:
    """Whether a full run should repeat what is recorded, and can't in this process: it has other threads."""
    from shathenet_utils import backend

    if book.EXPERIMENTS.get(experiment.name) is not experiment or _live_seconds():
        return False
    if backend.threads() == {"inter_op": 1, "intra_op": experiment.threads}:
        return False
    return data is None or _is_declared(data, variant)


def _is_declared(data: datasets.Dataset, variant: Variant) -> bool:
    """Whether these are the images that a variant declares, split as it declares."""
    if data.name != variant.dataset or len(data.validation_labels) != variant.validation:
        return False
    try:
        return data.digest == load_data(variant).digest
    except (datasets.DatasetError, ValueError):  # they are not to be had from anywhere else
        return False


def _train_apart(run: Run, data: datasets.Dataset | None, on_epoch: Callable[[dict], None] | None) -> dict | None:
    """Train a user's run in a process of its own, with the declared threads; as `train_run`. Raises WorkerError."""
    files.check_writable(run.path.parent)
    names = run.experiment.name, run.variant.name, run.seed
    with (
        progress.bar(run.recipe.epochs, run.name, unit="epoch") as bar,
        worker.start(*names, run.experiment.threads, again=True) as process,
    ):
        try:
            for message in worker.messages(process):
                bar.update(message["epoch"] - bar.n)
                if on_epoch:
                    on_epoch(message["history"])
            process.wait()
        except BaseException:
            worker.interrupt(process)
            process.wait()
            raise
        if why := worker.failure(process):
            raise worker.WorkerError(f"{run.name} failed in a process of its own: {why}")
    if process.returncode == worker.STOPPED:
        return None
    return load_user_record(run.experiment, run.variant, run.seed, run.folder, data)


def check_evidence(experiment: Experiment, variant: Variant, seed: int, budget: str) -> None:
    """Raises ValueError for what no record can hold: a shorter budget, or a run that is not declared."""
    if budget != "full":
        raise ValueError("Only a run of the full budget on the declared data can be recorded.")
    if book.EXPERIMENTS.get(experiment.name) is not experiment or seed not in experiment.seeds_of(variant):
        raise ValueError(f"Only a declared run can be recorded; {experiment.name} {variant.name} seed {seed} is none.")


def load_data(variant: Variant) -> datasets.Dataset:
    """The dataset that a variant declares; raises as `datasets` does, and ValueError for an unknown one."""
    if variant.dataset == "toy_shapes":
        return datasets.toy_shapes()
    if variant.dataset != "cifar10":
        raise ValueError(f"There is no dataset {variant.dataset!r}; there are cifar10, toy_shapes.")
    return datasets.cifar10(validation=variant.validation, download=not os.environ.get("SHATHENET_OFFLINE"))


def train_run(
    experiment: Experiment,
    variant: Variant,
    seed: int,
    *,
    data: datasets.Dataset | None = None,
    features: datasets.Dataset | None = None,
    budget: str = "full",
    record: bool = False,
    seconds: float | None = None,
    on_epoch: Callable[[dict], None] | None = None,
    wait: bool = True,
) -> dict | None:
    """Train one run and write its record; returns the record, or None where Ctrl-C stopped it.

    data: what to train on instead of the declared dataset, for readers without it. features: of a variant with a
    feature extractor, the second of what `prepare_inputs` returns for this run, where it is computed already. record:
    the run is the book's evidence, written below `data/records/`; otherwise it goes to `data/runs/`. seconds: a limit,
    under test.
    Where another process is at the same run, its record is waited for and returned; wait: False raises files.Busy.
    Raises ValueError where `record` asks for what evidence must not be: an undeclared run, a shorter budget, other
    data, other threads than declared; FileError where the record could not be written.
    """
    check_budget(budget)
    if record and (data is not None or seconds is not None):
        raise ValueError("Only a run of the full budget on the declared data can be recorded.")
    if record:
        check_evidence(experiment, variant, seed, budget)
    from shathenet_utils import backend  # here: a mistake is told without waiting for TensorFlow

    if record and backend.threads() != {"inter_op": 1, "intra_op": experiment.threads}:
        raise ValueError(
            f"{experiment.name} is recorded with {experiment.threads} of TensorFlow's threads, and this process has "
            f"{backend.threads()}: record from a fresh process, "
            f"`python -m shathenet_utils train {experiment.name} --record`."
        )
    asked = Run(experiment, variant, seed, budget, data.name if data else variant.dataset, record)
    before = asked.file_version()
    data = data or load_data(variant)
    run = dataclasses.replace(asked, dataset=data.name)
    files.check_writable(run.path.parent)

    def tell():
        print(f"Another process is training {run.name}: waiting for it.")

    with run.exclusive(wait, tell) as waited:
        ended_elsewhere = waited or asked.file_version() != before
        if ended_elsewhere and (found := load_user_record(experiment, variant, seed, run.folder, data)):
            return found
        result = _train(run, data, seconds, on_epoch, features)
        if result is not None:
            records.save(result, run.path)
            checkpoints.remove(run.checkpoint)
        return result


def build_initialised(model: str | Callable, arguments: dict, recipe: Recipe, seed: int):
    """A model as a run with this seed begins with it: its weights drawn, in the recipe's precision.

    model: a function's name in `models`, or a function; arguments: what it is called with.
    """
    from shathenet_utils import backend, models, training

    with backend.precision(recipe.precision):
        training.set_seed(seed)
        return models.build(model, arguments)


def load_trained(name: str, variant: str, seed: int = 0):
    """A recorded run's network, float32, with the weights that it ended with, and its record.

    Raises ValueError for a run that kept no weights, or that isn't declared, FileError where they are missing.
    """
    from shathenet_utils import models, training

    experiment = book.load_experiment(name)
    chosen = experiment.variant(variant)
    record = records.load(experiment.path(chosen, seed))
    if "final" not in (record["weights"] or {}):
        raise ValueError(f"{name} {variant} seed {seed} kept no weights: the first seed of a variant may have.")
    model = models.build(chosen.model, chosen.model_arguments)
    training.set_weights(model, weights.load_arrays(record["weights"]["final"]))
    return model, record


def prepare_inputs(
    variant: Variant, seed: int, data: datasets.Dataset | None = None
) -> tuple[datasets.Dataset, datasets.Dataset]:
    """The images that a run trains on, and what its model is shown of them: themselves, or a frozen network's
    features.

    data: what to draw from in place of the variant's dataset. Raises as `datasets` and `pretrained` do.
    """
    images = datasets.subset_per_class(data or load_data(variant), variant.images_per_class, seed)
    if not variant.feature_extractor:
        return images, images
    from shathenet_utils import pretrained

    return images, pretrained.features(images, variant.feature_extractor, seed=seed)


def start_from_head(model, variant: Variant, seed: int, images: datasets.Dataset) -> None:
    """Give a network ImageNet's weights, and the head that `variant.starts_from` ends with: that run, of the same seed
    and on the same images, is trained here once more. Raises as `pretrained` does."""
    from shathenet_utils import pretrained, training

    name, _, head_name = variant.starts_from.partition("/")
    frozen = book.load_experiment(name).variant(head_name)
    unseen = ("validation_images", "validation_labels", "test_images", "test_labels")
    images = dataclasses.replace(images, **{part: getattr(images, part)[:0] for part in unseen})
    features = pretrained.features(images, frozen.feature_extractor, seed=seed)
    head = build_initialised(frozen.model, frozen.model_arguments, frozen.recipe, seed)
    training.fit(head, features, frozen.recipe, seed=seed, description=f"head of {variant.name}")
    pretrained.load_lite0(model)
    model.get_layer("logits").set_weights(head.get_layer("logits").get_weights())


def architecture_stats(variant: Variant, model) -> dict:
    """What a record holds of an architecture: digest, parameters and MACs, a frozen network's among the latter two.

    The MACs of a user's own network are None where they can't be counted; for another that raises NotImplementedError.
    """
    from shathenet_utils import architecture, pretrained

    try:
        macs = architecture.macs(model)
    except NotImplementedError:
        if isinstance(variant.model, str):
            raise
        macs = None
    total = {"parameters": model.count_params(), "macs": macs}
    if variant.feature_extractor:
        body = pretrained.frozen(variant.feature_extractor, imagenet=False)
        total = {
            "parameters": total["parameters"] + body.count_params(),
            "macs": macs and macs + architecture.macs(body),
        }
    return {"model_digest": architecture.model_digest(model), **total}


@interrupts.held()
def _train(run: Run, data: datasets.Dataset, seconds: float | None, on_epoch, features=None) -> dict | None:
    """Train one run, alone at it: its record, not yet written; None where Ctrl-C stopped it."""
    from shathenet_utils import backend, checks, training

    variant, recipe = run.variant, run.recipe
    model = build_initialised(variant.model, variant.model_arguments, variant.recipe, run.seed)
    checks.check_model(model)
    counted = architecture_stats(variant, model)  # before training: a model that can't be counted fails at once
    source = data
    if features is None:
        images, data = prepare_inputs(variant, run.seed, source)
    else:
        images, data = datasets.subset_per_class(source, variant.images_per_class, run.seed), features
    if variant.starts_from:
        start_from_head(model, variant, run.seed, images)
    keeps_history = not seconds and run.keeps(run.experiment.keep_weight_history)
    identity = {"config": variant.config_hash(), "model": counted["model_digest"], "data": data.digest}
    identity |= {"epochs": recipe.epochs, "seed": run.seed, "weight_history": keeps_history}
    versions = {name: metadata.version(name) for name in ("tensorflow", "keras", "numpy")}
    identity |= {"versions": versions, "threads": backend.threads()}  # what a run ends with depends on them
    trained = training.fit(
        model,
        data,
        recipe,
        seed=run.seed,
        seconds=seconds,
        on_epoch=on_epoch,
        checkpoint=None if seconds else run.checkpoint,
        identity=json.dumps(identity, sort_keys=True),
        weight_history=keeps_history,
        description=run.name,
    )
    if trained.status == "interrupted":
        return None
    evaluated = None
    if trained.status != "diverged":
        evaluated = _evaluated(model, data, recipe, run.experiment.sweep)
    history = trained.history
    return {
        "schema": records.SCHEMA,
        "experiment": run.experiment.name,
        "variant": variant.name,
        "seed": run.seed,
        "budget": run.budget,
        "status": "finished" if evaluated else "diverged",
        "dataset": data.name,
        "data_fingerprint": source.fingerprint,
        "split": images.split | {"digest": images.digest},
        "config": variant.config() | {"recipe": recipe.config()},
        "config_hash": variant.config_hash(),
        **counted,
        "epochs": trained.epochs,
        "history": history,
        **(evaluated or dict.fromkeys(_EVALUATED)),
        "weights": None if seconds else _kept(run, model, data, trained.weight_history) or None,
        "seconds": {"total": round(sum(history["seconds"]), 1), "median_epoch": _median(history["seconds"])},
        "precision": recipe.precision,
        "threads": backend.threads(),
        "machine": machine.machine(),
        "versions": versions | {"python": platform.python_version()},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


_EVALUATED = (
    "validation_accuracy", "validation_predictions", "test_accuracy", "test_accuracy_flip", "test_accuracy_tta",
    "test_predictions",
)  # fmt: skip


def _evaluated(model, data: datasets.Dataset, recipe: Recipe, sweep: bool) -> dict | None:
    """What a record holds of the trained network's predictions, `_EVALUATED`; None where logits are not finite.

    sweep: the test set is not read. A dataset without test images leaves its fields null.
    """
    from shathenet_utils import training

    predict, found = training.predictor(model), dict.fromkeys(_EVALUATED)
    if len(data.validation_labels):
        logits = predict(data.validation_images)
        if not np.isfinite(logits).all():
            return None
        found["validation_accuracy"] = training.accuracy(logits, data.validation_labels)
        found["validation_predictions"] = records.encode_classes(logits.argmax(axis=1))
    if sweep or not len(data.test_labels):
        return found
    logits = predict(data.test_images)
    if not np.isfinite(logits).all():
        return None
    found["test_accuracy"] = training.accuracy(logits, data.test_labels)
    found["test_predictions"] = records.encode_classes(logits.argmax(axis=1))
    views = recipes.WORDS["test_views"]
    further = views[1 : views.index(recipe.test_views) + 1]
    for view, key in zip(further, ("test_accuracy_flip", "test_accuracy_tta"), strict=False):
        averaged = training.average_of_views(predict, data.test_images, view)
        found[key] = training.accuracy(averaged, data.test_labels)
    return found


def _kept(run: Run, model, data: datasets.Dataset, weight_history: list[dict]) -> dict:
    """Store what this run keeps of its weights; the record's entry."""
    from shathenet_utils import kept_weights

    kept = {}
    if run.keeps(run.experiment.keep_weights):
        final = kept_weights.final_weights(model, data)
        kept["final"] = weights.save_arrays(run.weights_path(".npz"), final)
    if weight_history:
        history = kept_weights.weight_history_arrays(model, weight_history)
        kept["history"] = weights.save_arrays(run.weights_path("_epochs.npz"), history)
    return kept


def _median(values) -> float | None:
    return round(float(np.median(values)), 3) if values else None
