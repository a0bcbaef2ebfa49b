"""Records were renamed once; no number, prediction or curve in them changed.

`records_before_migration.json` was written before: a digest of each file's measured content → the file's path then.
"""

import hashlib
import json
from pathlib import Path

from shathenet_utils import ROOT

BEFORE = Path(__file__).with_name("records_before_migration.json")
ADDED = ("schema", "validation_labels")  # to the facts, since
MEASURED = (
    "seed", "status", "split", "parameters", "macs", "epochs", "history", "validation_accuracy", "test_accuracy",
    "test_accuracy_flip", "test_accuracy_tta", "test_predictions", "seconds", "precision", "threads", "machine",
    "versions", "date",
)  # fmt: skip

MEASURED_AGAIN = {"bench/waterfall.json"}
"""Files whose measurement a later one has replaced, with more contenders."""


def leaves(value):
    """Numbers and long texts (predictions, images) in the order in which a file holds them; names don't count."""
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, int | float) or (isinstance(value, str) and len(value) > 500):
        yield value


def digest(path: Path) -> str:
    """Of what was measured."""
    record = json.loads(path.read_text(encoding="utf-8"))
    if "config_hash" in record:
        record["split"].pop("digest", None)  # added since
        kept = [record[key] for key in MEASURED]
        files = [entry["sha256"] for entry in (record["weights"] or {}).values()]
        content = [kept, files]
    else:
        content = [value for key, item in record.items() if key not in ADDED for value in leaves(item)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def digests(folder: Path = ROOT / "data" / "records") -> dict[str, str]:
    """Digest → path from the folder."""
    paths = sorted(path for path in folder.rglob("*.json"))
    return {digest(path): path.relative_to(folder).as_posix() for path in paths}


def test_every_number_of_the_records_before_is_there_still():
    before = json.loads(BEFORE.read_text(encoding="utf-8"))
    now = digests()
    lost = {path for found, path in before.items() if found not in now}
    assert lost == MEASURED_AGAIN


def test_a_changed_number_is_found(tmp_path):
    path = ROOT / "data" / "records" / "v1_0" / "adam_1e-3" / "seed0.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["history"]["loss"][3] += 1e-9
    (tmp_path / "changed.json").write_text(json.dumps(record))
    assert digest(tmp_path / "changed.json") != digest(path)
