"""The steps of random programs over keyed events, each with a plain reading of what it gives.

A step knows two things: how its streams are built, and which timed records come out of which, in a few lines that know nothing of
operators, subtasks or watermarks. No result hangs on the order in which records arrive.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from millstream import (
    AggregateFunction,
    AsyncDataStream,
    CoMapFunction,
    Duration,
    EventTimeSessionWindows,
    KeyedBroadcastProcessFunction,
    KeyedCoProcessFunction,
    KeyedProcessFunction,
    MapStateDescriptor,
    OutputTag,
    ProcessAllWindowFunction,
    ProcessFunction,
    ProcessJoinFunction,
    ProcessWindowFunction,
    RuntimeContext,
    SlidingEventTimeWindows,
    TumblingEventTimeWindows,
    Types,
    ValueStateDescriptor,
)

Event = tuple[str, int]
Timed = tuple[Event, int]
"""An event, and its time in ms."""
Bounds = tuple[int, int]
"""Of a window: first ms in it, and first one behind it."""
EVENT = Types.TUPLE([Types.STRING(), Types.LONG()])
LARGE = 1_000_003
"""Numbers stay below it."""
SIDE = OutputTag("odd", EVENT)


@dataclass(frozen=True)
class Step:
    """One operation.

    Attributes:
        build: the streams that come out of those that it takes.
        expect: the records of each, from the records of those.
    """

    name: str
    inputs: int
    build: Callable[..., list[Any]]
    expect: Callable[..., list[list[Timed]]]


def key_of(value: Event) -> str:
    return value[0]


def number_of(value: Event) -> int:
    return value[1]


def end_of(time: int, size: int) -> int:
    """Of the tumbling window, or bucket, that a time is in."""
    return time // size * size + size


def by_key(records: Iterable[Timed]) -> dict[str, list[tuple[int, int]]]:
    """Number and time of the records of each key."""
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for (key, number), time in records:
        found[key].append((number, time))
    return found


# ---- one record at a time ----------------------------------------------------------------------------------------------------


def one_by_one(name: str, build: Callable[[Any], Any], function: Callable[[Event], Iterable[Event]]) -> Step:
    return Step(
        name,
        1,
        lambda stream: [build(stream)],
        lambda records: [[(result, time) for value, time in records for result in function(value)]],
    )


def mapped(random: Random) -> Step:
    factor, typed = random.randrange(2, 50), random.choice((None, EVENT))
    change: Any = lambda value: (value[0], (value[1] * factor + 1) % LARGE)
    return one_by_one("map", lambda stream: stream.map(change, typed), lambda value: [change(value)])


def given_another_key(random: Random) -> Step:
    keys = random.choice((1, 3, 20))
    change: Any = lambda value: (f"n{value[1] % keys}", value[1])
    return one_by_one("another key", lambda stream: stream.map(change, EVENT), lambda value: [change(value)])


def filtered(random: Random) -> Step:
    modulus = random.randrange(2, 6)
    keep: Any = lambda value: value[1] % modulus != 1
    return one_by_one(
        "filter", lambda stream: stream.filter(keep), lambda value: [value] if keep(value) else []
    )


def flat_mapped(random: Random) -> Step:
    most = random.randrange(2, 4)

    def several(value: Event) -> Iterator[Event]:
        for copy in range(value[1] % most):
            yield value[0], (value[1] * 10 + copy) % LARGE

    return one_by_one("flat map", lambda stream: stream.flat_map(several), several)


def asked_outside(random: Random) -> Step:
    wait = random.choice((AsyncDataStream.ordered_wait, AsyncDataStream.unordered_wait))
    capacity = random.choice((1, 7, 100))

    async def ask(value: Event) -> list[Event]:
        return [(value[0], value[1] ^ 1)]

    return one_by_one(
        "async",
        lambda stream: wait(stream, ask, 60_000, capacity, EVENT),
        lambda value: [(value[0], value[1] ^ 1)],
    )


def spread(random: Random) -> Step:
    way = random.choice(("rebalance", "rescale", "shuffle", "global_", "custom"))

    def build(stream: Any) -> Any:
        if way == "custom":
            return stream.partition_custom(lambda key, count: key % count, number_of)
        return getattr(stream, way)()

    return one_by_one(way, lambda stream: build(stream).map(lambda value: value), lambda value: [value])


END = 10**12


class Total(KeyedProcessFunction[Any, Event, Event]):
    """Sum of a key's numbers, told when time ends."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.sum = runtime_context.get_state(ValueStateDescriptor("sum", int))

    def process_element(self, value: Event, ctx: Any) -> None:
        self.sum.update((self.sum.value() or 0) + value[1])
        ctx.timer_service().register_event_time_timer(END)

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Event]:
        yield repr(ctx.get_current_key()), (self.sum.value() or 0) % LARGE


