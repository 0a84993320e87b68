"""Element types survive a whole chain of calls, for mypy and for pyright: what `accepted/` holds passes, and of `refused/` each
statement with a comment `# error: <codes of mypy>; <rules of pyright>` fails, for one or several of these reasons."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
ACCEPTED, REFUSED = (sorted((FOLDER / name).glob("*.py")) for name in ("accepted", "refused"))
FOLLOWING = {"reportUnknownMemberType", "reportUnknownLambdaType", "reportUnknownArgumentType"}
"""Rules of pyright that say that a type is lost after another mistake."""

pytestmark = pytest.mark.slow


def output_of(*command):
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, check=False, cwd=FOLDER.parents[1]
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr  # otherwise nothing was checked
    return done.stdout


def mypy_errors():
    """Of all files in one run: most of the time goes into reading Millstream itself."""
    flags = ("--strict", "--hide-error-context", "--no-error-summary", "--no-pretty")
    output = output_of("mypy", *flags, *map(str, ACCEPTED + REFUSED))
    return [
        (Path(file).resolve(), int(line), code, message)
        for file, line, message, code in re.findall(
            r"^(.+?\.py):(\d+): error: (.*?)  \[([\w-]+)\]$", output, re.MULTILINE
        )
    ]


def pyright_errors():
    """As `mypy_errors`; pyright comes as basedpyright, which brings the interpreter it runs in."""
    settings = ("--project", str(FOLDER / "pyrightconfig.json"), "--pythonpath", sys.executable)
    report = json.loads(output_of("basedpyright", "--outputjson", *settings))
    assert report["summary"]["filesAnalyzed"] == len(ACCEPTED + REFUSED)
    return [
        (Path(found["file"]).resolve(), found["range"]["start"]["line"] + 1, found["rule"], found["message"])
        for found in report["generalDiagnostics"]
        if found["severity"] == "error" and found["rule"] not in FOLLOWING
    ]


CHECKERS = {"mypy": mypy_errors, "pyright": pyright_errors}


@pytest.fixture(scope="module", params=CHECKERS)
def checker(request):
    """Its name, and what it found: (file, line, code, message)."""
    return request.param, CHECKERS[request.param]()


def test_types_are_inferred_through_every_transformation(checker):
    _, errors = checker
    assert [error for error in errors if error[0] in ACCEPTED] == []
    assert sum(file.read_text().count("assert_type(") for file in ACCEPTED) > 100


@pytest.mark.parametrize("file", REFUSED, ids=lambda file: file.stem)
def test_mistakes_are_found(checker, file):
    name, errors = checker
    statement_of = innermost_statements(file)
    expected = expected_errors(file, name, statement_of)
    found = [(statement_of[line], code, message) for path, line, code, message in errors if path == file]
    assert {statement for statement, _, _ in found} == set(expected), found
    assert [error for error in found if error[1] not in expected[error[0]]] == []


def expected_errors(file, checker, statement_of):
    """For the first line of a statement, the codes it may be refused with."""
    marked = {
        statement_of[number]: line.partition("# error: ")[2].split("; ")
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if "# error: " in line
    }
    position = tuple(CHECKERS).index(checker)
    return {statement: set(codes[position].split(",")) for statement, codes in marked.items()}


def innermost_statements(file):
    """For each line, the first line of the innermost statement that it belongs to."""
    statements = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.stmt)]
    return {
        line: node.lineno
        for node in sorted(statements, key=lambda node: node.lineno - node.end_lineno)
        for line in range(node.lineno, node.end_lineno + 1)
    }
