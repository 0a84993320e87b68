"""Named points in the code where a test can make this process die or raise, exactly there and exactly once.

A test sets `MILLSTREAM_FAULTS` to `point=action[@n][;...]`: at the n-th passage (1 by default) of `point`, counted over
all processes and restarts, the action happens. Actions: `kill` (SIGKILL to this process), `killtree` (SIGKILL to the
process `MILLSTREAM_FAULTS_ROOT` and to this one), `raise` (an `InjectedFault`). Passages are counted in the folder
`MILLSTREAM_FAULTS_DIR`, one file a passage, so a restarted process goes on counting. Unset, a point costs one dict look-up.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path


class InjectedFault(RuntimeError):
    """Raised by a fault point whose action is `raise`."""


def _parse(text: str) -> dict[str, tuple[str, int]]:
    faults = {}
    for item in filter(None, text.split(";")):
        point, _, action = item.partition("=")
        action, _, nth = action.partition("@")
        faults[point] = (action, int(nth or "1"))
    return faults


_FAULTS = _parse(os.environ.get("MILLSTREAM_FAULTS", ""))


def fault_point(name: str) -> None:
    """Do what the test planned for the point `name`, if anything."""
    planned = _FAULTS.get(name)
    if planned is None:
        return
    action, nth = planned
    if _count_passage(name) != nth:
        return
    if action == "raise":
        msg = f"planned failure at {name}"
        raise InjectedFault(msg)
    if action == "killtree":
        os.kill(int(os.environ["MILLSTREAM_FAULTS_ROOT"]), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def _count_passage(name: str) -> int:
    folder = Path(os.environ["MILLSTREAM_FAULTS_DIR"])
    n = 1
    while True:  # exclusive creation makes the count exact across processes
        try:
            (folder / f"{name}.{n}").touch(exist_ok=False)
        except FileExistsError:
            n += 1
        else:
            return n
