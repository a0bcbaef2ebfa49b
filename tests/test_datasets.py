"""CIFAR-10 is the official one, whole, or refused in one sentence; the drawn shapes can be learnt, not by a line.

Where the real data is not needed, a miniature of the same layout stands in, its checksums declared the official ones.
"""

import contextlib
import dataclasses
import errno
import hashlib
import http.server
import io
import itertools
import os
import pickle
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pooch
import psutil
import pytest
from helpers import python, tiny_dataset, tries
from hypothesis import given
from hypothesis import strategies as some

from shathenet_utils import ROOT, datasets
from shathenet_utils.datasets import CIFAR10_ARCHIVE, CIFAR10_CLASSES, CIFAR10_FOLDER, CIFAR10_MD5

FILES = tuple(CIFAR10_MD5)
PARTS = ("train", "validation", "test")
THREE_WAYS = (
    r"connect to the internet.* put cifar-10-python\.tar\.gz .*into that folder.* set SHATHENET_DATA to a folder"
)
no_counts = some.integers(max_value=-1) | some.integers(0).filter(lambda n: n % 10) | some.floats() | some.booleans()


def tree(folder):
    """All that lies in a folder, hidden files too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def sentence(refused, kind=datasets.DatasetError):
    assert refused.type is kind
    text = str(refused.value)
    assert "\n" not in text
    assert len(text) < 800
    return text


def numbers(images):
    """Which image of the miniature each is."""
    return np.ascontiguousarray(images[:, 0, :4, 0]).view("<u4")[:, 0]


# Pickles as Python 2 wrote them in 2009, which Python 3 can't write any more


class Opcodes(bytes):
    """Goes into a pickle as it is."""


def opcodes(value):
    match value:
        case Opcodes():
            return value
        case None | True | False:
            return {None: b"N", True: b"\x88", False: b"\x89"}[value]
        case int():
            return b"J" + struct.pack("<i", value)
        case float():
            return b"G" + struct.pack(">d", value)
        case bytes():
            return b"T" + struct.pack("<i", len(value)) + value
        case str():
            return b"X" + struct.pack("<i", len(value)) + value.encode("ascii")
        case list():
            return b"](" + b"".join(map(opcodes, value)) + b"e"
        case tuple():
            return b"(" + b"".join(map(opcodes, value)) + b"t"
        case dict():
            return b"}(" + b"".join(map(opcodes, itertools.chain(*value.items()))) + b"u"
    raise TypeError(value)


def pickled(value):
    return b"\x80\x02" + opcodes(value) + b"."


def named(name):
    """The opcodes that ask for a module's function or class."""
    return Opcodes("c{0}\n{2}\n".format(*name.rpartition(".")).encode())


def call(name, *arguments):
    return Opcodes(named(name) + opcodes(arguments) + b"R")


def dtype(code):
    return Opcodes(call("numpy.dtype", code, 0, 1) + opcodes((3, b"|", None, None, None, -1, -1, 0)) + b"b")


def array(content, shape=(10_000, 3072), code=b"u1"):
    empty = call("numpy.core.multiarray._reconstruct", named("numpy.ndarray"), (0,), b"b")
    return Opcodes(empty + opcodes((1, shape, dtype(code), False, content)) + b"b")


META = {b"num_cases_per_batch": 10_000, b"label_names": [name.encode() for name in CIFAR10_CLASSES], b"num_vis": 3072}
BLACK = bytes(10_000 * 3072)
HAND_MADE = bytes(
    [8 * row for row in range(32) for column in range(32)]  # the red plane
    + [column for row in range(32) for column in range(32)]  # the green one
    + [row ^ column for row in range(32) for column in range(32)]  # the blue one
)


def a_batch(**changes):
    batch = {"batch_label": b"made by a test", "labels": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] * 1000, "data": array(BLACK)}
    return pickled({key.encode(): value for key, value in (batch | changes).items() if value is not ...})


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def refusal(folder, files, patch):
    """What is said of these files in place of the official ones, their checksums declared to be right."""
    files = {"batches.meta": pickled(META)} | files
    (folder / CIFAR10_FOLDER).mkdir(parents=True)
    for name, content in files.items():
        (folder / CIFAR10_FOLDER / name).write_bytes(content)
    patch.setattr(datasets, "CIFAR10_MD5", CIFAR10_MD5 | {name: md5(content) for name, content in files.items()})
    with pytest.raises(datasets.DatasetError) as refused:
        datasets.cifar10(folder=folder)
    return sentence(refused)


@contextlib.contextmanager
def little_memory():
    """At most one gigabyte more: a claim of more fails, as in the end it would anywhere."""
    if sys.platform != "linux":
        pytest.skip("only Linux limits a process's memory")
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 2**30, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


@contextlib.contextmanager
def a_full_disk():
    """As on a full disk, a write ends half-way."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextlib.contextmanager
def nobody():
    """Root may read and write anything: be nobody for a moment."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def place():
    """A folder of its own; pytest's would be kept from another user."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


# The real CIFAR-10


@pytest.fixture(scope="module")
def official():
    """The folder of the official files."""
    return datasets._find_cifar10(datasets.data_folder(), download=False)


@pytest.fixture(scope="module")
def real(official):
    return datasets.cifar10()


@pytest.fixture(scope="module")
def undivided(official):
    return datasets.cifar10(validation=0)


def digests(data, *parts):
    """A digest of each image and its label."""
    return [
        (hashlib.md5(image, usedforsecurity=False).digest(), label)
        for part in parts
        for image, label in zip(getattr(data, f"{part}_images"), getattr(data, f"{part}_labels").tolist(), strict=True)
    ]


@pytest.mark.needs_cifar10
def test_cifar10_is_what_it_is_known_to_be(real, undivided):
    for data, sizes in ((real, (45_000, 5_000, 10_000)), (undivided, (50_000, 0, 10_000))):
        for part, size in zip(PARTS, sizes, strict=True):
            images, labels = getattr(data, f"{part}_images"), getattr(data, f"{part}_labels")
            assert (images.dtype, images.shape) == (np.uint8, (size, 32, 32, 3))
            assert (labels.dtype, labels.shape) == (np.int64, (size,))
            assert np.bincount(labels, minlength=10).tolist() == [size // 10] * 10
            assert not images.flags.writeable
            assert not labels.flags.writeable
        assert data.split == dict(zip(PARTS, sizes, strict=True)) | {"seed": 0}
        assert data.class_names == CIFAR10_CLASSES
        assert data.fingerprint == "b799f18d534fc458"
        assert "Krizhevsky" in data.provenance
    assert undivided.train_labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    assert undivided.test_labels[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    assert undivided.train_images[0, :2, 0].tolist() == [[59, 62, 63], [16, 20, 20]]


@pytest.mark.needs_cifar10
def test_the_split_divides_the_official_training_set_and_keeps_its_order(real, undivided):
    everything = digests(undivided, "train")
    assert sorted(digests(real, "train", "validation")) == sorted(everything)
    for part in ("train", "validation"):
        rest = iter(everything)
        assert all(image in rest for image in digests(real, part)), f"{part} has another order"
    assert digests(real, "test") == digests(undivided, "test")


@pytest.mark.needs_cifar10
def test_the_split_is_the_one_that_all_records_were_made_with(real):
    def checksum(array):
        return hashlib.sha256(array.tobytes()).hexdigest()[:16]

    assert checksum(real.validation_labels) == "e4d252ac468c6fae"
    assert checksum(real.validation_images) == "ca769145bdb2e0bd"
    assert checksum(datasets.cifar10().validation_images) == "ca769145bdb2e0bd"


LOADING = """
import re, resource, sys, time
import numpy
from shathenet_utils import datasets

