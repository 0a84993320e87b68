"""Full window partitions in whole jobs: in both modes, alone and with several workers, through checkpoints and failures."""

from __future__ import annotations

import operator
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millstream import (
    AggregateFunction,
    JobDefinitionError,
    MapPartitionFunction,
    Order,
    Row,
    RuntimeExecutionMode,
    StreamExecutionEnvironment,
    WatermarkStrategy,
)
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy
from millstream.connectors.files import Encoder, FileSink
from tests.integration.engine.harness import Workshop

EVENTS = 2_000


def event(index: int) -> tuple[str, int]:
    return f"k{index * 13 % 7}", index * 7919 % EVENTS


EXPECTED = [event(index) for index in range(EVENTS)]


def environment(
    workshop: Workshop, parallelism: int, mode: RuntimeExecutionMode, **changes: str
) -> StreamExecutionEnvironment:
    env = StreamExecutionEnvironment.get_execution_environment(workshop.configuration(**changes))
    return env.set_parallelism(parallelism).set_runtime_mode(mode)


@pytest.fixture(params=[1, 2])
def parallelism(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


@pytest.fixture(
    params=[RuntimeExecutionMode.STREAMING, RuntimeExecutionMode.BATCH], ids=lambda mode: mode.name
)
def env(request: pytest.FixtureRequest, workshop: Workshop, parallelism: int) -> StreamExecutionEnvironment:
    memory = {"execution_sorted__inputs_memory": "10 kb"}
    return environment(workshop, parallelism, request.param, **memory)


class Tagged(MapPartitionFunction[Any, Any]):
    def open(self, runtime_context: Any) -> None:
        self.subtask = runtime_context.get_index_of_this_subtask()

    def map_partition(self, values: Iterator[Any]) -> Iterator[Any]:
        for value in values:
            yield self.subtask, value
        yield self.subtask, "end"


class Total(AggregateFunction[Any, int, int]):
    def create_accumulator(self) -> int:
        return 0

    def add(self, value: Any, accumulator: int) -> int:
        return accumulator + int(value[1])

    def get_result(self, accumulator: int) -> int:
        return accumulator

    def merge(self, acc_a: int, acc_b: int) -> int:
        return acc_a + acc_b


def test_partitions_of_subtasks(env: StreamExecutionEnvironment, parallelism: int) -> None:
    window = env.from_collection(EXPECTED).rebalance().full_window_partition()
    tagged = list(window.map_partition(Tagged()).execute_and_collect())
    assert Counter(value for _, value in tagged if value != "end") == Counter(EXPECTED)
    of_subtask = defaultdict(list)
    for subtask, value in tagged:
        of_subtask[subtask].append(value)
    assert len(of_subtask) == parallelism
    assert all(values.count("end") == 1 and values[-1] == "end" for values in of_subtask.values())
    assert sum(window.aggregate(Total()).execute_and_collect()) == sum(range(EVENTS))
    largest = list(window.reduce(lambda a, b: max(a, b, key=operator.itemgetter(1))).execute_and_collect())
    assert len(largest) == parallelism
    assert max(number for _, number in largest) == EVENTS - 1


def test_sorted_partitions_of_subtasks(env: StreamExecutionEnvironment, parallelism: int) -> None:
    window = env.from_collection(EXPECTED).rebalance().full_window_partition()
    tag = window.sort_partition(1, Order.DESCENDING).map(Subtask())
    of_subtask = defaultdict(list)
    for subtask, value in tag.execute_and_collect():
        of_subtask[subtask].append(value[1])
    assert sorted(number for numbers in of_subtask.values() for number in numbers) == list(range(EVENTS))
    assert len(of_subtask) == parallelism
    assert all(numbers == sorted(numbers, reverse=True) for numbers in of_subtask.values())


class Subtask:
    """Tags values with the subtask that sees them."""

    def open(self, runtime_context: Any) -> None:
        self.subtask = runtime_context.get_index_of_this_subtask()

    def map(self, value: Any) -> Any:
        return self.subtask, value


def test_partitions_of_keys(env: StreamExecutionEnvironment) -> None:
    window = env.from_collection(EXPECTED).rebalance().key_by(lambda e: e[0], str).full_window_partition()
    numbers = defaultdict(list)
    for key, number in EXPECTED:
        numbers[key].append(number)
    found = list(window.map_partition(lambda values: [sorted(values)]).execute_and_collect())
    assert sorted(found) == sorted([(key, n) for n in sorted(of_key)] for key, of_key in numbers.items())
    assert sorted(window.aggregate(Total()).execute_and_collect()) == sorted(map(sum, numbers.values()))
    reduced = window.reduce(lambda a, b: (a[0], a[1] + b[1])).execute_and_collect()
    assert dict(reduced) == {key: sum(of_key) for key, of_key in numbers.items()}
    of_key = defaultdict(list)
    for key, number in window.sort_partition(lambda e: e[1]).execute_and_collect():
        of_key[key].append(number)
    assert of_key == {key: sorted(wanted) for key, wanted in numbers.items()}


@pytest.mark.parametrize("backend", ["hashmap", "rocksdb"])
def test_what_was_collected_survives_a_failure(
    workshop: Workshop, parallelism: int, backend: str, tmp_path: Path
) -> None:
    marker = tmp_path / "failed"
    checkpoints = workshop.checkpoints

    def fails_after_a_checkpoint(value: tuple[str, int]) -> tuple[str, int]:
        if value[1] > 0 and not marker.exists() and any(checkpoints.glob("*/chk-*/_metadata")):
            marker.touch()
            raise ValueError(value)
        return value

    env = environment(workshop, parallelism, RuntimeExecutionMode.STREAMING, state_backend_type=backend)
    source = DataGeneratorSource(event, EVENTS, RateLimiterStrategy.per_second(4_000))
    events = env.from_source(source, WatermarkStrategy.no_watermarks(), "events").map(
        fails_after_a_checkpoint
    )
    by_key = events.key_by(lambda e: e[0], str).full_window_partition()
    results = (
        events.full_window_partition()
        .sort_partition(1)
        .map(lambda e: ("sorted", *e))
        .union(
            by_key.sort_partition(1).map(lambda e: ("sorted by key", *e)),
            by_key.reduce(lambda a, b: (a[0], a[1] + b[1])).map(lambda e: ("reduced", *e)),
            events.full_window_partition().map_partition(lambda values: values).map(lambda e: ("mapped", *e)),
            events.full_window_partition().aggregate(Total()).map(lambda n: ("total", "", n)),
        )
    )
    found = list(results.execute_and_collect())
    assert marker.exists()
    for kind in ("sorted", "sorted by key", "mapped"):
        assert Counter((k, n) for of, k, n in found if of == kind) == Counter(EXPECTED)
    sums: Counter[str] = Counter()
    for key, number in EXPECTED:
        sums[key] += number
    assert {key: number for kind, key, number in found if kind == "reduced"} == sums
    assert sum(number for kind, _, number in found if kind == "total") == sum(range(EVENTS))


@pytest.mark.parametrize(
    ("records", "field"),
    [
        ([{"n": 2}, {"n": 1}], "n"),
        ([Row(n=2), Row(n=1)], "n"),
        ([2 + 0j, 1 + 5j], "real"),
        ([(2, "a"), (1, "b")], 0),
    ],
)
def test_records_are_sorted_by_fields_of_any_form(workshop: Workshop, records: list[Any], field: Any) -> None:
    env = environment(workshop, 1, RuntimeExecutionMode.BATCH)
    window = env.from_collection(records).full_window_partition()
    assert list(window.sort_partition(field).execute_and_collect()) == records[::-1]


def test_what_cannot_be_is_refused_with_the_user_s_line(workshop: Workshop) -> None:
    window = environment(workshop, 1, RuntimeExecutionMode.BATCH).from_collection([1]).full_window_partition()
    for wrong in (
        lambda: window.sort_partition(1, "ASCENDING"),  # type: ignore[arg-type]
        lambda: window.sort_partition(None),  # type: ignore[arg-type]
        lambda: window.map_partition(lambda: [1]),  # type: ignore[arg-type,misc]
        lambda: window.reduce(lambda a: a),  # type: ignore[arg-type,misc]
        lambda: window.aggregate(object()),  # type: ignore[arg-type]
    ):
        with pytest.raises(JobDefinitionError) as refused:
            wrong()
        assert "test_partition.py" in (refused.value.where or "")


def test_checkpoints_wait_while_results_leave_so_that_a_failure_then_repeats_none(
    workshop: Workshop, parallelism: int, tmp_path: Path
) -> None:
    marker, records = tmp_path / "failed", 20_000

    def fails_once_in_the_middle(number: int) -> str:
        if number == records // 2 and not marker.exists():
            marker.touch()
            raise ValueError(number)
        return str(number)

    env = environment(
        workshop, parallelism, RuntimeExecutionMode.STREAMING, execution_checkpointing_interval="5 ms"
    )
    # The sort is chained to the source, whose barriers begin here; the failing map is behind an exchange.
    numbers = env.from_sequence(1, records).full_window_partition().sort_partition(lambda n: -n)
    sink = FileSink.for_row_format(str(workshop.out), Encoder.simple_string_encoder()).build()
    numbers.rebalance().map(fails_once_in_the_middle, str).sink_to(sink)
    env.execute()
    assert marker.exists()
    assert workshop.committed() == Counter(str(number) for number in range(1, records + 1))
    assert workshop.hidden() == []
    assert list(workshop.tmp.iterdir()) == []
