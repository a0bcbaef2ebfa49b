"""The lens's JavaScript: modules that are joined into one file."""

import runpy

import pytest

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
    assert joined(tmp_path / "a.js").endswith("const b = 2;\n\nconst a = 1;\n")
    for text, sentence in (
        ("const a = 2;\n", r"a\.js and b\.js both declare a"),
        ('import { a } from "./a.js";\nexport const b = 2;\n', r"a\.js imports itself, by way of b\.js"),
        ('import * as fs from "fs";\n', r"b\.js imports in a way that can't be joined: import \* as fs"),
    ):
        (tmp_path / "b.js").write_text(text)
        with pytest.raises(SystemExit, match=sentence):
            joined(tmp_path / "a.js")
