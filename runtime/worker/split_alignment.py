"""Which splits of a source subtask are not read for now, because they are ahead of the alignment group. Pure.

Source: FLIP-182 (whole sources) and FLIP-217 (single splits).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...core.batch import MAX_TIMESTAMP


@dataclass(frozen=True, slots=True)
class PauseChange:
    """Splits whose reading stops or goes on, by id."""

    pause: frozenset[str]
    resume: frozenset[str]


class SplitAlignment:
    """Compares the splits of one subtask with the limit that was announced last.

    INVARIANT A1: the split with the group's least watermark is never paused, so somebody always advances. The limit is that
    watermark and a drift of 0 or more; a reader that can only wait as a whole waits when its *least* watermark is above it.
    Kept by: tests/worker/test_split_alignment.py

    Args:
        per_split: the reader can pause single splits; otherwise it waits as a whole.

    Attributes:
        paused: the splits that are not read now.
        waits: the reader as a whole is not polled now.
    """

    def __init__(self, *, per_split: bool) -> None:
        self._per_split = per_split
        self._limit = MAX_TIMESTAMP
        self.paused: frozenset[str] = frozenset()
        self.waits = False

    def set_limit(self, max_watermark: int) -> None:
        """Announced by the JobManager (ms)."""
        self._limit = max_watermark

    def forget(self, split_id: str) -> None:
        """The split is finished: nobody is told to go on with it."""
        self.paused -= {split_id}

    def update(self, watermarks: Mapping[str, int]) -> PauseChange | None:
        """Look at the splits again.

        Args:
            watermarks: of every split that is not idle, ms.

        Returns:
            What to tell a reader that pauses single splits; None when nothing changed.
        """
        limit, before = self._limit, self.paused
        if self._per_split:
            self.paused = frozenset(split for split, watermark in watermarks.items() if watermark > limit)
        else:
            self.waits = min(watermarks.values(), default=limit) > limit
            self.paused = frozenset(watermarks) if self.waits else frozenset()
        if self.paused == before:
            return None
        return PauseChange(self.paused - before, before - self.paused)
