"""`docs/features.toml`: Flink's features, how each is spelt here, and the tests that prove it.

    python -m scripts.features results.xml

checks that each of these tests passed in a run of pytest that wrote `results.xml` (`--junitxml`).
"""

from __future__ import annotations

import sys
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]


class Feature(NamedTuple):
    """A row of the page of features.

    Args:
        here: how a program spells it; begins with a public name, `Class.method`.
        tests: `tests/x.py::name`, or `tests/x.py::Class::name`, without parameters.
    """

    area: str
    flink: str
    here: str
    tests: tuple[str, ...]


def load_features(path: Path = ROOT / "docs/features.toml") -> list[Feature]:
    """All rows, in the order of the file.

    Raises:
        KeyError: a row lacks a field.
    """
    areas = tomllib.loads(path.read_text(encoding="utf-8"))
    return [
        Feature(area, row["flink"], row["here"], tuple(row["tests"]))
        for area, rows in areas.items()
        for row in rows
    ]


def passed_tests(junit_xml: str) -> set[str]:
    """The tests of a run that were collected and passed with all their parameters, by name without parameters."""
    passed: set[str] = set()
    others: set[str] = set()
    for case in ET.fromstring(junit_xml).iter("testcase"):  # noqa: S314  # written by our own pytest
        name = f"{case.get('classname')}.{case.get('name', '').split('[')[0]}"
        unusual = any(child.tag in {"failure", "error", "skipped"} for child in case)
        (others if unusual else passed).add(name)
    return passed - others


def unproven(features: Iterable[Feature], passed: set[str]) -> list[str]:
    """The tests that features name and that did not pass.

    >>> map_ = Feature("Transformations", "map", "DataStream.map", ("tests/a.py::maps", "tests/a.py::B::maps"))
    >>> unproven([map_], {"tests.a.maps"})
    ['tests/a.py::B::maps (map)']
    """
    return [
        f"{test} ({feature.flink})"
        for feature in features
        for test in feature.tests
        if test.replace(".py::", ".").replace("::", ".").replace("/", ".") not in passed
    ]


def main(arguments: Sequence[str]) -> int:
    """Exit code 1 when a test of a feature did not pass."""
    missing = unproven(load_features(), passed_tests(Path(arguments[0]).read_text(encoding="utf-8")))
    for line in missing:
        print(f"docs/features.toml names a test that did not pass: {line}")
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
