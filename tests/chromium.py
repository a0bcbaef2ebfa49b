"""Find Chromium for the browser tests, or install it: `python tests/chromium.py` says which, or that there is none.

Playwright's own build goes into `.venv`; where it can't be fetched, and we are root on a system with apt (a container),
Debian's package is installed. In CI, having none is an error.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
OWN = Path(__file__).resolve().parent.parent / ".venv" / "browsers"
NONE = "No Chromium was found or could be installed: install it, or set SHATHENET_BROWSER to its path."


def find() -> str | None:
    """The path of a Chromium or Chrome: `$SHATHENET_BROWSER`, one on the PATH, or the one that was installed here."""
    if named := os.environ.get("SHATHENET_BROWSER"):
        return named
    patterns = ("*/chrome-*/chrome", "*/chrome-*/*.app/Contents/MacOS/*")
    candidates = [*map(shutil.which, NAMES), MAC, *(path for pattern in patterns for path in sorted(OWN.glob(pattern)))]
    return next((str(path) for path in candidates if path and answers(path)), None)


def answers(path) -> bool:
    """Whether the program runs: a stand-in (Ubuntu's without snap) or one whose libraries are missing does not."""
    try:
        return subprocess.run([path, "--version"], capture_output=True, check=False, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def install() -> None:
    """Try what can install one, quietly, the least intrusive first."""
    ways = [[sys.executable, "-m", "playwright", "install", "chromium"]]
    if shutil.which("apt-get") and os.geteuid() == 0:
        ways += [["apt-get", "update", "-q"], ["apt-get", "install", "-q", "-y", "--no-install-recommends", "chromium"]]
    environment = os.environ | {"PLAYWRIGHT_BROWSERS_PATH": str(OWN), "DEBIAN_FRONTEND": "noninteractive"}
    for way in ways:
        print("Installing a browser for the tests:", *way, flush=True)
        subprocess.run(way, env=environment, capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=900)
        if find():
            return


def main() -> None:
    """Say which browser the tests use; install one where there is none."""
    if not find():
        install()
    found = find()
    if not found and os.environ.get("CI"):
        sys.exit(f"error: {NONE}")
    print(f"Browser tests use {found}." if found else f"{NONE} Browser tests are skipped.")


if __name__ == "__main__":
    main()
