"""What a run leaves behind: one JSON file and its weights; load, check, tabulate. Opens without TensorFlow.

The book's evidence lies in `data/records/<experiment>/<variant>/seed<k>.json` and is committed; every
other run goes to the git-ignored `data/runs/<dataset>/<budget>/…`, in the same shape.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import tempfile
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np

from shathenet_utils import ROOT, output_folder, stats

SCHEMA = 1
RECORDS = ROOT / "data" / "records"
WEIGHTS = ROOT / "data" / "weights"
KEYS = (
    "schema", "experiment", "variant", "seed", "budget", "status", "dataset", "data_fingerprint", "split", "config",
    "config_hash", "model_digest", "parameters", "macs", "epochs", "history", "validation_accuracy", "test_accuracy",
    "test_accuracy_flip", "test_accuracy_tta", "test_predictions", "weights", "seconds", "precision", "threads",
    "machine", "versions", "date",
)  # fmt: skip


DAMAGED = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    RuntimeError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What NumPy and zipfile may raise for an .npz whose bytes are no longer what was written."""


class RecordError(RuntimeError):
    """A record is missing, cut, altered or of another declaration; one sentence says which and what to do."""


def config_hash(identity: dict) -> str:
    """Sixteen hex digits of what makes a run this run: its data, model and recipe, defaults left out."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def runs_folder(dataset: str, budget: str) -> Path:
    """Where runs go that are not the book's evidence."""
    return output_folder() / "data" / "runs" / dataset / budget


def checkpoint_path(run: Path, dataset: str, budget: str) -> Path:
    """Where a run that is not finished keeps its state; run: "<experiment>/<variant>/seed<k>.json"."""
    return output_folder() / "data" / "runs" / "unfinished" / dataset / budget / run.with_suffix(".npz")


@contextlib.contextmanager
def written_whole(path: Path):
    """A temporary path to write to; it takes `path`'s place when the block ends well, else nothing is left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        yield Path(temporary)
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


class Busy(RuntimeError):
    """Another process is at this run."""


@contextlib.contextmanager
def locked(path: Path, wait: bool = True, on_wait=None):
    """Hold a lock file while the block runs, so that one process at a time is at a run; yields whether it had to wait.

    The system lets go of it when its process ends, however it ends. wait: False raises Busy at once where another
    process holds it. on_wait: is called once, before waiting. Raises RecordError where the file can't be made.
    """
    import fcntl  # here: Linux, macOS and WSL2 have it

    waited = False
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with writing_to(path):
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.fstat(handle).st_ino == path.stat().st_ino:  # else its holder has just removed it
                break
        except FileNotFoundError:
            pass
        except BlockingIOError:
            if not wait:
                os.close(handle)
                raise Busy(f"Another process is at {path.stem}.") from None
            if not waited and on_wait:
                on_wait()
            waited = True
            time.sleep(0.2)
        except OSError as error:  # a file system without locks: nothing to wait for
            os.close(handle)
            raise RecordError(
                f"{path} can't be locked ({error.strerror or error}): train in a folder that can."
            ) from None
        os.close(handle)
    try:
        yield waited
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def remove_leftovers(path: Path) -> None:
    """Delete what a killed process had begun to write in `path`'s place; only under the lock of its run."""
    for begun in path.parent.glob(f".{path.name}.*"):
        begun.unlink(missing_ok=True)


def save(record: dict, path: Path) -> None:
    """Write a record whole or not at all. Raises RecordError where its keys are not `KEYS`, it holds a number that is
    not finite, or the disk is full or can't be written."""
    if set(record) != set(KEYS):
        raise RecordError(f"A record for {path} has other keys than it should: {sorted(set(record) ^ set(KEYS))}.")
    try:
        text = to_json({key: record[key] for key in KEYS})
    except ValueError:
        raise RecordError(
            f"A record for {path} holds NaN or infinity, which no record may: nothing was written."
        ) from None
    with writing_to(path), written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def writing_to(path: Path):
    """Turn what goes wrong while writing a run into one sentence."""
    try:
        yield
    except OSError as error:
        raise RecordError(
            f"{path} can't be written ({error.strerror or error}): free some space, or make {path.parent} writable."
        ) from None


def check_writable(folder: Path) -> None:
    """Find out before a run, not after it, that its record could not be written. Raises RecordError."""
    with writing_to(folder / "a record"):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


def to_json(value: dict) -> str:
    """JSON that people can read too: a line a key, and each innermost list of numbers on one line."""
    text = json.dumps(value, indent=1, allow_nan=False)
    return (
        re.sub(
            r"\[\n[^\[\]{}\"]*\]",
            lambda found: re.sub(r"\s+", " ", found[0]).replace("[ ", "[").replace(" ]", "]"),
            text,
        )
        + "\n"
    )


