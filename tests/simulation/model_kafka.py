"""A Kafka as small as what a job relies on: logs that are read by offset, and transactions that outlive their producer.

Everything that reaches it may kill the process that called it, before or after the effect, as the real thing may.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from millstream.connectors.base import (
    Boundedness,
    EndOfSource,
    NothingAvailable,
    SinkWriterContext,
    SourceBatch,
    SourceReaderContext,
    SplitEnumeratorContext,
    SplitFinished,
)
from millstream.connectors.static_splits import StaticSplitEnumerator, deal_out
from millstream.core.clock import Clock
from millstream.core.errors import ConnectorError
from millstream.testing import living


class Violation(AssertionError):
    """The output is wrong, or on its way to be."""


class State(enum.Enum):
    OPEN = "records may be added"
    COMMITTED = "its records are visible"
    ABORTED = "its records are gone"


@dataclass(slots=True)
class Transaction:
    """Of one writer between two barriers."""

    number: int
    subtask: int
    attempt: int
    state: State = State.OPEN
    records: list[Any] = field(default_factory=list)


class ModelKafka:
    """The broker of one simulated world.

    Args:
        partitions: of the input: (value, timestamp in ms) in the order of offsets.
        wanted: what a right job writes, each record as often as it is in here.
        touch: called with a place's name before and after each effect; may raise what ends the calling process, or
            ConnectorError.
        pace_ms: how long after the one before it a record comes into its partition.
    """

    def __init__(
        self,
        partitions: Sequence[Sequence[tuple[Any, int]]],
        wanted: Counter[Any],
        touch: Callable[[str], None],
        clock: Clock,
        pace_ms: int,
    ) -> None:
        self.partitions = partitions
        self.wanted = wanted
        self.touch = touch
        self.clock = clock
        self.pace_ms = pace_ms
        self.visible: Counter[Any] = Counter()
        self.violations: list[
            str
        ] = []  # to raise them in a worker would be one more failure that a job bears
        self.transactions: dict[int, Transaction] = {}
        self.number = living.register(self)

    def __reduce__(self) -> tuple[object, ...]:
        return living.find, (self.number,)

    def high_watermark(self, partition: int) -> int:
        """The offset behind the last record that has come."""
        length = len(self.partitions[partition])
        return length if self.pace_ms == 0 else min(length, self.clock.monotonic_ms() // self.pace_ms)

    def begin(self, subtask: int, attempt: int) -> Transaction:
        """A new transaction."""
        number = len(self.transactions)
        self.transactions[number] = Transaction(number, subtask, attempt)
        return self.transactions[number]

    def abort_lingering(self, context: SinkWriterContext[int]) -> None:
        """What lost attempts left open, as far as it is this subtask's to clear up, and is not being committed."""
        for transaction in self.transactions.values():
            mine = transaction.subtask % context.parallelism == context.subtask
            lost = transaction.attempt < context.attempt and transaction.state is State.OPEN
            if mine and lost and transaction.number not in context.pending_committables:
                self.touch("abort")
                transaction.state = State.ABORTED

    def commit(self, number: int) -> None:
        """Make it visible, once."""
        transaction = self.transactions[number]
        if transaction.state is State.ABORTED:
            self.violations.append(
                f"transaction {number} was aborted and then committed: {transaction.records} are lost"
            )
        self.touch("commit")
        if transaction.state is State.OPEN:
            transaction.state = State.COMMITTED
            self.visible.update(transaction.records)
            too_many = self.visible - self.wanted
            if too_many:
                self.violations.append(f"written too often, or never wanted: {dict(too_many)}")
        self.touch("committed")


@dataclass(frozen=True, slots=True)
class Partition:
    """From `offset` on."""

    number: int
    offset: int = 0

    @property
    def split_id(self) -> str:
        return f"partition-{self.number}"


