"""Weights come back as they were written, from the file of the record; altered ones and pickles are refused."""

import hashlib
import io
import os
import resource
import tempfile
from pathlib import Path

import numpy as np
import pytest
from helpers import tries
from hypothesis import given
from hypothesis import strategies as some

from shathenet_utils import ROOT, files, weights
from shathenet_utils.weights import WeightsError


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.setenv("SHATHENET_OUTPUT", str(tmp_path))
    return tmp_path


def test_arrays_come_back_as_they_went(outputs):
    arrays = {"conv1/kernel": np.arange(12, dtype=np.float16).reshape(3, 4), "conv1/bias": np.zeros(0, np.float32)}
    kept = weights.save_arrays(outputs / "data" / "runs" / "seed0.npz", arrays)
    assert kept["path"] == "data/runs/seed0.npz"
    loaded = weights.load_arrays(kept)
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)


@tries(50)
@given(
    shape=some.lists(some.integers(1, 4), min_size=2, max_size=5), size=some.floats(1e-3, 1e3), seed=some.integers(0)
)
def test_eight_bits_come_back_within_half_a_step(shape, size, seed):
    drawn = (size * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)
    numbers, scale = weights.in_eight_bits(drawn)
    assert (numbers.dtype, scale.dtype, scale.shape) == (np.int8, np.float16, (shape[0], shape[-1]))
    steps = weights.in_steps("kernel", drawn)
    assert all(array.nbytes == kept.nbytes for array, kept in zip(steps.values(), (numbers, scale), strict=True))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHATHENET_OUTPUT", folder)
        kept = weights.save_arrays(Path(folder) / "seed0.npz", steps)
        loaded = weights.load_arrays(kept)
    assert list(loaded) == ["kernel"]
    step = scale.astype(np.float32).reshape(shape[0], *[1] * (len(shape) - 2), shape[-1])
    np.testing.assert_array_equal(loaded["kernel"], numbers * step)
    assert (abs(loaded["kernel"] - drawn) <= 0.6 * step).all()  # the scale's own rounding takes a tenth more


def test_the_same_arrays_give_the_same_file(outputs):
    arrays = {"kernel": np.arange(5.0)}
    assert len({weights.save_arrays(outputs / name, arrays)["sha256"] for name in ("a.npz", "b.npz")}) == 1


@tries(30)
@given(position=some.floats(0, 1, exclude_max=True), bits=some.integers(1, 255))
def test_an_altered_byte_in_the_weights_is_found(position, bits):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHATHENET_OUTPUT", folder)
        path = Path(folder) / "seed0.npz"
        kept = weights.save_arrays(path, {"kernel": np.arange(20.0)})
        content = bytearray(path.read_bytes())
        content[int(position * len(content))] ^= bits
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=r"SHA-256 differs.*git checkout"):
            weights.load_arrays(kept)


def test_missing_weights_say_so(outputs):
    with pytest.raises(WeightsError, match=r"data/weights/gone\.npz are missing"):
        weights.load_arrays({"path": "data/weights/gone.npz", "sha256": ""})


class Trap:
    """What would run if a file's pickle were opened."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


def test_no_pickle_is_written_or_opened(outputs):
    objects = np.array([Trap()], object)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        weights.save_arrays(outputs / "objects.npz", {"kernel": objects})
    assert list(outputs.iterdir()) == []
    np.savez(outputs / "objects.npz", kernel=objects)
    sha256 = hashlib.sha256((outputs / "objects.npz").read_bytes()).hexdigest()
    with pytest.raises(WeightsError, match="does not hold plain arrays"):
        weights.load_arrays({"path": "objects.npz", "sha256": sha256})


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04half"])
def test_what_is_no_archive_is_refused_in_one_sentence(outputs, content):
    (outputs / "seed0.npz").write_bytes(content)
    with pytest.raises(WeightsError, match="does not hold plain arrays"):
        weights.load_arrays({"path": "seed0.npz", "sha256": hashlib.sha256(content).hexdigest()})


def test_a_full_disk_is_one_sentence_and_the_old_weights_stay(outputs):
    path = outputs / "seed0.npz"
    kept = weights.save_arrays(path, {"kernel": np.zeros(3)})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))  # as a full disk does, a write ends half-way
    try:
        with pytest.raises(files.FileError, match=r"seed0\.npz can't be written \(File too large\)"):
            weights.save_arrays(path, {"kernel": np.random.default_rng(0).random(1000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [found.name for found in outputs.iterdir()] == ["seed0.npz"]
    assert weights.load_arrays(kept)["kernel"].tolist() == [0, 0, 0]


def test_the_bytes_that_are_hashed_are_those_that_are_opened(outputs, monkeypatch):
    """Whoever changes the file between the two gets nothing in: it is read once."""
    path = outputs / "seed0.npz"
    kept = weights.save_arrays(path, {"kernel": np.arange(3.0)})
    sha256_of, reads, read_bytes = files.sha256_of, [], Path.read_bytes

    def hashed(content):
        path.write_bytes(b"changed behind our back")
        return sha256_of(content)

    monkeypatch.setattr(files, "sha256_of", hashed)
    monkeypatch.setattr(Path, "read_bytes", lambda path: reads.append(path) or read_bytes(path))
    assert weights.load_arrays(kept)["kernel"].tolist() == [0, 1, 2]
    assert reads == [path]


def test_the_books_weights_come_before_a_users_of_the_same_path(outputs):
    committed = next((ROOT / "data" / "weights").rglob("seed0.npz"))
    kept = {"path": committed.relative_to(ROOT).as_posix(), "sha256": files.sha256_of(committed.read_bytes())}
    (outputs / kept["path"]).parent.mkdir(parents=True)
    (outputs / kept["path"]).write_bytes(b"another file")
    assert weights.load_arrays(kept)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "data" / "weights").rglob("*.npz")), ids=lambda path: "-".join(path.parts[-3:])
)
def test_the_books_weights_are_plain_arrays_of_finite_numbers(path):
    kept = {"path": path.relative_to(ROOT).as_posix(), "sha256": files.sha256_of(path.read_bytes())}
    for name, array in weights.load_arrays(kept).items():
        assert array.dtype.kind in "fiu" and np.isfinite(array).all(), name


def test_weights_are_read_without_being_unpacked_to_disk(outputs, monkeypatch):
    kept = weights.save_arrays(outputs / "seed0.npz", {"a/b": np.ones((2, 2), np.float16)})
    before = sorted(os.listdir(outputs))
    assert weights.load_arrays(kept)["a/b"].dtype == np.float16
    assert sorted(os.listdir(outputs)) == before
    with np.load(io.BytesIO((outputs / "seed0.npz").read_bytes())) as archive:
        assert archive.files == ["a|b"]
