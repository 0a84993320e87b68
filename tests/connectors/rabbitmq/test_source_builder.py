"""The builder of `RabbitMQSource` and PyFlink's `RMQSource`: what they refuse, and that what they build travels."""

from __future__ import annotations

from typing import Any

import cloudpickle
import pytest

from millstream import OutputTag
from millstream.connectors.base import Boundedness
from millstream.connectors.rabbitmq import (
    RabbitMQSource,
    RMQConnectionConfig,
    RMQSource,
    SimpleStringSchema,
)
from millstream.connectors.rabbitmq.split import RabbitMQSplit, decode_split, encode_split
from millstream.core.errors import CheckpointError, JobDefinitionError
from millstream.pyflink.environment import StreamExecutionEnvironment

CONFIG = RMQConnectionConfig.Builder().set_host("broker").set_password("s3cr3t").build()


def builder() -> Any:
    return (
        RabbitMQSource.builder()
        .set_connection_config(CONFIG)
        .set_queue_name("orders")
        .set_value_only_deserializer(SimpleStringSchema())
    )


def test_sources_travel_and_show_no_password() -> None:
    source = builder().set_bounded(5).set_poison_output(OutputTag("poison")).build()
    copy = cloudpickle.loads(cloudpickle.dumps(source))
    assert copy.boundedness is Boundedness.BOUNDED
    assert builder().build().boundedness is Boundedness.CONTINUOUS_UNBOUNDED
    assert "orders" in repr(copy)
    assert "s3cr3t" not in repr(copy)


def test_event_times_are_known_before_the_job_runs() -> None:
    assert not builder().build().gives_timestamps
    assert builder().set_event_time_from_property().build().gives_timestamps
    assert builder().set_event_time_from_header("at").build().gives_timestamps


@pytest.mark.parametrize(
    "build",
    [
        lambda: RabbitMQSource.builder().build(),
        lambda: RabbitMQSource.builder().set_connection_config(CONFIG).set_queue_name("q").build(),
        lambda: builder().set_connection_config("amqp://broker"),
        lambda: builder().set_queue_name(""),
        lambda: builder().set_queue_type("stream"),
        lambda: builder().set_prefetch_count(0),
        lambda: builder().set_bounded(-1),
        lambda: builder().set_redelivery_timeout(0),
        lambda: builder().set_event_time_from_header(""),
        lambda: builder().set_poison_output("poison"),
        lambda: builder().set_deserializer(lambda: None),
        lambda: RMQSource("broker", "q", True, SimpleStringSchema()),
        lambda: RMQSource(CONFIG, "q", True, "text"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_way_out(build: Any) -> None:
    with pytest.raises(JobDefinitionError) as refused:
        build()
    assert refused.value.fix


def test_a_split_survives_its_encoding_and_one_of_a_later_release_is_refused() -> None:
    for split in (RabbitMQSplit("q-0"), RabbitMQSplit("q-1", (("a", 0), ("b", 5)), 3, restored=True)):
        assert decode_split(encode_split(split)) == split
    with pytest.raises(CheckpointError, match="version 2"):
        decode_split(b"\x92\x02\xa1q")


def test_add_source_of_pyflink_takes_a_rmq_source_and_refuses_other_objects() -> None:
    env = StreamExecutionEnvironment.get_execution_environment()
    env.add_source(RMQSource(CONFIG, "orders", True, SimpleStringSchema()), "orders").print()
    assert "Source: orders" in env.get_execution_plan()
    with pytest.raises(JobDefinitionError):
        env.add_source(object())