class ModelKafkaSource:
    """All partitions, to their ends."""

    boundedness = Boundedness.BOUNDED
    gives_timestamps = True

    def __init__(self, kafka: ModelKafka, partitions: Sequence[int]) -> None:
        self._kafka = kafka
        self._partitions = tuple(partitions)

    def create_enumerator(
        self, context: SplitEnumeratorContext[Partition], restored: bytes | None
    ) -> StaticSplitEnumerator[Partition]:
        return StaticSplitEnumerator(
            context,
            restored,
            find=lambda: [Partition(number) for number in self._partitions],
            share=deal_out,
            encode=self.encode_split,
            decode=self.decode_split,
        )

    def create_reader(self, context: SourceReaderContext) -> ModelKafkaReader:
        return ModelKafkaReader(self._kafka)

    def encode_split(self, split: Partition) -> bytes:
        return msgspec.msgpack.encode([split.number, split.offset])

    def decode_split(self, data: bytes) -> Partition:
        return Partition(*msgspec.msgpack.decode(data))


class ModelKafkaReader:
    """Reads its partitions in turn, a few records at a time, with gaps."""

    def __init__(self, kafka: ModelKafka) -> None:
        self._kafka = kafka
        self._splits: list[Partition] = []
        self._no_more = False

    def start(self) -> None:
        self._kafka.touch("connect")

    def add_splits(self, splits: Sequence[Partition]) -> None:
        self._splits += splits

    def notify_no_more_splits(self) -> None:
        self._no_more = True

    def poll_next(self, max_records: int) -> Any:
        if not self._splits:
            return EndOfSource() if self._no_more else NothingAvailable(1)
        self._kafka.touch("fetch")
        split = self._splits.pop(0)
        log = self._kafka.partitions[split.number]
        if split.offset == len(log):
            return SplitFinished(split.split_id)
        high = self._kafka.high_watermark(split.number)
        records = log[
            split.offset : min(high, split.offset + max_records, split.offset + 1 + split.offset % 5)
        ]
        self._splits.append(replace(split, offset=split.offset + len(records)))
        if not records:
            return NothingAvailable(1)
        return SourceBatch(split.split_id, [value for value, _ in records], [time for _, time in records])

    def snapshot_state(self, checkpoint_id: int) -> list[Partition]:
        return list(self._splits)

    def notify_checkpoint_complete(self, checkpoint_id: int) -> None:
        pass

    def close(self) -> None:
        pass


class ModelKafkaSink:
    """Exactly once: a transaction for each subtask and checkpoint. Committables are numbers of transactions."""

    def __init__(self, kafka: ModelKafka) -> None:
        self._kafka = kafka

    def create_writer(self, context: SinkWriterContext[int]) -> ModelKafkaWriter:
        self._kafka.touch("connect")
        self._kafka.abort_lingering(context)
        return ModelKafkaWriter(self._kafka, context)

    def create_committer(self) -> ModelKafkaCommitter:
        return ModelKafkaCommitter(self._kafka)

    def encode_committable(self, committable: int) -> bytes:
        return msgspec.msgpack.encode(committable)

    def decode_committable(self, data: bytes) -> int:
        return int(msgspec.msgpack.decode(data))


class ModelKafkaWriter:
    """The writer of `ModelKafkaSink`."""

    def __init__(self, kafka: ModelKafka, context: SinkWriterContext[int]) -> None:
        self._kafka = kafka
        self._subtask = context.subtask
        self._attempt = context.attempt
        self._transaction: Transaction | None = None

    def write_batch(self, values: Sequence[Any], timestamps: Sequence[int] | None) -> None:
        self._kafka.touch("produce")
        if self._transaction is None:
            self._transaction = self._kafka.begin(self._subtask, self._attempt)
        if self._transaction.state is not State.OPEN:
            message = f"transaction {self._transaction.number} is {self._transaction.state.name}: fenced"
            raise ConnectorError(message, where="model Kafka", retryable=True)
        self._transaction.records += values

    def flush(self, end_of_input: bool) -> None:
        self._kafka.touch("flush")

    def prepare_commit(self, checkpoint_id: int) -> list[int]:
        transaction, self._transaction = self._transaction, None
        return [] if transaction is None else [transaction.number]

    def close(self) -> None:
        if self._transaction is not None and self._transaction.state is State.OPEN:
            self._kafka.touch("close")
            self._transaction.state = State.ABORTED


class ModelKafkaCommitter:
    """The committer of `ModelKafkaSink`."""

    def __init__(self, kafka: ModelKafka) -> None:
        self._kafka = kafka

    def commit(self, committables: Sequence[int]) -> None:
        for number in committables:
            self._kafka.commit(number)

    def close(self) -> None:
        pass
