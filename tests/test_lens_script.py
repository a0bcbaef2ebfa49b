"""The lens's JavaScript: modules that are joined into one text."""

import os
import re
import subprocess

import pytest
import typescript

from shathenet_utils.lens import script


def test_what_a_page_embeds_holds_every_module_once():
    text = script.joined()
    for path in script.MODULES.rglob("*.js"):
        for name in script.EXPORTED.findall(path.read_text(encoding="utf-8")):
            found = re.findall(rf"^(?:const|function\*?|class) {name}\b", text, re.MULTILINE)
            assert len(found) == 1, (path.name, name)
    assert "\nimport " not in text and "\nexport const" not in text


def test_modules_are_joined_in_the_order_of_their_imports(tmp_path):
    (tmp_path / "a.js").write_text('import { b } from "./b.js";\nexport const a = 1;\n')
    (tmp_path / "b.js").write_text("export const b = 2;\n")
    assert script.joined(tmp_path / "a.js", None).endswith("const b = 2;\n\nconst a = 1;\n")
    inside = "function workerModules() {\nconst b = 2;\n\nreturn { b };\n}\n\nconst { b } = workerModules();\n"
    inside += "\nconst a = 1;\n"
    assert script.joined(tmp_path / "a.js", tmp_path / "b.js").endswith(inside), "what a worker needs is a function"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("const a = 2;\n", r"a\.js and b\.js both declare a"),
        ('import { a } from "./a.js";\nexport const b = 2;\n', r"a\.js imports itself, by way of b\.js"),
        ('import * as fs from "fs";\n', r"b\.js imports in a way that can't be joined: import \* as fs"),
    ],
    ids=["a name twice", "a circle", "another import"],
)
def test_what_cannot_be_joined_is_one_sentence(tmp_path, text, sentence):
    (tmp_path / "a.js").write_text('import { b } from "./b.js";\nexport const a = 1;\n')
    (tmp_path / "b.js").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        script.joined(tmp_path / "a.js", None)


@pytest.mark.slow
def test_types_hold_across_modules():
    command = typescript.find()
    if not command:
        if os.environ.get("CI"):
            pytest.fail(typescript.NONE)
        pytest.skip(typescript.NONE)
    found = subprocess.run([*command, "-p", script.MODULES], capture_output=True, text=True, check=False, timeout=300)
    assert (found.returncode, found.stdout) == (0, "")
