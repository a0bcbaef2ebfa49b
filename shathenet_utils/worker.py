"""A run in a process of its own, with its own number of TensorFlow's threads: what the queue and a page's rerun start.

The process is `python -m shathenet_utils train … --watched`: it prints one line of JSON per epoch, and stops safely
when whoever started it is gone, however that ended.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

from shathenet_utils import ROOT

BUSY = 75
"""Exit code of a watched run that another process is at (sysexits' EX_TEMPFAIL)."""
STOPPED = 130


def start(experiment: str, variant: str, seed: int, threads: int, *, budget: str = "full", record: bool = False):
    """A subprocess.Popen that trains one declared run; its lines are read by `messages`."""
    command = [sys.executable, "-m", "shathenet_utils", "train", experiment, "--variant", variant]
    command += ["--seeds", str(seed), "--budget", budget, "--watched", *["--record"] * record]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "SHATHENET_THREADS": str(threads), "TQDM_DISABLE": "1", "PYTHONUTF8": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def messages(process) -> Iterator[dict]:
    """What a watched process reports, until it ends: {"epoch", "epochs", "history"} per epoch."""
    for line in process.stdout:
        try:
            message = json.loads(line)
        except ValueError:  # a sentence of the run's own
            continue
        if isinstance(message, dict):
            yield message


def failure(process) -> str:
    """After the end of a process: why it failed, in a sentence; "" where it did not."""
    if process.returncode in (0, BUSY, STOPPED):
        return ""
    lines = [line for line in process.stderr.read().splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else f"its process ended with code {process.returncode}"


def report(epochs: int) -> Callable[[dict], None]:
    """The `on_epoch` of a watched process: prints one line per epoch."""

    def tell(history: dict) -> None:
        print(json.dumps({"epoch": len(history["loss"]), "epochs": epochs, "history": history}), flush=True)

    return tell


def stop_with_parent() -> None:
    """From now on this process is interrupted, as by Ctrl-C, when its standard input ends."""

    def watch():
        while sys.stdin.buffer.read(4096):
            pass
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()
