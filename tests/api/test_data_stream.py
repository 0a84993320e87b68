"""What the calls of a program build, and what they refuse."""

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import pytest

from millstream import (
    AggregateFunction,
    Duration,
    FlatMapFunction,
    JobDefinitionError,
    KeyedProcessFunction,
    KeySelector,
    MapFunction,
    OutputTag,
    ProcessFunction,
    ProcessWindowFunction,
    SlidingEventTimeWindows,
    StreamExecutionEnvironment,
    Time,
    TumblingEventTimeWindows,
    Types,
    WatermarkStrategy,
)
from millstream.core.types import GENERIC


@pytest.fixture
def env():
    return StreamExecutionEnvironment.get_execution_environment()


@pytest.fixture
def numbers(env):
    return env.from_collection([1, 2, 3], Types.LONG())


@dataclass
class Reading:
    sensor: str
    celsius: float


def refused(call, match):
    """The error of a bad call; it must point at the line of that call, in this file."""
    with pytest.raises(JobDefinitionError, match=match) as caught:
        call()
    assert caught.value.where.startswith(f"{__file__}:"), caught.value.where
    assert caught.value.fix
    return caught.value


# ---- types


def parse(line) -> Reading:
    return Reading(line, 0.0)


def split(line) -> Iterable[tuple[str, int]]:
    return [(line, 1)]


class Typed(MapFunction[int, str]):
    def map(self, value: int) -> str:
        return str(value)


class Untyped(FlatMapFunction):
    def flat_map(self, value):
        yield value


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda s: s.map(parse), "RECORD(tests.api.test_data_stream:Reading)"),
        (lambda s: s.map(Typed()), "STRING"),
        (lambda s: s.map(str), "STRING"),
        (lambda s: s.map(lambda value: value), "GENERIC"),
        (lambda s: s.map(lambda value: value, Types.DOUBLE()), "DOUBLE"),
        (lambda s: s.map(lambda value: value, output_type=tuple[int, str]), "TUPLE(LONG, STRING)"),
        (lambda s: s.flat_map(split), "TUPLE(STRING, LONG)"),
        (lambda s: s.flat_map(Untyped()), "GENERIC"),
        (lambda s: s.filter(lambda value: True), "LONG"),
        (lambda s: s.rebalance(), "LONG"),
        (lambda s: s.union(s), "LONG"),
        (lambda s: s.union(s.map(str)), "GENERIC"),
        (lambda s: s.key_by(lambda value: value).reduce(max), "LONG"),
        (lambda s: s.get_side_output(OutputTag("late", str)), "STRING"),
    ],
)
def test_the_type_of_a_stream_is_declared_or_hinted_or_generic(numbers, build, expected):
    assert build(numbers).get_type().name == expected


def test_a_process_function_s_side_outputs_are_not_of_the_stream_s_type(numbers):
    class Split(ProcessFunction):
        def process_element(self, value, ctx) -> Iterable[int | tuple[OutputTag[str], str]] | None:
            yield value

    assert numbers.process(Split()).get_type() == Types.LONG()


def test_nothing_is_inferred_of_a_collection(env):
    assert env.from_collection([1]).get_type() == GENERIC


def test_the_key_type_is_declared_or_hinted_or_generic(numbers):
    def by_text(value) -> str:
        return str(value)

    class Parity(KeySelector):
        def get_key(self, value) -> bool:
            return value % 2 == 0

    assert numbers.key_by(by_text).get_key_type() == Types.STRING()
    assert numbers.key_by(Parity()).get_key_type() == Types.BOOLEAN()
    assert numbers.key_by(lambda value: value).get_key_type() == GENERIC
    assert numbers.key_by(lambda value: value, int).get_key_type() == Types.LONG()


# ---- structure


def edges(env):
    graph = env.get_stream_graph()
    names = {node.node_id: node.name for node in graph.nodes}
    return [
        (names[e.source], e.partitioner and e.partitioner.name, e.side_output, names[e.target])
        for e in graph.edges
    ]


