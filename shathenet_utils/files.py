"""Files written whole or not at all, locks, hashes, readable JSON. Knows nothing of experiments."""

import contextlib
import hashlib
import json
import os
import re
import tempfile
import time
from pathlib import Path


class FileError(RuntimeError):
    """A file can't be written or locked; one sentence says which, why, and what to do."""


class Busy(RuntimeError):
    """Another process holds the lock."""


@contextlib.contextmanager
def written_whole(path: Path):
    """A temporary path to write to; it takes `path`'s place when the block ends well, else nothing is left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        yield Path(temporary)
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def locked(path: Path, wait: bool = True, on_wait=None):
    """Hold a lock file while the block runs, so that one process at a time does it; yields whether it had to wait.

    The system lets go of it when its process ends, however it ends. wait: False raises Busy at once where another
    process holds it. on_wait: is called once, before waiting. Raises FileError where the file can't be made.
    """
    import fcntl  # here: Linux, macOS and WSL2 have it

    waited = False
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with writing_to(path):
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.fstat(handle).st_ino == path.stat().st_ino:  # else its holder has just removed it
                break
        except FileNotFoundError:
            pass
        except BlockingIOError:
            if not wait:
                os.close(handle)
                raise Busy(f"Another process is at {path.stem}.") from None
            if not waited and on_wait:
                on_wait()
            waited = True
            time.sleep(0.2)
        except OSError as error:  # a file system without locks: nothing to wait for
            os.close(handle)
            raise FileError(
                f"{path} can't be locked ({error.strerror or error}): train in a folder that can."
            ) from None
        os.close(handle)
    try:
        yield waited
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def remove_leftovers(path: Path) -> None:
    """Delete what a killed process had begun to write in `path`'s place; call it only under a lock."""
    for begun in path.parent.glob(f".{path.name}.*"):
        begun.unlink(missing_ok=True)


@contextlib.contextmanager
def writing_to(path: Path):
    """Turn what goes wrong while writing this file into one sentence. Raises FileError."""
    try:
        yield
    except OSError as error:
        raise FileError(
            f"{path} can't be written ({error.strerror or error}): free some space, or make {path.parent} writable."
        ) from None


def check_writable(folder: Path) -> None:
    """Find out beforehand that nothing could be written to a folder. Raises FileError."""
    with writing_to(folder / "a file"):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


def to_json(value: dict) -> str:
    """JSON that people can read too: a line per key, and each innermost list of numbers on one line."""
    text = json.dumps(value, indent=1, allow_nan=False)
    return (
        re.sub(
            r"\[\n[^\[\]{}\"]*\]",
            lambda found: re.sub(r"\s+", " ", found[0]).replace("[ ", "[").replace(" ]", "]"),
            text,
        )
        + "\n"
    )


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all. Raises FileError."""
    with writing_to(path), written_whole(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a text, UTF-8, whole or not at all. Raises FileError."""
    write_bytes(path, text.encode())


def sha256_of(content: bytes) -> str:
    """64 hex digits."""
    return hashlib.sha256(content).hexdigest()
