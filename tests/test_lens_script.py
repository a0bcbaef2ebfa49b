"""The lens's JavaScript: modules that are joined into one file."""

import os
import runpy
import subprocess

import pytest
import typescript

from shathenet_utils.lens import widget

BUILD = widget.SCRIPT.parent / "js" / "build.py"


@pytest.fixture(scope="module")
def joined():
    return runpy.run_path(str(BUILD))["joined"]


def test_the_built_file_holds_todays_modules(joined):
    assert widget.SCRIPT.read_text(encoding="utf-8") == joined(), "run `make lens-script`"


def test_what_cannot_be_joined_is_one_sentence(joined, tmp_path):
    (tmp_path / "a.js").write_text('import { b } from "./b.js";\nexport const a = 1;\n')
    (tmp_path / "b.js").write_text("export const b = 2;\n")
    assert joined(tmp_path / "a.js", None).endswith("const b = 2;\n\nconst a = 1;\n")
    inside = "function workerModules() {\nconst b = 2;\n\nreturn { b };\n}\n\nconst { b } = workerModules();\n"
    inside += "\nconst a = 1;\n"
    assert joined(tmp_path / "a.js", tmp_path / "b.js").endswith(inside), "what a worker needs is a function"
    for text, sentence in (
        ("const a = 2;\n", r"a\.js and b\.js both declare a"),
        ('import { a } from "./a.js";\nexport const b = 2;\n', r"a\.js imports itself, by way of b\.js"),
        ('import * as fs from "fs";\n', r"b\.js imports in a way that can't be joined: import \* as fs"),
    ):
        (tmp_path / "b.js").write_text(text)
        with pytest.raises(SystemExit, match=sentence):
            joined(tmp_path / "a.js", None)


@pytest.mark.slow
def test_types_hold_across_modules():
    command = typescript.find()
    if not command:
        if os.environ.get("CI"):
            pytest.fail(typescript.NONE)
        pytest.skip(typescript.NONE)
    found = subprocess.run([*command, "-p", BUILD.parent], capture_output=True, text=True, check=False, timeout=300)
    assert (found.returncode, found.stdout) == (0, "")
