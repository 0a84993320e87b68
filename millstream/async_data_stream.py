"""Asynchronous I/O: asking something outside about each record, many records at a time."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from ._functions import check_arguments, check_function, definition_error, describe_function, result_type
from .core.time import TimeLike, to_millis
from .core.types import TypeInformation
from .data_stream import DataStream
from .operators.async_calls import takes_result_future
from .operators.async_functions import AsyncFunction, ResultFuture
from .operators.async_retry import NO_RETRY_STRATEGY, AsyncRetryStrategy
from .runtime.graph.stream_graph import ChainingStrategy

T = TypeVar("T")
R = TypeVar("R")


class AsyncDataStream:
    """Applies an asynchronous function to a stream. The result is an ordinary stream, not keyed.

    The function is an `AsyncFunction`, a coroutine function of the record that returns an iterable of results, or a function
    of a record and a `ResultFuture` (Java's style). Arguments that all methods share:

    - `timeout` (an int is milliseconds): from the first call for a record to its results, retries included; then the call is cancelled and
      `AsyncFunction.timeout` is asked for results, which by default fails the job. 0: no limit.
    - `capacity`: how many records may be under way in each subtask, those included whose results wait for their turn. The
      operator takes no more input then (at most the rest of one batch waits in it), which holds back everything upstream.
    - `output_type`: type of the results; inferred from the return hint if omitted, generic without one.

    Results carry the timestamp of their record. Records under way are part of a checkpoint, which does not wait for them; after a
    restore they are asked for again. So results are exactly-once, and the outside is asked at least once.

    Raises (all methods):
        JobDefinitionError: `data_stream` is no stream, the function is neither a coroutine function nor takes a `ResultFuture`,
            the timeout is negative (or 0 where there are retries), the capacity is no positive int, or the strategy is none.

    >>> from millstream import StreamExecutionEnvironment
    >>> env = StreamExecutionEnvironment.get_execution_environment()
    >>> async def look_up(user: str) -> list[tuple[str, int]]:
    ...     return [(user, len(user))]
    >>> ages = AsyncDataStream.ordered_wait(env.from_collection(["ann", "bo"]), look_up, timeout=1000)
    >>> ages.execute_and_collect(limit=2)
    [('ann', 3), ('bo', 2)]
    """

    @staticmethod
    def unordered_wait(
        data_stream: DataStream[T],
        async_function: AsyncFunction[T, R]
        | Callable[[T], Awaitable[Iterable[R] | None]]
        | Callable[[T, ResultFuture[R]], Any],
        timeout: TimeLike,
        capacity: int = 100,
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]:
        """Results leave as soon as they are there; but no record overtakes a watermark, nor a watermark a record."""
        return _wait(
            "unordered_wait()", data_stream, async_function, timeout, NO_RETRY_STRATEGY, capacity, output_type
        )

    @staticmethod
    def ordered_wait(
        data_stream: DataStream[T],
        async_function: AsyncFunction[T, R]
        | Callable[[T], Awaitable[Iterable[R] | None]]
        | Callable[[T, ResultFuture[R]], Any],
        timeout: TimeLike,
        capacity: int = 100,
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]:
        """Results leave in the order of the records: one that is slow holds back those behind it."""
        return _wait(
            "ordered_wait()", data_stream, async_function, timeout, NO_RETRY_STRATEGY, capacity, output_type
        )

    @staticmethod
    def unordered_wait_with_retry(
        data_stream: DataStream[T],
        async_function: AsyncFunction[T, R]
        | Callable[[T], Awaitable[Iterable[R] | None]]
        | Callable[[T, ResultFuture[R]], Any],
        timeout: TimeLike,
        async_retry_strategy: AsyncRetryStrategy[Any],
        capacity: int = 100,
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]:
        """`unordered_wait`, asking again when the strategy says so; a record that waits for its next try takes part in the capacity.
        `timeout` must not be 0 here, and is for all tries together. How many were made is not part of a checkpoint."""
        return _wait(
            "unordered_wait_with_retry()",
            data_stream,
            async_function,
            timeout,
            async_retry_strategy,
            capacity,
            output_type,
        )

    @staticmethod
    def ordered_wait_with_retry(
        data_stream: DataStream[T],
        async_function: AsyncFunction[T, R]
        | Callable[[T], Awaitable[Iterable[R] | None]]
        | Callable[[T, ResultFuture[R]], Any],
        timeout: TimeLike,
        async_retry_strategy: AsyncRetryStrategy[Any],
        capacity: int = 100,
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]:
        """`ordered_wait`, asking again as `unordered_wait_with_retry` does."""
        return _wait(
            "ordered_wait_with_retry()",
            data_stream,
            async_function,
            timeout,
            async_retry_strategy,
            capacity,
            output_type,
        )


def _wait(
    caller: str,
    stream: Any,
    function: Any,
    timeout: TimeLike,
    strategy: Any,
    capacity: Any,
    output_type: Any,
) -> DataStream[Any]:
    from .operators.async_io import AsyncWaitSpec

    if not isinstance(stream, DataStream):
        raise definition_error(
            f"{caller} was given {stream!r}, which is not a stream", fix="pass a DataStream"
        )
    _check_async_function(function, caller)
    timeout_ms = to_millis(timeout)
    if timeout_ms < 0 or (timeout_ms == 0 and strategy is not NO_RETRY_STRATEGY):
        least = "positive" if strategy is not NO_RETRY_STRATEGY else "positive, or 0 for no limit"
        raise definition_error(
            f"the timeout of {caller} must be {least}, not {timeout!r}",
            fix="give for example Time.seconds(10)",
        )
    if type(capacity) is not int or capacity < 1:
        raise definition_error(
            f"the capacity of {caller} must be a positive int, not {capacity!r}", fix="give for example 100"
        )
    if not isinstance(strategy, AsyncRetryStrategy):
        raise definition_error(
            f"{caller} was given {strategy!r} as retry strategy",
            fix="build one, e.g. with AsyncRetryStrategies.FixedDelayRetryStrategyBuilder(3, 100)",
        )
    ordered = caller.startswith("ordered")
    type_info = result_type(function, "async_invoke", output_type, many=True)
    spec = AsyncWaitSpec(function, stream.get_type(), ordered, timeout_ms, capacity, strategy)
    result = stream._then("async wait operator", spec, type_info)
    return result._set(caller, chaining=ChainingStrategy.HEAD)


def _check_async_function(function: Any, caller: str) -> None:
    """Refuse what neither is a coroutine function of a record, nor takes a ResultFuture as well."""
    target = getattr(function, "async_invoke", function)
    if isinstance(function, type) or not callable(target):
        check_function(function, "async_invoke", caller, 1)
    if takes_result_future(target):
        check_arguments(target, function, caller, 2)
    elif not _is_coroutine_function(target):
        raise definition_error(
            f"{caller} was given {describe_function(target)}, which is not a coroutine function",
            fix="write it with async def, or with a ResultFuture as second argument",
        )


def _is_coroutine_function(target: Any) -> bool:
    code = target.func if isinstance(target, functools.partial) else inspect.unwrap(target)
    return inspect.iscoroutinefunction(code) or inspect.iscoroutinefunction(getattr(code, "__call__", None))  # noqa: B004 (asked for its kind)
