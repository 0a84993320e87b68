"""A queue of a test, and what is in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pika

from millstream.connectors.rabbitmq import RMQConnectionConfig
from tests.services.availability import unique_name


class Received(NamedTuple):
    body: bytes
    properties: Any
    routing_key: str


class Queue:
    """A queue with a name of its own, declared here unless `declared=False`."""

    def __init__(
        self, url: str, queue_type: str = "classic", *, declared: bool = True, **arguments: Any
    ) -> None:
        self.url = url
        self.name = unique_name("queue")
        self.config = RMQConnectionConfig.Builder().set_uri(url).build()
        if declared:
            with self.channel() as channel:
                channel.queue_declare(
                    self.name, durable=True, arguments={"x-queue-type": queue_type, **arguments}
                )

    @contextmanager
    def channel(self) -> Iterator[Any]:
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            yield connection.channel()

    def publish(self, *bodies: bytes, ids: bool = False, **properties: Any) -> None:
        """Persistent messages; with the body as correlation id if asked for."""
        with self.channel() as channel:
            channel.confirm_delivery()
            for body in bodies:
                own = {"correlation_id": body.decode()} if ids else {}
                given = pika.BasicProperties(delivery_mode=2, **own, **properties)
                channel.basic_publish("", self.name, body, given)

    def take_all(self) -> list[Received]:
        """Everything that is ready, taken out."""
        found = []
        with self.channel() as channel:
            while True:
                method, properties, body = channel.basic_get(self.name, auto_ack=True)
                if method is None:
                    return found
                found.append(Received(body, properties, method.routing_key))

    def bodies(self) -> list[bytes]:
        """Of `take_all`."""
        return [message.body for message in self.take_all()]
