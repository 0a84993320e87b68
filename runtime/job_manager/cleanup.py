"""Deletes what no retained checkpoint needs, apart from everything that checkpoints wait for."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from .background import Background
from .fencing import Fencing

_LOG: Final = logging.getLogger(__name__)
_MOST_REMEMBERED: Final = 10_000
"""Failed deletions that are tried again; the files of older ones are found at the next start or restart (`leftovers`)."""


class Cleanup:
    """Deletions in a thread of their own, so that a storage which deletes slowly, or not at all, delays no `_metadata`.

    What fails is logged once, and tried again whenever `retry` is called. A job manager that leads no more deletes nothing.
    """

    def __init__(self, wake: Callable[[], None], fencing: Fencing) -> None:
        self._fencing = fencing
        self._background = Background("millstream-cleanup", wake)
        self._failed: deque[Callable[[], None]] = deque(maxlen=_MOST_REMEMBERED)

    def delete(self, deletion: Callable[[], None]) -> None:
        """Run `deletion`, which may be repeated, some time."""
        self._submit(deletion, logging.WARNING)

    def retry(self) -> None:
        """A checkpoint was completed: the storage works again, perhaps also for what it refused to delete."""
        failed = [*self._failed]
        self._failed.clear()
        for deletion in failed:
            self._submit(deletion, logging.DEBUG)

    @property
    def remembered(self) -> int:
        """Deletions that failed and will be tried again."""
        return len(self._failed)

    def deliver(self) -> bool:
        """Take note of what has ended; whether anything has. In the loop's thread."""
        return self._background.deliver()

    def join(self, timeout_s: float) -> None:
        """Wait until what was submitted has ended, at most so long; `deliver` then finds the outcomes."""
        self._background.join(timeout_s)

    def close(self, *, join: bool) -> None:
        """Nothing is begun after this. `join`: wait until what was submitted has ended."""
        self._background.close(join=join)

    def _submit(self, deletion: Callable[[], None], level: int) -> None:
        def failed(error: Exception) -> None:
            _LOG.log(level, "left behind, to be deleted later: %s", error)
            self._failed.append(deletion)

        def fenced() -> None:
            self._fencing.require()
            deletion()

        self._background.submit(fenced, lambda _: None, failed)
