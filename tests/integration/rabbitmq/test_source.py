"""`RabbitMQSource` against a real broker: what comes again counts once, and what is acknowledged is covered."""

from __future__ import annotations

import pytest

from millstream.dev.rabbitmq import QueueDepth
from millstream.dev.server import Server
from tests.integration.kafka.harness import wait_until
from tests.integration.rabbitmq.broker import Reading, declare, local, publish, source_of, texts

QUEUE_TYPES = ("classic", "quorum")
EMPTY = QueueDepth(0, 0)


@pytest.mark.parametrize("queue_type", QUEUE_TYPES)
def test_what_comes_again_is_dropped_and_does_not_fill_the_prefetch_window(
    rabbitmq: Server, queue_type: str
) -> None:
    broker, queue = local(rabbitmq), declare(rabbitmq, queue_type)
    publish(rabbitmq, queue, range(5))
    source = source_of(rabbitmq, queue).set_prefetch_count(5).build()
    first = Reading(source)
    assert first.read(5) == texts(range(5))
    checkpoint = first.checkpoint(complete=False)
    first.close()  # before anything was acknowledged
    wait_until(lambda: broker.depth(queue) == QueueDepth(5, 0), "the five are given back")
    publish(rabbitmq, queue, range(5, 10))
    again = Reading(source, restored=checkpoint)
    again.read_until(lambda: again.readers[0]._ledger.owed == 5, "the five came again")
    assert again.run.values == []
    again.checkpoint()
    assert again.read(5) == texts(range(5, 10))
    again.checkpoint()
    again.close()
    wait_until(lambda: broker.depth(queue) == EMPTY, "the queue is empty")


def test_nothing_is_acknowledged_before_its_checkpoint_has_completed(rabbitmq: Server) -> None:
    broker, queue = local(rabbitmq), declare(rabbitmq)
    publish(rabbitmq, queue, range(3))
    reading = Reading(source_of(rabbitmq, queue).build())
    reading.read(3)
    reading.checkpoint(complete=False)
    publish(rabbitmq, queue, [3])
    reading.read(4)
    for reader in reading.readers:
        reader.notify_checkpoint_complete(1)
    wait_until(lambda: broker.depth(queue) == QueueDepth(0, 1), "the last one is not covered")
    reading.close()
    wait_until(lambda: broker.depth(queue) == QueueDepth(1, 0), "the last one is given back")


@pytest.mark.parametrize("queue_type", QUEUE_TYPES)
def test_what_comes_again_to_a_sibling_counts_once_after_connections_are_closed(
    rabbitmq: Server, queue_type: str
) -> None:
    broker, queue = local(rabbitmq), declare(rabbitmq, queue_type)
    publish(rabbitmq, queue, range(300))
    reading = Reading(source_of(rabbitmq, queue).set_prefetch_count(1000).build(), 3)
    reading.read(300)
    broker.close_connections("a test")
    # Each rises when a connection begins and when it is lost.
    reading.read_until(
        lambda: all(reader._generation >= 3 for reader in reading.readers), "three new connections"
    )
    publish(rabbitmq, queue, range(300, 330))
    reading.read(330)
    reading.read_until(
        lambda: sum(reader._ledger.owed for reader in reading.readers) == 330, "all came again"
    )
    assert sorted(map(int, reading.run.values)) == list(range(330))
    reading.checkpoint()
    wait_until(lambda: broker.depth(queue) == EMPTY, "the queue is empty")
    reading.read_until(
        lambda: not any(len(reader._ledger) for reader in reading.readers), "ids are forgotten"
    )
    reading.close()


@pytest.mark.parametrize("how", ["orderly", "kill"])
@pytest.mark.parametrize("queue_type", QUEUE_TYPES)
def test_a_broker_that_restarts_makes_nothing_count_twice(
    rabbitmq: Server, queue_type: str, how: str
) -> None:
    broker, queue = local(rabbitmq), declare(rabbitmq, queue_type)
    if how == "kill":
        # Otherwise it may not know the queue any more.
        broker.restart() if queue_type == "quorum" else broker.flush()
    publish(rabbitmq, queue, range(100))
    reading = Reading(source_of(rabbitmq, queue).set_prefetch_count(1000).build(), 2)
    reading.read(100)
    reading.checkpoint()
    publish(rabbitmq, queue, range(100, 200))
    reading.read(200)
    if how == "kill":
        broker.kill()
        broker.start()
    else:
        broker.restart()
    publish(rabbitmq, queue, range(200, 250))
    reading.read(250)
    reading.read_until(
        lambda: broker.depth(queue).ready == 0 and not any(reader._held for reader in reading.readers),
        "all came again",
    )
    assert sorted(map(int, reading.run.values)) == list(range(250))
    reading.checkpoint()
    wait_until(lambda: broker.depth(queue) == EMPTY, "the queue is empty")
    reading.close()


@pytest.mark.parametrize("queue_type", QUEUE_TYPES)
def test_a_job_is_restored_at_another_parallelism(rabbitmq: Server, queue_type: str) -> None:
    broker, queue = local(rabbitmq), declare(rabbitmq, queue_type)
    publish(rabbitmq, queue, range(200))
    source = source_of(rabbitmq, queue).build()
    values, checkpoint = [], None
    for parallelism, upto in ((1, 60), (4, 120), (2, 200)):
        reading = Reading(source, parallelism, checkpoint)
        values += reading.read(upto - len(values))
        checkpoint = reading.checkpoint(complete=False)
        reading.close()
    assert sorted(map(int, values)) == list(range(200))
    last = Reading(source, 3, checkpoint)
    last.read_until(lambda: sum(reader._ledger.owed for reader in last.readers) == 200, "all came again")
    assert last.run.values == []
    last.checkpoint()
    last.close()
    wait_until(lambda: broker.depth(queue) == EMPTY, "the queue is empty")
