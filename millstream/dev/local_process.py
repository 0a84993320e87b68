"""A service's process on this machine: its port, its folder, its life bound to ours."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from ..core.errors import MillstreamError
from . import guard

# Below the range the kernel draws client ports from: a client that keeps connecting to a stopped local broker on a port of
# that range can end up connected to itself, and the broker cannot take its port again.
_PORTS: Final = range(20_000, 32_000)
_STOP_TIMEOUT_S: Final = 30


class ServiceUnavailable(MillstreamError):
    """A service cannot be had here; `what` says why and `fix` names the command that would provide it."""


class ServiceFolder:
    """A folder under the temporary directory, removed by `remove()` or, after `kill -9`, by the next run.

    The owner holds a lock on it for as long as it lives, also across process and container boundaries; folders nobody
    holds are leftovers.
    """

    def __init__(self, service: str) -> None:
        prefix = f"millstream-{service}-"
        for leftover in _unlocked(prefix):
            shutil.rmtree(leftover, ignore_errors=True)
        made = Path(tempfile.mkdtemp(prefix="." + prefix))
        self._lock: Final = (made / "owner.lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        # Takes its name only with the lock held, so that nobody finds it without an owner.
        self.path: Final = made.rename(made.with_name(made.name[1:]))

    def remove(self) -> None:
        """Deletes the folder with all that is in it. Harmless when called again."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


class LocalProcess:
    """A command with its output in a file. It is killed when this process dies, however that happens."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        guarded = [sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), *command]
        with log.open("ab") as output:
            # A session of its own: Ctrl-C in the terminal goes to us, and we stop the service in our own time.
            self._process = subprocess.Popen(
                guarded, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self._log = log

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def stop(self, sig: signal.Signals = signal.SIGTERM) -> None:
        """Sends the signal and returns once the process is gone; one that ignores it is killed after 30 seconds."""
        if self.is_alive():
            self._process.send_signal(sig)
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ended_within(self, timeout_s: float) -> bool:
        """Whether it ends within that time."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def wait(self) -> int:
        """Returns its exit status when it has ended by itself."""
        return self._process.wait()

    def last_output(self, lines: int = 15) -> str:
        """The end of what it printed, for error messages."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now. Where the search begins depends on our pid, so that processes starting services at
    the same time find different ones.
    """
    start = os.getpid() * 11 % len(_PORTS)
    found: list[int] = []
    for offset in range(len(_PORTS)):
        port = _PORTS[(start + offset) % len(_PORTS)]
        if _is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise ServiceUnavailable(
        f"no {count} free ports between {_PORTS.start} and {_PORTS.stop}", fix="stop what listens on them"
    )


def _is_free(port: int) -> bool:
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _unlocked(prefix: str) -> Iterator[Path]:
    for folder in Path(tempfile.gettempdir()).glob(prefix + "*"):
        # Another user's folder, one being removed, or one whose lock is not made yet: not ours to judge.
        with contextlib.suppress(OSError), (folder / "owner.lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield folder