def test_a_union_feeds_its_consumer_from_every_stream(env, numbers):
    other = env.from_collection([4]).name("other")
    numbers.name("first").union(other, numbers).map(str).name("last")
    assert edges(env) == [
        ("first", None, None, "last"),
        ("other", None, None, "last"),
        ("first", None, None, "last"),
    ]


def test_partitioners_and_keys_are_on_the_edge_that_follows(env, numbers):
    source = numbers.name("source")
    source.rebalance().map(str).name("a")
    source.broadcast().map(str).name("b")
    source.forward().map(str).name("c")
    source.rebalance().key_by(lambda value: value).map(str).name("d")
    source.key_by(lambda value: value).union(source).map(str).name("e")
    assert [(partitioner, target) for _, partitioner, _, target in edges(env)] == [
        ("REBALANCE", "a"),
        ("BROADCAST", "b"),
        ("FORWARD", "c"),
        ("HASH", "d"),
        (None, "e"),
        (None, "e"),
    ]


def test_a_side_output_is_read_from_the_operator_that_makes_it(env, numbers):
    tag = OutputTag("odd", int)
    made = numbers.process(lambda value, ctx: [(tag, value)]).name("split")
    made.get_side_output(tag).map(str).name("odd ones")
    assert edges(env)[-1] == ("split", None, "odd", "odd ones")


def test_settings_are_those_of_the_operator(env, numbers):
    stream = numbers.map(str).name("text").uid("u").set_parallelism(3).set_max_parallelism(12)
    stream.slot_sharing_group("g").set_description("as text").disable_chaining()
    stream.print("id").uid("sink").name("mine")
    _, node, sink = env.get_stream_graph().nodes
    assert (node.name, node.uid, node.parallelism, node.max_parallelism) == ("text", "u", 3, 12)
    assert (node.slot_sharing_group, node.description, node.chaining.value) == ("g", "as text", "never")
    assert (sink.name, sink.uid) == ("Sink: mine", "sink")
    assert stream.get_name() == "text"


def test_every_operator_knows_the_line_that_declared_it(env, numbers):
    line = inspect.currentframe().f_lineno
    numbers.map(str)
    assert env.get_stream_graph().nodes[1].defined_at == f"{__file__}:{line + 1}"


def test_a_keyed_function_with_open_runs_on_keyed_state_and_a_plain_one_is_fused(env, numbers):
    class Counting(MapFunction):
        def open(self, runtime_context):
            pass

        def map(self, value):
            return value

    keyed = numbers.key_by(lambda value: value)
    keyed.map(Counting())
    keyed.map(str)
    assert [node.operator.kind for node in env.get_stream_graph().nodes[1:]] == ["KeyedMap", "Map"]


# ---- windows


class Sum(AggregateFunction):
    def create_accumulator(self) -> int:
        return 0

    def add(self, value, accumulator) -> int:
        return value + accumulator

    def get_result(self, accumulator) -> float:
        return float(accumulator)


class Show(ProcessWindowFunction):
    def process(self, key, context, elements) -> Iterable[str]:
        return [f"{key}: {elements}"]


@pytest.fixture
def windowed(numbers):
    def make(assigner):
        return numbers.key_by(lambda value: value).window(assigner)

    return make


@pytest.mark.parametrize(
    "size", [60_000, Duration.of_minutes(1), Time.minutes(1), timedelta(minutes=1)], ids=str
)
def test_lengths_of_time_may_be_written_in_any_way(windowed, size):
    windowed(TumblingEventTimeWindows.of(size)).allowed_lateness(size).reduce(max)
    assert TumblingEventTimeWindows.of(size).size_ms == 60_000


def test_the_type_of_a_window_s_result_is_declared_or_hinted(windowed):
    window = TumblingEventTimeWindows.of(10)
    assert windowed(window).reduce(max).get_type() == Types.LONG()
    assert windowed(window).aggregate(Sum()).get_type() == Types.DOUBLE()
    assert windowed(window).aggregate(Sum(), Show()).get_type() == Types.STRING()
    assert windowed(window).process(Show()).get_type() == Types.STRING()
    assert windowed(window).process(Show(), Types.CHAR()).get_type() == Types.CHAR()


