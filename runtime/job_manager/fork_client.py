"""The client's side of the fork server: starts it, talks to it, and holds the lifeline."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from ...core.processes import start_of
from ..message_link import MessageLink
from ..transport import FramedSocket, Role
from ..worker.fork_messages import ForkServerRegistered, FromForkServer, StopServer, ToForkServer

_GRACE_MS: Final = 3_000
"""For workers that were told to end: flushing what they printed takes a moment, nothing else is left to do."""


class ForkServer(Protocol):
    """A fork server, whoever started it."""

    link: MessageLink[ToForkServer, FromForkServer]

    @property
    def pid(self) -> int:
        """Its process id."""

    @property
    def work_dir(self) -> Path:
        """Where its workers live."""

    def how_it_ended(self) -> str:
        """For an error message; only after the link closed."""

    def stop(self) -> None:
        """Wait until all workers, told to end before, and the server itself have ended; then kill what is left."""

    def kill(self) -> None:
        """End the workers and the server at once."""

    def terminate(self) -> None:
        """End the server by force: the kernel then ends its workers. The link closes when it is gone."""

    def abandon(self) -> None:
        """Close the connection: unless it was told to follow leaders, the server and every worker end. Idempotent."""


class ForkServerProcess:
    """A fork server that this process started.

    Args:
        work_dir: of the cluster; the server removes it when we are gone, or when it is told to stop.
        preload: modules it imports before it forks; a failure there ends it, with the traceback on stderr.
        lock: of the work directory, for a server that may outlive this process: inherited, and its own session.
    """

    def __init__(self, work_dir: Path, preload: Sequence[str], lock: int | None = None) -> None:
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
            pass_fds=(theirs.fileno(), lifeline, *(() if lock is None else (lock,))),
            start_new_session=lock
            is not None,  # a terminal that closes ends its own session's processes alone
        )
        self.work_dir = work_dir
        theirs.close()
        os.close(lifeline)
        self.link: MessageLink[ToForkServer, FromForkServer] = MessageLink(
            FramedSocket(ours, secret=None, role=Role.LISTENER), FromForkServer
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def how_it_ended(self) -> str:
        self.abandon()
        status = self._process.wait()
        return describe_exit(status)

    def stop(self) -> None:
        self.link.send(StopServer(_GRACE_MS))
        try:
            self._process.wait(timeout=_GRACE_MS / 1000 + 1)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self.abandon()
        self._process.wait()

    def kill(self) -> None:
        self.link.send(StopServer(0))
        self.abandon()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def terminate(self) -> None:
        self._process.kill()

    def abandon(self) -> None:
        self.link.close()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1


class AdoptedForkServer:
    """A fork server of an earlier leader, which has registered with this one."""

    def __init__(
        self, registered: ForkServerRegistered, link: MessageLink[ToForkServer, FromForkServer]
    ) -> None:
        self._registered = registered
        self.link = link
        self.work_dir = Path(registered.work_dir)

    @property
    def pid(self) -> int:
        return self._registered.pid

    def how_it_ended(self) -> str:
        self.abandon()
        return "the fork server of an earlier leader is gone"

    def stop(self) -> None:
        self._end(_GRACE_MS)

    def kill(self) -> None:
        self._end(0)

    def terminate(self) -> None:
        if start_of(self.pid) == self._registered.started:
            os.kill(self.pid, signal.SIGKILL)

    def abandon(self) -> None:
        self.link.close()

    def _end(self, grace_ms: int) -> None:
        """Not our child: that it has ended is seen by its closing the connection."""
        self.link.send(StopServer(grace_ms))
        poll = select.poll()
        poll.register(self.link.fileno(), select.POLLIN)
        while not self.link.closed and poll.poll(grace_ms + 1_000):
            self.link.receive()
        if not self.link.closed:
            self.terminate()
        self.abandon()


def describe_exit(status: int) -> str:
    """`os.waitstatus_to_exitcode` in words.

    >>> describe_exit(-9), describe_exit(1)
    ('killed by signal 9', 'ended with exit status 1')
    """
    return f"killed by signal {-status}" if status < 0 else f"ended with exit status {status}"
