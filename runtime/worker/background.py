"""Helper threads for blocking calls, whose outcomes come back into the loop's thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from ..graph.execution_graph import Subtask
from ..transport import Waker


class Background:
    """One helper thread: calls run one at a time, in order; handlers run in the loop's thread, in that order too."""

    def __init__(self, name: str, waker: Waker) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._waker = waker
        self._done: deque[tuple[Future[Any], Callable[[Future[Any]], None]]] = deque()
        self._running = 0

    def run(self, work: Callable[[], Any], handler: Callable[[Future[Any]], None]) -> None:
        """Run `work` in the helper thread, then `handler(future)` in the loop's thread."""
        self._running += 1
        future = self._executor.submit(work)
        future.add_done_callback(lambda done: self._finished(done, handler))

    def _finished(self, future: Future[Any], handler: Callable[[Future[Any]], None]) -> None:
        self._done.append((future, handler))
        self._waker.wake()

    def deliver(self) -> bool:
        """Run the handlers of what has ended. True when there was one. Raises what a handler raises."""
        delivered = False
        while self._done:
            future, handler = self._done.popleft()
            self._running -= 1
            delivered = True
            handler(future)
        return delivered

    @property
    def busy(self) -> bool:
        """Whether anything runs or waits to be delivered."""
        return self._running > 0

    def join(self, timeout_s: float) -> None:
        """Wait until all calls have ended, at most so long; `deliver` then finds their outcomes."""
        if self.busy:
            wait((self._executor.submit(lambda: None),), timeout_s)

    def close(self) -> None:
        """Wait for the running call; forget the others."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._done.clear()


class HandOver:
    """Callables on their way from any thread into the loop's, each on behalf of a subtask."""

    def __init__(self, waker: Waker) -> None:
        self._waker = waker
        self._waiting: deque[tuple[Subtask, Callable[[], None]]] = deque()

    def put(self, subtask: Subtask, action: Callable[[], None]) -> None:
        """From any thread."""
        self._waiting.append((subtask, action))
        self._waker.wake()

    def take(self) -> Iterator[tuple[Subtask, Callable[[], None]]]:
        """What there is, in order."""
        while self._waiting:
            yield self._waiting.popleft()

    def clear(self) -> None:
        """Forget everything; whoever puts has ended."""
        self._waiting.clear()
