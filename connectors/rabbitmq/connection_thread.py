"""A connection to RabbitMQ with one channel, in a thread of its own: opened again when it is lost, for as long as its budget lasts.

The thread does nothing else, so heartbeats go on while the pipeline is backpressured, a checkpoint takes long or a user's function
does not return.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Final

from ...core.clock import SystemClock
from ...core.errors import ConfigurationError, ConnectorError, MissingDependencyError
from .connection_config import RMQConnectionConfig, backoff_ms, connection_parameters
from .errors import connector_error, is_final, reason_of

_LOG: Final = logging.getLogger(__name__)
_CLOSE_TIMEOUT_S: Final = 15.0


class ConnectionThread:
    """Keeps one channel open until `close`. What it calls, it calls in its own thread.

    Args:
        doing: for messages, e.g. "reading from queue 'orders'".
        on_open: with a new channel, of a new connection or the first one.
        on_lost: the channel is gone, and whatever was not confirmed on it.

    Attributes:
        failure: why there will be no connection any more; None as long as there may be one.
    """

    def __init__(
        self,
        config: RMQConnectionConfig,
        *,
        doing: str,
        name: str,
        on_open: Callable[[Any], None],
        on_lost: Callable[[], None],
    ) -> None:
        self.failure: ConnectorError | ConfigurationError | MissingDependencyError | None = None
        self._config = config
        self._doing = doing
        self._name = name
        self._clock = SystemClock()  # waits are real, whatever the clock of the job is
        self._on_open = on_open
        self._on_lost = on_lost
        self._connection: Any = None
        self._channel: Any = None
        self._cause: BaseException | None = None
        self._logged_in = False
        self._closing = threading.Event()
        self._lock = threading.Lock()  # of `_connection`, which other threads give work to
        self._thread = threading.Thread(target=self._run, name=f"millstream-{name}", daemon=True)

    def start(self) -> None:
        """Begin to connect; `on_open` or `failure` tells how it went."""
        log = logging.getLogger("pika")
        if (
            log.level == logging.NOTSET
        ):  # it reports each failed attempt as half a dozen errors; we do in one line
            log.setLevel(logging.CRITICAL)
        self._thread.start()

    def call(self, action: Callable[[], None]) -> None:
        """Run `action` in the thread, after what it was given before. From any thread; forgotten while there is no connection: whoever
        relies on it does it again in `on_open`."""
        with self._lock:
            if self._connection is not None:
                self._connection.ioloop.add_callback_threadsafe(action)

    def fail(self, error: ConnectorError) -> None:
        """Give up for good. In the thread."""
        self.failure = self.failure or error
        self._close_connection()

    def close(self) -> None:
        """Close the channel in order, behind everything it was given, and end. Idempotent; from any other thread."""
        self._closing.set()
        self.call(self._close_connection)
        if self._thread.ident is not None:
            self._thread.join(_CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            _LOG.warning(
                "%s: the connection to %s does not close in order and is left",
                self._doing,
                self._config.address,
            )

    # ---- the thread

    def _run(self) -> None:
        failures, since_ms = 0, self._clock.monotonic_ms()
        while not self._closing.is_set() and self.failure is None:
            try:
                opened = self._connect_once()
            except (ConfigurationError, MissingDependencyError) as error:
                self.failure = error
                return
            except (
                Exception
            ) as error:  # a bug, ours or pika's, in a callback: whoever asks for `failure` raises it
                where = f"RabbitMQ at {self._config.address}"
                self.failure = ConnectorError(f"{self._doing} failed: {error!r}", where=where)
                self.failure.__cause__ = error
                return
            if self._closing.is_set() or self.failure is not None:
                return
            now_ms = self._clock.monotonic_ms()
            failures, since_ms = (1, now_ms) if opened else (failures + 1, since_ms)
            self.failure = self._given_up(now_ms - since_ms)
            if self.failure is None:
                pause_ms = backoff_ms(self._config, failures)
                _LOG.warning(
                    "%s: no connection to %s (%s); the next attempt is in %d ms",
                    self._doing,
                    self._config.address,
                    reason_of(self._cause),
                    pause_ms,
                )
                self._closing.wait(pause_ms / 1000)

    def _given_up(self, for_ms: int) -> ConnectorError | None:
        final = is_final(self._cause, logged_in_before=self._logged_in) or not self._config.automatic_recovery
        if not final and for_ms < self._config.connection_retry_timeout:
            return None
        return connector_error(
            self._cause, doing=self._doing, address=self._config.address, tried_ms=None if final else for_ms
        )

    def _connect_once(self) -> bool:
        """Serve a connection until it ends; whether a channel was ever open on it."""
        from pika import SelectConnection

        self._cause, opened = None, False

        def on_connected(connection: Any) -> None:
            if self._closing.is_set():
                connection.close()
            else:
                connection.channel(on_open_callback=on_channel)

        def on_channel(channel: Any) -> None:
            nonlocal opened
            opened = self._logged_in = True
            self._channel = channel
            channel.add_on_close_callback(lambda _, reason: self._on_channel_closed(reason))
            self._on_open(channel)

        def on_ended(connection: Any, error: BaseException) -> None:
            self._cause = self._cause or error
            connection.ioloop.stop()

        connection = SelectConnection(
            connection_parameters(self._config, name=self._name),
            on_open_callback=on_connected,
            on_open_error_callback=on_ended,
            on_close_callback=on_ended,
        )
        with self._lock:
            self._connection = connection
        try:
            connection.ioloop.start()
        finally:
            with self._lock:
                self._connection = None
            self._lose_channel()
            connection.ioloop.close()
        return opened

    def _on_channel_closed(self, reason: BaseException) -> None:
        """By the broker, most often, for something done on it: the connection is of no use without."""
        self._cause = self._cause or reason
        self._lose_channel()
        self._close_connection()

    def _lose_channel(self) -> None:
        if self._channel is not None:
            self._channel = None
            self._on_lost()

    def _close_connection(self) -> None:
        if (
            self._connection is not None and self._connection.is_open
        ):  # one that is being opened is closed once it is
            self._connection.close()
