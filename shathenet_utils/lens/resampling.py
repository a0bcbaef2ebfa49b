"""Layers that resize, crop or average rows and columns, found by what they do to images: as two matrices."""

from collections.abc import Callable

import numpy as np

from shathenet_utils.backend import keras
from shathenet_utils.lens.steps import Unknown

MOST = 30_000_000
"""Numbers that a probe may have; beyond, the layer is unknown."""


def resampled(function: Callable, before, after) -> list[dict]:
    """A linear function that treats rows and columns apart, as a step: what each row of the output takes of the input's
    rows, [first, [share, …]], and each column.

    function: of a tensor (n, height, width, channels). Raises Unknown where it isn't such a function.
    """
    height, width, channels = before
    if after[2] != channels:
        raise Unknown
    rows = _shares(function, height, (height, width), 0)[:, after[1] // 2]
    columns = _shares(function, width, (height, width), 1)[after[0] // 2]
    image = np.random.default_rng(0).normal(0, 1, (1, *before)).astype(np.float32)
    expected = _apply(function, image)[0]
    found = np.einsum("yh,hwc,xw->yxc", rows, image[0], columns)
    if found.shape != expected.shape or not np.allclose(found, expected, atol=1e-4):
        raise Unknown
    return [{"kind": "resize", "how": "weights", "rows": _taps(rows), "columns": _taps(columns)}]


def _shares(function: Callable, sides: int, size: tuple[int, int], axis: int) -> np.ndarray:
    """What the output holds of images that are 1 in one row, or column, and 0 elsewhere: (rows, columns, which)."""
    if sides * size[0] * size[1] > MOST:
        raise Unknown("of so large an image")
    lines = np.eye(sides, dtype=np.float32)
    images = np.broadcast_to(lines[:, None] if axis == 0 else lines[None], (*size, sides))
    batch = np.ascontiguousarray(images.transpose(2, 0, 1))[..., None]
    return _apply(function, batch)[..., 0].transpose(1, 2, 0)


def _apply(function: Callable, images: np.ndarray) -> np.ndarray:
    try:
        return np.asarray(keras.ops.convert_to_numpy(function(keras.ops.convert_to_tensor(images))), np.float64)
    except Exception:  # whatever a reader's layer refuses
        raise Unknown from None


def _taps(shares: np.ndarray) -> list:
    """Of each row of a matrix where its numbers begin, and they."""
    found = []
    for row in np.where(np.abs(shares) > 1e-9, shares, 0):
        (places,) = row.nonzero()
        first, last = (int(places[0]), int(places[-1])) if len(places) else (0, -1)
        found.append([first, row[first : last + 1].tolist()])
    return found
