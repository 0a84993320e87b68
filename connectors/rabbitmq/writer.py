"""The writer of `RabbitMQSink`: from records to messages with their properties."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ...core.errors import JobDefinitionError
from .connection_config import RMQConnectionConfig
from .publisher import Outgoing, Publisher

PROPERTIES: Final = frozenset(
    {
        "content_type",
        "content_encoding",
        "delivery_mode",
        "priority",
        "correlation_id",
        "reply_to",
        "expiration",
        "message_id",
        "timestamp",
        "type",
        "user_id",
        "app_id",
    }
)
"""What a user's function may set, by pika's names; headers have a function of their own."""
_PERSISTENT: Final = 2
_TRANSIENT: Final = 1


@dataclass(frozen=True)
class SinkSettings:
    """What a writer needs of a `RabbitMQSink`.

    Attributes:
        queue: declared durable where it is missing; None: nothing is declared.
        queue_type: of a queue that is declared: `classic`, `quorum`, or None for the broker's default.
        routing_key: from a record, or the same for all.
        id_of: for message id and correlation id; None: messages have none of ours.
    """

    config: RMQConnectionConfig
    exchange: str
    queue: str | None
    queue_type: str | None
    routing_key: str | Callable[[Any], str]
    headers: Callable[[Any], Mapping[str, Any]] | None
    properties: Callable[[Any], Mapping[str, Any]] | None
    id_of: Callable[[Any], str] | None
    persistent: bool
    mandatory: bool
    max_unconfirmed: int

    @property
    def target(self) -> str:
        """For messages."""
        return f"queue '{self.queue}'" if self.queue is not None else f"exchange '{self.exchange}'"


class RabbitMQWriter:
    """Publishes the records of one subtask; everything of before a barrier is confirmed when the barrier is."""

    def __init__(self, settings: SinkSettings, serialize: Callable[[Any], bytes], *, name: str) -> None:
        from pika import BasicProperties

        self._settings = settings
        self._serialize = serialize
        self._properties_class = BasicProperties
        self._publisher = Publisher(
            settings.config,
            doing=f"writing to {settings.target}",
            name=name,
            prepare=self._declare,
            mandatory=settings.mandatory,
            window=settings.max_unconfirmed,
        )

    def write_batch(self, values: Sequence[Any], timestamps: Sequence[int] | None) -> None:
        """Hand the records over; waits for room in the window of unconfirmed messages. Raises ConnectorError."""
        messages = []
        for index, value in enumerate(values):
            try:
                messages.append(self._message(value))
            except Exception as error:
                error.millstream_record_index = index  # type: ignore[attr-defined]
                raise
        self._publisher.put(messages)

    def flush(self, end_of_input: bool) -> None:
        """Wait until the broker has confirmed everything written. Raises ConnectorError."""
        self._publisher.flush()

    def close(self) -> None:
        """Disconnect."""
        self._publisher.close()

    def _message(self, value: Any) -> Outgoing:
        settings = self._settings
        body = self._serialize(value)
        if not isinstance(body, bytes | bytearray | memoryview):
            raise JobDefinitionError(
                f"the serializer of the sink to {settings.target} returned a {type(body).__name__}",
                fix="return bytes",
            )
        key = settings.routing_key if isinstance(settings.routing_key, str) else settings.routing_key(value)
        if not isinstance(key, str):
            raise JobDefinitionError(
                f"the routing key for {settings.target} is {key!r}", fix="return a string from its function"
            )
        fields: dict[str, Any] = {"delivery_mode": _PERSISTENT if settings.persistent else _TRANSIENT}
        if settings.id_of is not None:
            fields["message_id"] = fields["correlation_id"] = settings.id_of(value)
        if settings.properties is not None:
            given = settings.properties(value)
            unknown = given.keys() - PROPERTIES
            if unknown:
                raise JobDefinitionError(
                    f"messages have no property '{min(unknown)}'",
                    fix=f"there are {', '.join(sorted(PROPERTIES))}",
                )
            fields.update(given)
        if settings.headers is not None:
            fields["headers"] = dict(settings.headers(value))
        properties = self._properties_class(**fields)
        if settings.properties is not None or settings.headers is not None:
            properties.encode()  # raises here what would end the connection's thread
        return Outgoing(settings.exchange, key, properties, bytes(body))

    def _declare(self, channel: Any, ready: Callable[[], None]) -> None:
        """The queue, if there is one to declare. One that exists is taken as it is: asking for it first would close the channel of whoever
        asks for one that does not exist, and declaring it in another way that of whoever declares."""
        settings = self._settings
        if settings.queue is None:
            ready()
            return
        from .queues import ensure_queue

        ensure_queue(channel, settings.queue, settings.queue_type, ready)
