"""Whole jobs with windows of every kind, at several parallelisms, against plain Python; and across a failure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from millstream import (
    CountEvictor,
    CountTrigger,
    DataStream,
    EventTimeSessionWindows,
    GlobalWindow,
    GlobalWindows,
    ProcessAllWindowFunction,
    ProcessWindowFunction,
    PurgingTrigger,
    SlidingEventTimeWindows,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    ValueStateDescriptor,
    WatermarkStrategy,
)
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy
from tests.integration.engine.harness import Workshop
from tests.integration.engine.test_results import environment, windows

EVENTS = 2_000
BY_TIME = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(lambda value, _: value[1])
GAP = 60


def event(index: int) -> tuple[str, int, int]:
    """In bursts of 50, with 100 ms of silence after each."""
    return f"k{index * 13 % 17}", index + index // 50 * 100, index % 7


class Tell(ProcessWindowFunction[Any, Any, Any, Any]):
    def __init__(self, name: str) -> None:
        self.name = name

    def process(self, key: Any, context: ProcessWindowFunction.Context[Any], elements: Any) -> Iterator[Any]:
        window = context.window()
        yield self.name, key, window.start, window.end, sorted(elements)


class Numbered(ProcessWindowFunction[Any, Any, Any]):
    """Counts the windows of each key, and forgets those that are over."""

    FIRINGS = ValueStateDescriptor("firings", int)

    def open(self, runtime_context: Any) -> None:
        self.windows = runtime_context.get_state(ValueStateDescriptor("windows", int))

    def process(self, key: Any, context: ProcessWindowFunction.Context, elements: Any) -> Iterator[Any]:
        self.windows.update((self.windows.value() or 0) + 1)
        firings = context.window_state().get_state(self.FIRINGS)
        firings.update((firings.value() or 0) + 1)
        yield "numbered", key, self.windows.value(), firings.value(), len(elements)

    def clear(self, context: ProcessWindowFunction.Context) -> None:
        context.window_state().get_state(self.FIRINGS).clear()


class Everyone(ProcessAllWindowFunction[Any, Any]):
    def process(self, context: ProcessAllWindowFunction.Context, elements: Any) -> Iterator[Any]:
        yield "all", context.window().start, context.window().end, len(elements)


class LastOnes(ProcessWindowFunction[Any, Any, Any, GlobalWindow]):
    def process(
        self, key: Any, context: ProcessWindowFunction.Context[GlobalWindow], elements: Any
    ) -> Iterator[Any]:
        yield "last", key, list(elements)


def program(env: StreamExecutionEnvironment) -> DataStream[Any]:
    events = env.from_source(DataGeneratorSource(event, EVENTS), BY_TIME, "generated")
    ordered = env.from_collection([event(index) for index in range(EVENTS)])
    timed = ordered.assign_timestamps_and_watermarks(BY_TIME).set_parallelism(
        1
    )  # rebalancing loses the order
    keyed = events.key_by(lambda value: value[0])
    in_order = timed.key_by(lambda value: value[0])
    minute = TumblingEventTimeWindows.of(500)
    return (
        keyed.window(EventTimeSessionWindows.with_gap(GAP))
        .process(Tell("session"))
        .union(
            in_order.count_window(9, 4).process(LastOnes()),
            keyed.count_window(10).sum(2).map(lambda value: ("counted", value[0])),
            keyed.window(minute)
            .trigger(PurgingTrigger.of(CountTrigger.of(3)))
            .max(1)
            .map(lambda value: ("purged", value[0])),
            keyed.window(minute).process(Numbered()),
            in_order.window(GlobalWindows.create_with_end_of_stream_trigger())
            .evictor(CountEvictor.of(2))
            .max_by(1)
            .map(lambda value: ("end", *value)),
            events.window_all(SlidingEventTimeWindows.of(600, 200)).process(Everyone()),
            events.window_all(EventTimeSessionWindows.with_gap(GAP))
            .sum(2)
            .map(lambda value: ("burst", value[2])),
            events.count_window_all(100).sum(2).map(lambda value: "hundred"),
        )
    )


def expected() -> Iterator[Any]:
    events = [event(index) for index in range(EVENTS)]
    by_key: defaultdict[str, list[Any]] = defaultdict(list)
    for value in events:
        by_key[value[0]].append(value)
    for key, values in by_key.items():
        for session in sessions(values):
            yield "session", key, session[0][1], session[-1][1] + GAP, sorted(session)
        yield from (("last", key, values[max(0, n - 9) : n]) for n in range(4, len(values) + 1, 4))
        yield from (("counted", key) for _ in range(len(values) // 10))
        yield ("end", *values[-1])
    seen: Counter[str] = Counter()
    for (key, _), values in sorted(windows(events, 500, 500).items()):
        yield from (("purged", key) for _ in range(len(values) // 3))
        seen[key] += 1
        yield "numbered", key, seen[key], 1, len(values)
    everyone = [("all", time, value) for _, time, value in events]
    for (_, start), values in windows(everyone, 600, 200).items():
        yield "all", start, start + 600, len(values)
    yield from (("burst", sum(value[2] for value in burst)) for burst in sessions(events))
    yield from ("hundred" for _ in range(EVENTS // 100))


def sessions(values: list[Any]) -> list[list[Any]]:
    found: list[list[Any]] = []
    for value in values:
        if found and value[1] - found[-1][-1][1] <= GAP:
            found[-1].append(value)
        else:
            found.append([value])
    return found


def check(results: Any) -> None:
    found, wanted = Counter(map(repr, results)), Counter(map(repr, expected()))
    assert not wanted - found, sorted(wanted - found)[:5]
    assert not found - wanted, sorted(found - wanted)[:5]


PLACES = [
    pytest.param(1, "embedded", "hashmap", id="embedded-heap"),
    pytest.param(1, "embedded", "rocksdb", id="embedded-rocksdb", marks=pytest.mark.slow),
    pytest.param(2, "process", "rocksdb", id="2-workers-rocksdb"),
    pytest.param(2, "process", "hashmap", id="2-workers-heap", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("parallelism", "mode", "backend"), PLACES)
def test_windows_of_every_kind_give_what_plain_python_gives(
    workshop: Workshop, parallelism: int, mode: str, backend: str
) -> None:
    env = environment(workshop, parallelism, mode, backend)
    with program(env).execute_and_collect("windows") as results:
        check(results)
    assert list(workshop.tmp.iterdir()) == []


@pytest.mark.parametrize("backend", ["hashmap", "rocksdb"])
def test_windows_go_on_where_the_last_checkpoint_left_them(workshop: Workshop, backend: str) -> None:
    """A function fails once, behind a checkpoint; what is collected holds every result once."""
    flag, checkpoints = workshop.tmp.parent / "failed", workshop.checkpoints

    class FailingOnce(ProcessWindowFunction[Any, Any, Any]):
        def process(self, key: Any, context: ProcessWindowFunction.Context, elements: Any) -> Iterator[Any]:
            if not flag.exists() and list(checkpoints.glob("*/chk-*/_metadata")):
                flag.touch()
                raise RuntimeError("planned")
            yield key, context.window().start, context.window().end, sorted(elements)

    env = environment(workshop, 2, "process", backend)
    source = DataGeneratorSource(event, EVENTS, RateLimiterStrategy.per_second(2_000))
    keyed = env.from_source(source, BY_TIME, "generated").key_by(lambda value: value[0])
    stream = keyed.window(EventTimeSessionWindows.with_gap(GAP)).process(FailingOnce())
    with stream.execute_and_collect("failing") as results:
        found = Counter(map(repr, results))
    assert flag.exists()
    by_key: defaultdict[str, list[Any]] = defaultdict(list)
    for value in map(event, range(EVENTS)):
        by_key[value[0]].append(value)
    wanted = Counter(
        repr((key, session[0][1], session[-1][1] + GAP, sorted(session)))
        for key, values in by_key.items()
        for session in sessions(values)
    )
    assert found == wanted
