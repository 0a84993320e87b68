"""Runs a command that dies with the process that started it, `kill -9` included.

    python -I -S guard.py PARENT_PID COMMAND [ARGUMENT ...]

The command takes this process over, so its pid is the one the parent got from `Popen`. Linux only (`PR_SET_PDEATHSIG`,
which survives `exec`); elsewhere the command runs unguarded. The signal is sent when the *thread* that started the process
ends, so start services from the main thread. Run as a file, without the package: it must start in a moment.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent_pid: int, command: list[str]) -> None:
    """Never returns: becomes the command, or exits with 1 where the parent is gone already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before the signal was asked for; then it will never be sent.
    if os.getppid() != parent_pid:
        sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606 (that is its purpose)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
