"""Orders from a RabbitMQ queue; what each customer spent in ten seconds to another one, each order counted once.

    python examples/rabbitmq_orders.py                                         # on a RabbitMQ of its own
    python examples/rabbitmq_orders.py amqp://guest:guest@localhost:5672/%2F   # on one that runs

Publishes a thousand orders, some of them twice, as a publisher does that is not sure; runs the job until the queue is read; prints what the
job wrote.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from millstream import (
    AggregateFunction,
    Duration,
    OutputTag,
    ProcessWindowFunction,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    WatermarkStrategy,
)
from millstream.connectors.rabbitmq import (
    RabbitMQMessage,
    RabbitMQSink,
    RabbitMQSource,
    RMQConnectionConfig,
)
from millstream.dev.provide import provide_rabbitmq

ORDERS, REVENUE = "orders", "revenue"
NUMBER_OF_ORDERS = 1_000
WINDOW_MS = 10_000
FIRST_MS = 1_767_225_600_000


class Order(NamedTuple):
    """What a customer pays."""

    customer: str
    cents: int


class Revenue(NamedTuple):
    """What the orders of a customer in a window come to."""

    customer: str
    window_start_ms: int
    orders: int
    cents: int


# --8<-- [start:source]
UNREADABLE = OutputTag("unreadable")


def read_order(message: RabbitMQMessage) -> Order:
    fields = json.loads(message.body)
    return Order(fields["customer"], fields["cents"])


def orders_source(config: RMQConnectionConfig) -> RabbitMQSource[Order]:
    return (
        RabbitMQSource.builder()
        .set_connection_config(config)
        .set_queue_name(ORDERS)
        .set_queue_type("quorum")  # where it is missing and has to be declared
        .set_use_correlation_id(True)  # each order once
        .set_deduplication_window(60_000)  # also if its publisher sends it again
        .set_event_time_from_header("ordered-at")
        .set_deserializer(read_order)
        .set_poison_output(UNREADABLE)
        .set_bounded()  # until the queue is read; without it for ever
        .build()
    )


# --8<-- [end:source]


# --8<-- [start:sink]
def revenue_sink(config: RMQConnectionConfig) -> RabbitMQSink[Revenue]:
    return (
        RabbitMQSink.builder()
        .set_connection_config(config)
        .set_queue_name(REVENUE)
        .set_queue_type("quorum")
        .set_serialization_schema(lambda revenue: json.dumps(revenue._asdict()).encode())
        .set_headers(lambda revenue: {"customer": revenue.customer})
        # The same id whenever the window is written again: whoever reads the queue can tell.
        .set_source_position(lambda revenue: (revenue.customer, revenue.window_start_ms))
        .build()
    )


# --8<-- [end:sink]


class Sum(AggregateFunction):
    """Number of orders and cents."""

    def create_accumulator(self) -> tuple[int, int]:
        return 0, 0

    def add(self, value: Order, accumulator: tuple[int, int]) -> tuple[int, int]:
        return accumulator[0] + 1, accumulator[1] + value.cents

    def get_result(self, accumulator: tuple[int, int]) -> tuple[int, int]:
        return accumulator

    def merge(self, one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
        return one[0] + other[0], one[1] + other[1]


class ToRevenue(ProcessWindowFunction):
    """Adds customer and window."""

    def process(self, key: str, context: Any, elements: Iterable[tuple[int, int]]) -> Iterator[Revenue]:
        for orders, cents in elements:
            yield Revenue(key, context.window().start, orders, cents)


def run(config: RMQConnectionConfig, checkpoints: str) -> None:
    """The job, to its end."""
    env = StreamExecutionEnvironment.get_execution_environment()
    env.set_parallelism(2).enable_checkpointing(500)
    env.get_checkpoint_config().set_checkpoint_storage_dir(checkpoints)
    watermarks = WatermarkStrategy.for_bounded_out_of_orderness(Duration.of_minutes(5))
    orders = env.from_source(orders_source(config), watermarks, "orders")
    orders.get_side_output(UNREADABLE).map(lambda message: f"unreadable: {message.body!r}").print()
    (
        orders.key_by(lambda order: order.customer)
        .window(TumblingEventTimeWindows.of(Duration.of_millis(WINDOW_MS)))
        .aggregate(Sum(), ToRevenue())
        .sink_to(revenue_sink(config))
    )
    env.execute("revenue")


def order(number: int) -> tuple[Order, int]:
    """An order and its time (ms)."""
    return Order(f"customer-{number % 7}", 100 + number % 50), FIRST_MS + number * 100


def publish_orders(url: str) -> None:
    """All orders, every tenth of them twice, and a message that is none."""
    import pika

    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        for queue in (ORDERS, REVENUE):
            channel.queue_delete(queue)
        channel.queue_declare(ORDERS, durable=True, arguments={"x-queue-type": "quorum"})
        channel.confirm_delivery()
        for number in range(NUMBER_OF_ORDERS):
            made, time_ms = order(number)
            properties = pika.BasicProperties(
                delivery_mode=2, correlation_id=f"order-{number}", headers={"ordered-at": time_ms}
            )
            for _ in range(2 if number % 10 == 0 else 1):
                channel.basic_publish("", ORDERS, json.dumps(made._asdict()).encode(), properties)
        broken = pika.BasicProperties(correlation_id="broken", headers={"ordered-at": FIRST_MS})
        channel.basic_publish("", ORDERS, b"no order", broken)


def written(url: str) -> list[Revenue]:
    """What the job wrote, taken out of the queue, sorted."""
    import pika

    found = []
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        while (message := channel.basic_get(REVENUE, auto_ack=True))[0] is not None:
            found.append(Revenue(**json.loads(message[2])))
    return sorted(found)


def main(arguments: list[str]) -> None:
    """Everything, on the broker of the first argument or on one of our own."""
    broker = None if arguments else provide_rabbitmq()
    try:
        url = arguments[0] if broker is None else broker.url
        publish_orders(url)
        with tempfile.TemporaryDirectory() as checkpoints:
            run(RMQConnectionConfig.Builder().set_uri(url).build(), checkpoints)
        for revenue in written(url):
            print(*revenue)
    finally:
        if broker is not None:
            broker.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
