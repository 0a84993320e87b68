"""The rules of timers, of functions with two inputs: they are those of a KeyedProcessFunction (`test_process.py`), in every world."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import pytest

from millstream.core.types import Types
from millstream.operators.broadcast import KeyedBroadcastProcessSpec
from millstream.operators.broadcast_functions import KeyedBroadcastProcessFunction
from millstream.operators.co_functions import KeyedCoProcessFunction
from millstream.operators.co_process import KeyedCoProcessSpec
from millstream.state.descriptors import MapStateDescriptor, ValueStateDescriptor
from millstream.testing import W
from tests.operators.scenario import groups

KEY = itemgetter(0)
RULES = MapStateDescriptor("rules", Types.STRING(), Types.LONG())


class _Timers:
    """Records `(key, (command, time), ...)` register and delete timers, and so does a timer whose time is in `chained`."""

    def __init__(self, chained: dict[int, list[tuple[str, int]]] | None = None) -> None:
        self.chained = chained or {}

    def open(self, runtime_context: Any) -> None:
        self.count = runtime_context.get_state(ValueStateDescriptor("count", Types.LONG()))

    def obey(self, value: Any, ctx: Any) -> None:
        self.count.update((self.count.value() or 0) + 1)
        self._do(value[1:], ctx)

    def on_timer(self, timestamp: int, ctx: Any) -> Any:
        self._do(self.chained.get(timestamp, ()), ctx)
        yield ctx.get_current_key(), ctx.time_domain(), timestamp, self.count.value()

    @staticmethod
    def _do(commands: Any, ctx: Any) -> None:
        for command, time in commands:
            getattr(ctx.timer_service(), command)(time)


class CoTimers(_Timers, KeyedCoProcessFunction[Any, Any, Any, Any]):
    def process_element1(self, value: Any, ctx: Any) -> None:
        self.obey(value, ctx)

    def process_element2(self, value: Any, ctx: Any) -> None:
        self.obey(value, ctx)


class BroadcastTimers(_Timers, KeyedBroadcastProcessFunction[Any, Any, Any, Any]):
    def process_element(self, value: Any, ctx: Any) -> None:
        self.obey(value, ctx)

    def process_broadcast_element(self, value: Any, ctx: Any) -> None:
        """Broadcast records have no key, and so no timers."""


@pytest.fixture(params=["co-process", "broadcast"])
def run(request: pytest.FixtureRequest, start: Any) -> Any:
    """`run(chained)`: the operator, whose first input takes the commands."""

    def make(chained: Any = None) -> Any:
        if request.param == "co-process":
            return start(KeyedCoProcessSpec(KEY, KEY, Types.STRING(), CoTimers(chained)))
        return start(KeyedBroadcastProcessSpec(KEY, Types.STRING(), BroadcastTimers(chained), (RULES,)))

    return make


def at(*times: int) -> list[tuple[str, int]]:
    return [("register_event_time_timer", time) for time in times]


def fired(key: str, time: int, count: int = 1) -> tuple[str, str, int, int]:
    return key, "EVENT_TIME", time, count


def test_event_time_timers_fire_once_and_in_order_ahead_of_the_watermark(run) -> None:
    h = run()
    h.batch1([("a", *at(30, 10, 10)), ("b", *at(20))], [1, 2])
    h.watermark(9)
    h.pause()
    h.watermark(25)
    h.pause()
    h.watermark(30)
    assert groups(h.output) == [W(9), fired("a", 10), fired("b", 20), W(25), fired("a", 30), W(30)]


def test_a_timer_happened_at_its_time(run) -> None:
    h = run()
    h.element1(("a", *at(7)), ts=1)
    h.pause()
    h.watermark(20)
    assert h.timestamps == [7, None]


def test_a_deleted_timer_does_not_fire_and_deleting_none_is_a_no_op(run) -> None:
    h = run()
    h.element1(("a", *at(10, 11), ("delete_event_time_timer", 12)), ts=1)
    h.element1(("b", *at(10)), ts=1)
    h.pause()
    h.element1(("a", ("delete_event_time_timer", 10), ("delete_event_time_timer", 10)), ts=2)
    h.watermark(20)
    assert sorted(h.results) == [fired("a", 11, 2), fired("b", 10)]


def test_a_timer_for_a_time_already_passed_fires_at_once(run) -> None:
    h = run()
    h.watermark(20)
    h.element1(("a", *at(19, 20, 21)), ts=21)
    assert h.results == [fired("a", 19), fired("a", 20)]
    h.pause()
    h.watermark(21)
    assert h.results[2:] == [fired("a", 21)]


def test_timers_registered_by_timers_fire_in_their_place_in_the_order(run) -> None:
    h = run({10: [*at(20, 5, 40, 31), ("delete_event_time_timer", 30)]})
    h.element1(("a", *at(10, 30)), ts=1)
    h.pause()
    h.watermark(35)
    h.pause()
    h.watermark(40)
    times = [result if isinstance(result, W) else result[2] for result in h.output]
    assert times == [10, 5, 20, 31, W(35), 40, W(40)]


def test_processing_time_timers_fire_by_the_clock_and_not_at_the_end_of_the_input(run) -> None:
    h = run()
    h.element1(
        ("a", ("register_processing_time_timer", 50), ("register_processing_time_timer", 100), *at(10**12))
    )
    h.set_processing_time(49)
    assert h.results == []
    h.pause()
    h.set_processing_time(50)
    assert h.results == [("a", "PROCESSING_TIME", 50, 1)]
    h.pause()
    h.end_input()
    assert h.results[1:] == [fired("a", 10**12)]


def test_timers_go_by_the_lesser_watermark_of_both_inputs(run) -> None:
    h = run()
    h.element1(("a", *at(10)), ts=1)
    h.watermark1(100)
    assert h.results == []
    h.pause()
    h.watermark1(100)
    h.watermark2(9)
    assert h.results == []
    h.watermark2(10)
    assert h.output[-2:] == [fired("a", 10), W(10)]
