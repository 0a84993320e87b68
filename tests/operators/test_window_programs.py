"""Random programs of windows, triggers, evictors and lateness against the model in `window_model.py`.

Any batching, any parallelism and any restart point: records come in batches over several keys, which go to the subtasks that own
their key groups; a pause is a restore from a checkpoint at another parallelism (after it the watermark is sent again, as
sources do). What fires goes through a reduce or aggregate function, or a window function with state of the window and of the key.
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
    AggregateFunction,
    ContinuousEventTimeTrigger,
    CountEvictor,
    CountTrigger,
    DeltaEvictor,
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
    ValueStateDescriptor,
)
from millstream.core.batch import MAX_TIMESTAMP, MIN_TIMESTAMP
from tests.operators import window_model as model
from tests.operators.kinds import EarlyAndLate
from tests.operators.scenario import Scenario, World
from tests.operators.windows import add_values

FIRINGS = ValueStateDescriptor("firings", Types.LONG())
RECORD = Types.TUPLE([Types.STRING(), Types.LONG()])


class Collect(AggregateFunction):
    """The sum as a list of one, as `Flatten` wants it."""

    def create_accumulator(self):
        return 0

    def add(self, value, accumulator):
        return accumulator + value[1]

    def get_result(self, accumulator):
        return None, accumulator

    def merge(self, acc_a, acc_b):
        return acc_a + acc_b


class Flatten(ProcessWindowFunction):
    """(key, start, end, values, the firing's number of its window, and of its key); numbers that are not asked for are 0."""

    def __init__(self, *, per_window=False, per_key=False):
        self.per_window, self.per_key = per_window, per_key

    def process(self, key, context, elements):
        window = context.window()
        bounds = (window.start, window.end) if isinstance(window, TimeWindow) else (0, 0)
        firing = self._next(context.window_state()) if self.per_window else 0
        of_key = self._next(context.global_state()) if self.per_key else 0
        yield key, *bounds, [value for _, value in elements], firing, of_key

    def clear(self, context):
        if self.per_window:
            context.window_state().get_state(FIRINGS).clear()

    def _next(self, store):
        state = store.get_state(FIRINGS)
        state.update((state.value() or 0) + 1)
        return state.value()


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
            "early and late",
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
    custom = Choice("early and late", EarlyAndLate(), model.EarlyAndLate)
    plain = {
        "count": count,
        "continuous": continuous,
        "event time": event_time,
        "delta": delta,
        "early and late": custom,
    }
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
    kinds = ["none", "none", "none", "time"]
    if not assigner.modelled.merges:
        kinds += ["count", "delta"]
    kind, n, after = draw(st.sampled_from(kinds)), draw(st.integers(1, 5)), draw(st.booleans())
    if kind == "time":
        return Choice(f"time({n}, {after})", TimeEvictor.of(n, after), model.TimeEvictor(n, after))
    if kind == "count":
        return Choice(f"count({n}, {after})", CountEvictor.of(n, after), model.CountEvictor(n, after))
    if kind == "delta":
        real = DeltaEvictor.of(n, lambda element, last: last[1] - element[1], after)
        return Choice(f"delta({n}, {after})", real, model.DeltaEvictor(n, after))
    return None


@dataclass(frozen=True)
class Program:
    assigner: Choice
    trigger: Choice | None
    evictor: Choice | None
    lateness: int
    function: str

    @property
    def counts_per_window(self) -> bool:
        return self.function == "counted" and not self.assigner.modelled.merges

    @property
    def counts_per_key(self) -> bool:
        """Where no two windows of a key can fire for the same time, in an order that nothing promises."""
        return self.function == "counted" and isinstance(
            self.assigner.modelled, model.Tumbling | model.Global
        )

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
        flatten = Flatten(per_window=self.counts_per_window, per_key=self.counts_per_key)
        match self.function:
            case "reduced":
                results = windows.reduce(add_values, flatten)
            case "aggregated":
                results = windows.aggregate(Collect(), flatten)
            case _:
                results = windows.process(flatten)
        return results._own_node("test").operator

    def seen(self, fired: Any) -> Any:
        """What the program's function makes of a firing in the model."""
        key, start, end, values, firing, of_key = fired
        values = [sum(values)] if self.function in {"reduced", "aggregated"} else sorted(values)
        return key, start, end, values, firing * self.counts_per_window, of_key * self.counts_per_key

    def model(self) -> model.KeyedModel:
        new_trigger: Callable[[], model.Trigger] = (
            model.EventTime if self.trigger is None else self.trigger.modelled
        )
        evictor = None if self.evictor is None else self.evictor.modelled
        return model.KeyedModel(self.assigner.modelled, new_trigger, evictor, self.lateness)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    assigner = draw(assigners())
    evictor = draw(evictors(assigner))
    functions = ["listed", "counted"] if evictor else ["listed", "counted", "reduced", "aggregated"]
    return Program(
        assigner,
        draw(triggers(assigner)),
        evictor,
        draw(st.sampled_from([0, 0, 1, 5, 20])),
        draw(st.sampled_from(functions)),
    )


EXAMPLES = 300
records = st.tuples(st.sampled_from("abc"), st.integers(0, 6), st.integers(-15, 30))
steps = st.one_of(
    st.lists(records, min_size=1, max_size=8),
    st.integers(-15, 40),  # a watermark
    st.just("pause"),
)


@pytest.mark.parametrize(
    ("backend", "cache_entries", "examples"), [("hashmap", 100_000, EXAMPLES), ("rocksdb", 2, EXAMPLES // 10)]
)
def test_any_windows_do_what_the_model_does(backend, cache_entries, examples) -> None:
    @settings(max_examples=examples)
    @given(
        program=programs(),
        inputs=st.lists(steps, max_size=25),
        parallelisms=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    )
    def run(program, inputs, parallelisms) -> None:
        check(program, inputs, World(backend, cache_entries, tuple(parallelisms)))

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
            found = sorted((*fired[:3], sorted(fired[3]), *fired[4:]) for fired in h.results)
            assert found == sorted(map(program.seen, expected.results)), step
            assert sorted(h.side.get("late", [])) == sorted(expected.late), step
        if not isinstance(program.assigner.modelled, model.Global):
            fired = {key for key, *_ in h.results}
            assert h.state_entries() == (len(fired) if program.counts_per_key else 0)
        h.close()
