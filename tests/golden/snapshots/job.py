"""A job with state of every kind. Its uids, names and types are in the snapshots of every release: they do not change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from millstream import (
    AggregateFunction,
    AggregatingStateDescriptor,
    BroadcastProcessFunction,
    Configuration,
    DataStream,
    Duration,
    EventTimeSessionWindows,
    FlatMapFunction,
    FunctionInitializationContext,
    FunctionSnapshotContext,
    KeyedProcessFunction,
    ListStateDescriptor,
    MapStateDescriptor,
    ReduceFunction,
    ReducingStateDescriptor,
    RuntimeContext,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    Types,
    ValueStateDescriptor,
    WatermarkStrategy,
)
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy

RECORDS = 200
PER_SECOND = 100
RULES = MapStateDescriptor("rules", Types.LONG(), Types.STRING())


def event(index: int) -> tuple[str, int]:
    """Key and event time (ms); now and then nothing happens for a while."""
    return f"key-{index * 7 % 11}", index * 50 + index // 20 * 3_000


class Sum(ReduceFunction[int]):
    def reduce(self, value1: int, value2: int) -> int:
        return value1 + value2


class Mean(AggregateFunction[int, tuple[int, int], float]):
    def create_accumulator(self) -> tuple[int, int]:
        return 0, 0

    def add(self, value: int, accumulator: tuple[int, int]) -> tuple[int, int]:
        return accumulator[0] + value, accumulator[1] + 1

    def get_result(self, accumulator: tuple[int, int]) -> float:
        return accumulator[0] / max(1, accumulator[1])

    def merge(self, a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
        return a[0] + b[0], a[1] + b[1]


class EveryState(KeyedProcessFunction[str, tuple[str, int], str]):
    """Tells with each record what is in the states of its key, and sets timers."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.count = runtime_context.get_state(ValueStateDescriptor("count", Types.LONG()))
        self.times = runtime_context.get_list_state(ListStateDescriptor("times", Types.LONG()))
        self.by_digit = runtime_context.get_map_state(
            MapStateDescriptor("by-digit", Types.LONG(), Types.TUPLE([Types.STRING(), Types.LONG()]))
        )
        self.sum = runtime_context.get_reducing_state(ReducingStateDescriptor("sum", Sum(), Types.LONG()))
        self.mean = runtime_context.get_aggregating_state(
            AggregatingStateDescriptor("mean", Mean(), Types.TUPLE([Types.LONG(), Types.LONG()]))
        )

    def process_element(self, value: tuple[str, int], ctx: KeyedProcessFunction.Context) -> Iterator[str]:
        key, time = value
        count = (self.count.value() or 0) + 1
        self.count.update(count)
        self.times.add(time)
        self.by_digit.put(time // 50 % 10, (key, count))
        self.sum.add(time)
        self.mean.add(time)
        ctx.timer_service().register_event_time_timer(time + 4_000)
        if count == 1:
            ctx.timer_service().register_processing_time_timer(1_500)
        times, digits = list(self.times.get()), sorted(self.by_digit.items())
        yield f"states {key} {count} {times[0]} {len(times)} {digits[0]} {self.sum.get()} {self.mean.get():.2f}"

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[str]:
        domain = ctx.time_domain()
        yield f"timer {ctx.get_current_key()} {domain} {timestamp} {self.count.value()}"


class LastOnes(FlatMapFunction):
    """Repeats its last values after a restore, and tells how many records there were in all subtasks before."""

    def initialize_state(self, context: FunctionInitializationContext) -> None:
        store = context.get_operator_state_store()
        self.kept = store.get_list_state(ListStateDescriptor("last", Types.LONG()))
        self.counts = store.get_union_list_state(ListStateDescriptor("counts", Types.LONG()))
        self.restored = list(self.kept.get())
        self.before, self.count = sum(self.counts.get()), 0
        self.last: list[int] = []

    def flat_map(self, value: tuple[str, int]) -> Iterator[str]:
        for restored in self.restored:
            yield f"again {restored}"
        self.restored = []
        self.count += 1
        self.last = [*self.last, value[1]][-5:]
        yield f"counted {value[1]} after {self.before}"

    def snapshot_state(self, context: FunctionSnapshotContext) -> None:
        self.kept.update(self.last)
        self.counts.update([self.count])


class Rules(BroadcastProcessFunction):
    """What the rule for the digit says; all rules have come before the snapshot."""

    def process_element(self, value: tuple[str, int], ctx: Any) -> Iterator[str]:
        yield f"rule {value[1]} {ctx.get_broadcast_state(RULES).get(value[1] % 3)}"

    def process_broadcast_element(self, value: tuple[int, str], ctx: Any) -> Iterator[str]:
        ctx.get_broadcast_state(RULES).put(*value)
        yield from ()


def build(
    parallelism: int, backend: str, directory: str
) -> tuple[StreamExecutionEnvironment, DataStream[str]]:
    """The job, and the stream of all that it has to tell."""
    env = StreamExecutionEnvironment.get_execution_environment(Configuration())
    env.set_parallelism(parallelism).set_max_parallelism(16)
    env.enable_checkpointing(3_600_000)
    env.configure(
        {
            "state.backend.type": backend,
            "execution.checkpointing.dir": directory,
            "restart-strategy.type": "none",
        }
    )
    source = DataGeneratorSource(event, RECORDS, RateLimiterStrategy.per_second(PER_SECOND))
    strategy = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(
        lambda value, _: value[1]
    )
    events = env.from_source(source, strategy, "events", Types.TUPLE([Types.STRING(), Types.LONG()]))
    events = events.uid("events").set_parallelism(1).rebalance()  # in order, so that results are the same
    keyed = events.key_by(lambda value: value[0], Types.STRING())
    counted = keyed.map(lambda value: (value[0], 1), Types.TUPLE([Types.STRING(), Types.LONG()]))
    tumbling = counted.uid("ones").key_by(lambda value: value[0], Types.STRING())
    add = lambda a, b: (a[0], a[1] + b[1])
    tell = Types.STRING()
    windows = tumbling.window(TumblingEventTimeWindows.of(Duration.of_seconds(5))).reduce(add).uid("windows")
    sessions = (
        tumbling.window(EventTimeSessionWindows.with_gap(Duration.of_seconds(2))).reduce(add).uid("sessions")
    )
    rules = env.from_collection(
        [(n, f"rule-{n}") for n in range(3)], Types.TUPLE([Types.LONG(), Types.STRING()])
    )
    told = keyed.process(EveryState(), tell).uid("states")
    told = told.union(
        windows.map(lambda value: f"window {value}", tell).uid("tell-windows"),
        sessions.map(lambda value: f"session {value}", tell).uid("tell-sessions"),
        events.flat_map(LastOnes(), tell).uid("last-ones"),
        events.connect(rules.uid("rules").broadcast(RULES)).process(Rules(), tell).uid("apply-rules"),
    )
    return env, told
