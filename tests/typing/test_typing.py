"""Element types survive a whole chain of calls, for type checkers."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "typing"


@pytest.fixture(scope="module")
def mypy_output():
    """Of both files in one run: most of the time goes into reading Millstream itself."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--hide-error-context", "--no-error-summary", str(FOLDER)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def errors_in(output, name):
    pattern = rf"{re.escape(name)}:(\d+): error: .*\[([\w-]+)\]"
    return {(int(line), code) for line, code in re.findall(pattern, output)}


@pytest.mark.slow
def test_types_are_inferred_through_the_chain(mypy_output):
    for file in FOLDER.glob("inferred*.py"):
        assert not errors_in(mypy_output, file.name), mypy_output


@pytest.mark.slow
def test_mistakes_are_found(mypy_output):
    lines = (FOLDER / "refused.py").read_text().splitlines()
    expected = {
        number: set(line.partition("# error: ")[2].split(","))
        for number, line in enumerate(lines, 1)
        if "# error: " in line
    }
    found = errors_in(mypy_output, "refused.py")
    assert {line for line, _ in found} == set(expected), mypy_output
    assert all(code in expected[line] for line, code in found), mypy_output
