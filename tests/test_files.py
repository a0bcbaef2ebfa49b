"""A file is written whole or not at all; one process at a time holds a lock; what can't be written is one sentence."""

import errno
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from helpers import WITHOUT_TENSORFLOW, python, tries
from hypothesis import given
from hypothesis import strategies as some

from shathenet_utils import ROOT, files


@pytest.fixture
def place():
    """A folder of its own; pytest's would be kept from another user."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_while_writing_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "kept.json"
    path.write_text("old")
    with pytest.raises(error), files.written_whole(path) as temporary:
        temporary.write_text("half of the n")
        raise error
    assert [found.name for found in tmp_path.iterdir()] == ["kept.json"]
    assert path.read_text() == "old"


def test_what_is_written_whole_can_be_read_by_all(tmp_path):
    files.write_text(tmp_path / "deeper" / "text", "ü–%\n")
    assert (tmp_path / "deeper" / "text").read_bytes() == "ü–%\n".encode()
    assert (tmp_path / "deeper" / "text").stat().st_mode & 0o777 == 0o644


def test_a_full_disk_is_one_sentence_and_nothing_is_half_written(tmp_path):
    path = tmp_path / "text"
    files.write_text(path, "old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))  # as a full disk does, a write ends half-way
    try:
        with pytest.raises(files.FileError, match=r"text can't be written \(File too large\): free some space") as said:
            files.write_text(path, "new" * 500)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(said.value)
    assert [found.name for found in tmp_path.iterdir()] == ["text"]
    assert path.read_text() == "old"


def test_no_space_left_is_one_sentence(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(files.FileError, match=r"No space left on device.: free some space"):
        files.write_text(tmp_path / "text", "new")
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_folder_is_one_sentence(place):
    place.chmod(0o555)
    root = os.geteuid() == 0  # root may write anywhere: be nobody for a moment
    if root:
        os.seteuid(65534)
    try:
        for write in (lambda: files.write_text(place / "text", "new"), lambda: files.check_writable(place)):
            with pytest.raises(files.FileError, match=r"can't be written \(Permission denied\): .*make .* writable"):
                write()
    finally:
        if root:
            os.seteuid(0)
        place.chmod(0o755)
    assert list(place.iterdir()) == []


def test_a_file_in_a_folders_place_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    for write in (
        lambda: files.write_text(tmp_path / "file" / "text", ""),
        lambda: files.check_writable(tmp_path / "file"),
    ):
        with pytest.raises(files.FileError, match="can't be written"):
            write()


def test_a_folder_that_can_be_written_is_made_and_left_empty(tmp_path):
    files.check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_leftovers_of_one_file_are_removed_and_no_others(tmp_path):
    for name in (".seed0.json.abc", ".seed0.json.x1", "seed0.json", ".seed1.json.abc", ".seed0.npz.abc"):
        (tmp_path / name).touch()
    files.remove_leftovers(tmp_path / "seed0.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".seed0.npz.abc", ".seed1.json.abc", "seed0.json"]


leaves = some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False, allow_infinity=False)
texts = some.text(max_size=20) | some.sampled_from(["[ 1,  2 ]", "a [  b ] c", '{"', "[\n 1\n]", "ü–%"])
values = some.recursive(
    leaves | texts, lambda inner: some.lists(inner, max_size=4) | some.dictionaries(texts, inner, max_size=4)
)


@tries(60)
@given(some.dictionaries(texts, values, max_size=5))
def test_readable_json_holds_what_plain_json_holds(value):
    text = files.to_json(value)
    assert json.loads(text) == json.loads(json.dumps(value))
    assert text.endswith("\n")


def test_readable_json_has_a_line_per_list_of_numbers():
    assert (
        files.to_json({"a": [1, 2.5], "b": {"c": ["x"]}})
        == '{\n "a": [1, 2.5],\n "b": {\n  "c": [\n   "x"\n  ]\n }\n}\n'
    )
    for number in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="Out of range"):
            files.to_json({"a": number})


def test_a_hash_is_that_of_the_bytes():
    assert files.sha256_of(b"abc") == hashlib.sha256(b"abc").hexdigest()


# Locks

COUNT = """
import pathlib, sys
from shathenet_utils import files
folder = pathlib.Path(sys.argv[1])
for _ in range(100):
    with files.locked(folder / "run.lock"):
        number = int((folder / "number").read_text())
        (folder / "number").write_text(str(number + 1))
"""


def test_a_lock_lets_one_in_at_a_time_and_leaves_nothing(tmp_path):
    (tmp_path / "number").write_text("0")
    counting = [subprocess.Popen([sys.executable, "-c", COUNT, str(tmp_path)], cwd=ROOT) for _ in range(4)]
    assert [run.wait(timeout=200) for run in counting] == [0] * 4
    assert (tmp_path / "number").read_text() == "400"
    assert [path.name for path in tmp_path.iterdir()] == ["number"]


def test_who_will_not_wait_is_told_and_who_waits_is_told_once(tmp_path):
    path, said = tmp_path / "deeper" / "run.lock", []
    holding = subprocess.Popen(
        [sys.executable, "-c", "import pathlib, sys, time\nfrom shathenet_utils import files\n"
         "with files.locked(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(600)", str(path)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    with holding:
        assert holding.stdout.readline() == "held\n"
        with pytest.raises(files.Busy, match="Another process is at run"), files.locked(path, wait=False):
            pass

        def told():
            said.append("waiting")
            holding.kill()  # however its process ends, the system lets go of the lock

        with files.locked(path, on_wait=told) as waited:
            assert waited
    assert said == ["waiting"]
    with files.locked(path, wait=False) as waited:
        assert not waited
    assert list(path.parent.iterdir()) == []


def test_a_lock_that_can_not_be_made_is_told_in_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    lock = files.locked(tmp_path / "file" / "run.lock")
    with pytest.raises(files.FileError, match=r"can't be written \((Not a directory|File exists)"), lock:
        pass


def test_a_file_system_without_locks_is_one_sentence_not_a_wait(tmp_path, monkeypatch):
    import fcntl

    def refuses(handle, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuses)
    said = r"run\.lock can't be locked \(No locks available\)"
    with pytest.raises(files.FileError, match=said), files.locked(tmp_path / "run.lock"):
        pass


def test_files_needs_nothing_but_the_standard_library():
    hidden = "import sys; sys.modules['numpy'] = sys.modules['pandas'] = None\n"
    assert python(WITHOUT_TENSORFLOW + hidden + "import shathenet_utils.files; print('here')").stdout == "here\n"
