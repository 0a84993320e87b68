"""Tables whose entries expire, as handles see them: without the times, and without what has expired.

Handles of values, maps, reducing and aggregating state work on these as they do on a backend's own tables; lists, whose elements
expire one by one, work on the stored pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from ..core.clock import Clock
from .backend import KeyedStateBackend, StateTable
from .cleanup import Cleanup
from .expiry import Expiry
from .key_context import KeyContext


class TimedTable:
    """A table as the handle of a list sees it: the pairs as they are stored, each access cleaning up a little.

    Implements `StateTable` as far as handles need it.

    Args:
        table: what the handle would use if nothing expired.
        expiry: of the table.
        clock: tells processing time.
        cleanup: visits some entries at each access; None when it is not for us to do.
    """

    def __init__(self, table: Any, expiry: Expiry, clock: Clock, cleanup: Callable[[], None] | None) -> None:
        self.descriptor = table.descriptor
        self.expiry = expiry
        self.clock = clock
        self._table = table
        self._cleanup = cleanup

    def namespace(self, namespace: Any) -> Any:
        if self._cleanup is not None:
            self._cleanup()
        return self._table.namespace(namespace)

    def namespaces(self) -> Iterable[Any]:
        return self._table.namespaces()  # type: ignore[no-any-return]  # a StateTable, or as much of one as this

    def walk(self) -> Iterator[tuple[Any, Any, Any]]:
        return self._table.walk()  # type: ignore[no-any-return]  # as above

    def drop(self, namespace: Any) -> None:
        self._table.drop(namespace)
        if self._cleanup is not None:
            self._cleanup()


class ExpiringTable(TimedTable):
    """A table as all other handles see it: values alone, and only those they may see."""

    def __init__(self, table: Any, expiry: Expiry, clock: Clock, cleanup: Callable[[], None] | None) -> None:
        super().__init__(table, expiry, clock, cleanup)
        # Values are copied here where that is needed, so that handles may always read with `peek`.
        self._share = not table.descriptor.mutable_values
        self.descriptor = replace(table.descriptor, mutable_values=False)

    def namespace(self, namespace: Any) -> ExpiringEntries:
        entries = super().namespace(namespace)
        return ExpiringEntries(entries, self.expiry, self.clock.now_ms(), share=self._share)


class ExpiringEntries:
    """The entries of one namespace at one moment: as much of `StateMap` as handles use.

    Reading an entry that has expired removes it.
    """

    __slots__ = ("_entries", "_expiry", "_now_ms", "_share")

    def __init__(self, entries: Any, expiry: Expiry, now_ms: int, *, share: bool) -> None:
        self._entries = entries
        self._expiry = expiry
        self._now_ms = now_ms
        self._share = share

    def __getitem__(self, key: Any) -> Any:
        entries = self._entries
        stored = entries.peek(key) if self._share else entries[key]
        if stored is None:
            return None
        accessed_ms, value = stored
        if self._expiry.has_expired(accessed_ms, self._now_ms):
            entries.remove(key)
            return value if self._expiry.returns_expired else None
        if self._expiry.prolonged_by_reading and accessed_ms != self._now_ms:
            entries[key] = (self._now_ms, value)
        return value

    peek = __getitem__

    def __setitem__(self, key: Any, value: Any) -> None:
        self._entries[key] = (self._now_ms, value)

    def remove(self, key: Any) -> None:
        self._entries.remove(key)

    def entries(self) -> Iterator[tuple[Any, Any]]:
        """Each is an access."""
        for key in [key for key, _ in self._entries.entries()]:
            value = self[key]
            if value is not None:
                yield key, value

    def is_empty(self) -> bool:
        """Whether nothing can be seen. No access: it prolongs and removes nothing."""
        has_expired, shown = self._expiry.has_expired, self._expiry.returns_expired
        return not any(
            shown or not has_expired(accessed_ms, self._now_ms)
            for _, (accessed_ms, _) in self._entries.entries()
        )


def seen_by_handle(
    shown: Any, table: StateTable, expiry: Expiry, backend: KeyedStateBackend, keys: KeyContext
) -> TimedTable:
    """The table that the handle of a state with time-to-live works on.

    Args:
        shown: what it would work on without.
        table: the backend's own, to be cleaned up.
        expiry: of the table.
        backend: that of the table.
        keys: whose state is meant; says when there is a record.
    """
    visit: Callable[[], None] | None = None
    if expiry.visits and not backend.removes_expired:
        visit = _visits(Cleanup(table, expiry, backend.clock), expiry.visits)
        if expiry.visits_at_every_record:
            keys.call_at_each_key(visit)
    kind = TimedTable if expiry.shape == "list" else ExpiringTable
    return kind(shown, expiry, backend.clock, visit)


def _visits(cleanup: Cleanup, entries: int) -> Callable[[], None]:
    def visit() -> None:
        if not cleanup.visit(entries):  # the last pass had just come to its end
            cleanup.visit(entries)

    return visit


def merged(combine: Callable[[Any, Any], Any], expiry: Expiry, now_ms: int) -> Callable[[Any, Any], Any]:
    """Combines two stored values, lists of pairs aside, as `combine` does what is alive of them."""

    def combined(left: Any, right: Any) -> Any:
        seen = [pair for pair in (left, right) if expiry.returns_expired or expiry.kept(pair, now_ms)]
        if len(seen) == 2:
            return now_ms, combine(left[1], right[1])
        return seen[0] if seen else left

    return combined
