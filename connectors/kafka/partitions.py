"""The small values of the Kafka connector: topic partitions, records, guarantees."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

import msgspec

from ...core.arguments import check_int, check_text
from ...core.errors import JobDefinitionError


class KafkaTopicPartition(NamedTuple):
    """A partition of a topic.

    >>> str(KafkaTopicPartition("orders", 3))
    'orders[3]'
    """

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]"


def checked_partition(given: Any) -> KafkaTopicPartition:
    """The partition that is given as one, or as a pair.

    Raises:
        JobDefinitionError: it is none.
    """
    fix = "give for example KafkaTopicPartition('orders', 0)"
    if not isinstance(given, tuple) or len(given) != len(KafkaTopicPartition._fields):
        raise JobDefinitionError(f"{given!r} is no partition of a topic", fix=fix)
    topic, partition = given
    check_text("topic of a partition", topic, fix=fix)
    check_int("number of a partition", partition, least=0, fix=fix)
    return KafkaTopicPartition(topic, partition)


class KafkaRecord(msgspec.Struct, frozen=True, gc=False):
    """A whole Kafka record, as a deserializer given to `KafkaSourceBuilder.set_deserializer` sees it.

    Attributes:
        timestamp: ms since the epoch, or -1 where the topic has none.
        headers: name and value of each header, in order; a name may come more than once.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class KafkaOffsetResetStrategy(enum.Enum):
    """Where to start when there is no committed offset."""

    EARLIEST = "earliest"
    LATEST = "latest"
    NONE = "none"


class DeliveryGuarantee(enum.Enum):
    """What a sink promises about records across failures."""

    NONE = "none"
    """Nothing: records still in the client's buffer when a worker dies are lost, and replays write duplicates."""

    AT_LEAST_ONCE = "at-least-once"
    """No record is lost; after a failure some are written twice."""

    EXACTLY_ONCE = "exactly-once"
    """A consumer with `isolation.level=read_committed` sees every record once; it sees them when the checkpoint
    that covers them completes."""
