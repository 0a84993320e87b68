"""Operator state and records in flight, read by a program whose classes have changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from millstream.core.errors import StateError
from millstream.core.types import Row, TypeInformation, Types, classes, register_classes
from millstream.operators.operator_state import OperatorStateStore
from millstream.operators.stored_records import RecordItems
from millstream.state.descriptors import ListStateDescriptor, MapStateDescriptor
from tests.core.test_types_evolution import version

LONG, STRING = Types.LONG(), Types.STRING()


@pytest.fixture(autouse=True)
def _own_registry() -> Iterator[None]:
    before = dict(classes._REGISTERED)
    yield
    classes._REGISTERED.clear()
    classes._REGISTERED.update(before)
    register_classes([])


def first(kind: str) -> tuple[TypeInformation[Any], Any]:
    """A type with the fields a and b, and a value of it."""
    if kind == "row":
        return Types.ROW_NAMED(["a", "b"], [Types.INT(), STRING]), Row(a=1, b="x")
    info: Any = version(kind, ("a", int), ("b", str))
    return info, info.cls(a=1, b="x")


def second(kind: str) -> tuple[TypeInformation[Any], Any]:
    """The type with the fields c and a, and what has become of the value."""
    if kind == "row":
        return Types.ROW_NAMED(["c", "a"], [STRING, LONG]), Row(c=None, a=1)
    info: Any = version(kind, ("c", str, "new"), ("a", int, 0))
    return info, info.cls(c="new", a=1)


KINDS = ["dataclass", "struct", "namedtuple", "row"]


@pytest.mark.parametrize("kind", KINDS)
class TestEvolving:
    def test_lists_and_broadcast_state(self, kind: str) -> None:
        info, value = first(kind)
        store = OperatorStateStore({})
        store.get_list_state(ListStateDescriptor("list", info)).add(value)
        store.get_union_list_state(ListStateDescriptor("union", info)).add(value)
        store.get_broadcast_state(MapStateDescriptor("map", int, info)).put(5, value)
        written = store.snapshot()
        carried = OperatorStateStore(written).snapshot()
        assert carried == written

        info, value = second(kind)
        store = OperatorStateStore(carried)
        assert store.get_list_state(ListStateDescriptor("list", info)).get() == [value]
        assert store.get_union_list_state(ListStateDescriptor("union", info)).get() == [value]
        assert dict(store.get_broadcast_state(MapStateDescriptor("map", int, info)).items()) == {5: value}
        store = OperatorStateStore(store.snapshot())
        assert store.get_list_state(ListStateDescriptor("list", info)).get() == [value]

    def test_records_in_flight(self, kind: str) -> None:
        info, value = first(kind)
        written = RecordItems("queue", info).lists([(value, 7), (value, None)])
        info, value = second(kind)
        assert list(RecordItems("queue", info).restored(written)) == [(value, 7), (value, None)]

    def test_what_does_not_fit_is_refused_before_anything_is_read(self, kind: str) -> None:
        info, value = first(kind)
        store = OperatorStateStore({})
        store.get_list_state(ListStateDescriptor("list", info)).add(value)
        written = {**store.snapshot(), **RecordItems("queue", info).lists([(value, 7)])}
        if kind == "row":
            changed: Any = Types.ROW_NAMED(["a"], [STRING])
        else:
            changed = version(kind, ("a", str, ""))
        with pytest.raises(StateError, match=r"the field 'a' of .* was (LONG|INT) and is STRING"):
            OperatorStateStore(written).get_list_state(ListStateDescriptor("list", changed))
        with pytest.raises(StateError, match=r"records in 'queue': .* was (LONG|INT) and is STRING"):
            list(RecordItems("queue", changed).restored(written))


def test_parts_that_were_written_differently_are_read_where_they_tell_themselves_how() -> None:
    """As when one subtask had not asked for the state in the run in between."""
    for kind, is_read in (("dataclass", True), ("row", False)):
        info, value = first(kind)
        one = RecordItems("queue", info).lists([(value, 1)])
        info, value = second(kind)
        two = RecordItems("queue", info).lists([(value, 2)])
        both = {name: one[name] + two[name] for name in one}
        if is_read:
            assert list(RecordItems("queue", info).restored(both)) == [(value, 1), (value, 2)]
        else:
            with pytest.raises(StateError, match="written with 2 types"):
                list(RecordItems("queue", info).restored(both))


def test_lists_of_releases_without_schemas_are_read_as_declared() -> None:
    info, value = first("struct")
    written = RecordItems("queue", info).lists([(value, 1)])
    info, value = second("struct")
    assert list(RecordItems("queue", info).restored({"queue": written["queue"]})) == [(value, 1)]
