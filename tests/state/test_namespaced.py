"""State per key and window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millstream.core.errors import StateError
from millstream.core.types import Types
from millstream.state.backends import create_backend
from millstream.state.descriptors import (
    AggregatingStateDescriptor,
    ListStateDescriptor,
    MapStateDescriptor,
    ReducingStateDescriptor,
    StateDescriptor,
    ValueStateDescriptor,
)
from millstream.state.namespaced import NamespaceContext, NamespacedStateStore
from tests.state.backend_suite import context_in


@pytest.fixture(params=["hashmap", "rocksdb"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    backend = create_backend(request.param, context_in(tmp_path / "a", cache_entries=2))
    yield backend
    backend.close()


class Store:
    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.context = NamespaceContext()
        self.store = NamespacedStateStore(backend, self.context, Types.STRING(), Types.BIG_INT(), "window:")

    def at(self, key: str, window: int) -> NamespacedStateStore:
        self.backend.end_of_batch()
        self.context.current_key, self.context.current_namespace = key, window
        return self.store


PLACES = [("a", 1), ("a", 2), ("b", 1)]


def test_every_kind_of_state_is_of_one_key_and_window(backend) -> None:
    s = Store(backend)
    value, items = ValueStateDescriptor("v", int), ListStateDescriptor("l", int)
    total = ReducingStateDescriptor("r", lambda a, b: a + b, int)
    for number, place in enumerate(PLACES):
        store = s.at(*place)
        store.get_state(value).update(number)
        store.get_list_state(items).add_all([number, number])
        store.get_reducing_state(total).add(number)
        store.get_reducing_state(total).add(10)
    for number, place in enumerate(PLACES):
        store = s.at(*place)
        assert store.get_state(value).value() == number
        assert store.get_list_state(items).get() == [number, number]
        assert store.get_reducing_state(total).get() == number + 10
    for descriptor in (value, items, total):
        s.at("a", 1).get(descriptor).clear()
    assert s.at("a", 1).get_state(value).value() is None
    assert s.at("a", 1).get_list_state(items).get() == []
    assert s.at("a", 2).get_state(value).value() == 1


def test_a_map_has_all_that_maps_have(backend) -> None:
    s = Store(backend)
    descriptor = MapStateDescriptor("m", str, int)
    for window in (1, 2):
        s.at("a", window).get_map_state(descriptor).put_all({"x": window, "y": 10})
    entries = s.at("a", 1).get_map_state(descriptor)
    entries["z"] = 5
    entries.remove("x")
    entries.remove("missing")
    assert "x" not in entries
    assert entries["z"] == 5
    with pytest.raises(KeyError):
        entries["x"]
    assert sorted(entries.items()) == [("y", 10), ("z", 5)]
    assert sorted(s.at("a", 2).get_map_state(descriptor).keys()) == ["x", "y"]
    assert s.at("b", 1).get_map_state(descriptor).is_empty()
    s.at("a", 1)
    entries.clear()
    assert entries.is_empty()
    s.at("a", 2)
    for key in ("x", "y"):
        entries.remove(key)
    backend.end_of_batch()
    table = backend.table(s.store._table_descriptor(descriptor))
    assert [n for n in table.namespaces() if not table.namespace(n).is_empty()] == []


def test_values_of_a_map_may_be_none(backend) -> None:
    entries = Store(backend).at("a", 1).get_map_state(MapStateDescriptor("m"))
    entries.put("x", None)
    assert entries.contains("x")
    assert entries.get("x") is None
    assert list(entries.items()) == [("x", None)]


class Joined:
    def create_accumulator(self):
        return ""

    def add(self, value, accumulator):
        return accumulator + value

    def get_result(self, accumulator):
        return accumulator.upper()

    def merge(self, acc_a, acc_b):
        return acc_a + acc_b


def test_merging_moves_what_the_key_has_in_other_windows(backend) -> None:
    s = Store(backend)
    items, total = ListStateDescriptor("l", int), ReducingStateDescriptor("r", max, int)
    text = AggregatingStateDescriptor("t", Joined())
    for window in (1, 2, 3):
        for key in "ab":
            store = s.at(key, window)
            store.get_list_state(items).add(window)
            store.get_reducing_state(total).add(window)
            store.get_aggregating_state(text).add(str(window) + key)
    store = s.at("a", 2)
    for descriptor in (items, total, text):
        store.merge(descriptor, [1, 2, 3, 4])
    assert sorted(store.get_list_state(items).get()) == [1, 2, 3]
    assert store.get_reducing_state(total).get() == 3
    assert store.get_aggregating_state(text).get() == "2A1A3A"
    assert s.at("a", 1).get_list_state(items).get() == []
    assert s.at("b", 1).get_list_state(items).get() == [1]


def test_handles_are_found_again_and_names_have_one_declaration(backend) -> None:
    store = Store(backend).at("a", 1)
    descriptor = ValueStateDescriptor("v", int)
    assert store.get(descriptor) is store.get(descriptor)
    for _ in range(200):
        store.get(ValueStateDescriptor("v", int))
    with pytest.raises(StateError, match="declared"):
        store.get(ListStateDescriptor("v", int))
    with pytest.raises(StateError, match="does not declare a state"):
        store.get(StateDescriptor("x", Types.LONG()))
    with pytest.raises(StateError, match="cannot be merged"):
        store.merge(descriptor, [2])
