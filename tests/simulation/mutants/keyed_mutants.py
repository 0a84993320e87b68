"""Bugs planted in how keyed state and timers are kept and handed out: by name, what stands in for what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from millstream.checkpoint import assignment
from millstream.checkpoint.assignment import _intersecting
from millstream.state.handles import KeyedStateHandle
from millstream.state.key_groups import key_group_range
from millstream.state.timers import KeyedTimers
from millstream.testing import harness


def _one_group_less(subtask: int, max_parallelism: int, parallelism: int) -> tuple[int, int]:
    """The first key group of every subtask but the first is restored nowhere."""
    first, last = key_group_range(subtask, max_parallelism, parallelism)
    return (first + 1 if subtask else first), last


def _one_group_more(subtask: int, max_parallelism: int, parallelism: int) -> tuple[int, int]:
    """The last key group of every subtask but the last is the next one's too: its timers fire twice."""
    first, last = key_group_range(subtask, max_parallelism, parallelism)
    return (first - 1 if subtask else first), last


def _first_handle_alone(
    handles: Sequence[KeyedStateHandle], key_groups: tuple[int, int]
) -> tuple[KeyedStateHandle, ...]:
    """A subtask whose groups came from two gets those of the first."""
    return _intersecting(handles, key_groups)[:1]


def _fires_without_removing(self: KeyedTimers, up_to_ms: int) -> Iterator[tuple[int, Any]]:
    """A timer that has fired stays in the table, and is restored to fire again."""
    while (timestamp_ms := self.next_due_ms()) is not None and timestamp_ms <= up_to_ms:
        yield from [(timestamp_ms, key) for key, _ in self._timers(timestamp_ms).entries()]
        self._alive.discard(timestamp_ms)


def _forgets_restored_times(self: KeyedTimers) -> int | None:
    """Times that were restored are not looked at: their timers never fire."""
    return min((time for time in self._alive if time in self._heap and self._count is not None), default=None)


MUTANTS: dict[str, tuple[object, str, object]] = {
    "a key group is lost on rescale": (harness, "key_group_range", _one_group_less),
    "a timer is restored twice": (harness, "key_group_range", _one_group_more),
    "state of a second subtask is lost on rescale": (assignment, "_intersecting", _first_handle_alone),
    "a fired timer is restored": (KeyedTimers, "pop_due", _fires_without_removing),
    "a restored timer never fires": (KeyedTimers, "next_due_ms", _forgets_restored_times),
}
