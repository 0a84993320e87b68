"""`KafkaSink`: writes a stream to Kafka topics with a chosen delivery guarantee."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Generic, Self, TypeVar, cast

from ...core.arguments import check_instance, check_text
from ...core.errors import ConfigurationError, JobDefinitionError
from ..base import SinkWriterContext
from .committable import KafkaCommittable, decode_committable, encode_committable
from .committer import KafkaCommitter
from .partitions import DeliveryGuarantee
from .properties import (
    BOOTSTRAP_TIMEOUT_MS,
    CONNECT_QUICKLY,
    DEFAULT_BOOTSTRAP_TIMEOUT_MS,
    checked_properties,
    checked_property,
    client_properties,
    parse_ms,
)
from .serialization import KafkaRecordSerializationSchema
from .writer import ExactlyOnceKafkaWriter, KafkaWriter, SinkSettings

T = TypeVar("T")

DEFAULT_TRANSACTION_TIMEOUT_MS: Final = 15 * 60 * 1000
"""The most that brokers allow by default (transaction.max.timeout.ms)."""

DEFAULT_DELIVERY_TIMEOUT_MS: Final = 120_000
"""As in the Java client: how long a record may stay unacknowledged before its delivery fails."""

_UNVERIFIABLE: Final = "transaction.unverifiable"
_OURS: Final = frozenset(
    {BOOTSTRAP_TIMEOUT_MS, _UNVERIFIABLE, "transaction.timeout.ms", "transactional.id", "bootstrap.servers"}
)


class KafkaSink(Generic[T]):
    """A recipe for writing to Kafka; immutable. Made by `KafkaSink.builder()`.

    With EXACTLY_ONCE one transaction per checkpoint and subtask is pre-committed at the barrier and committed when the
    checkpoint is complete, also from another process after a crash. Consumers must read with
    `isolation.level=read_committed`; they see records one checkpoint interval late. The broker aborts a transaction
    `transaction.timeout.ms` (15 minutes unless set) after it began: what is timed out between pre-commit and commit is
    lost, and reported as such. So a job is refused whose checkpoint interval, checkpoint timeout and longest pause before
    a restart add up to more; the latter two adapt to shorter transactions unless they are set.

    Transactional ids are `{prefix}-{subtask}-{index}`. The prefix must differ between all sinks that write at the same time:
    a sink takes over every id with its prefix at its start.

    Properties are librdkafka's, and of our own: `bootstrap.timeout.ms` (30000: how long to wait for brokers) and
    `transaction.unverifiable` (`fail`; with `accept` a restored transaction of which the broker no longer knows anything
    counts as committed).
    """

    def __new__(
        cls, *_: Any, delivery_guarantee: DeliveryGuarantee = DeliveryGuarantee.NONE, **__: Any
    ) -> Self:
        """With EXACTLY_ONCE the kind that has committables: without them nothing written would ever be visible."""
        if cls is KafkaSink and delivery_guarantee is DeliveryGuarantee.EXACTLY_ONCE:
            return cast("Self", object.__new__(ExactlyOnceKafkaSink))  # a subclass, so a Self
        return object.__new__(cls)

    def __init__(
        self,
        *,
        bootstrap_servers: str,
        record_serializer: KafkaRecordSerializationSchema[T],
        delivery_guarantee: DeliveryGuarantee = DeliveryGuarantee.NONE,
        transactional_id_prefix: str | None = None,
        properties: Mapping[str, Any] | None = None,
    ) -> None:
        """As the builder's setters.

        Raises:
            JobDefinitionError: something is missing.
            ConfigurationError: a property is malformed.
        """
        given = {**(properties or {}), "bootstrap.servers": bootstrap_servers}
        exactly_once = delivery_guarantee is DeliveryGuarantee.EXACTLY_ONCE
        if exactly_once and not transactional_id_prefix:
            raise JobDefinitionError(
                "a KafkaSink with EXACTLY_ONCE needs a transactional id prefix",
                fix="call set_transactional_id_prefix(...) with a prefix that no other sink uses",
            )
        if "transactional.id" in given:
            raise ConfigurationError(
                "transactional.id cannot be set: the sink needs several ids per subtask",
                fix="call set_transactional_id_prefix(...)",
            )
        self._settings = SinkSettings(
            serializer=record_serializer,
            guarantee=delivery_guarantee,
            bootstrap_servers=bootstrap_servers,
            client=_producer_properties(given, exactly_once=exactly_once),
            given=given,
            bootstrap_timeout_ms=parse_ms(given, BOOTSTRAP_TIMEOUT_MS, DEFAULT_BOOTSTRAP_TIMEOUT_MS),
            transactional_id_prefix=transactional_id_prefix or "",
            transaction_timeout_ms=parse_ms(given, "transaction.timeout.ms", DEFAULT_TRANSACTION_TIMEOUT_MS),
            accept_unverifiable=_accepts_unverifiable(given),
        )

    @staticmethod
    def builder() -> KafkaSinkBuilder:
        """A builder with PyFlink's names."""
        return KafkaSinkBuilder()

    @property
    def delivery_guarantee(self) -> DeliveryGuarantee:
        """What the sink promises."""
        return self._settings.guarantee

    @property
    def transaction_timeout_ms(self) -> int | None:
        """After this time the broker aborts a transaction; None without transactions. A checkpoint plus the longest
        restart must take less."""
        return self._settings.transaction_timeout_ms if self._exactly_once else None

    def create_writer(self, context: SinkWriterContext[Any]) -> KafkaWriter | ExactlyOnceKafkaWriter:
        """A connected writer. Raises ConnectorError, ConfigurationError, MissingDependencyError."""
        if self._exactly_once:
            return ExactlyOnceKafkaWriter(self._settings, context)
        return KafkaWriter(self._settings, context)

    def create_committer(self) -> KafkaCommitter:
        """Phase two; without EXACTLY_ONCE of what was pre-committed when the job still had it."""
        return KafkaCommitter(
            self._settings.given,
            budget_ms=self._settings.bootstrap_timeout_ms,
            accept_unverifiable=self._settings.accept_unverifiable,
        )

    def decode_committable(self, data: bytes) -> KafkaCommittable:
        """What EXACTLY_ONCE encoded. Raises CheckpointError for what a later release wrote."""
        return decode_committable(data)

    @property
    def _exactly_once(self) -> bool:
        return self._settings.guarantee is DeliveryGuarantee.EXACTLY_ONCE

    def __repr__(self) -> str:
        target = self._settings.serializer.topic or "selected topics"
        return f"KafkaSink({target}, {self._settings.guarantee.value})"


