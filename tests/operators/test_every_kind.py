"""Every kind of operator on state, in random programs of records, watermarks and the clock, gives the same results in all worlds:
both backends, any batching, restored anywhere at another parallelism or not at all. And nothing is left that should be gone.

What the results should be is said by the tests of each operator.
"""

from __future__ import annotations

import importlib
import pkgutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream import operators
from millstream.operators.base import KeyedSpec
from millstream.operators.combiner import CombinerSpec
from millstream.operators.keyed import ReduceByKeySpec
from millstream.testing import OperatorHarness, TwoInputOperatorHarness
from tests.operators.kinds import KINDS, Kind
from tests.operators.scenario import Scenario, World

PLAIN = World("hashmap")
WORLDS = [
    World("hashmap", parallelisms=(2, 3, 1)),
    World("rocksdb", cache_entries=2, parallelisms=(1, 3, 2)),
]
EXAMPLES = 4
records = st.lists(
    st.tuples(st.integers(1, 2), st.sampled_from("abcd"), st.integers(0, 9), st.integers(-8, 25)),
    min_size=1,
    max_size=5,
)
steps = st.one_of(
    records,
    records,
    st.tuples(st.sampled_from(["watermark", "clock"]), st.integers(0, 9)),
    st.just("pause"),
)


class Run:
    """One program in one world."""

    def __init__(self, kind: Kind, way: str, world: World, folder: Path, *, one_by_one: bool) -> None:
        two = kind.two_inputs and not kind.tagged
        self._kind = kind
        self._one_by_one = one_by_one
        self._watermark = self._now = 0
        harness: Any = TwoInputOperatorHarness if two else OperatorHarness
        self._h = Scenario(kind.spec(way), world, folder, harness)

    def outcome(self, program: list[Any]) -> tuple[list[str], dict[str, list[Any]], int]:
        """Results, side outputs, and how many entries of state are left."""
        h = self._h
        for step in program:
            self._take(step)
        h.set_processing_time(self._now + 1_000)
        h.end_input()
        h.set_processing_time(self._now + 2_000)
        left = h.state_entries()
        h.close()
        return sorted(map(repr, h.results)), {tag: sorted(values) for tag, values in h.side.items()}, left

    def _take(self, step: Any) -> None:
        match step:
            case "pause":
                self._h.pause()
                self._h.watermark(self._watermark)  # watermarks are not state: upstream sends them again
            case ("watermark", gain):
                self._watermark += gain
                self._h.watermark(self._watermark)
            case ("clock", gain):
                self._now += gain
                self._h.set_processing_time(self._now)
            case _:
                self._feed([row for row in step if row[0] == 1 or self._kind.two_inputs])

    def _feed(self, rows: list[Any]) -> None:
        if self._kind.tagged:
            self._send(1, [(number, (key, n)) for number, key, n, _ in rows], rows)
            return
        for number in (1, 2):
            mine = [row for row in rows if row[0] == number]
            self._send(number, [(key, n) for _, key, n, _ in mine], mine)

    def _send(self, number: int, values: list[Any], rows: list[Any]) -> None:
        times = [self._watermark + offset for *_, offset in rows]
        step = 1 if self._one_by_one else max(1, len(values))
        for begin in range(0, len(values), step):
            end = begin + step
            if number == 1:
                self._h.batch(values[begin:end], times[begin:end])
            else:
                self._h.batch2(values[begin:end], times[begin:end])


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_results_are_the_same_in_every_world_and_nothing_is_left(kind: Kind) -> None:
    @settings(max_examples=EXAMPLES)
    @given(way=st.sampled_from(sorted(kind.builds)), program=st.lists(steps, min_size=5, max_size=25))
    def run(way: str, program: list[Any]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            expected = Run(kind, way, PLAIN, Path(folder) / "plain", one_by_one=True).outcome(program)
            if not kind.remembers:
                assert expected[2] == 0
            for number, world in enumerate(WORLDS):
                found = Run(kind, way, world, Path(folder) / str(number), one_by_one=False).outcome(program)
                assert found == expected, world

    run()


OTHERS = {CombinerSpec: "test_combiner.py", ReduceByKeySpec: "test_batch_mode.py"}
"""Operators with a key and without keyed state, and where they are tested."""


def test_no_kind_is_forgotten() -> None:
    modules = [
        importlib.import_module(f"{operators.__name__}.{m.name}")
        for m in pkgutil.iter_modules(operators.__path__)
    ]
    declared = {
        found
        for module in modules
        for found in vars(module).values()
        if isinstance(found, type) and found.__module__ == module.__name__ and found.__name__.endswith("Spec")
    }
    keyed = {
        spec
        for spec in declared
        if "key_selector" in getattr(spec, "__annotations__", {})
        and hasattr(spec, "create")
        and spec is not KeyedSpec
    }
    assert keyed - {type(kind.spec(way)) for kind in KINDS for way in kind.builds} == OTHERS.keys()
