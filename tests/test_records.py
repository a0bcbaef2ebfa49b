"""A record is written whole or not at all, read back as it was, and never mistaken for another."""

import dataclasses
import errno
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import a_record, made_up_runs, tries
from hypothesis import given
from hypothesis import strategies as some

from shathenet_utils import ROOT, records, stats

accuracies = some.lists(some.floats(0, 1), max_size=30)
texts = some.text(max_size=20) | some.sampled_from(["[ 1,  2 ]", "a [  b ] c", '{"', "[\n 1\n]", "ü–%"])
histories = some.fixed_dictionaries({"loss": accuracies, "accuracy": accuracies, "validation_accuracy": accuracies})
predictions = some.lists(some.integers(0, 9), max_size=200)


@pytest.fixture
def place():
    """A folder of its own; pytest's would be kept from another user."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@tries(100)
@given(history=histories, classes=predictions, seed=some.integers(0, 2**31), machine=texts)
def test_what_is_saved_is_what_is_loaded(history, classes, seed, machine):
    record = a_record(
        seed, history=history, test_predictions=records.encode_classes(classes), machine={"processor": machine}
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "variant" / "seed0.json"
        records.save(record, path)
        loaded = records.load(path)
    assert loaded == record
    assert records.decode_classes(loaded["test_predictions"]).tolist() == classes


def test_a_record_reads_well(tmp_path):
    record = a_record(epochs=60)
    records.save(dict(reversed(record.items())), tmp_path / "seed0.json")
    text = (tmp_path / "seed0.json").read_text()
    assert tuple(json.loads(text)) == records.KEYS
    assert f' "loss": [{", ".join(["2.0"] * 60)}],\n' in text
    assert text.endswith("}\n")
    assert (tmp_path / "seed0.json").stat().st_mode & 0o777 == 0o644


@tries(60)
@given(keep=some.floats(0, 1, exclude_max=True))
def test_a_record_cut_anywhere_is_never_taken_for_a_record(keep):
    whole = (records.to_json({key: a_record()[key] for key in records.KEYS})).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed0.json"
        path.write_bytes(whole[: int(keep * (len(whole) - 1))])  # without its last line feed it would still be whole
        with pytest.raises(records.RecordError, match=r"seed0\.json.* can't be read .*restore it"):
            records.load(path)


@pytest.mark.parametrize(
    "content", ["", "[]", "null", "{}", '{"schema": 1}', "<html>", '"text"', "\0\0\0", '{"a": 1}}'], ids=repr
)
def test_what_is_no_record_is_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "seed0.json"
    path.write_text(content)
    with pytest.raises(records.RecordError, match=r"seed0\.json.*(delete it and train again|restore it)") as refused:
        records.load(path)
    assert "\n" not in str(refused.value)


def test_a_record_of_other_bytes_than_text_is_refused(tmp_path):
    (tmp_path / "seed0.json").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(records.RecordError, match="UnicodeDecodeError"):
        records.load(tmp_path / "seed0.json")


def test_a_missing_record_says_how_to_train_it(tmp_path):
    with pytest.raises(
        records.RecordError,
        match=r"no record .*seed7\.json: restore it with .git checkout., or train it with `python -m shathenet_utils",
    ):
        records.load(tmp_path / "seed7.json")


def test_a_folder_in_a_records_place_is_refused(tmp_path):
    with pytest.raises(records.RecordError, match="IsADirectoryError"):
        records.load(tmp_path)


@pytest.mark.parametrize("change", [{"extra": 1}, {"seed": ...}], ids=["one too many", "one missing"])
def test_other_keys_are_refused(tmp_path, change):
    record = {key: value for key, value in (a_record() | change).items() if value is not ...}
    with pytest.raises(records.RecordError, match=next(iter(change))):
        records.save(record, tmp_path / "seed0.json")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "seed0.json").write_text(json.dumps(record))
    with pytest.raises(records.RecordError, match="not a whole record"):
        records.load(tmp_path / "seed0.json")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_neither_written_nor_read(tmp_path, number):
    record = a_record(history={"loss": [1.0, number]})
    with pytest.raises(records.RecordError, match="NaN or infinity"):
        records.save(record, tmp_path / "seed0.json")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "seed0.json").write_text(json.dumps(record))
    with pytest.raises(records.RecordError, match="can't be read"):
        records.load(tmp_path / "seed0.json")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_while_writing_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "kept.json"
    path.write_text("old")
    with pytest.raises(error), records.written_whole(path) as temporary:
        temporary.write_text("half of the n")
        raise error
    assert [found.name for found in tmp_path.iterdir()] == ["kept.json"]
    assert path.read_text() == "old"


def test_a_full_disk_is_one_sentence_and_nothing_is_half_written(tmp_path):
    path = tmp_path / "seed0.json"
    records.save(a_record(), path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))  # as a full disk does, a write ends half-way
    try:
        with pytest.raises(records.RecordError, match=r"seed0\.json can't be written \(File too large\)"):
            records.save(a_record(epochs=500), path)
        with pytest.raises(records.RecordError, match=r"seed0\.npz can't be written"):
            records.save_arrays(tmp_path / "seed0.npz", {"kernel": np.random.default_rng(0).random(1000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [found.name for found in tmp_path.iterdir()] == ["seed0.json"]
    assert path.read_bytes() == before


def test_no_space_left_is_one_sentence(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(records.RecordError, match="No space left on device.: free some space"):
        records.save(a_record(), tmp_path / "seed0.json")
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_folder_is_one_sentence(place):
    place.chmod(0o555)
    root = os.geteuid() == 0  # root may write anywhere: be nobody for a moment
    if root:
        os.seteuid(65534)
    try:
        for write in (lambda: records.save(a_record(), place / "seed0.json"), lambda: records.check_writable(place)):
            with pytest.raises(
                records.RecordError, match=r"can't be written \(Permission denied\): .*make .* writable"
            ):
                write()
    finally:
        if root:
            os.seteuid(0)
        place.chmod(0o755)
    assert list(place.iterdir()) == []


def test_a_file_in_a_folders_place_is_one_sentence(tmp_path):
    (tmp_path / "variant").write_text("")
    with pytest.raises(records.RecordError, match="can't be written"):
        records.save(a_record(), tmp_path / "variant" / "seed0.json")


def test_killed_in_the_middle_of_writing_the_old_record_is_still_whole(tmp_path):
    path = tmp_path / "seed0.json"
    records.save(a_record(1), path)
    source = (
        "import pathlib, sys, time\nfrom shathenet_utils import records\n"
        f"with records.written_whole(pathlib.Path({str(path)!r})) as temporary:\n"
        "    temporary.write_text('half')\n    print('half-way', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout.readline() == b"half-way\n"
        process.send_signal(signal.SIGKILL)
    assert records.load(path) == a_record(1)


def test_who_is_reading_the_old_record_while_the_new_one_is_written_reads_it_whole(tmp_path):
    path = tmp_path / "seed0.json"
    records.save(a_record(1), path)
    before = path.read_text()
    with path.open() as reader:
        records.save(a_record(2), path)
        assert reader.read() == before
    assert records.load(path) == a_record(2)


@pytest.mark.slow
def test_killed_at_any_moment_a_record_is_the_old_one_or_the_new_one(tmp_path):
    path = tmp_path / "seed0.json"
    source = (
        "import pathlib, sys\nsys.path.insert(0, 'tests')\n"
        "from helpers import a_record\nfrom shathenet_utils import records\n"
        f"path = pathlib.Path({str(path)!r})\nprint('writing', flush=True)\n"
        "while True:\n    for seed in range(2):\n        records.save(a_record(seed, epochs=3000), path)\n"
    )
    stream = np.random.default_rng(0)
    for _ in range(20):
        with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, cwd=ROOT) as process:
            process.stdout.readline()
            time.sleep(0.05 + stream.uniform(0, 0.05))
            process.kill()
        assert records.load(path) in [a_record(seed, epochs=3000) for seed in range(2)]


@given(predictions)
@tries(50)
def test_ten_classes_are_kept_as_digits(classes):
    text = records.encode_classes(np.array(classes, int))
    assert text == "".join(map(str, classes))
    assert records.decode_classes(text).dtype == np.int64


def test_more_classes_are_kept_as_numbers():
    assert records.encode_classes([3, 256]) == [3, 256]
    assert records.decode_classes([3, 256]).tolist() == [3, 256]


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.setenv("SHATHENET_OUTPUT", str(tmp_path))
    return tmp_path


def test_arrays_come_back_as_they_went(outputs):
    arrays = {"conv1/kernel": np.arange(12, dtype=np.float16).reshape(3, 4), "conv1/bias": np.zeros(0, np.float32)}
    kept = records.save_arrays(outputs / "data" / "runs" / "seed0.npz", arrays)
    assert kept["path"] == "data/runs/seed0.npz"
    loaded = records.load_arrays(kept)
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)


@tries(50)
@given(
    shape=some.lists(some.integers(1, 4), min_size=2, max_size=5), size=some.floats(1e-3, 1e3), seed=some.integers(0)
)
def test_eight_bits_come_back_within_half_a_step(shape, size, seed):
    weights = (size * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)
    numbers, scale = records.in_eight_bits(weights)
    assert (numbers.dtype, scale.dtype, scale.shape) == (np.int8, np.float16, (shape[0], shape[-1]))
    steps = records.in_steps("kernel", weights)
    assert all(array.nbytes == kept.nbytes for array, kept in zip(steps.values(), (numbers, scale), strict=True))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHATHENET_OUTPUT", folder)
        kept = records.save_arrays(Path(folder) / "seed0.npz", steps)
        loaded = records.load_arrays(kept)
    assert list(loaded) == ["kernel"]
    step = scale.astype(np.float32).reshape(shape[0], *[1] * (len(shape) - 2), shape[-1])
    np.testing.assert_array_equal(loaded["kernel"], numbers * step)
    assert (abs(loaded["kernel"] - weights) <= 0.6 * step).all()  # the scale's own rounding takes a tenth more


def test_the_same_arrays_give_the_same_file(outputs):
    arrays = {"kernel": np.arange(5.0)}
    assert len({records.save_arrays(outputs / name, arrays)["sha256"] for name in ("a.npz", "b.npz")}) == 1


@tries(30)
@given(position=some.floats(0, 1, exclude_max=True), bits=some.integers(1, 255))
def test_an_altered_byte_in_the_weights_is_found(position, bits):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHATHENET_OUTPUT", folder)
        path = Path(folder) / "seed0.npz"
        kept = records.save_arrays(path, {"kernel": np.arange(20.0)})
        content = bytearray(path.read_bytes())
        content[int(position * len(content))] ^= bits
        path.write_bytes(content)
        with pytest.raises(records.RecordError, match=r"SHA-256 differs.*git checkout"):
            records.load_arrays(kept)


def test_missing_weights_say_so(outputs):
    with pytest.raises(records.RecordError, match=r"data/weights/gone\.npz are missing"):
        records.load_arrays({"path": "data/weights/gone.npz", "sha256": ""})


class Trap:
    """What would run if a file's pickle were opened."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


