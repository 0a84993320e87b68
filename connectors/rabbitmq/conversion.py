"""From deliveries to records: deserializing, event times, and what becomes of a message that cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ...core.errors import ConnectorError
from .message import Delivery, message_of, place_of

_SHOWN_BYTES: Final = 100


@dataclass(frozen=True, slots=True)
class EventTime:
    """Where a message's event time is: in a header (ms since the epoch), or in the property `timestamp` (seconds) if None."""

    header: str | None = None


@dataclass(frozen=True, slots=True)
class Conversion:
    """What makes records of messages.

    Attributes:
        deserialize: from the body, or from the whole `RabbitMQMessage`; None drops the message.
        event_time: None: messages have none.
        poison_tag: id of the side output for messages that cannot be deserialized; None: they fail the job.
    """

    queue: str
    deserialize: Callable[[Any], Any]
    whole_message: bool
    event_time: EventTime | None
    poison_tag: str | None

    def convert(
        self, deliveries: list[Delivery]
    ) -> tuple[list[Any], list[int] | None, dict[str, list[Any]] | None]:
        """Records, their event times, and what goes to side outputs.

        Raises:
            ConnectorError: a message has no event time.
            Exception: that of the deserializer, with a note on the message.
        """
        values: list[Any] = []
        times: list[int] = []
        poison: list[Any] = []
        deserialize, whole, event_time = self.deserialize, self.whole_message, self.event_time
        for delivery in deliveries:
            try:
                value = deserialize(message_of(delivery) if whole else delivery.body)
            except Exception as error:
                if self.poison_tag is None:
                    self._name_the_message(error, delivery)
                    raise
                poison.append(message_of(delivery))
                continue
            if value is None:
                continue
            values.append(value)
            if event_time is not None:
                times.append(self._time_of(delivery, event_time))
        side = {self.poison_tag: poison} if self.poison_tag is not None and poison else None
        return values, (times if event_time is not None else None), side

    def _time_of(self, delivery: Delivery, event_time: EventTime) -> int:
        header, properties = event_time.header, delivery.properties
        if header is None:
            seconds = properties.timestamp
            if seconds is not None:
                return int(seconds) * 1000
            what, fix = "property 'timestamp'", "let the publisher set it"
        else:
            time = (properties.headers or {}).get(header)
            if isinstance(time, int) and not isinstance(time, bool):
                return int(time)  # one of 64 bits is of a class of pika's
            what, fix = f"whole number in the header '{header}'", "let the publisher set it, in ms"
        raise ConnectorError(
            f"RabbitMQ: a message has no {what}, which is to be its event time",
            where=place_of(delivery, self.queue),
            fix=f"{fix}, or take the time from the record with a TimestampAssigner",
        )

    def _name_the_message(self, error: Exception, delivery: Delivery) -> None:
        """Add to the user's exception which message it was."""
        place, body = place_of(delivery, self.queue), delivery.body[:_SHOWN_BYTES]
        error.add_note(
            f"while deserializing the RabbitMQ message of {place}: {body!r}; it stays in the queue"
        )
