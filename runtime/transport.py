"""Framed, authenticated, non-blocking connections between the processes of a cluster.

A connection begins with a handshake in which both ends prove that they know the cluster's secret; nothing else is read
before. Then frames flow both ways:

    length of the payload (4 bytes) | kind (1) | channel (4) | payload            little endian
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from collections import deque
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from ..core.errors import ConfigurationError
from .handshake import Handshake, PeerRejected, Role

__all__ = [
    "Frame",
    "FramedSocket",
    "PeerRejected",
    "Role",
    "Waker",
    "address_of",
    "connect",
    "listen",
    "local_address",
    "unix_address",
]

Payload: TypeAlias = bytes | bytearray | memoryview

_HEADER: Final = struct.Struct("<IBI")
_RECV_BYTES: Final = 1 << 18
"""One `recv`: about what a Unix socket's buffer holds; more gains nothing (measured: 64 KiB 15 % slower, 1 MiB equal)."""
_RECV_ROUNDS: Final = 4
"""Reads per `pump_in`, so that one busy connection does not starve the others."""
_SMALL: Final = 2048
"""Payloads up to here are copied behind their header: one buffer to send instead of two."""
_IOV_MAX: Final = 128
_UNIX_PATH_MAX: Final = 100


class Frame(NamedTuple):
    """What arrived. The payload may be kept as long as needed: its memory is not used again."""

    kind: int
    channel: int
    payload: memoryview


# ---- addresses --------------------------------------------------------------------------------------------------------


def unix_address(path: Path) -> str | None:
    """The address of a socket file; None when the path is longer than the system allows (use TCP then)."""
    return f"unix:{path}" if len(os.fsencode(path)) <= _UNIX_PATH_MAX else None


def local_address(folder: Path, name: str) -> str:
    """An address to listen on for processes of this host: in `folder`, or on the loopback interface."""
    return unix_address(folder / f"{name}.sock") or "tcp:127.0.0.1:0"


def listen(address: str) -> socket.socket:
    """A non-blocking listening socket at `unix:/path` or `tcp:host:port` (port 0: any free one; see `address_of`).

    Raises:
        ConfigurationError: it is no address.
        OSError: it is in use, or cannot be bound.
    """
    family, where = _parse(address)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(where)
        sock.listen(128)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def address_of(listener: socket.socket) -> str:
    """Where others connect to this listening socket."""
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    return f"tcp:{host}:{port}"


def connect(address: str, timeout_s: float) -> socket.socket:
    """A connected non-blocking socket. Raises OSError (TimeoutError after `timeout_s`) and as `listen`."""
    family, where = _parse(address)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout_s)
        sock.connect(where)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _parse(address: str) -> tuple[socket.AddressFamily, str | tuple[str, int]]:
    scheme, _, rest = address.partition(":")
    host, _, port = rest.rpartition(":")
    if scheme == "unix" and rest:
        return socket.AF_UNIX, rest
    if scheme == "tcp" and host and port.isdigit():
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return family, (host.strip("[]"), int(port))
    raise ConfigurationError(f"'{address}' is no address", fix="unix:/path or tcp:host:port")


# ---- frames -----------------------------------------------------------------------------------------------------------


