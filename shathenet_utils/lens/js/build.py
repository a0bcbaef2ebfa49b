"""Join the lens's modules into `lens.js`, the one file that notebooks and pages embed: `make lens-script`.

Each module's declarations are copied once, in the order in which `main.js` needs them, without imports and exports; so
no two modules may declare the same name. What a worker needs stands in a function, `workerModules`, whose text makes
the worker. Nothing is rewritten otherwise: the joined file reads as the modules do.
"""

import re
import sys
from pathlib import Path

SOURCES = Path(__file__).parent
BUILT = SOURCES.parent / "lens.js"
ENTRY, WORKER = "main.js", "runner.js"
IMPORT = re.compile(r'^import \{[^}]*\} from "(\.[^"]+)";\n', re.MULTILINE)
EXPORTED = re.compile(r"^export (?:const|function\*?|class) +([\w$]+)", re.MULTILINE)
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


def joined(entry: Path = SOURCES / ENTRY, worker: Path | None = SOURCES / WORKER) -> str:
    """The text of the built file. worker: the module whose work a worker does."""
    homes = {}
    inside = in_order(worker) if worker else []
    parts = [bare(path, homes) for path in inside]
    if inside:
        names = ", ".join(sorted({name for path in inside for name in EXPORTED.findall(path.read_text("utf-8"))}))
        parts = [
            "function workerModules() {",
            *parts,
            f"return {{ {names} }};\n}}\n\nconst {{ {names} }} = workerModules();\n",
        ]
    parts += [bare(path, homes) for path in in_order(entry) if path not in inside]
    return "\n".join(["// Built from js/ by `make lens-script`: change the modules there, not this file.\n", *parts])


def bare(path: Path, homes: dict[str, str]) -> str:
    """A module without imports and exports. homes: where each name so far was declared."""
    text = IMPORT.sub("", path.read_text(encoding="utf-8"))
    for name in DECLARED.findall(text):
        if name in homes:
            sys.exit(f"error: {path.name} and {homes[name]} both declare {name}.")
        homes[name] = path.name
    text = re.sub(r"^export (?!default)", "", text, flags=re.MULTILINE)
    if left := re.search(r"^import .*", text, re.MULTILINE):
        sys.exit(f"error: {path.name} imports in a way that can't be joined: {left.group()}")
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


if __name__ == "__main__":
    BUILT.write_text(joined(), encoding="utf-8")
    print(f"{BUILT.name} holds the modules of {SOURCES.name}/.")
