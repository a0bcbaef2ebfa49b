"""The lens's JavaScript as one text, which notebooks and pages embed: the modules in `js/`, joined when first needed.

Each module's declarations are copied once, in the order in which `main.js` needs them, without imports and exports; so
no two modules may declare the same name. What a worker needs stands in a function, `workerModules`, whose text makes
the worker. Nothing is rewritten otherwise: the joined text reads as the modules do.
"""

import functools
import re
from pathlib import Path

MODULES = Path(__file__).with_name("js")
ENTRY, WORKER = MODULES / "main.js", MODULES / "runner.js"
IMPORT = re.compile(r'^import \{[^}]*\} from "(\.[^"]+)";\n', re.MULTILINE)
EXPORTED = re.compile(r"^export (?:const|function\*?|class) +([\w$]+)", re.MULTILINE)
DECLARED = re.compile(r"^(?:export )?(?:async )?(?:const|let|function\*?|class) +([\w$]+)", re.MULTILINE)


@functools.cache
def joined(entry: Path = ENTRY, worker: Path | None = WORKER) -> str:
    """The text of the modules that `entry` needs. worker: the module whose work a worker does.

    Raises ValueError where modules can't be joined, which names them.
    """
    homes = {}
    inside = _in_order(worker) if worker else []
    parts = [_bare(path, homes) for path in inside]
    if inside:
        names = ", ".join(sorted({name for path in inside for name in EXPORTED.findall(path.read_text("utf-8"))}))
        parts = [
            "function workerModules() {",
            *parts,
            f"return {{ {names} }};\n}}\n\nconst {{ {names} }} = workerModules();\n",
        ]
    parts += [_bare(path, homes) for path in _in_order(entry) if path not in inside]
    return "\n".join(["// Joined from the modules in shathenet_utils/lens/js/.\n", *parts])


def _in_order(entry: Path) -> list[Path]:
    """The modules that `entry` needs, each after those that it imports; `entry` is the last."""
    order, open_modules = [], []

    def visit(path: Path):
        if path in open_modules:
            raise ValueError(f"{path.name} imports itself, by way of {open_modules[-1].name}.")
        if path in order:
            return
        open_modules.append(path)
        for name in IMPORT.findall(path.read_text(encoding="utf-8")):
            visit((path.parent / name).resolve())
        order.append(open_modules.pop())

    visit(entry.resolve())
    return order


def _bare(path: Path, homes: dict[str, str]) -> str:
    """A module without imports and exports. homes: where each name so far was declared."""
    text = IMPORT.sub("", path.read_text(encoding="utf-8"))
    for name in DECLARED.findall(text):
        if name in homes:
            raise ValueError(f"{path.name} and {homes[name]} both declare {name}.")
        homes[name] = path.name
    text = re.sub(r"^export (?!default)", "", text, flags=re.MULTILINE)
    if left := re.search(r"^import .*", text, re.MULTILINE):
        raise ValueError(f"{path.name} imports in a way that can't be joined: {left.group()}")
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