def test_no_pickle_is_written_or_opened(outputs):
    objects = np.array([Trap()], object)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        records.save_arrays(outputs / "objects.npz", {"kernel": objects})
    assert list(outputs.iterdir()) == []
    np.savez(outputs / "objects.npz", kernel=objects)
    sha256 = hashlib.sha256((outputs / "objects.npz").read_bytes()).hexdigest()
    with pytest.raises(records.RecordError, match="does not hold plain arrays"):
        records.load_arrays({"path": "objects.npz", "sha256": sha256})


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04half"])
def test_what_is_no_archive_is_refused_in_one_sentence(outputs, content):
    (outputs / "seed0.npz").write_bytes(content)
    with pytest.raises(records.RecordError, match="does not hold plain arrays"):
        records.load_arrays({"path": "seed0.npz", "sha256": hashlib.sha256(content).hexdigest()})


def test_runs_give_numbers_by_seed():
    runs = made_up_runs()
    np.testing.assert_allclose(runs.values("plain"), [0.50, 0.51, 0.52])
    np.testing.assert_allclose(runs.values("plain", "training_accuracy"), [0.6, 0.61, 0.62])
    assert runs.interval("plain") == stats.interval([0.50, 0.51, 0.52])
    np.testing.assert_allclose(runs.paired("better", "plain"), ([0.56] * 3, [0.50, 0.51, 0.52]))
    assert runs.difference("better", "plain").mean == pytest.approx(0.05)