def summed(random: Random) -> Step:
    """Keys of another kind each time; a result tells which."""
    keys: list[tuple[Any, Any]] = [
        (key_of, None),
        (key_of, Types.STRING()),
        (number_of, None),
        (lambda v: (v[0], v[1] % 3), None),
        (
            lambda v: v[1] % 2 == 0,
            Types.BOOLEAN(),
        ),  # undeclared, `True` is 1 after a restore, as they are one key
    ]
    key, key_type = random.choice(keys)

    def expect(records: list[Timed]) -> list[list[Timed]]:
        sums: Counter[Any] = Counter()
        for value, _ in records:
            sums[key(value)] += value[1]
        return [[((repr(k), total % LARGE), END) for k, total in sums.items()]]

    return Step("total", 1, lambda stream: [stream.key_by(key, key_type).process(Total(), EVENT)], expect)


class Odd(ProcessFunction[Event, Event]):
    """Odd numbers leave by the side."""

    def process_element(self, value: Event, ctx: Any) -> Iterator[Any]:
        yield (SIDE, value) if value[1] % 2 else value


def parted(random: Random) -> Step:
    def build(stream: Any) -> list[Any]:
        even = stream.process(Odd(), EVENT)
        return [even, even.get_side_output(SIDE)]

    return Step(
        "side output",
        1,
        build,
        lambda records: [[one for one in records if one[0][1] % 2 == odd] for odd in (0, 1)],
    )


# ---- windows and timers -------------------------------------------------------------------------------------------------------


class Sum(AggregateFunction[Event, int, int]):
    def create_accumulator(self) -> int:
        return 0

    def add(self, value: Event, accumulator: int) -> int:
        return accumulator + value[1]

    def get_result(self, accumulator: int) -> int:
        return accumulator % LARGE

    def merge(self, acc_a: int, acc_b: int) -> int:
        return acc_a + acc_b


class WithKey(ProcessWindowFunction[int, Event, str, Any]):
    def process(self, key: str, context: Any, elements: Iterable[int]) -> Iterator[Event]:
        for total in elements:
            yield key, total


class SumOfAll(ProcessWindowFunction[Event, Event, str, Any]):
    def process(self, key: str, context: Any, elements: Iterable[Event]) -> Iterator[Event]:
        yield key, sum(map(number_of, elements)) % LARGE


def summed_in(
    random: Random, name: str, assigner: Any, bounds: Callable[[list[int], int], Iterable[Bounds]]
) -> Step:
    """Sums per key and window. `bounds` gives the windows of a record, from the times of all of its key and its own."""
    way = random.choice(("reduce", "aggregate", "process"))

    def build(stream: Any) -> list[Any]:
        windows = stream.key_by(key_of).window(assigner)
        if way == "reduce":
            return [windows.reduce(lambda a, b: (a[0], a[1] + b[1])).map(lambda v: (v[0], v[1] % LARGE))]
        if way == "aggregate":
            return [windows.aggregate(Sum(), WithKey(), Types.LONG(), EVENT)]
        return [windows.process(SumOfAll(), EVENT)]

    def expect(records: list[Timed]) -> list[list[Timed]]:
        sums: Counter[tuple[str, Bounds]] = Counter()
        for key, all_ in by_key(records).items():
            times = sorted({time for _, time in all_})
            windows = {time: tuple(bounds(times, time)) for time in times}
            for number, time in all_:
                for window in windows[time]:
                    sums[key, window] += number
        return [[((key, total % LARGE), end - 1) for (key, (_, end)), total in sums.items()]]

    return Step(f"{way} of {name}", 1, build, expect)


