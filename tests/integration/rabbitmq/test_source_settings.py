"""`RabbitMQSource` against a real broker: connections, bounds, what a deserializer sees, and messages that cannot be read."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pika
import pytest

from millstream import OutputTag, StreamExecutionEnvironment, WatermarkStrategy
from millstream.connectors.rabbitmq import RabbitMQMessage, RabbitMQSource, RMQConnectionConfig, RMQSource
from millstream.connectors.schemas import SimpleStringSchema
from millstream.core.errors import ConnectorError
from millstream.dev.local_process import free_ports
from millstream.dev.rabbitmq import QueueDepth
from millstream.dev.server import Server
from millstream.testing.connectors import SourceContract
from tests.integration.kafka.harness import wait_until
from tests.integration.rabbitmq.broker import (
    Reading,
    channel,
    config,
    declare,
    local,
    publish,
    source_of,
    texts,
)
from tests.services.availability import unique_name

EMPTY = QueueDepth(0, 0)


def failing(source: Any) -> ConnectorError:
    """What the source fails with while it is polled."""
    reading = Reading(source)
    try:
        with pytest.raises(ConnectorError) as failed:
            reading.read(1)
    finally:
        reading.close()
    return failed.value


# ---- connections


def test_wrong_credentials_are_an_error_at_once_that_shows_no_password(rabbitmq: Server) -> None:
    wrong = replace(config(rabbitmq), password="s3cr3t")
    error = failing(source_of(rabbitmq, "q").set_connection_config(wrong).build())
    assert not error.retryable
    assert "user guest" in str(error)
    assert "password" in str(error.fix)
    assert "s3cr3t" not in str(error)


def test_a_missing_virtual_host_is_an_error_at_once(rabbitmq: Server) -> None:
    wrong = replace(config(rabbitmq), virtual_host="nowhere")
    error = failing(source_of(rabbitmq, "q").set_connection_config(wrong).build())
    assert not error.retryable
    assert "virtual host nowhere" in str(error)


def test_a_missing_queue_is_declared_durable_unless_it_must_exist(rabbitmq: Server) -> None:
    queue = unique_name("q")
    error = failing(source_of(rabbitmq, queue).set_queue_must_exist().build())
    assert not error.retryable
    assert f"queue '{queue}'" in str(error)
    reading = Reading(source_of(rabbitmq, queue).set_queue_type("quorum").build())
    reading.read_until(lambda: reading.readers[0]._generation == 1, "the source consumes")
    with channel(rabbitmq) as opened:
        opened.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})  # equivalent
    publish(rabbitmq, queue, [1])
    assert reading.read(1) == ["1"]
    reading.close()


def test_an_unreachable_broker_is_an_error_once_the_time_is_spent() -> None:
    (port,) = free_ports(1)
    where = (
        RMQConnectionConfig.Builder()
        .set_host("127.0.0.1")
        .set_port(port)
        .set_connection_retry_timeout(300)
        .build()
    )
    builder = RabbitMQSource.builder().set_queue_name("q").set_value_only_deserializer(SimpleStringSchema())
    error = failing(builder.set_connection_config(where).build())
    assert error.retryable
    assert f"127.0.0.1:{port}" in str(error)
    assert "tried again for" in str(error)
    assert "Connection refused" in str(error)
    at_once = failing(builder.set_connection_config(replace(where, automatic_recovery=False)).build())
    assert "tried again" not in str(at_once)


def test_heartbeats_go_on_while_nothing_is_polled(rabbitmq: Server) -> None:
    queue = declare(rabbitmq)
    publish(rabbitmq, queue, [1])
    beating = replace(config(rabbitmq), requested_heartbeat=2)
    reading = Reading(source_of(rabbitmq, queue).set_connection_config(beating).build())
    assert reading.read(1) == ["1"]
    # The broker closes a connection that is silent for twice the heartbeat.
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as other:
        other.sleep(7)
    assert reading.readers[0]._consumer.generation == 1
    publish(rabbitmq, queue, [2])
    assert reading.read(2) == ["1", "2"]
    reading.close()


# ---- bounds


@pytest.mark.parametrize("parallelism", [1, 3])
def test_a_bounded_source_reads_what_the_queue_holds_and_leaves_the_rest(
    rabbitmq: Server, parallelism: int
) -> None:
    broker, queue = local(rabbitmq), declare(rabbitmq)
    publish(rabbitmq, queue, range(100))
    reading = Reading(source_of(rabbitmq, queue).set_bounded().build(), parallelism)
    reading.poll_all()
    publish(rabbitmq, queue, range(100, 110))
    reading.read_until(lambda: all(reading.run.ended), "all readers end")
    assert len(set(reading.run.values)) == len(reading.run.values) == 100
    reading.checkpoint()
    reading.close()
    wait_until(lambda: broker.depth(queue) == QueueDepth(10, 0), "ten are left")


@pytest.mark.parametrize("parallelism", [1, 3])
def test_what_a_publisher_has_sent_twice_is_two_of_the_messages_that_the_queue_holds(
    rabbitmq: Server, parallelism: int
) -> None:
    broker, queue = local(rabbitmq), declare(rabbitmq)
    publish(rabbitmq, queue, [*range(40), *range(30), *range(30), *range(40, 50)])
    source = source_of(rabbitmq, queue).set_bounded().set_deduplication_window(60_000).build()
    reading = Reading(source, parallelism)
    reading.poll_all()
    publish(rabbitmq, queue, range(100, 110))
    reading.read_until(lambda: all(reading.run.ended), "all readers end")
    counted = [int(value) for value in reading.run.values]
    assert len(set(counted)) == len(counted)
    reading.checkpoint()
    reading.close()
    wait_until(lambda: broker.depth(queue) == QueueDepth(10, 0), "ten are left")
    if parallelism == 1:
        assert counted == list(range(50))


def test_a_source_bounded_by_a_number_waits_for_them(rabbitmq: Server) -> None:
    queue = declare(rabbitmq, "quorum")
    publish(rabbitmq, queue, range(10))
    reading = Reading(source_of(rabbitmq, queue).set_bounded(25).build(), 4)
    reading.read(10)
    publish(rabbitmq, queue, range(10, 40))
    reading.read_until(lambda: all(reading.run.ended), "all readers end")
    assert len(set(reading.run.values)) == len(reading.run.values) == 25
    reading.close()


class TestContract(SourceContract):
    @pytest.fixture
    def source(self, rabbitmq: Server) -> Any:
        queue = declare(rabbitmq)
        publish(rabbitmq, queue, range(60))
        return source_of(rabbitmq, queue).set_bounded().build()

    @pytest.fixture
    def expected(self) -> Any:
        return texts(range(60))


# ---- messages


def rich_message(server: Server, queue: str) -> None:
    with channel(server) as opened:
        properties = pika.BasicProperties(
            correlation_id="c", message_id="m", timestamp=1_700_000_000, content_type="text/plain",
            headers={"at": 1_700_000_000_123, "kind": "order"}, priority=3,
        )  # fmt: skip
        opened.basic_publish("", queue, b"body", properties)


def test_a_deserializer_sees_headers_and_properties(rabbitmq: Server) -> None:
    queue = declare(rabbitmq)
    rich_message(rabbitmq, queue)
    reading = Reading(source_of(rabbitmq, queue).set_deserializer(lambda message: (message,)).build())
    reading.read(1)
    reading.close()
    message: RabbitMQMessage = reading.run.values[0][0]  # type: ignore[assignment]
    assert (message.body, message.correlation_id, message.message_id) == (b"body", "c", "m")
    assert (message.routing_key, message.exchange, message.timestamp) == (queue, "", 1_700_000_000)
    assert (message.headers["kind"], message.content_type) == ("order", "text/plain")
    assert (message.properties["priority"], message.redelivered) == (3, False)


@pytest.mark.parametrize(
    ("setter", "wanted"),
    [
        (lambda b: b.set_event_time_from_property(), 1_700_000_000_000),
        (lambda b: b.set_event_time_from_header("at"), 1_700_000_000_123),
        (lambda b: b, None),
    ],
)
def test_event_times_come_from_the_property_or_a_header(rabbitmq: Server, setter: Any, wanted: Any) -> None:
    queue = declare(rabbitmq)
    rich_message(rabbitmq, queue)
    reading = Reading(setter(source_of(rabbitmq, queue)).build())
    reading.read(1)
    reading.close()
    assert reading.run.timestamps == [wanted]


def test_a_message_without_what_is_needed_is_named(rabbitmq: Server) -> None:
    queue = declare(rabbitmq)
    with channel(rabbitmq) as opened:
        opened.basic_publish("", queue, b"body", pika.BasicProperties(message_id="m"))
    no_id = failing(source_of(rabbitmq, queue).build())
    assert "no correlation id" in str(no_id)
    assert f"queue '{queue}'" in str(no_id)
    assert "message id 'm'" in str(no_id)
    no_time = failing(
        source_of(rabbitmq, queue).set_use_correlation_id(False).set_event_time_from_header("at").build()
    )
    assert "header 'at'" in str(no_time)


def test_a_poison_message_fails_and_stays_in_the_queue(rabbitmq: Server) -> None:
    broker, queue = local(rabbitmq), declare(rabbitmq)
    publish(rabbitmq, queue, [7])
    reading = Reading(source_of(rabbitmq, queue).set_value_only_deserializer(lambda _: 1 // 0).build())
    with pytest.raises(ZeroDivisionError) as failed:
        reading.read(1)
    reading.close()
    assert f"queue '{queue}'" in failed.value.__notes__[0]
    assert "b'7'" in failed.value.__notes__[0]
    wait_until(lambda: broker.depth(queue) == QueueDepth(1, 0), "it is still there")


def test_a_poison_message_goes_to_the_side_output_of_a_job_and_is_acknowledged(
    rabbitmq: Server, tmp_path: Any
) -> None:
    broker, queue = local(rabbitmq), declare(rabbitmq)
    publish(rabbitmq, queue, range(10))
    poison = OutputTag("poison")
    source = (
        source_of(rabbitmq, queue)
        .set_value_only_deserializer(lambda body: 10 // (int(body) % 5))
        .set_bounded(10)
        .set_poison_output(poison)
        .build()
    )
    env = StreamExecutionEnvironment.get_execution_environment()
    env.set_parallelism(1)
    env.enable_checkpointing(200)
    env.get_checkpoint_config().set_checkpoint_storage_dir(f"file://{tmp_path}")
    stream = env.from_source(source, WatermarkStrategy.no_watermarks(), "queue")
    good = stream.map(lambda value: f"good {value}")
    bad = stream.get_side_output(poison).map(lambda message: f"poison {message.body.decode()}")
    with good.union(bad).execute_and_collect() as results:
        found = sorted(results)
    assert found == sorted([*["good 10", "good 5", "good 3", "good 2"] * 2, "poison 0", "poison 5"])
    wait_until(lambda: broker.depth(queue) == EMPTY, "all are acknowledged")


def test_without_checkpoints_messages_are_acknowledged_as_they_are_handed_over(rabbitmq: Server) -> None:
    broker, queue = local(rabbitmq), declare(rabbitmq)
    publish(rabbitmq, queue, range(20))
    source = RMQSource(replace(config(rabbitmq), prefetch_count=5), queue, True, SimpleStringSchema())
    source._bound = source_of(rabbitmq, queue).set_bounded(20).build()._bound
    env = StreamExecutionEnvironment.get_execution_environment()
    env.set_parallelism(1)
    stream = env.from_source(source, WatermarkStrategy.no_watermarks(), "queue")
    with stream.execute_and_collect() as results:
        assert sorted(map(int, results)) == list(range(20))
    wait_until(lambda: broker.depth(queue) == EMPTY, "all are acknowledged")


def test_a_full_window_says_what_to_change(rabbitmq: Server, caplog: pytest.LogCaptureFixture) -> None:
    queue = declare(rabbitmq)
    publish(rabbitmq, queue, range(10))
    reading = Reading(source_of(rabbitmq, queue).set_prefetch_count(3).build())
    with caplog.at_level(logging.WARNING):
        reading.read(3)
        for _ in range(3):
            reading.poll_all()
    reading.close()
    said = [record.message for record in caplog.records if "prefetch" in record.message]
    assert len(said) == 1
    assert "checkpoint interval" in said[0]
