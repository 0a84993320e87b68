"""Key groups: the fixed units in which keyed state moves when the parallelism changes.

A key belongs to the group `crc32(key's canonical bytes) % max_parallelism`, for ever, on every machine and Python version.
Groups are handed to subtasks in ranges. Source: Flink's `KeyGroupRangeAssignment` (the ranges; our hash is our own).
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

DEFAULT_LOWER_BOUND_MAX_PARALLELISM: Final = 128
UPPER_BOUND_MAX_PARALLELISM: Final = 1 << 15


def key_group_of(key_bytes: bytes, max_parallelism: int) -> int:
    """The group of a key, from its canonical bytes (`KeyEncoder.encode`).

    >>> key_group_of(b"a", 128)
    67
    """
    return crc32(key_bytes) % max_parallelism


def subtask_of_key_group(key_group: int, max_parallelism: int, parallelism: int) -> int:
    """The subtask that owns a key group.

    >>> [subtask_of_key_group(g, 4, 2) for g in range(4)]
    [0, 0, 1, 1]
    """
    return key_group * parallelism // max_parallelism


def key_group_range(subtask: int, max_parallelism: int, parallelism: int) -> tuple[int, int]:
    """First and last key group of a subtask, both inclusive.

    >>> key_group_range(1, 128, 3)
    (43, 85)
    """
    first = (subtask * max_parallelism + parallelism - 1) // parallelism
    last = ((subtask + 1) * max_parallelism - 1) // parallelism
    return first, last


def default_max_parallelism(parallelism: int) -> int:
    """1.5 times the parallelism, rounded up to a power of two, between 128 and 32768, as in Flink.

    >>> default_max_parallelism(2), default_max_parallelism(200)
    (128, 512)
    """
    wanted = parallelism + parallelism // 2
    rounded = 1 << max(wanted - 1, 0).bit_length()
    return min(max(rounded, DEFAULT_LOWER_BOUND_MAX_PARALLELISM), UPPER_BOUND_MAX_PARALLELISM)
