"""Where records go, in whole jobs: every record once, whichever partitioner says so."""

from __future__ import annotations

from typing import Any

import pytest

from millstream import (
    DataStream,
    JobExecutionError,
    MapFunction,
    Partitioner,
    StreamExecutionEnvironment,
    UserFunctionError,
)
from tests.integration.engine.harness import Workshop

NUMBERS = 2_000


class Located(MapFunction[int, tuple[int, int]]):
    """Says in which subtask a record was."""

    def open(self, runtime_context: Any) -> None:
        self.subtask = runtime_context.get_index_of_this_subtask()

    def map(self, value: int) -> tuple[int, int]:
        return value, self.subtask


class Halves(Partitioner[int]):
    def partition(self, key: int, num_partitions: int) -> int:
        return 0 if key < NUMBERS // 2 else num_partitions - 1


PARTITIONED = {
    "rescale": lambda stream: stream.rescale(),
    "shuffle": lambda stream: stream.shuffle(),
    "global": lambda stream: stream.global_(),
    "adaptive": lambda stream: stream.adaptive_rebalance(),
    "custom": lambda stream: stream.partition_custom(Halves(), lambda value: value),
    "custom-callable": lambda stream: stream.partition_custom(
        lambda key, count: key % count, lambda value: value
    ),
}


def run(workshop: Workshop, parallelism: int, partitioned: Any, **changes: str) -> dict[int, int]:
    env = StreamExecutionEnvironment.get_execution_environment(workshop.configuration(**changes))
    env.set_parallelism(parallelism)
    stream: DataStream[int] = env.from_sequence(0, NUMBERS - 1)
    with partitioned(stream).map(Located()).execute_and_collect() as results:
        found = list(results)
    assert sorted(value for value, _ in found) == list(range(NUMBERS))
    return dict(found)


@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize("name", PARTITIONED)
def test_every_record_arrives_once(workshop: Workshop, name: str, parallelism: int) -> None:
    place = run(workshop, parallelism, PARTITIONED[name])
    assert set(place.values()) == ({0} if name == "global" else set(range(parallelism)))
    if name == "custom":
        assert all(
            subtask == (0 if value < NUMBERS // 2 else parallelism - 1) for value, subtask in place.items()
        )
    if name == "custom-callable":
        assert all(subtask == value % parallelism for value, subtask in place.items())


def test_rescale_joins_any_two_parallelisms(workshop: Workshop) -> None:
    env = StreamExecutionEnvironment.get_execution_environment(workshop.configuration())
    two: DataStream[int] = env.set_parallelism(2).from_sequence(0, NUMBERS - 1)
    three = two.rescale().map(Located()).set_parallelism(3)
    back = three.rescale().map(lambda pair: (*pair, "again")).set_parallelism(2)
    with back.execute_and_collect() as results:
        found = list(results)
    assert sorted(value for value, _, _ in found) == list(range(NUMBERS))
    assert {subtask for _, subtask, _ in found} == {0, 1, 2}


def test_an_option_makes_every_rebalance_adaptive(workshop: Workshop) -> None:
    key = {"taskmanager_network_adaptive__partitioner_enabled": "true"}
    assert set(run(workshop, 2, lambda stream: stream.rebalance(), **key).values()) == {0, 1}


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_partitioner_that_answers_nonsense_fails_the_job_with_operator_and_record(
    workshop: Workshop, parallelism: int
) -> None:
    changes = {"restart__strategy_type": "none"}
    env = StreamExecutionEnvironment.get_execution_environment(workshop.configuration(**changes))
    stream = env.set_parallelism(parallelism).from_sequence(0, 9).map(lambda value: value).name("before")
    nonsense = stream.partition_custom(lambda key, count: 7 if key == 5 else 0, lambda value: value)
    with pytest.raises(JobExecutionError) as raised:
        nonsense.map(lambda value: value).print()
        env.execute()
    cause = raised.value.__cause__
    assert isinstance(cause, UserFunctionError)
    assert cause.operator == "before"
    assert cause.record == "5"
    assert "the partitioner returned 7 for the key 5" in str(cause)