def peak():
    try:  # Linux; its ru_maxrss would begin with what the parent process held
        return 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
    except FileNotFoundError:  # macOS counts in bytes, others in KiB
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

before, begun = peak(), time.process_time()
data = datasets.cifar10(download=False)
print(time.process_time() - begun, peak() - before)
"""


@pytest.mark.needs_cifar10
def test_cifar10_loads_in_a_moment_and_little_memory(official):
    measured = [tuple(map(float, python(LOADING).stdout.split())) for _ in range(3)]
    seconds, memory = map(min, zip(*measured, strict=True))
    assert seconds < 1.5, f"Loading took {seconds:.1f} s of processor time."
    assert 184e6 < memory < 300e6, f"Loading took {memory / 1e6:.0f} MB at its peak."


def flip_bytes(official, folder, name, times):
    """Flip one byte at random, load, and put it back, so many times; the other six files are the official ones."""
    folder = folder / CIFAR10_FOLDER
    folder.mkdir()
    for other in FILES:
        (folder / other).symlink_to(official / other)
    (folder / name).unlink()
    shutil.copyfile(official / name, folder / name)
    stream = np.random.default_rng(FILES.index(name))
    with (folder / name).open("r+b", buffering=0) as file:
        for i in range(times):
            position = int(stream.integers(os.fstat(file.fileno()).st_size))
            byte = os.pread(file.fileno(), 1, position)
            os.pwrite(file.fileno(), bytes([byte[0] ^ int(stream.integers(1, 256))]), position)
            with pytest.raises(datasets.DatasetError, match=f"{name} is not the official .* MD5 differs") as refused:
                if i:
                    datasets._read_cifar10_file(folder, name)
                else:
                    datasets.cifar10(folder=folder.parent)
            assert "Delete the folder" in sentence(refused)
            os.pwrite(file.fileno(), byte, position)
    datasets._read_cifar10_file(folder, name)


@pytest.mark.needs_cifar10
@pytest.mark.parametrize("name", FILES)
def test_one_flipped_byte_in_any_file_is_found(official, tmp_path, name):
    flip_bytes(official, tmp_path, name, 3)


@pytest.mark.slow
@pytest.mark.needs_cifar10
@pytest.mark.parametrize("name", FILES)
def test_flipped_bytes_are_found_wherever_they_are(official, tmp_path, name):
    flip_bytes(official, tmp_path, name, 30)


# The miniature: image i is black but for its number, in its first four red pixels


@pytest.fixture(scope="module")
def miniature_files():
    """(data folder, checksums, labels of all 60,000). Labels are not balanced in a file, as in the real one."""
    stream = np.random.RandomState(1)
    labels = np.concatenate([stream.permutation(np.arange(count) % 10) for count in (50_000, 10_000)])
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, CIFAR10_FOLDER)
        files.mkdir()
        (files / "batches.meta").write_bytes(pickled(META))
        for i, name in enumerate(name for name in FILES if name != "batches.meta"):
            which = np.arange(10_000 * i, 10_000 * (i + 1))
            content = np.zeros((10_000, 3072), np.uint8)
            content[:, :4] = which.astype("<u4")[:, None].view(np.uint8)
            if name == "test_batch":
                content[0] = list(HAND_MADE)
            (files / name).write_bytes(a_batch(labels=labels[which].tolist(), data=array(content.tobytes())))
        yield Path(folder), {path.name: md5(path.read_bytes()) for path in files.iterdir()}, labels


@pytest.fixture
def miniature(miniature_files, monkeypatch):
    """(data folder, labels of all 60,000)."""
    folder, checksums, labels = miniature_files
    monkeypatch.setattr(datasets, "CIFAR10_MD5", checksums)
    return folder, labels


def test_an_image_lies_as_it_was_drawn(miniature):
    image = datasets.cifar10(folder=miniature[0]).test_images[0]
    for row, column in itertools.product(range(32), range(32)):
        assert tuple(image[row, column]) == (8 * row, column, row ^ column)


@pytest.mark.parametrize("validation", [0, 10, 5000, 49_990])
def test_any_split_is_stratified_whole_and_in_order(miniature, validation):
    folder, labels = miniature
    data = datasets.cifar10(validation, folder)
    train, held_out, test = (numbers(getattr(data, f"{part}_images")) for part in PARTS)
    assert np.bincount(data.validation_labels, minlength=10).tolist() == [validation // 10] * 10
    assert sorted([*train, *held_out]) == list(range(50_000))
    for which, kept in ((train, data.train_labels), (held_out, data.validation_labels)):
        assert (np.diff(which.astype(int)) > 0).all()
        assert (labels[which] == kept).all()
    assert test[1:].tolist() == list(range(50_001, 60_000))
    assert (labels[50_000:] == data.test_labels).all()
    assert data.split == {"train": 50_000 - validation, "validation": validation, "test": 10_000, "seed": 0}


def test_the_split_never_drifts(miniature):
    held_out = [numbers(datasets.cifar10(folder=miniature[0]).validation_images) for _ in range(2)]
    assert [hashlib.sha256(which.tobytes()).hexdigest()[:16] for which in held_out] == ["a79fbc6a575d88f7"] * 2


@tries(100)
@given(validation=no_counts | some.integers(50_000) | some.none() | some.text())
def test_a_number_that_ten_classes_cannot_share_is_refused(validation):
    with pytest.raises(ValueError, match="validation must be a multiple of 10 from 0 to 49,990, not "):
        datasets.cifar10(validation, "/nowhere", download=False)


# Where it is looked for


def test_the_argument_comes_before_the_environment_and_that_before_the_repository(monkeypatch, tmp_path):
    monkeypatch.setenv("SHATHENET_DATA", str(tmp_path / "environment"))
    assert datasets.data_folder("argument") == Path("argument")
    assert datasets.data_folder() == tmp_path / "environment"
    for unset in (lambda: monkeypatch.setenv("SHATHENET_DATA", ""), lambda: monkeypatch.delenv("SHATHENET_DATA")):
        unset()
        assert datasets.data_folder() == ROOT / "data"


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHATHENET_DATA", "~/environment")
    assert datasets.data_folder("~/argument") == tmp_path / "argument"
    assert datasets.data_folder() == tmp_path / "environment"


def test_cifar10_is_loaded_from_where_the_environment_says(miniature, monkeypatch):
    monkeypatch.setenv("SHATHENET_DATA", str(miniature[0]))
    assert len(datasets.cifar10(download=False).train_labels) == 45_000


def test_cifar10_is_here_where_its_folder_or_archive_is(tmp_path, monkeypatch):
    monkeypatch.setenv("SHATHENET_DATA", str(tmp_path))
    assert not datasets.cifar10_is_here(tmp_path / "nowhere")
    assert not datasets.cifar10_is_here()
    (tmp_path / CIFAR10_ARCHIVE).touch()
    assert datasets.cifar10_is_here()
    (tmp_path / CIFAR10_ARCHIVE).unlink()
    (tmp_path / CIFAR10_FOLDER).mkdir()
    assert datasets.cifar10_is_here()
    assert not datasets.cifar10_is_here(tmp_path / "elsewhere")


def test_where_it_may_not_be_fetched_three_ways_on_are_named(tmp_path):
    with pytest.raises(datasets.DatasetMissing, match=f"downloading is switched off: {THREE_WAYS}") as refused:
        datasets.cifar10(folder=tmp_path / "data", download=False)
    assert str(tmp_path / "data") in sentence(refused, datasets.DatasetMissing)
    assert tree(tmp_path) == []


def test_another_dataset_in_its_place_is_refused_and_what_to_do_is_said(tmp_path):
    (tmp_path / "cifar-100-python").mkdir()
    with pytest.raises(datasets.DatasetMissing, match=THREE_WAYS):
        datasets.cifar10(folder=tmp_path, download=False)
    (tmp_path / "cifar-100-python").rename(tmp_path / CIFAR10_FOLDER)
    for name in ("meta", "train", "test"):
        (tmp_path / CIFAR10_FOLDER / name).touch()
    with pytest.raises(
        datasets.DatasetError, match=r"can't be read \(No such file or directory\)\. Delete .* load again"
    ):
        datasets.cifar10(folder=tmp_path)


def test_a_file_in_the_folders_place_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / CIFAR10_FOLDER).touch()
    place_archive(tmp_path, ARCHIVE, monkeypatch)
    with pytest.raises(datasets.DatasetError, match=r"can't be read \(Not a directory\)\. Delete") as refused:
        datasets.cifar10(folder=tmp_path)
    sentence(refused)


def test_what_may_not_be_read_is_one_sentence(place, monkeypatch):
    place_archive(place, ARCHIVE, monkeypatch)
    (place / CIFAR10_ARCHIVE).chmod(0)
    with (
        nobody(),
        pytest.raises(datasets.DatasetError, match=r"tar\.gz can't be read \(Permission denied\)") as refused,
    ):
        datasets.cifar10(folder=place)
    sentence(refused)
    (place / CIFAR10_FOLDER).mkdir()
    (place / CIFAR10_FOLDER / "batches.meta").touch(0)
    with nobody(), pytest.raises(datasets.DatasetError, match=r"meta can't be read \(Permission denied\)") as refused:
        datasets.cifar10(folder=place)
    sentence(refused)


def test_where_nobody_may_look_nothing_is_found(place):
    (place / CIFAR10_FOLDER).mkdir()
    place.chmod(0)
    with nobody():
        assert not datasets.cifar10_is_here(place)
        with pytest.raises(datasets.DatasetMissing, match=THREE_WAYS):
            datasets.cifar10(folder=place, download=False)


# Files made to do harm, or by mistake, whose checksum is declared to be right


class Trap:
    def __reduce__(self):
        return os.system, ("touch executed",)


TRAPS = {  # each makes a file where its pickle is trusted
    "os.system": call("posix.system", "touch executed"),
    "another process": call("subprocess.call", ["touch", "executed"]),
    "eval": call("builtins.eval", "open('executed', 'w')"),
    "Python 2's eval": call("__builtin__.eval", "open('executed', 'w')"),
    "an instance": Opcodes(b"(" + opcodes("touch executed") + b"iposix\nsystem\n"),
}
DEEP = Opcodes(b"]" * 100_000 + b"a" * 99_999)
MISTAKES = {
    "nothing": lambda: b"",
    "a number": lambda: pickled(1),
    "a list": lambda: pickled([1, 2]),
    "numpy's scalar": lambda: pickled(call("numpy.core.multiarray.scalar", dtype(b"O8"), pickle.dumps(Trap(), 2))),
    "a registered extension": lambda: b"\x80\x02\x82\x01.",
    "something outside the file": lambda: b"Pposix\n.",
    "a name of two lines": lambda: b"\x80\x04" + opcodes("a\nb") + opcodes("c\nd") + b"\x93.",
    "what was never put": lambda: a_batch(labels=Opcodes(b"h\x07")),
    "half of a batch": lambda: a_batch()[:15_000_000],
    "a batch without its end": lambda: a_batch()[:-1],
    "no images": lambda: a_batch(data=...),
    "images of no array": lambda: a_batch(data=BLACK),
    "a list of images": lambda: a_batch(data=[[0]]),
    "an empty array": lambda: a_batch(data=call("numpy.core.multiarray._reconstruct")),
    "a bare class": lambda: a_batch(data=named("numpy.ndarray")),
    "an array of text": lambda: a_batch(data=array("text")),
    "an array of nothing": lambda: a_batch(data=array(None)),
    "an array of half a state": lambda: a_batch(data=Opcodes(array(b"")[:-1] + opcodes((1,)) + b"b")),
    "an array of objects": lambda: a_batch(data=array([call("posix.system", "touch executed")], (1,), b"O8")),
    "an array of signed bytes": lambda: a_batch(data=array(BLACK, code=b"i1")),
    "an array of larger numbers": lambda: a_batch(data=array(BLACK, (2500, 3072), b"i4")),
    "an array of a deep type": lambda: a_batch(data=array(b"", (0,), DEEP)),
    "one image too few": lambda: a_batch(data=array(bytes(9_999 * 3072), (9_999, 3072))),
    "images by column": lambda: a_batch(data=array(BLACK, (3072, 10_000))),
    "a shape beyond all memory": lambda: a_batch(data=array(b"", (2**31 - 1, 2**31 - 1))),
    "no labels": lambda: a_batch(labels=...),
    "None for labels": lambda: a_batch(labels=None),
    "text for labels": lambda: a_batch(labels="0123456789" * 1000),
    "words for labels": lambda: a_batch(labels=[b"cat"] * 10_000),
    "one label too few": lambda: a_batch(labels=[0] * 9_999),
    "labels below 0": lambda: a_batch(labels=[-1] + [0] * 9_999),
    "labels above 9": lambda: a_batch(labels=[10] + [0] * 9_999),
    "labels beyond 64 bits": lambda: a_batch(labels=[Opcodes(b"\x8a\x09" + b"\xff" * 8 + b"\0")] * 10_000),
    "fractions for labels": lambda: a_batch(labels=[0.5] * 10_000),
    "labels in labels": lambda: a_batch(labels=[[0]] * 10_000),
    "deep labels": lambda: a_batch(labels=DEEP),
    "labels that hold themselves": lambda: a_batch(labels=Opcodes(b"]q\x01(" + b"h\x01" * 10_000 + b"e")),
    "a pair of pairs of pairs, forty times": lambda: a_batch(labels=Opcodes(b"K\x01" + b"2\x86" * 40)),
    "a terabyte": lambda: b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b".",
    "a frame of a terabyte": lambda: b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b".",
    "a number of 2 GB": lambda: b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b".",
    "two billion memories": lambda: b"\x80\x02Nr" + struct.pack("<I", 2**31 - 1) + b".",
}


@pytest.mark.parametrize("trap", [*TRAPS.values(), *range(pickle.HIGHEST_PROTOCOL + 1)], ids=[*TRAPS, *"012345"])
def test_nothing_is_executed_on_behalf_of_a_file(tmp_path, monkeypatch, trap):
    monkeypatch.chdir(tmp_path)
    whole = pickle.dumps(Trap(), trap) if isinstance(trap, int) else pickled(trap)
    hidden = a_batch(data=Opcodes(whole.removesuffix(b".")))
    for i, files in enumerate([{"batches.meta": whole}, {"data_batch_1": whole}, {"data_batch_1": hidden}]):
        assert "which CIFAR-10 never does" in refusal(tmp_path / str(i), files, monkeypatch)
    assert not Path("executed").exists()
    with contextlib.suppress(ValueError, TypeError):
        pickle.loads(whole, encoding="bytes")
    assert Path("executed").exists(), "the trap was none"


@pytest.mark.parametrize("content", MISTAKES.values(), ids=MISTAKES)
def test_what_holds_no_images_is_refused_in_one_sentence(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    with little_memory():
        said = refusal(tmp_path, {"data_batch_1": content()}, monkeypatch)
    assert "data_batch_1 does not hold CIFAR-10 images: " in said
    assert ": ." not in said
    assert "Delete the folder" in said
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    "names",
    [None, [], 7, [1] * 10, [b"cat"] * 10, META[b"label_names"][::-1], [*META[b"label_names"], b"ox"]],
    ids=repr,
)
def test_other_classes_are_refused(tmp_path, monkeypatch, names):
    said = refusal(tmp_path, {"batches.meta": pickled(META | {b"label_names": names})}, monkeypatch)
    assert "batches.meta does not hold CIFAR-10 images: " in said


@tries(200)
@given(name=some.sampled_from(["batches.meta", "data_batch_1", "test_batch"]), content=some.binary(max_size=200))
def test_random_bytes_are_refused_in_one_sentence(name, content):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch, little_memory():
        (Path(folder) / name).write_bytes(content)
        patch.setitem(CIFAR10_MD5, name, md5(content))
        with pytest.raises(datasets.DatasetError, match=f"{name} does not hold CIFAR-10 images: ") as refused:
            datasets._read_cifar10_file(Path(folder), name)
    sentence(refused)


@tries(200)
@given(
    changes=some.dictionaries(some.integers(0, len(pickled(META)) - 1), some.integers(0, 255), min_size=1, max_size=3)
)
def test_a_few_altered_bytes_are_harmless_or_refused_in_one_sentence(changes):
    content = bytearray(pickled(META))
    for position, byte in changes.items():
        content[position] = byte
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch, little_memory():
        said = refusal(Path(folder), {"batches.meta": bytes(content)}, patch)
    assert "batches.meta does not hold CIFAR-10 images" in said or "data_batch_1 can't be read" in said


def test_a_file_is_checked_before_it_is_opened(tmp_path, monkeypatch):
    refusal(tmp_path, {"batches.meta": pickled(TRAPS["eval"])}, monkeypatch)
    monkeypatch.setattr(datasets, "CIFAR10_MD5", CIFAR10_MD5)
    monkeypatch.setattr(datasets, "_CifarUnpickler", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(
        datasets.DatasetError, match=r"batches\.meta is not the official CIFAR-10 file: its MD5 differs"
    ):
        datasets.cifar10(folder=tmp_path)


# The archive


def archive_of(files, *more):
    """The bytes of an archive like the official one: a folder, a readme and the files; then more members."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as tar:
        folder = member("", type=tarfile.DIRTYPE)
        readme = member("readme.html", b"<html>")
        for info, content in [folder, readme, *itertools.starmap(member, files.items()), *more]:
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def member(name, content=b"", *, folder=CIFAR10_FOLDER + "/", **fields):
    info = tarfile.TarInfo(folder + name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


STAND_INS = {name: np.random.default_rng(i).bytes(30_000) for i, name in enumerate(FILES)}
ARCHIVE = archive_of(STAND_INS)
UNPACKED = sorted([CIFAR10_ARCHIVE, CIFAR10_FOLDER, *(f"{CIFAR10_FOLDER}/{name}" for name in FILES)])


def declare(content, patch):
    """From now on, this is the official archive."""
    patch.setattr(datasets, "CIFAR10_SHA256", hashlib.sha256(content).hexdigest())


def place_archive(folder, content, patch):
    folder.mkdir(exist_ok=True)
    (folder / CIFAR10_ARCHIVE).write_bytes(content)
    declare(content, patch)


def assert_whole(folder):
    assert tree(folder) == UNPACKED
    for name, content in STAND_INS.items():
        assert (folder / CIFAR10_FOLDER / name).read_bytes() == content


def test_an_archive_is_unpacked_whole_and_nothing_else_is_left(tmp_path, monkeypatch):
    place_archive(tmp_path, ARCHIVE, monkeypatch)
    assert datasets._find_cifar10(tmp_path, download=False) == tmp_path / CIFAR10_FOLDER
    assert_whole(tmp_path)


@pytest.mark.parametrize(
    "evil",
    [
        member("../evil"),
        member(".."),
        member("evil", folder="../"),
        member("evil", folder=f"{tempfile.gettempdir()}/"),
        member("evil", folder=""),
        member("train", folder="cifar-100-python/"),
        member("deeper/data_batch_1", b"evil"),
        member("data_batch_1", type=tarfile.SYMTYPE, linkname="../../evil"),
        member("data_batch_1", type=tarfile.LNKTYPE, linkname=f"{CIFAR10_FOLDER}/data_batch_2"),
        member("data_batch_1", type=tarfile.FIFOTYPE),
        member("data_batch_1", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
        member("data_batch_1", type=tarfile.BLKTYPE, devmajor=7),
    ],
    ids=lambda evil: f"{evil[0].name}, type {evil[0].type.decode()}",
)
def test_what_does_not_belong_into_the_archive_is_refused(tmp_path, monkeypatch, evil):
    place_archive(tmp_path / "data", archive_of(STAND_INS, evil), monkeypatch)
    with pytest.raises(datasets.DatasetError, match="does not belong there. Delete it and load again") as refused:
        datasets.cifar10(folder=tmp_path / "data")
    assert evil[0].name in sentence(refused)
    assert tree(tmp_path) == ["data", f"data/{CIFAR10_ARCHIVE}"]
    assert not Path(tempfile.gettempdir(), "evil").exists()


@pytest.mark.parametrize("missing", ["batches.meta", "data_batch_3", "test_batch"])
def test_an_archive_that_lacks_a_file_is_refused(tmp_path, monkeypatch, missing):
    rest = {name: content for name, content in STAND_INS.items() if name != missing}
    for more in ([], [member(missing, type=tarfile.DIRTYPE)]):
        place_archive(tmp_path, archive_of(rest, *more), monkeypatch)
        with pytest.raises(datasets.DatasetError, match=f"lacks {missing}. Delete it and load again") as refused:
            datasets.cifar10(folder=tmp_path)
        sentence(refused)
        assert tree(tmp_path) == [CIFAR10_ARCHIVE]


@tries(100)
@given(keep=some.floats(0, 1), at=some.floats(0, 1, exclude_max=True), bits=some.integers(0, 255))
def test_a_damaged_archive_is_refused_and_never_half_unpacked(keep, at, bits):
    content = bytearray(archive_of({name: content[:500] for name, content in STAND_INS.items()}))
    content[int(at * len(content))] ^= bits
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        place_archive(Path(folder), content[: int(keep * len(content))], patch)
        with pytest.raises(datasets.DatasetError, match="can't be unpacked: .* load again|its MD5 differs") as refused:
            datasets.cifar10(folder=folder)
        sentence(refused)
        assert tree(Path(folder)) in ([CIFAR10_ARCHIVE], UNPACKED)


def test_another_archive_is_refused_and_left_as_it_is(tmp_path, monkeypatch):
    place_archive(tmp_path, ARCHIVE, monkeypatch)
    (tmp_path / CIFAR10_ARCHIVE).write_bytes(ARCHIVE[:-1])
    monkeypatch.setattr(tarfile, "open", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(datasets.DatasetError, match=r"tar\.gz is not the official archive: its SHA-256") as refused:
        datasets.cifar10(folder=tmp_path)
    assert sentence(refused).endswith("Delete it and load again.")
    assert tree(tmp_path) == [CIFAR10_ARCHIVE]
    assert (tmp_path / CIFAR10_ARCHIVE).read_bytes() == ARCHIVE[:-1]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))], ids=repr)