def test_the_best_variant_is_the_best_on_validation_and_not_on_the_test_set():
    runs = made_up_runs()
    for record in runs.recorded["plain"]:
        record["test_accuracy"] = 0.99
    assert runs.best() == "better"
    assert runs.best("test_accuracy") == "plain"


def test_a_diverged_variant_is_never_the_best():
    runs = made_up_runs()
    for record in runs.recorded["plain"]:
        record |= {"validation_accuracy": None, "test_accuracy": None, "status": "diverged"}
    assert runs.best() == "better"
    assert runs.table().loc["plain", "test accuracy"] == "–"


def test_a_variant_that_diverged_once_or_was_a_pilot_is_not_chosen():
    runs = made_up_runs()
    pilot = dataclasses.replace(runs, pilots=("better",))
    assert pilot.best() == "plain"
    assert list(pilot.table().index) == ["plain", "better (pilot)"]
    runs.recorded["better"][0] |= {"validation_accuracy": None, "test_accuracy": None, "status": "diverged"}
    assert runs.best() == "plain"
    runs.recorded["plain"][1] |= {"validation_accuracy": None, "test_accuracy": None, "status": "diverged"}
    assert runs.best() == "better"


def test_only_seeds_that_both_have_are_paired():
    runs = made_up_runs()
    del runs.recorded["plain"][0]
    runs.recorded["better"].reverse()
    np.testing.assert_allclose(runs.paired("better", "plain"), ([0.56, 0.56], [0.51, 0.52]))