class ExactlyOnceKafkaSink(KafkaSink[T]):
    """A `KafkaSink` with committables; what `KafkaSink` gives for EXACTLY_ONCE."""

    def encode_committable(self, committable: KafkaCommittable) -> bytes:
        """Versioned msgpack."""
        return encode_committable(committable)


class KafkaSinkBuilder:
    """Builds a `KafkaSink`; every setter returns the builder. Required: bootstrap servers and record serializer."""

    def __init__(self) -> None:
        self._servers: str | None = None
        self._serializer: KafkaRecordSerializationSchema[Any] | None = None
        self._guarantee = DeliveryGuarantee.NONE
        self._prefix: str | None = None
        self._properties: dict[str, Any] = {}

    def set_bootstrap_servers(self, bootstrap_servers: str) -> KafkaSinkBuilder:
        """`host:port`, several separated by commas."""
        check_text(
            "bootstrap servers", bootstrap_servers, fix="give 'host:port', several separated by commas"
        )
        self._servers = bootstrap_servers
        return self

    def set_record_serializer(
        self, record_serializer: KafkaRecordSerializationSchema[Any]
    ) -> KafkaSinkBuilder:
        """How records become topic, key and value."""
        fix = "make one with KafkaRecordSerializationSchema.builder()...build()"
        check_instance("record serializer", record_serializer, KafkaRecordSerializationSchema, fix=fix)
        self._serializer = record_serializer
        return self

    def set_delivery_guarantee(self, delivery_guarantee: DeliveryGuarantee) -> KafkaSinkBuilder:
        """NONE, as in Flink, unless set."""
        fix = "give for example DeliveryGuarantee.EXACTLY_ONCE"
        check_instance("delivery guarantee", delivery_guarantee, DeliveryGuarantee, fix=fix)
        self._guarantee = delivery_guarantee
        return self

    def set_transactional_id_prefix(self, transactional_id_prefix: str) -> KafkaSinkBuilder:
        """Required for EXACTLY_ONCE: unique among all sinks that write to the cluster at the same time."""
        check_text(
            "transactional id prefix", transactional_id_prefix, fix="give for example 'my-application'"
        )
        self._prefix = transactional_id_prefix
        return self

    def set_property(self, key: str, value: Any) -> KafkaSinkBuilder:
        """A property of the Kafka client, in librdkafka's names."""
        self._properties.update(checked_property(key, value))
        return self

    def set_properties(self, properties: Mapping[str, Any]) -> KafkaSinkBuilder:
        """Several properties."""
        self._properties.update(checked_properties(properties))
        return self

    def build(self) -> KafkaSink[Any]:
        """The sink. Raises JobDefinitionError if something is missing, ConfigurationError for a malformed property."""
        servers = self._servers or self._properties.get("bootstrap.servers")
        if not servers:
            raise JobDefinitionError(
                "a KafkaSink needs bootstrap servers",
                fix="call set_bootstrap_servers('host:port') on its builder",
            )
        if self._serializer is None:
            raise JobDefinitionError(
                "a KafkaSink needs a record serializer",
                fix="call set_record_serializer(KafkaRecordSerializationSchema.builder()...build()) on its builder",
            )
        return KafkaSink(
            bootstrap_servers=servers,
            record_serializer=self._serializer,
            delivery_guarantee=self._guarantee,
            transactional_id_prefix=self._prefix,
            properties=self._properties,
        )


def _producer_properties(given: Mapping[str, Any], *, exactly_once: bool) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        **CONNECT_QUICKLY,
        "enable.idempotence": True,
        # The partition of a key is then the one that Java producers choose.
        "partitioner": "murmur2_random",
        "delivery.timeout.ms": DEFAULT_DELIVERY_TIMEOUT_MS,
    }
    if exactly_once:
        # librdkafka refuses records that may outlive their transaction.
        timeout_ms = parse_ms(given, "transaction.timeout.ms", DEFAULT_TRANSACTION_TIMEOUT_MS)
        defaults["delivery.timeout.ms"] = min(DEFAULT_DELIVERY_TIMEOUT_MS, timeout_ms)
    properties = {
        **defaults,
        **client_properties(given, ours=_OURS),
        "bootstrap.servers": given["bootstrap.servers"],
    }
    if "message.timeout.ms" in given:
        del properties["delivery.timeout.ms"]
    return properties


def _accepts_unverifiable(given: Mapping[str, Any]) -> bool:
    value = given.get(_UNVERIFIABLE, "fail")
    if value not in {"fail", "accept"}:
        raise ConfigurationError(f"{_UNVERIFIABLE} is {value!r}", fix="use 'fail' or 'accept'")
    return bool(value == "accept")
