"""Text from a TCP server, for trying things out. At most once: what was read from a socket cannot be read again."""

from __future__ import annotations

import codecs
import errno
import logging
import os
import select
import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from ..core.arguments import check_int, check_text
from ..core.clock import Clock
from ..core.errors import ConnectorError
from .base import (
    Boundedness,
    EndOfSource,
    NothingAvailable,
    Poll,
    SourceBatch,
    SourceReaderContext,
    SplitEnumeratorContext,
    SplitFinished,
)
from .static_splits import StaticSplitEnumerator, deal_out

_LOG: Final = logging.getLogger(__name__)
_VERSION: Final = 1
_BLOCK_BYTES: Final = 64 * 1024
_RETRY_MS: Final = 500
_CONNECT_TIMEOUT_MS: Final = 30_000


@dataclass(frozen=True, slots=True)
class SocketSplit:
    """The connection; there is no position in it."""

    @property
    def split_id(self) -> str:
        return "socket"


class SocketTextSource:
    r"""Texts between delimiters, in UTF-8; of a line end `\\r\\n` the `\\r` is cut off, too.

    Args:
        max_retry: how often to connect again after the server ended the connection; -1: for ever.

    Raises:
        JobDefinitionError: the port or the delimiter is impossible.

    >>> SocketTextSource("localhost", 9999).boundedness
    <Boundedness.CONTINUOUS_UNBOUNDED: 'unbounded'>
    """

    def __init__(self, hostname: str, port: int, delimiter: str = "\n", max_retry: int = 0) -> None:
        check_text("host of a socket", hostname, fix="give for example 'localhost'")
        check_int("port of a socket", port, least=1, most=65_535, fix="give one from 1 to 65535")
        check_text("delimiter of a socket's texts", delimiter, fix=r"give one or more characters, e.g. '\n'")
        check_int("max_retry of a socket", max_retry, least=-1, fix="give 0 or more, or -1 for no limit")
        self._settings = (hostname, port, delimiter, max_retry)

    @property
    def gives_timestamps(self) -> bool:
        """See `TellsTimestamps`."""
        return False

    @property
    def boundedness(self) -> Boundedness:
        """Unbounded, though the server may end it."""
        return Boundedness.CONTINUOUS_UNBOUNDED

    def create_enumerator(
        self, context: SplitEnumeratorContext[SocketSplit], restored: bytes | None
    ) -> StaticSplitEnumerator[SocketSplit]:
        """One connection, for the first reader."""
        return StaticSplitEnumerator(
            context,
            restored,
            find=lambda: [SocketSplit()],
            share=deal_out,
            encode=self.encode_split,
            decode=self.decode_split,
        )

    def create_reader(self, context: SourceReaderContext) -> SocketTextReader:
        """Connects when it is given the split."""
        return SocketTextReader(*self._settings, context.clock)

    def encode_split(self, split: SocketSplit) -> bytes:
        """A version alone."""
        return msgspec.msgpack.encode([_VERSION])

    def decode_split(self, data: bytes) -> SocketSplit:
        """The inverse of `encode_split`."""
        return SocketSplit()


