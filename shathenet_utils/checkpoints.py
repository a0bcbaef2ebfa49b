"""Where a run keeps its state until it is finished, so that it goes on after a stop as if there had been none.

A checkpoint is one file that each epoch replaces, `seed0.npz`. The weights after each epoch, where a run keeps them,
lie beside it in a file per epoch, each written once: `seed0.epoch0.npz`, the initial weights, `seed0.epoch1.npz` …
"""

import glob
import json
import re
from pathlib import Path

import numpy as np

from shathenet_utils import files, weights


def epoch_path(path: Path, epoch: int) -> Path:
    """Where the weights after so many epochs lie, beside the checkpoint at `path`."""
    return path.with_name(f"{path.stem}.epoch{epoch}.npz")


def epoch_paths(path: Path) -> list[Path]:
    """The files of weights that lie beside the checkpoint at `path`, by epoch."""
    found = path.parent.glob(f"{glob.escape(path.stem)}.epoch*.npz")
    return sorted(found, key=lambda file: [int(number) for number in re.findall(r"epoch(\d+)\.npz$", file.name)])


def save(path: Path, identity: str, variables: list, history: dict, weight_history: list[dict]) -> None:
    """Write all that a run needs to go on after this epoch, each file whole or not at all: the weights that are new
    since the last call, then the checkpoint. Raises FileError where it can't.

    variables: every one that an epoch may change: weights, the states of random layers, the optimizer's, averages.
    weight_history: name → array, after epoch 0, 1, 2 …; empty where the run keeps none.
    """
    epochs = len(history["loss"])
    for epoch in range(0 if epochs == 1 else epochs, len(weight_history)):
        # By number, not by name: Keras counts the names of layers on when the same network is built a second time.
        _write(epoch_path(path, epoch), identity, dict(enumerate(weight_history[epoch].values())))
    state = {f"variable{i}": variable.numpy() for i, variable in enumerate(variables)}
    _write(path, identity, state | {"history": np.array(json.dumps(history))})


def _write(path: Path, identity: str, arrays: dict) -> None:
    arrays = {str(name): array for name, array in arrays.items()} | {"identity": np.array(identity)}
    with files.writing_to(path), files.written_whole(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def load(path: Path, identity: str, variables: list, model, weight_history: bool) -> tuple[dict, list] | None:
    """Put back what `save` kept of this run: (history, weight history); None, and nothing changed, where a file is
    missing, damaged or another run's.

    weight_history: whether the run keeps the weights of its epochs; else the list is empty.
    """
    try:
        state = _read(path, identity)
        history = json.loads(state["history"].item())
        arrays = [state[f"variable{i}"] for i in range(len(variables))]
        kept = []
        for epoch in range(len(history["loss"]) + 1) if weight_history else ():
            found = _read(epoch_path(path, epoch), identity)
            kept.append({weight.path: found[str(i)] for i, weight in enumerate(model.weights)})
    except weights.DAMAGED:
        return None
    pairs = [*zip(arrays, variables, strict=True)]
    pairs += [(epoch[weight.path], weight) for epoch in kept for weight in model.weights]
    if any(array.shape != tuple(variable.shape) for array, variable in pairs):
        return None
    for array, variable in zip(arrays, variables, strict=True):
        variable.assign(array)
    return history, kept


def _read(path: Path, identity: str) -> dict[str, np.ndarray]:
    """A file's arrays. Raises ValueError where it is another run's, and what `weights.DAMAGED` lists."""
    with np.load(path, allow_pickle=False) as archive:
        if archive["identity"].item() != identity:
            raise ValueError(f"{path} is another run's.")
        return {name: archive[name] for name in archive.files}


def remove(path: Path) -> None:
    """Delete a checkpoint, and the weights beside it: its run is finished."""
    for file in (*epoch_paths(path), path):
        file.unlink(missing_ok=True)


def clean(path: Path) -> None:
    """Delete what is of no use of what a killed process left: files half written, and weights of epochs without a
    checkpoint. Call it only under the run's lock."""
    files.remove_leftovers(path)
    for begun in path.parent.glob(f".{glob.escape(path.stem)}.epoch*.npz.*"):
        begun.unlink(missing_ok=True)
    if not path.exists():
        remove(path)
