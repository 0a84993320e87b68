"""Programs of operators with two inputs, whole: in one process and in several, on both backends, through failures and restores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millstream import (
    CoMapFunction,
    JobClient,
    KeyedBroadcastProcessFunction,
    KeyedCoProcessFunction,
    ListStateDescriptor,
    MapFunction,
    MapStateDescriptor,
    ProcessJoinFunction,
    SlidingEventTimeWindows,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    ValueStateDescriptor,
    WatermarkStrategy,
)
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy
from millstream.connectors.files import Encoder, FileSink
from tests.integration.engine.harness import Workshop, wait_until

EVENTS = 1_500
RULES = 20
KEYS = 11
END = 10**12
STATE = MapStateDescriptor("rules", str, int)
BY_TIME = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(lambda value, _: value[1])


def left(index: int) -> tuple[str, int]:
    return f"k{index * 5 % KEYS}", index


def right(index: int) -> tuple[str, int, str]:
    return f"k{index * 3 % KEYS}", index, "right"


def rule(index: int) -> tuple[str, int]:
    return f"rule {index % 7}", index


def key(value: Any) -> str:
    return str(value[0])


class Counting(KeyedCoProcessFunction[str, Any, Any, Any]):
    """At the end each key tells how many records came by each input."""

    def open(self, runtime_context: Any) -> None:
        self.counts = [
            runtime_context.get_state(ValueStateDescriptor(name, int)) for name in ("first", "second")
        ]

    def _count(self, state: Any, ctx: Any) -> None:
        state.update((state.value() or 0) + 1)
        ctx.timer_service().register_event_time_timer(END)

    def process_element1(self, value: Any, ctx: Any) -> None:
        self._count(self.counts[0], ctx)

    def process_element2(self, value: Any, ctx: Any) -> None:
        self._count(self.counts[1], ctx)

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Any]:
        yield "counted", ctx.get_current_key(), *(state.value() for state in self.counts)


class Ruled(KeyedBroadcastProcessFunction[str, Any, Any, Any]):
    """At the end each key tells all rules, and what the broadcast records added to its count."""

    def open(self, runtime_context: Any) -> None:
        self.count = runtime_context.get_state(ValueStateDescriptor("count", int))

    def process_element(self, value: Any, ctx: Any) -> None:
        self.count.update((self.count.value() or 0) + 1)
        ctx.timer_service().register_event_time_timer(END)

    def process_broadcast_element(self, value: Any, ctx: Any) -> None:
        ctx.get_broadcast_state(STATE).put(*value)
        ctx.apply_to_keyed_state(
            ValueStateDescriptor("count", int), lambda _, state: state.update(state.value())
        )

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Any]:
        rules = sorted(ctx.get_broadcast_state(STATE).items())
        yield "ruled", ctx.get_current_key(), self.count.value(), len(rules), sum(n for _, n in rules)


class Near(ProcessJoinFunction[Any, Any, Any]):
    def process_element(self, left: Any, right: Any, ctx: Any) -> Iterator[Any]:
        yield "near", left[0], left[1], right[1], ctx.get_timestamp()


class Sides(CoMapFunction[Any, Any, Any]):
    def map1(self, value: Any) -> Any:
        return "one", value[1]

    def map2(self, value: Any) -> Any:
        return "two", value[1]


class Numbering(MapFunction[Any, Any]):
    """Numbers the records of each subtask through all restarts, in operator state."""

    def initialize_state(self, context: Any) -> None:
        self.state = context.get_operator_state_store().get_list_state(ListStateDescriptor("next", int))
        self.number = sum(self.state)

    def map(self, value: Any) -> Any:
        self.number += 1
        return "numbered", self.number

    def snapshot_state(self, context: Any) -> None:
        self.state.update([self.number])


class FailsOnce:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __call__(self, value: Any) -> Any:
        if value[1] == EVENTS // 2 and not self.marker.exists():
            self.marker.touch()
            raise RuntimeError("planned")
        return value


def program(env: StreamExecutionEnvironment, per_second: int | None, faults: Path | None) -> Any:
    def source(make: Any, events: int, name: str) -> Any:
        limit = () if per_second is None else (RateLimiterStrategy.per_second(per_second),)
        generated = env.from_source(DataGeneratorSource(make, events, *limit), BY_TIME, name)
        return generated if faults is None else generated.map(FailsOnce(faults / name))

    lefts, rights = source(left, EVENTS, "left"), source(right, EVENTS, "right")
    rules = env.from_source(DataGeneratorSource(rule, RULES), WatermarkStrategy.no_watermarks(), "rules")
    ordered = rules.set_parallelism(1).broadcast(STATE)  # parallel senders of one rule would race
    keyed, other = lefts.key_by(key), rights.key_by(key)
    join = lefts.join(rights).where(key).equal_to(key)
    group = rights.co_group(lefts).where(key).equal_to(key)
    return (
        keyed.connect(other)
        .process(Counting())
        .union(
            keyed.connect(ordered).process(Ruled()),
            keyed.interval_join(other).between(-20, 30).process(Near()),
            join.window(TumblingEventTimeWindows.of(100)).apply(lambda a, b: ("joined", a[0], a[1], b[1])),
            group.window(SlidingEventTimeWindows.of(100, 50)).apply(
                lambda a, b: [("grouped", sorted(value[1] for value in a), sorted(value[1] for value in b))]
            ),
            lefts.union(rights.map(lambda value: value[:2])).connect(lefts).map(Sides()),
            env.from_source(DataGeneratorSource(left, EVENTS), BY_TIME, "numbers")
            .set_parallelism(1)
            .map(Numbering())
            .set_parallelism(1),
        )
    )


def expected() -> Iterator[Any]:
    lefts, rights = [left(n) for n in range(EVENTS)], [right(n)[:2] for n in range(EVENTS)]
    by_key = {k: ([v for v in lefts if v[0] == k], [v for v in rights if v[0] == k]) for k, _ in lefts}
    last_rules = dict(map(rule, range(RULES)))
    for k, (mine, others) in by_key.items():
        yield "counted", k, len(mine), len(others)
        yield "ruled", k, len(mine), len(last_rules), sum(last_rules.values())
        for _, time in mine:
            for _, other in others:
                if -20 <= other - time <= 30:
                    yield "near", k, time, other, max(time, other)
                if time // 100 == other // 100:
                    yield "joined", k, time, other
        for start in range(-50, EVENTS, 50):
            a, b = ([t for _, t in values if start <= t < start + 100] for values in (others, mine))
            if a or b:
                yield "grouped", a, b
    yield from (("one", time) for _, time in (*lefts, *rights))
    yield from (("two", time) for _, time in lefts)
    yield from (("numbered", n + 1) for n in range(EVENTS))


def check(found: Counter[str]) -> None:
    wanted = Counter(map(repr, expected()))
    assert not wanted - found, f"missing {sum((wanted - found).values())}: {sorted(wanted - found)[:5]}"
    assert not found - wanted, f"too many {sum((found - wanted).values())}: {sorted(found - wanted)[:5]}"


def environment(workshop: Workshop, parallelism: int, **changes: str) -> StreamExecutionEnvironment:
    env = StreamExecutionEnvironment.get_execution_environment(workshop.configuration(**changes))
    return env.set_parallelism(parallelism)


@pytest.mark.parametrize(
    ("parallelism", "backend"),
    [
        pytest.param(1, "hashmap", id="embedded-heap"),
        pytest.param(1, "rocksdb", id="embedded-rocksdb", marks=pytest.mark.slow),
        pytest.param(2, "rocksdb", id="2-workers-rocksdb"),
        pytest.param(2, "hashmap", id="2-workers-heap", marks=pytest.mark.slow),
        pytest.param(3, "rocksdb", id="3-workers-rocksdb", marks=pytest.mark.slow),
    ],
)
def test_two_input_operators_give_what_plain_python_gives(
    workshop: Workshop, parallelism: int, backend: str
) -> None:
    env = environment(workshop, parallelism, state_backend_type=backend)
    with program(env, None, None).execute_and_collect("two inputs") as results:
        check(Counter(map(repr, results)))
    assert list(workshop.tmp.iterdir()) == []


def to_files(workshop: Workshop, stream: Any) -> None:
    sink = FileSink.for_row_format(str(workshop.out), Encoder.simple_string_encoder()).build()
    stream.map(repr).sink_to(sink)


@pytest.mark.parametrize(
    ("parallelism", "backend"),
    [
        (1, "hashmap"),
        pytest.param(1, "rocksdb", marks=pytest.mark.slow),
        pytest.param(2, "hashmap", marks=pytest.mark.slow),
        (2, "rocksdb"),
    ],
)
def test_failures_of_either_input_cost_nothing_and_double_nothing(
    workshop: Workshop, parallelism: int, backend: str
) -> None:
    env = environment(workshop, parallelism, state_backend_type=backend)
    to_files(workshop, program(env, 2_000, workshop.faults))
    result = env.execute("two inputs that fail")
    assert 1 <= result.statistics.restarts <= 2
    check(workshop.committed())
    workshop.check_nothing_is_left()


def completed(client: JobClient) -> int:
    checkpoints = client.statistics().checkpoints
    return 0 if checkpoints is None else checkpoints.completed


@pytest.mark.parametrize(
    ("parallelisms", "backend"),
    [
        pytest.param((2, 3), "rocksdb", marks=pytest.mark.slow),
        pytest.param((2, 1), "rocksdb"),
        pytest.param((3, 2), "hashmap", marks=pytest.mark.slow),
        pytest.param((1, 2), "hashmap", marks=pytest.mark.slow),
    ],
)
def test_a_cancelled_job_goes_on_at_another_parallelism(
    workshop: Workshop, parallelisms: tuple[int, int], backend: str
) -> None:
    before, after = parallelisms
    settings = {
        "state_backend_type": backend,
        "execution_checkpointing_externalized__checkpoint__retention": "RETAIN_ON_CANCELLATION",
    }
    env = environment(workshop, before, **settings)
    to_files(workshop, program(env, 1_000, None))
    client = env.execute_async("first")
    wait_until(lambda: completed(client) >= 3, "three checkpoints")
    client.cancel().result(30)
    assert client.status.name == "CANCELED"
    env = environment(workshop, after, execution_savepoint_path=str(workshop.complete()[-1]), **settings)
    to_files(workshop, program(env, None, None))
    env.execute("second")
    check(workshop.committed())
