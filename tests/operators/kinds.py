"""Every kind of operator on keyed or broadcast state, made as a program makes it.

Records of both inputs are `(key, number)`. No function depends on the order of the records of different keys, and none leaves
state behind once event time and then the clock have come to their ends, but where `remembers` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import add, itemgetter
from typing import Any, TypeAlias

from millstream import (
    AggregateFunction,
    AggregatingStateDescriptor,
    BroadcastProcessFunction,
    CoFlatMapFunction,
    CoMapFunction,
    ContinuousEventTimeTrigger,
    ContinuousProcessingTimeTrigger,
    CountEvictor,
    CountTrigger,
    DataStream,
    DeltaTrigger,
    EventTimeSessionWindows,
    FilterFunction,
    FlatMapFunction,
    GlobalWindows,
    KeyedBroadcastProcessFunction,
    KeyedCoProcessFunction,
    KeyedProcessFunction,
    KeyedStream,
    ListStateDescriptor,
    MapFunction,
    MapStateDescriptor,
    OutputTag,
    ProcessAllWindowFunction,
    ProcessingTimeSessionWindows,
    ProcessWindowFunction,
    PurgingTrigger,
    ReducingStateDescriptor,
    SlidingEventTimeWindows,
    SlidingProcessingTimeWindows,
    StreamExecutionEnvironment,
    TimeEvictor,
    Trigger,
    TriggerResult,
    TumblingEventTimeWindows,
    TumblingProcessingTimeWindows,
    Types,
    ValueStateDescriptor,
)
from tests.operators.windows import CollectedWithoutMerge, add_values

RECORD = Types.TUPLE([Types.STRING(), Types.LONG()])
LATE = OutputTag("late", RECORD)
RIGHT_LATE = OutputTag("right late", RECORD)
RULES = MapStateDescriptor("rules", Types.STRING(), Types.LONG())
Keyed = KeyedStream[Any, Any]


class Total(AggregateFunction):
    def create_accumulator(self):
        return 0

    def add(self, value, accumulator):
        return accumulator + value[1]

    def get_result(self, accumulator):
        return accumulator

    def merge(self, acc_a, acc_b):
        return acc_a + acc_b


class Describe(ProcessWindowFunction):
    """The firing's number of its window and of its key, and what the window holds."""

    def process(self, key, context, elements):
        firings = context.window_state().get_state(ValueStateDescriptor("firings", Types.LONG()))
        firings.update((firings.value() or 0) + 1)
        yield key, context.window().max_timestamp(), firings.value(), sorted(elements)

    def clear(self, context):
        context.window_state().get_state(ValueStateDescriptor("firings", Types.LONG())).clear()


class Merged(ProcessWindowFunction):
    """For windows that merge, which have no state of one window."""

    def process(self, key, context, elements):
        yield key, context.window().max_timestamp(), sorted(elements)


class AllElements(ProcessAllWindowFunction):
    def process(self, context, elements):
        yield context.window().max_timestamp(), sorted(elements)


class Counted(MapFunction):
    def open(self, runtime_context):
        self.count = runtime_context.get_state(ValueStateDescriptor("count", Types.LONG()))

    def map(self, value):
        count = (self.count.value() or 0) + 1
        self.count.update(count % 3 or None)
        return value, count


class First(FilterFunction):
    def open(self, runtime_context):
        self.seen = runtime_context.get_state(ValueStateDescriptor("seen", Types.BOOLEAN()))

    def filter(self, value):
        is_first = self.seen.value() is None
        self.seen.update(True)
        return is_first


class Pairs(FlatMapFunction):
    def open(self, runtime_context):
        self.waiting = runtime_context.get_list_state(ListStateDescriptor("waiting", Types.LONG()))

    def flat_map(self, value):
        waiting = self.waiting.get()
        self.waiting.clear()
        if waiting:
            return [(value[0], *waiting, value[1])]
        self.waiting.add(value[1])
        return None


