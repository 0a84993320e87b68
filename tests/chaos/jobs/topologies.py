"""Jobs whose right output is known, from generators into files or Kafka.

Arguments: topology, and those of `windows.py`.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from millstream import (
    Duration,
    KeyedProcessFunction,
    KeyedStream,
    MapStateDescriptor,
    ProcessJoinFunction,
    RuntimeContext,
    StreamExecutionEnvironment,
    Types,
    WatermarkStrategy,
)
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy
from tests.integration.engine.jobs.random_graph import program_of, random_graph
from tests.integration.engine.jobs.windows import expected_lines as expected_windows
from tests.integration.engine.jobs.windows import sink_of, windows

KEYS = 7
BUCKET_MS = 400
APART_MS = 14

Event = tuple[str, int]


def event(index: int) -> Event:
    """A key, and the time in ms."""
    return f"k{index % KEYS}", index


def keyed(env: StreamExecutionEnvironment, name: str, events: int, rate: int) -> KeyedStream[str, Event]:
    source = DataGeneratorSource(event, events, RateLimiterStrategy.per_second(rate))
    strategy = WatermarkStrategy.for_bounded_out_of_orderness(Duration.of_millis(200))
    stream = env.from_source(source, strategy.with_timestamp_assigner(lambda value, _: value[1]), name)
    return stream.uid(name).key_by(lambda value: value[0], str)


def write(stream: Any, out: str) -> None:
    stream.sink_to(sink_of(out)).uid("out")


# ---- state and timers ------------------------------------------------------------------------------------------------------


class Buckets(KeyedProcessFunction):
    """Counts by key and bucket of time, in map state; a timer tells the count and clears it."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.counts = runtime_context.get_map_state(MapStateDescriptor("counts", Types.LONG(), Types.LONG()))

    def process_element(self, value: Event, ctx: KeyedProcessFunction.Context) -> Iterator[str]:
        end = value[1] // BUCKET_MS * BUCKET_MS + BUCKET_MS
        self.counts.put(end, (self.counts.get(end) or 0) + 1)
        ctx.timer_service().register_event_time_timer(end)
        yield from ()

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[str]:
        yield f"{ctx.get_current_key()},{timestamp},{self.counts.get(timestamp)}"
        self.counts.remove(timestamp)


def timers(env: StreamExecutionEnvironment, out: str, events: int, rate: int) -> None:
    write(
        keyed(env, "events", events, rate).process(Buckets(), output_type=Types.STRING()).uid("buckets"), out
    )


def expected_timers(events: int) -> list[str]:
    counts = Counter(
        (key, time // BUCKET_MS * BUCKET_MS + BUCKET_MS) for key, time in map(event, range(events))
    )
    return [f"{key},{end},{count}" for (key, end), count in counts.items()]


# ---- two inputs ------------------------------------------------------------------------------------------------------------


class Pair(ProcessJoinFunction):
    def process_element(self, left: Event, right: Event, ctx: ProcessJoinFunction.Context) -> Iterator[str]:
        yield f"{left[0]},{left[1]},{right[1]}"


def join(env: StreamExecutionEnvironment, out: str, events: int, rate: int) -> None:
    left, right = (keyed(env, name, events, rate) for name in ("left", "right"))
    apart = Duration.of_millis(APART_MS)
    pairs = (
        left.interval_join(right)
        .between(Duration.of_millis(-APART_MS), apart)
        .process(Pair(), Types.STRING())
    )
    write(pairs.uid("pairs"), out)


def expected_join(events: int) -> list[str]:
    near = range(-APART_MS // KEYS * KEYS, APART_MS + 1, KEYS)
    return [
        f"{key},{time},{time + apart}"
        for key, time in map(event, range(events))
        for apart in near
        if 0 <= time + apart < events
    ]


TOPOLOGIES: dict[str, Callable[[StreamExecutionEnvironment, str, int, int], None]] = {
    "timers": timers,
    "join": join,
}
EXPECTED: dict[str, Callable[[int], list[str]]] = {
    "windows": expected_windows,
    "timers": expected_timers,
    "join": expected_join,
}


def expected_lines(topology: str, events: int) -> list[str]:
    """What the job must have written in the end."""
    if topology.startswith("graph-"):
        return program_of(int(topology.removeprefix("graph-")), events).lines
    return EXPECTED[topology](events)


if __name__ == "__main__":
    topology, folder, count, per_second = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    if topology == "windows":
        environment = windows(None, folder, count, per_second)
    elif topology.startswith("graph-"):
        environment = random_graph(None, int(topology.removeprefix("graph-")), folder, count, per_second)
    else:
        environment = StreamExecutionEnvironment.get_execution_environment()
        TOPOLOGIES[topology](environment, folder, count, per_second)
    environment.execute("chaos")
