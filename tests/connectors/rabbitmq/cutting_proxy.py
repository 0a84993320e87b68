"""Between a client and a broker, until a chosen moment of their conversation."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from typing import Final, Self

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER of no time: the other end reads ECONNRESET


class CuttingProxy:
    """Passes everything on, but resets its first connections when the client says its `cut_at`-th thing.

    Attributes:
        port: where to connect.
        cut: how many connections were reset.
    """

    def __init__(self, broker: tuple[str, int], *, connections: int, cut_at: int) -> None:
        self.cut = 0
        self._broker = broker
        self._left = connections
        self._cut_at = cut_at
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: Final[int] = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                broker = socket.create_connection(self._broker)
                self._open += [client, broker]
                cut_at = self._cut_at if self._left > 0 else None
                self._left -= 1
                threading.Thread(target=self._pass_on, args=(client, broker, cut_at), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(broker, client, None), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, cut_at: int | None) -> None:
        said = 0
        with suppress(OSError):
            while data := source.recv(1 << 16):
                said += 1
                if said == cut_at:
                    self.cut += 1
                    source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                    source.close()
                    break
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)
