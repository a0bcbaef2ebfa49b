"""What may be done to training images: pure functions on uint8 batches (n, height, width, channels), no TensorFlow.

`of_epoch` makes all images of one epoch at once; its random stream is keyed by (seed, epoch), so an epoch's images
never depend on what ran before. Each function returns new arrays and leaves its arguments alone.
"""

from typing import NamedTuple

import numpy as np

CHUNK = 100  # images at a time where there are intermediate arrays: those then stay in the processor's cache


class Epoch(NamedTuple):
    """What one epoch trains on.

    images: uint8 (n, height, width, channels). labels: (n,). Of mixed images, else None: other_labels (n,), and
    shares, float32 (n,), the fraction of each image that is the first label's.
    """

    images: np.ndarray
    labels: np.ndarray
    other_labels: np.ndarray | None = None
    shares: np.ndarray | None = None


def of_epoch(images, labels, augmentation, seed: int, epoch: int) -> Epoch:
    """The images that epoch `epoch` (from 0) of a run with this seed sees, in the order of `images`.

    images: uint8 (n, height, width, channels); labels (n,); augmentation: a `recipes.Augmentation`.
    Without augmentation, the arguments themselves.
    """
    if not augmentation.changes_images:
        return Epoch(images, labels)
    stream = np.random.default_rng((seed, epoch, 1))
    count = len(images)
    if augmentation.rotate or augmentation.shift or augmentation.shear or augmentation.zoom:
        images = affine(images, stream, augmentation.rotate, augmentation.shift, augmentation.shear, augmentation.zoom)
    if augmentation.translate:
        images = translate(images, augmentation.translate, stream)
    if augmentation.flip == "random":
        images = flip(images, stream.random(count) < 0.5)
    if augmentation.flip == "alternating":
        first = np.random.default_rng((seed, 0, 2)).random(count) < 0.5
        images = flip(images, first ^ (epoch % 2 == 1))
    if augmentation.vertical_flip:
        images = flip(images, stream.random(count) < 0.5, vertical=True)
    if augmentation.channel_shift:
        images = channel_shift(images, augmentation.channel_shift, stream)
    if augmentation.cutout:
        images = cutout(images, augmentation.cutout, stream)
    if augmentation.mixup:
        return mixup(images, labels, augmentation.mixup, stream)
    return Epoch(images, labels)


def flip(images, chosen, vertical: bool = False) -> np.ndarray:
    """The images, those of `chosen` (bool, (n,)) mirrored left to right, or upside down."""
    axis = 1 if vertical else 2
    back = np.arange(images.shape[axis])[::-1]
    flipped = np.empty_like(images)
    for first in range(0, len(images), CHUNK):
        part = slice(first, first + CHUNK)
        flipped[part] = images[part]
        turned = first + np.flatnonzero(chosen[part])
        flipped[turned] = np.take(images[turned], back, axis)
    return flipped


def shifted(images, down: int, right: int) -> np.ndarray:
    """The images shifted by whole pixels; what comes in over an edge is the mirror image of what lies inside it."""
    reach = max(abs(down), abs(right))
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="reflect")
    height, width = images.shape[1:3]
    return padded[:, reach - down : reach - down + height, reach - right : reach - right + width]


def translate(images, pixels: int, stream) -> np.ndarray:
    """Each image shifted by −pixels to pixels, down and right, drawn separately; edges as in `shifted`."""
    count, height, width, channels = images.shape
    down, right = stream.integers(-pixels, pixels + 1, (2, count))
    moved = np.empty_like(images)
    for first in range(0, count, CHUNK):
        part = slice(first, first + CHUNK)
        padded = np.pad(images[part], ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width, channels), axis=(1, 2, 3))
        moved[part] = windows[np.arange(len(padded)), pixels - down[part], pixels - right[part], 0]
    return moved


