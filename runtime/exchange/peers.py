"""The connections of a worker to the others: one per pair and attempt, shared by all channels between the two.

Of two workers the one with the lower number connects. The first frame of a connection says who it is and for which attempt;
a connection for an attempt that this worker has not been told of yet is kept until then, one for an attempt that is over is
turned away.

Each end asks the other for a sign of life in each heartbeat interval, so that a connection which lost its other end without a word is
found out. Loops answer, and a loop that is in a user's function does not: whether silence means a broken connection is judged by
the JobManager, which knows how long the other loop has been busy.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Mapping
from typing import Final

import msgspec

from ..heartbeats import HeartbeatMonitor, HeartbeatSettings
from ..transport import Frame, FramedSocket, PeerRejected, Role, connect
from .channels import InputChannel, RemoteOutputChannel
from .codec import CREDIT, decode_credit, encode_credit

_HELLO: Final = 9
_PING: Final = 10
_PONG: Final = 11
_CONNECT_TIMEOUT_S: Final = 10.0
_MAX_QUEUED_BYTES: Final = 64 << 20


class _Hello(msgspec.Struct, frozen=True, array_like=True):
    attempt: int
    worker: int


class _Connection:
    """A connection and the frames it received before anybody could use them."""

    __slots__ = ("frames", "socket")

    def __init__(self, sock: FramedSocket) -> None:
        self.socket = sock
        self.frames: list[Frame] = []


class PeerListener:
    """Where other workers connect: hands each connection to the attempt it is for.

    Args:
        listener: None in a worker that has no others.
        on_rejected: called when somebody connects who does not know the secret.
    """

    def __init__(
        self, secret: bytes, listener: socket.socket | None, on_rejected: Callable[[PeerRejected], None]
    ) -> None:
        self.secret = secret
        self._listener = listener
        self.on_rejected = on_rejected
        self._newest = -1
        self._running: dict[int, Callable[[int, _Connection], None]] = {}
        self._arriving: list[_Connection] = []
        self._parked: dict[tuple[int, int], _Connection] = {}

    def begin(self, attempt: int, attach: Callable[[int, _Connection], None]) -> Mapping[int, _Connection]:
        """Connections for `attempt` go to `attach(worker, connection)` from now on; those that were there before it."""
        self._newest = max(self._newest, attempt)
        self._running[attempt] = attach
        waiting = {worker: self._parked.pop((n, worker)) for n, worker in list(self._parked) if n == attempt}
        for key in [key for key in self._parked if key[0] < attempt]:  # attempts are deployed in their order
            self._parked.pop(key).socket.close()
        return waiting

    def end(self, attempt: int) -> None:
        """Connections for `attempt` are turned away from now on."""
        self._running.pop(attempt, None)

    def pump(self) -> None:
        """Accept, and find out who it is."""
        if self._listener is not None:
            self._accept(self._listener)
        if self._arriving:
            self._identify()

    def descriptors(self) -> list[tuple[int, bool]]:
        """(file descriptor, whether to wait for writing too) of everything to poll."""
        found = [] if self._listener is None else [(self._listener.fileno(), False)]
        return found + [(c.socket.fileno(), c.socket.wants_write) for c in self._arriving]

    def close(self) -> None:
        """Close everything that is not an attempt's, for good."""
        for connection in (*self._arriving, *self._parked.values()):
            connection.socket.close()
        if self._listener is not None:
            self._listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                return
            self._arriving.append(_Connection(FramedSocket(sock, secret=self.secret, role=Role.LISTENER)))

    def _identify(self) -> None:
        for connection in list(self._arriving):
            try:
                connection.frames += connection.socket.pump_in()
            except PeerRejected as error:
                self._arriving.remove(connection)
                self.on_rejected(error)
                continue
            connection.socket.pump_out()
            if connection.socket.closed:
                self._arriving.remove(connection)
            elif connection.frames:
                self._arriving.remove(connection)
                hello = msgspec.msgpack.decode(connection.frames.pop(0).payload, type=_Hello)
                self._place(hello, connection)

    def _place(self, hello: _Hello, connection: _Connection) -> None:
        if hello.attempt in self._running:
            self._running[hello.attempt](hello.worker, connection)
        elif hello.attempt > self._newest:
            self._parked[hello.attempt, hello.worker] = connection
        else:
            connection.socket.close()


