"""A run in a process of its own, with its own number of TensorFlow's threads: what the queue and a page's rerun start.

The process is `python -m shathenet_utils train … --watched`: it prints one line of JSON per epoch, and stops safely
when whoever started it is gone, however that ended.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from shathenet_utils import ROOT

BUSY = 75
"""Exit code of a watched run that another process is at (sysexits' EX_TEMPFAIL)."""
STOPPED = 130


class WorkerError(RuntimeError):
    """A run in a process of its own failed; one sentence says which and why."""


def start(experiment: str, variant: str, seed: int, threads: int, *, record: bool = False, again: bool = False):
    """A subprocess.Popen that trains one declared run in the full budget; its lines are read by `messages`.

    threads: TensorFlow's. record: as the book's evidence. again: also where there is a record already.
    """
    command = [sys.executable, "-m", "shathenet_utils", "train", experiment, "--variant", variant]
    command += ["--seeds", str(seed), "--watched", *["--record"] * record, *["--again"] * again]
    folders = {name: os.environ.get(name) for name in ("SHATHENET_DATA", "SHATHENET_OUTPUT")}
    folders = {name: str(Path(folder).expanduser().absolute()) for name, folder in folders.items() if folder}
    settings = {"SHATHENET_THREADS": str(threads), "TQDM_DISABLE": "1", "PYTHONUTF8": "1"}
    stderr = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 (a pipe that nobody reads would fill up)
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | folders | settings,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        encoding="utf-8",
    )
    process.stderr = stderr
    return process


def messages(process) -> Iterator[dict]:
    """What a watched process reports, until it ends: {"epoch", "epochs", "history"} per epoch."""
    for line in process.stdout:
        try:
            message = json.loads(line)
        except ValueError:  # a sentence of the run's own
            continue
        if isinstance(message, dict):
            yield message


def interrupt(process) -> None:
    """Have a watched process stop safely, as Ctrl-C in a terminal does; the caller waits for its end."""
    process.send_signal(signal.SIGINT)  # where it has ended already, nothing happens
    process.stdin.close()


def failure(process) -> str:
    """After the end of a process: why it failed, in a sentence; "" where it did not."""
    if process.returncode in (0, BUSY, STOPPED):
        return ""
    process.stderr.seek(0)
    lines = [line for line in process.stderr.read().splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else f"its process ended with code {process.returncode}"


def report(epochs: int) -> Callable[[dict], None]:
    """The `on_epoch` of a watched process: prints one line per epoch."""

    def tell(history: dict) -> None:
        print(json.dumps({"epoch": len(history["loss"]), "epochs": epochs, "history": history}), flush=True)

    return tell


def stop_with_parent() -> None:
    """From now on this process is interrupted, as by Ctrl-C, when its standard input ends.

    Ctrl-C counts again where who started the queue, a script in the background, had it ignored.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def watch():
        while os.read(0, 4096):  # not sys.stdin, whose lock a thread may not hold when the interpreter ends
            pass
        while True:  # again where something took the first one for its own
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(10)

    threading.Thread(target=watch, daemon=True).start()
