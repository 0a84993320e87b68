"""Checks S3: small files, small functions.

A module has at most 400 lines (more is reported, more than 600 is an error), a function at most 40 lines of code (more
than 80 is an error), docstrings, comments and blank lines not counted. Nesting is at most three deep (more is reported,
more than five is an error). Arguments: folders; default: the layers and the API.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

FOLDERS: Final = (
    "core",
    "state",
    "checkpoint",
    "connectors",
    "operators",
    "runtime",
    "millstream",
    "examples",
    "benchmarks",
)
_NESTS: Final = (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.Match, ast.AsyncFor, ast.AsyncWith)


class Limit(NamedTuple):
    """What is wanted, and what fails the check."""

    wanted: int
    most: int


MODULE_LINES: Final = Limit(400, 600)
FUNCTION_LINES: Final = Limit(40, 80)
NESTING: Final = Limit(3, 5)


class Finding(NamedTuple):
    """One thing that is larger than wanted."""

    where: str
    what: str
    size: int
    limit: Limit


def main(folders: list[str]) -> int:
    """Prints what is too large, errors last; returns the exit status."""
    findings = [
        finding
        for folder in folders or FOLDERS
        for path in sorted(_modules(Path(folder)))
        for finding in _check(path)
        if finding.size > finding.limit.wanted
    ]
    errors = [finding for finding in findings if finding.size > finding.limit.most]
    for finding in sorted(findings, key=lambda f: (f in errors, f.what, f.size)):
        severity = "error" if finding in errors else "note"
        bound = finding.limit.most if finding in errors else finding.limit.wanted
        print(f"{finding.where}: {severity}: {finding.what} {finding.size}, at most {bound} (S3)")
    print(f"sizes: {len(errors)} errors, {len(findings) - len(errors)} notes")
    return 1 if errors else 0


def _modules(folder: Path) -> Iterator[Path]:
    """Every module below a folder; links are not followed, so each file comes once."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_symlink():
            continue
        if path.is_dir():
            yield from _modules(path)
        elif path.suffix == ".py":
            yield path


def _check(path: Path) -> Iterator[Finding]:
    text = path.read_text(encoding="utf-8")
    yield Finding(str(path), "lines in the module", len(text.splitlines()), MODULE_LINES)
    code_lines = [bool(line.strip()) and not line.strip().startswith("#") for line in text.splitlines()]
    for node in ast.walk(ast.parse(text, filename=str(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            where = f"{path}:{node.lineno} {node.name}"
            body = _without_docstring(node)
            first, last = (body[0].lineno, node.end_lineno or node.lineno) if body else (1, 0)
            yield Finding(
                where, "lines of code in the function", sum(code_lines[first - 1 : last]), FUNCTION_LINES
            )
            yield Finding(where, "levels of nesting", _depth(body), NESTING)


def _without_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.stmt]:
    return node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body


def _depth(body: list[ast.stmt]) -> int:
    """How many compound statements enclose the deepest one; an `elif` is no deeper than its `if`."""
    return max((_depth_of(statement) for statement in body), default=0)


def _depth_of(statement: ast.stmt) -> int:
    if not isinstance(statement, _NESTS):
        return 0
    inner = 0
    for name, value in ast.iter_fields(statement):
        for child in value if isinstance(value, list) else ():
            is_elif = name == "orelse" and isinstance(child, ast.If) and len(value) == 1
            match child:
                case ast.stmt():
                    inner = max(inner, _depth_of(child) - (1 if is_elif else 0))
                case ast.ExceptHandler() | ast.match_case():
                    inner = max(inner, _depth(child.body))
    # `match` costs one level for its cases, as `if` does.
    return inner + 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
