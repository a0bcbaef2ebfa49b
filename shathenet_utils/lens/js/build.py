"""Join the lens's modules into `lens.js`, the one file that notebooks and pages embed: `make lens-script`.

Each module's declarations are copied once, in the order in which `main.js` needs them, without imports and exports; so
no two modules may declare the same name. Nothing is rewritten otherwise: the joined file reads as the modules do.
"""

import re
import sys
from pathlib import Path

SOURCES = Path(__file__).parent
BUILT = SOURCES.parent / "lens.js"
ENTRY = "main.js"
IMPORT = re.compile(r'^import \{[^}]*\} from "(\.[^"]+)";\n', re.MULTILINE)
DECLARED = re.compile(r"^(?:export )?(?:async )?(?:const|let|function\*?|class) +([\w$]+)", re.MULTILINE)


def in_order(entry: Path) -> list[Path]:
    """The modules that `entry` needs, each after those that it imports; `entry` is the last."""
    order, open_modules = [], []

    def visit(path: Path):
        if path in open_modules:
            sys.exit(f"error: {path.name} imports itself, by way of {open_modules[-1].name}.")
        if path in order:
            return
        open_modules.append(path)
        for name in IMPORT.findall(path.read_text(encoding="utf-8")):
            visit((path.parent / name).resolve())
        order.append(open_modules.pop())

    visit(entry.resolve())
    return order


def joined(entry: Path = SOURCES / ENTRY) -> str:
    """The text of the built file."""
    parts, homes = ["// Built from js/ by `make lens-script`: change the modules there, not this file.\n"], {}
    for path in in_order(entry):
        text = IMPORT.sub("", path.read_text(encoding="utf-8"))
        for name in DECLARED.findall(text):
            if name in homes:
                sys.exit(f"error: {path.name} and {homes[name]} both declare {name}.")
            homes[name] = path.name
        text = re.sub(r"^export (?!default)", "", text, flags=re.MULTILINE)
        if left := re.search(r"^import .*", text, re.MULTILINE):
            sys.exit(f"error: {path.name} imports in a way that can't be joined: {left.group()}")
        parts.append(re.sub(r"\n{3,}", "\n\n", text).strip() + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    BUILT.write_text(joined(), encoding="utf-8")
    print(f"{BUILT.name} holds the modules of {SOURCES.name}/.")
