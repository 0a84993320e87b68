"""What a deserializer sees of a message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple


@dataclass(frozen=True, slots=True)
class RabbitMQMessage:
    """A message as it was delivered.

    Attributes:
        headers: as the publisher wrote them; texts, numbers, bytes, lists and tables as AMQP has them.
        timestamp: the publisher's, in SECONDS since the epoch, as AMQP has it.
        delivery_tag: its number on the connection it came over.
        redelivered: whether the broker has delivered it before, to anybody.
        properties: the remaining AMQP properties that are set, by their names in AMQP with `_` for `-`.
    """

    body: bytes
    routing_key: str
    exchange: str
    headers: Mapping[str, Any]
    correlation_id: str | None
    message_id: str | None
    timestamp: int | None
    content_type: str | None
    delivery_tag: int
    redelivered: bool
    properties: Mapping[str, Any] = field(default_factory=dict)


class Delivery(NamedTuple):
    """A message as pika gives it, and the generation of the connection it came over."""

    generation: int
    method: Any  # pika.spec.Basic.Deliver
    properties: Any  # pika.BasicProperties
    body: bytes


_REST: Final = (
    "content_encoding",
    "delivery_mode",
    "priority",
    "reply_to",
    "expiration",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
)


def message_of(delivery: Delivery) -> RabbitMQMessage:
    """The whole message."""
    method, properties = delivery.method, delivery.properties
    rest = {name: getattr(properties, name) for name in _REST}
    return RabbitMQMessage(
        body=delivery.body,
        routing_key=method.routing_key,
        exchange=method.exchange,
        headers=_plain(properties.headers or {}),
        correlation_id=properties.correlation_id,
        message_id=properties.message_id,
        timestamp=properties.timestamp,
        content_type=properties.content_type,
        delivery_tag=method.delivery_tag,
        redelivered=method.redelivered,
        properties={name: value for name, value in rest.items() if value is not None},
    )


def _plain(value: Any) -> Any:
    """pika's numbers of 64 bits are of a class of its own, which no record should hold."""
    if isinstance(value, int) and type(value) not in {int, bool}:
        return int(value)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


def place_of(delivery: Delivery, queue: str) -> str:
    """Where a message is, for errors."""
    method, properties = delivery.method, delivery.properties
    ids = f"correlation id {properties.correlation_id!r}, message id {properties.message_id!r}"
    return (
        f"queue '{queue}', exchange '{method.exchange}', routing key '{method.routing_key}', "
        f"delivery tag {method.delivery_tag}, {ids}"
    )
