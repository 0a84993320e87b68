"""PyFlink's future: one of `concurrent.futures`, whose `exception` does not wait."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class CompletableFuture(Future[T]):
    """What is to come of a job. Completed from one thread, waited for in any.

    >>> completed("RUNNING").result()
    'RUNNING'
    """

    def exception(self, timeout: float | None = 0) -> BaseException | None:
        """The error it was completed with, None if there is none so far.

        Args:
            timeout: seconds to wait for the completion; None: as long as it takes.
        """
        try:
            return super().exception(timeout)
        except TimeoutError:
            return None


def completed(value: T) -> CompletableFuture[T]:
    """A future that is done."""
    future: CompletableFuture[T] = CompletableFuture()
    future.set_result(value)
    return future


def following(other: Future[T]) -> CompletableFuture[T]:
    """A future that is completed as `other` is. Cancelling it does nothing to `other`."""
    future: CompletableFuture[T] = CompletableFuture()

    def complete(done: Future[T]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        error = done.exception()
        if error is None:
            future.set_result(done.result())
        else:
            future.set_exception(error)

    other.add_done_callback(complete)
    return future