def test_unpacking_that_ends_half_way_leaves_nothing_and_works_later(tmp_path, monkeypatch, error):
    def half(source, target):
        target.write(source.read(10_000))
        raise error

    place_archive(tmp_path, ARCHIVE, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", half)
        with pytest.raises((KeyboardInterrupt, datasets.DatasetError)) as stopped:
            datasets.cifar10(folder=tmp_path)
    if isinstance(error, OSError):
        assert "(No space left on device): free 400 MB there, or set SHATHENET_DATA" in sentence(stopped)
    assert tree(tmp_path) == [CIFAR10_ARCHIVE]
    datasets._find_cifar10(tmp_path, download=False)
    assert_whole(tmp_path)


def test_four_who_unpack_at_once_all_find_it(tmp_path, monkeypatch):
    place_archive(tmp_path, ARCHIVE, monkeypatch)
    barrier = threading.Barrier(4)

    def find(_):
        barrier.wait()
        return datasets._find_cifar10(tmp_path, download=False)

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(find, range(4))) == [tmp_path / CIFAR10_FOLDER] * 4
    assert_whole(tmp_path)


def test_who_is_second_by_a_moment_takes_what_the_first_unpacked(tmp_path, monkeypatch):
    rename = os.rename

    def just_after_another(source, target):
        shutil.copytree(source, target)
        rename(source, target)

    place_archive(tmp_path, ARCHIVE, monkeypatch)
    monkeypatch.setattr(os, "rename", just_after_another)
    assert datasets._find_cifar10(tmp_path, download=False) == tmp_path / CIFAR10_FOLDER
    assert_whole(tmp_path)