class Everything(KeyedProcessFunction):
    """All kinds of state; forgets a key 20 ms after its last record, and tells of it when the clock has gone on for 15 ms."""

    def open(self, runtime_context):
        self.last = runtime_context.get_state(ValueStateDescriptor("last", Types.LONG()))
        self.all = runtime_context.get_list_state(ListStateDescriptor("all", Types.LONG()))
        self.counts = runtime_context.get_map_state(MapStateDescriptor("counts", Types.LONG(), Types.LONG()))
        self.largest = runtime_context.get_reducing_state(
            ReducingStateDescriptor("largest", max, Types.LONG())
        )
        self.total = runtime_context.get_aggregating_state(
            AggregatingStateDescriptor("total", Total(), Types.LONG())
        )

    def process_element(self, value, ctx):
        timers, now = ctx.timer_service(), max(ctx.timestamp(), ctx.timer_service().current_watermark())
        if self.last.value() is not None:
            timers.delete_event_time_timer(self.last.value())
        self.last.update(now + 20)
        self.all.add(value[1])
        self.counts.put(value[1], (self.counts.get(value[1]) or 0) + 1)
        self.largest.add(value[1])
        self.total.add(value)
        timers.register_event_time_timer(now + 20)
        timers.register_processing_time_timer(timers.current_processing_time() + 15)
        yield value, self._known()

    def on_timer(self, timestamp, ctx):
        yield ctx.get_current_key(), ctx.time_domain(), timestamp, self._known()
        yield LATE, (ctx.get_current_key(), timestamp)
        if ctx.time_domain() == "EVENT_TIME":
            for state in (self.last, self.all, self.counts, self.largest, self.total):
                state.clear()

    def _known(self):
        return sorted(self.all.get()), sorted(self.counts.items()), self.largest.get(), self.total.get()


class Matching(KeyedCoProcessFunction):
    """Numbers of input 1 wait for input 2, or for 10 ms."""

    def open(self, runtime_context):
        self.waiting = runtime_context.get_map_state(
            MapStateDescriptor("waiting", Types.LONG(), Types.LONG())
        )

    def process_element1(self, value, ctx):
        due = max(ctx.timestamp(), ctx.timer_service().current_watermark()) + 10
        self.waiting.put(value[1], due)
        ctx.timer_service().register_event_time_timer(due)

    def process_element2(self, value, ctx):
        yield "matched", value, sorted(self.waiting.items())
        for due in set(self.waiting.values()):
            ctx.timer_service().delete_event_time_timer(due)
        self.waiting.clear()

    def on_timer(self, timestamp, ctx):
        given_up = sorted(number for number, due in self.waiting.items() if due <= timestamp)
        yield "given up", ctx.get_current_key(), given_up
        for number in given_up:
            self.waiting.remove(number)


class Both(CoMapFunction):
    def open(self, runtime_context):
        self.count = runtime_context.get_state(ValueStateDescriptor("count", Types.LONG()))

    def map1(self, value):
        count = (self.count.value() or 0) + 1
        self.count.update(count % 3 or None)
        return value, count

    map2 = map1


class BothFlat(CoFlatMapFunction):
    def open(self, runtime_context):
        self.first = runtime_context.get_list_state(ListStateDescriptor("first", Types.LONG()))

    def flat_map1(self, value):
        self.first.add(value[1])

    def flat_map2(self, value):
        found = sorted(self.first.get())
        self.first.clear()
        return [(value, number) for number in found]


class Rules(BroadcastProcessFunction):
    def process_element(self, value, ctx):
        yield value, sorted(ctx.get_broadcast_state(RULES).items())

    def process_broadcast_element(self, value, ctx):
        ctx.get_broadcast_state(RULES).put(*value)