def test_what_a_window_is_given_reaches_its_operator(env, windowed):
    late = OutputTag("late")
    stream = windowed(SlidingEventTimeWindows.of(10, 5, 1)).allowed_lateness(7).side_output_late_data(late)
    stream.aggregate(Sum(), Show(), accumulator_type=int)
    spec = env.get_stream_graph().nodes[-1].operator
    assert (spec.allowed_lateness_ms, spec.late_tag) == (7, "late")
    assert spec.assigner == SlidingEventTimeWindows(10, 5, 1)


# ---- what is refused, at the line of the call


async def coroutine(value):
    return value


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda s: s.map(5), "cannot be called"),
        (lambda s: s.map(Typed), "the class Typed, not an object"),
        (lambda s: s.map(lambda: 1), "does not take"),
        (lambda s: s.map(lambda a, b: 1), "does not take"),
        (lambda s: s.map(coroutine), "coroutine function"),
        (lambda s: s.map(str, output_type=len), "not a type"),
        (
            lambda s: s.process(type("P", (KeyedProcessFunction,), {"process_element": lambda *_: None})()),
            "not keyed",
        ),
        (lambda s: s.process(lambda value: []), "2 arguments"),
        (lambda s: s.key_by(None), "cannot be called"),
        (lambda s: s.key_by(str).reduce(lambda a: a), "2 arguments"),
        (lambda s: s.key_by(str).name("x"), "key_by\\(\\) is none"),
        (lambda s: s.key_by(str).window(60), "not a window assigner"),
        (lambda s: s.key_by(str).window(TumblingEventTimeWindows.of(1)).allowed_lateness(-1), "negative"),
        (
            lambda s: s.key_by(str).window(TumblingEventTimeWindows.of(1)).aggregate(max),
            "no method create_accumulator",
        ),
        (
            lambda s: s.key_by(str).window(TumblingEventTimeWindows.of(1)).process(max),
            "not a window function",
        ),
        (lambda s: s.rebalance().uid("x"), "only says where records go"),
        (lambda s: s.union(s).name("x"), "only says where records go"),
        (lambda s: s.union([1]), "not a stream of the same environment"),
        (lambda s: s.name(""), "not empty"),
        (lambda s: s.set_parallelism(0), "from 1 to 32768"),
        (lambda s: s.set_parallelism(True), "from 1 to 32768"),
        (lambda s: s.sink_to(print), "not a sink"),
        (lambda s: s.assign_timestamps_and_watermarks(5), "not a WatermarkStrategy"),
        (lambda s: s.get_execution_environment().from_source(5, None, "x"), "not a source"),
        (lambda s: s.get_execution_environment().set_parallelism("2"), "from 1 to 32768"),
    ],
)
def test_a_bad_call_is_refused_where_it_stands(numbers, call, match):
    refused(lambda: call(numbers), match)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: TumblingEventTimeWindows.of(0), "must be positive, not 0 ms"),
        (lambda: TumblingEventTimeWindows.of(10, 10), "smaller than its size"),
        (lambda: SlidingEventTimeWindows.of(10, -5), "slide of a window must be positive"),
        (lambda: SlidingEventTimeWindows.of(10, 5, -5), "smaller than its slide"),
        (lambda: WatermarkStrategy.for_bounded_out_of_orderness(-1), "negative"),
        (lambda: WatermarkStrategy.no_watermarks().with_idleness(0), "must be positive"),
        (lambda: WatermarkStrategy.no_watermarks().with_timestamp_assigner(3), "timestamp assigner"),
        (lambda: OutputTag(""), "not empty"),
        (lambda: TumblingEventTimeWindows.of("1 min"), "not a length of time"),
    ],
)
def test_a_bad_value_is_refused_where_it_is_made(make, match):
    with pytest.raises(JobDefinitionError, match=match) as caught:
        make()
    assert caught.value.fix
