"""The client's side of the fork server: starts it, talks to it, and holds the lifeline."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ..message_link import MessageLink
from ..transport import FramedSocket, Role
from ..worker.fork_messages import FromForkServer, StopServer, ToForkServer

_GRACE_MS: Final = 3_000
"""For workers that were told to end: flushing what they printed takes a moment, nothing else is left to do."""


class ForkServerProcess:
    """A running fork server.

    Args:
        work_dir: of the cluster; the server removes it at its end.
        preload: modules it imports before it forks; a failure there ends it, with the traceback on stderr.
    """

    def __init__(self, work_dir: Path, preload: Sequence[str]) -> None:
        ours, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        arguments = (theirs.fileno(), lifeline, os.getpid(), str(work_dir), list(preload))
        # The path of imports is this process's own, so that it also finds what the user's script finds.
        program = (
            f"import sys; sys.path[:] = {[str(entry) for entry in sys.path]!r}; "
            "from millstream.runtime.worker.fork_server import main; "
            f"main(*{arguments!r})"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(), lifeline),
        )
        theirs.close()
        os.close(lifeline)
        self.link: MessageLink[ToForkServer, FromForkServer] = MessageLink(
            FramedSocket(ours, secret=None, role=Role.LISTENER), FromForkServer
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def how_it_ended(self) -> str:
        """For an error message; only after the link closed."""
        self.abandon()
        status = self._process.wait()
        return describe_exit(status)

    def stop(self) -> None:
        """Wait until all workers, told to end before, and the server itself have ended; then kill what is left."""
        self.link.send(StopServer(_GRACE_MS))
        try:
            self._process.wait(timeout=_GRACE_MS / 1000 + 1)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self.abandon()
        self._process.wait()

    def kill(self) -> None:
        """End the workers and the server at once."""
        self.abandon()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def terminate(self) -> None:
        """End the server by force: the kernel then ends its workers. The link closes when it is gone."""
        self._process.kill()

    def abandon(self) -> None:
        """Close the connection and the lifeline: the server and every worker end. Idempotent."""
        self.link.close()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1


def describe_exit(status: int) -> str:
    """`os.waitstatus_to_exitcode` in words.

    >>> describe_exit(-9), describe_exit(1)
    ('killed by signal 9', 'ended with exit status 1')
    """
    return f"killed by signal {-status}" if status < 0 else f"ended with exit status {status}"
