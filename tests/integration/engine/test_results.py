"""One program with every operator, at several parallelisms, in one process and in several, on both backends."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from millstream import (
    AggregateFunction,
    DataStream,
    KeyedProcessFunction,
    ListStateDescriptor,
    MapStateDescriptor,
    OutputTag,
    ProcessFunction,
    ProcessWindowFunction,
    SlidingEventTimeWindows,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    ValueStateDescriptor,
    WatermarkStrategy,
)
from millstream.connectors.datagen import DataGeneratorSource
from tests.integration.engine.harness import Workshop, wait_until

EVENTS = 3_000
END = 10**12
ODD: OutputTag[Any] = OutputTag("odd")
BY_TIME = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(lambda value, _: value[1])

PLACES = [
    pytest.param(1, "embedded", "hashmap", id="embedded-heap"),
    pytest.param(1, "embedded", "rocksdb", id="embedded-rocksdb", marks=pytest.mark.slow),
    pytest.param(2, "process", "rocksdb", id="2-workers-rocksdb"),
    pytest.param(2, "process", "hashmap", id="2-workers-heap", marks=pytest.mark.slow),
    pytest.param(3, "process", "hashmap", id="3-workers-heap", marks=pytest.mark.slow),
    pytest.param(3, "process", "rocksdb", id="3-workers-rocksdb", marks=pytest.mark.slow),
]


def event(index: int) -> tuple[str, int, int]:
    return f"k{index * 13 % 37}", index, index % 7


class Remembering(KeyedProcessFunction[str, Any, Any]):
    """Three kinds of state and two kinds of timers; at the end each key tells what it knows."""

    def open(self, runtime_context: Any) -> None:
        self.count = runtime_context.get_state(ValueStateDescriptor("count", int))
        self.recent = runtime_context.get_list_state(ListStateDescriptor("recent", int))
        self.seen = runtime_context.get_map_state(MapStateDescriptor("seen", int, int))

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        count = (self.count.value() or 0) + 1
        self.count.update(count)
        self.recent.add(value[1])
        if count % 4 == 0:
            self.recent.update(list(self.recent.get())[-2:])
        self.seen.put(value[2], (self.seen.get(value[2]) or 0) + 1)
        timers = ctx.timer_service()
        timers.register_event_time_timer(value[1] // 1000 * 1000 + 999)
        timers.register_event_time_timer(END)
        timers.register_event_time_timer(END + 1)
        timers.delete_event_time_timer(END + 1)
        yield "count", value[0], count

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        if timestamp == END:
            seen = sorted(self.seen.items())
            yield "final", ctx.get_current_key(), self.count.value(), list(self.recent.get()), seen
        else:
            yield "timer", ctx.get_current_key(), timestamp


def remembered() -> Iterator[Any]:
    count: Counter[str] = Counter()
    recent: defaultdict[str, list[int]] = defaultdict(list)
    seen: defaultdict[str, Counter[int]] = defaultdict(Counter)
    timers = set()
    for key, time, value in map(event, range(EVENTS)):
        count[key] += 1
        recent[key].append(time)
        if count[key] % 4 == 0:
            recent[key] = recent[key][-2:]
        seen[key][value] += 1
        timers.add((key, time // 1000 * 1000 + 999))
        yield "count", key, count[key]
    yield from (("timer", key, time) for key, time in timers)
    yield from (("final", key, count[key], recent[key], sorted(seen[key].items())) for key in count)


class Parting(ProcessFunction[Any, Any]):
    def process_element(self, value: Any, ctx: ProcessFunction.Context) -> Iterator[Any]:
        yield (ODD, value) if value[2] % 2 else value


class Sum(AggregateFunction[Any, int, int]):
    def create_accumulator(self) -> int:
        return 0

    def add(self, value: Any, accumulator: int) -> int:
        return accumulator + value[2]

    def get_result(self, accumulator: int) -> int:
        return accumulator

    def merge(self, acc_a: int, acc_b: int) -> int:
        return acc_a + acc_b


class Tell(ProcessWindowFunction[Any, Any, Any]):
    def __init__(self, name: str) -> None:
        self.name = name

    def process(self, key: Any, context: ProcessWindowFunction.Context, elements: Any) -> Iterator[Any]:
        yield self.name, key, context.window().start, context.window().end, sorted(elements)


def program(env: StreamExecutionEnvironment) -> DataStream[Any]:
    ordered = env.from_collection([event(index) for index in range(EVENTS)])
    timed = ordered.assign_timestamps_and_watermarks(BY_TIME).set_parallelism(
        1
    )  # rebalancing loses the order
    remembering = timed.key_by(lambda value: value[0])
    generated = env.from_source(DataGeneratorSource(event, EVENTS), BY_TIME, "generated")
    keyed = generated.key_by(lambda value: value[0])
    parted = generated.process(Parting())
    words = generated.map(lambda value: f"{value[0]} {value[1]}").filter(lambda text: not text.endswith("3"))
    return remembering.process(Remembering()).union(
        words.flat_map(lambda text: text.split()).rebalance().map(lambda word: ("word", word)),
        keyed.map(lambda value: (value[0], 1))
        .key_by(lambda pair: pair[0])
        .reduce(lambda left, right: (left[0], left[1] + right[1]))
        .map(lambda pair: ("reduced", *pair)),
        keyed.window(TumblingEventTimeWindows.of(500)).aggregate(Sum(), Tell("tumbling")),
        keyed.window(SlidingEventTimeWindows.of(600, 200)).aggregate(Sum(), Tell("sliding")),
        keyed.window(SlidingEventTimeWindows.of(500, 300)).process(Tell("listed")),
        keyed.window(TumblingEventTimeWindows.of(1000, 100))
        .reduce(lambda left, right: (left[0], max(left[1], right[1]), left[2] + right[2]))
        .map(lambda value: ("window-reduced", *value)),
        parted.map(lambda value: ("even", value)),
        parted.get_side_output(ODD).map(lambda value: ("odd", value)),
        env.from_collection([1, 2, 3]).broadcast().map(lambda number: ("broadcast", number)),
    )


def expected(parallelism: int) -> Iterator[Any]:
    events = [event(index) for index in range(EVENTS)]
    yield from remembered()
    for key, time, _ in events:
        if time % 10 != 3:
            yield from (("word", key), ("word", str(time)))
    for key, count in Counter(key for key, _, _ in events).items():
        yield from (("reduced", key, number + 1) for number in range(count))
    for name, size, slide in (("tumbling", 500, 500), ("sliding", 600, 200), ("listed", 500, 300)):
        for (key, start), values in windows(events, size, slide).items():
            content = sorted(values) if name == "listed" else [sum(value for _, _, value in values)]
            yield name, key, start, start + size, content
    for (key, _), values in windows(events, 1000, 1000, offset=100).items():
        yield "window-reduced", key, max(v[1] for v in values), sum(v[2] for v in values)
    yield from (("odd" if value[2] % 2 else "even", value) for value in events)
    yield from (("broadcast", number) for number in (1, 2, 3) for _ in range(parallelism))


def windows(events: list[Any], size: int, slide: int, offset: int = 0) -> dict[tuple[str, int], list[Any]]:
    found: defaultdict[tuple[str, int], list[Any]] = defaultdict(list)
    for value in events:
        start = value[1] - (value[1] - offset) % slide
        while start > value[1] - size:
            found[value[0], start].append(value)
            start -= slide
    return found


def environment(workshop: Workshop, parallelism: int, mode: str, backend: str) -> StreamExecutionEnvironment:
    changes = {"taskmanager_mode": mode, "state_backend_type": backend}
    env = StreamExecutionEnvironment.get_execution_environment(workshop.configuration(**changes))
    return env.set_parallelism(parallelism)


@pytest.mark.parametrize(("parallelism", "mode", "backend"), PLACES)
def test_every_operator_gives_what_plain_python_gives(
    workshop: Workshop, parallelism: int, mode: str, backend: str
) -> None:
    env = environment(workshop, parallelism, mode, backend)
    with program(env).execute_and_collect("everything") as results:
        found = Counter(map(repr, results))
    wanted = Counter(map(repr, expected(parallelism)))
    assert not wanted - found, sorted(wanted - found)[:5]
    assert not found - wanted, sorted(found - wanted)[:5]
    assert list(workshop.tmp.iterdir()) == []


@pytest.mark.parametrize("parallelism", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_print_shows_every_record(workshop: Workshop, capfd: Any, parallelism: int) -> None:
    env = environment(workshop, parallelism, "auto", "hashmap")
    env.from_sequence(1, 100).print("number")
    env.execute("printing")
    printed = [line.rpartition("> ")[2] for line in capfd.readouterr().out.splitlines()]
    assert sorted(map(int, printed)) == list(range(1, 101))


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_job_in_the_background_is_watched_cancelled_and_waited_for(
    workshop: Workshop, parallelism: int
) -> None:
    client = workshop.start(parallelism, 10**9)
    wait_until(
        lambda: client.status.name == "RUNNING" and workshop.complete(), "a checkpoint of a running job"
    )
    assert client.get_job_status().result() is client.status
    assert len(client.worker_pids()) == parallelism
    with pytest.raises(TimeoutError):
        client.wait(0)
    client.cancel().result(30)
    assert client.status.name == "CANCELED"
    assert workshop.hidden() == [] or workshop.complete()
    workshop.check_nothing_is_left()
