"""Hands out the state of an operator to its subtasks, at the same or another parallelism."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..state.handles import KeyedStateHandle, OperatorSnapshot
from ..state.key_groups import key_group_range

BROADCAST: Final = "broadcast:"
"""A list state whose name begins so is the same in every subtask."""


def assign_state(
    snapshots: Sequence[OperatorSnapshot], parallelism: int, max_parallelism: int
) -> tuple[OperatorSnapshot, ...]:
    """What each of `parallelism` subtasks restores, from one snapshot per subtask of then.

    At an unchanged parallelism each subtask gets exactly its own back. Otherwise a subtask gets every keyed handle that
    holds a key group of its own (and reads only its groups from it), and every `parallelism`-th item of each list, so
    that each key group and each item goes to exactly one subtask; of a broadcast state it gets the copy of one subtask of
    then. The outcome depends on the arguments alone.
    """
    if len(snapshots) == parallelism:
        return tuple(snapshots)
    handles = [handle for snapshot in snapshots for handle in snapshot.keyed]
    lists = _joined(snapshots)
    return tuple(
        OperatorSnapshot(
            keyed=_intersecting(handles, key_group_range(subtask, max_parallelism, parallelism)),
            lists={
                name: _share(name, items, snapshots, subtask, parallelism) for name, items in lists.items()
            },
        )
        for subtask in range(parallelism)
    )


def _share(
    name: str, items: list[bytes], snapshots: Sequence[OperatorSnapshot], subtask: int, parallelism: int
) -> list[bytes]:
    if not name.startswith(BROADCAST):
        return items[subtask::parallelism]
    copies = [snapshot.lists[name] for snapshot in snapshots if name in snapshot.lists]
    return copies[subtask % len(copies)]


def _joined(snapshots: Sequence[OperatorSnapshot]) -> dict[str, list[bytes]]:
    """The items of every list, in the order of subtasks."""
    lists: dict[str, list[bytes]] = {}
    for snapshot in snapshots:
        for name, items in snapshot.lists.items():
            lists.setdefault(name, []).extend(items)
    return lists


def _intersecting(
    handles: Sequence[KeyedStateHandle], key_groups: tuple[int, int]
) -> tuple[KeyedStateHandle, ...]:
    first, last = key_groups
    return tuple(h for h in handles if h.key_groups[0] <= last and first <= h.key_groups[1])
