"""On which exchanges barriers overtake, and by what name channel state finds its exchange again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from millstream import (
    AggregateFunction,
    CoMapFunction,
    StreamExecutionEnvironment,
    Time,
    TumblingEventTimeWindows,
    WatermarkStrategy,
)
from millstream.operators.combiner import CombinerSpec
from millstream.runtime.graph.channel_state import (
    edge_name,
    may_wait_for_themselves,
    overtakable_edges,
)
from millstream.runtime.graph.compiler import compile_job
from millstream.runtime.graph.job_graph import JobGraph


def compiled(build: Callable[[Any], Any], parallelism: int = 2, *, chaining: bool = True) -> JobGraph:
    env = StreamExecutionEnvironment.get_execution_environment().set_parallelism(parallelism)
    if not chaining:
        env.disable_operator_chaining()
    build(env.from_sequence(1, 9)).print()
    return compile_job(env.get_stream_graph())


def overtakable(build: Callable[[Any], Any]) -> set[str]:
    """The partitioners of the exchanges on which barriers overtake."""
    job = compiled(build)
    found = overtakable_edges(job)
    return {edge.partitioner.name for edge in job.edges if edge.index in found}


def same(value: int) -> int:
    return value


class Both(CoMapFunction[int, int, int]):
    def map1(self, value: int) -> int:
        return value

    def map2(self, value: int) -> int:
        return value


@pytest.mark.parametrize(
    ("build", "found"),
    [
        (lambda s: s.key_by(same).map(same), {"HASH"}),
        (lambda s: s.rebalance().map(same), {"REBALANCE"}),
        (lambda s: s.shuffle().map(same), {"SHUFFLE"}),
        (lambda s: s.global_().map(same), {"GLOBAL"}),
        (lambda s: s.partition_custom(lambda key, n: key % n, same).map(same), {"CUSTOM"}),
        (lambda s: s.broadcast().map(same), set()),
        (lambda s: s.rescale().map(same), set()),
        (lambda s: s.forward().map(same), set()),
    ],
)
def test_broadcast_and_pointwise_exchanges_keep_their_order(
    build: Callable[[Any], Any], found: set[str]
) -> None:
    assert overtakable(build) == found


@pytest.mark.parametrize(
    ("build", "waits"),
    [
        pytest.param(lambda s: s.key_by(same).map(same), set(), id="a line"),
        pytest.param(lambda s: s.rebalance().map(same).union(s.map(same)).map(same), {"Map"}, id="two ways"),
        pytest.param(
            lambda s: s.rebalance().map(same).union(s.shuffle().map(same)).key_by(same).map(same),
            set(),
            id="two ways, and no way kept in order",
        ),
        pytest.param(
            lambda s: (
                s.map(same).union(s.get_execution_environment().from_sequence(1, 2).map(same)).map(same)
            ),
            set(),
            id="two sources",
        ),
        pytest.param(
            lambda s: s.key_by(same).map(same).connect(s.broadcast()).map(Both()), {"Co-Map"}, id="broadcast"
        ),
    ],
)
def test_who_may_wait_for_itself(build: Callable[[Any], Any], waits: set[str]) -> None:
    job = compiled(build)
    assert {job.vertices[index].operators[0].name for index in may_wait_for_themselves(job)} == waits


def test_exchanges_of_a_loop_and_behind_it_keep_their_order() -> None:
    def build(stream: Any) -> Any:
        iteration = stream.key_by(same).iterate()
        body = iteration.key_by(same).map(same)
        iteration.close_with(body.filter(lambda n: n < 0))
        return body.key_by(same).map(same)

    job = compiled(build)
    found = overtakable_edges(job)
    assert len([edge for edge in job.edges if edge.partitioner.name == "HASH"]) == 3
    assert found == frozenset()


class Sum(AggregateFunction[int, int, int]):
    def create_accumulator(self) -> int:
        return 0

    def add(self, value: int, accumulator: int) -> int:
        return accumulator + value

    def get_result(self, accumulator: int) -> int:
        return accumulator

    def merge(self, acc_a: int, acc_b: int) -> int:
        return acc_a + acc_b


def windows(stream: Any) -> Any:
    timed = stream.assign_timestamps_and_watermarks(
        WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(lambda value, _: value)
    )
    return timed.key_by(same).window(TumblingEventTimeWindows.of(Time.seconds(1))).aggregate(Sum())


@pytest.mark.parametrize("chaining", [True, False])
def test_a_combiner_does_not_change_the_name_of_its_exchange(chaining: bool) -> None:
    wide, narrow = compiled(windows, 2, chaining=chaining), compiled(windows, 1, chaining=chaining)

    def combiners(job: JobGraph) -> int:
        return sum(isinstance(o.operator, CombinerSpec) for v in job.vertices for o in v.operators)

    assert (combiners(wide), combiners(narrow)) == (1, 0)
    names = [
        {edge_name(job, edge) for edge in job.edges if edge.partitioner.name == "HASH"}
        for job in (wide, narrow)
    ]
    assert names[0] == names[1]
    assert len(names[0]) == 1
