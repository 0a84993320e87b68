"""What the harness counts of state and timers, and how it restores; keyed, connected and broadcast functions."""

from __future__ import annotations

from operator import itemgetter

import pytest

from millstream import (
    BroadcastProcessFunction,
    CheckpointedFunction,
    KeyedBroadcastProcessFunction,
    KeyedCoProcessFunction,
    KeyedProcessFunction,
    ListStateDescriptor,
    MapStateDescriptor,
    ProcessFunction,
    ValueStateDescriptor,
)
from millstream.core.errors import CheckpointError, JobDefinitionError
from millstream.core.types import Types
from millstream.operators.broadcast import BroadcastProcessSpec, KeyedBroadcastProcessSpec
from millstream.operators.co_process import KeyedCoProcessSpec
from millstream.operators.process import KeyedProcessSpec, ProcessSpec
from millstream.testing import OperatorHarness, TwoInputOperatorHarness, W

BACKENDS = pytest.mark.parametrize("backend", ["hashmap", "rocksdb"])
PARALLELISMS = pytest.mark.parametrize("parallelisms", [(1, 1), (1, 3), (3, 1), (2, 5)])
KEY = itemgetter(0)
RULES = MapStateDescriptor("rules", str, int)


# ---- counting


class Session(KeyedProcessFunction):
    """Counts until a timer, one of each kind; a careless one leaves its count behind."""

    def __init__(self, *, careless=False):
        self.careless = careless

    def open(self, runtime_context):
        self.count = runtime_context.get_state(ValueStateDescriptor("count", int))

    def process_element(self, value, ctx):
        self.count.update((self.count.value() or 0) + 1)
        ctx.timer_service().register_event_time_timer(value[1])
        ctx.timer_service().register_processing_time_timer(value[1] + 1_000)

    def on_timer(self, timestamp, ctx):
        yield ctx.get_current_key(), timestamp, self.count.value()
        if timestamp >= 1_000 and not self.careless:
            self.count.clear()


@BACKENDS
@PARALLELISMS
def test_timers_are_counted_by_kind_before_and_after_a_restore(backend, parallelisms) -> None:
    before, after = parallelisms
    h = OperatorHarness(KeyedProcessSpec(KEY, Types.STRING(), Session()), backend=backend, parallelism=before)
    h.batch([("a", 10), ("a", 10), ("a", 20), ("b", 10)])
    assert (h.event_time_timers(), h.processing_time_timers(), h.state_entries()) == (3, 3, 8)
    h = h.restored(parallelism=after)
    assert (h.event_time_timers(), h.processing_time_timers(), h.state_entries()) == (3, 3, 8)
    h.watermark(10)
    assert (h.event_time_timers(), h.processing_time_timers()) == (1, 3)
    h.set_processing_time(1_010)
    h.watermark(20)
    h.set_processing_time(1_020)
    assert (h.event_time_timers(), h.processing_time_timers(), h.state_entries()) == (0, 0, 0)
    h.close()


@BACKENDS
def test_a_state_entry_that_is_left_behind_is_seen(backend) -> None:
    spec = KeyedProcessSpec(KEY, Types.STRING(), Session(careless=True))
    with OperatorHarness(spec, backend=backend, parallelism=2) as h:
        h.batch([("a", 10), ("b", 10)])
        h.watermark(10)
        h.set_processing_time(1_010)
        assert h.event_time_timers() + h.processing_time_timers() == 0
        assert h.state_entries() == 2


# ---- key groups


def test_another_maximum_parallelism_is_refused_for_state_as_in_a_job() -> None:
    h = OperatorHarness(KeyedProcessSpec(KEY, Types.STRING(), Session()), max_parallelism=16)
    h.element(("a", 10))
    with pytest.raises(CheckpointError, match="has max parallelism 32, its state was written with 16"):
        h.restored(max_parallelism=32)
    with h.restored(parallelism=16, max_parallelism=16) as again:
        assert again.state_entries() == 3


def test_without_state_the_maximum_parallelism_may_change() -> None:
    class Same(ProcessFunction):
        def process_element(self, value, ctx):
            yield value

    h = OperatorHarness(ProcessSpec(Same()), max_parallelism=2)
    h.element(1)
    with h.restored(parallelism=4, max_parallelism=8) as again:
        again.element(2)
        assert again.results == [1, 2]


@pytest.mark.parametrize("parallelism", [0, -1, 17])
def test_a_parallelism_outside_of_the_key_groups_is_refused(parallelism) -> None:
    spec = KeyedProcessSpec(KEY, Types.STRING(), Session())
    with pytest.raises(JobDefinitionError, match=f"{parallelism} is not between 1 and .* 16"):
        OperatorHarness(spec, parallelism=parallelism, max_parallelism=16)


@pytest.mark.parametrize("max_parallelism", [3, 7, 1_000])
def test_keys_meet_their_state_whatever_the_number_of_key_groups(max_parallelism) -> None:
    spec = KeyedCoProcessSpec(KEY, KEY, Types.STRING(), Meeting())
    keys = [f"key-{n}" for n in range(50)]
    h = TwoInputOperatorHarness(spec, parallelism=2, max_parallelism=max_parallelism)
    h.batch1([(key, 1) for key in keys], [1] * 50)
    with h.restored(parallelism=3) as again:
        again.batch2([(key, 2) for key in keys], [2] * 50)
        assert sorted(again.results) == sorted((key, 1, 2) for key in keys)
        assert again.state_entries() == 0


# ---- two inputs