def affine(images, stream, rotate: float = 0, shift: float = 0, shear: float = 0, zoom: float = 0) -> np.ndarray:
    """Each image rotated, shifted, sheared and zoomed about its centre, all in one resampling.

    rotate, shear: degrees; shift: fraction of the side; zoom: of 1, drawn separately for height and width; each drawn
    uniformly from −bound to bound (the zoom around 1). Bilinear, with weights in 256ths; edges are repeated. What
    Keras's `ImageDataGenerator` does, which the original used. images: uint8 (n, height, width, 3).
    """
    count, height, width, channels = images.shape
    if channels != 3:
        raise ValueError(f"affine() takes images of three channels, not {channels}.")
    angle, slant = np.deg2rad(stream.uniform(-1, 1, (2, count)) * np.array([[rotate], [shear]]))
    moves = stream.uniform(-shift, shift, (2, count)) * np.array([[height], [width]])
    zooms = stream.uniform(1 - zoom, 1 + zoom, (2, count))
    # Where an output pixel (row, column) comes from: rotation · shear · zoom, about the centre.
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    lean = np.array([[np.ones(count), -np.sin(slant)], [np.zeros(count), np.cos(slant)]])
    stretch = zooms * np.eye(2)[:, :, None]
    matrix = np.einsum("ijn,jkn,kln->nil", turn, lean, stretch).astype(np.float32)
    moved = np.einsum("ijn,jn->ni", turn, moves).astype(np.float32)
    centre = np.array([(height - 1) / 2, (width - 1) / 2], np.float32)
    grid = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1).reshape(-1, 2) - centre
    result = np.empty_like(images)
    for first in range(0, count, CHUNK):
        part = slice(first, first + CHUNK)
        places = np.einsum("nij,pj->inp", matrix[part], grid.astype(np.float32)) + (moved[part] + centre).T[:, :, None]
        result[part] = _resample(images[part], places[0], places[1])
    return result


def _resample(images, rows, columns) -> np.ndarray:
    """Bilinear values at float places (n, height · width) of uint8 images (n, height, width, 3).

    The three channels travel in one 64-bit number, sixteen bits each; the four weights of a place are whole 256ths that
    sum to 256, so that no channel overflows into the next.
    """
    count, height, width, _ = images.shape
    packed = images[..., 0].astype(np.uint64)
    packed |= images[..., 1].astype(np.uint64) << np.uint64(16)
    packed |= images[..., 2].astype(np.uint64) << np.uint64(32)
    packed = packed.ravel()
    rows, columns = np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)
    top, left = np.minimum(rows.astype(np.int32), height - 2), np.minimum(columns.astype(np.int32), width - 2)
    down, right = rows - top, columns - left
    both = np.rint(256 * down * right).astype(np.uint64)
    lower = np.rint(256 * down).astype(np.uint64) - both
    righter = np.rint(256 * right).astype(np.uint64) - both
    neither = np.uint64(256) - both - lower - righter
    place = top * width + left + (np.arange(count, dtype=np.int32) * (height * width))[:, None]
    total = packed[place] * neither
    total += packed[place + 1] * righter
    total += packed[place + width] * lower
    total += packed[place + (width + 1)] * both
    total += np.uint64(0x0080_0080_0080)
    channels = [(total >> np.uint64(8 + 16 * channel)).astype(np.uint8) for channel in range(3)]
    return np.stack(channels, -1).reshape(images.shape)


def channel_shift(images, bound: float, stream) -> np.ndarray:
    """Each channel of each image made lighter or darker by up to `bound`, of 0 to 255; below 0.5 all rounds away."""
    shifts = stream.uniform(-bound, bound, (len(images), 1, 1, images.shape[-1])).astype(np.float32)
    shifted = images.copy()
    for first in range(0, len(images) if bound >= 0.5 else 0, CHUNK):
        part = slice(first, first + CHUNK)
        shifted[part] = np.clip(np.rint(images[part] + shifts[part]), 0, 255)
    return shifted


def cutout(images, side: int, stream) -> np.ndarray:
    """A square of the mean colour of all `images` over each image, its centre anywhere, clipped at the edges."""
    count, height, width, _ = images.shape
    grey = np.rint(images.mean(axis=(0, 1, 2))).astype(np.uint8)
    top = stream.integers(0, height, count) - side // 2
    left = stream.integers(0, width, count) - side // 2
    rows = (np.arange(height) >= top[:, None]) & (np.arange(height) < top[:, None] + side)
    columns = (np.arange(width) >= left[:, None]) & (np.arange(width) < left[:, None] + side)
    cut = images.copy()
    cut[rows[:, :, None] & columns[:, None, :]] = grey
    return cut


def mixup(images, labels, alpha: float, stream) -> Epoch:
    """Each image blended with another of the epoch, drawn without replacement: shares from Beta(alpha, alpha)."""
    partners = stream.permutation(len(images))
    shares = stream.beta(alpha, alpha, len(images)).astype(np.float32)
    mixed = np.empty_like(images)
    for first in range(0, len(images), CHUNK):
        part = slice(first, first + CHUNK)
        share = shares[part, None, None, None]
        mixed[part] = np.rint(share * images[part] + (1 - share) * images[partners[part]])
    return Epoch(mixed, labels, labels[partners], shares)
