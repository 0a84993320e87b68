"""The programs of the user guide, run; their output is what the pages show."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

import pytest

SNIPPETS = Path(__file__).parents[2] / "docs" / "snippets"
PROGRAMS = sorted(SNIPPETS.glob("*.py"))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_of_the_guide_prints_what_the_page_shows(program, tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(program)])
    runpy.run_path(str(program), run_name="__main__")
    printed = capfd.readouterr().out
    expected = program.with_suffix(".txt")
    if os.environ.get("UPDATE_GOLDEN") == "1":
        expected.write_text(printed, encoding="utf-8")
    assert printed == expected.read_text(encoding="utf-8"), f"{expected.name}: UPDATE_GOLDEN=1 rewrites it"


def test_every_program_prints_something() -> None:
    assert [path.name for path in PROGRAMS if not path.with_suffix(".txt").read_text().strip()] == []
    assert PROGRAMS
