"""kafka-python made fit for a program that keeps its warnings, threads and sockets in order."""

from __future__ import annotations

import logging
import socket
import warnings
from typing import Any, Final

from .errors import missing

_CONNECT_TIMEOUT_S: Final = 5.0
_SCHEME: Final = "millstream-direct"


def load() -> None:
    """Import all that is used of kafka-python (some 0.4 s, once per process), quietly.

    It reads its message formats with functions that Python 3.11 and 3.12 call deprecated, which would be an error
    in a program that runs with warnings as errors; and it logs each refused connection as an error, which Python prints where
    a program has not set up logging. What matters comes as an error of ours.

    Raises:
        MissingDependencyError: it is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            import kafka.protocol.admin.transactions
            import kafka.protocol.metadata
            import kafka.protocol.producer.transaction  # noqa: F401
        except ImportError:
            raise missing("kafka-python", "exactly-once delivery to Kafka") from None
    logger = logging.getLogger("kafka")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    _close_refused_sockets()


def admin_client(**config: Any) -> Any:
    """A connected `KafkaAdminClient` that leaves no thread behind if it cannot connect.

    Raises:
        kafka.errors.KafkaError: it could not connect within `bootstrap_timeout_ms`.
    """
    from kafka import KafkaAdminClient

    # Made in two steps, so that there is something to close.
    admin = KafkaAdminClient.__new__(KafkaAdminClient)
    try:
        admin.__init__(**config, proxy_url=f"{_SCHEME}://")
    except BaseException:
        admin._closed = False
        admin.close()
        raise
    return admin


def listens(server: str) -> bool:
    """Whether something accepts connections at `host:port`."""
    host, _, port = server.rpartition("://")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT_S).close()
    except (OSError, ValueError):
        return False
    return True


def _close_refused_sockets() -> None:
    """Register a way to connect that, other than kafka-python's own, closes a socket whose connection was refused.

    Its client tries again and again in the background while a broker is away, and left each socket to the garbage collector.
    """
    from kafka.net.inet import KafkaNetSocket

    if _SCHEME in KafkaNetSocket._registry:
        return

    class _ClosingSocket(KafkaNetSocket):  # type: ignore[misc]  # a base class without type information
        SCHEMES = (_SCHEME,)

        async def connect(
            self, net: Any, addrinfo: Any, socket_options: Any = (), timeout_at: float | None = None
        ) -> socket.socket:
            family, kind, protocol, _name, address = addrinfo
            made: socket.socket = self.socket(family, kind, protocol)
            try:
                made.setblocking(False)  # positional only
                for option in socket_options:
                    made.setsockopt(*option)
                await self.sock_connect(net, made, address, timeout_at=timeout_at)
            except BaseException:
                made.close()
                raise
            return made
