"""Repeats file operations that failed for a reason that may pass."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

T = TypeVar("T")

_PERMANENT: Final = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EEXIST,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOSPC,
        errno.ENOTDIR,
        errno.ENOTEMPTY,
        errno.EPERM,
        errno.EROFS,
    }
)


def is_transient(error: OSError) -> bool:
    """Whether the same operation may succeed in a moment: time-outs, resets, busy or stale network files."""
    # Client libraries of object stores often raise subclasses without a number.
    kinds = (FileNotFoundError, FileExistsError, PermissionError, NotADirectoryError, IsADirectoryError)
    return error.errno not in _PERMANENT and not isinstance(error, kinds)


def wait_ms(duration_ms: int) -> None:
    """Block this thread."""
    threading.Event().wait(duration_ms / 1_000)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently. With the defaults a failing store is given up after 1.5 s.

    Attributes:
        attempts: including the first.
        first_pause_ms: before the second attempt; doubled every time.
        pause: how to wait; tests give one that only counts.
    """

    attempts: int = 5
    first_pause_ms: int = 100
    pause: Callable[[int], None] = wait_ms

    def run(self, operation: Callable[[], T]) -> T:
        """The result of `operation`, which is repeated while it fails for a passing reason.

        Raises:
            OSError: of the last attempt.
        """
        pause_ms = self.first_pause_ms
        for _ in range(self.attempts - 1):
            try:
                return operation()
            except OSError as error:
                if not is_transient(error):
                    raise
            self.pause(pause_ms)
            pause_ms *= 2
        return operation()