class KeyedRules(KeyedBroadcastProcessFunction):
    """A record is held back for 10 ms, and comes with the rules of that time."""

    def open(self, runtime_context):
        self.held = runtime_context.get_list_state(ListStateDescriptor("held", Types.LONG()))

    def process_element(self, value, ctx):
        self.held.add(value[1])
        now = max(ctx.timestamp(), ctx.timer_service().current_watermark())
        ctx.timer_service().register_event_time_timer(now + 10)
        yield value, sorted(ctx.get_broadcast_state(RULES).items())

    def process_broadcast_element(self, value, ctx):
        ctx.get_broadcast_state(RULES).put(*value)

    def on_timer(self, timestamp, ctx):
        rules = sorted(ctx.get_broadcast_state(RULES).items())
        yield ctx.get_current_key(), timestamp, sorted(self.held.get()), rules
        self.held.clear()


def both(left: Any, right: Any) -> Any:
    return left, right


def join(left: Any, right: Any, ctx: Any) -> Any:
    yield left, right, ctx.get_timestamp()


def groups_of(first: Any, second: Any) -> Any:
    yield sorted(first), sorted(second)


@dataclass(frozen=True)
class Inputs:
    """Two streams, and the same by key."""

    first: DataStream[Any]
    second: DataStream[Any]
    keyed1: Keyed
    keyed2: Keyed


Build: TypeAlias = Callable[[Inputs], DataStream[Any]]


@dataclass(frozen=True)
class Kind:
    """One operator.

    Attributes:
        build: or one for each way to use it.
        two_inputs: of the second input come records, too.
        tagged: both inputs come as one, of pairs `(1, first)` and `(2, second)`.
        remembers: what it knows of a key stays for ever.
    """

    name: str
    build: Build | Mapping[str, Build]
    two_inputs: bool = False
    tagged: bool = False
    remembers: bool = False

    @property
    def builds(self) -> Mapping[str, Build]:
        return {"only": self.build} if callable(self.build) else self.build

    def spec(self, way: str = "only") -> Any:
        env = StreamExecutionEnvironment.get_execution_environment()
        first, second = (env.from_collection([], type_info=RECORD) for _ in range(2))
        keyed1, keyed2 = (stream.key_by(KEY, key_type=Types.STRING()) for stream in (first, second))
        return self.builds[way](Inputs(first, second, keyed1, keyed2))._own_node("test").operator

    def __str__(self) -> str:
        return self.name


KEY = itemgetter(0)
TUMBLING, SLIDING = TumblingEventTimeWindows.of(10), SlidingEventTimeWindows.of(10, 4)
MINUTE = SlidingEventTimeWindows.of(60, 20)


def late(windowed: Any) -> Any:
    return windowed.allowed_lateness(7).side_output_late_data(LATE)


WINDOWS: dict[str, Callable[[Keyed], Any]] = {
    "tumbling": lambda keyed: keyed.window(TumblingEventTimeWindows.of(10, 3)),
    "tumbling, late": lambda keyed: late(keyed.window(TUMBLING)),
    "sliding": lambda keyed: keyed.window(SLIDING),
    "sliding, late": lambda keyed: late(keyed.window(SLIDING)),
    "sliding with gaps": lambda keyed: keyed.window(SlidingEventTimeWindows.of(4, 10, 1)),
    "processing time": lambda keyed: keyed.window(TumblingProcessingTimeWindows.of(10)),
    "sliding processing time": lambda keyed: keyed.window(SlidingProcessingTimeWindows.of(10, 4)),
    "count": lambda keyed: keyed.count_window(3),
    "last of global": lambda keyed: keyed.window(GlobalWindows.create()).trigger(
        PurgingTrigger.of(CountTrigger.of(2))
    ),
    "continuous": lambda keyed: late(keyed.window(MINUTE)).trigger(ContinuousEventTimeTrigger.of(7)),
    "continuous processing time": lambda keyed: keyed.window(TumblingProcessingTimeWindows.of(20)).trigger(
        ContinuousProcessingTimeTrigger.of(6)
    ),
    "purging count": lambda keyed: keyed.window(TUMBLING).trigger(PurgingTrigger.of(CountTrigger.of(2))),
    "delta": lambda keyed: keyed.window(MINUTE).trigger(DeltaTrigger.of(2, difference, RECORD)),
    "early and late": lambda keyed: late(keyed.window(TUMBLING)).trigger(EarlyAndLate()),
}
MERGING: dict[str, Callable[[Keyed], Any]] = {
    "session": lambda keyed: keyed.window(EventTimeSessionWindows.with_gap(6)),
    "session, late": lambda keyed: late(keyed.window(EventTimeSessionWindows.with_gap(6))),
    "dynamic session": lambda keyed: keyed.window(
        EventTimeSessionWindows.with_dynamic_gap(lambda record: record[1] + 1)
    ),
    "processing time session": lambda keyed: keyed.window(ProcessingTimeSessionWindows.with_gap(6)),
    "continuous session": lambda keyed: keyed.window(EventTimeSessionWindows.with_gap(6)).trigger(
        ContinuousEventTimeTrigger.of(5)
    ),
    "early and late session": lambda keyed: keyed.window(EventTimeSessionWindows.with_gap(6)).trigger(
        EarlyAndLate()
    ),
}
REMEMBERED_WINDOWS = {"count", "last of global"}
"""They never end: the trigger's count stays."""


