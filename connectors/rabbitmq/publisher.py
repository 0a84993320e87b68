"""Publishes messages with publisher confirms: what was given to it is with the broker when `flush` returns.

Messages that were not confirmed when a connection was lost are published again, in order, ahead of later ones, with the ids that they
had. So the broker has each at least once, and two of a message only where a confirm was lost.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from ...core.errors import ConnectorError, MillstreamError
from .connection_config import RMQConnectionConfig
from .connection_thread import ConnectionThread

_WAIT_S: Final = 0.2
_FIRST_BYTES: Final = 80


class Outgoing(NamedTuple):
    """A message on its way; `properties` are pika's."""

    exchange: str
    routing_key: str
    properties: Any
    body: bytes

    def __str__(self) -> str:
        ids = f", message id {self.properties.message_id}" if self.properties.message_id else ""
        return f"a message of {len(self.body)} bytes for exchange '{self.exchange}', routing key '{self.routing_key}'{ids}"


class Publisher:
    """One channel in confirm mode. `put`, `flush` and `close` are called by one thread, the owner's.

    Args:
        prepare: called with each new channel and what to do when it is ready: declares what has to be there.
        mandatory: a message that reaches no queue is an error.
        window: how many messages may be unconfirmed; `put` waits for room.
    """

    def __init__(
        self,
        config: RMQConnectionConfig,
        *,
        doing: str,
        name: str,
        prepare: Callable[[Any, Callable[[], None]], None],
        mandatory: bool,
        window: int,
    ) -> None:
        self._doing = doing
        self._address = config.address
        self._prepare = prepare
        self._mandatory = mandatory
        self._window = window
        self._changed = threading.Condition()
        self._open = 0  # given, and not confirmed
        self._waiting: deque[Outgoing] = deque()  # to be published; appended to by the owner
        self._unconfirmed: dict[int, Outgoing] = {}  # by delivery tag, ascending
        self._next_tag = 1
        self._channel: Any = None
        self._thread = ConnectionThread(
            config, doing=doing, name=name, on_open=self._on_open, on_lost=self._on_lost
        )
        self._thread.start()

    def put(self, messages: Sequence[Outgoing]) -> None:
        """Publish these after those before. Waits for room in the window.

        Raises:
            ConnectorError: a message was refused, returned, or there is no connection and will be none.
        """
        for start in range(0, len(messages), self._window):
            chunk = messages[start : start + self._window]
            self._await(partial(self._has_room, len(chunk)))
            with self._changed:
                self._open += len(chunk)
            self._waiting.extend(chunk)
            self._thread.call(self._publish)

    def flush(self) -> None:
        """Wait until the broker has confirmed everything. Raises as `put`."""
        self._await(lambda: self._open == 0)

    def close(self) -> None:
        """Disconnect. What is not flushed may be lost. Idempotent."""
        self._thread.close()

    def _has_room(self, messages: int) -> bool:
        return self._open + messages <= self._window

    def _await(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            while True:
                failure = self._thread.failure
                if failure is not None:
                    raise _again(failure)
                if condition():
                    return
                self._changed.wait(_WAIT_S)

    # ---- in the connection's thread

    def _on_open(self, channel: Any) -> None:
        from pika.spec import Basic

        def confirmed(frame: Any) -> None:
            if isinstance(frame.method, Basic.Nack):
                self._fail(
                    f"the broker refused {self._unconfirmed.get(frame.method.delivery_tag)}",
                    "see why in the broker's log; a queue that is full (max-length with overflow reject-publish) takes messages again"
                    " once it is read",
                    retryable=True,
                )
            else:
                self._on_ack(frame.method.delivery_tag, multiple=frame.method.multiple)

        def ready(_: Any) -> None:
            self._channel, self._next_tag = channel, 1
            self._publish()

        channel.add_on_return_callback(self._on_return)
        self._prepare(channel, lambda: channel.confirm_delivery(confirmed, callback=ready))

    def _on_lost(self) -> None:
        self._channel = None
        self._waiting.extendleft(reversed(self._unconfirmed.values()))
        self._unconfirmed.clear()

    def _publish(self) -> None:
        channel = self._channel
        while self._waiting and channel is not None and channel.is_open:
            message = self._waiting[0]
            channel.basic_publish(
                message.exchange,
                message.routing_key,
                message.body,
                message.properties,
                mandatory=self._mandatory,
            )
            self._unconfirmed[self._next_tag] = self._waiting.popleft()
            self._next_tag += 1

    def _on_ack(self, tag: int, *, multiple: bool) -> None:
        tags = [tag]
        if multiple:
            tags = []
            for unconfirmed in self._unconfirmed:  # in ascending order
                if unconfirmed > tag:
                    break
                tags.append(unconfirmed)
        for each in tags:
            del self._unconfirmed[each]
        with self._changed:
            self._open -= len(tags)
            self._changed.notify_all()

    def _on_return(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        """The confirm of a returned message follows: by then it is known that it failed."""
        message = Outgoing(method.exchange, method.routing_key, properties, body)
        self._fail(
            f"{message} reached no queue: {method.reply_text}; it begins with {body[:_FIRST_BYTES]!r}",
            "bind a queue for this routing key, correct it, or call set_mandatory(False) to have such messages dropped",
            retryable=False,
        )

    def _fail(self, what: str, fix: str, *, retryable: bool) -> None:
        where = f"RabbitMQ at {self._address}"
        self._thread.fail(ConnectorError(f"{self._doing}: {what}", where=where, fix=fix, retryable=retryable))
        with self._changed:
            self._changed.notify_all()


def _again(failure: MillstreamError) -> MillstreamError:
    """A failure that is raised by each call gets no longer traceback by each."""
    return failure.with_traceback(None)