class FramedSocket:
    """One end of a connection. Never blocks; the owner polls `fileno()` and calls `pump_in` and `pump_out`.

    Frames queued before the other end has proved itself are sent right after.

    Args:
        sock: connected; owned and closed by this object.
        secret: of the cluster; None for a connection that needs no proof (a socket pair).
        role: the two ends have different ones.
    """

    def __init__(self, sock: socket.socket, *, secret: bytes | None, role: Role) -> None:
        sock.setblocking(False)
        if sock.family == socket.AF_UNIX:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._fd = sock.fileno()
        self._out: deque[Payload] = deque()
        self._held_back: deque[Payload] = deque()
        self._queued = 0
        self._tail = b""  # the beginning of a frame whose header or payload has not arrived in full
        self._large: bytearray | None = None  # a frame larger than one recv, being filled in place
        self._large_frame = (0, 0)
        self._large_filled = 0
        self._handshake = None if secret is None else Handshake(secret, role)
        self._mute = False  # nothing can be sent any more
        self.closed = False
        self.close_reason = ""
        if self._handshake is not None:
            self._out.append(self._handshake.hello)
            self._queued += len(self._handshake.hello)

    def fileno(self) -> int:
        """For `select.poll`; the number the socket had, also after `close`."""
        return self._fd

    @property
    def authenticated(self) -> bool:
        """Whether the other end has proved that it knows the secret."""
        return self._handshake is None

    @property
    def wants_write(self) -> bool:
        """Whether `pump_out` has something to send."""
        return bool(self._out) and not self.closed

    @property
    def queued_bytes(self) -> int:
        """Not yet given to the system."""
        return self._queued

    def send(self, kind: int, channel: int, payload: Payload) -> None:
        """Queue a frame; `payload` must not change any more. A no-op once closed. Nothing leaves before `pump_out`."""
        if self.closed or self._mute:
            return
        size = len(payload) if not isinstance(payload, memoryview) else payload.nbytes
        header = _HEADER.pack(size, kind, channel)
        out = self._out if self._handshake is None else self._held_back
        if size <= _SMALL:
            out.append(b"".join((header, payload)))
        else:
            out.append(header)
            out.append(payload)
        self._queued += _HEADER.size + size

    def pump_out(self) -> None:
        """Send as much as the system takes. That the other end is gone is found out by `pump_in`."""
        out = self._out
        while out and not self.closed:
            if len(out) == 1:
                buffers: list[Payload] = [out[0]]
            else:
                buffers = [out[i] for i in range(min(len(out), _IOV_MAX))]
            try:
                sent = self._sock.sendmsg(buffers)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # Not closed yet: the last words of the other end may still be in the receive buffer.
                self._drop_output()
                return
            self._queued -= sent
            for buffer in buffers:
                size = len(buffer)
                if sent < size:
                    out[0] = memoryview(buffer)[sent:]
                    break
                sent -= size
                out.popleft()

    def pump_in(self) -> list[Frame]:
        """The frames that have arrived, in order. Sets `closed` when the other end is gone; what it sent still comes.

        Raises:
            PeerRejected: the other end failed the handshake. The connection is closed.
        """
        frames: list[Frame] = []
        for _ in range(_RECV_ROUNDS):
            if self.closed or not self._receive(frames):
                break
        return frames

    def close(self) -> None:
        """Close at once; what is queued is lost."""
        self.closed = True
        self._drop_output()
        self._sock.close()

    # ---- inside -------------------------------------------------------------------------------------------------------

    def _receive(self, frames: list[Frame]) -> bool:
        """One read; whether another may give more."""
        try:
            if self._large is not None:
                return self._receive_large(frames)
            data = self._sock.recv(_RECV_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._lost(error.strerror or str(error))
            return False
        if not data:
            self._lost("the other end closed the connection")
            return False
        full = len(data) == _RECV_BYTES
        if self._tail:
            data = self._tail + data
            self._tail = b""
        if self._handshake is not None:
            data = self._greet(self._handshake, data)
        self._split(data, frames)
        return full or self._large is not None

    def _split(self, data: bytes, frames: list[Frame]) -> None:
        # HOT: benchmarks/exchange
        view = memoryview(data)
        position, end = 0, len(data)
        unpack, header_size = _HEADER.unpack_from, _HEADER.size
        while end - position >= header_size:
            size, kind, channel = unpack(data, position)
            start = position + header_size
            if end - start < size:
                if size > _RECV_BYTES:
                    self._begin_large(size, kind, channel, view[start:])
                    return
                break
            position = start + size
            frames.append(Frame(kind, channel, view[start:position]))
        if position < end:
            self._tail = data[position:]

    def _begin_large(self, size: int, kind: int, channel: int, beginning: memoryview) -> None:
        self._large = bytearray(size)
        self._large[: len(beginning)] = beginning
        self._large_filled = len(beginning)
        self._large_frame = (kind, channel)

    def _receive_large(self, frames: list[Frame]) -> bool:
        large = self._large
        assert large is not None
        with memoryview(large) as view, view[self._large_filled :] as rest:
            received = self._sock.recv_into(rest)
        if received == 0:
            self._lost("the other end closed the connection")
            return False
        self._large_filled += received
        if self._large_filled == len(large):
            frames.append(Frame(*self._large_frame, memoryview(large)))
            self._large = None
        return True

    def _greet(self, handshake: Handshake, data: bytes) -> bytes:
        """Go on with the handshake; what came after it, or nothing."""
        try:
            answer, rest, done = handshake.receive(data)
        except PeerRejected as error:
            self._lost(error.what)
            raise
        if answer:
            self._out.append(answer)
            self._queued += len(answer)
        if done:
            self._handshake = None
            self._out.extend(self._held_back)
            self._held_back.clear()
            self.pump_out()
            return rest
        self._tail = rest
        self.pump_out()
        return b""

    def _drop_output(self) -> None:
        self._mute = True
        self._out.clear()
        self._held_back.clear()
        self._queued = 0

    def _lost(self, reason: str) -> None:
        if not self.closed:
            self.close_reason = reason
            self.close()


class Waker:
    """Ends a poll in one thread from another thread or from a signal handler."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """Readable after `wake` until `drain`."""
        return self._reader.fileno()

    def write_fileno(self) -> int:
        """For `signal.set_wakeup_fd`."""
        return self._writer.fileno()

    def wake(self) -> None:
        """From any thread, any number of times; harmless after `close`."""
        with contextlib.suppress(OSError):  # full: it is awake already; closed: nobody waits
            self._writer.send(b"\0")

    def drain(self) -> None:
        """Forget all wakes so far."""
        with contextlib.suppress(OSError):
            while len(self._reader.recv(4096)) == 4096:
                pass

    def wait(self, timeout_ms: int | None) -> None:
        """Block until woken, or for `timeout_ms`."""
        poll = select.poll()
        poll.register(self._reader.fileno(), select.POLLIN)
        poll.poll(timeout_ms)

    def close(self) -> None:
        """Idempotent."""
        self._reader.close()
        self._writer.close()

    def __del__(self) -> None:
        # A client that is never run has one too, and nobody to close it.
        self.close()
