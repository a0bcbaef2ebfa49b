"""Weights on disk: one .npz per run, float16 or float32; weight histories of large networks in eight bits.

A record keeps of each file its path from the repository's root and its SHA-256; nothing is unpickled.
"""

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np

from shathenet_utils import ROOT, files, output_folder

FOLDER = ROOT / "data" / "weights"
"""The book's own; weights of other runs lie beside their records."""

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


class WeightsError(files.FileError):
    """Weights are missing or altered; one sentence says which, and what to do."""


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> dict:
    """Write arrays as one .npz; returns what a record keeps of it: path from the repository's root, and SHA-256."""
    with files.writing_to(path), files.written_whole(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream, allow_pickle=False, **{name.replace("/", "|"): array for name, array in arrays.items()}
        )
    root = ROOT if path.is_relative_to(ROOT) else output_folder()
    return {"path": path.relative_to(root).as_posix(), "sha256": files.sha256_of(path.read_bytes())}


def load_arrays(kept: dict) -> dict[str, np.ndarray]:
    """The arrays behind a record's {"path", "sha256"}, those in eight bits as float32.

    Raises WeightsError where the file is missing or altered.
    """
    path = next((root / kept["path"] for root in (ROOT, output_folder()) if (root / kept["path"]).is_file()), None)
    if path is None:
        raise WeightsError(f"The weights {kept['path']} are missing: restore them with `git checkout`.")
    content = path.read_bytes()  # read once: what is checked is what is opened
    if files.sha256_of(content) != kept["sha256"]:
        raise WeightsError(
            f"The weights {path} are not those of their record (SHA-256 differs): restore them with `git checkout`."
        )
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            found = {name.replace("|", "/"): archive[name] for name in archive.files}
    except DAMAGED:
        raise WeightsError(f"{path} does not hold plain arrays of numbers: restore it with `git checkout`.") from None
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
