"""The reader of `KafkaSource`: reads the partitions of one subtask with librdkafka.

librdkafka fetches in threads of its own into a bounded queue; `poll_next` takes what is there and never waits. Partitions
are given to it one by one (`incremental_assign`), never through a group subscription, so no rebalance can move them.
"""

from __future__ import annotations

import logging
import operator
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ...core.errors import ConnectorError
from ..base import EndOfSource, NothingAvailable, Poll, SourceBatch, SplitFinished
from .client_log import ClientLog
from .errors import connector_error, invalid_property, missing
from .partitions import KafkaRecord
from .split import KafkaPartitionSplit

_LOG: Final = logging.getLogger(__name__)
_NOTHING: Final = NothingAvailable()
_WATERMARKS_TIMEOUT_S: Final = 5.0
_PREFETCH: Final = 8
"""How many times `max_records` to take from librdkafka at once when several partitions share its queue, so that the batches
stay large after the records are sorted by partition."""


@dataclass(frozen=True)
class ReaderSettings:
    """What the reader needs of a `KafkaSource`.

    Attributes:
        client: properties for librdkafka, complete.
        whole_record: `deserialize` takes a `KafkaRecord` instead of the value's bytes.
        never_none: `deserialize` never drops a record.
        commit_group: commit offsets to the group when a checkpoint completes.
    """

    client: dict[str, Any]
    deserialize: Callable[[Any], Any]
    whole_record: bool
    never_none: bool
    commit_group: bool


class _Partition:
    """A split being read.

    Attributes:
        position: offset of the next record to return.
        next: offset of the next record to take from librdkafka.
        paused: no record is taken or returned.
        held: what was taken before it was paused, and not returned.
    """

    __slots__ = ("held", "next", "partition", "paused", "position", "split", "stop", "topic")

    def __init__(self, split: KafkaPartitionSplit) -> None:
        self.split = split
        self.topic = split.topic
        self.partition = split.partition
        self.position = self.next = split.offset
        self.stop = split.stopping_offset
        self.paused = False
        self.held: list[list[Any]] = []

    @property
    def key(self) -> tuple[str, int]:
        return self.topic, self.partition