class Peers:
    """The data plane of one attempt on one worker.

    Args:
        on_lost: called with the other worker's number and the reason when a connection breaks.
    """

    def __init__(
        self,
        worker: int,
        listener: PeerListener,
        on_lost: Callable[[int, str], None],
        heartbeat: HeartbeatSettings | None = None,
    ) -> None:
        self._worker = worker
        self._listener = listener
        self._on_lost = on_lost
        settings = HeartbeatSettings() if heartbeat is None else heartbeat
        self._monitor = HeartbeatMonitor[int](settings.timeout_ms, now_ms=0)
        self._heard: set[int] = set()  # since the last beat
        self._attempt = -1
        self._peers: dict[int, _Connection] = {}
        self._unsent: dict[int, list[tuple[int, int, bytes]]] = {}
        self.inputs: dict[int, InputChannel] = {}
        self.outputs: dict[int, RemoteOutputChannel] = {}

    def begin(self, attempt: int, addresses: Mapping[int, str], peers: Collection[int]) -> None:
        """Connect, or wait to be connected by, the workers this attempt exchanges data with. Raises OSError."""
        self._attempt = attempt
        waiting = self._listener.begin(attempt, self._attach)
        for peer, connection in waiting.items():  # before anything fails: `end` closes what is attached
            self._attach(peer, connection)
        for peer in peers:
            if peer in waiting:
                continue
            if self._worker < peer:
                sock = connect(addresses[peer], _CONNECT_TIMEOUT_S)
                framed = FramedSocket(sock, secret=self._listener.secret, role=Role.CONNECTOR)
                framed.send(_HELLO, 0, msgspec.msgpack.encode(_Hello(attempt, self._worker)))
                self._attach(peer, _Connection(framed))
            else:
                self._unsent.setdefault(peer, [])

    def sender_to(self, peer: int) -> Callable[[int, int, bytes], None]:
        """A function `(kind, channel, payload)` that sends to `peer`, also before the connection exists."""

        def send(kind: int, channel: int, payload: bytes) -> None:
            connection = self._peers.get(peer)
            if connection is None:
                self._unsent.setdefault(peer, []).append((kind, channel, payload))
            else:
                connection.socket.send(kind, channel, payload)

        return send

    def credit_to(self, peer: int) -> Callable[[int, int], None]:
        """A function `(channel, batches)` that gives credit back to `peer`."""
        send = self.sender_to(peer)

        def give(channel: int, batches: int) -> None:
            send(CREDIT, channel, encode_credit(batches))

        return give

    def end(self) -> None:
        """Close the connections of the attempt; those of it that arrive from now on are turned away."""
        self._listener.end(self._attempt)
        for connection in self._peers.values():
            connection.socket.close()
        self._peers.clear()
        self._unsent.clear()
        self.inputs.clear()
        self.outputs.clear()

    def pump(self) -> bool:
        """Send, receive and dispatch what can be without waiting. True when frames arrived."""
        arrived = False
        for peer, connection in list(self._peers.items()):
            try:
                frames = connection.socket.pump_in()
            except PeerRejected as error:
                del self._peers[peer]
                self._listener.on_rejected(error)
                self._on_lost(peer, error.what)
                continue
            if frames:
                arrived = True
                self._heard.add(peer)
                self._dispatch(connection, frames)
            if connection.socket.wants_write:
                connection.socket.pump_out()
            if connection.socket.closed:
                del self._peers[peer]
                self._on_lost(peer, connection.socket.close_reason)
        return arrived

    def beat(self, now_ms: int) -> dict[int, int]:
        """Ask the others for a sign of life; who has given none for the timeout, and for how long (ms).

        Call it, after `pump`, more often than twice in the timeout; `now_ms` is monotonic.
        """
        for peer in self._heard:
            self._monitor.heard(peer, now_ms)
        self._heard.clear()
        for connection in self._peers.values():
            connection.socket.send(_PING, 0, b"")
        self.pump_out()
        silent = self._monitor.silent(now_ms)
        return {peer: silent[peer] for peer in self._peers if peer in silent}

    def pump_out(self) -> None:
        """Send what the system takes."""
        for connection in self._peers.values():
            if connection.socket.wants_write:
                connection.socket.pump_out()

    @property
    def has_room(self) -> bool:
        """Whether the system takes what is sent; otherwise tasks that would send more wait."""
        return all(connection.socket.queued_bytes < _MAX_QUEUED_BYTES for connection in self._peers.values())

    def descriptors(self) -> list[tuple[int, bool]]:
        """(file descriptor, whether to wait for writing too) of everything to poll."""
        return [(c.socket.fileno(), c.socket.wants_write) for c in self._peers.values()]

    def _attach(self, peer: int, connection: _Connection) -> None:
        self._peers[peer] = connection
        self._heard.add(peer)
        for kind, channel, payload in self._unsent.pop(peer, ()):
            connection.socket.send(kind, channel, payload)
        if connection.socket.authenticated:
            connection.socket.pump_out()
        frames, connection.frames = connection.frames, []
        self._dispatch(connection, frames)

    def _dispatch(self, connection: _Connection, frames: list[Frame]) -> None:
        for kind, channel, payload in frames:
            if kind == CREDIT:
                self.outputs[channel].add_credit(decode_credit(payload))
            elif kind == _PING:
                connection.socket.send(_PONG, 0, b"")
            elif kind != _PONG:
                self.inputs[channel].put_frame(kind, payload)
