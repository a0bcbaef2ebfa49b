"""Find TypeScript's checker for the lens's modules, or install it: `python tests/typescript.py` says which.

It goes into `.venv`, by npm; where there is no npm, and we are root on a system with apt (a container), Debian's
package is installed first. In CI, having none is an error. No reader needs it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSION = "5.9.3"
HOME = Path(__file__).resolve().parent.parent / ".venv" / "typescript"
CHECKER = HOME / "node_modules" / "typescript" / "bin" / "tsc"
NONE = "No TypeScript was found or could be installed: install Node.js with npm, and connect to the internet."


def find() -> list[str] | None:
    """The command that checks types, where it is installed."""
    node = shutil.which("node")
    return [node, str(CHECKER)] if node and CHECKER.exists() else None


def install() -> None:
    """Try what can install it, quietly."""
    ways = []
    if not shutil.which("npm") and shutil.which("apt-get") and os.geteuid() == 0:
        ways += [["apt-get", "update", "-q"], ["apt-get", "install", "-q", "-y", "--no-install-recommends", "npm"]]
    ways += [["npm", "install", "--prefix", str(HOME), "--no-fund", "--no-audit", f"typescript@{VERSION}"]]
    for way in ways:
        print("Installing TypeScript for the tests:", *way, flush=True)
        try:
            subprocess.run(way, capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=600)
        except (OSError, subprocess.TimeoutExpired):
            return


def main() -> None:
    """Say what checks the types; install it where there is none."""
    if not find():
        install()
    if not find() and os.environ.get("CI"):
        sys.exit(f"error: {NONE}")
    print(f"Types are checked by TypeScript {VERSION}." if find() else f"{NONE} Types are not checked.")


if __name__ == "__main__":
    main()