class KafkaSourceReader:
    """A `SourceReader` of Kafka partitions. Record timestamps are Kafka's."""

    def __init__(self, settings: ReaderSettings) -> None:
        self._settings = settings
        self._convert = _converter(settings)
        self._servers = str(settings.client.get("bootstrap.servers"))
        self._consumer: Any = None
        self._log = ClientLog("source")
        self._reading: dict[tuple[str, int], _Partition] = {}
        self._seen: set[tuple[str, int]] = set()  # all partitions ever read, and their topics
        self._topics: set[str] = set()
        self._no_more = False
        # What was taken from librdkafka and not yet returned: messages of one partition, or the end of one.
        self._ready: deque[tuple[_Partition, list[Any]]] = deque()
        self._finished: deque[_Partition] = deque()
        self._to_commit: dict[int, list[KafkaPartitionSplit]] = {}
        self._read_to_end: list[KafkaPartitionSplit] = []  # finished, but not yet committed to the group
        self._refusal: ConnectorError | None = None

    def start(self) -> None:
        """Make the consumer; it connects by itself, in the background.

        Raises:
            MissingDependencyError: confluent-kafka is not installed.
            ConfigurationError: a property is unknown or malformed.
        """
        try:
            from confluent_kafka import Consumer, KafkaException
        except ImportError:
            raise missing("confluent-kafka", "reading from Kafka") from None
        callbacks = {"error_cb": self._on_error, "on_commit": _on_commit, "logger": self._log}
        try:
            self._consumer = Consumer({**self._settings.client, **callbacks})
        except KafkaException as error:
            raise invalid_property(error, of="the source") from error

    def add_splits(self, splits: Sequence[KafkaPartitionSplit]) -> None:
        """Read these too, each from its position on."""
        added = [_Partition(split) for split in splits]
        for partition in added:
            self._reading[partition.key] = partition
            self._seen.add(partition.key)
            self._topics.add(partition.topic)
        # One that starts at its end is never given to librdkafka: it has nothing to say about it.
        empty = [p for p in added if p.stop is not None and p.position >= p.stop]
        self._finished.extend(empty)
        self._assign([p for p in added if p not in empty])

    def notify_no_more_splits(self) -> None:
        """Once all splits are finished, the source is."""
        self._no_more = True

    def poll_next(self, max_records: int) -> Poll[Any]:
        """Records of one partition, in order.

        Raises:
            ConnectorError: the position is no longer there, the partition is gone, access was refused.
            Exception: whatever the user's deserializer raises, with a note naming topic, partition and offset.
        """
        if self._ready:
            return self._next_batch(max_records)
        if (finished := self._next_finished()) is not None:
            return self._finish(finished)
        if not self._reading:
            return EndOfSource() if self._no_more else _NOTHING
        self._take(max_records if len(self._reading) == 1 else max_records * _PREFETCH)
        if self._ready:
            return self._next_batch(max_records)
        if (finished := self._next_finished()) is not None:
            return self._finish(finished)
        if self._refusal is not None:
            raise self._refusal
        return _NOTHING

    def pause_or_resume_splits(
        self, splits_to_pause: Collection[str], splits_to_resume: Collection[str]
    ) -> None:
        """Let partitions go for a while, and take them again from where they were.

        Not by librdkafka's own pausing: what it had fetched would stay in its memory, and where it goes on from is its secret.
        """
        by_id = {partition.split.split_id: partition for partition in self._reading.values()}
        for split_id in splits_to_pause:
            self._pause(by_id[split_id])
        for split_id in splits_to_resume:
            self._resume(by_id[split_id])

    def _pause(self, partition: _Partition) -> None:
        partition.paused = True
        partition.held += [messages for owner, messages in self._ready if owner is partition]
        self._ready = deque(entry for entry in self._ready if entry[0] is not partition)
        if partition not in self._finished:
            self._unassign(partition)

    def _resume(self, partition: _Partition) -> None:
        partition.paused = False
        self._ready.extend((partition, messages) for messages in partition.held)
        partition.held = []
        if partition not in self._finished:
            self._assign([partition])

    def snapshot_state(self, checkpoint_id: int) -> list[KafkaPartitionSplit]:
        """The unfinished splits, each at the position after the last record returned."""
        splits = [
            KafkaPartitionSplit(p.topic, p.partition, p.position, p.stop) for p in self._reading.values()
        ]
        if self._settings.commit_group:
            self._to_commit[checkpoint_id] = [*splits, *self._read_to_end]
        return splits

    def notify_checkpoint_complete(self, checkpoint_id: int) -> None:
        """Commit the positions to the group, in the background: for monitoring, nothing depends on it."""
        splits = self._to_commit.pop(checkpoint_id, None)
        for older in [other for other in self._to_commit if other < checkpoint_id]:
            del self._to_commit[older]
        if not splits:
            return
        from confluent_kafka import KafkaException, TopicPartition

        self._read_to_end = [split for split in self._read_to_end if split not in splits]
        offsets = [TopicPartition(split.topic, split.partition, split.offset) for split in splits]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            _LOG.warning("could not commit offsets for monitoring: %s", error)

    def close(self) -> None:
        """Disconnect."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()

    def _take(self, count: int) -> None:
        """Take what librdkafka has, at most `count` messages, and sort it by partition."""
        from confluent_kafka import KafkaException

        try:
            messages = self._consumer.consume(count, 0)
        except KafkaException as error:
            raise connector_error(error, doing="reading", bootstrap_servers=self._servers) from error
        if not messages:
            return
        self._log.working()
        records = [message for message in messages if message.error() is None]
        for key, group in self._by_partition(records).items():
            partition = self._reading.get(key)
            # Messages of a partition that was let go may still have been in the queue.
            if partition is not None and not partition.paused:
                self._accept(partition, group)
        if len(records) != len(messages):
            for message in messages:
                if message.error() is not None:
                    self._on_event(message)

    def _by_partition(self, records: list[Any]) -> dict[tuple[str, int], list[Any]]:
        """The records of each partition, in their order. Asks each record for no more than is needed to tell."""
        if not records:
            return {}
        if len(self._seen) == 1:
            (only,) = self._seen
            return {only: records}
        if len(self._topics) > 1:
            return _grouped(records, lambda message: (message.topic(), message.partition()))
        (topic,) = self._topics
        groups = _grouped(records, type(records[0]).partition)
        return {(topic, partition): group for partition, group in groups.items()}

    def _accept(self, partition: _Partition, messages: list[Any]) -> None:
        stop = partition.stop
        if messages[0].offset() < partition.next:  # left in the queue from before it was paused
            messages = [message for message in messages if message.offset() >= partition.next]
            if not messages:
                return
        partition.next = messages[-1].offset() + 1
        if stop is not None and messages[-1].offset() + 1 >= stop:
            messages = [message for message in messages if message.offset() < stop]
            self._let_go(partition)
        if messages:
            self._ready.append((partition, messages))

    def _on_event(self, message: Any) -> None:
        """The end of a partition, or an error, which come in between the records."""
        error = message.error()
        partition = self._reading.get((message.topic(), message.partition()))
        if error.name() == "_PARTITION_EOF":
            # Its offset also counts what is no record (transaction markers, compacted ones), which may be the last ones.
            if partition is not None and partition.stop is not None and message.offset() >= partition.stop:
                self._let_go(partition)
            return
        if partition is not None and error.name() in {"_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE"}:
            raise self._out_of_range(partition)
        if error.retriable() and not error.fatal():
            _LOG.warning("Kafka source: %s", error)
            return
        where = f"{message.topic()}[{message.partition()}]" if message.topic() else None
        raise connector_error(error, doing="reading", bootstrap_servers=self._servers, where=where)

    def _let_go(self, partition: _Partition) -> None:
        """Read no further; the split is finished once the records taken so far are returned."""
        if partition in self._finished or partition.paused:
            return
        self._unassign(partition)
        self._finished.append(partition)

    def _next_finished(self) -> _Partition | None:
        """One that has no record left to return, taken out of the list."""
        found = next((partition for partition in self._finished if not partition.held), None)
        if found is not None:
            self._finished.remove(found)
        return found

    def _assign(self, partitions: Sequence[_Partition]) -> None:
        from confluent_kafka import TopicPartition

        self._consumer.incremental_assign([TopicPartition(p.topic, p.partition, p.next) for p in partitions])

    def _unassign(self, partition: _Partition) -> None:
        from confluent_kafka import TopicPartition

        self._consumer.incremental_unassign([TopicPartition(partition.topic, partition.partition)])

    def _finish(self, partition: _Partition) -> SplitFinished:
        del self._reading[partition.key]
        if self._settings.commit_group:
            end = max(partition.position, partition.stop or 0)  # the last offsets may be no records
            self._read_to_end.append(
                KafkaPartitionSplit(partition.topic, partition.partition, end, partition.stop)
            )
        return SplitFinished(partition.split.split_id)

    def _next_batch(self, max_records: int) -> Poll[Any]:
        partition, messages = self._ready.popleft()
        if len(messages) > max_records:
            self._ready.appendleft((partition, messages[max_records:]))
            messages = messages[:max_records]
        values, timestamps = self._convert(messages)
        partition.position = messages[-1].offset() + 1
        if not values:  # all of them dropped
            return NothingAvailable(retry_in_ms=0)
        return SourceBatch(partition.split.split_id, values, timestamps)

    def _out_of_range(self, partition: _Partition) -> ConnectorError:
        from confluent_kafka import KafkaException, TopicPartition

        where = f"{partition.topic}[{partition.partition}]"
        try:
            low, high = self._consumer.get_watermark_offsets(
                TopicPartition(partition.topic, partition.partition), timeout=_WATERMARKS_TIMEOUT_S
            )
            available = (
                f"there are the offsets {low} to {high - 1}" if high > low else f"it is empty (next: {high})"
            )
        except KafkaException as error:
            available = f"its offsets could not be read: {error}"
        return ConnectorError(
            f"Kafka: the records from offset {partition.position} of {where} on are not there: {available}",
            where=where,
            fix="they were deleted by the topic's retention before they were read, or the topic was made anew. To go on "
            "with what is there, and without what is missing, set the source property auto.offset.reset to "
            "'earliest' or 'latest'; or start without the checkpoint",
        )

    def _on_error(self, error: Any) -> None:
        if error.fatal() or error.name() in {"_AUTHENTICATION", "_SSL"}:
            self._refusal = connector_error(error, doing="reading", bootstrap_servers=self._servers)
        elif error.name() == "_ALL_BROKERS_DOWN":
            self._log.all_brokers_down()


def _grouped(records: list[Any], key_of: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    groups: dict[Any, list[Any]] = {}
    for record in records:
        key = key_of(record)
        if key in groups:
            groups[key].append(record)
        else:
            groups[key] = [record]
    return groups


def _on_commit(error: Any, _partitions: Any) -> None:
    if error is not None:
        _LOG.warning("could not commit offsets for monitoring: %s", error)


def _converter(settings: ReaderSettings) -> Callable[[list[Any]], tuple[list[Any], list[int]]]:
    """From messages to records and timestamps; a record deserialized to None is dropped."""
    deserialize, whole, never_none = settings.deserialize, settings.whole_record, settings.never_none

    # HOT: 0.9 M records a second with fetching, text and timestamps (2026-11, two cores, confluent-kafka 2.16)
    def convert(messages: list[Any]) -> tuple[list[Any], list[int]]:
        timestamps = [message.timestamp()[1] for message in messages]
        left = iter(
            messages
        )  # knows how many are left, so a failing record is found without counting the others
        try:
            if whole:
                values = [deserialize(_record(message)) for message in left]
            else:
                values = [deserialize(message.value()) for message in left]
        except Exception as error:
            _name_the_record(error, messages[len(messages) - operator.length_hint(left) - 1])
            raise
        if never_none or not any(value is None for value in values):
            return values, timestamps
        kept = [(value, time) for value, time in zip(values, timestamps, strict=True) if value is not None]
        return [value for value, _ in kept], [time for _, time in kept]

    return convert


def _record(message: Any) -> KafkaRecord:
    return KafkaRecord(
        topic=message.topic(),
        partition=message.partition(),
        offset=message.offset(),
        timestamp=message.timestamp()[1],
        key=message.key(),
        value=message.value(),
        headers=tuple(message.headers() or ()),
    )


def _name_the_record(error: Exception, message: Any) -> None:
    """Add to the user's exception which record it was."""
    value = message.value()
    text = f"{value!r:.200}" if value is not None else "a tombstone (its value is null)"
    place = f"{message.topic()}[{message.partition()}] at offset {message.offset()}"
    error.add_note(f"while deserializing the Kafka record {place}: {text}")
