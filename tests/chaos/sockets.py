"""Closes connections of other processes, as a broken network would: neither side is told beforehand."""

from __future__ import annotations

import ctypes
import os
import socket
from contextlib import closing, suppress
from pathlib import Path
from random import Random

import psutil

_PIDFD_GETFD = 438  # on every architecture: the numbers of new calls are the same since Linux 5.1


def break_a_connection(pid: int, random: Random, how: int) -> str | None:
    """Shut down (`socket.SHUT_*`) a connected socket of the process; which, or None when it has none or is gone."""
    try:
        descriptors = [int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return None
    for descriptor in random.sample(descriptors, len(descriptors)):
        connection = _borrowed(pid, descriptor)
        if connection is None:
            continue
        with closing(connection), suppress(OSError):  # a listener, or a peer that is gone
            connection.getpeername()
            connection.shutdown(how)
            return f"descriptor {descriptor}"
    return None


def _borrowed(pid: int, descriptor: int) -> socket.socket | None:
    """A copy of a socket of the process; None for what is no socket."""
    with suppress(FileNotFoundError, ProcessLookupError):
        if not str(Path(f"/proc/{pid}/fd/{descriptor}").readlink()).startswith("socket:"):
            return None
        process = os.pidfd_open(pid)
        try:
            copy = ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, process, descriptor, 0)
        finally:
            os.close(process)
        if copy >= 0:
            return socket.socket(fileno=copy)
    return None


def workers(root: psutil.Process) -> list[psutil.Process]:
    """The workers below a client: the leaves of its tree, or itself when it runs the job alone."""
    family = [root, *root.children(recursive=True)]
    return [process for process in family if not process.children()]