def windowed(random: Random) -> Step:
    size = random.choice((40, 100, 350))
    slide = random.choice((size, size, size // 2, 30, 170))
    assigner: Any = (
        TumblingEventTimeWindows.of(Duration.of_millis(size))
        if slide == size
        else SlidingEventTimeWindows.of(Duration.of_millis(size), Duration.of_millis(slide))
    )

    def bounds(times: list[int], time: int) -> Iterator[Bounds]:
        del times
        return ((start, start + size) for start in range(time // slide * slide, time - size, -slide))

    return summed_in(random, f"windows {size}/{slide}", assigner, bounds)


def sessions(random: Random) -> Step:
    gap = random.choice((9, 25, 120))

    def bounds(times: list[int], time: int) -> Iterator[Bounds]:
        """Sorted times: a session ends where none comes for as long as the gap."""
        first = last = bisect_left(times, time)
        while first > 0 and times[first] - times[first - 1] <= gap:
            first -= 1
        while last + 1 < len(times) and times[last + 1] - times[last] <= gap:
            last += 1
        yield times[first], times[last] + gap

    assigner = EventTimeSessionWindows.with_gap(Duration.of_millis(gap))
    return summed_in(random, f"sessions {gap}", assigner, bounds)


class Buckets(KeyedCoProcessFunction[str, Event, Event, Event]):
    """Per key and bucket of time: sum of the first input's numbers, less how many records the second had; told by a timer."""

    def __init__(self, bucket: int) -> None:
        self.bucket = bucket

    def open(self, runtime_context: RuntimeContext) -> None:
        self.sums = runtime_context.get_map_state(MapStateDescriptor("sums", Types.LONG(), Types.LONG()))

    def process_element1(self, value: Event, ctx: Any) -> None:
        self.add(value[1], ctx)

    def process_element2(self, value: Event, ctx: Any) -> None:
        self.add(-1, ctx)

    def add(self, number: int, ctx: Any) -> None:
        end = end_of(ctx.timestamp(), self.bucket)
        self.sums.put(end, (self.sums.get(end) or 0) + number)
        ctx.timer_service().register_event_time_timer(end)

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Event]:
        yield ctx.get_current_key(), self.sums.get(timestamp) % LARGE
        self.sums.remove(timestamp)


def in_buckets(random: Random) -> Step:
    bucket = random.choice((30, 90, 400))

    def expect(first: list[Timed], second: list[Timed]) -> list[list[Timed]]:
        sums: Counter[tuple[str, int]] = Counter()
        for (key, number), time in first:
            sums[key, end_of(time, bucket)] += number
        for (key, _), time in second:
            sums[key, end_of(time, bucket)] -= 1
        return [[((key, total % LARGE), end) for (key, end), total in sums.items()]]

    return Step(
        f"two inputs in buckets {bucket}",
        2,
        lambda first, second: [first.connect(second).key_by(key_of, key_of).process(Buckets(bucket), EVENT)],
        expect,
    )


class Pair(ProcessJoinFunction[Event, Event, Event]):
    def process_element(self, left: Event, right: Event, ctx: Any) -> Iterator[Event]:
        yield left[0], (left[1] * 3 + right[1]) % LARGE


def paired(random: Random) -> Step:
    before, after = random.choice(((-4, 4), (0, 7), (-9, -2)))

    def build(left: Any, right: Any) -> list[Any]:
        joined = left.key_by(key_of).interval_join(right.key_by(key_of))
        return [joined.between(Duration.of_millis(before), Duration.of_millis(after)).process(Pair(), EVENT)]

    def expect(left: list[Timed], right: list[Timed]) -> list[list[Timed]]:
        results = []
        others: dict[tuple[str, int], list[int]] = defaultdict(list)
        for (key, number), time in right:
            others[key, time].append(number)
        for (key, number), time in left:
            for then in range(time + before, time + after + 1):
                results += [
                    ((key, (number * 3 + other) % LARGE), max(time, then))
                    for other in others.get((key, then), ())
                ]
        return [results]

    return Step(f"interval join {before} {after}", 2, build, expect)


def together(random: Random) -> Step:
    size = random.choice((50, 200))

    def both(key_and_ones: list[Event], others: list[Event]) -> list[Event]:
        key = (key_and_ones or others)[0][0]
        return [(key, (sum(map(number_of, key_and_ones)) * 2 + len(others)) % LARGE)]

    def build(first: Any, second: Any) -> list[Any]:
        windows = TumblingEventTimeWindows.of(Duration.of_millis(size))
        return [first.co_group(second).where(key_of).equal_to(key_of).window(windows).apply(both, EVENT)]

    def expect(first: list[Timed], second: list[Timed]) -> list[list[Timed]]:
        sums: Counter[tuple[str, int]] = Counter()
        for factor, records in ((2, first), (0, second)):
            for (key, number), time in records:
                sums[key, end_of(time, size)] += number * factor if factor else 1
        return [[((key, total % LARGE), end - 1) for (key, end), total in sums.items()]]

    return Step(f"co-group {size}", 2, build, expect)


def joined(random: Random) -> Step:
    size = random.choice((20, 60))

    def build(first: Any, second: Any) -> list[Any]:
        windows = TumblingEventTimeWindows.of(Duration.of_millis(size))
        pairs = first.join(second).where(key_of).equal_to(key_of).window(windows)
        return [pairs.apply(lambda a, b: (a[0], (a[1] + 5 * b[1]) % LARGE), EVENT)]

    def expect(first: list[Timed], second: list[Timed]) -> list[list[Timed]]:
        others: dict[tuple[str, int], list[int]] = defaultdict(list)
        for (key, number), time in second:
            others[key, time // size].append(number)
        return [
            [
                ((key, (number + 5 * other) % LARGE), end_of(time, size) - 1)
                for (key, number), time in first
                for other in others.get((key, time // size), ())
            ]
        ]

    return Step(f"join in windows {size}", 2, build, expect)


class Either(CoMapFunction[Event, Event, Event]):
    def map1(self, value: Event) -> Event:
        return value[0], (value[1] + 1) % LARGE

    def map2(self, value: Event) -> Event:
        return f"{value[0][:9]}'", value[1]


def mapped_together(random: Random) -> Step:
    del random
    mine = Either()
    return Step(
        "co-map",
        2,
        lambda first, second: [first.connect(second).map(mine, EVENT)],
        lambda first, second: [
            [(mine.map1(value), time) for value, time in first]
            + [(mine.map2(value), time) for value, time in second]
        ],
    )


class SumOfEverything(ProcessAllWindowFunction[Event, Event, Any]):
    def process(self, context: Any, elements: Iterable[Event]) -> Iterator[Event]:
        yield "all", sum(map(number_of, elements)) % LARGE


def all_windowed(random: Random) -> Step:
    size = random.choice((30, 250))

    def build(stream: Any) -> list[Any]:
        windows = stream.window_all(TumblingEventTimeWindows.of(Duration.of_millis(size)))
        return [windows.process(SumOfEverything(), EVENT).map(lambda value: value)]

    def expect(records: list[Timed]) -> list[list[Timed]]:
        sums: Counter[int] = Counter()
        for (_, number), time in records:
            sums[end_of(time, size)] += number
        return [[(("all", total % LARGE), end - 1) for end, total in sums.items()]]

    return Step(f"windows of all {size}", 1, build, expect)


RULES = MapStateDescriptor("rules", Types.LONG(), Types.LONG())


class Ruled(KeyedBroadcastProcessFunction[str, Event, Event, Event]):
    """Per key and bucket: how many records, and the sum of all that was broadcast before the bucket's end."""

    def __init__(self, bucket: int) -> None:
        self.bucket = bucket

    def open(self, runtime_context: RuntimeContext) -> None:
        self.counts = runtime_context.get_map_state(MapStateDescriptor("counts", Types.LONG(), Types.LONG()))

    def process_element(self, value: Event, ctx: Any) -> None:
        end = end_of(ctx.timestamp(), self.bucket)
        self.counts.put(end, (self.counts.get(end) or 0) + 1)
        ctx.timer_service().register_event_time_timer(end)

    def process_broadcast_element(self, value: Event, ctx: Any) -> None:
        rules = ctx.get_broadcast_state(RULES)
        end = end_of(ctx.timestamp(), self.bucket)
        rules.put(end, (rules.get(end) or 0) + value[1])

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Event]:
        rules = sum(total for end, total in ctx.get_broadcast_state(RULES).items() if end <= timestamp)
        yield ctx.get_current_key(), (self.counts.get(timestamp) * 1_000 + rules) % LARGE
        self.counts.remove(timestamp)


def ruled(random: Random) -> Step:
    bucket = random.choice((100, 400))

    def expect(records: list[Timed], rules: list[Timed]) -> list[list[Timed]]:
        counts = Counter((key, end_of(time, bucket)) for (key, _), time in records)
        by_end: Counter[int] = Counter()
        for (_, number), time in rules:
            by_end[end_of(time, bucket)] += number
        before = {
            end: sum(total for then, total in by_end.items() if then <= end) for end in {e for _, e in counts}
        }
        return [[((key, (n * 1_000 + before[end]) % LARGE), end) for (key, end), n in counts.items()]]

    return Step(
        f"broadcast {bucket}",
        2,
        lambda records, rules: [
            records.key_by(key_of).connect(rules.broadcast(RULES)).process(Ruled(bucket), EVENT)
        ],
        expect,
    )


def united(random: Random) -> Step:
    del random
    return Step(
        "union", 2, lambda first, second: [first.union(second)], lambda first, second: [first + second]
    )


STEPS: list[Callable[[Random], Step]] = [
    mapped,
    given_another_key,
    filtered,
    flat_mapped,
    asked_outside,
    spread,
    summed,
    parted,
    windowed,
    sessions,
    in_buckets,
    paired,
    together,
    joined,
    mapped_together,
    all_windowed,
    ruled,
    united,
]
