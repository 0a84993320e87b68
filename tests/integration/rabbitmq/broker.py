"""Queues of a real RabbitMQ, and sources that read them, driven through their protocols."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pika
from pika.exceptions import NackError

from millstream.connectors.rabbitmq import RabbitMQSource, RMQConnectionConfig
from millstream.connectors.schemas import SimpleStringSchema
from millstream.core.clock import SystemClock
from millstream.dev.rabbitmq import LocalRabbitMQ
from millstream.dev.server import Server
from millstream.testing.connector_runs import SourceRun
from tests.integration.kafka.harness import wait_until
from tests.services.availability import unavailable, unique_name


def local(server: Server) -> LocalRabbitMQ:
    """A broker that may be restarted and asked. Skips where it is somebody else's."""
    if not isinstance(server, LocalRabbitMQ):
        unavailable("this test controls the broker", fix="unset MILLSTREAM_TEST_RABBITMQ")
    assert isinstance(server, LocalRabbitMQ)
    return server


def config(server: Server) -> RMQConnectionConfig:
    """How to reach it."""
    return RMQConnectionConfig.Builder().set_uri(server.url).build()


@contextmanager
def channel(server: Server) -> Iterator[Any]:
    """A channel with publisher confirms."""
    with pika.BlockingConnection(pika.URLParameters(server.url)) as connection:
        opened = connection.channel()
        opened.confirm_delivery()
        yield opened


def declare(server: Server, queue_type: str = "classic") -> str:
    """A new durable queue; its name."""
    queue = unique_name("q")
    with channel(server) as opened:
        opened.queue_declare(queue, durable=True, arguments={"x-queue-type": queue_type})
    return queue


def publish(server: Server, queue: str, ids: Iterable[int]) -> None:
    """Persistent messages whose body and correlation id is the number."""
    with channel(server) as opened:
        for number in ids:
            properties = pika.BasicProperties(delivery_mode=2, correlation_id=f"{number}")
            wait_until(partial(_taken, opened, queue, number, properties), "the broker takes a message")


def _taken(opened: Any, queue: str, number: int, properties: Any) -> bool:
    try:
        opened.basic_publish("", queue, f"{number}".encode(), properties, mandatory=True)
    except NackError:  # a quorum queue that has not elected its leader yet
        return False
    return True


def source_of(server: Server, queue: str) -> Any:
    """The builder of a source of texts that counts each correlation id once."""
    return (
        RabbitMQSource.builder()
        .set_connection_config(config(server))
        .set_queue_name(queue)
        .set_use_correlation_id(True)
        .set_value_only_deserializer(SimpleStringSchema())
    )


class Reading:
    """A `SourceRun` on the machine's clock, with checkpoints that complete."""

    def __init__(self, source: Any, parallelism: int = 1, restored: Any = None) -> None:
        clock: Any = SystemClock()  # nothing of `SourceRun` that advances a clock is used
        self.run = SourceRun(source, parallelism, restored, clock=clock)
        self.last_checkpoint = 0
        self.readers: list[Any] = list(self.run.readers)

    def poll_all(self) -> None:
        for subtask in range(len(self.readers)):
            if not self.run.ended[subtask]:
                self.run.poll(subtask)

    def read(self, count: int) -> list[str]:
        """Poll until so many records are there in all."""

        def enough() -> bool:
            self.poll_all()
            return len(self.run.values) >= count

        wait_until(enough, f"{count} records", timeout_s=60)
        return self.run.values

    def read_until(self, condition: Any, what: str) -> None:
        """Poll until the condition holds."""

        def holds() -> bool:
            self.poll_all()
            return bool(condition())

        wait_until(holds, what, timeout_s=60)

    def checkpoint(self, *, complete: bool = True) -> Any:
        self.last_checkpoint += 1
        checkpoint = self.run.checkpoint(self.last_checkpoint)
        if complete:
            for reader in self.readers:
                reader.notify_checkpoint_complete(self.last_checkpoint)
        return checkpoint

    def close(self) -> None:
        self.run.close()


def texts(numbers: Iterable[int]) -> list[str]:
    return [str(number) for number in numbers]
