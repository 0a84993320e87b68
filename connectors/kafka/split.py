"""A Kafka partition from one offset to another: the split of `KafkaSource`."""

from __future__ import annotations

from typing import Any, Final

import msgpack
import msgspec

from ...core.errors import CheckpointError, CheckpointFailureReason
from .partitions import KafkaTopicPartition

_VERSION: Final = 1


class KafkaPartitionSplit(msgspec.Struct, frozen=True):
    """The records of one partition with `offset <= record offset < stopping_offset`.

    Attributes:
        offset: of the next record to read; a real offset, never a logical one such as "earliest".
        stopping_offset: exclusive; None for a split that never ends.
    """

    topic: str
    partition: int
    offset: int
    stopping_offset: int | None = None

    @property
    def split_id(self) -> str:
        """`topic-partition`, as in Flink. The partition is what follows the last dash, so no two are the same."""
        return f"{self.topic}-{self.partition}"

    @property
    def topic_partition(self) -> KafkaTopicPartition:
        """Where it is, without the position."""
        return KafkaTopicPartition(self.topic, self.partition)


def encode_split(split: KafkaPartitionSplit) -> bytes:
    """Versioned msgpack of `split`."""
    encoded: bytes = msgpack.packb(
        [_VERSION, split.topic, split.partition, split.offset, split.stopping_offset]
    )
    return encoded


def decode_split(data: bytes) -> KafkaPartitionSplit:
    """The inverse of `encode_split`.

    Raises:
        CheckpointError: written by a later release.
    """
    version, *fields = msgpack.unpackb(data)
    check_version(version, _VERSION, "a Kafka split")
    return KafkaPartitionSplit(*fields)


def check_version(version: Any, known: int, what: str) -> None:
    """Refuse what a later release wrote. `version` is whatever the bytes said.

    Raises:
        CheckpointError: it is not `known`.
    """
    if version != known:
        raise CheckpointError(
            CheckpointFailureReason.INCOMPATIBLE,
            f"{what} in the checkpoint has format version {version!r}; this release reads version {known}",
            fix="restore with the release that wrote the checkpoint, or a later one",
        )
