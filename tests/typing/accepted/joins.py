"""Connected, broadcast and joined streams, in every form. Checked by tests/typing/test_typing.py, never run."""

from collections.abc import Iterator, Sequence
from typing import Any, assert_type

from millstream import (
    BroadcastConnectedStream,
    CoFlatMapFunction,
    CoGroupFunction,
    CoMapFunction,
    ConnectedStreams,
    CoProcessFunction,
    DataStream,
    IntervalJoin,
    IntervalJoined,
    JoinedStreams,
    JoinFunction,
    KeyedBroadcastProcessFunction,
    KeyedCoProcessFunction,
    MapStateDescriptor,
    OutputTag,
    ProcessJoinFunction,
    SlidingEventTimeWindows,
    StreamExecutionEnvironment,
    ValueStateDescriptor,
)

Order = tuple[str, int]
Payment = tuple[str, float]


class Users(CoMapFunction[Order, Payment, str]):
    def map1(self, value: Order) -> str:
        return value[0]

    def map2(self, value: Payment) -> str:
        return value[0]


class Letters(CoFlatMapFunction[Order, Payment, bytes]):
    def flat_map1(self, value: Order) -> list[bytes]:
        return [value[0].encode()]

    def flat_map2(self, value: Payment) -> None:
        return None


class Amounts(CoProcessFunction[Order, Payment, float]):
    def process_element1(self, value: Order, ctx: CoProcessFunction.Context) -> Iterator[float]:
        yield value[1]

    def process_element2(
        self, value: Payment, ctx: CoProcessFunction.Context
    ) -> Iterator[float | tuple[OutputTag[Any], Any]]:
        yield value[1]
        yield LATE, value


class Paid(KeyedCoProcessFunction[str, Order, Payment, bool]):
    def process_element1(self, value: Order, ctx: KeyedCoProcessFunction.Context) -> Iterator[bool]:
        yield value[1] > 0

    def process_element2(self, value: Payment, ctx: KeyedCoProcessFunction.Context) -> Iterator[bool]:
        ctx.timer_service().delete_event_time_timer(5)
        yield value[1] > 0


class Converted(KeyedBroadcastProcessFunction[str, Order, Payment, float]):
    def process_element(
        self, value: Order, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext
    ) -> Iterator[float]:
        rate = ctx.get_broadcast_state(RATES).get(value[0])
        assert_type(rate, float | None)
        yield value[1] * (rate or 1)

    def process_broadcast_element(
        self, value: Payment, ctx: KeyedBroadcastProcessFunction.Context
    ) -> Iterator[float]:
        ctx.get_broadcast_state(RATES).put(*value)
        ctx.apply_to_keyed_state(ValueStateDescriptor("last", int), lambda key, state: None)
        yield 0.0


class Pair(JoinFunction[Order, Payment, tuple[int, float]]):
    def join(self, first: Order, second: Payment) -> tuple[int, float]:
        return first[1], second[1]


class Counts(CoGroupFunction[Order, Payment, int]):
    def co_group(self, first: Sequence[Order], second: Sequence[Payment]) -> list[int]:
        return [len(first), len(second)]


class Delay(ProcessJoinFunction[Order, Payment, int]):
    def process_element(
        self, left: Order, right: Payment, ctx: ProcessJoinFunction.Context
    ) -> Iterator[int | tuple[OutputTag[Any], Any]]:
        yield ctx.get_right_timestamp() - ctx.get_left_timestamp()
        yield LATE, right


def delay(left: Order, right: Payment, ctx: ProcessJoinFunction.Context) -> list[int]:
    return [ctx.get_timestamp()]


RATES = MapStateDescriptor("rates", str, float)
LATE = OutputTag[Payment]("late")
env = StreamExecutionEnvironment.get_execution_environment()
orders = env.from_collection([("a", 1)])
payments = env.from_collection([("a", 1.5)])

both = orders.connect(payments)
assert_type(both, ConnectedStreams[Order, Payment])
assert_type(both.map(Users()), DataStream[str])
assert_type(both.flat_map(Letters()), DataStream[bytes])
assert_type(both.process(Amounts()), DataStream[float])
assert_type(both.process(Amounts()).get_side_output(LATE), DataStream[Payment])
by_user = both.key_by(lambda order: order[0], lambda payment: payment[0])
assert_type(by_user, ConnectedStreams[Order, Payment])
assert_type(by_user.process(Paid()), DataStream[bool])
assert_type(by_user.process(Amounts()), DataStream[float])

by_name = orders.key_by(lambda order: order[0])
paid_by = payments.key_by(lambda payment: payment[0])
assert_type(by_name.connect(paid_by), ConnectedStreams[Order, Payment])
assert_type(by_name.connect(paid_by).process(Paid()), DataStream[bool])
converted = by_name.connect(payments.broadcast(RATES))
assert_type(converted, BroadcastConnectedStream[Order, Payment])
assert_type(converted.process(Converted()), DataStream[float])

joined = orders.join(payments)
assert_type(joined, JoinedStreams[Order, Payment])
equal = joined.where(lambda order: order[0]).equal_to(lambda payment: payment[0])
windows = equal.window(SlidingEventTimeWindows.of(10, 5)).allowed_lateness(5)
assert_type(windows.apply(Pair()), DataStream[tuple[int, float]])
assert_type(windows.apply(lambda order, payment: order[1] + payment[1]), DataStream[float])

grouped = orders.co_group(payments).where(lambda order: order[0]).equal_to(lambda payment: payment[0])
groups = grouped.window(SlidingEventTimeWindows.of(10, 5))
assert_type(groups.apply(Counts()), DataStream[int])
assert_type(
    groups.apply(lambda first, second: [(first, second)]),
    DataStream[tuple[Sequence[Order], Sequence[Payment]]],
)

near = by_name.interval_join(paid_by)
assert_type(near, IntervalJoin[str, Order, Payment])
between = near.between(-5, 5).upper_bound_exclusive().side_output_right_late_data(LATE)
assert_type(between, IntervalJoined[str, Order, Payment])
assert_type(between.process(Delay()), DataStream[int])
assert_type(between.process(delay), DataStream[int])
assert_type(
    between.process(lambda order, payment, ctx: [(order[1], payment[1])]), DataStream[tuple[int, float]]
)
assert_type(between.process(Delay()).get_side_output(LATE), DataStream[Payment])
