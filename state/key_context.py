"""Whose state is meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final


class KeyContext:
    """Whose state it is: the runtime sets `current_key` before each record and timer."""

    __slots__ = ("_listeners", "current_key")

    def __init__(self) -> None:
        self.current_key: Any = None
        self._listeners: tuple[Callable[[], None], ...] = ()

    def call_at_each_key(self, listener: Callable[[], None]) -> None:
        """Have `listener` called whenever a key is set, be it the same as before.

        From then on setting the key is a call of ours; until then it is an attribute like any other, whoever sets it.
        """
        self._listeners = (*self._listeners, listener)
        self.__class__ = _listening(type(self))


def _listening(kind: type[KeyContext]) -> type[KeyContext]:
    """The class of contexts of a kind that have listeners: with the same slots, so that an object may change into it."""
    if "current_key" in vars(kind) and kind is not KeyContext:
        return kind
    found = _LISTENING.get(kind)
    if found is None:
        found = _LISTENING[kind] = type(
            f"Listening{kind.__name__}", (kind,), {"__slots__": (), "current_key": _KEY}
        )
    return found


def _get_key(context: KeyContext) -> Any:
    return _PLAIN_KEY.__get__(context)


def _set_key(context: KeyContext, key: Any) -> None:
    _PLAIN_KEY.__set__(context, key)
    for listener in context._listeners:
        listener()


_PLAIN_KEY: Final[Any] = vars(KeyContext)["current_key"]  # the slot
_KEY: Final = property(_get_key, _set_key)
_LISTENING: Final[dict[type[KeyContext], type[KeyContext]]] = {}