def diverged(record):
    return record | {"validation_accuracy": None, "test_accuracy": None, "test_predictions": None, "status": "diverged"}


def test_a_diverged_seed_is_left_out_and_named():
    runs = made_up_runs()
    runs.recorded["plain"][1] = diverged(runs.recorded["plain"][1])
    assert (len(runs.finished("plain")), runs.diverged("plain"), runs.diverged("better")) == (2, [1], [])
    assert runs.interval("plain") == stats.interval([0.50, 0.52])
    assert runs.difference("better", "plain") == stats.paired_difference([0.56, 0.56], [0.50, 0.52])
    assert runs.table().loc["plain", "seeds"] == "3, diverged: 1"


def test_runs_on_other_pictures_are_never_subtracted():
    runs = made_up_runs()
    for record in runs.recorded["better"]:
        record["split"] = {**record["split"], "train": 50_000, "validation": 0}
    with pytest.raises(ValueError, match="better and plain were trained on different numbers of pictures"):
        runs.difference("better", "plain")


def test_views_stand_in_the_table_only_where_they_were_tested():
    runs = made_up_runs()
    assert "multi-crop" not in runs.table()
    for record in runs.recorded["better"]:
        record["test_accuracy_tta"] = 0.61
    assert runs.table()["multi-crop"].tolist() == ["–", "61.0 % (61.0 to 61.0)"]


def test_the_table_shows_ours_and_below_it_the_readers_own():
    own = {"plain": [a_record(7, test_accuracy=0.49)]}
    table = made_up_runs(own).table()
    assert list(table.index) == ["plain", "better", "plain (yours)"]
    low, high = stats.interval([0.50, 0.51, 0.52])[1:3]
    assert table.loc["plain", "test accuracy"] == f"51.0 % ({100 * low:.1f} to {100 * high:.1f})"
    assert table.loc["plain (yours)", "test accuracy"] == "49.0 %"
    assert table.loc["plain", ["parameters", "MACs", "seeds"]].tolist() == ["17,882", "2.9M", 3]
    assert list(made_up_runs(own).table(own_only=True).index) == ["plain (yours)"]


def test_a_file_system_without_locks_is_one_sentence_not_a_wait(tmp_path, monkeypatch):
    import fcntl

    def refuses(handle, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuses)
    said = r"run\.lock can't be locked \(No locks available\)"
    with pytest.raises(records.RecordError, match=said), records.locked(tmp_path / "run.lock"):
        pass


def test_published_numbers_name_their_source():
    for name, entry in records.published().items():
        assert entry.keys() == {"value", "what", "network", "parameters", "source", "address"}, name
        assert entry["address"].startswith("https://"), name
        if entry["parameters"]:
            assert 1e3 < records.count(entry["parameters"]) < 1e8, name


def test_unreadable_facts_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    with pytest.raises(records.RecordError, match=r"cifar10\.json can't be read .*git checkout"):
        records.facts()
