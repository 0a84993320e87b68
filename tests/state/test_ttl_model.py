"""State with time-to-live against a slow, obvious model, whatever the settings, the backend and the moment of a restore.

Where expired values may still be handed out and are cleaned up behind the scenes, either outcome is right; everywhere else
there is one.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millstream import StateTtlConfig
from millstream.state.descriptors import (
    ListStateDescriptor,
    MapStateDescriptor,
    ReducingStateDescriptor,
    ValueStateDescriptor,
)
from tests.state.ttl_operator import TTL, Operator, with_ttl

KEYS = ["a", "b"]

CLEANUPS = {
    "none": lambda builder: builder.disable_cleanup_in_background(),
    "default": lambda builder: builder,
    "accesses": lambda builder: builder.cleanup_incrementally(2, False).disable_cleanup_in_background(),
    "records": lambda builder: builder.cleanup_incrementally(1, True),
    "snapshots": lambda builder: builder.cleanup_full_snapshot().disable_cleanup_in_background(),
    "sweep": lambda builder: builder.cleanup_in_rocksdb_compact_filter(3).disable_cleanup_in_background(),
}
REMOVES_ALL = {"hashmap": ("default", "accesses", "records"), "rocksdb": ("default", "records", "sweep")}


@dataclass
class Model:
    """What the four states of each key hold: pairs of time and value; a sum as the set of what it may be."""

    on_read: bool
    visible: bool
    weak: bool
    now: int = 1_000
    values: dict[str, tuple[int, int]] = field(default_factory=dict)
    lists: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    maps: dict[str, dict[int, tuple[int, int]]] = field(default_factory=dict)
    sums: dict[str, tuple[int, set[int]]] = field(default_factory=dict)

    def alive(self, pair: tuple[int, Any]) -> bool:
        return pair[0] + TTL > self.now

    def read(self, entries: dict[Any, tuple[int, Any]], key: Any) -> list[Any]:
        """What reading may give; afterwards there is no doubt what is left."""
        pair = entries.get(key)
        if pair is None:
            return [None]
        if self.alive(pair):
            if self.on_read:
                entries[key] = self.now, pair[1]
            return [pair[1]]
        del entries[key]
        return [None] if not self.visible else [pair[1], None] if self.weak else [pair[1]]

    def add(self, key: str, number: int) -> None:
        pair = self.sums.get(key)
        possible = {number}
        if pair is not None and (self.alive(pair) or self.visible):
            possible = {value + number for value in pair[1]}
            if self.weak and not self.alive(pair):
                possible.add(number)
        self.sums[key] = self.now, possible

    def read_list(self, key: str, found: list[int]) -> None:
        """Checks what was read, and keeps what is left."""
        pairs = self.lists.pop(key, [])
        alive = [pair for pair in pairs if self.alive(pair)]
        shown = [
            pair for pair in pairs if pair in alive or (self.visible and (pair[1] in found or not self.weak))
        ]
        assert found == [number for _, number in shown]
        if alive:
            self.lists[key] = [(self.now, number) for _, number in alive] if self.on_read else shown

    def read_items(self, key: str, found: dict[int, int]) -> None:
        """As `read_list`."""
        entries = self.maps.get(key, {})
        for subkey in list(entries):
            assert found.pop(subkey, None) in self.read(entries, subkey)
        assert not found

    def seen_empty(self, key: str, found: bool) -> None:
        pairs = self.maps.get(key, {}).values()
        if any(map(self.alive, pairs)):
            assert not found
        elif not self.weak:
            assert found == (not self.visible or not pairs)


class Run:
    """An operator and the model of it, taking the same steps."""

    def __init__(self, kind: str, folder: Path, on_read: bool, visible: bool, cleanup: str) -> None:
        builder = StateTtlConfig.new_builder(TTL)
        if on_read:
            builder.update_ttl_on_read_and_write()
        if visible:
            builder.return_expired_if_not_cleaned_up()
        CLEANUPS[cleanup](builder)
        self.descriptors = [
            ValueStateDescriptor("value", int),
            ListStateDescriptor("list", int),
            MapStateDescriptor("map", int, int),
            ReducingStateDescriptor("sum", int.__add__, int),
        ]
        for descriptor in self.descriptors:
            with_ttl(descriptor, builder)
        self.model = Model(on_read, visible, weak=visible and cleanup != "none")
        self.operator = Operator(kind, folder)
        self.pending: Any = None
        self.number = 0
        self.open()

    def open(self) -> None:
        store = self.operator.store
        self.value, self.list, self.map, self.sum = map(store.get_any_state, self.descriptors)

    def step(self, name: str, key: str, argument: int, wait_ms: int) -> None:
        self.operator.clock.advance(wait_ms)
        self.model.now += wait_ms
        self.operator.keys.current_key = key
        self.number += 1
        getattr(self, name)(key, argument, self.number)

    def update(self, key: str, _: int, number: int) -> None:
        self.value.update(number)
        self.model.values[key] = self.model.now, number

    def read(self, key: str, _: int, __: int) -> None:
        assert self.value.value() in self.model.read(self.model.values, key)

    def append(self, key: str, argument: int, number: int) -> None:
        self.list.add_all([number * 10 + n for n in range(argument)])
        added = [(self.model.now, number * 10 + n) for n in range(argument)]
        if added:
            self.model.lists.setdefault(key, []).extend(added)

    def replace(self, key: str, _: int, number: int) -> None:
        self.list.update([number * 10])
        self.model.lists[key] = [(self.model.now, number * 10)]

    def elements(self, key: str, _: int, __: int) -> None:
        self.model.read_list(key, self.list.get())

    def put(self, key: str, argument: int, number: int) -> None:
        self.map.put(argument, number)
        self.model.maps.setdefault(key, {})[argument] = self.model.now, number

    def get(self, key: str, argument: int, __: int) -> None:
        assert self.map.get(argument) in self.model.read(self.model.maps.get(key, {}), argument)

    def contains(self, key: str, argument: int, __: int) -> None:
        expected = self.model.read(self.model.maps.get(key, {}), argument)
        assert self.map.contains(argument) in [value is not None for value in expected]

    def remove(self, key: str, argument: int, __: int) -> None:
        self.map.remove(argument)
        self.model.maps.get(key, {}).pop(argument, None)

    def items(self, key: str, _: int, __: int) -> None:
        self.model.read_items(key, dict(self.map.items()))

    def empty(self, key: str, _: int, __: int) -> None:
        self.model.seen_empty(key, self.map.is_empty())

    def add(self, key: str, _: int, number: int) -> None:
        self.sum.add(number)
        self.model.add(key, number)

    def total(self, key: str, _: int, __: int) -> None:
        found = self.sum.get()
        possible = self.model.read(self.model.sums, key)
        assert any(found is p if p is None else found in p for p in possible)
        if found is not None and key in self.model.sums:
            self.model.sums[key] = self.model.sums[key][0], {found}

    def clear(self, key: str, argument: int, __: int) -> None:
        (self.value, self.list, self.map, self.sum)[argument].clear()
        model = self.model
        (model.values, model.lists, model.maps, model.sums)[argument].pop(key, None)

    def batch(self, *_: Any) -> None:
        self.operator.backend.end_of_batch()

    def freeze(self, *_: Any) -> None:
        """A snapshot that is written after later steps; it is not restored."""
        if self.pending is None:
            self.pending = self.operator.backend.snapshot(1_000 + self.number)

    def thaw(self, *_: Any) -> None:
        if self.pending is not None:
            checkpoints = self.operator.checkpoints
            self.pending.write(checkpoints.streams(1_000 + self.number))
            self.pending.release()
            self.pending = None

    def restore(self, *_: Any) -> None:
        self.thaw()
        self.operator.restore()
        self.open()

    def end(self) -> None:
        """After the last time to live nothing can be seen, and where something cleans up, nothing is there."""
        self.thaw()
        self.operator.clock.advance(TTL)
        self.model.now += TTL
        for _ in range(60):
            self.operator.keys.current_key = "idle"
            for state in (self.value, self.list, self.map, self.sum):
                state.clear()
            self.operator.backend.end_of_batch()

    def entries(self) -> int:
        return sum(map(self.operator.entries, self.descriptors))


OF_EACH = {
    "values": ["update", "read"],
    "lists": ["append", "append", "replace", "elements"],
    "maps": ["put", "put", "get", "contains", "remove", "items", "empty"],
    "sums": ["add", "total"],
}
OF_THE_OPERATOR = ["clear", "batch", "freeze", "thaw", "restore"]
WAITS = [0, 0, 40, 60, 60, TTL - 1, TTL]


def steps_of(names: list[str]) -> st.SearchStrategy[list[tuple[str, str, int, int]]]:
    step = st.tuples(
        st.sampled_from(names), st.sampled_from(["a", *KEYS]), st.integers(0, 3), st.sampled_from(WAITS)
    )
    return st.lists(step, min_size=15, max_size=40)


# Mostly one kind of state at a time: so that what belongs together comes together.
PROGRAMS = st.one_of(
    *(steps_of([*names * 4, *OF_THE_OPERATOR]) for names in OF_EACH.values()),
    steps_of([*(name for names in OF_EACH.values() for name in names), *OF_THE_OPERATOR]),
)


@pytest.mark.parametrize("kind", ["hashmap", "rocksdb"])
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    on_read=st.booleans(),
    visible=st.booleans(),
    cleanup=st.sampled_from(sorted(CLEANUPS)),
    steps=PROGRAMS,
)
def test_state_does_what_the_model_does(
    kind: str, on_read: bool, visible: bool, cleanup: str, steps: list[tuple[str, str, int, int]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = Run(kind, Path(folder), on_read, visible, cleanup)
        for step in steps:
            run.step(*step)
        run.end()
        if cleanup in REMOVES_ALL[kind]:
            assert run.entries() == 0
        for key in KEYS:
            for name in ("read", "elements", "items", "empty", "total"):
                run.step(name, key, 0, 0)
        assert run.entries() == 0, "reading removes what has expired"
        run.operator.backend.close()
