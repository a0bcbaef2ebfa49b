"""Where images come from: CIFAR-10, and a drawn stand-in for readers without it.

`cifar10()` checks every byte before it uses it: the archive's SHA-256 before it is opened, each file's MD5
before it is unpickled. Loading takes about a second and 300 MB.
"""

import contextlib
import dataclasses
import functools
import gzip
import hashlib
import io
import json
import os
import pickle
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path

import numpy as np

from shathenet_utils import ROOT, progress
from shathenet_utils.shapes import draw_shapes

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10_FOLDER = "cifar-10-batches-py"
CIFAR10_ARCHIVE = "cifar-10-python.tar.gz"
CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
CIFAR10_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
CIFAR10_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
}
CIFAR10_PROVENANCE = (
    "CIFAR-10, A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009; "
    "https://www.cs.toronto.edu/~kriz/cifar.html; no licence is stated"
)


class DatasetError(RuntimeError):
    """A dataset is missing, altered or can't be stored; one sentence says what, where and what to do."""


class DatasetMissing(DatasetError):
    """The dataset is neither here nor to be had over the network."""


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images and labels, split in three; the arrays are read-only.

    name: also the name of a folder, below which its runs lie. *_images: uint8, (n, height, width, channels), values 0
    to 255. *_labels: whole numbers, (n,), 0 to classes − 1. split: how many images in each part, and the seed that drew
    them. provenance: who made the images, and where they come from.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    validation_images: np.ndarray
    validation_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    split: dict
    provenance: str

    def __post_init__(self):
        if not self.name or self.name.startswith(".") or set(self.name) & set("/\\"):
            raise ValueError(
                f"A dataset's name is a folder's too, without / and not beginning with a dot: {self.name!r}."
            )
        object.__setattr__(self, "class_names", tuple(map(str, self.class_names)))
        for part in ("train", "validation", "test"):
            images, labels = (np.asarray(getattr(self, f"{part}_{what}")) for what in ("images", "labels"))
            if images.dtype != np.uint8 or images.ndim != 4 or labels.shape != images.shape[:1]:
                raise ValueError(
                    f"Dataset {self.name}: {part} needs uint8 images (n, height, width, channels) and a label each, "
                    f"not {images.dtype} {images.shape} and {labels.shape}."
                )
            if labels.size and labels.dtype.kind not in "iu":
                raise ValueError(f"Dataset {self.name}: {part} labels must be whole numbers, not {labels.dtype}.")
            if labels.size and not 0 <= labels.min() <= labels.max() < len(self.class_names):
                raise ValueError(
                    f"Dataset {self.name}: {part} labels must lie in 0…{len(self.class_names) - 1}, "
                    f"not {labels.min()}…{labels.max()}."
                )
            for name, array in ((f"{part}_images", images), (f"{part}_labels", labels)):
                view = array.view()  # the caller's own array stays as it was
                view.flags.writeable = False
                object.__setattr__(self, name, view)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits of what may be trained on, training and validation images in any order, and of the test
        set in its order; with labels and classes. The same however many validation images are set apart."""
        total = 0
        for part in ("train", "validation"):
            for image, label in zip(getattr(self, f"{part}_images"), getattr(self, f"{part}_labels"), strict=True):
                content = image.tobytes() + int(label).to_bytes(4, "little")
                total += int.from_bytes(hashlib.blake2b(content, digest_size=16).digest(), "little")
        digest = hashlib.blake2b(json.dumps(self.class_names).encode(), digest_size=8)
        digest.update(str(total).encode())
        digest.update(np.ascontiguousarray(self.test_images))
        digest.update(np.ascontiguousarray(self.test_labels, np.int64))
        return digest.hexdigest()

    @functools.cached_property
    def digest(self) -> str:
        """Sixteen hex digits of every array in its order: what a run repeats on."""
        digest = hashlib.blake2b(json.dumps(self.class_names).encode(), digest_size=8)
        for part in ("train", "validation", "test"):
            for array in (getattr(self, f"{part}_images"), getattr(self, f"{part}_labels")):
                digest.update(f"{array.dtype} {array.shape}".encode())
                digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()

    def __repr__(self):
        sizes = ", ".join(
            f"{len(getattr(self, f'{part}_images')):,} {part}" for part in ("train", "validation", "test")
        )
        return f"Dataset({self.name}: {sizes}; fingerprint {self.fingerprint})"


def data_folder(folder=None) -> Path:
    """Where datasets lie: the argument, else `$SHATHENET_DATA`, else the repository's `data/`."""
    return Path(folder or os.environ.get("SHATHENET_DATA") or ROOT / "data").expanduser()


