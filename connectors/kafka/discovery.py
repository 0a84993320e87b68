"""What the source's enumerator asks the cluster: which partitions there are, and which offsets. Blocking; for helper threads."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from ...core.errors import ConnectorError
from .client_log import ClientLog
from .errors import connector_error, invalid_property, kafka_error_of, missing
from .offsets import OffsetLookup
from .partitions import KafkaTopicPartition

# A partition that was just made, or whose leader just died, has no leader for a moment.
_ELECTING: Final = {
    "NOT_LEADER_FOR_PARTITION",
    "LEADER_NOT_AVAILABLE",
    "UNKNOWN_TOPIC_OR_PART",
    "UNKNOWN_LEADER_EPOCH",
}
_LEADER_PAUSE_S: Final = 0.1


@dataclass(frozen=True)
class Subscription:
    """Which partitions to read: exactly one of the three is set.

    Attributes:
        pattern: a regular expression that the whole topic name must match.
    """

    topics: tuple[str, ...] = ()
    pattern: str | None = None
    partitions: tuple[KafkaTopicPartition, ...] = ()

    def describe(self) -> str:
        """In words."""
        if self.pattern is not None:
            return f"topics matching {self.pattern!r}"
        if self.partitions:
            return "partitions " + ", ".join(map(str, self.partitions))
        return "topics " + ", ".join(self.topics)


class KafkaCluster(OffsetLookup):
    """A view of the cluster through librdkafka's admin client. Connects at the first question."""

    def __init__(self, client: dict[str, Any], *, timeout_ms: int, read_committed: bool) -> None:
        """`client`: properties for librdkafka. `timeout_ms`: how long one question may take."""
        self._properties = client
        self._servers = str(client.get("bootstrap.servers"))
        self._timeout_s = timeout_ms / 1000
        self._read_committed = read_committed
        self._admin: Any = None
        self._refusal: Any = None  # the KafkaError of a failed TLS or SASL handshake

    def partitions(self, subscription: Subscription) -> list[KafkaTopicPartition]:
        """The partitions there are now, sorted.

        Raises:
            ConnectorError: a topic or partition named in the subscription does not exist; no broker answered; no access.
        """
        if subscription.pattern is not None:
            matches = re.compile(subscription.pattern).fullmatch
            found = self._metadata(None)
            counts = {
                name: len(topic.partitions)
                for name, topic in found.items()
                if topic.error is None and matches(name)
            }
        else:
            wanted = subscription.topics or tuple({partition.topic for partition in subscription.partitions})
            counts = self._counts(wanted)
        there = sorted(KafkaTopicPartition(topic, i) for topic, count in counts.items() for i in range(count))
        if not subscription.partitions:
            return there
        for partition in subscription.partitions:
            if partition not in there:
                raise ConnectorError(
                    f"Kafka: there is no partition {partition}",
                    where=f"topic '{partition.topic}' has {counts[partition.topic]} partitions",
                    fix="correct set_partitions(...)",
                )
        return sorted(subscription.partitions)

    def earliest(self, partitions: Sequence[KafkaTopicPartition]) -> dict[KafkaTopicPartition, int]:
        """The first offset that is still there."""
        return self._list_offsets(partitions, _spec("earliest"))

    def latest(self, partitions: Sequence[KafkaTopicPartition]) -> dict[KafkaTopicPartition, int]:
        """One after the last offset; with read_committed, the last stable offset."""
        return self._list_offsets(partitions, _spec("latest"))

    def at_timestamp(
        self, partitions: Sequence[KafkaTopicPartition], timestamp_ms: int
    ) -> dict[KafkaTopicPartition, int]:
        """The first offset at or after the timestamp; the end where there is none."""
        found = self._list_offsets(partitions, _spec("for_timestamp", timestamp_ms))
        beyond = [partition for partition in partitions if found[partition] < 0]
        return {**found, **self.latest(beyond)} if beyond else found

    def committed(self, partitions: Sequence[KafkaTopicPartition]) -> dict[KafkaTopicPartition, int]:
        """What the group committed; partitions without are left out. Empty without a group id."""
        group = self._properties.get("group.id")
        if not group:
            return {}
        from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

        admin = self._connected()
        asked = ConsumerGroupTopicPartitions(group, [TopicPartition(*partition) for partition in partitions])
        (future,) = admin.list_consumer_group_offsets([asked], request_timeout=self._timeout_s).values()
        answer = self._result(future, f"asking for the offsets of group '{group}'")
        return {
            KafkaTopicPartition(found.topic, found.partition): found.offset
            for found in answer.topic_partitions
            if found.offset >= 0
        }

    def close(self) -> None:
        """Disconnect."""
        self._admin = None

    def _counts(self, topics: Sequence[str]) -> dict[str, int]:
        """Number of partitions of each topic. Never creates one, also where brokers create topics on demand."""
        from confluent_kafka import TopicCollection

        futures = self._connected().describe_topics(
            TopicCollection(list(topics)), request_timeout=self._timeout_s
        )
        return {
            name: len(self._result(future, f"reading topic '{name}'", f"topic '{name}'").partitions)
            for name, future in futures.items()
        }

    def _metadata(self, topic: str | None) -> dict[str, Any]:
        from confluent_kafka import KafkaException

        try:
            found: dict[str, Any] = self._connected().list_topics(topic, timeout=self._timeout_s).topics
        except KafkaException as error:
            raise self._failed(error, "listing topics") from error
        return found

    def _list_offsets(
        self, partitions: Sequence[KafkaTopicPartition], spec: Any
    ) -> dict[KafkaTopicPartition, int]:
        found: dict[KafkaTopicPartition, int] = {}
        left = list(partitions)
        pause = threading.Event()
        tries = max(1, int(self._timeout_s / _LEADER_PAUSE_S))
        for tried in range(1, tries + 1):
            electing = []
            for partition, future in self._ask_offsets(left, spec).items():
                error = future.exception()
                if error is not None and tried < tries and kafka_error_of(error).name() in _ELECTING:
                    electing.append(partition)
                else:
                    found[partition] = self._result(future, "asking for offsets", str(partition)).offset
            left = electing
            if not left:
                break
            pause.wait(_LEADER_PAUSE_S)
        return found

    def _ask_offsets(
        self, partitions: Sequence[KafkaTopicPartition], spec: Any
    ) -> dict[KafkaTopicPartition, Future[Any]]:
        from confluent_kafka import IsolationLevel, TopicPartition

        if not partitions:
            return {}
        level = IsolationLevel.READ_COMMITTED if self._read_committed else IsolationLevel.READ_UNCOMMITTED
        futures = self._connected().list_offsets(
            {TopicPartition(*partition): spec for partition in partitions},
            isolation_level=level,
            request_timeout=self._timeout_s,
        )
        return {
            KafkaTopicPartition(asked.topic, asked.partition): future for asked, future in futures.items()
        }

    def _connected(self) -> Any:
        if self._admin is not None:
            return self._admin
        try:
            from confluent_kafka import KafkaException
            from confluent_kafka.admin import AdminClient
        except ImportError:
            raise missing("confluent-kafka", "reading from Kafka") from None
        properties = {name: value for name, value in self._properties.items() if name not in _CONSUMER_ONLY}
        try:
            settings: Any = {
                **properties,
                "logger": ClientLog("source"),
                "error_cb": self._on_error,
            }  # callbacks are not in its types
            self._admin = AdminClient(settings)
        except KafkaException as error:
            raise invalid_property(error, of="the source") from error
        return self._admin

    def _result(self, future: Future[Any], doing: str, where: str | None = None) -> Any:
        from confluent_kafka import KafkaException

        try:
            return future.result()
        except KafkaException as error:
            raise self._failed(error, doing, where) from error

    def _failed(self, error: Any, doing: str, where: str | None = None) -> ConnectorError:
        # A failed handshake looks like a broker that does not answer, but for what the callback was told.
        self._admin.poll(0)
        return connector_error(
            self._refusal or error, doing=doing, bootstrap_servers=self._servers, where=where
        )

    def _on_error(self, error: Any) -> None:
        if error.name() in {"_AUTHENTICATION", "_SSL"}:
            self._refusal = error


def _spec(name: str, *args: int) -> Any:
    """An `OffsetSpec`. The client's type information neither exports the class nor types its methods."""
    from confluent_kafka import admin

    specs: Any = vars(admin)["OffsetSpec"]
    return getattr(specs, name)(*args)


# The admin client warns about properties that only consumers have.
_CONSUMER_ONLY: Final = frozenset(
    {
        "auto.offset.reset",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.partition.eof",
        "fetch.error.backoff.ms",
        "fetch.max.bytes",
        "fetch.message.max.bytes",
        "fetch.min.bytes",
        "fetch.queue.backoff.ms",
        "fetch.wait.max.ms",
        "group.id",
        "group.instance.id",
        "isolation.level",
        "max.partition.fetch.bytes",
        "max.poll.interval.ms",
        "queued.max.messages.kbytes",
        "queued.min.messages",
        "session.timeout.ms",
        "heartbeat.interval.ms",
        "check.crcs",
    }
)
