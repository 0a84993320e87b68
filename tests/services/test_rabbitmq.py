"""The local RabbitMQ: what it tells of its queues."""

from __future__ import annotations

import pika
import pytest

from millstream.dev.rabbitmq import LocalRabbitMQ, QueueDepth
from millstream.dev.server import Server
from tests.integration.kafka.harness import wait_until
from tests.services.availability import unavailable, unique_name


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_messages_that_wait_and_those_that_are_not_acknowledged_are_counted(
    rabbitmq: Server, queue_type: str
) -> None:
    if not isinstance(rabbitmq, LocalRabbitMQ):
        unavailable("this test is about the local process", fix="unset MILLSTREAM_TEST_RABBITMQ")
    queue = unique_name("depth")
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": queue_type})
        for _ in range(5):
            channel.basic_publish("", queue, b"x")
        channel.basic_qos(prefetch_count=2)
        channel.basic_consume(queue, lambda *_: None)
        wait_until(lambda: rabbitmq.depth(queue) == QueueDepth(3, 2), "two of five are delivered")
    wait_until(lambda: rabbitmq.depth(queue) == QueueDepth(5, 0), "they are given back")
    with pytest.raises(LookupError):
        rabbitmq.depth("no such queue")
