"""Python's collector of reference cycles, while tasks run."""

from __future__ import annotations

import gc
from typing import Final, TypeAlias

Thresholds: TypeAlias = tuple[int, int, int]

_YOUNG_OBJECTS: Final = 10_000
"""Net new containers before the young generation is looked at. With the usual 700 that happens in every batch of 1,024 records, finds
all of them alive and costs 3 % of a job; several batches, by contrast, are over before it does."""


def relax_collector() -> Thresholds:
    """Have the young generation collected once in several batches; the thresholds before, for `restore_collector`.

    A user's higher threshold stays, and so does a collector that is switched off.
    """
    before = gc.get_threshold()
    if 0 < before[0] < _YOUNG_OBJECTS:
        gc.set_threshold(_YOUNG_OBJECTS, *before[1:])
    return before


def restore_collector(before: Thresholds) -> None:
    """As it was, unless the user has changed it meanwhile."""
    if gc.get_threshold()[0] == _YOUNG_OBJECTS:
        gc.set_threshold(*before)
