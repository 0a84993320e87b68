"""A job in the background, watched from outside while it runs."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from millstream import JobClient

T = TypeVar("T")

POLL_S = 0.02


@contextlib.contextmanager
def running(build: Callable[[Path], JobClient]) -> Iterator[tuple[JobClient, Path]]:
    """The job that `build` starts with an empty folder of its own; cancelled at the end."""
    with tempfile.TemporaryDirectory() as folder:
        client = build(Path(folder))
        try:
            yield client, Path(folder)
        finally:
            client.cancel_and_wait()


def await_value(client: JobClient, look: Callable[[], T | None], timeout_s: float = 600) -> T:
    """What `look` finds as soon as it finds something.

    Raises:
        TimeoutError: nothing within `timeout_s`. Whatever ended the job, if it ended meanwhile.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        if client.status.is_terminal():
            client.wait()
            raise RuntimeError("the job ended while it was being watched")
        time.sleep(POLL_S)
    raise TimeoutError(f"nothing seen within {timeout_s} s")


def records_in(client: JobClient) -> int:
    """Records that the last vertex has taken, in the current attempt."""
    return client.statistics().vertices[-1].records_in


def completed_checkpoints(client: JobClient) -> int:
    """How many checkpoints have been completed."""
    checkpoints = client.statistics().checkpoints
    return 0 if checkpoints is None else checkpoints.completed


def rss_bytes(pid: int) -> int:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