class Meeting(KeyedCoProcessFunction):
    """A value of the first input and one of the second, or what waited alone until its timer 100 ms later."""

    def open(self, runtime_context):
        self.waiting = runtime_context.get_state(ValueStateDescriptor("waiting", int))
        self.until = runtime_context.get_state(ValueStateDescriptor("until", int))

    def process_element1(self, value, ctx):
        self.waiting.update(value[1])
        self.until.update(ctx.timestamp() + 100)
        ctx.timer_service().register_event_time_timer(ctx.timestamp() + 100)

    def process_element2(self, value, ctx):
        if self.waiting.value() is not None:
            yield value[0], self.waiting.value(), value[1]
            ctx.timer_service().delete_event_time_timer(self.until.value())
            self.waiting.clear()
            self.until.clear()

    def on_timer(self, timestamp, ctx):
        yield ctx.get_current_key(), self.waiting.value(), None
        self.waiting.clear()
        self.until.clear()


@BACKENDS
@PARALLELISMS
def test_a_keyed_function_of_two_inputs_meets_waits_and_cleans_up(backend, parallelisms) -> None:
    before, after = parallelisms
    spec = KeyedCoProcessSpec(KEY, KEY, Types.STRING(), Meeting())
    h = TwoInputOperatorHarness(spec, backend=backend, parallelism=before)
    h.batch1([("a", 1), ("b", 2)], [10, 20])
    assert (h.state_entries(), h.event_time_timers()) == (6, 2)
    h = h.restored(parallelism=after)
    h.element2(("a", 7), ts=15)
    h.element2(("c", 7), ts=15)
    assert (h.state_entries(), h.event_time_timers()) == (3, 1)
    h.watermark1(120)
    assert h.output == [("a", 1, 7)]
    h.watermark2(119)
    assert h.output[1:] == [W(119)]
    h.status2(idle=True)  # so that the first input alone counts
    assert h.output[2:] == [("b", 2, None), W(120)]
    assert h.state_entries() == 0
    h.close()


# ---- broadcast


class Limits(BroadcastProcessFunction):
    def process_element(self, value, ctx):
        yield value, ctx.get_broadcast_state(RULES).get(value)

    def process_broadcast_element(self, value, ctx):
        ctx.get_broadcast_state(RULES).put(*value)
        yield value


@PARALLELISMS
def test_a_broadcast_record_comes_to_every_subtask_and_its_state_to_every_new_one(parallelisms) -> None:
    before, after = parallelisms
    h = TwoInputOperatorHarness(BroadcastProcessSpec(Limits(), (RULES,)), parallelism=before)
    h.element1("oven")
    h.element2(("oven", 200))
    assert h.results == [("oven", None), *[("oven", 200)] * before]
    h = h.restored(parallelism=after)
    for subtask in range(after):
        h.process(batch("oven"), subtask)
    assert h.results[before + 1 :] == [("oven", 200)] * after
    h.close()


def batch(*values):
    from millstream.core.batch import RecordBatch

    return RecordBatch(list(values), None)


class Waiting(KeyedBroadcastProcessFunction):
    """Readings wait for the limit of their machine, no longer than 50 ms."""

    def open(self, runtime_context):
        self.waiting = runtime_context.get_list_state(ListStateDescriptor("waiting", int))

    def process_element(self, value, ctx):
        limit = ctx.get_broadcast_state(RULES).get(value[0])
        if limit is None:
            self.waiting.add(value[1])
            ctx.timer_service().register_processing_time_timer(
                ctx.timer_service().current_processing_time() + 50
            )
        elif value[1] > limit:
            yield value

    def process_broadcast_element(self, value, ctx):
        machine, limit = value
        ctx.get_broadcast_state(RULES).put(machine, limit)
        above = []

        def check(key, readings):
            if key == machine:
                above.extend((key, reading) for reading in readings.get() if reading > limit)
                readings.clear()

        ctx.apply_to_keyed_state(ListStateDescriptor("waiting", int), check)
        yield from above

    def on_timer(self, timestamp, ctx):
        self.waiting.clear()


@BACKENDS
@PARALLELISMS
def test_a_keyed_function_reads_what_is_broadcast_and_its_keys_wait_for_it(backend, parallelisms) -> None:
    before, after = parallelisms
    spec = KeyedBroadcastProcessSpec(KEY, Types.STRING(), Waiting(), (RULES,))
    h = TwoInputOperatorHarness(spec, backend=backend, parallelism=before)
    h.batch1([("oven", 250), ("oven", 150), ("press", 9), ("lathe", 3)])
    assert (h.state_entries(), h.processing_time_timers()) == (6, 3)
    h = h.restored(parallelism=after)
    h.element2(("oven", 200))
    assert h.results == [("oven", 250)]
    assert h.state_entries() == 5
    h = h.restored(parallelism=before)
    h.batch1([("oven", 201), ("oven", 200)])
    assert h.results[1:] == [("oven", 201)]
    h.set_processing_time(50)
    assert (h.state_entries(), h.processing_time_timers()) == (0, 0)
    h.close()


# ---- operator state


class Buffer(ProcessFunction, CheckpointedFunction):
    def initialize_state(self, context):
        self.state = context.get_operator_state_store().get_list_state(ListStateDescriptor("held", int))
        self.held = list(self.state.get())

    def snapshot_state(self, context):
        self.state.update(self.held)

    def process_element(self, value, ctx):
        self.held.append(value)
        yield sum(self.held)


@pytest.mark.parametrize("parallelism", [1, 2])
def test_the_state_of_an_operator_without_keys_is_shared_out_again(parallelism) -> None:
    h = OperatorHarness(ProcessSpec(Buffer()))
    h.batch([1, 2, 4])
    h = h.restored(parallelism=parallelism)
    h.element(0)
    assert h.results[:3] == [1, 3, 7]
    assert h.results[3] == {1: 7, 2: 5}[parallelism]
    h.close()
