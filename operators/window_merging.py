"""Which windows of a key become one, and which window's place in the state tables keeps their contents. Pure.

Merged windows grow with each record, but their contents stay where the first of them put them: a record that extends a session
moves no contents, only the entry that says where they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from .windowing import MergingWindowAssigner

W = TypeVar("W")


@dataclass(frozen=True, slots=True)
class Merge(Generic[W]):
    """Several windows in flight become one.

    Attributes:
        result: the new window.
        merged: the windows it replaces.
        state_window: where its contents are, from now on.
        merged_state_windows: where contents are that have to be moved there.
    """

    result: W
    merged: tuple[W, ...]
    state_window: W
    merged_state_windows: tuple[W, ...]


@dataclass(frozen=True, slots=True)
class Added(Generic[W]):
    """What became of a window that a record was assigned.

    Attributes:
        window: the window the record is in: the new one, or what it was merged into.
        in_flight: window -> state window, of all windows of the key.
        merges: what has to be done; none for most records of a session that already covers their window.
    """

    window: W
    in_flight: Mapping[W, W]
    merges: tuple[Merge[W], ...] = ()


@dataclass(slots=True)
class _Reported:
    """A `MergeCallback` that remembers."""

    merges: list[tuple[list[Any], Any]] = field(default_factory=list)

    def merge(self, to_be_merged: Iterable[Any], merge_result: Any) -> None:
        self.merges.append((list(dict.fromkeys(to_be_merged)), merge_result))


def add_window(in_flight: Mapping[W, W], window: W, assigner: MergingWindowAssigner[Any, Any]) -> Added[W]:
    """Add a window to those in flight, merging as the assigner says.

    >>> from millstream import EventTimeSessionWindows, TimeWindow
    >>> first, second = TimeWindow(0, 5), TimeWindow(5, 10)
    >>> added = add_window({first: first}, second, EventTimeSessionWindows.with_gap(5))
    >>> added.window, added.in_flight
    (TimeWindow(start=0, end=10), {TimeWindow(start=0, end=10): TimeWindow(start=0, end=5)})
    """
    if window in in_flight:
        return Added(window, in_flight)
    reported = _Reported()
    assigner.merge_windows([*in_flight, window], reported)
    result, left, merges = window, dict(in_flight), []
    for members, merged_window in reported.merges:
        merged = tuple(member for member in members if member in left)
        if window in members:
            result = merged_window
        if not merged:
            continue
        states = [left.pop(member) for member in merged]
        left[merged_window] = states[0]
        if merged != (merged_window,):  # otherwise the new window lies within it, and nothing changes
            merges.append(Merge(merged_window, merged, states[0], tuple(states[1:])))
    if result not in left:
        left[result] = result
    return Added(result, left, tuple(merges))
