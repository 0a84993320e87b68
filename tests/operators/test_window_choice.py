from __future__ import annotations

from dataclasses import replace

import pytest

from millstream.operators.count_triggers import CountTrigger, PurgingTrigger
from millstream.operators.evictors import CountEvictor
from millstream.operators.functions import ProcessWindowFunction
from millstream.operators.session_windows import EventTimeSessionWindows
from millstream.operators.time_triggers import EventTimeTrigger
from millstream.operators.window import WindowSpec
from millstream.operators.window_choice import choose_window_operator
from millstream.operators.windowing import (
    SlidingEventTimeWindows,
    TumblingEventTimeWindows,
    TumblingProcessingTimeWindows,
    WindowStagger,
)
from tests.operators.windows import Describe, general, one_by_one, window


class MyTrigger(EventTimeTrigger):
    pass


class MyWindows(TumblingEventTimeWindows):
    pass


class Clearing(ProcessWindowFunction):
    def process(self, key, context, elements):
        return elements

    def clear(self, context):
        pass


PLAIN = general(TumblingEventTimeWindows.of(10))


@pytest.mark.parametrize(
    "spec",
    [
        window(10, allowed_lateness_ms=3, late_tag="late"),
        window(10, 5, 2, window_function=Describe()),
    ],
)
def test_plain_event_time_windows_run_by_slices(spec) -> None:
    assert choose_window_operator(replace(one_by_one(spec), key_selector=spec.key_selector)) == spec


@pytest.mark.parametrize(
    "spec",
    [
        general(EventTimeSessionWindows.with_gap(10)),
        general(TumblingProcessingTimeWindows.of(10)),
        general(TumblingEventTimeWindows.of(10, 0, WindowStagger.NATURAL)),
        general(MyWindows(10)),
        general(SlidingEventTimeWindows.of(10, 5), CountTrigger.of(2)),
        replace(PLAIN, trigger=PurgingTrigger.of(EventTimeTrigger.create())),
        replace(PLAIN, trigger=MyTrigger()),
        replace(PLAIN, evictor=CountEvictor.of(2)),
        replace(PLAIN, window_function=Clearing()),
    ],
)
def test_everything_else_runs_window_by_window(spec) -> None:
    assert choose_window_operator(spec) is spec


def test_only_slices_are_combined_before_the_exchange() -> None:
    chosen = choose_window_operator(PLAIN)
    assert isinstance(chosen, WindowSpec)
    assert chosen.combiner() is not None
    assert not hasattr(general(EventTimeSessionWindows.with_gap(10)), "combiner")
