"""Functions in Java's style: what they give goes to a `Collector`, an argument after the usual ones."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from .functions import Function, RuntimeContext
from .user_function import close_function, open_function

T = TypeVar("T")


class Collector(Generic[T]):
    """Takes the results of a call; valid during the call alone.

    >>> from millstream import StreamExecutionEnvironment
    >>> def split(line: str, out: Collector[str]) -> None:
    ...     for word in line.split():
    ...         out.collect(word)
    >>> env = StreamExecutionEnvironment.get_execution_environment()
    >>> env.from_collection(["to be"]).flat_map(split).execute_and_collect(limit=2)
    ['to', 'be']
    """

    def __init__(self) -> None:
        self._collected: list[T] = []

    def collect(self, record: T) -> None:
        """A result; a pair `(tag, value)` of a process function goes to a side output."""
        self._collected.append(record)

    def close(self) -> None:
        """Nothing is held open; for symmetry with Flink."""


class CollectingFunction(Function):
    """Stands for a user's function, and takes its collector's place: results come back as a list.

    What the function returns besides (a list, a generator) follows what it collected.
    """

    def __init__(self, function: Any, method: str, arguments: int) -> None:
        self.function = function
        self._call = _plain(function, method, arguments)
        if hasattr(function, "on_timer"):
            self.on_timer = _plain(function, "on_timer", 2)

    def open(self, runtime_context: RuntimeContext) -> None:
        open_function(self.function, runtime_context)

    def close(self) -> None:
        close_function(self.function)

    def flat_map(self, value: Any) -> Iterable[Any]:
        """As `FlatMapFunction.flat_map`."""
        results: Iterable[Any] = self._call(value)
        return results

    def process_element(self, value: Any, ctx: Any) -> Iterable[Any]:
        """As `ProcessFunction.process_element`."""
        results: Iterable[Any] = self._call(value, ctx)
        return results


def takes_collector(function: Any, method: str, arguments: int) -> bool:
    """Whether a function wants one argument more than the usual ones."""
    target = getattr(function, method, function)
    if isinstance(function, type) or not callable(target):
        return False
    try:
        signature = inspect.signature(target)
    except (ValueError, TypeError):  # some built-ins do not tell
        return False
    return not _binds(signature, arguments) and _binds(signature, arguments + 1)


def with_plain_results(function: Any, method: str, arguments: int) -> Any:
    """The function itself, or what stands for it where it wants a collector."""
    on_timer = hasattr(function, "on_timer") and takes_collector(function, "on_timer", 2)
    wants = on_timer or takes_collector(function, method, arguments)
    return CollectingFunction(function, method, arguments) if wants else function


def _plain(function: Any, method: str, arguments: int) -> Callable[..., Any]:
    """The method as one without collector."""
    target: Callable[..., Any] = getattr(function, method, function)
    return _Collecting(target) if takes_collector(function, method, arguments) else target


def _binds(signature: inspect.Signature, arguments: int) -> bool:
    try:
        signature.bind(*(None for _ in range(arguments)))
    except TypeError:
        return False
    return True


class _Collecting:
    """A callable, not a closure: copies of it call the copy of the user's object."""

    def __init__(self, target: Callable[..., Any]) -> None:
        self._target = target

    def __call__(self, *arguments: Any) -> list[Any]:
        out: Collector[Any] = Collector()
        returned = self._target(*arguments, out)
        if returned is not None:
            out._collected.extend(returned)
        return out._collected
