"""What one reads out of a checkpoint: entries of keyed state, and items of operator state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ..state.expiry import is_timed
from ..state.handles import TableInfo
from ..state.offline import StoredEntry

_MAP_VALUE: Final = ("TUPLE(", "TTL(TUPLE(")


@dataclass(frozen=True, slots=True)
class StateEntry:
    """One entry of keyed state.

    Attributes:
        key: the stream's key.
        namespace: the window, or the time of a timer (ms); None where state belongs to the key alone.
        map_key: the entry's key in map state; None otherwise.
        value: the value; of aggregating state the accumulator, of list state the whole list.
        key_group: where the key belongs.
        last_access_ms: of state with time-to-live: when the value, or the youngest part of it, was last accessed.
        expires_ms: when it expires, where the checkpoint says how long entries live.
    """

    key: Any
    namespace: Any
    map_key: Any
    value: Any
    key_group: int
    last_access_ms: int | None = None
    expires_ms: int | None = None

    def has_expired(self, now_ms: int) -> bool:
        """Whether it has expired by then; never where the checkpoint does not say how long entries live."""
        return self.expires_ms is not None and self.expires_ms <= now_ms


@dataclass(frozen=True, slots=True)
class OperatorStateItem:
    """One item of operator state.

    Attributes:
        subtask: who held it, from 0; None of what belongs to no subtask.
        map_key: the entry's key in broadcast state; None otherwise.
        value: the element, or the entry's value.
    """

    subtask: int | None
    map_key: Any
    value: Any


def kind_of(info: TableInfo) -> str:
    """What a table is used as; derived from its layout where the checkpoint is older than that it says so."""
    if info.kind:
        return info.kind
    if info.routed_by == "namespace":
        return "map" if info.value_type.startswith(_MAP_VALUE) else "join-buffer"
    if info.name.endswith(("-timers", "-cleanup")):
        return "timers"
    return "window" if info.namespace_type else "value"


def shown_type(info: TableInfo) -> str:
    """The type of the values as a reader gets them: without times of access, and without the tuple around a map's value.

    >>> shown_type(TableInfo("m", 0, "namespace", "LONG", "STRING", "TTL(TUPLE(DOUBLE))", "map"))
    'DOUBLE'
    """
    name = info.value_type
    while is_timed(name):
        before, _, rest = name.partition("TTL(")
        inner, after = _closed(rest)
        name = before + inner + after
    if kind_of(info) == "map" and info.routed_by == "namespace":
        return name.removeprefix("TUPLE(").removesuffix(")")
    return name


def entry_reader(info: TableInfo) -> Callable[[StoredEntry], StateEntry]:
    """Makes readable entries of those of a table."""
    by_namespace = info.routed_by == "namespace"
    unwrap = _unwrapping(info)

    def read(stored: StoredEntry) -> StateEntry:
        value, accessed_ms = unwrap(stored.value)
        key, namespace, map_key = (
            (stored.namespace, None, stored.key) if by_namespace else (stored.key, stored.namespace, None)
        )
        expires_ms = None if accessed_ms is None or not info.ttl_ms else accessed_ms + info.ttl_ms
        return StateEntry(key, namespace, map_key, value, stored.group, accessed_ms, expires_ms)

    return read


def _unwrapping(info: TableInfo) -> Callable[[Any], tuple[Any, int | None]]:
    """Takes a stored value apart into the value and the time of its last access."""
    is_map = kind_of(info) == "map"
    if info.value_type.startswith("TTL("):
        if is_map and info.routed_by == "namespace":
            return lambda stored: (stored[1][0], stored[0])
        return lambda stored: (stored[1], stored[0])
    if info.value_type.startswith("LIST(TTL("):
        return lambda stored: ([value for _, value in stored], max(time for time, _ in stored))
    if is_timed(info.value_type):  # a map that is one value, of a window
        return lambda stored: (
            {key: value for key, (_, (value,)) in stored.items()},
            max(time for time, _ in stored.values()),
        )
    if is_map and info.routed_by == "namespace":
        return lambda stored: (stored[0], None)
    if is_map:
        return lambda stored: ({key: value for key, (value,) in stored.items()}, None)
    return lambda stored: (stored, None)


def _closed(text: str) -> tuple[str, str]:
    """What stands before the parenthesis that closes the one before `text`, and after it."""
    depth = 1
    for index, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return text[:index], text[index + 1 :]
    return text, ""
