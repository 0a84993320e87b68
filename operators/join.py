"""Joins and co-groups in windows: both streams travel as one tagged stream, and a window function takes them apart again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .functions import RuntimeContext, WindowFunction
from .join_functions import FlatJoinFunction
from .user_function import UserFunction
from .window_types import TimeWindow


def tag_first(value: Any) -> tuple[int, Any]:
    """A record of the first stream."""
    return 1, value


def tag_second(value: Any) -> tuple[int, Any]:
    """A record of the second stream."""
    return 2, value


class TaggedKeySelector:
    """The key of a tagged record, by the selector of its stream."""

    def __init__(self, first: Callable[[Any], Any], second: Callable[[Any], Any]) -> None:
        self._first = first
        self._second = second

    def __call__(self, tagged: tuple[int, Any]) -> Any:
        tag, value = tagged
        return self._first(value) if tag == 1 else self._second(value)


class CoGroupWindowFunction(WindowFunction[Any, Any, Any]):
    """Hands the records of a window to a co-group function, those of each stream in the order in which they came."""

    def __init__(self, function: Any) -> None:
        self.wrapped_function = function
        self._user = UserFunction(function, "co_group")

    def open(self, runtime_context: RuntimeContext) -> None:
        self._user.open(runtime_context)

    def apply(self, key: Any, window: TimeWindow, inputs: Sequence[Any]) -> Iterable[Any] | None:
        results: Iterable[Any] | None = self._user.call(*_by_stream(inputs))
        return results

    def close(self) -> None:
        self._user.close()


class JoinWindowFunction(WindowFunction[Any, Any, Any]):
    """Hands every pair of records of a window to a join function."""

    def __init__(self, function: Any) -> None:
        self.wrapped_function = function
        self._user = UserFunction(function, "join")
        self._many = isinstance(function, FlatJoinFunction)

    def open(self, runtime_context: RuntimeContext) -> None:
        self._user.open(runtime_context)

    def apply(self, key: Any, window: TimeWindow, inputs: Sequence[Any]) -> Iterable[Any]:
        join = self._user.call
        firsts, seconds = _by_stream(inputs)
        for first in firsts:
            for second in seconds:
                if self._many:
                    yield from join(first, second) or ()
                else:
                    yield join(first, second)

    def close(self) -> None:
        self._user.close()


def _by_stream(inputs: Sequence[tuple[int, Any]]) -> tuple[list[Any], list[Any]]:
    return [value for tag, value in inputs if tag == 1], [value for tag, value in inputs if tag != 1]
