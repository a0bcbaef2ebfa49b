"""Set up `.venv` for this book: `python3 bootstrap.py`. Standard library only; `make` calls it before everything else.

A finished set-up is recognised in a few milliseconds. What goes wrong is one sentence, and pip's whole output lies in
`.venv/setup.log`. Needs Python 3.11, 3.12 or 3.13, a package index and 4 GB of disk.
"""

import contextlib
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(ROOT, ".venv")
LOG = os.path.join(VENV, "setup.log")
QUIET = os.path.join(VENV, "share", "jupyter", "lab", "settings", "overrides.json")
STAMP = os.path.join(VENV, "set-up-from")
SUPPORTED = ((3, 11), (3, 12), (3, 13))
DISK_GB = 4


class SetUpError(Exception):
    """The set-up can't go on; one sentence says why, and what to do."""


def supported_python():
    """The path of a Python that the book runs on: this one, else the newest that answers on the PATH."""
    if sys.version_info[:2] in SUPPORTED:
        return sys.executable
    for major, minor in reversed(SUPPORTED):
        path = shutil.which(f"python{major}.{minor}")
        asked = f"import sys; sys.exit(sys.version_info[:2] != ({major}, {minor}))"
        if path and subprocess.call([path, "-c", asked], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0:
            return path
    raise SetUpError(
        f"This book needs Python 3.11, 3.12 or 3.13, and here is only {platform.python_version()} ({sys.executable}): "
        "install one of them, or name it with `make PYTHON=/path/to/python3.12`."
    )


def wanted():
    """What a set-up depends on: the requirements, the package's metadata, this script, and where the book lies."""
    digest = hashlib.sha256(ROOT.encode())
    for name in ("requirements.txt", "pyproject.toml", "bootstrap.py"):
        with open(os.path.join(ROOT, name), "rb") as stream:
            digest.update(stream.read())
    return digest.hexdigest()


def is_ready():
    """Whether `.venv` was set up from what lies here now, and its Python is still there."""
    try:
        with open(STAMP) as stream:
            return stream.read() == wanted() and os.access(os.path.join(VENV, "bin", "python"), os.X_OK)
    except OSError:
        return False


def run(command):
    """Run a command; yields each line that it prints. Raises subprocess.CalledProcessError where it fails."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=ROOT, text=True,
        errors="replace",
    ) as process:  # fmt: skip
        try:
            yield from process.stdout
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


def kept(lines, said, log=None):
    """The same lines, added to the list `said` and written to `log` on their way."""
    for line in lines:
        said.append(line)
        if log:
            log.write(line)
        yield line


def show_progress(lines):
    """Count the packages that pip has found, of those that requirements.txt names, with the time left."""
    with open(os.path.join(ROOT, "requirements.txt")) as stream:
        total = sum(not line.startswith(("#", " ")) for line in stream if line.strip())
    begun, shown, found = time.time(), 0.0, 0
    terminal = sys.stdout.isatty()
    for line in lines:
        found += line.startswith(("Collecting ", "Ignoring "))
        now = time.time()
        installing = line.startswith("Installing collected packages")
        if installing or now - shown > (0.5 if terminal else 15):
            shown = now
            left = "" if not found else f", {(now - begun) * max(total - found, 0) / found:.0f} s left"
            text = "installing them, half a minute more" if installing else f"{found} of {total}{left}"
            print("\r\033[K" * terminal + "Packages: " + text, end="" if terminal else "\n", flush=True)
    if terminal:
        print("\r\033[K", end="", flush=True)


def reason(text):
    """One sentence for what pip or venv said; the log holds the rest."""
    if "No space left" in text or "Errno 28" in text:
        return f"The disk is full: free {DISK_GB} GB where {ROOT} lies."
    if "from versions: none" in text or "NewConnectionError" in text or "ConnectionError" in text:
        return "No package index answers: connect to the internet, or set PIP_INDEX_URL to a mirror that you reach."
    if "No matching distribution" in text or "is not a supported wheel" in text:
        return (
            "The package index has no file of a package for this system: the book runs on Linux (x86-64, aarch64) and "
            f"on macOS with Apple silicon; see {LOG}."
        )
    if "ensurepip" in text:
        return "This Python can't make virtual environments: on Debian and Ubuntu, `apt install python3-venv` mends it."
    return "The last line of {} says: {}.".format(LOG, (text.strip().splitlines() or ["nothing"])[-1].rstrip("."))


def usable_venv():
    """Whether `.venv` holds a Python of a supported version that answers."""
    python = os.path.join(VENV, "bin", "python")
    asked = f"import sys, pip; sys.exit(sys.version_info[:2] not in {SUPPORTED!r})"
    try:
        return subprocess.call([python, "-c", asked], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def set_up():
    """Make `.venv` from requirements.txt, or bring it up to date. Raises SetUpError."""
    if (sys.platform, platform.machine()) == ("darwin", "x86_64"):
        raise SetUpError("There is no TensorFlow 2.21 for Intel Macs: read this book on Linux, or on Apple silicon.")
    python = supported_python()
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < DISK_GB and not os.path.isdir(VENV):
        raise SetUpError(f"Only {free:.1f} GB are free where {ROOT} lies: the packages need {DISK_GB}.")
    print(f"Setting up .venv with {python}: some two minutes, 700 MB to fetch.", flush=True)
    said = []
    try:
        if not usable_venv():
            for _ in kept(run([python, "-m", "venv", "--clear", VENV]), said):
                pass
        with open(LOG, "w") as log:
            pip = [os.path.join(VENV, "bin", "python"), "-m", "pip", "install", "--disable-pip-version-check"]
            pip += ["--retries", "2", "--progress-bar", "off", "-r", "requirements.txt", "-e", "."]
            show_progress(kept(run(pip), said, log))
        os.makedirs(os.path.dirname(QUIET), exist_ok=True)
        with open(QUIET, "w") as stream:  # JupyterLab then asks nobody for news or updates, nor whether it may
            json.dump(
                {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}},
                stream,
            )
        with open(STAMP + ".part", "w") as stream:
            stream.write(wanted())
        os.replace(STAMP + ".part", STAMP)
    except subprocess.CalledProcessError:
        raise SetUpError(reason("".join(said))) from None
    except OSError as error:
        raise SetUpError(f"{VENV} can't be written ({error.strerror}).") from None


@contextlib.contextmanager
def alone():
    """Let one set-up run at a time; a second waits for the first."""
    import fcntl

    handle = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("Another set-up is at work here; waiting for it.", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def main():
    """Set up unless it is done; exits with 1 and a sentence where that fails."""
    if is_ready():
        return
    try:
        with alone():
            if not is_ready():
                set_up()
    except ImportError:
        sys.exit("error: This book runs on Linux and macOS; on Windows, install WSL2 and clone it there.")
    except SetUpError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("\nStopped; the same command goes on from here.")


if __name__ == "__main__":
    main()
