from __future__ import annotations

from typing import Any

import pytest

from millstream.connectors.kafka import KafkaRecordSerializationSchema, KafkaTopicSelector, SimpleStringSchema
from millstream.core.errors import JobDefinitionError, RecordSerializationError

builder = KafkaRecordSerializationSchema.builder


def test_topic_key_and_value() -> None:
    schema = (
        builder()
        .set_topic("t")
        .set_key_serialization_schema(lambda pair: pair[0])
        .set_value_serialization_schema(lambda pair: pair[1])
        .build()
    )
    assert schema.prepare([(b"k", b"v"), (None, None)]) == ("t", [b"k", None], [b"v", None])


def test_without_a_key_schema_there_are_no_keys() -> None:
    schema = builder().set_topic("t").set_value_serialization_schema(SimpleStringSchema()).build()
    assert schema.prepare(["ä"]) == ("t", None, ["ä".encode()])


class Selector:
    def apply(self, record: str) -> str:
        return f"topic-{record}"


class DeclaredSelector(KafkaTopicSelector[str]):
    def apply(self, data: str) -> str:
        return f"topic-{data}"


@pytest.mark.parametrize("selector", [Selector(), DeclaredSelector(), lambda record: f"topic-{record}"])
def test_a_selector_gives_a_topic_for_each_record(selector: Any) -> None:
    schema = builder().set_topic_selector(selector).set_value_serialization_schema(str.encode).build()
    assert schema.prepare(["a", "b"])[0] == ["topic-a", "topic-b"]


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        ({"value": bytes}, "topic"),
        ({"topic": "t", "topic_selector": str, "value": bytes}, "not both"),
        ({"topic": "t"}, "value serialization schema"),
        ({"topic": "t", "value": 7}, "value serialization schema"),
        ({"topic": "t", "value": bytes, "key": "k"}, "key serialization schema"),
        ({"topic_selector": "t", "value": bytes}, "topic selector"),
    ],
)
def test_an_incomplete_schema_is_refused(fields: dict[str, Any], missing: str) -> None:
    with pytest.raises(JobDefinitionError, match=missing) as caught:
        KafkaRecordSerializationSchema(**fields)
    assert caught.value.fix


@pytest.mark.parametrize("failing", [0, 1, 4])
def test_an_error_of_a_schema_carries_the_index_of_its_record(failing: int) -> None:
    schema = KafkaRecordSerializationSchema(topic="t", value=lambda n: b"" if n != failing else {}[n])
    with pytest.raises(KeyError) as caught:
        schema.prepare(range(5))
    assert caught.value.millstream_record_index == failing


def test_a_stop_iteration_of_a_schema_does_not_end_the_records() -> None:
    def one_too_many(n: int) -> bytes:
        return next(iter([b""] if n < 2 else []))

    with pytest.raises(StopIteration) as caught:
        KafkaRecordSerializationSchema(topic="t", value=one_too_many).prepare(range(5))
    assert caught.value.millstream_record_index == 2


@pytest.mark.parametrize("role", ["value", "key"])
def test_something_other_than_bytes_names_the_record(role: str) -> None:
    fields = {"topic": "t", "value": lambda n: b"", role: lambda n: b"" if n < 2 else "text"}
    with pytest.raises(
        RecordSerializationError, match=rf"{role} serialization schema.*gave str, not bytes"
    ) as caught:
        KafkaRecordSerializationSchema(**fields).prepare([0, 1, 2, 3])
    assert caught.value.millstream_record_index == 2
    assert "record 2" in caught.value.where


@pytest.mark.parametrize("topic", [None, "", 7])
def test_a_selector_that_gives_no_topic_names_the_record(topic: Any) -> None:
    schema = KafkaRecordSerializationSchema(topic_selector=lambda n: topic if n else "t", value=bytes)
    with pytest.raises(RecordSerializationError, match="no topic") as caught:
        schema.prepare([0, 1])
    assert caught.value.millstream_record_index == 1
