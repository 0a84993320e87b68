"""Processes of this host, told apart from later ones that got the same id."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def start_of(pid: int) -> str | None:
    """When the process of this id began, in a form that no later one has; None if there is none, or one that has ended.

    Where the system does not tell, every process has the same start.

    >>> start_of(os.getpid()) == start_of(os.getpid())
    True
    """
    if sys.platform != "linux":
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
        return "unknown"
    try:
        # The name in parentheses may hold anything, so fields count from behind it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in {"Z", "X"} else fields[19]
