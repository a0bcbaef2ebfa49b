"""Small things that several test files need: tiny datasets, made-up records, fresh interpreters."""

import dataclasses
import os
import subprocess
import sys
import types

import numpy as np
from hypothesis import settings

from shathenet_utils import ROOT, book, records, runner, weights
from shathenet_utils.datasets import CIFAR10_CLASSES, Dataset
from shathenet_utils.experiment import Experiment, Variant
from shathenet_utils.recipes import Augmentation, Optimizer, Recipe, Schedule
from shathenet_utils.runs import Runs

WITHOUT_TENSORFLOW = "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = None\n"


def tries(count):
    """How many examples hypothesis draws; without its time limit, which a busy machine would break."""
    return settings(max_examples=count, deadline=None)


def python(source, *, check=True, **environment):
    """Run source in a fresh interpreter; returns what subprocess.run does, with text."""
    command = [sys.executable, "-c", source]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, check=check, env={**os.environ, **environment}, timeout=300
    )


def tiny_dataset(train=200, validation=50, test=60, *, seed=0, size=32, name="tiny", **changes):
    """A dataset of noise whose classes differ in brightness: seconds to train on, and something to learn."""
    stream = np.random.default_rng(seed)
    parts = {}
    for part, count in (("train", train), ("validation", validation), ("test", test)):
        labels = np.arange(count) % 10
        noise = stream.integers(0, 60, (count, size, size, 3))
        parts[f"{part}_images"] = (noise + 19 * labels[:, None, None, None]).astype(np.uint8)
        parts[f"{part}_labels"] = labels.astype(np.int64)
    split = {"train": train, "validation": validation, "test": test, "seed": seed}
    return Dataset(
        **{"name": name, "class_names": CIFAR10_CLASSES, "split": split}
        | {"provenance": "drawn by a test; nobody; none"}
        | parts
        | changes
    )


def a_record(seed=0, *, epochs=3, **changes):
    """A whole record with made-up numbers, which agree with each other; no labels are known of its images."""
    curve = [min(round(0.4 + 0.05 * epoch + 0.01 * (seed % 100), 4), 0.85) for epoch in range(epochs)]
    return dict.fromkeys(records.KEYS) | {
        "schema": records.SCHEMA,
        "experiment": "made_up",
        "variant": "plain",
        "seed": seed,
        "budget": "full",
        "status": "finished",
        "dataset": "made_up_images",
        "data_fingerprint": "0123456789abcdef",
        "split": {"train": 45_000, "validation": 5_000, "test": 10_000, "seed": 0, "digest": "fedcba9876543210"},
        "config": {"recipe": {"learning_rate": 1e-3}},
        "config_hash": "0123456789abcdef",
        "parameters": 17882,
        "macs": 2896192,
        "epochs": epochs,
        "history": {
            "loss": [2.0] * epochs, "accuracy": [value + 0.1 for value in curve], "validation_loss": [2.1] * epochs,
            "validation_accuracy": curve, "learning_rate": [1e-3] * epochs, "seconds": [4.0] * epochs,
        },
        "validation_accuracy": curve[-1],
        "test_accuracy": curve[-1] - 0.02,
        "test_predictions": "0123456789",
        "seconds": {"total": 4.0 * epochs, "median_epoch": 4.0},
    } | changes  # fmt: skip


def made_up_runs(user_runs=None, labels=None):
    """Two variants of three seeds; "better" lies above "plain" by 6, 5 and 4 points of test accuracy."""
    plain = [a_record(seed, test_accuracy=0.50 + 0.01 * seed) for seed in range(3)]
    better = [
        a_record(seed, variant="better", test_accuracy=0.56, validation_accuracy=0.6 + 0.01 * seed) for seed in range(3)
    ]
    return Runs("made_up", {"plain": plain, "better": better}, user_runs or {}, labels=labels or {})


def diverged(record):
    """What is left of a record where the run ended in numbers that are not finite."""
    lost = ("validation_accuracy", "validation_predictions", "test_accuracy", "test_predictions")
    return record | dict.fromkeys(lost) | {"status": "diverged"}


def declare(experiments, folder, patch=setattr):
    """Make these the only declared experiments, recorded below a folder, on `tiny_dataset`.

    experiments: or, as a page with sweeps has it, a function from the chosen learning rates to them. patch: how an
    attribute is replaced: pytest's `monkeypatch.setattr`, or for good in a process of its own.
    """
    patch(records, "RECORDS", folder / "data" / "records")
    patch(weights, "FOLDER", folder / "data" / "weights")
    page = {"experiments": experiments} if callable(experiments) else {"EXPERIMENTS": tuple(experiments)}
    patch(book, "PAGES", [types.SimpleNamespace(**page)])
    patch(book, "EXPERIMENTS", {experiment.name: experiment for experiment in book.of_page(book.PAGES[0])})
    patch(runner, "load_data", lambda variant: tiny_dataset())


def declared_experiment(monkeypatch, folder):
    """A declared experiment of two variants and two seeds, recorded below a folder of its own: seconds in all."""
    from shathenet_utils import backend

    variants = (
        Variant("plain", "v1_0", Recipe(epochs=1), dataset="tiny", validation=50),
        Variant("bilinear", "v1_0", Recipe(epochs=1), {"interpolation": "bilinear"}, dataset="tiny", validation=50),
    )
    experiment = Experiment(
        "made_up", "Does it work?", variants, seeds=(0, 1), keep_weights=("plain",), keep_weight_history=("plain",),
        threads=backend.threads()["intra_op"],
    )  # fmt: skip
    monkeypatch.setenv("SHATHENET_OUTPUT", str(folder))
    monkeypatch.setenv("SHATHENET_THREADS", str(experiment.threads))
    monkeypatch.delenv("SHATHENET_LIVE_SECONDS", raising=False)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)  # progress then goes to stderr, as in a terminal
    declare([experiment], folder, monkeypatch.setattr)
    return experiment


def flat_recipe(epochs=1, batch_size=32, **fields):
    """A Recipe whose parts' fields are given beside its own: flat_recipe(momentum=0.9, warmup=0.1, translate=4)."""
    parts = {}
    for name, part in (("optimizer", Optimizer), ("schedule", Schedule), ("augmentation", Augmentation)):
        own = {field.name: fields.pop(field.name) for field in dataclasses.fields(part) if field.name in fields}
        if isinstance(fields.get(name), str):
            own["name"] = fields.pop(name)
        parts[name] = fields.pop(name, None) or part(**own)
    return Recipe(epochs, batch_size, **fields, **parts)
