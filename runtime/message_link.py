"""Links between processes: one message of the protocol in one frame."""

from __future__ import annotations

from collections import deque
from typing import Any, Final, Generic, TypeVar

import msgspec

from .transport import FramedSocket

S = TypeVar("S")
R = TypeVar("R")

_CONTROL_FRAME: Final = 0


class MessageLink(Generic[S, R]):
    """An end of a `runtime.link.Link` over a connection: one msgpack frame a message.

    Args:
        received: the union of messages that the other end may send (checked).
    """

    def __init__(self, connection: FramedSocket, received: object) -> None:
        self.connection = connection
        self._encode = msgspec.msgpack.Encoder().encode
        self._decoder: msgspec.msgpack.Decoder[R] = msgspec.msgpack.Decoder(received)
        self._inbox: deque[memoryview] = deque()

    def narrowed(self, received: object) -> MessageLink[Any, Any]:
        """The same connection, once it is known who the other end is; its messages are of this union from now on."""
        link: MessageLink[Any, Any] = MessageLink(self.connection, received)
        link._inbox = self._inbox
        return link

    def send(self, message: S) -> None:
        """Queue a message and send what the system takes now; poll for writing while `wants_write`."""
        self.connection.send(_CONTROL_FRAME, 0, self._encode(message))
        self.connection.pump_out()

    def receive(self) -> R | None:
        """The next message, or None.

        Raises:
            PeerRejected: the handshake failed.
            msgspec.ValidationError: the other end sent what is no message of the protocol.
        """
        if self.connection.wants_write:
            self.connection.pump_out()
        if not self._inbox:
            self._inbox.extend(frame.payload for frame in self.connection.pump_in())
        return self._decoder.decode(self._inbox.popleft()) if self._inbox else None

    def fileno(self) -> int:
        """For `select.poll`."""
        return self.connection.fileno()

    @property
    def wants_write(self) -> bool:
        """Poll for writing too, then call `receive` (which sends first)."""
        return self.connection.wants_write

    @property
    def closed(self) -> bool:
        """The other end is gone and everything it sent has been received."""
        return self.connection.closed and not self._inbox

    def close(self) -> None:
        """Close at once."""
        self.connection.close()
