"""What type checkers infer of programs with two streams. Checked by tests/typing/test_typing.py, never run."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_type

from millstream import (
    BroadcastConnectedStream,
    BroadcastProcessFunction,
    BroadcastStream,
    CoMapFunction,
    ConnectedStreams,
    DataStream,
    FlatJoinFunction,
    KeyedCoProcessFunction,
    MapStateDescriptor,
    ProcessJoinFunction,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
)


@dataclass
class Order:
    user: str
    amount: int


class Amounts(CoMapFunction[Order, str, int]):
    def map1(self, value: Order) -> int:
        return value.amount

    def map2(self, value: str) -> int:
        return len(value)


class Match(KeyedCoProcessFunction[str, Order, str, bool]):
    def process_element1(self, value: Order, ctx: KeyedCoProcessFunction.Context) -> Iterator[bool]:
        ctx.timer_service().register_event_time_timer(1)
        yield value.amount > 1

    def process_element2(self, value: str, ctx: KeyedCoProcessFunction.Context) -> Iterator[bool]:
        yield value == ctx.get_current_key()

    def on_timer(self, timestamp: int, ctx: KeyedCoProcessFunction.OnTimerContext) -> Iterator[bool]:
        yield ctx.time_domain() == "EVENT_TIME"


class Limits(BroadcastProcessFunction[Order, str, float]):
    def process_element(self, value: Order, ctx: BroadcastProcessFunction.ReadOnlyContext) -> Iterator[float]:
        yield (ctx.get_broadcast_state(LIMITS).get(value.user) or 0) / 2

    def process_broadcast_element(self, value: str, ctx: BroadcastProcessFunction.Context) -> None:
        ctx.get_broadcast_state(LIMITS).put(value, 1)


class Near(ProcessJoinFunction[Order, str, int]):
    def process_element(self, left: Order, right: str, ctx: ProcessJoinFunction.Context) -> Iterator[int]:
        yield ctx.get_left_timestamp() + len(right) + left.amount


class Halves(FlatJoinFunction[Order, str, float]):
    def join(self, first: Order, second: str) -> Iterator[float]:
        yield first.amount / len(second)


LIMITS = MapStateDescriptor("limits", str, int)
env = StreamExecutionEnvironment.get_execution_environment()
orders = env.from_collection([Order("a", 1)])
users = env.from_collection(["a"])
both = orders.connect(users)
assert_type(both, ConnectedStreams[Order, str])
assert_type(both.map(Amounts()), DataStream[int])
keyed = both.key_by(lambda order: order.user, lambda user: user)
assert_type(keyed.process(Match()), DataStream[bool])
assert_type(users.broadcast(), DataStream[str])
assert_type(users.broadcast(LIMITS), BroadcastStream[str])
ruled = orders.connect(users.broadcast(LIMITS))
assert_type(ruled, BroadcastConnectedStream[Order, str])
assert_type(ruled.process(Limits()), DataStream[float])
joined = orders.join(users).where(lambda order: order.user).equal_to(lambda user: user)
windowed = joined.window(TumblingEventTimeWindows.of(10))
assert_type(windowed.apply(lambda order, user: (order.amount, user)), DataStream[tuple[int, str]])
assert_type(windowed.apply(Halves()), DataStream[float])
grouped = orders.co_group(users).where(lambda order: order.user).equal_to(lambda user: user)
groups = grouped.window(TumblingEventTimeWindows.of(10)).allowed_lateness(3)
assert_type(groups.apply(lambda orders, users: [len(orders) / len(users)]), DataStream[float])
left, right = orders.key_by(lambda order: order.user), users.key_by(lambda user: user)
assert_type(left.interval_join(right).between(-1, 1).process(Near()), DataStream[int])
