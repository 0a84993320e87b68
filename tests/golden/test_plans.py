"""The plans of some programs, as `millstream plan` shows them. UPDATE_GOLDEN=1 rewrites the files."""

import pytest

from millstream import (
    AggregateFunction,
    CoMapFunction,
    Configuration,
    Duration,
    OutputTag,
    SlidingEventTimeWindows,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    WatermarkStrategy,
)
from millstream.connectors.datagen import NumberSequenceSource
from millstream.runtime.graph.compiler import run_passes, to_job_graph
from millstream.runtime.graph.plan import explain_job
from tests.golden.golden_files import check_golden


class Count(AggregateFunction):
    def create_accumulator(self) -> int:
        return 0

    def add(self, value, accumulator) -> int:
        return accumulator + 1

    def get_result(self, accumulator) -> int:
        return accumulator

    def merge(self, acc_a, acc_b) -> int:
        return acc_a + acc_b


def word_count(env):
    words = env.from_collection(["to be", "or not to be"], str).flat_map(str.split, str).name("words")
    words.map(lambda word: (word, 1)).key_by(lambda pair: pair[0]).reduce(
        lambda a, b: (a[0], a[1] + b[1])
    ).print()


def timed(strategy):
    return strategy.with_timestamp_assigner(lambda number, _: number)


def clickstream(env):
    strategy = timed(WatermarkStrategy.for_bounded_out_of_orderness(Duration.of_seconds(1)))
    late = OutputTag("late")
    clicks = env.from_sequence(1, 100).uid("clicks").assign_timestamps_and_watermarks(strategy)
    counted = (
        clicks.key_by(lambda click: click % 10)
        .window(SlidingEventTimeWindows.of(Duration.of_minutes(1), Duration.of_seconds(10)))
        .side_output_late_data(late)
        .aggregate(Count())
        .uid("counts")
    )
    counted.print("counts").set_parallelism(1)
    counted.get_side_output(late).print("late").slot_sharing_group("late")


class Both(CoMapFunction):
    def map1(self, value) -> str:
        return str(value)

    def map2(self, value) -> str:
        return value


def connected(env):
    numbers, words = env.from_sequence(1, 10), env.from_collection(["a"], str)
    both = numbers.connect(words).key_by(str, str, str).map(Both()).name("both")
    both.connect(words.broadcast()).map(Both()).print()


def two_sources(env):
    strategy = timed(WatermarkStrategy.for_monotonous_timestamps())
    first, second = (
        env.from_source(NumberSequenceSource(*ends), strategy, "Sequence Source", int)
        for ends in ((1, 10), (11, 20))
    )
    second = second.rebalance()
    united = first.union(second).filter(bool).disable_chaining().name("united")
    united.broadcast().map(str).set_description("every number, everywhere").print()
    united.key_by(lambda n: n % 2, int).window(TumblingEventTimeWindows.of(100)).reduce(max).print()


@pytest.mark.parametrize(
    "program", [word_count, clickstream, two_sources, connected], ids=lambda program: program.__name__
)
@pytest.mark.parametrize("parallelism", [1, 2])
def test_the_plan_is_as_recorded(program, parallelism):
    env = StreamExecutionEnvironment.get_execution_environment(
        Configuration({"parallelism.default": parallelism})
    )
    program(env)
    graph = run_passes(env.get_stream_graph(program.__name__))
    check_golden(f"plans/{program.__name__}_{parallelism}.txt", explain_job(graph, to_job_graph(graph)))
