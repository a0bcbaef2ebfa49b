"""How long a run may take: a guess for planning, from the records of its kind, else from its layers."""

import collections
import functools
import json

import numpy as np

from shathenet_utils import records
from shathenet_utils.declared import Run

_PER_MAC, _PER_NUMBER, _PER_LAYER = 1.1e-11, 6.7e-11, 4.7e-6
"""Core-seconds per image in training: per MAC, per number read or written, per layer. Measured with the baseline and
networks like it: batch 128, mixed_bfloat16, an EPYC of family 26, two processes of one thread side by side."""
_SLOW_KINDS = {"GroupNormalization": 60}
"""How many times as long a layer of a kind takes per number."""
_FLOAT32 = 1.5
"""How many times as long float32 takes."""
_BATCH = 128


def core_seconds(runs: list[Run]) -> dict[str, float]:
    """Core-seconds that each run may take, by its name.

    Where a run of the same model, batch size and precision is recorded, as long per image as that; else as its layers
    suggest, times what such a guess is wrong by for recorded runs of the same function in `models`. Machines differ by
    a factor of two.
    """
    per_image = collections.defaultdict(list)
    for path in sorted(records.RECORDS.glob("*/*/seed*.json")):
        record = records.load(path)
        if record["status"] == "finished" and record["seconds"]["median_epoch"]:
            cores = record["threads"]["intra_op"]
            taken = record["seconds"]["median_epoch"] * cores / record["split"]["train"]
            per_image[_kind(record["config"])].append(taken)
    recorded = {kind: float(np.median(taken)) for kind, taken in per_image.items()}
    found = {}
    for run in runs:
        kind = _kind(run.variant.config())
        seconds = recorded.get(kind)
        if seconds is None:
            alike = [taken / _guess(other) for other, taken in recorded.items() if other[0] == kind[0]]
            seconds = _guess(kind) * (float(np.median(alike)) if alike else 1)
        images = run.variant.images_per_class * 10 or 50_000 - run.variant.validation
        found[run.name] = seconds * images * run.recipe.epochs
    return found


def _kind(config: dict) -> tuple[str, str, int, str]:
    """(Model, its arguments as JSON, batch size, precision) of a configuration."""
    model, recipe = config["model"], config["recipe"]
    return model["name"], json.dumps(model["arguments"], sort_keys=True), recipe["batch_size"], recipe["precision"]


def _guess(kind: tuple[str, str, int, str]) -> float:
    """Core-seconds per image from the layers alone; half of what a layer takes is taken once per step."""
    name, arguments, batch_size, precision = kind
    macs, numbers, layers = _arithmetic(name, arguments)
    per_layer = _PER_LAYER * (1 + _BATCH / batch_size) / 2
    total = _PER_MAC * macs + _PER_NUMBER * numbers + per_layer * layers
    return total * (_FLOAT32 if precision == "float32" else 1)


@functools.cache
def _arithmetic(name: str, arguments: str) -> tuple[int, int, int]:
    """MACs per image, numbers read and written, those of slow layers as often as they are slower, and layers."""
    from shathenet_utils import architecture, models

    rows = architecture.traffic(models.build(name, json.loads(arguments)))
    numbers = sum(row["numbers"] * _SLOW_KINDS.get(row["kind"], 1) for row in rows)
    return sum(row["flops"] for row in rows) // 2, numbers, len(rows)