def cifar10_is_here(folder=None) -> bool:
    """Whether CIFAR-10's files or archive lie in the data folder; nothing is opened or fetched."""
    folder = data_folder(folder)
    return os.path.isdir(folder / CIFAR10_FOLDER) or os.path.isfile(folder / CIFAR10_ARCHIVE)


def cifar10(validation: int = 5000, folder=None, download: bool = True) -> Dataset:
    """CIFAR-10: 60,000 colour images of 32×32 pixels in ten classes (Krizhevsky, 2009).

    validation: how many of the 50,000 training images to set apart, a multiple of 10, 0 to 49,990; the
    same number from each class, drawn once with a fixed seed. The rest keeps the official order.
    folder: where to look for `cifar-10-batches-py/` or the official archive (see `data_folder`).
    download: fetch the archive (170 MB) where neither is there.

    Raises ValueError for another `validation`, DatasetMissing where there is no data and no network,
    DatasetError for a file that is not the official one, or a folder that can't be written.
    """
    if (
        isinstance(validation, bool)
        or not isinstance(validation, int)
        or validation % 10
        or not 0 <= validation < 50_000
    ):
        raise ValueError(f"cifar10(): validation must be a multiple of 10 from 0 to 49,990, not {validation!r}.")
    source = _find_cifar10(data_folder(folder), download)

    # The training files are walked once, each image going straight to its part, so that no second copy of
    # the dataset is ever held. Each class has 5,000 training images; `held_out` says which of them to set apart.
    stream = np.random.RandomState(0)  # the legacy generator: NumPy promises that its stream never changes
    held_out = np.zeros((10, 5000), bool)
    for row in held_out:
        row[stream.permutation(5000)[: validation // 10]] = True
    parts = {"train": 50_000 - validation, "validation": validation, "test": 10_000}
    images = {part: np.empty((n, 32, 32, 3), np.uint8) for part, n in parts.items()}
    labels = {part: np.empty(n, np.int64) for part, n in parts.items()}
    filled = dict.fromkeys(parts, 0)
    seen = np.zeros(10, int)
    for name in sorted(CIFAR10_MD5):  # batches.meta, data_batch_1 … 5, test_batch
        batch = _read_cifar10_file(source, name)
        if batch is None:
            continue
        planes, batch_labels = batch
        hold = np.zeros(len(batch_labels), bool)
        for label in range(10 if name != "test_batch" else 0):
            of_class = np.flatnonzero(batch_labels == label)
            hold[of_class] = held_out[label, seen[label] : seen[label] + len(of_class)]
            seen[label] += len(of_class)
        rest = "test" if name == "test_batch" else "train"
        for part, chosen in ((rest, ~hold), ("validation", hold)):
            for indices in np.array_split(np.flatnonzero(chosen), 10):  # a tenth at a time: small temporary copies
                here = slice(filled[part], filled[part] + len(indices))
                for channel in range(3):
                    images[part][here, :, :, channel] = planes[indices, channel]
                labels[part][here] = batch_labels[indices]
                filled[part] = here.stop
        del batch, planes  # before the next file is read: 60 MB less at the peak
    return Dataset(
        name="cifar10",
        **{f"{part}_images": images[part] for part in parts},
        **{f"{part}_labels": labels[part] for part in parts},
        class_names=CIFAR10_CLASSES,
        split={**parts, "seed": 0},
        provenance=CIFAR10_PROVENANCE,
    )


class _PickledDtype:
    """Stands for the `numpy.dtype("u1")` in CIFAR-10's pickles; what else the pickle says of it is ignored."""

    def __init__(self, code, *_):
        if code not in (b"u1", "u1"):
            raise pickle.UnpicklingError(f"it holds an array of type {code!r}, not of bytes")

    def __setstate__(self, state):
        pass


class _PickledArray:
    """Stands for the `numpy.ndarray` in CIFAR-10's pickles: keeps the bytes, so that NumPy unpickles nothing."""

    def __setstate__(self, state):
        _, self.shape, _, _, self.content = state


def _pickled_array(*_):
    return _PickledArray()


class _CifarUnpickler(pickle.Unpickler):
    """Admits what CIFAR-10's files hold, an array of bytes, and nothing else."""

    admitted = {
        ("numpy.core.multiarray", "_reconstruct"): _pickled_array,
        ("numpy", "ndarray"): _PickledArray,
        ("numpy", "dtype"): _PickledDtype,
    }

    def find_class(self, module, name):
        try:
            return self.admitted[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which CIFAR-10 never does") from None


def _read_cifar10_file(folder: Path, name: str):
    """(planes, labels) of one batch: uint8 (10000, 3, 32, 32) and int64 (10000,); None for `batches.meta`."""
    path = folder / name
    advice = f"Delete the folder {folder} and load again to fetch a fresh copy."
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} can't be read ({error.strerror or error}). {advice}") from None
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != CIFAR10_MD5[name]:
        raise DatasetError(
            f"{path} is not the official CIFAR-10 file: its MD5 differs (a truncated, altered or other file). {advice}"
        )
    try:
        batch = _CifarUnpickler(io.BytesIO(content), encoding="bytes").load()
        del content
        if name == "batches.meta":
            names = tuple(label.decode() for label in batch[b"label_names"])
            if names != CIFAR10_CLASSES:
                raise ValueError(f"its classes are {names}")
            return None
        array, labels = batch[b"data"], batch[b"labels"]
        if array.shape != (10_000, 3072):
            raise ValueError("its images are not 10,000 rows of 3,072 bytes")
        if len(labels) != 10_000 or not all(type(label) is int and 0 <= label <= 9 for label in labels):
            raise ValueError("its labels are not 10,000 numbers from 0 to 9")
        return np.frombuffer(array.content, np.uint8).reshape(10_000, 3, 32, 32), np.array(labels, np.int64)
    except Exception as error:  # whatever a hostile or broken pickle can raise, the reader gets one sentence
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(f"{path} does not hold CIFAR-10 images: {reason}. {advice}") from None


def _find_cifar10(folder: Path, download: bool) -> Path:
    """The folder that holds the seven files; unpacks, or fetches and unpacks, the archive where it is missing."""
    files, archive = folder / CIFAR10_FOLDER, folder / CIFAR10_ARCHIVE
    if os.path.isdir(files):  # Path.is_dir() raises an error where nobody may look
        return files
    if not os.path.isfile(archive):
        if not download:
            raise _missing(folder, "and downloading is switched off")
        _download(archive)
    _unpack(archive, files)
    return files


def _missing(folder: Path, why: str) -> DatasetMissing:
    return DatasetMissing(
        f"CIFAR-10 is not in {folder} {why}: connect to the internet and load again; or put {CIFAR10_ARCHIVE} "
        f"from {CIFAR10_URL} into that folder; or set SHATHENET_DATA to a folder that holds it or {CIFAR10_FOLDER}/."
    )


@contextlib.contextmanager
def _writing_to(folder: Path):
    """Turn what goes wrong while storing a dataset into one sentence."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        reason = getattr(error.__cause__, "strerror", None) or error.strerror or error  # pooch hides it in many words
        raise DatasetError(
            f"CIFAR-10 can't be stored in {folder} ({reason}): free 400 MB there, "
            "or set SHATHENET_DATA to a folder that can be written."
        ) from None


def _download(archive: Path) -> None:
    """Fetch the official archive; pooch checks it in a temporary file, then moves it into place whole."""
    import pooch
    import requests

    pooch.get_logger().setLevel("ERROR")  # the bar says enough
    fetcher = pooch.create(
        archive.parent,
        base_url="",
        registry={archive.name: f"sha256:{CIFAR10_SHA256}"},
        urls={archive.name: CIFAR10_URL},
        retry_if_failed=1,
    )
    size = 170_498_071  # pooch leaves out, or stumbles over, a bar that has no total to begin with
    with _writing_to(archive.parent), progress.bar(size, "CIFAR-10", unit="B", unit_scale=True) as bar:
        try:
            fetcher.fetch(archive.name, downloader=pooch.HTTPDownloader(progressbar=bar, timeout=30))
        except requests.RequestException as error:  # an OSError too: caught here, before it is taken for a full disk
            why = f"and {CIFAR10_URL} does not answer as it should ({type(error).__name__})"
            raise _missing(archive.parent, why) from None
        except ValueError:
            raise DatasetError(
                f"What {CIFAR10_URL} sent is not the official archive: its SHA-256 differs (a proxy's page, perhaps). "
                f"Nothing was kept; fetch it with a browser and put it into {archive.parent}."
            ) from None


def _unpack(archive: Path, files: Path) -> None:
    """Check the archive, then unpack its seven files into a temporary folder and move that into place whole."""
    try:
        with archive.open("rb") as stream:
            checksum = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DatasetError(f"{archive} can't be read ({error.strerror or error}). Delete it and load again.") from None
    if checksum != CIFAR10_SHA256:
        raise DatasetError(
            f"{archive} is not the official archive: its SHA-256 differs (an incomplete or other file). "
            "Delete it and load again."
        )
    with _writing_to(files.parent), tempfile.TemporaryDirectory(dir=files.parent, prefix=".unpacking-") as temporary:
        unpacked = Path(temporary, CIFAR10_FOLDER)
        unpacked.mkdir()
        try:
            with tarfile.open(archive, "r:gz") as tar:
                for member in tar:
                    folder, _, name = member.name.partition("/")
                    if (
                        folder != CIFAR10_FOLDER
                        or "/" in name
                        or name == ".."
                        or not (member.isfile() or member.isdir())
                    ):
                        raise tarfile.TarError(f"it holds {member.name!r}, which does not belong there")
                    if name in CIFAR10_MD5 and member.isfile():
                        with (unpacked / name).open("wb") as target:
                            shutil.copyfileobj(tar.extractfile(member), target)
            if lacking := CIFAR10_MD5.keys() - os.listdir(unpacked):
                raise tarfile.TarError(f"it lacks {', '.join(sorted(lacking))}")
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DatasetError(f"{archive} can't be unpacked: {error}. Delete it and load again.") from None
        if not files.exists():
            try:
                os.rename(unpacked, files)
            except OSError:
                if not files.is_dir():  # else another process was first; its files are checked like ours
                    raise


TOY_SHAPES = ("disc", "square", "triangle", "cross", "ring")
TOY_TEXTURES = ("striped", "checked")


def subset_per_class(data: Dataset, images_per_class: int, seed: int) -> Dataset:
    """The dataset with so many training images of each class, drawn by a seed, in their old order; with 0, all.

    Raises ValueError where a class has fewer.
    """
    if not images_per_class:
        return data
    stream, rows = np.random.default_rng((seed, 0, 3)), []
    for label, name in enumerate(data.class_names):
        of_class = np.flatnonzero(data.train_labels == label)
        if len(of_class) < images_per_class:
            raise ValueError(
                f"subset_per_class(): {data.name} has {len(of_class):,} images of {name}, not {images_per_class:,}."
            )
        rows.append(stream.choice(of_class, images_per_class, replace=False))
    chosen = np.sort(np.concatenate(rows))
    return dataclasses.replace(
        data,
        train_images=data.train_images[chosen],
        train_labels=data.train_labels[chosen],
        split={**data.split, "train": len(chosen), "drawn by": seed},
    )


def toy_shapes(train: int = 8000, validation: int = 1000, test: int = 1000, seed: int = 0) -> Dataset:
    """The stand-in for readers without CIFAR-10: drawn colour images of 32×32 pixels in ten classes.

    A class is a shape (`TOY_SHAPES`) with a texture (`TOY_TEXTURES`). What does not depend on the class is drawn at
    random for each image: place (up to 3 pixels off the middle), size (radius 9 to 13), turn (up to 20° either way),
    the texture's period (5 to 7 pixels), turn and offset, three colours (ground, shape, texture), a gradient of light
    across the image, and Gaussian noise (standard deviation 20 of 255). A linear model learns next to nothing here, a
    small CNN nearly everything.

    train, validation, test: how many of each, multiples of 10; every class has its tenth. seed: another one draws other
    images. 10,000 take about two seconds. Raises ValueError for numbers that ten classes can't share.
    """
    parts = {"train": train, "validation": validation, "test": test}
    for part, count in parts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count % 10 or count < 0:
            raise ValueError(f"toy_shapes(): {part} must be a multiple of 10, at least 0, not {count!r}.")
    arrays = {}
    for number, (part, count) in enumerate(parts.items()):
        stream = np.random.RandomState((seed, number))  # the legacy generator, as above
        labels = stream.permutation(np.arange(count, dtype=np.int64) % 10)
        chunks = [draw_shapes(labels[i : i + 500], stream) for i in range(0, count, 500)]
        images = np.concatenate(chunks) if chunks else np.empty((0, 32, 32, 3), np.uint8)
        arrays |= {f"{part}_images": images, f"{part}_labels": labels}
    return Dataset(
        name="toy_shapes",
        **arrays,
        class_names=tuple(f"{texture} {shape}" for shape in TOY_SHAPES for texture in TOY_TEXTURES),
        split={**parts, "seed": seed},
        provenance="Toy shapes, drawn by shathenet_utils.datasets.toy_shapes(); made here; MIT, as the code",
    )
