"""Random programs of windows, triggers, evictors and lateness against the model in `window_model.py`.

Any batching, any parallelism and any restart point: records come in batches over several keys, a pause is a restore from a
checkpoint at another parallelism (after it the watermark is sent again, as sources do).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream import (
    ContinuousEventTimeTrigger,
    CountEvictor,
    CountTrigger,
    DeltaTrigger,
    EventTimeSessionWindows,
    EventTimeTrigger,
    GlobalWindows,
    OutputTag,
    ProcessWindowFunction,
    PurgingTrigger,
    SlidingEventTimeWindows,
    StreamExecutionEnvironment,
    TimeEvictor,
    TimeWindow,
    TumblingEventTimeWindows,
    Types,
)
from millstream.core.batch import MAX_TIMESTAMP, MIN_TIMESTAMP
from tests.operators import window_model as model
from tests.operators.scenario import Scenario, World

RECORD = Types.TUPLE([Types.STRING(), Types.LONG()])


class Flatten(ProcessWindowFunction):
    """(key, start, end, values in the order of the window's contents)."""

    def process(self, key, context, elements):
        window = context.window()
        bounds = (window.start, window.end) if isinstance(window, TimeWindow) else (0, 0)
        yield key, *bounds, [value for _, value in elements]


@dataclass(frozen=True)
class Choice:
    """The same thing as the API spells it and as the model does."""

    text: str
    real: Any
    modelled: Any

    def __repr__(self) -> str:
        return self.text


@st.composite
def assigners(draw: st.DrawFn) -> Choice:
    size, slide = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    match draw(st.sampled_from(["tumbling", "sliding", "session", "dynamic", "global"])):
        case "tumbling":
            offset = draw(st.integers(1 - size, size - 1))
            real = TumblingEventTimeWindows.of(size, offset)
            return Choice(f"tumbling({size}, {offset})", real, model.Tumbling(size, offset))
        case "sliding":
            offset = draw(st.integers(1 - slide, slide - 1))
            real = SlidingEventTimeWindows.of(size, slide, offset)
            return Choice(f"sliding({size}, {slide}, {offset})", real, model.Sliding(size, slide, offset))
        case "session":
            return Choice(f"session({size})", EventTimeSessionWindows.with_gap(size), model.Session(size))
        case "dynamic":
            real = EventTimeSessionWindows.with_dynamic_gap(lambda record: record[1] + 1)
            return Choice("session(value + 1)", real, model.Session(0))
        case _:
            return Choice("global", GlobalWindows.create(), model.Global())


@st.composite
def triggers(draw: st.DrawFn, assigner: Choice) -> Choice | None:
    """None: the default one, which never fires global windows."""
    is_global, merges = isinstance(assigner.modelled, model.Global), assigner.modelled.merges
    kinds = ["count", "purging count"]
    if not is_global:
        kinds += [
            "default",
            "default",
            "event time",
            "continuous",
            "purging event time",
            "purging continuous",
        ]
    if not merges:
        kinds.append("delta")
    n = draw(st.integers(1, 4))
    count = Choice(f"count({n})", CountTrigger.of(n), lambda: model.Count(n))
    continuous = Choice(f"continuous({n})", ContinuousEventTimeTrigger.of(n), lambda: model.Continuous(n))
    event_time = Choice("event time", EventTimeTrigger.create(), model.EventTime)
    delta = Choice(
        f"delta({n})",
        DeltaTrigger.of(n, lambda old, new: new[1] - old[1], RECORD),
        lambda: model.Delta(n),
    )
    kind = draw(st.sampled_from(kinds))
    plain = {"count": count, "continuous": continuous, "event time": event_time, "delta": delta}
    if kind == "default":
        return None
    if kind in plain:
        return plain[kind]
    return _purging(plain[kind.removeprefix("purging ")])


def _purging(inner: Choice) -> Choice:
    return Choice(f"purging({inner})", PurgingTrigger.of(inner.real), lambda: model.Purging(inner.modelled()))


@st.composite
def evictors(draw: st.DrawFn, assigner: Choice) -> Choice | None:
    # Flink does not say in which order the contents of sessions that merge are afterwards.
    kinds = ["none", "none", "time"] if assigner.modelled.merges else ["none", "none", "time", "count"]
    kind, n, after = draw(st.sampled_from(kinds)), draw(st.integers(1, 5)), draw(st.booleans())
    if kind == "time":
        return Choice(f"time({n}, {after})", TimeEvictor.of(n, after), model.TimeEvictor(n, after))
    if kind == "count":
        return Choice(f"count({n}, {after})", CountEvictor.of(n, after), model.CountEvictor(n, after))
    return None


@dataclass(frozen=True)
class Program:
    assigner: Choice
    trigger: Choice | None
    evictor: Choice | None
    lateness: int

    def spec(self) -> Any:
        """The operator, made as a program makes it."""
        env = StreamExecutionEnvironment.get_execution_environment()
        records = env.from_collection([], type_info=RECORD)
        windows = records.key_by(itemgetter(0), key_type=Types.STRING()).window(self.assigner.real)
        if self.trigger is not None:
            windows = windows.trigger(self.trigger.real)
        if self.evictor is not None:
            windows = windows.evictor(self.evictor.real)
        late = OutputTag("late", RECORD)
        windows = windows.allowed_lateness(self.lateness).side_output_late_data(late)
        return windows.process(Flatten())._own_node("test").operator

    def model(self) -> model.KeyedModel:
        new_trigger: Callable[[], model.Trigger] = (
            model.EventTime if self.trigger is None else self.trigger.modelled
        )
        evictor = None if self.evictor is None else self.evictor.modelled
        return model.KeyedModel(self.assigner.modelled, new_trigger, evictor, self.lateness)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    assigner = draw(assigners())
    return Program(
        assigner,
        draw(triggers(assigner)),
        draw(evictors(assigner)),
        draw(st.sampled_from([0, 0, 1, 5, 20])),
    )


records = st.tuples(st.sampled_from("abcd"), st.integers(0, 9), st.integers(-30, 60))
steps = st.one_of(
    st.lists(records, min_size=1, max_size=6),
    st.integers(-30, 70),  # a watermark
    st.just("pause"),
)
WORLDS = [
    (World("hashmap", parallelisms=(2, 1, 3)), 300),
    (World("rocksdb", cache_entries=2, parallelisms=(2, 1, 3)), 30),
]


@pytest.mark.parametrize(("world", "examples"), WORLDS, ids=str)
def test_any_windows_do_what_the_model_does(world, examples) -> None:
    @settings(max_examples=examples)
    @given(program=programs(), inputs=st.lists(steps, max_size=25))
    def run(program, inputs) -> None:
        check(program, inputs, world)

    run()


def check(program: Program, inputs: list[Any], world: World) -> None:
    expected = program.model()
    watermark = MIN_TIMESTAMP
    with tempfile.TemporaryDirectory() as folder:
        h = Scenario(program.spec(), world, Path(folder))
        for step in [*inputs, MAX_TIMESTAMP]:
            if step == "pause":
                h.pause()
                if watermark > MIN_TIMESTAMP:
                    h.watermark(watermark)
                    expected.advance(watermark)  # fires timers that were set for a time already passed
            elif isinstance(step, int):
                watermark = max(watermark, step)
                h.watermark(step)
                expected.advance(step)
            else:
                h.batch([(key, value) for key, value, _ in step], [ts for _, _, ts in step])
                for key, value, ts in step:
                    expected[key].record(value, ts)
            assert sorted(_unordered(h.results)) == sorted(_unordered(expected.results)), step
            assert sorted(h.side.get("late", [])) == sorted(expected.late), step
        if not isinstance(program.assigner.modelled, model.Global):
            assert h.state_entries() == 0
        h.close()


def _unordered(results: list[Any]) -> list[Any]:
    return [(key, start, end, sorted(values)) for key, start, end, values in results]
