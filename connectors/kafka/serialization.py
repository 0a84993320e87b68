"""What of a record becomes the topic, key and value of a Kafka record."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from ...core.arguments import check_call, check_text
from ...core.errors import JobDefinitionError, RecordSerializationError
from ..schemas import Serializer, serializer_of

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
_BYTES_OR_NONE: Final = {bytes, type(None)}


class KafkaTopicSelector(ABC, Generic[T_contra]):
    """Base class for topic selectors; a function from the record to its topic does as well."""

    @abstractmethod
    def apply(self, data: T_contra) -> str:
        """The topic of a record. Called again for the same record on replay."""


@dataclass(frozen=True)
class KafkaRecordSerializationSchema(Generic[T]):
    """How a record is written: immutable, made by `builder()` or with keyword arguments.

    Attributes:
        topic: where all records go; exactly one of `topic` and `topic_selector` is set.
        topic_selector: from the record to its topic.
        value: from the record to the value, bytes or None (a tombstone).
        key: from the record to the key, bytes or None; no keys if it is None.

    >>> by_user = KafkaRecordSerializationSchema(topic="clicks", key=lambda c: c[0].encode(), value=lambda c: c[1])
    >>> by_user.prepare([("ada", b"1")])
    ('clicks', [b'ada'], [b'1'])
    """

    topic: str | None = None
    topic_selector: Any = None  # a callable T -> str, or an object with apply(T) as in PyFlink
    value: Any = None  # a Serializer[T]
    key: Any = None  # a Serializer[T]

    def __post_init__(self) -> None:
        if (self.topic is None) == (self.topic_selector is None):
            raise JobDefinitionError(
                "a KafkaRecordSerializationSchema needs a topic or a topic selector, and not both",
                fix="call set_topic(name) or set_topic_selector(function) on its builder",
            )
        if self.value is None:
            raise JobDefinitionError(
                "a KafkaRecordSerializationSchema needs a value serialization schema",
                fix="call set_value_serialization_schema(SimpleStringSchema()) or pass any function record -> bytes",
            )
        serializer_of(self.value, used_as="value serialization schema")
        if self.key is not None:
            serializer_of(self.key, used_as="key serialization schema")
        if self.topic_selector is not None:
            _selector_of(self.topic_selector)

    @staticmethod
    def builder() -> KafkaRecordSerializationSchemaBuilder:
        """A builder with PyFlink's names."""
        return KafkaRecordSerializationSchemaBuilder()

    def prepare(
        self, values: Sequence[T]
    ) -> tuple[str | list[str], list[bytes | None] | None, list[bytes | None]]:
        """Topic (one for all, or one each), keys (or no keys at all) and values of the records.

        Raises:
            RecordSerializationError: a schema gave something that is not bytes, a selector something not a topic.
            Exception: whatever the user's functions raise, with `millstream_record_index` set to the record's index.
        """
        value_of = serializer_of(self.value, used_as="value serialization schema")
        payloads = _each(value_of, values)
        _check_types(payloads, values, "value")
        keys = None
        if self.key is not None:
            keys = _each(serializer_of(self.key, used_as="key serialization schema"), values)
            _check_types(keys, values, "key")
        if self.topic is not None:
            return self.topic, keys, payloads
        topics = _each(_selector_of(self.topic_selector), values)
        _check_topics(topics, values)
        return topics, keys, payloads


class KafkaRecordSerializationSchemaBuilder:
    """Builds a `KafkaRecordSerializationSchema`; every setter returns the builder."""

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}

    def set_topic(self, topic: str) -> KafkaRecordSerializationSchemaBuilder:
        """All records go to `topic`."""
        check_text("topic", topic, fix="give the name of a topic")
        self._fields["topic"] = topic
        return self

    def set_topic_selector(self, topic_selector: Any) -> KafkaRecordSerializationSchemaBuilder:
        """Each record goes to the topic that `topic_selector` gives: a function, or an object with `apply(record)`."""
        _selector_of(topic_selector)
        self._fields["topic_selector"] = topic_selector
        return self

    def set_key_serialization_schema(
        self, key_serialization_schema: Serializer[Any]
    ) -> KafkaRecordSerializationSchemaBuilder:
        """The key of a record, which also decides its partition. Records have no key otherwise."""
        serializer_of(key_serialization_schema, used_as="key serialization schema")
        self._fields["key"] = key_serialization_schema
        return self

    def set_value_serialization_schema(
        self, value_serialization_schema: Serializer[Any]
    ) -> KafkaRecordSerializationSchemaBuilder:
        """The value of a record."""
        serializer_of(value_serialization_schema, used_as="value serialization schema")
        self._fields["value"] = value_serialization_schema
        return self

    def build(self) -> KafkaRecordSerializationSchema[Any]:
        """The schema. Raises JobDefinitionError if something is missing."""
        return KafkaRecordSerializationSchema(**self._fields)


def _selector_of(selector: Any) -> Callable[[Any], str]:
    apply: Any = getattr(selector, "apply", selector)
    if not callable(apply):
        raise JobDefinitionError(
            f"the topic selector is {selector!r}, which is no function",
            fix="pass a function from the record to its topic",
        )
    check_call("topic selector", apply, 1, fix="pass a function from the record to its topic")
    checked: Callable[[Any], str] = apply
    return checked


def _each(function: Callable[[Any], Any], values: Sequence[Any]) -> list[Any]:
    # The iterator knows how many records are left, so a failing one is found without counting the others.
    left: Iterator[Any] = iter(list(values))
    try:
        # No map(): it would take a StopIteration of the user's function for the end of the records.
        return [function(value) for value in left]
    except Exception as error:
        error.millstream_record_index = len(values) - operator.length_hint(left) - 1  # type: ignore[attr-defined]
        raise


def _check_types(encoded: list[Any], values: Sequence[Any], what: str) -> None:
    if set(map(type, encoded)) <= _BYTES_OR_NONE:
        return
    index = next(i for i, item in enumerate(encoded) if type(item) not in _BYTES_OR_NONE)
    raise _at(
        index,
        RecordSerializationError(
            f"the {what} serialization schema of the Kafka sink gave {type(encoded[index]).__name__}, not bytes",
            where=f"record {_cut(values[index])}",
            fix="return bytes (for text: text.encode()), or None for a tombstone",
        ),
    )


def _check_topics(topics: list[Any], values: Sequence[Any]) -> None:
    for index, topic in enumerate(topics):
        if type(topic) is not str or not topic:
            raise _at(
                index,
                RecordSerializationError(
                    f"the topic selector of the Kafka sink gave {topic!r}, which is no topic",
                    where=f"record {_cut(values[index])}",
                    fix="return the name of a topic",
                ),
            )


def _at(index: int, error: RecordSerializationError) -> RecordSerializationError:
    error.millstream_record_index = index  # type: ignore[attr-defined]  # SinkWriter.write_batch's contract
    return error


def _cut(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "..."
