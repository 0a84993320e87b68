"""Blocking work of the JobManager, off its loop: storage, and whatever enumerators ask for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """One helper thread that runs calls in order, and a mailbox through which their outcomes come back to the loop.

    The thread starts with the first call and is a daemon: a call that hangs in an outside system cannot keep the process
    from ending.

    Args:
        name: of the thread.
        wake: called from the helper thread after each call: it must make the loop call `deliver` soon.
    """

    def __init__(self, name: str, wake: Callable[[], None]) -> None:
        self._name = name
        self._wake = wake
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._outcomes: deque[Callable[[], None]] = deque()
        self._thread: Thread | None = None
        self._closed = False
        self._under_way = 0

    def submit(
        self, work: Callable[[], T], on_result: Callable[[T], None], on_error: Callable[[Exception], None]
    ) -> None:
        """Run `work` in the helper thread, then one of the handlers with its outcome in the loop's thread.

        After `close` neither handler is called any more.
        """
        if self._closed:
            return
        self._under_way += 1

        def call() -> None:
            try:
                result = work()
            except Exception as error:  # the loop decides; nothing is swallowed
                self._outcomes.append(_bind(on_error, error))
            else:
                self._outcomes.append(_bind(on_result, result))
            self._wake()

        self._calls.put(call)
        if self._thread is None:
            self._thread = Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def deliver(self) -> bool:
        """Run the handlers of all calls that have ended; whether there were any. In the loop's thread."""
        delivered = False
        while self._outcomes and not self._closed:
            delivered = True
            self._under_way -= 1
            self._outcomes.popleft()()
        return delivered

    @property
    def busy(self) -> bool:
        """Whether a call runs, or its outcome waits to be delivered. In the loop's thread."""
        return self._under_way > 0 and not self._closed

    def join(self, timeout_s: float) -> None:
        """Wait until the calls that were submitted have ended, at most so long; `deliver` then finds their outcomes."""
        if self.busy:
            ended = Event()
            self._calls.put(ended.set)
            ended.wait(timeout_s)

    def close(self, *, join: bool) -> None:
        """No handler runs after this. `join`: wait until the calls that were submitted have ended."""
        self._closed = True
        self._calls.put(None)
        if join and self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


def _bind(handler: Callable[[Any], None], argument: Any) -> Callable[[], None]:
    return lambda: handler(argument)
