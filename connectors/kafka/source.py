"""`KafkaSource`: reads topics of Kafka, bounded or not, with its positions in the checkpoints of the job."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Generic, TypeVar, cast

from ...core.arguments import check_call, check_instance, check_text, checked_list
from ...core.errors import ConfigurationError, JobDefinitionError
from ..base import Boundedness, SourceReader, SourceReaderContext, SplitEnumeratorContext
from ..schemas import Deserializer, deserializer_of
from .discovery import KafkaCluster, Subscription
from .enumerator import EnumeratorSettings, KafkaSourceEnumerator
from .offsets import KafkaOffsetsInitializer, OffsetsKind
from .partitions import KafkaRecord, KafkaTopicPartition, checked_partition
from .properties import (
    BOOTSTRAP_TIMEOUT_MS,
    CONNECT_QUICKLY,
    DEFAULT_BOOTSTRAP_TIMEOUT_MS,
    checked_properties,
    checked_property,
    client_properties,
    is_true,
    parse_ms,
)
from .reader import KafkaSourceReader, ReaderSettings
from .split import KafkaPartitionSplit, decode_split, encode_split

T = TypeVar("T")
R = TypeVar("R")

DISCOVERY_INTERVAL_MS: Final = "partition.discovery.interval.ms"
COMMIT_ON_CHECKPOINT: Final = "commit.offsets.on.checkpoint"
DEFAULT_DISCOVERY_INTERVAL_MS: Final = 5 * 60 * 1000
_OURS: Final = frozenset(
    {BOOTSTRAP_TIMEOUT_MS, DISCOVERY_INTERVAL_MS, COMMIT_ON_CHECKPOINT, "client.id.prefix"}
)
_RESETS: Final = {
    "error": "error",
    "none": "error",
    "earliest": "earliest",
    "latest": "latest",
}


class KafkaSource(Generic[T]):
    """A recipe for reading from Kafka; immutable. Made by `KafkaSource.builder()`.

    Each partition is a split with an offset, kept in the checkpoint; a restored job goes on exactly there. Group offsets
    are committed when a checkpoint completes (if a group id is set), for monitoring only. Timestamps are Kafka's.

    As in Flink and Kafka's own consumer, `isolation.level` is `read_uncommitted` unless set. To read what an exactly-once
    sink wrote, set it to `read_committed`: otherwise records of transactions that were aborted are read as well.

    Properties are librdkafka's, and of our own: `partition.discovery.interval.ms` (300000; 0 or less: look once),
    `commit.offsets.on.checkpoint` (true), `bootstrap.timeout.ms` (30000: how long to wait for brokers). An offset that is no
    longer there is an error, unless `auto.offset.reset` is set to `earliest` or `latest`.
    """

    def __init__(
        self,
        *,
        bootstrap_servers: str,
        subscription: Subscription,
        deserializer: Callable[[KafkaRecord], T | None] | None = None,
        value_deserializer: Deserializer[T] | None = None,
        starting_offsets: KafkaOffsetsInitializer | None = None,
        stopping_offsets: KafkaOffsetsInitializer | None = None,
        boundedness: Boundedness = Boundedness.CONTINUOUS_UNBOUNDED,
        group_id: str | None = None,
        properties: Mapping[str, Any] | None = None,
    ) -> None:
        """As the builder's setters. Exactly one of `deserializer` and `value_deserializer`.

        Raises:
            JobDefinitionError: something is missing or contradicts.
            ConfigurationError: a property is malformed.
        """
        self._given = {**(properties or {}), "bootstrap.servers": bootstrap_servers}
        if group_id is not None:
            self._given["group.id"] = group_id
        self._value_schema = value_deserializer
        self._record_function = deserializer
        self._boundedness = boundedness
        starting = starting_offsets or KafkaOffsetsInitializer.earliest()
        self._check(starting)
        self._enumerator_settings = EnumeratorSettings(
            subscription=subscription,
            starting=starting,
            stopping=stopping_offsets,
            discovery_interval_ms=self._discovery_interval_ms(stopping_offsets),
        )
        self._client = _consumer_properties(self._given)

    @staticmethod
    def builder() -> KafkaSourceBuilder[Any]:
        """A builder with PyFlink's names."""
        return KafkaSourceBuilder()

    @property
    def boundedness(self) -> Boundedness:
        """Bounded after `set_bounded`."""
        return self._boundedness

    def create_enumerator(
        self, context: SplitEnumeratorContext[KafkaPartitionSplit], restored: bytes | None
    ) -> KafkaSourceEnumerator:
        """The part in the JobManager."""
        return KafkaSourceEnumerator(self._enumerator_settings, self._connect, context, restored)

    def create_reader(self, context: SourceReaderContext) -> SourceReader[T, KafkaPartitionSplit]:
        """The part in a subtask."""
        client = dict(self._client)
        prefix = self._given.get("client.id.prefix")
        if prefix:
            client["client.id"] = f"{prefix}-{context.subtask}"
        deserialize: Callable[[Any], Any]  # takes bytes or a KafkaRecord
        if self._value_schema is not None:
            deserialize, never_none = deserializer_of(self._value_schema, used_as="value deserializer")
        else:
            assert self._record_function is not None  # checked by the constructor
            deserialize, never_none = _record_function_of(self._record_function), False
        commit = "group.id" in self._given and is_true(self._given.get(COMMIT_ON_CHECKPOINT, True))
        return KafkaSourceReader(
            ReaderSettings(client, deserialize, self._record_function is not None, never_none, commit)
        )

    def encode_split(self, split: KafkaPartitionSplit) -> bytes:
        """Versioned msgpack."""
        return encode_split(split)

    def decode_split(self, data: bytes) -> KafkaPartitionSplit:
        """The inverse. Raises CheckpointError for what a later release wrote."""
        return decode_split(data)

    def __repr__(self) -> str:
        return f"KafkaSource({self._enumerator_settings.subscription.describe()}, {self._boundedness.value})"

    def _connect(self) -> KafkaCluster:
        return KafkaCluster(
            {
                name: value
                for name, value in self._client.items()
                if name != "group.id" or name in self._given
            },
            timeout_ms=parse_ms(self._given, BOOTSTRAP_TIMEOUT_MS, DEFAULT_BOOTSTRAP_TIMEOUT_MS),
            read_committed=self._client["isolation.level"] == "read_committed",
        )

    def _discovery_interval_ms(self, stopping: KafkaOffsetsInitializer | None) -> int | None:
        interval_ms = parse_ms(self._given, DISCOVERY_INTERVAL_MS, DEFAULT_DISCOVERY_INTERVAL_MS)
        # A source that is to stop reads what there is at its start.
        return None if stopping is not None or interval_ms <= 0 else interval_ms

    def _check(self, starting: KafkaOffsetsInitializer) -> None:
        if (self._record_function is None) == (self._value_schema is None):
            raise JobDefinitionError(
                "a KafkaSource needs a deserializer, either for values or for whole records",
                fix="call set_value_only_deserializer(SimpleStringSchema()), or set_deserializer(function) with a "
                "function that takes the whole KafkaRecord",
            )
        if self._value_schema is not None:
            deserializer_of(self._value_schema, used_as="value deserializer")
        else:
            _record_function_of(self._record_function)
        if starting.kind is OffsetsKind.COMMITTED and "group.id" not in self._given:
            raise JobDefinitionError(
                "a KafkaSource that starts at committed offsets needs a group id",
                fix="call set_group_id(...)",
            )


