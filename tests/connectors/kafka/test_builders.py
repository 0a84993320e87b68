"""The builders: PyFlink's names, what they refuse, and that what they build travels to the workers."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import cloudpickle
import pytest

from millstream.connectors.base import Boundedness, SinkWriterContext, SourceReaderContext, SupportsCommitter
from millstream.connectors.kafka import (
    DeliveryGuarantee,
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
    KafkaTopicPartition,
    SimpleStringSchema,
)
from millstream.connectors.kafka.split import KafkaPartitionSplit
from millstream.core.clock import ManualClock
from millstream.core.errors import (
    CheckpointError,
    ConfigurationError,
    JobDefinitionError,
    MissingDependencyError,
)

SERIALIZER = KafkaRecordSerializationSchema(topic="t", value=SimpleStringSchema())


def source_builder() -> Any:
    return (
        KafkaSource.builder()
        .set_bootstrap_servers("host:9092")
        .set_topics("a", "b")
        .set_group_id("g")
        .set_client_id_prefix("c")
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_bounded(KafkaOffsetsInitializer.latest())
        .set_value_only_deserializer(SimpleStringSchema())
        .set_property("fetch.min.bytes", "1")
        .set_properties({"partition.discovery.interval.ms": "1000"})
    )


def sink_builder() -> Any:
    return (
        KafkaSink.builder()
        .set_bootstrap_servers("host:9092")
        .set_record_serializer(SERIALIZER)
        .set_delivery_guarantee(DeliveryGuarantee.EXACTLY_ONCE)
        .set_transactional_id_prefix("p")
        .set_property("transaction.timeout.ms", "60000")
    )


def test_sources_and_sinks_travel() -> None:
    built = cloudpickle.loads(
        cloudpickle.dumps(source_builder().set_deserializer(lambda record: record.key).build())
    )
    assert built.boundedness is Boundedness.BOUNDED
    assert repr(built) == "KafkaSource(topics a, b, bounded)"
    sink = cloudpickle.loads(cloudpickle.dumps(sink_builder().build()))
    assert isinstance(sink, SupportsCommitter)
    assert sink.transaction_timeout_ms == 60_000


@pytest.mark.parametrize("guarantee", DeliveryGuarantee)
def test_only_exactly_once_sinks_have_a_committer_however_they_are_made(guarantee: DeliveryGuarantee) -> None:
    by_builder = sink_builder().set_delivery_guarantee(guarantee).build()
    by_name = KafkaSink(
        bootstrap_servers="h:1",
        record_serializer=SERIALIZER,
        delivery_guarantee=guarantee,
        transactional_id_prefix="p",
    )
    for sink in (by_builder, by_name):
        assert isinstance(sink, SupportsCommitter) == (guarantee is DeliveryGuarantee.EXACTLY_ONCE)
        assert (sink.transaction_timeout_ms is None) != isinstance(sink, SupportsCommitter)


def test_the_default_guarantee_is_flinks() -> None:
    sink = KafkaSink.builder().set_bootstrap_servers("h:1").set_record_serializer(SERIALIZER).build()
    assert sink.delivery_guarantee is DeliveryGuarantee.NONE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b.set_bootstrap_servers(""), "bootstrap servers"),
        (
            lambda b: b.set_topic_pattern("x.*"),
            "exactly one of these; called: set_topics and set_topic_pattern",
        ),
        (lambda b: b.set_topics(), "given no topic"),
        (lambda b: b.set_value_only_deserializer(None), "no schema"),
        (lambda b: b.set_value_only_deserializer(SimpleStringSchema), "not|no schema"),
        (lambda b: b.set_deserializer("x"), "no function"),
        (lambda b: b.set_property("auto.offset.reset", "somewhere"), "somewhere"),
        (lambda b: b.set_property("partition.discovery.interval.ms", "often"), "often"),
        (lambda b: b.set_property("max.poll.records", "5"), r"max\.poll\.records"),
        (lambda b: b.set_topic_pattern("("), "no regular expression"),
    ],
)
def test_a_source_that_cannot_work_is_refused(change: Any, message: str) -> None:
    with pytest.raises(JobDefinitionError, match=message) as caught:
        change(source_builder()).build()
    assert caught.value.fix or caught.value.where


def test_committed_offsets_need_a_group() -> None:
    builder = (
        KafkaSource.builder().set_bootstrap_servers("h:1").set_topics("t").set_value_only_deserializer(bytes)
    )
    with pytest.raises(JobDefinitionError, match="group id"):
        builder.set_starting_offsets(KafkaOffsetsInitializer.committed_offsets()).build()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b.set_bootstrap_servers(""), "bootstrap servers"),
        (lambda b: b.set_record_serializer(None), "record serializer"),
        (lambda b: b.set_transactional_id_prefix(""), "transactional id prefix"),
        (lambda b: b.set_property("transactional.id", "x"), "several ids"),
        (lambda b: b.set_property("transaction.timeout.ms", "long"), "long"),
        (lambda b: b.set_property("transaction.unverifiable", "maybe"), "maybe"),
        (lambda b: b.set_property("key.serializer", "x"), r"key\.serializer"),
    ],
)
def test_a_sink_that_cannot_work_is_refused(change: Any, message: str) -> None:
    with pytest.raises(JobDefinitionError, match=message) as caught:
        change(sink_builder()).build()
    assert caught.value.fix


def test_configuration_errors_say_so() -> None:
    with pytest.raises(ConfigurationError):
        sink_builder().set_property("transaction.timeout.ms", "long").build()


def test_splits_survive_their_encoding_and_old_ones_stay_readable() -> None:
    source = source_builder().build()
    for split in (KafkaPartitionSplit("t", 1, 42, None), KafkaPartitionSplit("t-1", 0, 2**40, 2**41)):
        assert source.decode_split(source.encode_split(split)) == split
    assert source.decode_split(bytes.fromhex("9501a174012ac0")) == KafkaPartitionSplit("t", 1, 42, None)
    with pytest.raises(CheckpointError, match="format version 9"):
        source.decode_split(bytes.fromhex("9509a174012ac0"))


def test_partitions_read_like_kafkas() -> None:
    assert str(KafkaTopicPartition("orders", 3)) == "orders[3]"


def test_importing_the_connector_loads_no_client() -> None:
    code = (
        "import sys, millstream.connectors.kafka; "
        "print([m for m in ('kafka', 'confluent_kafka', 'ssl.nothing') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("package", ["confluent_kafka", "kafka"])
def test_a_missing_client_names_the_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    for name in [name for name in sys.modules if name.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, name)
    context: Any = SinkWriterContext(
        subtask=0,
        parallelism=1,
        job_id="",
        job_name="",
        attempt=1,
        restored_checkpoint_id=None,
        restored_state=(),
        pending_committables=(),
        clock=ManualClock(),
    )
    uses = [lambda: sink_builder().build().create_writer(context)]
    if package == "confluent_kafka":
        reader = source_builder().build().create_reader(SourceReaderContext(0, 1, "", ManualClock()))
        at_least_once = sink_builder().set_delivery_guarantee(DeliveryGuarantee.AT_LEAST_ONCE).build()
        uses = [reader.start, lambda: at_least_once.create_writer(context)]
    for use in uses:
        with pytest.raises(MissingDependencyError) as caught:
            use()
        assert (
            caught.value.package == {"confluent_kafka": "confluent-kafka", "kafka": "kafka-python"}[package]
        )
        assert caught.value.fix == "pip install 'millstream[kafka]'"