class SocketTextReader:
    """Reads what has come, without ever waiting for it."""

    def __init__(self, hostname: str, port: int, delimiter: str, max_retry: int, clock: Clock) -> None:
        self._address = (hostname, port)
        self._delimiter = delimiter
        self._retries_left = max_retry
        self._clock = clock
        self._socket: socket.socket | None = None
        self._connected = False
        self._not_before_ms = 0
        self._give_up_ms = 0
        self._split: SocketSplit | None = None
        self._no_more_splits = False
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._rest = ""
        self._texts: deque[str] = deque()
        self._ended = False

    @property
    def _where(self) -> str:
        return "{}:{}".format(*self._address)

    def start(self) -> None:
        """Say what is not promised."""
        _LOG.warning(
            "socket %s: what is read from a socket cannot be read again, so this source is at-most-once",
            self._where,
        )

    def add_splits(self, splits: Sequence[SocketSplit]) -> None:
        """There is one."""
        self._split = splits[0]

    def notify_no_more_splits(self) -> None:
        """The source ends with the connection."""
        self._no_more_splits = True

    def poll_next(self, max_records: int) -> Poll[str]:
        """Texts that have come.

        Raises:
            ConnectorError: nobody answers at the address, or what came is not text.
        """
        split = self._split
        if split is None:
            return EndOfSource() if self._no_more_splits else NothingAvailable()
        if not self._texts and not self._ended:
            self._read()
        if self._texts:
            count = min(max_records, len(self._texts))
            return SourceBatch(split.split_id, [self._texts.popleft() for _ in range(count)])
        if self._ended:
            self._split = None
            return SplitFinished(split.split_id)
        return NothingAvailable()

    def snapshot_state(self, checkpoint_id: int) -> list[SocketSplit]:
        """The connection, if it has not ended."""
        return [] if self._split is None else [self._split]

    def notify_checkpoint_complete(self, checkpoint_id: int) -> None:
        """The server is told nothing."""

    def close(self) -> None:
        """Disconnect."""
        self._disconnect()

    # ---- the connection

    def _read(self) -> None:
        if not self._connect():
            return
        assert self._socket is not None
        try:
            data = self._socket.recv(_BLOCK_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            _LOG.warning("socket %s: %s", self._where, error.strerror)
            data = b""
        if data:
            self._take(data)
        else:
            self._lost()

    def _connect(self) -> bool:
        """Whether there is a connection; otherwise something is done to have one."""
        if self._connected:
            return True
        if self._socket is None:
            self._begin_to_connect()
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLOUT)
        if not poll.poll(0):
            if self._clock.monotonic_ms() >= self._give_up_ms:
                self._failed(errno.ETIMEDOUT)
            return False
        problem = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem:
            self._failed(problem)
            return False
        self._connected = True
        return True

    def _begin_to_connect(self) -> None:
        now_ms = self._clock.monotonic_ms()
        if now_ms < self._not_before_ms:
            return
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(*self._address, type=socket.SOCK_STREAM)[
                0
            ]
        except OSError as error:
            raise self._unreachable(error.strerror or str(error)) from error
        self._give_up_ms = now_ms + _CONNECT_TIMEOUT_MS
        self._socket = socket.socket(family, kind, protocol)
        self._socket.setblocking(False)
        problem = self._socket.connect_ex(address)
        if problem not in {0, errno.EINPROGRESS}:
            self._failed(problem)

    def _failed(self, problem: int) -> None:
        self._disconnect()
        if not self._may_retry():
            raise self._unreachable(os.strerror(problem))

    def _lost(self) -> None:
        self._disconnect()
        if self._may_retry():
            _LOG.warning("socket %s: the connection ended; connecting again", self._where)
            return
        self._ended = True
        rest = self._rest + self._decode(b"", final=True)
        self._rest = ""
        if rest:
            self._texts.append(rest)

    def _may_retry(self) -> bool:
        if self._retries_left == 0:
            return False
        self._retries_left = max(-1, self._retries_left - 1)
        self._not_before_ms = self._clock.monotonic_ms() + _RETRY_MS
        return True

    def _disconnect(self) -> None:
        connection, self._socket, self._connected = self._socket, None, False
        if connection is not None:
            connection.close()

    def _take(self, data: bytes) -> None:
        *texts, self._rest = (self._rest + self._decode(data, final=False)).split(self._delimiter)
        if self._delimiter == "\n":
            texts = [text.removesuffix("\r") for text in texts]
        self._texts.extend(texts)

    def _decode(self, data: bytes, *, final: bool) -> str:
        try:
            return self._decoder.decode(data, final)
        except UnicodeDecodeError as error:
            raise ConnectorError(
                f"what came from a socket is not text in UTF-8: {error.reason}",
                where=self._where,
                fix="let the server send UTF-8",
            ) from error

    def _unreachable(self, reason: str) -> ConnectorError:
        return ConnectorError(
            f"cannot connect to a socket: {reason}",
            where=self._where,
            fix="start the server before the job (e.g. `nc -lk 9999`), and check host and port",
            retryable=True,
        )
