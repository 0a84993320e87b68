"""Connected and joined streams: what programs of them give, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from typing import Any

import pytest

from millstream import (
    BroadcastProcessFunction,
    CoFlatMapFunction,
    CoGroupFunction,
    CoMapFunction,
    CoProcessFunction,
    Duration,
    FlatJoinFunction,
    JobDefinitionError,
    JobExecutionError,
    JoinFunction,
    KeyedBroadcastProcessFunction,
    KeyedCoProcessFunction,
    ListStateDescriptor,
    MapFunction,
    MapStateDescriptor,
    OutputTag,
    ProcessJoinFunction,
    Row,
    SlidingEventTimeWindows,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    Types,
    ValueStateDescriptor,
    WatermarkStrategy,
)
from millstream.core.types import GENERIC

RULES = MapStateDescriptor("rules", str, int)
BY_TIME = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(lambda value, _: value[1])
first = itemgetter(0)


@pytest.fixture
def env() -> StreamExecutionEnvironment:
    return StreamExecutionEnvironment.get_execution_environment()


def timed(env: StreamExecutionEnvironment, *values: tuple[str, int]) -> Any:
    return env.from_collection(list(values)).assign_timestamps_and_watermarks(BY_TIME)


def collected(stream: Any) -> list[Any]:
    return sorted(stream.execute_and_collect(), key=repr)


def refused(call: Any, match: str) -> None:
    """A bad call is refused, with its line in this file."""
    with pytest.raises(JobDefinitionError, match=match) as caught:
        call()
    assert caught.value.where.startswith(f"{__file__}:"), caught.value.where
    assert caught.value.fix


class Named(CoMapFunction):
    def map1(self, value: int) -> str:
        return f"one {value}"

    def map2(self, value: str) -> str:
        return f"two {value}"


class Words(CoFlatMapFunction):
    def flat_map1(self, value):
        return None

    def flat_map2(self, value):
        yield from value.split()


class Unkeyed(CoProcessFunction):
    def process_element1(self, value, ctx):
        yield 1, value

    def process_element2(self, value, ctx):
        yield 2, value


class Keyed(KeyedCoProcessFunction):
    def open(self, runtime_context):
        self.count = runtime_context.get_state(ValueStateDescriptor("count", int))

    def _count(self, ctx):
        self.count.update((self.count.value() or 0) + 1)
        return ctx.get_current_key(), self.count.value()

    def process_element1(self, value, ctx):
        yield self._count(ctx)

    def process_element2(self, value, ctx):
        yield self._count(ctx)


class OnRules(BroadcastProcessFunction):
    def process_element(self, value, ctx):
        yield value

    def process_broadcast_element(self, value, ctx):
        yield value


class OnKeyedRules(KeyedBroadcastProcessFunction):
    def process_element(self, value, ctx):
        yield ctx.get_current_key(), ctx.get_broadcast_state(RULES).get("x")

    def process_broadcast_element(self, value, ctx):
        ctx.get_broadcast_state(RULES).put("x", value)


def test_connected_streams_are_mapped_each_by_its_method(env) -> None:
    both = env.from_collection([1, 2]).connect(env.from_collection(["a", "b c"]))
    mapped = both.map(Named())
    assert mapped.get_type() == Types.STRING()
    assert collected(mapped) == ["one 1", "one 2", "two a", "two b c"]
    assert collected(both.flat_map(Words())) == ["a", "b", "c"]
    assert collected(both.process(Unkeyed())) == [(1, 1), (1, 2), (2, "a"), (2, "b c")]


def test_a_stream_may_be_connected_with_itself(env) -> None:
    numbers = env.from_collection([1, 2])
    assert collected(numbers.connect(numbers).process(Unkeyed())) == [(1, 1), (1, 2), (2, 1), (2, 2)]
    words = env.from_collection(["a", "b"]).map(str.upper)
    both = words.key_by(lambda word: word).connect(words.key_by(lambda word: word))
    assert collected(both.process(Keyed())) == [("A", 1), ("A", 2), ("B", 1), ("B", 2)]


def test_each_input_may_be_a_union(env) -> None:
    a, b, c = (env.from_collection([name]) for name in "abc")
    assert collected(a.union(b).connect(c.union(a)).process(Unkeyed())) == [
        (1, "a"),
        (1, "b"),
        (2, "a"),
        (2, "c"),
    ]


@pytest.mark.parametrize("before", [True, False])
def test_keys_may_be_chosen_before_or_after_connecting(env, before) -> None:
    left, right = env.from_collection([("a", 1), ("b", 1)]), env.from_collection([(1, "a")])
    if before:
        connected = left.key_by(first).connect(right.key_by(itemgetter(1)))
    else:
        connected = left.connect(right).key_by(first, itemgetter(1), str)
    assert collected(connected.process(Keyed())) == [("a", 1), ("a", 2), ("b", 1)]


def test_keys_chosen_again_replace_the_first_ones(env) -> None:
    left = env.from_collection([("a", 1), ("b", 1)])
    connected = left.key_by(first).connect(left.key_by(first)).key_by(itemgetter(1), itemgetter(1))
    assert collected(connected.process(Keyed())) == [(1, 1), (1, 2), (1, 3), (1, 4)]


class Counting(CoMapFunction):
    def open(self, runtime_context):
        self.count = runtime_context.get_state(ValueStateDescriptor("count", int))

    def map1(self, value):
        self.count.update((self.count.value() or 0) + 1)
        return self.count.value()

    map2 = map1


def test_a_co_map_with_an_open_has_keyed_state(env) -> None:
    left = env.from_collection(["a", "b", "a"])
    assert collected(left.connect(left).key_by(str, str).map(Counting())) == [1, 1, 2, 2, 3, 4]


def test_a_co_process_function_on_keyed_streams_has_timers(env) -> None:
    class Timer(CoProcessFunction):
        def process_element1(self, value, ctx):
            ctx.timer_service().register_event_time_timer(5)

        process_element2 = process_element1

        def on_timer(self, timestamp, ctx):
            yield timestamp, ctx.get_current_key()

    stream = env.from_collection(["a"])
    assert collected(stream.connect(stream).key_by(str, str).process(Timer())) == [(5, "a")]


def test_broadcast_without_states_is_a_stream_and_with_states_is_to_be_connected(env) -> None:
    numbers = env.from_collection([1])
    assert collected(numbers.broadcast().map(lambda n: n)) == [1]
    connected = env.from_collection(["a"]).connect(numbers.broadcast(RULES))
    assert collected(connected.process(OnRules())) == ["a", 1]
    keyed = env.from_collection(["a"]).key_by(str).connect(numbers.broadcast(RULES))
    assert collected(keyed.process(OnKeyedRules()))[0][0] == "a"


def test_bad_connections_are_refused(env) -> None:
    numbers, words = env.from_collection([1], int), env.from_collection(["a"], str)
    other = StreamExecutionEnvironment.get_execution_environment().from_collection([1])
    refused(lambda: numbers.connect(other), "another environment")
    refused(lambda: numbers.connect(other.broadcast(RULES)), "another environment")
    refused(lambda: numbers.connect([1]), "not a stream")
    both = numbers.connect(words)
    refused(lambda: both.map(lambda value: value), "not a CoMapFunction")
    refused(lambda: both.map(Named), "class Named")
    refused(lambda: both.flat_map(Named()), "not a CoFlatMapFunction")
    refused(lambda: both.process(Named()), "not a CoProcessFunction or a KeyedCoProcessFunction")
    refused(lambda: both.process(Keyed()), "not both keyed")
    refused(lambda: numbers.key_by(str).connect(words).process(Keyed()), "not both keyed")
    refused(lambda: both.key_by(lambda n: n, str, "no type"), "no type")


def integer(value: Any) -> int:
    return int(value)


def text(value: Any) -> str:
    return str(value)


def test_keys_of_different_types_are_refused(env) -> None:
    numbers, words = env.from_collection([1], int), env.from_collection(["a"], str)
    refused(lambda: numbers.connect(words).key_by(integer, text), "LONG and STRING")
    keyed = numbers.key_by(integer).connect(words.key_by(text))
    refused(lambda: keyed.process(Keyed()), "LONG and STRING")
    refused(lambda: numbers.key_by(integer).interval_join(words.key_by(text)), "LONG and STRING")
    refused(lambda: numbers.join(words).where(integer).equal_to(text), "LONG and STRING")


def test_a_key_type_that_one_side_declares_holds_for_both(env) -> None:
    numbers = env.from_collection([1], int)
    both = numbers.key_by(integer).connect(env.from_collection([True, 2]).key_by(lambda n: n))
    assert set(both.process(Keyed()).execute_and_collect()) == {(1, 1), (1, 2), (2, 1)}


def test_both_inputs_are_partitioned_by_the_common_type_of_keys(env) -> None:
    # By types of their own, equal keys could go to different subtasks.
    typed = env.from_collection([1], int).key_by(integer)
    untyped = env.from_collection([True, 2]).key_by(lambda n: n)
    typed.connect(untyped).process(Keyed())
    untyped.interval_join(typed).between(0, 1).process(Near())
    edges = env.get_stream_graph().edges
    assert [edge.partitioner.key_type for edge in edges] == [Types.LONG()] * 4
    assert [edge.input_id for edge in edges] == [1, 2, 1, 2]


def test_methods_that_take_too_little_are_refused(env) -> None:
    class Short(CoProcessFunction):
        def process_element1(self, value):  # type: ignore[override]
            yield value

        def process_element2(self, value, ctx):
            yield value

    stream = env.from_collection([1])
    refused(lambda: stream.connect(stream).process(Short()), "2 arguments")


def test_bad_broadcasts_are_refused(env) -> None:
    numbers = env.from_collection([1])
    refused(lambda: numbers.broadcast(ValueStateDescriptor("x", int)), "not a MapStateDescriptor")
    refused(lambda: numbers.broadcast(RULES, MapStateDescriptor("rules", int, int)), "one name")
    connected = numbers.connect(numbers.broadcast(RULES))
    refused(lambda: connected.process(OnKeyedRules()), "not a BroadcastProcessFunction")
    keyed = numbers.key_by(str).connect(numbers.broadcast(RULES))
    refused(lambda: keyed.process(OnRules()), "not a KeyedBroadcastProcessFunction")
    refused(lambda: keyed.process(OnKeyedRules), "class OnKeyedRules")


# ---- joins in windows


LEFT = (("a", 1), ("a", 4), ("b", 5), ("a", 12))
RIGHT = (("a", 2), ("b", 11), ("a", 13), ("a", 14), ("c", 15))


def windowed(stream: Any) -> Any:
    return stream.where(first).equal_to(first).window(TumblingEventTimeWindows.of(10))


def test_a_join_gives_every_pair_of_a_window(env) -> None:
    joined = windowed(timed(env, *LEFT).join(timed(env, *RIGHT)))
    assert collected(joined.apply(lambda left, right: (left, right))) == [
        (("a", 1), ("a", 2)),
        (("a", 12), ("a", 13)),
        (("a", 12), ("a", 14)),
        (("a", 4), ("a", 2)),
    ]


class Sum(JoinFunction[Any, Any, int]):
    def open(self, runtime_context):
        self.extra = 100

    def join(self, first: Any, second: Any) -> int:
        return first[1] + second[1] + self.extra


class Each(FlatJoinFunction):
    def join(self, first, second):
        if first[1] > 1:
            yield from (first[1], second[1])


def test_join_functions_are_opened_and_may_give_many_results(env) -> None:
    left, right = timed(env, *LEFT), timed(env, *RIGHT)
    assert windowed(left.join(right)).apply(Sum()).get_type() == Types.LONG()
    assert collected(windowed(left.join(right)).apply(Sum())) == [103, 106, 125, 126]
    assert collected(windowed(left.join(right)).apply(Each())) == [12, 12, 13, 14, 2, 4]


def test_a_join_in_sliding_windows_pairs_in_every_window(env) -> None:
    joined = timed(env, ("a", 1)).join(timed(env, ("a", 2))).where(first).equal_to(first)
    pairs = joined.window(SlidingEventTimeWindows.of(10, 5)).apply(lambda left, right: (left[1], right[1]))
    assert collected(pairs) == [(1, 2), (1, 2)]


def test_a_co_group_is_given_what_each_stream_has(env) -> None:
    class Sizes(CoGroupFunction):
        def co_group(self, first, second):
            yield [v for _, v in first], [v for _, v in second]

    grouped = windowed(timed(env, *LEFT).co_group(timed(env, *RIGHT)))
    expected = [([1, 4], [2]), ([12], [13, 14]), ([5], []), ([], [11]), ([], [15])]
    assert collected(grouped.apply(Sizes())) == expected
    lambda_too = windowed(timed(env, *LEFT).co_group(timed(env, *RIGHT)))
    assert collected(lambda_too.apply(lambda a, b: [([v for _, v in a], [v for _, v in b])])) == expected


def test_streams_of_different_types_are_joined_each_by_its_own_type(env) -> None:
    rows = env.from_collection([Row("a", 1)], Types.ROW([Types.STRING(), Types.LONG()]))
    pairs = env.from_collection([("a", 2)], Types.TUPLE([Types.STRING(), Types.LONG()]))
    left, right = (stream.assign_timestamps_and_watermarks(BY_TIME) for stream in (rows, pairs))
    joined = windowed(left.join(right)).apply(lambda row, pair: (row, pair))
    assert collected(joined) == [(Row("a", 1), ("a", 2))]


def test_late_records_within_the_allowed_lateness_join_again(env) -> None:
    windows = windowed(timed(env, *LEFT).join(timed(env, *RIGHT))).allowed_lateness(Duration.of_seconds(1))
    assert len(collected(windows.apply(lambda left, right: 1))) == 4


def test_bad_joins_are_refused(env) -> None:
    left, right = timed(env, *LEFT), timed(env, *RIGHT)
    other = StreamExecutionEnvironment.get_execution_environment().from_collection([1])
    refused(lambda: left.join(other), "join.. was given a stream of another environment")
    refused(lambda: left.co_group(1), "co_group.. was given 1")
    refused(lambda: left.join(right).where(lambda: 1), "1 argument")
    equal = left.join(right).where(first).equal_to(first)
    refused(lambda: equal.window(10), "not a window assigner")
    windows = equal.window(TumblingEventTimeWindows.of(10))
    refused(lambda: windows.apply(lambda left: left), "2 arguments")
    refused(lambda: windows.apply(Sum), "class Sum")
    refused(lambda: windows.allowed_lateness(-1), "negative")


# ---- interval joins


class Near(ProcessJoinFunction):
    def process_element(self, left, right, ctx):
        yield left[1], right[1], ctx.get_timestamp()


def test_an_interval_join_pairs_what_is_close_in_time(env) -> None:
    left, right = timed(env, *LEFT).key_by(first), timed(env, *RIGHT).key_by(first)
    near = left.interval_join(right).between(-2, 1)
    assert collected(near.process(Near())) == [(1, 2, 2), (12, 13, 13), (4, 2, 4)]
    assert collected(near.upper_bound_exclusive().process(Near())) == [(4, 2, 4)]
    assert collected(near.lower_bound_exclusive().process(Near())) == [(1, 2, 2), (12, 13, 13)]
    assert collected(
        left.interval_join(right)
        .in_event_time()
        .between(Duration.of_millis(2), 2)
        .process(lambda left, right, ctx: [(left, right)])
    ) == [(("a", 12), ("a", 14))]


def test_bad_interval_joins_are_refused(env) -> None:
    stream = timed(env, *LEFT)
    keyed = stream.key_by(first)
    refused(lambda: keyed.interval_join(stream), "not keyed")
    refused(lambda: keyed.interval_join(3), "not a stream")
    join = keyed.interval_join(keyed)
    refused(lambda: join.between(2, 1), "greater than the upper one")
    refused(join.in_processing_time, "event time only")
    exclusive = join.between(1, 1).upper_bound_exclusive()
    refused(lambda: exclusive.process(Near()), "nothing lies between")
    refused(lambda: exclusive.side_output_left_late_data("late"), "not an OutputTag")
    refused(lambda: join.between(0, 1).process(lambda left, right: None), "3 arguments")


def test_late_records_of_an_interval_join_are_side_outputs(env) -> None:
    late: OutputTag[Any] = OutputTag("late")
    left = timed(env, ("a", 10), ("a", 1)).key_by(first)
    joined = left.interval_join(left).between(0, 0)
    joined = joined.side_output_left_late_data(late).side_output_right_late_data(late)
    result = joined.process(Near())
    assert result.get_type() == GENERIC
    assert result.get_side_output(late).get_execution_environment() is env


# ---- operator state


class Numbering(MapFunction):
    def initialize_state(self, context):
        self.state = context.get_operator_state_store().get_list_state(ListStateDescriptor("next", int))
        self.next = sum(self.state)

    def open(self, runtime_context):
        self.opened = True

    def map(self, value: Any) -> Iterator[Any]:
        self.next += 1
        return self.next, value

    def snapshot_state(self, context):
        self.state.update([self.next])


def test_a_checkpointed_function_is_initialized_in_a_job_keyed_or_not(env) -> None:
    stream = env.from_collection(["a", "b"])
    assert collected(stream.map(Numbering())) == [(1, "a"), (2, "b")]
    assert collected(stream.key_by(str).map(Numbering())) == [(1, "a"), (2, "b")]


class Unready(MapFunction):
    def initialize_state(self, context):
        raise ValueError("not ready")

    def map(self, value):
        return value

    def snapshot_state(self, context):
        pass


def test_an_error_in_initialize_state_names_the_operator_and_the_users_line(env) -> None:
    stream = env.from_collection([1]).map(Unready()).name("unready").map(str).name("after")
    with pytest.raises(JobExecutionError, match="ValueError: not ready in operator 'unready'") as caught:
        list(stream.execute_and_collect())
    assert "in initialize_state" in str(caught.value)


def test_an_error_for_a_record_of_the_second_input_names_operator_and_record(env) -> None:
    class Bad(Unkeyed):
        def process_element2(self, value, ctx):
            raise ValueError(value)

    stream = env.from_collection([1]).connect(env.from_collection(["bad"])).process(Bad()).name("bad one")
    with pytest.raises(JobExecutionError, match="in operator 'bad one'") as caught:
        list(stream.execute_and_collect())
    assert "'bad'" in str(caught.value)