def difference(old: Any, new: Any) -> float:
    return float(new[1] - old[1])


class EarlyAndLate(Trigger):
    """At every third record, 5 ms before the end, and at the end: has state, and two timers of its own."""

    COUNT = ReducingStateDescriptor("count", add, Types.LONG())
    EARLY = ReducingStateDescriptor("early", max, Types.LONG())

    def on_element(self, element, timestamp, window, ctx):
        count = ctx.get_partitioned_state(self.COUNT)
        count.add(1)
        self._plan(window, ctx)
        if window.max_timestamp() <= ctx.get_current_watermark():
            return TriggerResult.FIRE
        if count.get() < 3:
            return TriggerResult.CONTINUE
        count.clear()
        return TriggerResult.FIRE_AND_PURGE

    def on_event_time(self, time, window, ctx):
        if time not in {window.max_timestamp(), ctx.get_partitioned_state(self.EARLY).get()}:
            return TriggerResult.CONTINUE
        return TriggerResult.FIRE

    def on_processing_time(self, time, window, ctx):
        return TriggerResult.CONTINUE

    def can_merge(self):
        return True

    def on_merge(self, window, ctx):
        ctx.merge_partitioned_state(self.COUNT)
        ctx.merge_partitioned_state(self.EARLY)
        self._plan(window, ctx)

    def clear(self, window, ctx):
        early = ctx.get_partitioned_state(self.EARLY)
        for time in (window.max_timestamp(), early.get()):
            if time is not None:
                ctx.delete_event_time_timer(time)
        early.clear()
        ctx.get_partitioned_state(self.COUNT).clear()

    def _plan(self, window, ctx):
        early, planned = ctx.get_partitioned_state(self.EARLY), window.max_timestamp() - 5
        if early.get() is not None and early.get() != planned:
            ctx.delete_event_time_timer(early.get())
        early.add(planned)
        for time in (planned, window.max_timestamp()):
            if time > ctx.get_current_watermark():
                ctx.register_event_time_timer(time)


def uses(make: Callable[[Keyed], Any], function: Any) -> dict[str, Build]:
    ways: dict[str, Callable[[Any], DataStream[Any]]] = {
        "reduce": lambda windowed: windowed.reduce(add_values),
        "aggregate": lambda windowed: windowed.aggregate(Total()),
        "process": lambda windowed: windowed.process(function),
        "reduce and process": lambda windowed: windowed.reduce(add_values, function),
        "aggregate and process": lambda windowed: windowed.aggregate(Total(), function),
    }
    return {name: lambda inputs, way=way: way(make(inputs.keyed1)) for name, way in ways.items()}


