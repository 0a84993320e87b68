"""What `AsyncDataStream` takes and refuses while the program is built."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import pytest

from millstream import (
    AsyncDataStream,
    AsyncFunction,
    AsyncRetryStrategies,
    JobDefinitionError,
    StreamExecutionEnvironment,
    Time,
    Types,
)
from millstream.core.types import GENERIC
from millstream.runtime.graph.compiler import compile_job


@pytest.fixture
def numbers():
    return StreamExecutionEnvironment.get_execution_environment().from_collection([1], int)


class Hinted(AsyncFunction[int, str]):
    async def async_invoke(self, value: int) -> list[str]:
        return [str(value)]


class JavaStyle:
    def async_invoke(self, value, result_future):
        result_future.complete([value])


async def coroutine(value) -> Iterable[int]:
    return [value]


async def with_future(value, result_future):
    result_future.complete([value])


def plain(value):
    return [value]


STRATEGY = AsyncRetryStrategies.ExponentialBackoffDelayRetryStrategyBuilder(2, 10, 100, 2.0).build()


@pytest.mark.parametrize(
    ("function", "declared", "expected"),
    [
        (Hinted(), None, Types.STRING()),
        (coroutine, None, Types.LONG()),
        (coroutine, float, Types.DOUBLE()),
        (functools.partial(coroutine), None, Types.LONG()),
        (JavaStyle(), None, GENERIC),
        (with_future, None, GENERIC),
    ],
)
def test_the_type_of_results_is_declared_or_hinted_or_generic(numbers, function, declared, expected) -> None:
    assert AsyncDataStream.ordered_wait(numbers, function, 10, 5, declared).get_type() == expected
    retrying = AsyncDataStream.unordered_wait_with_retry(numbers, function, 10, STRATEGY, 5, declared)
    assert retrying.get_type() == expected


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda s: AsyncDataStream.ordered_wait(s, plain, 10), "not a coroutine function"),
        (lambda s: AsyncDataStream.ordered_wait(s, Hinted, 10), "the class Hinted"),
        (lambda s: AsyncDataStream.ordered_wait(s, 7, 10), "cannot be called"),
        (lambda s: AsyncDataStream.ordered_wait(s, lambda a, b, c: None, 10), "does not take"),
        (lambda s: AsyncDataStream.ordered_wait([1], coroutine, 10), "not a stream"),
        (lambda s: AsyncDataStream.ordered_wait(s, coroutine, -1), "timeout"),
        (lambda s: AsyncDataStream.unordered_wait_with_retry(s, coroutine, 0, STRATEGY), "timeout"),
        (lambda s: AsyncDataStream.unordered_wait(s, coroutine, 10, 0), "capacity"),
        (lambda s: AsyncDataStream.unordered_wait(s, coroutine, 10, True), "capacity"),
        (lambda s: AsyncDataStream.ordered_wait_with_retry(s, coroutine, 10, 3), "retry strategy"),
        (lambda s: AsyncRetryStrategies.FixedDelayRetryStrategyBuilder(0, 10).build(), "max_attempts"),
        (lambda s: AsyncRetryStrategies.FixedDelayRetryStrategyBuilder(1, 0).build(), "backoff_time_millis"),
    ],
)
def test_what_cannot_work_is_refused(numbers, call, match) -> None:
    with pytest.raises(JobDefinitionError, match=match):
        call(numbers)


def test_it_begins_a_chain_that_others_may_join(numbers) -> None:
    env = numbers.get_execution_environment()
    env.set_parallelism(1)
    wait = AsyncDataStream.ordered_wait(numbers.map(plain), coroutine, Time.seconds(1)).name("ask")
    wait.map(plain).print()
    job = compile_job(env.get_stream_graph())
    assert [vertex.name for vertex in job.vertices] == [
        "Source: Collection Source -> Map",
        "ask -> Map -> Sink: Print to Std. Out",
    ]


def test_a_keyed_stream_passes_through_by_key_and_the_result_is_not_keyed(numbers) -> None:
    env = numbers.get_execution_environment()
    result = AsyncDataStream.unordered_wait(numbers.key_by(lambda n: n), coroutine, 10)
    assert type(result).__name__ == "DataStream"
    result.print()
    (edge,) = (
        e
        for e in env.get_stream_graph().edges
        if env.get_stream_graph().node(e.target).operator.kind == "AsyncWait"
    )
    assert edge.partitioner.name == "HASH"
