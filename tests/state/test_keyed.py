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
    ValueStateDescriptor,
)
from millstream.state.key_context import KeyContext
from millstream.state.keyed import KeyedStateStore
from tests.state.backend_suite import context_in
from tests.state.local_checkpoints import LocalCheckpoints


class Mean:
    def create_accumulator(self) -> tuple[int, int]:
        return 0, 0

    def add(self, value: int, accumulator: tuple[int, int]) -> tuple[int, int]:
        return accumulator[0] + value, accumulator[1] + 1

    def get_result(self, accumulator: tuple[int, int]) -> float:
        return accumulator[0] / accumulator[1]


class Operator:
    """A backend, the key in use, and handles."""

    def __init__(self, kind: Any, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        self.checkpoints = LocalCheckpoints(folder / "checkpoints")
        self.attempt = 0
        self.open(())

    def open(self, handles: tuple[Any, ...]) -> None:
        self.attempt += 1
        context = context_in(
            self.folder / f"{self.attempt}", restored=handles, reader=self.checkpoints, cache_entries=4
        )
        self.backend = create_backend(self.kind, context)
        self.keys = KeyContext()
        self.keys.current_key = "k"
        self.store = KeyedStateStore(self.backend, self.keys, Types.STRING())

    def restore(self) -> None:
        """Everything crosses a snapshot; what happens between the barrier and the failure is lost."""
        pending = self.backend.snapshot(self.attempt)
        handle = pending.write(self.checkpoints.streams(self.attempt))
        pending.release()
        self.backend.close()
        self.open((handle,))


@pytest.fixture(params=["hashmap", "rocksdb"])
def operator(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Operator]:
    operator = Operator(request.param, tmp_path)
    yield operator
    operator.backend.close()


def test_values_belong_to_the_current_key(operator: Operator) -> None:
    descriptor = ValueStateDescriptor("total", int)
    state = operator.store.get_state(descriptor)
    assert state.value() is None
    state.update(1)
    operator.keys.current_key = "other"
    assert state.value() is None
    state.update(2)
    operator.restore()
    state = operator.store.get_state(descriptor)
    assert state.value() == 1
    state.update(None)
    assert state.value() is None
    state.clear()
    operator.keys.current_key = "other"
    assert state.value() == 2
    state.clear()
    assert state.value() is None


def test_false_zero_and_empty_are_values(operator: Operator) -> None:
    state = operator.store.get_state(ValueStateDescriptor("any"))
    for value in (False, 0, "", (), [], {}):
        state.update(value)
        assert state.value() == value
        assert type(state.value()) is type(value)


def test_lists_are_empty_never_missing(operator: Operator) -> None:
    descriptor = ListStateDescriptor("elements", int)
    state = operator.store.get_list_state(descriptor)
    assert state.get() == []
    assert list(state) == []
    state.add(1)
    state.add_all([2, 3])
    operator.restore()
    state = operator.store.get_list_state(descriptor)
    state.add(4)
    assert state.get() == [1, 2, 3, 4]
    state.get().append(5)
    assert state.get() == [1, 2, 3, 4]
    state.update(iter([7]))
    assert state.get() == [7]
    state.update([])
    assert state.get() == []
    state.add_all([])
    assert state.get() == []
    state.clear()
    with pytest.raises(StateError, match="'elements'"):
        state.add(None)


def test_maps_hold_none_and_forgive_missing_keys(operator: Operator) -> None:
    descriptor = MapStateDescriptor("seen", str, None)
    state = operator.store.get_map_state(descriptor)
    assert state.is_empty()
    state.remove("missing")
    state.put("a", None)
    state.put_all({"b": [1], "c": 2})
    state.put_all([("d", 3)])
    operator.restore()
    state = operator.store.get_map_state(descriptor)
    assert dict(state.items()) == {"a": None, "b": [1], "c": 2, "d": 3}
    assert state.contains("a")
    assert "a" in state
    assert "z" not in state
    assert state.get("a") is None
    assert state.get("z") is None
    assert state["a"] is None
    assert state["b"] == [1]
    with pytest.raises(KeyError):
        state["z"]
    state["e"] = 5
    del state["e"]
    with pytest.raises(KeyError):
        del state["e"]
    state.remove("a")
    assert sorted(state.keys()) == sorted(state) == ["b", "c", "d"]
    assert 2 in list(state.values())
    for key in state:  # may be changed while it is gone through
        state.remove(key)
    assert state.is_empty()
    state.put("a", 1)
    operator.keys.current_key = "other"
    assert state.is_empty()
    operator.keys.current_key = "k"
    state.clear()
    assert state.is_empty()
    with pytest.raises(StateError, match="'seen'"):
        state.put(None, 1)  # type: ignore[arg-type]


def test_a_map_value_changed_in_place_and_put_back_stays_out_of_a_running_snapshot(
    operator: Operator,
) -> None:
    descriptor = MapStateDescriptor("lists", str, list[int])
    state = operator.store.get_map_state(descriptor)
    state.put("a", [1])
    state.put("b", [1])
    pending = operator.backend.snapshot(1)
    for key, value in state.items():
        value.append(2)
        state.put(key, value)
    handle = pending.write(operator.checkpoints.streams(1))
    pending.release()
    assert dict(state.items()) == {"a": [1, 2], "b": [1, 2]}
    operator.backend.close()
    operator.open((handle,))
    assert dict(operator.store.get_map_state(descriptor).items()) == {"a": [1], "b": [1]}


def test_reducing_and_aggregating_state(operator: Operator) -> None:
    reducing = ReducingStateDescriptor("max", max, int)
    aggregating = AggregatingStateDescriptor("mean", Mean())
    for values in ([3, 1], [2]):
        largest = operator.store.get_reducing_state(reducing)
        mean = operator.store.get_aggregating_state(aggregating)
        for value in values:
            largest.add(value)
            mean.add(value)
        operator.restore()
    largest, mean = (
        operator.store.get_reducing_state(reducing),
        operator.store.get_aggregating_state(aggregating),
    )
    assert (largest.get(), mean.get()) == (3, 2.0)
    largest.clear()
    mean.clear()
    assert (largest.get(), mean.get()) == (None, None)


def test_an_object_with_reduce_is_a_reduce_function(operator: Operator) -> None:
    class Sum:
        def reduce(self, value1: int, value2: int) -> int:
            return value1 + value2

    state = operator.store.get_reducing_state(ReducingStateDescriptor("sum", Sum(), Types.LONG()))
    state.add(1)
    state.add(2)
    assert state.get() == 3


def test_descriptors_give_back_their_functions() -> None:
    mean = Mean()
    assert ReducingStateDescriptor("max", max, int).get_reduce_function() is max
    assert AggregatingStateDescriptor("mean", mean).get_agg_function() is mean


def test_reducing_to_none_is_an_error(operator: Operator) -> None:
    state = operator.store.get_reducing_state(ReducingStateDescriptor("r", lambda a, b: None))
    state.add(1)
    with pytest.raises(StateError, match="'r' was to become None"):
        state.add(2)


def test_the_same_name_gives_the_same_handle_and_another_kind_an_error(operator: Operator) -> None:
    state = operator.store.get_state(ValueStateDescriptor("x", list[int]))
    assert operator.store.get_state(ValueStateDescriptor("x", list[int])) is state
    with pytest.raises(StateError, match="'x' is declared as ValueState and as ListState"):
        operator.store.get_list_state(ListStateDescriptor("x", int))
    with pytest.raises(StateError, match="'x' is declared twice"):
        operator.store.get_state(ValueStateDescriptor("x", str))


@pytest.mark.parametrize("name", ["", None, 3])
def test_a_state_needs_a_name(name: Any) -> None:
    with pytest.raises(StateError, match="needs a name"):
        ValueStateDescriptor(name)


def test_functions_that_cannot_work_are_refused_when_declared() -> None:
    with pytest.raises(StateError, match="neither takes two values"):
        ReducingStateDescriptor("r", 3)  # type: ignore[arg-type]
    with pytest.raises(StateError, match="lacks add, get_result"):
        AggregatingStateDescriptor("a", type("F", (), {"create_accumulator": lambda self: 0})())
