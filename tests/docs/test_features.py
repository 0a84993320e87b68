"""The page of features names public names and tests that exist."""

from __future__ import annotations

import ast
import importlib
import re
from functools import cache, reduce
from pathlib import Path

import millstream
from scripts.features import Feature, load_features, passed_tests, unproven

ROOT = Path(__file__).parents[2]
MODULES = (
    "millstream.testing",
    "millstream.testing.connectors",
    "millstream.connectors.base",
    "millstream.state_reader",
)


@cache
def names_of_tests(file: str) -> frozenset[str]:
    """Names of the tests in a file, those of its classes as Class::name."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}::{item.name}" for item in node.body if isinstance(item, ast.FunctionDef)}
    return frozenset(names)


def test_each_feature_names_tests_that_exist() -> None:
    missing = []
    for feature in load_features():
        assert feature.tests, f"{feature.flink} names no test"
        for test in feature.tests:
            file, _, name = test.partition("::")
            if not (ROOT / file).is_file() or name not in names_of_tests(file):
                missing.append((feature.flink, test))
    assert missing == []


def test_each_feature_is_spelt_with_a_public_name() -> None:
    assert [feature.here for feature in load_features() if not exists(feature.here)] == []


def exists(here: str) -> bool:
    dotted = re.match(r"[A-Za-z_][\w.]*", here)
    assert dotted, here
    first, *rest = dotted[0].split(".")
    places = [millstream, *map(importlib.import_module, MODULES), *connectors()]
    owner = next((getattr(place, first) for place in places if hasattr(place, first)), None)
    try:
        return owner is not None and reduce(getattr, rest, owner) is not None
    except AttributeError:
        return False


def connectors() -> list[object]:
    return [
        importlib.import_module(f"millstream.connectors.{path.stem}")
        for path in sorted((ROOT / "connectors").iterdir())
        if (path.suffix == ".py" or (path / "__init__.py").is_file()) and path.stem != "__init__"
    ]


def test_no_feature_is_listed_twice() -> None:
    spelt = [feature.here for feature in load_features()]
    assert sorted(spelt) == sorted(set(spelt))


STREAMS = (
    millstream.DataStream,
    millstream.KeyedStream,
    millstream.ConnectedStreams,
    millstream.BroadcastConnectedStream,
    millstream.WindowedStream,
    millstream.AllWindowedStream,
    millstream.JoinedStreams,
    millstream.CoGroupedStreams,
    millstream.IntervalJoin,
    millstream.IntervalJoined,
    millstream.IterativeStream,
    millstream.PartitionWindowedStream,
    millstream.AsyncDataStream,
    millstream.WatermarkStrategy,
)
NO_FEATURES = {"where", "equal_to", "in_event_time", "in_processing_time", "makes_watermarks"}
"""Steps to what the page lists, and what only repeats or refuses."""
KINDS = re.compile(r"\w+(Function|Trigger|Evictor|Windows|Counter|Accumulator|StateBackend|Source|Sink)")


def test_every_method_of_a_stream_and_every_kind_of_function_is_on_the_page() -> None:
    named = set(re.findall(r"\w+", " ".join(feature.here for feature in load_features())))
    methods = {
        name
        for stream in STREAMS
        for name in vars(stream)
        if callable(getattr(stream, name)) and not name.startswith(("_", "get_"))
    }
    others = {"BaseBroadcastProcessFunction", "KeyedStateFunction", "DataStreamSink"}
    kinds = {name for name in millstream.__all__ if KINDS.fullmatch(name)} - others
    assert methods - NO_FEATURES - named == set()
    assert kinds - named == set()


RESULTS = """<testsuites><testsuite>
<testcase classname="tests.a.test_b" name="test_one[heap]"/><testcase classname="tests.a.test_b" name="test_one[rocksdb]"/>
<testcase classname="tests.a.test_b" name="test_two[heap]"/><testcase classname="tests.a.test_b" name="test_two[rocksdb]"><failure/></testcase>
<testcase classname="tests.a.test_b.TestC" name="test_three"/><testcase classname="tests.a.test_b" name="test_four"><skipped/></testcase>
</testsuite></testsuites>"""


def test_a_test_counts_when_it_was_collected_and_all_its_parameters_passed() -> None:
    names = ("one", "two", "four", "five")
    tests = (*(f"tests/a/test_b.py::test_{name}" for name in names), "tests/a/test_b.py::TestC::test_three")
    feature = Feature("Area", "map", "DataStream.map", tests)
    assert unproven([feature], passed_tests(RESULTS)) == [
        f"tests/a/test_b.py::test_{name} (map)" for name in ("two", "four", "five")
    ]
