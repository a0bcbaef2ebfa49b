"""The JSON record of one run: its schema, load, save. Opens without TensorFlow.

The book's evidence lies in `data/records/<experiment>/<variant>/seed<k>.json` and is committed; every other run goes to
the git-ignored `data/runs/<dataset>/<budget>/…`, in the same shape.
"""

import hashlib
import json
import math
from pathlib import Path

import numpy as np

from shathenet_utils import ROOT, files, output_folder

SCHEMA = 2
RECORDS = ROOT / "data" / "records"
KEYS = (
    "schema", "experiment", "variant", "seed", "budget", "status", "dataset", "data_fingerprint", "split", "config",
    "config_hash", "model_digest", "parameters", "macs", "epochs", "history", "validation_accuracy",
    "validation_predictions", "test_accuracy", "test_accuracy_flip", "test_accuracy_tta", "test_predictions", "weights",
    "seconds", "precision", "threads", "machine", "versions", "date",
)  # fmt: skip
"""Of a record, in the order in which they are written. Accuracies are fractions; `validation_predictions` and
`test_predictions` are the predicted class of each image, see `encode_classes`, or null where there are no such images,
or none were kept: the test set of a sweep, the validation images of the oldest records."""


class RecordError(files.FileError):
    """A record is missing, cut, altered or of another declaration; one sentence says which and what to do."""


def config_hash(identity: dict) -> str:
    """Sixteen hex digits of what makes a run this run: its data, model and recipe, defaults left out."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def runs_folder(dataset: str, budget: str) -> Path:
    """Where runs go that are not the book's evidence."""
    return output_folder() / "data" / "runs" / dataset / budget


def all_runs_folders(budget: str) -> list[Path]:
    """The folders of all datasets that such runs are on."""
    return sorted((output_folder() / "data" / "runs").glob(f"*/{budget}"))


def checkpoint_path(run: Path, dataset: str, budget: str) -> Path:
    """Where a run that is not finished keeps its state; run: "<experiment>/<variant>/seed<k>.json"."""
    return output_folder() / "data" / "runs" / "unfinished" / dataset / budget / run.with_suffix(".npz")


def save(record: dict, path: Path) -> None:
    """Write a record whole or not at all. Raises RecordError where its keys are not `KEYS` or it holds a number
    that is not finite, FileError where the disk is full or can't be written."""
    if set(record) != set(KEYS):
        raise RecordError(f"A record for {path} has other keys than it should: {sorted(set(record) ^ set(KEYS))}.")
    try:
        text = files.to_json({key: record[key] for key in KEYS})
    except ValueError:
        raise RecordError(
            f"A record for {path} holds NaN or infinity, which no record may: nothing was written."
        ) from None
    files.write_text(path, text)


def _refuse(constant: str):
    raise ValueError(f"{constant} in a record")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


_NUMBER, _NONE = int | float, type(None)
_TYPES = {
    **dict.fromkeys(("experiment", "variant", "budget", "dataset", "data_fingerprint", "config_hash"), str),
    **dict.fromkeys(("seed", "epochs"), int),
    **dict.fromkeys(("split", "config", "history", "seconds"), dict),
    **dict.fromkeys(("validation_predictions", "test_predictions"), str | list | _NONE),
    **dict.fromkeys(
        ("validation_accuracy", "test_accuracy", "test_accuracy_flip", "test_accuracy_tta"), _NUMBER | _NONE
    ),
    "weights": dict | _NONE,
}
"""What kind of value a record holds under some of its keys."""
_LARGEST = 2**63
"""No whole number of a record is larger."""


def _fault(record) -> str:
    """Why something isn't a record as runs write them; empty for one that is."""
    if not isinstance(record, dict) or set(record) != set(KEYS):
        return "it has other keys"
    if record["schema"] != SCHEMA:
        return f"it is of schema {record['schema']!r}, not {SCHEMA}"
    for key, kind in _TYPES.items():
        value = record[key]
        if not isinstance(value, kind) or isinstance(value, bool) or (isinstance(value, int) and value >= _LARGEST):
            return f"its {key} is {str(value)[:40]!r}"
    for name, values in record["history"].items():
        if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
            return f"its history of {name} is no list of numbers"
        if any(abs(value) >= _LARGEST for value in values):
            return f"its history of {name} has a number beyond all bounds"
    return ""


def load(path: Path) -> dict:
    """Read one record. Raises RecordError where the file is missing, cut in half or not a record."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse, parse_float=_finite)
    except FileNotFoundError:
        raise RecordError(
            f"There is no record {path}: restore it with `git checkout`, or train it with "
            f"`python -m shathenet_utils train {path.parent.parent.name} --record`."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise RecordError(
            f"The record {path} can't be read ({type(error).__name__}): restore it with `git checkout`, "
            "or delete it and train again."
        ) from None
    if fault := _fault(record):
        raise RecordError(
            f"{path} is not a whole record, {fault}: restore it with `git checkout`, or delete it and train again."
        )
    return record


def encode_classes(classes) -> str | list[int]:
    """Class numbers, shape (n,), as a string of digits where ten classes allow it, else a list."""
    classes = np.asarray(classes)
    if classes.size and classes.max() > 9:
        return [int(number) for number in classes]
    return "".join(map(str, classes))


def decode_classes(text) -> np.ndarray:
    """The int64 array, shape (n,), that `encode_classes` was given. Raises ValueError for another."""
    numbers = [int(number) for number in text]
    if not all(0 <= number < _LARGEST for number in numbers):
        raise ValueError("class numbers beyond all bounds")
    return np.array(numbers, np.int64)


def count(text: str) -> float:
    """A published number of parameters: "17K" → 17000.0, "1.25M" → 1250000.0."""
    return float(text[:-1]) * {"K": 1e3, "M": 1e6}[text[-1]]


def published() -> dict[str, dict]:
    """The published numbers of `data/published.json` by their keys: value, network, parameters, source, address."""
    return json.loads((ROOT / "data" / "published.json").read_text(encoding="utf-8"))


def facts(dataset: str = "cifar10") -> dict:
    """What was counted once of a dataset (`python -m shathenet_utils facts`). Raises RecordError where it is not."""
    path = RECORDS / "facts" / f"{dataset}.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(
            f"The facts {path} can't be read ({type(error).__name__}): restore them with `git checkout`."
        ) from None
