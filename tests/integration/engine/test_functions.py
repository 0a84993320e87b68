"""Functions with a life cycle, wherever a program may have one, in whole jobs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from millstream import (
    AggregateFunction,
    KeySelector,
    MapFunction,
    Partitioner,
    ReduceFunction,
    RuntimeContext,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    WatermarkStrategy,
)
from tests.integration.engine.harness import Workshop

NUMBERS = 1_000
BY_VALUE = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(lambda value, _: value)


class Opened:
    """Works only between `open` and `close`, and is opened once."""

    is_open = False

    def open(self, runtime_context: Any) -> None:
        assert not self.is_open
        self.is_open = True
        runtime_context.get_int_counter(f"opened {type(self).__name__}").add(1)
        self.calls = runtime_context.get_int_counter(f"calls of {type(self).__name__}")

    def check(self) -> None:
        assert self.is_open
        self.calls.add(1)

    def close(self) -> None:
        assert self.is_open
        self.is_open = False


class Modulo(Opened, KeySelector[int, int]):
    def get_key(self, value: int) -> int:
        self.check()
        return value % 7


class Spread(Opened, Partitioner[int]):
    def partition(self, key: int, num_partitions: int) -> int:
        self.check()
        return key % num_partitions


class Adding(Opened, ReduceFunction[int]):
    def reduce(self, value1: int, value2: int) -> int:
        self.check()
        return value1 + value2


class Totals(Opened, AggregateFunction[int, int, int]):
    def create_accumulator(self) -> int:
        return 0

    def add(self, value: int, accumulator: int) -> int:
        self.check()
        return accumulator + value

    def get_result(self, accumulator: int) -> int:
        return accumulator

    def merge(self, acc_a: int, acc_b: int) -> int:
        return acc_a + acc_b


@pytest.mark.parametrize("parallelism", [1, 2])
def test_every_function_is_open_while_it_is_called(workshop: Workshop, parallelism: int) -> None:
    env = StreamExecutionEnvironment.get_execution_environment(workshop.configuration())
    numbers = env.set_parallelism(parallelism).from_sequence(0, NUMBERS - 1)
    keyed = numbers.partition_custom(Spread(), Modulo()).map(lambda value: value).key_by(Modulo())
    windowed = numbers.assign_timestamps_and_watermarks(BY_VALUE).key_by(Modulo())
    window = windowed.window(TumblingEventTimeWindows.of(1 << 40))
    results = keyed.reduce(Adding()).map(lambda _: "reduced")
    results = results.union(window.aggregate(Totals()).map(str), window.reduce(Adding()).map(str))
    with results.execute_and_collect("functions") as found:
        counts = Counter(found)
    totals = {str(sum(range(key, NUMBERS, 7))): 2 for key in range(7)}
    assert counts == Counter({"reduced": NUMBERS, **totals})
    accumulators = found.get_job_client().wait().get_all_accumulator_results()
    assert accumulators["opened Spread"] == parallelism
    assert accumulators["calls of Spread"] == NUMBERS
    assert accumulators["calls of Totals"] == NUMBERS
    assert accumulators["calls of Modulo"] >= 4 * NUMBERS


@pytest.mark.parametrize("parallelism", [1, 2])
def test_rolling_aggregations_and_projections_give_what_plain_python_gives(
    workshop: Workshop, parallelism: int
) -> None:
    env = StreamExecutionEnvironment.get_execution_environment(workshop.configuration())
    env.set_parallelism(parallelism)
    records = [(f"k{n % 3}", n * 7 % 11, n) for n in range(60)]
    keyed = env.from_collection(records).key_by(lambda record: record[0])
    aggregated = {"sum": keyed.sum(1), "min": keyed.min(1), "max": keyed.max(1)}
    aggregated |= {"min_by": keyed.min_by(1), "max_by": keyed.max_by(1)}
    streams = [
        stream.project(0, 1, 2).map(lambda record, name=name: (name, *record))
        for name, stream in aggregated.items()
    ]
    with streams[0].union(*streams[1:]).execute_and_collect("rolling") as results:
        found = Counter(results)
    expected = Counter[Any]()
    for key in ("k0", "k1", "k2"):
        own = [record for record in records if record[0] == key]
        for end in range(1, len(own) + 1):
            seen = own[:end]
            fields = [field for _, field, _ in seen]
            for name, value in (("sum", sum(fields)), ("min", min(fields)), ("max", max(fields))):
                expected[name, key, value, own[0][2]] += 1
            expected["min_by", *min(seen, key=lambda record: record[1])] += 1
            expected["max_by", *max(seen, key=lambda record: record[1])] += 1
    assert found == expected


class FailsAtFirst(MapFunction[int, tuple[int, str, int]]):
    def open(self, runtime_context: RuntimeContext) -> None:
        self.attempt = runtime_context.get_attempt_number()
        self.task = runtime_context.get_task_name_with_subtasks()

    def map(self, value: int) -> tuple[int, str, int]:
        if self.attempt == 0:
            msg = "the first attempt"
            raise RuntimeError(msg)
        return value, self.task, self.attempt


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_function_learns_which_attempt_it_is_counting_from_zero(
    workshop: Workshop, parallelism: int
) -> None:
    configuration = workshop.configuration()
    configuration.set_string("restart-strategy.type", "fixed-delay")
    configuration.set_string("restart-strategy.fixed-delay.attempts", "2")
    configuration.set_string("restart-strategy.fixed-delay.delay", "0 s")
    env = StreamExecutionEnvironment.get_execution_environment(configuration).set_parallelism(parallelism)
    numbers = env.from_sequence(1, 4).map(FailsAtFirst()).name("Fails")
    with numbers.execute_and_collect() as found:
        results = sorted(found)
    assert {attempt for _, _, attempt in results} <= set(range(1, 1 + parallelism))
    assert [value for value, _, _ in results] == [1, 2, 3, 4]
    assert all(task.endswith(f"/{parallelism})") for _, task, _ in results)


class Whereabouts(MapFunction[int, tuple[Any, ...]]):
    def open(self, runtime_context: RuntimeContext) -> None:
        self.facts = (
            runtime_context.get_index_of_this_subtask(),
            runtime_context.get_number_of_parallel_subtasks(),
            runtime_context.get_max_number_of_parallel_subtasks(),
            runtime_context.get_task_name(),
            runtime_context.get_task_name_with_subtasks(),
            runtime_context.get_job_name(),
            runtime_context.get_job_parameter("limit", "none"),
            runtime_context.get_job_parameter("other", "none"),
            runtime_context.get_job_id(),
        )

    def map(self, value: int) -> tuple[Any, ...]:
        return self.facts


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_function_learns_where_it_runs(workshop: Workshop, parallelism: int) -> None:
    env = StreamExecutionEnvironment.get_execution_environment(workshop.configuration())
    env.set_parallelism(parallelism).get_config().set_global_job_parameters({"limit": 10})
    mapped = env.from_sequence(1, NUMBERS).map(Whereabouts()).name("Where").set_max_parallelism(9)
    mapped = mapped.start_new_chain()
    with mapped.execute_and_collect("facts") as results:
        found = set(results)
    job_id = results.get_job_client().get_job_id()
    assert found
    for index, count, most, task, numbered, *rest in found:
        assert (count, most) == (parallelism, 9)
        assert task.startswith("Where")
        assert numbered == f"{task} ({index + 1}/{parallelism})"
        assert rest == ["facts", "10", "none", job_id]
    assert {facts[0] for facts in found} == set(range(parallelism))
