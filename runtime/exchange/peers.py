"""The connections of a worker to the others: one per pair and attempt, shared by all channels between the two.

Of two workers the one with the lower number connects. The first frame of a connection says who it is and for which attempt;
a connection for an attempt that this worker has not been told of yet is kept until then.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Mapping
from typing import Final

import msgspec

from ..transport import Frame, FramedSocket, PeerRejected, Role, connect
from .channels import InputChannel, RemoteOutputChannel
from .codec import CREDIT, decode_credit, encode_credit

_HELLO: Final = 9
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


class Peers:
    """The data plane of one worker.

    Args:
        on_lost: called with the other worker's number and the reason when a connection of the current attempt breaks.
    """

    def __init__(
        self,
        worker: int,
        secret: bytes,
        listener: socket.socket | None,
        on_lost: Callable[[int, str], None],
        on_rejected: Callable[[PeerRejected], None],
    ) -> None:
        self._worker = worker
        self._secret = secret
        self._listener = listener
        self._on_lost = on_lost
        self._on_rejected = on_rejected
        self._attempt = -1
        self._running = False
        self._arriving: list[_Connection] = []
        self._parked: dict[tuple[int, int], _Connection] = {}
        self._peers: dict[int, _Connection] = {}
        self._unsent: dict[int, list[tuple[int, int, bytes]]] = {}
        self.inputs: dict[int, InputChannel] = {}
        self.outputs: dict[int, RemoteOutputChannel] = {}

    def begin(self, attempt: int, addresses: Mapping[int, str], peers: Collection[int]) -> None:
        """Connect, or wait to be connected by, the workers this attempt exchanges data with. Raises OSError."""
        self._attempt = attempt
        self._running = True
        for key in [key for key in self._parked if key[0] < attempt]:
            self._parked.pop(key).socket.close()
        for peer in peers:
            parked = self._parked.pop((attempt, peer), None)
            if parked is not None:
                self._attach(peer, parked)
            elif self._worker < peer:
                sock = connect(addresses[peer], _CONNECT_TIMEOUT_S)
                connection = FramedSocket(sock, secret=self._secret, role=Role.CONNECTOR)
                connection.send(_HELLO, 0, msgspec.msgpack.encode(_Hello(attempt, self._worker)))
                self._attach(peer, _Connection(connection))
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
        self._running = False
        for connection in self._peers.values():
            connection.socket.close()
        self._peers.clear()
        self._unsent.clear()
        self.inputs.clear()
        self.outputs.clear()

    def close(self) -> None:
        """Close everything, for good."""
        self.end()
        for connection in (*self._arriving, *self._parked.values()):
            connection.socket.close()
        if self._listener is not None:
            self._listener.close()

    def pump(self) -> bool:
        """Send, receive and dispatch what can be without waiting. True when frames arrived."""
        if self._listener is not None:
            self._accept(self._listener)
        if self._arriving:
            self._identify()
        arrived = False
        for peer, connection in list(self._peers.items()):
            try:
                frames = connection.socket.pump_in()
            except PeerRejected as error:
                del self._peers[peer]
                self._on_rejected(error)
                self._on_lost(peer, error.what)
                continue
            if frames:
                arrived = True
                self._dispatch(frames)
            if connection.socket.wants_write:
                connection.socket.pump_out()
            if connection.socket.closed:
                del self._peers[peer]
                self._on_lost(peer, connection.socket.close_reason)
        return arrived

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
        found = [] if self._listener is None else [(self._listener.fileno(), False)]
        connections = (*self._arriving, *self._peers.values())
        return found + [(c.socket.fileno(), c.socket.wants_write) for c in connections]

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                return
            self._arriving.append(_Connection(FramedSocket(sock, secret=self._secret, role=Role.LISTENER)))

    def _identify(self) -> None:
        for connection in list(self._arriving):
            try:
                connection.frames += connection.socket.pump_in()
            except PeerRejected as error:
                self._arriving.remove(connection)
                self._on_rejected(error)
                continue
            connection.socket.pump_out()
            if connection.socket.closed:
                self._arriving.remove(connection)
            elif connection.frames:
                self._arriving.remove(connection)
                hello = msgspec.msgpack.decode(connection.frames.pop(0).payload, type=_Hello)
                self._place(hello, connection)

    def _place(self, hello: _Hello, connection: _Connection) -> None:
        if hello.attempt > self._attempt:
            self._parked[(hello.attempt, hello.worker)] = connection
        elif hello.attempt == self._attempt and self._running:
            self._attach(hello.worker, connection)
        else:
            connection.socket.close()

    def _attach(self, peer: int, connection: _Connection) -> None:
        self._peers[peer] = connection
        for kind, channel, payload in self._unsent.pop(peer, ()):
            connection.socket.send(kind, channel, payload)
        if connection.socket.authenticated:
            connection.socket.pump_out()
        frames, connection.frames = connection.frames, []
        self._dispatch(frames)

    def _dispatch(self, frames: list[Frame]) -> None:
        for kind, channel, payload in frames:
            if kind == CREDIT:
                self.outputs[channel].add_credit(decode_credit(payload))
            else:
                self.inputs[channel].put_frame(kind, payload)
