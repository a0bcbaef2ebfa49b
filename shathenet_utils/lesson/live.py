"""Data for a page's live cells, and what takes CIFAR-10's images to compute."""

import dataclasses
import dis
import hashlib
import inspect
import os
import types
from collections.abc import Callable

import numpy as np

from shathenet_utils import datasets, files, records
from shathenet_utils.lesson.shown import banner

Fractions = dict[str, dict[str, float]]
LIVE_IMAGES = 4_000
LIVE_IMAGES_UNDER_TEST = 500
LIVE_VALIDATION_IMAGES = 1_000
MAX_DIFFERENCE = 0.005  # half a point: what another machine's rounding may do to some of a few thousand images


def data(validation: int = 5000) -> datasets.Dataset:
    """CIFAR-10, the whole dataset; without data and internet connection the drawn stand-in, under a banner.

    validation: how many training images are set apart.
    """
    try:
        return datasets.cifar10(validation=validation, download=not os.environ.get("SHATHENET_OFFLINE"))
    except datasets.DatasetError as error:
        banner(
            "The live cells of this page run on drawn shapes, not on CIFAR-10; recorded results are the real ones. "
            f"{error}"
        )
        return datasets.toy_shapes()


def live_images(dataset: datasets.Dataset | None = None) -> datasets.Dataset:
    """What a page trains on before the reader's eyes: 4,000 training images (500 under test), 1,000 for validation.

    As many of each class, always the same ones; the test images are all there. dataset: what to draw them from in
    place of `data()`.
    """
    dataset = data() if dataset is None else dataset
    classes = len(dataset.class_names)
    count = LIVE_IMAGES_UNDER_TEST if os.environ.get("SHATHENET_LIVE_SECONDS") else LIVE_IMAGES
    drawn = datasets.subset_per_class(dataset, count // classes, seed=0)
    labels = dataset.validation_labels
    rows = [np.flatnonzero(labels == label)[: LIVE_VALIDATION_IMAGES // classes] for label in range(classes)]
    chosen = np.sort(np.concatenate(rows))
    return dataclasses.replace(
        drawn,
        validation_images=dataset.validation_images[chosen],
        validation_labels=labels[chosen],
        split={**drawn.split, "validation": len(chosen)},
    )


def load_or_compute(
    name: str, compute: Callable[[], Fractions], data: datasets.Dataset, *, again: bool = True
) -> Fractions:
    """Fractions that take CIFAR-10's images to compute, {row: {column: fraction}}, the same on a machine without.

    `make rerun` records what `compute()` returns in `data/records/facts/<name>.json`. Where the images are at hand a
    page computes them again; it shows what was recorded or, under a banner, what differs by more than MAX_DIFFERENCE.
    again: False for what takes minutes: then only `make rerun` computes it, where the images or the page's code that
    computes it are not those of the record (always with `--anew`, as after new trainings), and whoever has no record
    of it. Raises RecordError where neither record nor images are there.
    """
    recording = bool(os.environ.get("SHATHENET_FIGURES"))
    recorded = (records.RECORDS / "facts" / f"{name}.json").exists()
    if data.name != "cifar10" or (recorded and not again and not recording):
        return records.facts(name)["counted"]
    made_from = {"data_fingerprint": data.fingerprint, "code": code_digest(compute)} if recording else {}
    if recorded and not again and not os.environ.get("SHATHENET_ANEW"):
        fact = records.facts(name)
        if made_from.items() <= fact.items():
            return fact["counted"]
    computed = {
        row: {column: round(float(value), 4) for column, value in cells.items()} for row, cells in compute().items()
    }
    if recording:
        fact = {"schema": records.SCHEMA, **made_from, "counted": computed}
        files.write_text(records.RECORDS / "facts" / f"{name}.json", files.to_json(fact))
    recorded = records.facts(name)["counted"] if recorded or recording else computed
    if _agree(computed, recorded):
        return recorded
    banner("What was computed here differs from the record; yours is shown.")
    return computed


def _agree(computed: Fractions, recorded: Fractions) -> bool:
    if {row: [*cells] for row, cells in computed.items()} != {row: [*cells] for row, cells in recorded.items()}:
        return False
    differences = [abs(computed[row][column] - recorded[row][column]) for row in computed for column in computed[row]]
    return max(differences, default=0.0) <= MAX_DIFFERENCE


def code_digest(function: Callable) -> str:
    """Sixteen hexadecimal digits that change with a function's source, or with what it uses of its own module.

    That is: functions defined there, by their source and in turn by what they use, and plain values (numbers, texts,
    and tuples, lists and dictionaries of them). Of other objects and of imported modules nothing is seen.
    """
    parts, waiting = {}, [function]
    while waiting:
        found = waiting.pop()
        parts[found.__name__] = inspect.getsource(found)
        for name in _global_names(found.__code__) - parts.keys():
            value = found.__globals__.get(name)
            if isinstance(value, types.FunctionType) and value.__module__ == found.__module__:
                waiting.append(value)
            elif value is not None and _is_plain(value):
                parts[name] = repr(value)
    return hashlib.sha256("\n".join(f"{name}: {parts[name]}" for name in sorted(parts)).encode()).hexdigest()[:16]


def _global_names(code: types.CodeType) -> set[str]:
    names = {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}
    return names.union(*(_global_names(part) for part in code.co_consts if isinstance(part, types.CodeType)))


def _is_plain(value) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(item) for item in [*value, *value.values()])
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    return isinstance(value, bool | int | float | str | range | None)
