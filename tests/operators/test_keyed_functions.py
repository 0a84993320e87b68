from __future__ import annotations

import math

import pytest

from millstream.core.types import InvalidKeyError, Types
from millstream.operators.functions import FilterFunction, FlatMapFunction, MapFunction
from millstream.operators.keyed_functions import KeyedFilterSpec, KeyedFlatMapSpec, KeyedMapSpec
from millstream.state.descriptors import ListStateDescriptor, ValueStateDescriptor
from millstream.testing import OperatorHarness, W


class Counted(MapFunction):
    def open(self, runtime_context):
        self.count = runtime_context.get_state(ValueStateDescriptor("count", int))

    def map(self, value):
        self.count.update((self.count.value() or 0) + 1)
        return value, self.count.value()


class FirstOfKey(FilterFunction):
    def open(self, runtime_context):
        self.seen = runtime_context.get_state(ValueStateDescriptor("seen", bool))

    def filter(self, value):
        is_first = self.seen.value() is None
        self.seen.update(True)
        return is_first


class Pairs(FlatMapFunction):
    """Records of a key two by two."""

    def open(self, runtime_context):
        self.waiting = runtime_context.get_list_state(ListStateDescriptor("waiting", str))

    def flat_map(self, value):
        waiting = list(self.waiting.get())
        if waiting:
            self.waiting.clear()
            return [(waiting[0], value)]
        self.waiting.add(value)
        return None


def first_letter(value):
    return value[0]


def test_a_map_counts_per_key(start) -> None:
    h = start(KeyedMapSpec(first_letter, Types.STRING(), Counted()))
    h.batch(["a1", "b1", "a2"], [1, 2, 3])
    h.watermark(3)
    h.pause()
    h.batch(["a3"], [4])
    h.pause()
    h.batch(["b2"])
    assert h.output == [("a1", 1), ("b1", 1), ("a2", 2), W(3), ("a3", 3), ("b2", 2)]
    assert h.timestamps == [1, 2, 3, None, 4, None]
    assert h.state_entries() == 2


def test_a_filter_lets_the_first_of_each_key_pass(start) -> None:
    h = start(KeyedFilterSpec(first_letter, Types.STRING(), FirstOfKey()))
    h.batch(["a1", "a2"], [1, 2])
    h.pause()
    h.batch(["a3", "b1"], [3, 4])
    assert h.output == ["a1", "b1"]
    assert h.timestamps == [1, 4]


def test_a_flat_map_gives_any_number_and_leaves_nothing_behind(start) -> None:
    h = start(KeyedFlatMapSpec(first_letter, Types.STRING(), Pairs()))
    h.batch(["a1", "b1"])
    h.pause()
    h.batch(["b2"])
    h.pause()
    h.batch(["a2"])
    assert h.results == [("b1", "b2"), ("a1", "a2")]
    assert h.state_entries() == 0


@pytest.mark.parametrize("key", [None, math.nan, [1], "text"])
def test_what_cannot_be_a_key_is_an_error_where_it_is_computed(key) -> None:
    with (
        OperatorHarness(KeyedMapSpec(lambda value: key, Types.LONG(), Counted())) as h,
        pytest.raises(InvalidKeyError),
    ):
        h.element("a")


def test_functions_are_opened_and_closed() -> None:
    calls = []

    class Living(MapFunction):
        def open(self, runtime_context):
            calls.append(runtime_context.get_index_of_this_subtask())

        def map(self, value):
            return value

        def close(self):
            calls.append("closed")

    with OperatorHarness(KeyedMapSpec(first_letter, Types.STRING(), Living())) as h:
        h.element("a")
    assert calls == [0, "closed"]
