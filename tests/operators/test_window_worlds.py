"""Windows of every kind under every trigger: random programs give the same results in every world, and leave nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.core.batch import MAX_TIMESTAMP
from millstream.operators.count_triggers import CountTrigger, PurgingTrigger
from millstream.operators.evictors import CountEvictor
from millstream.operators.session_windows import EventTimeSessionWindows, ProcessingTimeSessionWindows
from millstream.operators.time_triggers import (
    ContinuousEventTimeTrigger,
    ContinuousProcessingTimeTrigger,
    EventTimeTrigger,
    ProcessingTimeTrigger,
)
from millstream.operators.windowing import (
    SlidingEventTimeWindows,
    SlidingProcessingTimeWindows,
    TumblingEventTimeWindows,
)
from tests.operators.scenario import Scenario, World
from tests.operators.windows import LIST, general

ASSIGNERS = [
    EventTimeSessionWindows.with_gap(6),
    EventTimeSessionWindows.with_dynamic_gap(lambda record: record[1] + 1),
    ProcessingTimeSessionWindows.with_gap(6),
    TumblingEventTimeWindows.of(10),
    SlidingEventTimeWindows.of(12, 5),
    SlidingProcessingTimeWindows.of(12, 5),
]
TRIGGERS = [
    EventTimeTrigger.create(),
    ProcessingTimeTrigger.create(),
    ContinuousEventTimeTrigger.of(7),
    ContinuousProcessingTimeTrigger.of(9),
    CountTrigger.of(3),
    PurgingTrigger.of(ContinuousEventTimeTrigger.of(4)),
]
records = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.integers(-8, 25)), min_size=1, max_size=4
)
steps = st.one_of(
    records,
    st.tuples(st.sampled_from(["watermark", "clock"]), st.integers(0, 9)),
    st.just("pause"),
)


def run(spec: Any, program: list[Any], world: World, folder: Path) -> list[str]:
    h = Scenario(spec, world, folder)
    watermark = now = 0
    for step in program:
        if step == "pause":
            h.pause()
            h.watermark(watermark)  # watermarks are not state: upstream sends them again
        elif isinstance(step, tuple) and step[0] == "watermark":
            watermark += step[1]
            h.watermark(watermark)
        elif isinstance(step, tuple):
            now += step[1]
            h.set_processing_time(now)
        else:
            values = [(key, value) for key, value, _ in step]
            h.batch(values, [watermark + offset for _, _, offset in step])
    h.set_processing_time(now + 1_000)
    h.watermark(MAX_TIMESTAMP)
    h.set_processing_time(now + 2_000)
    assert h.state_entries() == 0
    h.close()
    return sorted(repr(sorted(result)) for result in h.results)


@settings(max_examples=30)
@given(
    assigner=st.sampled_from(ASSIGNERS),
    trigger=st.sampled_from(TRIGGERS),
    lateness=st.sampled_from([0, 8]),
    evictor=st.sampled_from([None, CountEvictor.of(4)]),
    program=st.lists(steps, max_size=20),
)
def test_restores_and_backends_change_no_result(assigner, trigger, lateness, evictor, program) -> None:
    spec = general(assigner, trigger, contents=LIST, evictor=evictor, allowed_lateness_ms=lateness)
    with tempfile.TemporaryDirectory() as folder:
        expected = run(spec, program, World("hashmap"), Path(folder) / "1")
        for number, world in enumerate(
            [
                World("hashmap", parallelisms=(2, 3, 1)),
                World("rocksdb", cache_entries=2, parallelisms=(2, 1)),
            ]
        ):
            assert run(spec, program, world, Path(folder) / f"other-{number}") == expected
