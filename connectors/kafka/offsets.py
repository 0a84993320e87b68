"""Where to start and where to stop: descriptions of offsets, and their resolution by the brokers."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ...core.arguments import check_instance, check_int
from ...core.errors import ConnectorError
from .partitions import KafkaOffsetResetStrategy, KafkaTopicPartition, checked_partition


class OffsetsKind(enum.Enum):
    """How offsets are found."""

    EARLIEST = "earliest"
    LATEST = "latest"
    COMMITTED = "committed"
    TIMESTAMP = "timestamp"
    EXPLICIT = "explicit"


@dataclass(frozen=True)
class KafkaOffsetsInitializer:
    """The offset of each partition to start at, or (exclusively) to stop at. Made by its static methods, as in PyFlink.

    It counts for partitions that a job has never read; after that their position is in the checkpoint. Offsets are
    resolved once, when the job starts, so "latest" means the end of the partition at that moment.

    >>> KafkaOffsetsInitializer.offsets({KafkaTopicPartition("orders", 0): 42}).describe()
    'explicit offsets for 1 partitions, otherwise committed ones or earliest'
    """

    kind: OffsetsKind
    timestamp_ms: int = -1
    explicit: Mapping[KafkaTopicPartition, int] = field(default_factory=dict)
    reset: KafkaOffsetResetStrategy = KafkaOffsetResetStrategy.NONE

    @staticmethod
    def earliest() -> KafkaOffsetsInitializer:
        """The first record that is still there."""
        return KafkaOffsetsInitializer(OffsetsKind.EARLIEST)

    @staticmethod
    def latest() -> KafkaOffsetsInitializer:
        """After the last record (with `isolation.level=read_committed`: the last one decided)."""
        return KafkaOffsetsInitializer(OffsetsKind.LATEST)

    @staticmethod
    def committed_offsets(
        offset_reset_strategy: KafkaOffsetResetStrategy = KafkaOffsetResetStrategy.NONE,
    ) -> KafkaOffsetsInitializer:
        """What the consumer group committed; where it did not, `offset_reset_strategy` (NONE: an error)."""
        _check_reset(offset_reset_strategy)
        return KafkaOffsetsInitializer(OffsetsKind.COMMITTED, reset=offset_reset_strategy)

    @staticmethod
    def timestamp(timestamp: int) -> KafkaOffsetsInitializer:
        """The first record with at least this Kafka timestamp (ms since the epoch); the end if there is none."""
        check_int("timestamp of an offset", timestamp, least=0, fix="give milliseconds since the epoch")
        return KafkaOffsetsInitializer(OffsetsKind.TIMESTAMP, timestamp_ms=timestamp)

    @staticmethod
    def offsets(
        offsets: Mapping[KafkaTopicPartition, int],
        offset_reset_strategy: KafkaOffsetResetStrategy = KafkaOffsetResetStrategy.EARLIEST,
    ) -> KafkaOffsetsInitializer:
        """These offsets; for other partitions the group's committed ones, then `offset_reset_strategy`."""
        _check_reset(offset_reset_strategy)
        fix = "give for example {KafkaTopicPartition('orders', 0): 42}"
        check_instance("offsets", offsets, Mapping, fix=fix)
        explicit = {checked_partition(partition): offset for partition, offset in offsets.items()}
        for partition, offset in explicit.items():
            check_int(f"offset of {partition}", offset, least=0, fix=fix)
        return KafkaOffsetsInitializer(OffsetsKind.EXPLICIT, explicit=explicit, reset=offset_reset_strategy)

    def describe(self) -> str:
        """In words."""
        if self.kind is OffsetsKind.EXPLICIT:
            return f"explicit offsets for {len(self.explicit)} partitions, otherwise committed ones or {self.reset.value}"
        if self.kind is OffsetsKind.TIMESTAMP:
            return f"timestamp {self.timestamp_ms} ms"
        return f"{self.kind.value} offsets"


def _check_reset(strategy: Any) -> None:
    fix = "give for example KafkaOffsetResetStrategy.EARLIEST"
    check_instance("offset reset strategy", strategy, KafkaOffsetResetStrategy, fix=fix)


class OffsetLookup(Protocol):
    """What `resolve` asks of a cluster; the Kafka one is in `discovery.py`. All methods may block."""

    def earliest(self, partitions: Sequence[KafkaTopicPartition]) -> dict[KafkaTopicPartition, int]:
        """The first offset that is still there."""

    def latest(self, partitions: Sequence[KafkaTopicPartition]) -> dict[KafkaTopicPartition, int]:
        """One after the last offset."""

    def at_timestamp(
        self, partitions: Sequence[KafkaTopicPartition], timestamp_ms: int
    ) -> dict[KafkaTopicPartition, int]:
        """The first offset at or after the timestamp; the end where there is none."""

    def committed(self, partitions: Sequence[KafkaTopicPartition]) -> dict[KafkaTopicPartition, int]:
        """What the group committed; partitions without are left out. Empty without a group id."""


def resolve(
    initializer: KafkaOffsetsInitializer, partitions: Sequence[KafkaTopicPartition], lookup: OffsetLookup
) -> dict[KafkaTopicPartition, int]:
    """The offset of each of `partitions`.

    Raises:
        ConnectorError: a partition has no committed offset and the reset strategy is NONE, or the cluster failed.
    """
    match initializer.kind:
        case OffsetsKind.EARLIEST:
            return lookup.earliest(partitions)
        case OffsetsKind.LATEST:
            return lookup.latest(partitions)
        case OffsetsKind.TIMESTAMP:
            return lookup.at_timestamp(partitions, initializer.timestamp_ms)
        case OffsetsKind.COMMITTED | OffsetsKind.EXPLICIT:
            return _committed_or_reset(initializer, partitions, lookup)


def _committed_or_reset(
    initializer: KafkaOffsetsInitializer, partitions: Sequence[KafkaTopicPartition], lookup: OffsetLookup
) -> dict[KafkaTopicPartition, int]:
    found = {tp: initializer.explicit[tp] for tp in partitions if tp in initializer.explicit}
    left = [tp for tp in partitions if tp not in found]
    if left:
        found.update(lookup.committed(left))
        left = [tp for tp in left if tp not in found]
    if not left:
        return found
    match initializer.reset:
        case KafkaOffsetResetStrategy.EARLIEST:
            found.update(lookup.earliest(left))
        case KafkaOffsetResetStrategy.LATEST:
            found.update(lookup.latest(left))
        case KafkaOffsetResetStrategy.NONE:
            names = ", ".join(map(str, left[:5])) + (", ..." if len(left) > 5 else "")
            raise ConnectorError(
                f"Kafka: no committed offset for {names}",
                where=f"the source's {initializer.describe()}, reset strategy NONE",
                fix="commit offsets for the group first, or pass KafkaOffsetResetStrategy.EARLIEST or LATEST",
            )
    return found
