"""Small programs run to their end inside this process."""

from dataclasses import dataclass

import pytest

from millstream import (
    AggregateFunction,
    JobExecutionError,
    KeyedProcessFunction,
    MapFunction,
    OutputTag,
    ProcessWindowFunction,
    SlidingEventTimeWindows,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    ValueStateDescriptor,
    WatermarkStrategy,
    WindowFunction,
)

BY_SECOND_FIELD = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(
    lambda value, _: value[1]
)


@pytest.fixture
def env():
    return StreamExecutionEnvironment.get_execution_environment()


def collected(stream):
    with stream.execute_and_collect() as results:
        return list(results)


def test_records_pass_map_filter_and_flat_map_in_order(env):
    stream = (
        env.from_collection(["to be", "or", "not to be"])
        .flat_map(str.split)
        .filter(lambda word: word != "or")
    )
    assert collected(stream.map(str.upper)) == ["TO", "BE", "NOT", "TO", "BE"]


def test_a_stream_can_be_collected_more_than_once(env):
    stream = env.from_sequence(1, 3)
    assert collected(stream) == [1, 2, 3]
    assert collected(stream.map(lambda number: number * 2)) == [2, 4, 6]


def test_a_limit_gives_a_list_and_ends_the_job(env):
    assert env.from_sequence(1, 10**9).execute_and_collect(limit=3) == [1, 2, 3]


def test_leaving_early_ends_the_job(env):
    with env.from_sequence(1, 10**9).execute_and_collect() as results:
        assert next(results) == 1
    assert results.get_job_client().status.name == "CANCELED"


def test_a_rolling_reduce_gives_every_new_result(env):
    pairs = env.from_collection([("a", 1), ("b", 2), ("a", 3)])
    summed = pairs.key_by(lambda pair: pair[0]).reduce(lambda left, right: (left[0], left[1] + right[1]))
    assert collected(summed) == [("a", 1), ("b", 2), ("a", 4)]


def test_a_function_with_open_has_keyed_state_in_map(env):
    class Numbered(MapFunction):
        def open(self, runtime_context):
            self.seen = runtime_context.get_state(ValueStateDescriptor("seen", int))

        def map(self, value):
            self.seen.update((self.seen.value() or 0) + 1)
            return value, self.seen.value()

    assert collected(env.from_collection("abaa").key_by(str).map(Numbered())) == [
        ("a", 1),
        ("b", 1),
        ("a", 2),
        ("a", 3),
    ]


def test_a_process_function_yields_to_side_outputs_and_sets_timers(env):
    odd = OutputTag("odd")

    class Split(KeyedProcessFunction):
        def process_element(self, value, ctx):
            ctx.timer_service().register_event_time_timer(100)
            if value[1] % 2:
                yield odd, value
            else:
                yield value

        def on_timer(self, timestamp, ctx):
            yield ctx.get_current_key(), timestamp

    stream = env.from_collection([("a", 1), ("a", 2), ("b", 4)]).assign_timestamps_and_watermarks(
        BY_SECOND_FIELD
    )
    split = stream.key_by(lambda value: value[0]).process(Split())
    merged = split.map(lambda value: ("even", value)).union(
        split.get_side_output(odd).map(lambda v: ("odd", v))
    )
    assert sorted(collected(merged)) == [
        ("even", ("a", 2)),
        ("even", ("a", 100)),
        ("even", ("b", 4)),
        ("even", ("b", 100)),
        ("odd", ("a", 1)),
    ]


class Sum(AggregateFunction):
    def create_accumulator(self):
        return 0

    def add(self, value, accumulator):
        return accumulator + value[1]

    def get_result(self, accumulator):
        return accumulator

    def merge(self, acc_a, acc_b):
        return acc_a + acc_b


class WithWindow(ProcessWindowFunction):
    def process(self, key, context, elements):
        yield key, context.window().start, context.window().end, sorted(elements)


class Applied(WindowFunction):
    def apply(self, key, window, inputs):
        return [(key, window.max_timestamp(), len(list(inputs)))]