class KafkaSourceBuilder(Generic[T]):
    """Builds a `KafkaSource`; every setter returns the builder.

    Required: bootstrap servers, topics (or a pattern, or partitions) and a deserializer.
    """

    def __init__(self) -> None:
        self._servers: str | None = None
        self._subscriptions: dict[str, Subscription] = {}
        self._fields: dict[str, Any] = {}
        self._properties: dict[str, Any] = {}

    def set_bootstrap_servers(self, bootstrap_servers: str) -> KafkaSourceBuilder[T]:
        """`host:port`, several separated by commas."""
        check_text(
            "bootstrap servers", bootstrap_servers, fix="give 'host:port', several separated by commas"
        )
        self._servers = bootstrap_servers
        return self

    def set_topics(self, *topics: str) -> KafkaSourceBuilder[T]:
        """All partitions of these topics, which must exist."""
        if not topics:
            raise JobDefinitionError("set_topics() was given no topic", fix="give one or more names")
        for topic in topics:
            check_text(
                "name of a topic", topic, fix="give names one by one: set_topics('orders', 'payments')"
            )
        self._subscriptions["set_topics"] = Subscription(topics=topics)
        return self

    def set_topic_pattern(self, topic_pattern: str) -> KafkaSourceBuilder[T]:
        """All partitions of the topics whose whole name matches this regular expression, also of later ones."""
        pattern = getattr(topic_pattern, "pattern", topic_pattern)
        check_text("pattern of topics", pattern, fix="give a regular expression such as 'orders-.*'")
        try:
            re.compile(pattern)
        except re.error as error:
            raise JobDefinitionError(
                f"{pattern!r} is no regular expression: {error}", fix="give one such as 'orders-.*'"
            ) from error
        self._subscriptions["set_topic_pattern"] = Subscription(pattern=pattern)
        return self

    def set_partitions(self, partitions: Iterable[KafkaTopicPartition]) -> KafkaSourceBuilder[T]:
        """These partitions, which must exist."""
        given = checked_list("partitions", partitions, fix="give a list of KafkaTopicPartition('topic', 0)")
        if not given:
            raise JobDefinitionError("set_partitions() was given no partition", fix="give one or more")
        wanted = tuple(sorted({checked_partition(partition) for partition in given}))
        self._subscriptions["set_partitions"] = Subscription(partitions=wanted)
        return self

    def set_group_id(self, group_id: str) -> KafkaSourceBuilder[T]:
        """The group whose offsets are committed for monitoring, or read by `committed_offsets`."""
        check_text("group id", group_id, fix="give for example 'my-application'")
        self._fields["group_id"] = group_id
        return self

    def set_client_id_prefix(self, prefix: str) -> KafkaSourceBuilder[T]:
        """Readers call themselves `{prefix}-{subtask}` towards the brokers."""
        check_text("prefix of client ids", prefix, fix="give for example 'my-application'")
        self._properties["client.id.prefix"] = prefix
        return self

    def set_starting_offsets(
        self, starting_offsets_initializer: KafkaOffsetsInitializer
    ) -> KafkaSourceBuilder[T]:
        """Where to start when there is no checkpoint: earliest unless set."""
        _check_offsets(starting_offsets_initializer)
        self._fields["starting_offsets"] = starting_offsets_initializer
        return self

    def set_bounded(self, stopping_offsets_initializer: KafkaOffsetsInitializer) -> KafkaSourceBuilder[T]:
        """Stop before these offsets; the source is bounded."""
        _check_offsets(stopping_offsets_initializer)
        self._fields["stopping_offsets"] = stopping_offsets_initializer
        self._fields["boundedness"] = Boundedness.BOUNDED
        return self

    def set_unbounded(self, stopping_offsets_initializer: KafkaOffsetsInitializer) -> KafkaSourceBuilder[T]:
        """Stop before these offsets, but count as unbounded (streaming mode)."""
        _check_offsets(stopping_offsets_initializer)
        self._fields["stopping_offsets"] = stopping_offsets_initializer
        self._fields["boundedness"] = Boundedness.CONTINUOUS_UNBOUNDED
        return self

    def set_value_only_deserializer(self, deserialization_schema: Deserializer[R]) -> KafkaSourceBuilder[R]:
        """Records from values: a schema, or a function from bytes (None for a tombstone); None drops the record."""
        deserializer_of(deserialization_schema, used_as="value deserializer")
        self._fields["value_deserializer"] = deserialization_schema
        self._fields.pop("deserializer", None)
        return cast("KafkaSourceBuilder[R]", self)  # the same object builds a source of other records now

    def set_deserializer(self, deserializer: Callable[[KafkaRecord], R | None]) -> KafkaSourceBuilder[R]:
        """Records from whole `KafkaRecord`s, by a function (or an object with `deserialize`); None drops the record."""
        _record_function_of(deserializer)
        self._fields["deserializer"] = deserializer
        self._fields.pop("value_deserializer", None)
        return cast("KafkaSourceBuilder[R]", self)  # as above

    def set_property(self, key: str, value: Any) -> KafkaSourceBuilder[T]:
        """A property of the Kafka client, in librdkafka's names, or one of our own."""
        self._properties.update(checked_property(key, value))
        return self

    def set_properties(self, props: Mapping[str, Any]) -> KafkaSourceBuilder[T]:
        """Several properties."""
        self._properties.update(checked_properties(props))
        return self

    def build(self) -> KafkaSource[T]:
        """The source.

        Raises:
            JobDefinitionError: something is missing or contradicts.
            ConfigurationError: a property is malformed.
        """
        servers = self._servers or self._properties.get("bootstrap.servers")
        if not servers:
            raise JobDefinitionError(
                "a KafkaSource needs bootstrap servers",
                fix="call set_bootstrap_servers('host:port') on its builder",
            )
        if len(self._subscriptions) != 1 or Subscription() in self._subscriptions.values():
            called = " and ".join(self._subscriptions) or "none of them"
            raise JobDefinitionError(
                f"a KafkaSource needs topics, a topic pattern or partitions, exactly one of these; called: {called}",
                fix="call one of set_topics(...), set_topic_pattern(...), set_partitions(...) on its builder",
            )
        (subscription,) = self._subscriptions.values()
        return KafkaSource(
            bootstrap_servers=servers, subscription=subscription, properties=self._properties, **self._fields
        )


