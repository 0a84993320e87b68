"""Functions that ask somebody else and wait for the answer while others are asked: for `AsyncDataStream`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterable
from typing import Any, Generic, Protocol, TypeVar

from ..core.types import excerpt
from .functions import Function, RuntimeContext

IN = TypeVar("IN")
OUT = TypeVar("OUT")
OUT_contra = TypeVar("OUT_contra", contravariant=True)


class ResultFuture(Protocol[OUT_contra]):
    """What a function in Java's style completes, once and from any thread; later calls are ignored."""

    def complete(self, result: Iterable[OUT_contra] | None) -> None:
        """The results of the record; empty or None for nothing."""

    def complete_exceptionally(self, error: BaseException) -> None:
        """There is no result, but this error: it is retried if the strategy says so, or else fails the job."""


class AsyncFunction(Function, ABC, Generic[IN, OUT]):
    """Answers records by awaiting something outside: a database, a service, a model.

    All its methods run in one helper thread of the subtask, on one asyncio event loop, so that clients bound to a loop can be
    made in `open` (which, like `close`, may be `async def` here). Whatever blocks that thread holds up all requests.
    After a restore the requests that were under way are made again: the outside sees them at least once.

    >>> class Lookup(AsyncFunction[str, tuple[str, int]]):
    ...     async def async_invoke(self, value: str) -> list[tuple[str, int]]:
    ...         return [(value, len(value))]
    """

    def open(self, runtime_context: RuntimeContext) -> Awaitable[None] | None:  # type: ignore[override]  # it may be awaited
        """Called once per subtask and attempt, before any record."""

    def close(self) -> Awaitable[None] | None:  # type: ignore[override]  # it may be awaited
        """Called at the end, also after a failure, when all calls have ended or been cancelled."""

    @abstractmethod
    async def async_invoke(self, value: IN) -> Iterable[OUT] | None:
        """The results for `value`; they carry its timestamp. An exception is retried if there is a strategy, or else fails the job."""

    def timeout(self, value: IN) -> Iterable[OUT] | None:
        """The results for a record whose time is up; its call has been cancelled. May be `async def`.

        Raises:
            TimeoutError: by default, which fails the job. A timeout is never retried.
        """
        raise timed_out(value)


def timed_out(value: Any) -> TimeoutError:
    """The error about a record whose time is up."""
    return TimeoutError(f"the asynchronous call for {excerpt(value)} did not end in time")