def _refuse(constant: str):
    raise ValueError(f"{constant} in a record")


def load(path: Path) -> dict:
    """Read one record. Raises RecordError where the file is missing, cut in half or not a record."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except FileNotFoundError:
        raise RecordError(
            f"There is no record {path}: restore it with `git checkout`, or train it with "
            f"`python -m shathenet_utils train {path.parent.parent.name} --record`."
        ) from None
    except (OSError, ValueError) as error:
        raise RecordError(
            f"The record {path} can't be read ({type(error).__name__}): restore it with `git checkout`, "
            "or delete it and train again."
        ) from None
    if not isinstance(record, dict) or set(record) != set(KEYS):
        raise RecordError(
            f"{path} is not a whole record: restore it with `git checkout`, or delete it and train again."
        )
    return record


def encode_classes(classes) -> str | list[int]:
    """Class numbers, shape (n,), as a string of digits where ten classes allow it, else a list."""
    classes = np.asarray(classes)
    if classes.size and classes.max() > 9:
        return [int(number) for number in classes]
    return "".join(map(str, classes))


def decode_classes(text) -> np.ndarray:
    """The int64 array, shape (n,), that `encode_classes` was given."""
    return np.array([int(number) for number in text], np.int64)


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> dict:
    """Write arrays as one .npz; returns what a record keeps of it: path from the repository's root, and SHA-256."""
    with writing_to(path), written_whole(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream, allow_pickle=False, **{name.replace("/", "|"): array for name, array in arrays.items()}
        )
    root = ROOT if path.is_relative_to(ROOT) else output_folder()
    return {"path": path.relative_to(root).as_posix(), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def load_arrays(kept: dict) -> dict[str, np.ndarray]:
    """The arrays behind a record's {"path", "sha256"}, those in eight bits as float32.

    Raises RecordError where the file is missing or altered.
    """
    path = next((root / kept["path"] for root in (ROOT, output_folder()) if (root / kept["path"]).is_file()), None)
    if path is None:
        raise RecordError(f"The weights {kept['path']} are missing: restore them with `git checkout`.")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != kept["sha256"]:
        raise RecordError(
            f"The weights {path} are not those of their record (SHA-256 differs): restore them with `git checkout`."
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name.replace("|", "/"): archive[name] for name in archive.files}
    except DAMAGED:
        raise RecordError(f"{path} does not hold plain arrays of numbers: restore it with `git checkout`.") from None
    scales = {name.removesuffix(SCALE): found.pop(name) for name in list(found) if name.endswith(SCALE)}
    return found | {name: _from_steps(found[name], scale) for name, scale in scales.items()}


SCALE = " scale"
"""Ends the name under which a file of weights holds the scale of an array in eight bits."""


def in_eight_bits(stacked) -> tuple[np.ndarray, np.ndarray]:
    """Weights of some epochs, finite, (epochs, …, filters), as whole numbers from -127 to 127, int8, and the scale of
    each epoch and filter, float16 (epochs, filters): weight = number · scale."""
    stacked = np.asarray(stacked, np.float32)
    largest = np.abs(stacked).reshape(len(stacked), -1, stacked.shape[-1]).max(axis=1)
    with np.errstate(over="ignore"):
        scale = np.maximum((largest / 127).astype(np.float16), np.finfo(np.float16).tiny)
    numbers = np.rint(stacked / _beside(stacked, scale))
    return np.clip(numbers, -127, 127).astype(np.int8), scale


def in_steps(name: str, stacked) -> dict[str, np.ndarray]:
    """Weights of some epochs as a file keeps them: `in_eight_bits`, each epoch's numbers in steps from the one before,
    which compress better; int8 that wraps around, so that nothing is lost. `load_arrays` undoes it."""
    numbers, scale = in_eight_bits(stacked)
    return {name: np.diff(numbers, axis=0, prepend=np.zeros_like(numbers[:1])), name + SCALE: scale}


def _from_steps(steps, scale) -> np.ndarray:
    numbers = np.cumsum(steps, axis=0, dtype=np.int8)
    return numbers * _beside(numbers, scale)


def _beside(stacked, scale) -> np.ndarray:
    return scale.astype(np.float32).reshape(len(stacked), *[1] * (stacked.ndim - 2), -1)


@dataclasses.dataclass(frozen=True)
class Runs:
    """The records of one experiment, by variant, in the order of its declaration and of its seeds.

    recorded: the book's evidence. own: the reader's runs, drawn beside it. pilots: the variants that decide nothing. A
    run that diverged has no accuracy: numbers and figures leave it out, and name it.
    """

    experiment: str
    recorded: dict[str, list[dict]]
    own: dict[str, list[dict]]
    pilots: tuple[str, ...] = ()

    def finished(self, variant: str) -> list[dict]:
        """The records of a variant's runs that did not diverge."""
        return [record for record in self.recorded[variant] if record["status"] != "diverged"]

    def diverged(self, variant: str) -> list[int]:
        """The seeds of a variant's runs that did."""
        return [record["seed"] for record in self.recorded[variant] if record["status"] == "diverged"]

    def values(self, variant: str, key: str = "test_accuracy") -> np.ndarray:
        """One number a seed that did not diverge, float64: a record's key, or "training_accuracy", that of the last
        epoch.

        Empty where the runs have no such number.
        """
        values = [_value(record, key) for record in self.finished(variant)]
        return np.array([value for value in values if value is not None], np.float64)

    def interval(self, variant: str, key: str = "test_accuracy") -> stats.Interval:
        """Mean and 95 % interval over the seeds of a variant. Raises ValueError where every seed diverged."""
        return stats.interval(self.values(variant, key))

    def best(self, by: str = "validation_accuracy") -> str:
        """The variant with the highest mean, no pilot; choose on validation, never on the test set.

        One of whose seeds some diverged is taken only where all variants are like that.
        """
        values = {name: self.values(name, by) for name in self.recorded if name not in self.pilots}

        def rank(variant):
            return not self.diverged(variant), values[variant].mean() if len(values[variant]) else -np.inf

        return max(values, key=rank)

    def paired(self, variant: str, baseline: str, key: str = "test_accuracy") -> tuple[np.ndarray, np.ndarray]:
        """The numbers of both variants for each seed that finished in both, float64 (seeds,) each, in the seeds' order.

        Raises ValueError where one of the two was trained on all pictures and the other was not.
        """
        if len({record["split"]["train"] for name in (variant, baseline) for record in self.recorded[name]}) > 1:
            raise ValueError(f"{variant} and {baseline} were trained on different numbers of pictures: no difference.")
        ours, theirs = (
            {record["seed"]: _value(record, key) for record in self.finished(name)} for name in (variant, baseline)
        )
        both = sorted(ours.keys() & theirs.keys())
        return np.array([ours[seed] for seed in both]), np.array([theirs[seed] for seed in both])

    def difference(self, variant: str, baseline: str, key: str = "test_accuracy") -> stats.Interval:
        """The mean of variant − baseline, paired by seed, with its 95 % interval."""
        return stats.paired_difference(*self.paired(variant, baseline, key))

    def table(self, own_only: bool = False):
        """A pandas table, a row a variant: parameters, MACs, epochs, seeds, accuracies with 95 % intervals.

        A reader's own runs stand below the records, or alone.
        """
        import pandas

        parts = [(" (yours)", self.own)] if own_only else [("", self.recorded), (" (yours)", self.own)]
        rows = {
            name + " (pilot)" * (name in self.pilots) + source: _summary(found)
            for source, part in parts
            for name, found in part.items()
            if found
        }
        return pandas.DataFrame.from_dict(rows, orient="index").fillna("–").rename_axis("variant")


def _value(record: dict, key: str) -> float:
    return record["history"]["accuracy"][-1] if key == "training_accuracy" else record[key]


def _summary(found: list[dict]) -> dict:
    first = found[0]
    lost = [str(record["seed"]) for record in found if record["status"] == "diverged"]
    accuracies = {
        name: percent([record[key] for record in found])
        for name, key in (
            ("validation accuracy", "validation_accuracy"),
            ("test accuracy", "test_accuracy"),
            ("with flip", "test_accuracy_flip"),
            ("multi-crop", "test_accuracy_tta"),
        )
        if key in ("validation_accuracy", "test_accuracy") or any(record[key] is not None for record in found)
    }
    return {
        "parameters": f"{first['parameters']:,}",
        "MACs": f"{first['macs'] / 1e6:.1f}M",
        "epochs": first["epochs"],
        "seeds": f"{len(found)}, diverged: {', '.join(lost)}" if lost else len(found),
        **accuracies,
    }


def percent(values) -> str:
    """Accuracies, one a seed, as "60.8 % (60.2 to 61.4)"; a single one has no interval, none at all is a dash."""
    values = [value for value in values if value is not None]
    if not values:
        return "–"
    return told(stats.interval(values))


def told(interval: stats.Interval) -> str:
    """An interval of accuracies in words, as `percent` does it."""
    text = f"{interval.mean * 100:.1f} %"
    return text if interval.n == 1 else f"{text} ({interval.low * 100:.1f} to {interval.high * 100:.1f})"


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
