"""How far the windows of a subtask have come, also across a change of parallelism: no window fires twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from ..core.batch import MIN_TIMESTAMP
from .earlier_windows import WindowLayout

PROGRESS = "union:progress"
"""The list state with the entries of all subtasks."""


class ProgressEntry(msgspec.Struct, frozen=True, array_like=True):
    """Windows up to `fired_until` (a watermark, ms) have fired for these key groups (inclusive).

    Attributes:
        layout: of the contents; None in snapshots of releases that did not write it.
        earlier: there may be windows of an earlier definition.
    """

    first_key_group: int
    last_key_group: int
    fired_until: int
    layout: WindowLayout | None = None
    earlier: bool = False


def decode_entries(items: Iterable[bytes]) -> list[ProgressEntry]:
    """What `WindowProgress.snapshot` wrote, of all subtasks."""
    return [msgspec.msgpack.decode(item, type=ProgressEntry) for item in items]


class WindowProgress:
    """The watermark, and the key groups that came from a subtask which was ahead of it.

    Args:
        key_groups: the first and the last one of the subtask.
        group_of: the key group of a key.
        restored: of all subtasks before.

    Attributes:
        watermark: how far event time has come (ms); MIN_TIMESTAMP at first.
    """

    def __init__(
        self,
        key_groups: tuple[int, int],
        group_of: Callable[[Any], int],
        restored: Sequence[ProgressEntry],
    ) -> None:
        self.watermark = MIN_TIMESTAMP
        self._key_groups = key_groups
        self._group_of = group_of
        self._ahead: dict[int, int] = {}
        first, last = key_groups
        for entry in restored:
            for group in range(max(first, entry.first_key_group), min(last, entry.last_key_group) + 1):
                self._ahead[group] = entry.fired_until
        if self._ahead:
            self.watermark = min(self._ahead.get(group, MIN_TIMESTAMP) for group in range(first, last + 1))
            self._forget_passed()

    def advance(self, watermark: int) -> None:
        """Event time goes on, never back: after a restore watermarks may begin below what the windows had reached."""
        self.watermark = max(self.watermark, watermark)

    def fired(self) -> None:
        """All windows up to the watermark have fired."""
        self._forget_passed()

    def _forget_passed(self) -> None:
        if self._ahead and self.watermark >= max(self._ahead.values()):
            self._ahead.clear()

    @property
    def furthest(self) -> int:
        """How far (ms) the windows of some key have come."""
        return max((self.watermark, *self._ahead.values()))

    def reached(self, key: Any) -> int:
        """How far (ms) the windows of this key have come: after a change of parallelism perhaps further than the watermark."""
        return max(self.watermark, self._fired_until(key)) if self._ahead else self.watermark

    def not_fired(self, end: int, entries: Iterable[tuple[Any, Any]]) -> Iterable[tuple[Any, Any]]:
        """Those of the entries (key, contents) of the window that ends there whose key has not seen it fire."""
        if not self._ahead:
            return entries
        return [(key, contents) for key, contents in entries if self._fired_until(key) < end - 1]

    def _fired_until(self, key: Any) -> int:
        return self._ahead.get(self._group_of(key), MIN_TIMESTAMP)

    def snapshot(self, layout: WindowLayout, *, earlier: bool) -> list[bytes]:
        """The entries of this subtask."""
        first, last = self._key_groups
        entries = [ProgressEntry(first, last, self.watermark, layout, earlier)]
        if self._ahead:
            reached = {
                group: max(self.watermark, self._ahead.get(group, MIN_TIMESTAMP))
                for group in range(first, last + 1)
            }
            entries = [
                ProgressEntry(group, group, until, layout, earlier) for group, until in reached.items()
            ]
        return [msgspec.msgpack.encode(entry) for entry in entries]