def test_the_folder_appears_whole(tmp_path, monkeypatch):
    seen = []
    copy = shutil.copyfileobj

    def watched(source, target):
        seen.append((tmp_path / CIFAR10_FOLDER).exists())
        copy(source, target)

    place_archive(tmp_path, ARCHIVE, monkeypatch)
    monkeypatch.setattr(shutil, "copyfileobj", watched)
    datasets._find_cifar10(tmp_path, download=False)
    assert seen == [False] * 7


# The download, from a server of our own


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked += 1
        answers = self.server.answers
        with contextlib.suppress(ConnectionError):  # who asked may have gone away
            (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    def log_message(self, *_):
        pass


def reply(content, *, status=200, sent=None, claimed=None, **headers):
    """An answer; sent: how many bytes before it breaks off; claimed: how many it says there are, ... to say nothing."""

    def answer(handler):
        handler.send_response(status)
        if claimed is not ...:
            handler.send_header("Content-Length", str(len(content) if claimed is None else claimed))
        for header, value in headers.items():
            handler.send_header(header, value)
        handler.end_headers()
        handler.wfile.write(content[:sent])

    return answer


def half_and_wait(handler):
    reply(ARCHIVE, sent=len(ARCHIVE) // 2)(handler)
    handler.server.half_way.set()
    handler.server.closing.wait(60)


WHOLE = reply(ARCHIVE)
BROKEN_OFF = reply(ARCHIVE, sent=len(ARCHIVE) // 2)


@pytest.fixture
def server(monkeypatch):
    """Gives its `answers` in turn, the last one again and again; counts how often it was `asked`."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(pooch.core, "time", types.SimpleNamespace(sleep=lambda _: None))  # before a second attempt
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.answers, server.asked, server.half_way, server.closing = [WHOLE], 0, threading.Event(), threading.Event()
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setattr(datasets, "CIFAR10_URL", f"http://127.0.0.1:{server.server_port}/{CIFAR10_ARCHIVE}")
        declare(ARCHIVE, monkeypatch)
        yield server
        server.closing.set()
        server.shutdown()


@pytest.fixture
def impatient(monkeypatch):
    """As if half a minute had passed in a moment."""
    downloader = pooch.HTTPDownloader

    def patient_for_a_moment(timeout, **arguments):
        assert timeout <= 60
        return downloader(timeout=1, **arguments)

    monkeypatch.setattr(pooch, "HTTPDownloader", patient_for_a_moment)


def test_cifar10_is_fetched_once_unpacked_and_loaded(server, miniature, tmp_path, monkeypatch, capsys):
    files, labels = miniature
    archive = archive_of({name: (files / CIFAR10_FOLDER / name).read_bytes() for name in FILES})
    server.answers = [reply(archive)]
    declare(archive, monkeypatch)
    for _ in range(2):
        data = datasets.cifar10(folder=tmp_path / "new" / "data")
        assert (data.test_labels == labels[50_000:]).all()
        assert server.asked == 1
    assert tree(tmp_path / "new" / "data") == UNPACKED
    assert "CIFAR-10: " in "".join(capsys.readouterr())  # the bar


@pytest.mark.parametrize("first", [BROKEN_OFF, reply(b"", status=503), reply(b"<html>")], ids=["half", "503", "a page"])
def test_a_second_attempt_is_made(server, tmp_path, first):
    server.answers = [first, WHOLE]
    datasets._find_cifar10(tmp_path, download=True)
    assert server.asked == 2
    assert_whole(tmp_path)


def test_a_server_need_not_say_how_much_it_sends(server, tmp_path):
    server.answers = [reply(ARCHIVE, claimed=...)]
    datasets._find_cifar10(tmp_path, download=True)
    assert_whole(tmp_path)


def test_a_redirect_is_followed(server, tmp_path):
    server.answers = [reply(b"", status=302, Location="/elsewhere"), WHOLE]
    datasets._find_cifar10(tmp_path, download=True)
    assert_whole(tmp_path)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (BROKEN_OFF, "ChunkedEncodingError"),
        (reply(ARCHIVE, claimed=len(ARCHIVE) + 1), "ChunkedEncodingError"),
        (reply(b"not found", status=404), "HTTPError"),
        (reply(b"", status=500), "HTTPError"),
        (reply(b"", status=302, Location=f"/{CIFAR10_ARCHIVE}"), "TooManyRedirects"),
        (half_and_wait, "ConnectionError"),
    ],
    ids=["breaks off", "claims more than it sends", "404", "500", "redirects in a circle", "falls silent"],
)
def test_a_server_that_does_not_deliver_leaves_nothing_and_three_ways_on(server, impatient, tmp_path, answer, reason):
    server.answers = [answer]
    with pytest.raises(
        datasets.DatasetMissing, match=rf"does not answer as it should \({reason}\): {THREE_WAYS}"
    ) as found:
        datasets.cifar10(folder=tmp_path)
    assert datasets.CIFAR10_URL in sentence(found, datasets.DatasetMissing)
    assert tree(tmp_path) == []
    server.answers = [WHOLE]
    datasets._find_cifar10(tmp_path, download=True)
    assert_whole(tmp_path)


@pytest.mark.parametrize(
    "answer",
    [
        reply(b"<html><h1>Please log in</h1></html>", **{"Content-Type": "text/html"}),
        reply(b""),
        reply(ARCHIVE, claimed=len(ARCHIVE) - 1),
        reply(ARCHIVE, claimed="many"),
        reply(bytes([ARCHIVE[0] ^ 1]) + ARCHIVE[1:]),
    ],
    ids=["a proxy's page", "nothing", "claims less than it sends", "claims no number", "one byte is wrong"],
)
def test_what_is_not_the_archive_is_not_kept(server, tmp_path, answer):
    server.answers = [answer]
    with pytest.raises(
        datasets.DatasetError, match="SHA-256 differs .a proxy's page, perhaps.. Nothing was kept"
    ) as found:
        datasets.cifar10(folder=tmp_path)
    assert str(tmp_path) in sentence(found)
    assert tree(tmp_path) == []
    server.answers = [WHOLE]
    datasets._find_cifar10(tmp_path, download=True)
    assert_whole(tmp_path)


def test_without_a_server_three_ways_on_are_named(server, tmp_path):
    server.socket.close()
    with pytest.raises(datasets.DatasetMissing, match=rf"\(ConnectionError\): {THREE_WAYS}") as refused:
        datasets.cifar10(folder=tmp_path)
    sentence(refused, datasets.DatasetMissing)
    assert tree(tmp_path) == []


def test_a_full_disk_is_one_sentence_and_nothing_stays(server, tmp_path):
    with a_full_disk(), pytest.raises(datasets.DatasetError, match=r"\(File too large\): free 400 MB there") as refused:
        datasets.cifar10(folder=tmp_path)
    sentence(refused)
    assert tree(tmp_path) == []
    (tmp_path / CIFAR10_ARCHIVE).write_bytes(ARCHIVE)
    with a_full_disk(), pytest.raises(datasets.DatasetError, match=r"\(File too large\): free 400 MB there"):
        datasets.cifar10(folder=tmp_path)
    assert tree(tmp_path) == [CIFAR10_ARCHIVE]
    datasets._find_cifar10(tmp_path, download=True)
    assert_whole(tmp_path)


def test_a_read_only_folder_is_one_sentence(server, place):
    for before in ([], [CIFAR10_ARCHIVE]):
        place.chmod(0o555)
        with (
            nobody(),
            pytest.raises(datasets.DatasetError, match="Permission denied.*set SHATHENET_DATA to a fol") as refused,
        ):
            datasets.cifar10(folder=place)
        assert "[Errno" not in sentence(refused)
        assert tree(place) == before
        place.chmod(0o755)
        (place / CIFAR10_ARCHIVE).write_bytes(ARCHIVE)
    datasets._find_cifar10(place, download=True)
    assert_whole(place)


def test_a_file_in_the_data_folders_place_is_one_sentence(server, tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "data"):
        with pytest.raises(
            datasets.DatasetError, match="can't be stored in .*set SHATHENET_DATA to a folder"
        ) as refused:
            datasets.cifar10(folder=folder)
        sentence(refused)
    assert tree(tmp_path) == ["file"]


def test_ctrl_c_while_it_is_fetched_leaves_nothing(server, tmp_path):
    server.answers = [half_and_wait]
    source = (
        "import signal\nfrom shathenet_utils import datasets\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"datasets.CIFAR10_URL = {datasets.CIFAR10_URL!r}\n"
        f"datasets.cifar10(folder={str(tmp_path)!r})\n"
    )
    with subprocess.Popen([sys.executable, "-c", source], stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert server.half_way.wait(60)
        assert len(tree(tmp_path)) == 1  # what has come so far
        process.send_signal(signal.SIGINT)
        assert b"KeyboardInterrupt" in process.communicate(timeout=60)[1]
    assert process.returncode == -signal.SIGINT
    assert tree(tmp_path) == []


# What a dataset is


def test_a_dataset_does_not_change():
    data = tiny_dataset()
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.train_images = data.test_images
    for part in PARTS:
        for array in (getattr(data, f"{part}_images"), getattr(data, f"{part}_labels")):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0


@pytest.mark.parametrize("part", PARTS)
def test_what_is_no_dataset_is_refused(part):
    tiny = tiny_dataset()
    images, labels = getattr(tiny, f"{part}_images"), getattr(tiny, f"{part}_labels")
    for change, said in [
        ({"images": images.astype(np.float32)}, "needs uint8 images"),
        ({"images": images[..., 0]}, "needs uint8 images"),
        ({"images": images[1:]}, "a label each"),
        ({"labels": labels[:, None]}, "a label each"),
        ({"labels": labels + 0.5}, "labels must be whole numbers, not float64"),
        ({"labels": labels - 1}, r"must lie in 0…9, not -1…8"),
        ({"labels": labels + 1}, r"must lie in 0…9, not 1…10"),
    ]:
        with pytest.raises(ValueError, match=f"Dataset tiny: {part} .*{said}"):
            tiny_dataset(**{f"{part}_{what}": array for what, array in change.items()})


@pytest.mark.parametrize("name", ["", "..", "../../mine", "my/own", "my\\own", ".hidden"])
def test_a_name_that_leads_out_of_its_folder_is_refused(name):
    with pytest.raises(ValueError, match="name is a folder's too"):
        tiny_dataset(name=name)


def test_names_of_classes_and_labels_may_be_any_sequence():
    tiny = tiny_dataset()
    classes = np.array(tiny.class_names)
    other = dataclasses.replace(tiny, class_names=classes, train_labels=tiny.train_labels.tolist())
    assert other.class_names == tiny.class_names
    assert (other.fingerprint, other.digest) == (tiny.fingerprint, tiny.digest)


def test_a_dataset_shows_its_sizes_and_fingerprint():
    data = tiny_dataset(train=1200)
    assert re.fullmatch("[0-9a-f]{16}", data.fingerprint)
    assert repr(data) == f"Dataset(tiny: 1,200 train, 50 validation, 60 test; fingerprint {data.fingerprint})"


def test_the_callers_own_arrays_stay_writable():
    own = np.arange(6 * 8 * 8 * 3, dtype=np.uint8).reshape(6, 8, 8, 3)
    labels = np.arange(6)
    data = tiny_dataset(train_images=own, train_labels=labels)
    other = dataclasses.replace(data, test_images=own, test_labels=labels)
    assert not any(array.flags.writeable for array in (data.train_images, data.train_labels, other.test_images))
    own[0], labels[0] = 0, 1
    assert own.flags.writeable and labels.flags.writeable


def without(data, part, rows):
    """The dataset without some rows of a part."""
    kept = np.delete(np.arange(len(getattr(data, f"{part}_labels"))), rows)
    names = (f"{part}_images", f"{part}_labels")
    return dataclasses.replace(data, **{name: getattr(data, name)[kept] for name in names})


def altered(array, place):
    changed = array.copy()
    changed[place] = (changed[place] + 1) % 10
    return changed


TINY = tiny_dataset()
CHANGES = {
    "fewer training images": without(TINY, "train", range(20, 200)),
    "one image less": without(TINY, "train", [7]),
    "one training image twice": dataclasses.replace(
        TINY, train_images=TINY.train_images[[0, *range(200)]], train_labels=TINY.train_labels[[0, *range(200)]]
    ),
    "fewer test images": without(TINY, "test", [0]),
    "one pixel": dataclasses.replace(TINY, train_images=altered(TINY.train_images, (3, 4, 5, 0))),
    "one pixel of the test set": dataclasses.replace(TINY, test_images=altered(TINY.test_images, (3, 4, 5, 0))),
    "one label": dataclasses.replace(TINY, train_labels=altered(TINY.train_labels, 3)),
    "one label of the validation set": dataclasses.replace(TINY, validation_labels=altered(TINY.validation_labels, 3)),
    "two labels exchanged": dataclasses.replace(TINY, train_labels=TINY.train_labels[[1, 0, *range(2, 200)]]),
    "the test set's order": dataclasses.replace(
        TINY, test_images=TINY.test_images[::-1], test_labels=TINY.test_labels[::-1]
    ),
    "the classes' order": dataclasses.replace(TINY, class_names=CIFAR10_CLASSES[::-1]),
}


@pytest.mark.parametrize("changed", CHANGES.values(), ids=CHANGES)
def test_other_images_or_labels_have_another_fingerprint(changed):
    assert changed.fingerprint != TINY.fingerprint
    assert changed.digest != TINY.digest


def test_the_same_images_have_the_same_fingerprint_and_digest():
    again = tiny_dataset(name="renamed", provenance="elsewhere; nobody; none")
    assert (again.fingerprint, again.digest) == (TINY.fingerprint, TINY.digest)
    assert len({tiny_dataset(seed=seed).fingerprint for seed in range(5)}) == 5


def test_the_fingerprint_is_the_same_however_images_are_split_and_the_digest_is_not():
    images = np.concatenate([TINY.train_images, TINY.validation_images])
    labels = np.concatenate([TINY.train_labels, TINY.validation_labels])
    found = set()
    for count in (0, 100, 250):
        order = np.random.default_rng(count).permutation(250)
        train, held_out = order[count:], order[:count]
        split = dataclasses.replace(
            TINY, train_images=images[train], train_labels=labels[train], validation_images=images[held_out],
            validation_labels=labels[held_out],
        )  # fmt: skip
        assert split.fingerprint == TINY.fingerprint
        found.add(split.digest)
    assert len(found) == 3 and TINY.digest not in found


def test_a_fingerprint_never_drifts():
    """Records hold it: another NumPy, another machine, another type of labels gives the same."""
    assert (TINY.fingerprint, TINY.digest) == ("210db831036bd208", "b25a001d4528c85e")
    narrow = dataclasses.replace(TINY, train_labels=TINY.train_labels.astype(np.int32))
    strided = dataclasses.replace(TINY, test_images=np.asfortranarray(TINY.test_images))
    assert narrow.fingerprint == strided.fingerprint == TINY.fingerprint
    assert strided.digest == TINY.digest


# The drawn shapes


@pytest.fixture(scope="module")
def toys():
    return datasets.toy_shapes()


def test_drawn_shapes_are_a_balanced_dataset(toys):
    for part, size in zip(PARTS, (8000, 1000, 1000), strict=True):
        images, labels = getattr(toys, f"{part}_images"), getattr(toys, f"{part}_labels")
        assert (images.dtype, images.shape, labels.dtype) == (np.uint8, (size, 32, 32, 3), np.int64)
        assert np.bincount(labels).tolist() == [size // 10] * 10
    assert toys.split == {"train": 8000, "validation": 1000, "test": 1000, "seed": 0}
    assert toys.name == "toy_shapes"
    assert "MIT" in toys.provenance


def test_no_image_is_drawn_twice(toys):
    assert len(set(digests(toys, *PARTS))) == 10_000


@tries(20)
@given(some.tuples(*[some.integers(0, 7).map(lambda tenth: 10 * tenth)] * 3), some.integers(0, 2**32 - 1))
def test_the_same_seed_draws_the_same_images_and_another_one_others(counts, seed):
    first, again, other = (datasets.toy_shapes(*counts, seed=drawn) for drawn in (seed, seed, (seed + 1) % 2**32))
    assert first.fingerprint == again.fingerprint
    assert len(first.fingerprint) == 16
    for part, count in zip(PARTS, counts, strict=True):
        assert np.bincount(getattr(first, f"{part}_labels"), minlength=10).tolist() == [count // 10] * 10
    assert digests(first, *PARTS) == digests(again, *PARTS)
    if sum(counts):
        assert first.fingerprint != other.fingerprint
        assert not set(digests(first, *PARTS)) & set(digests(other, *PARTS))


@tries(100)
@given(part=some.sampled_from(PARTS), count=no_counts | some.none() | some.text())
def test_a_number_of_drawn_shapes_that_ten_classes_cannot_share_is_refused(part, count):
    with pytest.raises(ValueError, match=f"{part} must be a multiple of 10, at least 0, not "):
        datasets.toy_shapes(**dict.fromkeys(PARTS, 0) | {part: count})


def test_ten_thousand_shapes_are_drawn_in_a_moment():
    def seconds():
        begun = time.process_time()
        datasets.toy_shapes()
        return time.process_time() - begun

    assert any(seconds() < 3 for _ in range(3))


def test_a_class_is_a_texture_and_a_shape(toys):
    """Where a class's images differ from their ground is its shape; stripes run up and down, checks both ways."""
    rows, columns = np.mgrid[-15.5:16, -15.5:16]
    across, along, distance = np.abs(columns), np.abs(rows), np.hypot(rows, columns)
    silhouettes = {
        "disc": distance < 9.5,
        "square": np.maximum(across, along) < 8.5,
        "triangle": (rows < 6.5) & (across < (rows + 13) / np.sqrt(3)),
        "cross": (np.minimum(across, along) < 3.5) & (np.maximum(across, along) < 11),
        "ring": (distance > 5.5) & (distance < 11),
    }
    offsets = list(itertools.product(range(-3, 4), repeat=2))
    expected = {
        shape: np.mean([np.roll(inside, offset, axis=(0, 1)) for offset in offsets], axis=0).ravel()
        for shape, inside in silhouettes.items()
    }
    for label, name in enumerate(toys.class_names):
        drawn = toys.train_images[toys.train_labels == label].astype(int)
        corners = np.median(drawn[:, [0, 0, -1, -1], [0, -1, 0, -1]], axis=1)
        where = np.abs(drawn - corners[:, None, None]).mean(axis=(0, 3))
        alike = {shape: np.corrcoef(where.ravel(), outline)[0, 1] for shape, outline in expected.items()}
        assert max(alike.values()) > 0.98
        down, right = (np.abs(np.diff(drawn, axis=axis)).mean() for axis in (1, 2))
        texture = "striped" if down < 0.9 * right else "checked"
        assert name == f"{texture} {max(alike, key=alike.get)}"
    assert toys.class_names == tuple(f"{t} {s}" for s in datasets.TOY_SHAPES for t in datasets.TOY_TEXTURES)


def test_a_linear_model_learns_next_to_nothing_of_the_shapes(toys):
    def flat(part):
        pixels = getattr(toys, f"{part}_images").reshape(-1, 3072).astype(np.float32) / 255 - 0.5
        return np.hstack([pixels, np.ones((len(pixels), 1), np.float32)])

    def accuracy(part, weights):
        return (np.argmax(flat(part) @ weights, axis=1) == getattr(toys, f"{part}_labels")).mean()

    inputs, wanted = flat("train"), np.eye(10, dtype=np.float32)[toys.train_labels]
    products, identity = inputs.T @ inputs, np.eye(3073, dtype=np.float32)
    fitted = [np.linalg.solve(products + penalty * identity, inputs.T @ wanted) for penalty in (100, 1000, 10_000)]
    best = max(fitted, key=lambda weights: accuracy("validation", weights))
    assert accuracy("train", best) > 0.2  # it did learn by heart
    assert accuracy("test", best) < 0.3


@pytest.mark.slow
def test_a_small_network_learns_nearly_all_of_the_shapes(toys):
    from shathenet_utils import training  # here, for these load TensorFlow
    from shathenet_utils.backend import keras, layers
    from shathenet_utils.recipes import Recipe

    training.set_seed(0)
    x = inputs = keras.Input((32, 32, 3))
    x = layers.Rescaling(1 / 255)(x)
    for filters in (24, 48, 48):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.MaxPooling2D()(layers.ReLU()(layers.BatchNormalization()(x)))
    x = layers.Conv2D(48, 3, padding="same", activation="relu")(x)
    model = keras.Model(inputs, layers.Dense(10)(layers.GlobalMaxPooling2D()(x)))
    begun = time.monotonic()
    training.fit(model, toys, Recipe(epochs=8, batch_size=64, learning_rate=2e-3))
    assert time.monotonic() - begun < 120
    assert training.accuracy(training.predict(model, toys.test_images), toys.test_labels) > 0.85


def test_a_subset_has_the_same_number_of_each_class_drawn_by_a_seed():
    data = tiny_dataset()
    first, again, other = (datasets.subset_per_class(data, 4, seed) for seed in (0, 0, 1))
    assert np.bincount(first.train_labels).tolist() == [4] * 10
    np.testing.assert_array_equal(first.train_images, again.train_images)
    assert not np.array_equal(first.train_images, other.train_images)
    assert len({image.tobytes() for image in first.train_images}) == 40
    assert (first.split["train"], first.split["drawn by"], len(first.test_labels)) == (40, 0, 60)
    assert len({data.fingerprint, first.fingerprint, other.fingerprint}) == 3
    assert datasets.subset_per_class(data, 0, 0) is data
    with pytest.raises(ValueError, match=r"^subset_per_class\(\): tiny has 20 images of airplane, not 21\.$"):
        datasets.subset_per_class(data, 21, 0)


def test_which_images_a_seed_draws_never_drifts():
    """Records of small training sets rest on it, and NumPy doesn't promise the stream of this generator."""
    stream = np.random.default_rng(1)
    data = tiny_dataset(train_images=stream.integers(0, 256, (200, 2, 2, 3), dtype=np.uint8))
    drawn = datasets.subset_per_class(data, 3, seed=5)
    rows = [np.flatnonzero((data.train_images == image).all(axis=(1, 2, 3)))[0] for image in drawn.train_images]
    assert sorted(rows) == rows
    assert rows == [
        16, 19, 22, 23, 30, 36, 49, 57, 61, 79, 87, 90, 91, 95, 96, 104, 114, 118, 130, 132, 148, 152, 153, 174, 175,
        178, 183, 185, 187, 191,
    ]  # fmt: skip