WINDOWED = [
    Kind(name, uses(make, function), remembers=name in REMEMBERED_WINDOWS)
    for assigners, function in ((WINDOWS, Describe()), (MERGING, Merged()))
    for name, make in assigners.items()
]
LISTED = [
    Kind(
        "aggregate without merge",
        lambda inputs: late(inputs.keyed1.window(SLIDING)).aggregate(CollectedWithoutMerge(), Describe()),
    ),
    Kind(
        "sliding count",
        lambda inputs: inputs.keyed1.count_window(3, 2).process(Describe()),
        remembers=True,
    ),
    Kind(
        "count evictor",
        lambda inputs: late(inputs.keyed1.window(SLIDING)).evictor(CountEvictor.of(2)).process(Describe()),
    ),
    Kind(
        "time evictor of sessions",
        lambda inputs: (
            inputs.keyed1.window(EventTimeSessionWindows.with_gap(6))
            .evictor(TimeEvictor.of(4, True))
            .process(Merged())
        ),
    ),
    Kind("all windows", lambda inputs: late(inputs.first.window_all(SLIDING)).process(AllElements())),
    Kind("all windows reduced", lambda inputs: inputs.first.window_all(TUMBLING).reduce(add_values)),
    Kind(
        "all count windows",
        lambda inputs: inputs.first.count_window_all(3).process(AllElements()),
        remembers=True,
    ),
]
ROLLING = [
    Kind("reduce", lambda inputs: inputs.keyed1.reduce(add_values), remembers=True),
    *(
        Kind(name, lambda inputs, name=name: getattr(inputs.keyed1, name)(1), remembers=True)
        for name in ("sum", "min", "max", "min_by", "max_by")
    ),
]
FUNCTIONS = [
    Kind("map", lambda inputs: inputs.keyed1.map(Counted()), remembers=True),
    Kind("filter", lambda inputs: inputs.keyed1.filter(First()), remembers=True),
    Kind("flat_map", lambda inputs: inputs.keyed1.flat_map(Pairs()), remembers=True),
    Kind("process", lambda inputs: inputs.keyed1.process(Everything())),
    Kind("co-process", lambda inputs: inputs.keyed1.connect(inputs.keyed2).process(Matching()), True),
    Kind("co-map", lambda inputs: inputs.keyed1.connect(inputs.keyed2).map(Both()), True, remembers=True),
    Kind(
        "co-flat-map",
        lambda inputs: inputs.keyed1.connect(inputs.keyed2).flat_map(BothFlat()),
        True,
        remembers=True,
    ),
    Kind(
        "broadcast",
        lambda inputs: inputs.first.connect(inputs.second.broadcast(RULES)).process(Rules()),
        True,
        remembers=True,
    ),
    Kind(
        "keyed broadcast",
        lambda inputs: inputs.keyed1.connect(inputs.second.broadcast(RULES)).process(KeyedRules()),
        True,
    ),
]
JOINS = [
    Kind(
        "interval join",
        lambda inputs: (
            inputs.keyed1.interval_join(inputs.keyed2)
            .between(-5, 8)
            .side_output_left_late_data(LATE)
            .side_output_right_late_data(RIGHT_LATE)
            .process(join)
        ),
        True,
    ),
    *(
        Kind(
            f"{name} in {of}",
            lambda inputs, name=name, assigner=assigner, function=function: (
                getattr(inputs.first, name)(inputs.second)
                .where(KEY, Types.STRING())
                .equal_to(KEY, Types.STRING())
                .window(assigner)
                .allowed_lateness(7)
                .apply(function)
            ),
            True,
            tagged=True,
        )
        for name, function in (("join", both), ("co_group", groups_of))
        for of, assigner in (
            ("tumbling windows", TUMBLING),
            ("sliding windows", SLIDING),
            ("sessions", EventTimeSessionWindows.with_gap(6)),
        )
    ),
]
KINDS = [*ROLLING, *FUNCTIONS, *JOINS, *WINDOWED, *LISTED]