def _check_offsets(initializer: Any) -> None:
    fix = "give for example KafkaOffsetsInitializer.earliest()"
    check_instance("offsets initializer", initializer, KafkaOffsetsInitializer, fix=fix)


def _consumer_properties(given: Mapping[str, Any]) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        **CONNECT_QUICKLY,
        # librdkafka wants a group even where partitions are assigned by hand; nothing is committed to this one.
        "group.id": "millstream-without-group",
        "isolation.level": "read_uncommitted",
        # After its queue was full, librdkafka waits a whole second by default before it fetches again.
        "fetch.queue.backoff.ms": 20,
    }
    reset = str(given.get("auto.offset.reset", "error"))
    if reset not in _RESETS:
        raise ConfigurationError(
            f"auto.offset.reset is {reset!r}", fix=f"use one of {', '.join(sorted(_RESETS))}"
        )
    return {
        **defaults,
        **client_properties(given, ours=_OURS),
        "auto.offset.reset": _RESETS[reset],
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # Tells the end of a bounded partition where the last offsets are no records.
        "enable.partition.eof": True,
    }


def _record_function_of(function: Any) -> Callable[[KafkaRecord], Any]:
    found: Any = getattr(function, "deserialize", function)
    if not callable(found) or isinstance(function, type):
        raise JobDefinitionError(
            f"the deserializer is {function!r}, which is no function",
            fix="pass a function from a KafkaRecord to a record, or an object with deserialize(record)",
        )
    check_call("deserializer", found, 1, fix="pass a function from a KafkaRecord to a record")
    checked: Callable[[KafkaRecord], Any] = found
    return checked
