"""A record is read back as it was written, and never mistaken for another; what is no record is one sentence."""

import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import a_record, tries
from hypothesis import given
from hypothesis import strategies as some

from shathenet_utils import ROOT, files, records

accuracies = some.lists(some.floats(0, 1), max_size=30)
texts = some.text(max_size=20) | some.sampled_from(["[ 1,  2 ]", "a [  b ] c", '{"', "[\n 1\n]", "ü–%"])
histories = some.fixed_dictionaries({"loss": accuracies, "accuracy": accuracies, "validation_accuracy": accuracies})
predictions = some.lists(some.integers(0, 9), max_size=200)


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
    whole = (files.to_json({key: a_record()[key] for key in records.KEYS})).encode()
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


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"schema": 1}, "schema 1, not 2"), ({"schema": "2"}, "schema '2'"), ({"seed": "0"}, "its seed is '0'"),
        ({"seed": False}, "its seed is 'False'"), ({"seed": 10**400}, "its seed is '1000"),
        ({"epochs": 3.0}, "its epochs is '3.0'"), ({"test_accuracy": "high"}, "its test_accuracy is 'high'"),
        ({"test_accuracy": True}, "its test_accuracy is 'True'"), ({"split": None}, "its split is 'None'"),
        ({"history": []}, "its history is"), ({"history": {"loss": [None]}}, "its history of loss is no list"),
        ({"history": {"loss": "2.0"}}, "its history of loss is no list"),
        ({"history": {"loss": [10**400]}}, "its history of loss has a number beyond"),
        ({"test_predictions": {"0": 1}}, "its test_predictions is"),
    ],
    ids=str,
)  # fmt: skip
def test_values_of_another_kind_are_refused_in_one_sentence(tmp_path, changed, said):
    path = tmp_path / "seed0.json"
    path.write_text(json.dumps(a_record() | changed))
    with pytest.raises(records.RecordError, match=f"seed0.json is not a whole record, .*{said}") as refused:
        records.load(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"test_accuracy": 1e999}', '{"loss": [-1e400]}'], ids=[0, 1, 2])
def test_what_is_beyond_all_bounds_is_refused_in_one_sentence(tmp_path, content):
    (tmp_path / "seed0.json").write_text(content)
    with pytest.raises(records.RecordError, match="can't be read"):
        records.load(tmp_path / "seed0.json")


@pytest.mark.parametrize("text", ["12a", [10**30], [-1], [[1]]], ids=str)
def test_what_holds_no_classes_is_refused(text):
    with pytest.raises((ValueError, TypeError)):
        records.decode_classes(text)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_neither_written_nor_read(tmp_path, number):
    record = a_record(history={"loss": [1.0, number]})
    with pytest.raises(records.RecordError, match="NaN or infinity"):
        records.save(record, tmp_path / "seed0.json")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "seed0.json").write_text(json.dumps(record))
    with pytest.raises(records.RecordError, match="can't be read"):
        records.load(tmp_path / "seed0.json")


def test_a_full_disk_is_one_sentence_and_the_old_record_stays(tmp_path):
    path = tmp_path / "seed0.json"
    records.save(a_record(), path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))  # as a full disk does, a write ends half-way
    try:
        with pytest.raises(files.FileError, match=r"seed0\.json can't be written \(File too large\)"):
            records.save(a_record(epochs=500), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [found.name for found in tmp_path.iterdir()] == ["seed0.json"]
    assert path.read_bytes() == before


def test_killed_in_the_middle_of_writing_the_old_record_is_still_whole(tmp_path):
    path = tmp_path / "seed0.json"
    records.save(a_record(1), path)
    source = (
        "import pathlib, sys, time\nfrom shathenet_utils import files\n"
        f"with files.written_whole(pathlib.Path({str(path)!r})) as temporary:\n"
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


def test_a_configurations_hash_does_not_depend_on_its_order():
    one = records.config_hash({"model": {"name": "v1_0"}, "recipe": {"epochs": 1, "batch_size": 2}})
    other = records.config_hash({"recipe": {"batch_size": 2, "epochs": 1}, "model": {"name": "v1_0"}})
    assert one == other == "d07ac9a629fa1139"
    assert records.config_hash({"model": {"name": "v1_1"}, "recipe": {}}) != one


def test_runs_that_are_no_evidence_lie_by_dataset_and_budget(monkeypatch, tmp_path):
    monkeypatch.setenv("SHATHENET_OUTPUT", str(tmp_path))
    assert records.runs_folder("cifar10", "quick") == tmp_path / "data" / "runs" / "cifar10" / "quick"
    unfinished = records.checkpoint_path(Path("v1_0/adam/seed3.json"), "cifar10", "full")
    assert unfinished == tmp_path / "data" / "runs" / "unfinished" / "cifar10" / "full" / "v1_0" / "adam" / "seed3.npz"
    monkeypatch.delenv("SHATHENET_OUTPUT")
    assert records.runs_folder("cifar10", "full") == ROOT / "data" / "runs" / "cifar10" / "full"


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
