from __future__ import annotations

from operator import itemgetter

import pytest

from millstream import JobDefinitionError, StateTtlConfig, StreamExecutionEnvironment
from millstream.core.types import Types
from millstream.operators.functions import KeyedProcessFunction, MapFunction
from millstream.operators.keyed_functions import KeyedMapSpec
from millstream.operators.process import KeyedProcessSpec
from millstream.state.descriptors import (
    ListStateDescriptor,
    MapStateDescriptor,
    ReducingStateDescriptor,
    ValueStateDescriptor,
)

TTL = 1_000


class Memory(KeyedProcessFunction):
    """Keeps each number in four states and gives what they hold; with None it only reads."""

    def __init__(self, builder: StateTtlConfig.Builder) -> None:
        self.builder = builder

    def open(self, runtime_context):
        last, seen = ValueStateDescriptor("last", int), ListStateDescriptor("seen", int)
        counts, total = (
            MapStateDescriptor("counts", int, int),
            ReducingStateDescriptor("total", int.__add__, int),
        )
        for descriptor in (last, seen, counts, total):
            descriptor.enable_time_to_live(self.builder.build())
        self.last = runtime_context.get_state(last)
        self.seen = runtime_context.get_list_state(seen)
        self.counts = runtime_context.get_map_state(counts)
        self.total = runtime_context.get_reducing_state(total)

    def process_element(self, value, ctx):
        key, number = value
        if number is not None:
            self.last.update(number)
            self.seen.add(number)
            self.counts.put(number, (self.counts.get(number) or 0) + 1)
            self.total.add(number)
        yield key, self.last.value(), self.seen.get(), dict(self.counts.items()), self.total.get()


def memory(builder: StateTtlConfig.Builder) -> KeyedProcessSpec:
    return KeyedProcessSpec(itemgetter(0), Types.STRING(), Memory(builder))


def test_what_a_function_keeps_expires_whatever_happens_to_its_operator(start) -> None:
    h = start(memory(StateTtlConfig.new_builder(TTL)))
    h.batch([("a", 1), ("b", 7)])
    h.pause()
    h.set_processing_time(600)
    h.element(("a", 2))
    h.pause()
    h.set_processing_time(999)
    h.element(("a", None))
    h.set_processing_time(1_000)
    h.batch([("a", None), ("b", None)])
    h.pause()
    h.set_processing_time(1_599)
    h.element(("a", None))
    h.set_processing_time(1_600)
    h.element(("a", None))
    assert h.results == [
        ("a", 1, [1], {1: 1}, 1),
        ("b", 7, [7], {7: 1}, 7),
        ("a", 2, [1, 2], {1: 1, 2: 1}, 3),
        ("a", 2, [1, 2], {1: 1, 2: 1}, 3),
        ("a", 2, [2], {2: 1}, 3),
        ("b", None, [], {}, None),
        ("a", 2, [2], {2: 1}, 3),
        ("a", None, [], {}, None),
    ]
    assert h.state_entries() == 0


def test_reading_keeps_state_alive_where_that_is_asked_for(start) -> None:
    h = start(memory(StateTtlConfig.new_builder(TTL).update_ttl_on_read_and_write()))
    h.element(("a", 1))
    for now in (900, 1_800, 2_700):
        h.set_processing_time(now)
        h.element(("a", None))
        h.pause()
    h.set_processing_time(3_700)
    h.element(("a", None))
    assert h.results == [("a", 1, [1], {1: 1}, 1)] * 4 + [("a", None, [], {}, None)]


def test_nothing_is_left_once_other_keys_have_kept_the_operator_busy(start) -> None:
    h = start(memory(StateTtlConfig.new_builder(TTL)))
    h.batch([(f"key-{n}", n) for n in range(50)])
    h.pause()
    h.set_processing_time(TTL)
    for _ in range(150):
        h.batch(
            [(f"busy-{n}", None) for n in range(12)]
        )  # some for each subtask: one without input cleans up nothing
    assert h.state_entries() == 0


class Repeats(MapFunction):
    """How often a key came, in a loop of generated code."""

    def open(self, runtime_context):
        builder = StateTtlConfig.new_builder(TTL).cleanup_incrementally(1, run_cleanup_for_every_record=True)
        descriptor = ReducingStateDescriptor("count", int.__add__, int)
        descriptor.enable_time_to_live(builder.build())
        self.count = runtime_context.get_reducing_state(descriptor)

    def map(self, value):
        if value.startswith("nothing"):
            return 0
        self.count.add(1)
        return self.count.get()


def test_a_record_that_uses_no_state_cleans_up_too(start) -> None:
    h = start(KeyedMapSpec(lambda value: value, Types.STRING(), Repeats()))
    h.batch(["a", "b", "a"])
    h.pause()
    h.set_processing_time(TTL)
    for _ in range(20):
        h.batch([f"nothing-{n}" for n in range(12)])
    assert h.state_entries() == 0
    h.element("a")
    assert h.results == [1, 1, 2, *[0] * 240, 1]


def test_broadcast_state_with_time_to_live_is_refused_while_the_program_is_built() -> None:
    descriptor = MapStateDescriptor("rules", str, int)
    descriptor.enable_time_to_live(StateTtlConfig.new_builder(TTL).build())
    stream = StreamExecutionEnvironment.get_execution_environment().from_collection([1])
    with pytest.raises(JobDefinitionError, match="'rules' was declared with time-to-live"):
        stream.broadcast(descriptor)
