"""The helper thread of an asynchronous operator: an asyncio event loop that runs the user's function.

The operator's thread submits requests and takes outcomes; everything of the user's runs in the helper thread. Waiting between
two attempts is the operator's business, which has the clock.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from threading import Thread
from typing import Any, Final, TypeAlias

from .async_functions import timed_out
from .async_queue import Request
from .async_retry import AsyncRetryStrategy
from .results import results_refused

_LOG: Final = logging.getLogger(__name__)
_PATIENCE_S: Final = 5.0
"""How long a call that does not let itself be cancelled may hold up the end of the task."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The results of a request."""

    results: list[Any]


@dataclass(frozen=True, slots=True)
class AskAgain:
    """The outcome is not accepted: make the call again after so long."""

    delay_ms: int


@dataclass(frozen=True, slots=True)
class Failed:
    """There are no results, but this exception of the user's code."""

    error: BaseException


Outcome: TypeAlias = Answered | AskAgain | Failed


class AsyncCalls:
    """Calls a user's asynchronous function, many at a time.

    Args:
        function: an object with `async_invoke`, or a callable; with one argument (the record) a coroutine function that returns
            the results, with two the second is a `ResultFuture` to complete.
        notify: called in the helper thread when `outcomes` has something after it had been asked and had nothing.
    """

    def __init__(self, function: Any, strategy: AsyncRetryStrategy[Any], notify: Callable[[], None]) -> None:
        # Only what has the method is asked for the others: a plain callable may happen to have an attribute of their names.
        methods = function if hasattr(function, "async_invoke") else None
        self._open = getattr(methods, "open", None)
        self._close = getattr(methods, "close", None)
        self._strategy = strategy
        self._notify = notify
        self._invoke = _invoker(getattr(function, "async_invoke", function))
        on_timeout = getattr(methods, "timeout", None)
        self._on_timeout = None if on_timeout is None else _invoker(on_timeout)
        self._outcomes: deque[tuple[Request, Outcome]] = deque()
        self._notified = False
        self._running: dict[Request, asyncio.Task[None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None

    # ---- in the operator's thread

    def open(self, runtime_context: Any) -> None:
        """Start the thread, and run the user's `open` in it. Raises what that raises."""
        self._loop = loop = asyncio.new_event_loop()
        self._thread = Thread(target=loop.run_forever, name="millstream-async", daemon=True)
        self._thread.start()
        if self._open is not None:
            self._wait_for(_call(self._open, runtime_context))

    def submit(self, requests: Sequence[Request]) -> None:
        """Make the calls; those whose time is up meanwhile are not made."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._begin, requests)

    def time_out(self, requests: Sequence[Request]) -> None:
        """Their time is up: cancel the calls, and ask the user's `timeout` for results, if there is no outcome yet."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._give_up, requests)

    def outcomes(self) -> Iterator[tuple[Request, Outcome]]:
        """What has come since it was last asked."""
        self._notified = False  # before looking: whatever comes from now on notifies again
        while self._outcomes:
            yield self._outcomes.popleft()

    def close(self) -> None:
        """Cancel all calls, run the user's `close`, and end the thread. Raises what `close` raises. Idempotent."""
        loop, thread, self._thread = self._loop, self._thread, None
        if loop is None or thread is None:
            return
        try:
            self._wait_for(self._cancel_all())
            if self._close is not None:
                self._wait_for(_call(self._close))
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _wait_for(self, awaitable: Any) -> None:
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(awaitable, self._loop).result()

    # ---- in the helper thread

    def _begin(self, requests: Sequence[Request]) -> None:
        for request in requests:
            if not request.settled:
                request.attempts += 1
                self._start(request, self._attempt)

    def _give_up(self, requests: Sequence[Request]) -> None:
        for request in requests:
            if request.settled:
                continue
            request.settled = True
            call = self._running.pop(request, None)
            if call is not None:
                call.cancel()
            self._start(request, self._ask_on_timeout)

    def _start(self, request: Request, ask: Callable[[Request], Awaitable[Outcome]]) -> None:
        self._running[request] = asyncio.ensure_future(self._run(request, ask))

    async def _run(self, request: Request, ask: Callable[[Request], Awaitable[Outcome]]) -> None:
        me = asyncio.current_task()
        try:
            reached = await ask(request)
        except (Exception, SystemExit) as error:
            reached = Failed(error)
        except asyncio.CancelledError as error:
            if self._running.get(request) is not me:  # it was us
                raise
            reached = Failed(_cancelled_inside(error))
        if self._running.get(request) is not me:
            return  # the time was up before it could be cancelled
        del self._running[request]
        request.settled = not isinstance(reached, AskAgain)
        self._outcomes.append((request, reached))
        if not self._notified:
            self._notified = True
            self._notify()

    async def _attempt(self, request: Request) -> Outcome:
        predicate, strategy = self._strategy.get_retry_predicate(), self._strategy
        try:
            results = _listed(await self._invoke(request.value))
        except Exception as error:
            rejects_error = predicate.exception_predicate()
            if rejects_error is None or not rejects_error(error) or not strategy.can_retry(request.attempts):
                raise
        else:
            rejects = predicate.result_predicate()
            if rejects is None or not rejects(results) or not strategy.can_retry(request.attempts):
                return Answered(results)
        return AskAgain(strategy.get_backoff_time_millis(request.attempts))

    async def _ask_on_timeout(self, request: Request) -> Outcome:
        if self._on_timeout is None:
            raise timed_out(request.value)
        return Answered(_listed(await self._on_timeout(request.value)))

    async def _cancel_all(self) -> None:
        calls = set(self._running.values())
        self._running.clear()
        for call in calls:
            call.cancel()
        if calls:
            _, pending = await asyncio.wait(calls, timeout=_PATIENCE_S)
            if pending:
                _LOG.warning("%d asynchronous calls did not let themselves be cancelled", len(pending))


class _ResultFuture:
    """A `ResultFuture` on an event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self._loop.create_future()

    def complete(self, result: Iterable[Any] | None) -> None:
        self._tell(result, None)

    def complete_exceptionally(self, error: BaseException) -> None:
        self._tell(None, error)

    def _tell(self, result: Any, error: BaseException | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._settle, result, error)
        except RuntimeError:
            # The task has ended meanwhile, and nobody waits for the answer any more: no matter to whoever gives it.
            if not self._loop.is_closed():
                raise

    def _settle(self, result: Any, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


def _invoker(function: Callable[..., Any]) -> Callable[[Any], Awaitable[Any]]:
    """Both styles as one: a coroutine function of the record."""
    if not takes_result_future(function):
        return lambda value: _call(function, value)

    async def invoke(value: Any) -> Any:
        result = _ResultFuture()
        await _call(function, value, result)
        return await result.future

    return invoke


def takes_result_future(function: Callable[..., Any]) -> bool:
    """Whether a function is written in Java's style, with a `ResultFuture` as second argument."""
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return True
    except ValueError:  # some built-ins do not tell
        return False
    return False


async def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a function that may be a coroutine function or a plain one."""
    result = function(*arguments)
    return await result if inspect.isawaitable(result) else result


def _listed(results: Any) -> list[Any]:
    if results is None:
        return []
    if isinstance(results, str | bytes) or not hasattr(results, "__iter__"):
        raise results_refused(results)
    return list(results)


def _cancelled_inside(error: asyncio.CancelledError) -> RuntimeError:
    """Something the function awaited was cancelled, though nobody cancelled the call: an error like any other."""
    wrapped = RuntimeError("the asynchronous call was cancelled from inside")
    wrapped.__cause__ = error
    return wrapped.with_traceback(error.__traceback__)
