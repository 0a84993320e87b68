"""A user's function as the runtime sees it: a callable with a life cycle, whether it came as a class or a plain callable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .functions import Function, RichFunction


class UserFunction:
    """Wraps a function object (with `method`, and perhaps `open` and `close`) or a plain callable.

    Attributes:
        call: what to call per record; a bound method or the callable itself, without a layer of ours.
    """

    __slots__ = ("_function", "_rich", "call")

    def __init__(self, function: Any, method: str) -> None:
        self._function = function
        # A plain callable may happen to have an attribute of that name: numpy.add has a `reduce`.
        plain = callable(function) and not isinstance(function, Function)
        self._rich = not plain and hasattr(function, method)
        self.call: Callable[..., Any] = getattr(function, method) if self._rich else function

    def open(self, runtime_context: Any) -> None:
        """The user's `open`, if there is one."""
        if self._rich:
            open_function(self._function, runtime_context)

    def close(self) -> None:
        """The user's `close`, if there is one."""
        if self._rich:
            close_function(self._function)


def open_function(function: Any, runtime_context: Any) -> None:
    """Begin the life of a function object, as far as it has one."""
    if isinstance(function, RichFunction):
        function.set_runtime_context(runtime_context)
    if hasattr(function, "open"):
        function.open(runtime_context)


def has_life_cycle(function: Any) -> bool:
    """Whether `open` or `close` of a function object do anything."""
    kind = type(function)
    return isinstance(function, RichFunction) or any(
        getattr(kind, name, None) not in {None, getattr(Function, name)} for name in ("open", "close")
    )


def close_function(function: Any) -> None:
    """End the life of a function object, as far as it has one."""
    if hasattr(function, "close"):
        function.close()
