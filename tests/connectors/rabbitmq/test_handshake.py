"""Brokers that die while a connection is being opened, and brokers that refuse it."""

from __future__ import annotations

from typing import Any

import pika
import pytest

from millstream import StreamExecutionEnvironment, WatermarkStrategy
from millstream.connectors.rabbitmq import RabbitMQSink, RabbitMQSource, RMQConnectionConfig
from millstream.connectors.schemas import SimpleStringSchema
from millstream.core.errors import JobExecutionError
from millstream.dev.server import Server
from tests.connectors.rabbitmq.broker import Queue
from tests.connectors.rabbitmq.cutting_proxy import CuttingProxy
from tests.integration.rabbitmq.broker import Reading, declare, local, publish, source_of
from tests.services.availability import unique_name

pytestmark = pytest.mark.slow

MESSAGES = [f"m{n}" for n in range(100)]


def bounded_source(config: RMQConnectionConfig, queue: Queue) -> Any:
    return (
        RabbitMQSource.builder()
        .set_connection_config(config)
        .set_queue_name(queue.name)
        .set_value_only_deserializer(SimpleStringSchema())
        .set_bounded(len(MESSAGES))
        .build()
    )


def read(config: RMQConnectionConfig, queue: Queue) -> list[str]:
    env = StreamExecutionEnvironment.get_execution_environment()
    stream = env.from_source(bounded_source(config, queue), WatermarkStrategy.no_watermarks(), "messages")
    return list(stream.execute_and_collect())


@pytest.mark.parametrize(
    "cut_at", [2, 3], ids=["while it authenticates", "while it asks for its virtual host"]
)
def test_a_connection_that_breaks_while_it_is_opened_is_tried_again(rabbitmq: Server, cut_at: int) -> None:
    queue = Queue(rabbitmq.url)
    to = pika.URLParameters(rabbitmq.url)
    with CuttingProxy((to.host, to.port), connections=2, cut_at=cut_at) as proxy:
        config = RMQConnectionConfig.Builder().set_host("127.0.0.1").set_port(proxy.port).build()
        sink = (
            RabbitMQSink.builder()
            .set_connection_config(config)
            .set_queue_name(queue.name)
            .set_serialization_schema(SimpleStringSchema())
            .build()
        )
        env = StreamExecutionEnvironment.get_execution_environment()
        env.from_collection(MESSAGES).sink_to(sink)
        env.execute("to RabbitMQ")
        assert proxy.cut == 2
    with CuttingProxy((to.host, to.port), connections=2, cut_at=cut_at) as proxy:
        config = RMQConnectionConfig.Builder().set_host("127.0.0.1").set_port(proxy.port).build()
        assert read(config, queue) == MESSAGES
        assert proxy.cut == 2


def test_a_login_that_is_refused_for_a_while_is_tried_again_where_it_was_good_before(
    rabbitmq: Server, caplog: pytest.LogCaptureFixture
) -> None:
    broker, user = local(rabbitmq), unique_name("user")
    broker.control("add_user", user, "right")
    broker.control("set_permissions", user, ".*", ".*", ".*")
    queue, to = declare(rabbitmq), pika.URLParameters(rabbitmq.url)
    builder = RMQConnectionConfig.Builder().set_host(to.host).set_port(to.port)
    config = builder.set_user_name(user).set_password("right").build()
    reading = Reading(source_of(rabbitmq, queue).set_connection_config(config).build())
    publish(rabbitmq, queue, range(10))
    assert len(reading.read(10)) == 10
    reading.checkpoint()
    broker.control("change_password", user, "another")
    broker.close_connections("logged out")
    reading.read_until(lambda: "ACCESS_REFUSED" in caplog.text, "a refused login")
    broker.control("change_password", user, "right")
    publish(rabbitmq, queue, range(10, 20))
    assert sorted(map(int, reading.read(20))) == list(range(20))
    reading.close()


@pytest.mark.parametrize(
    ("change", "fix"),
    [
        (lambda b: b.set_password("wrong"), "check user and password"),
        (lambda b: b.set_virtual_host("nowhere"), "check the virtual host"),
    ],
    ids=["password", "virtual host"],
)
def test_what_the_broker_refuses_fails_at_once(rabbitmq: Server, change: Any, fix: str) -> None:
    queue = Queue(rabbitmq.url)
    to = pika.URLParameters(rabbitmq.url)
    builder = RMQConnectionConfig.Builder().set_host(to.host).set_port(to.port)
    with pytest.raises(JobExecutionError) as failed:
        read(change(builder).build(), queue)
    assert fix in str(failed.value)
    assert "tried again" not in str(failed.value)