@pytest.fixture
def keyed(env):
    values = [("a", 1), ("a", 4), ("b", 6), ("a", 7), ("a", 12)]
    return (
        env.from_collection(values).assign_timestamps_and_watermarks(BY_SECOND_FIELD).key_by(lambda v: v[0])
    )


def test_windows_reduce(keyed):
    windows = keyed.window(TumblingEventTimeWindows.of(5))
    assert sorted(collected(windows.reduce(lambda a, b: (a[0], a[1] + b[1])))) == [
        ("a", 5),
        ("a", 7),
        ("a", 12),
        ("b", 6),
    ]


def test_windows_aggregate_with_a_window_function(keyed):
    windows = keyed.window(TumblingEventTimeWindows.of(5))
    assert sorted(collected(windows.aggregate(Sum(), WithWindow()))) == [
        ("a", 0, 5, [5]),
        ("a", 5, 10, [7]),
        ("a", 10, 15, [12]),
        ("b", 5, 10, [6]),
    ]


def test_sliding_windows_process_and_apply(keyed):
    windows = keyed.window(SlidingEventTimeWindows.of(10, 5))
    assert sorted(collected(windows.apply(Applied()))) == [
        ("a", 4, 2),
        ("a", 9, 3),
        ("a", 14, 2),
        ("a", 19, 1),
        ("b", 9, 1),
        ("b", 14, 1),
    ]
    processed = collected(keyed.window(SlidingEventTimeWindows.of(10, 5)).process(WithWindow()))
    assert ("a", 0, 10, [("a", 1), ("a", 4), ("a", 7)]) in processed


def test_late_records_go_to_their_side_output(env):
    late = OutputTag("late")
    out_of_order = [("a", 1), ("a", 100), ("a", 2)]

    stream = env.from_collection(out_of_order).assign_timestamps_and_watermarks(BY_SECOND_FIELD)
    windows = (
        stream.key_by(lambda v: v[0]).window(TumblingEventTimeWindows.of(10)).side_output_late_data(late)
    )
    counted = windows.aggregate(Sum())
    everything = counted.map(lambda total: ("sum", total)).union(counted.get_side_output(late))
    # Watermarks are periodic: whether the last record is late depends on time, but no record is lost or doubled.
    assert sorted(collected(everything)) in (
        [("a", 2), ("sum", 1), ("sum", 100)],
        [("sum", 3), ("sum", 100)],
    )


def test_an_exception_of_the_user_names_operator_record_and_line(env):
    def invert(value):
        return 1 / value

    with pytest.raises(JobExecutionError) as caught:
        collected(env.from_collection([1, 0]).map(invert).name("inverse"))
    text = str(caught.value)
    assert "operator 'inverse'" in text
    assert "record 0" in text
    assert text.rstrip().endswith("ZeroDivisionError: division by zero")
    assert "return 1 / value" in text


def test_execute_async_gives_a_client(env):
    env.from_sequence(1, 3).map(str)
    client = env.execute_async("numbers")
    assert client.wait(30).get_job_id() == client.get_job_id()
    assert client.status.name == "FINISHED"


def test_records_of_a_class_made_in_a_function_cross_processes(env):
    @dataclass(frozen=True)
    class Visit:
        page: str
        seconds: int

    env.set_parallelism(2)
    visits = [Visit(f"page-{n % 3}", n) for n in range(6)]
    longest = (
        env.from_collection(visits)
        .key_by(lambda visit: visit.page)
        .reduce(lambda left, right: max(left, right, key=lambda visit: visit.seconds))
    )
    assert sorted(collected(longest), key=lambda visit: visit.seconds) == visits


def test_two_workers_give_what_one_gives(env):
    env.set_parallelism(2)
    values = [(f"key-{n % 7}", n) for n in range(500)]
    stream = env.from_collection(values).assign_timestamps_and_watermarks(BY_SECOND_FIELD)
    windows = stream.key_by(lambda value: value[0]).window(TumblingEventTimeWindows.of(100))
    expected = {}
    for key, number in values:
        expected[key, number // 100] = expected.get((key, number // 100), 0) + number
    assert sorted(collected(windows.aggregate(Sum()))) == sorted(expected.values())
