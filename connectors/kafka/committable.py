"""A pre-committed Kafka transaction, and the decision what became of it.

A transaction is identified by transactional id, producer id, epoch AND the time at which the broker says it started.
The first three are not enough: librdkafka keeps producer id and epoch for all transactions of a producer, so a blind
`EndTxn(commit)` repeated after the id was taken into use again commits the LATER transaction, half written as it is
(observed on Apache Kafka 4.4.0). So before it commits for a producer that is gone, the committer asks the broker what the id
is doing (DescribeTransactions, Kafka 3.0 and later) and `judge` decides:

| the broker says about the id                          | it means                                     | verdict    |
|-------------------------------------------------------|----------------------------------------------|------------|
| Ongoing, our producer, epoch and start                | prepared, nobody decided yet                 | COMMIT     |
| PrepareCommit or CompleteCommit, our start            | committed (the markers follow by themselves) | COMMITTED  |
| PrepareAbort, CompleteAbort, PrepareEpochFence,       | the broker timed it out, or someone aborted  | LOST       |
|   our start                                           |   it                                         |            |
| our producer and epoch, later start                   | its own producer went on, which it does only | COMMITTED  |
|                                                       |   after a commit                             |            |
| the same, and Ongoing                                 | as above, and a lost attempt's leftover      | COMMITTED_ |
|                                                       |   blocks the last stable offset: abort it    | LEFTOVER   |
| a later epoch, another producer id, or id unknown     | taken over by another run, or expired: the   | UNKNOWN    |
|                                                       |   broker forgot what became of ours          |            |

The start survives in the broker until the id is taken over (`InitProducerId` resets it) and is the same before and after the
transaction ended. What EndTxn itself answers, for the record, in versions up to 4 (the ones used here; version 5 would
bump the epoch): 0 for Ongoing, PrepareCommit and CompleteCommit of our epoch; 51 while markers are being written; 48 after an
abort by the same epoch; 90 or 47 after a fence (a time-out fences); 49 for an unknown id. Version 5 answers 48 when the
transaction was committed with an older version: one more reason not to guess from error codes.

A writer never lets an id be used again before a LATER checkpoint is complete (`producer_pool.py`), and no attempt touches
the ids of the committables it was restored with. So UNKNOWN can only be met when somebody restores a checkpoint or savepoint
that is not the newest; a person decides then (`transaction.unverifiable`).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgpack

from .split import check_version

if TYPE_CHECKING:
    from .producer_pool import TransactionalProducer

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class KafkaCommittable:
    """A transaction that holds everything one subtask wrote between two barriers, flushed but not committed.

    Attributes:
        started_ms: when it began, by the broker's clock; part of its identity.
        checkpoint_id: the checkpoint whose barrier ended it.
        records: how many records it holds, for messages.
        topics: which topics it wrote to, for messages.
        timeout_ms: after this time without being ended, the broker aborts it.
        producer: the live producer in the process that wrote it; never encoded.
    """

    transactional_id: str
    producer_id: int
    epoch: int
    started_ms: int
    checkpoint_id: int
    records: int
    topics: tuple[str, ...]
    timeout_ms: int
    producer: TransactionalProducer | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return (
            f"transaction '{self.transactional_id}' (producer {self.producer_id}, epoch {self.epoch}) with "
            f"{self.records} records of checkpoint {self.checkpoint_id} for {', '.join(self.topics)}"
        )


def encode_committable(committable: KafkaCommittable) -> bytes:
    """Versioned msgpack of all fields but the live producer."""
    encoded: bytes = msgpack.packb(
        [
            _VERSION,
            committable.transactional_id,
            committable.producer_id,
            committable.epoch,
            committable.started_ms,
            committable.checkpoint_id,
            committable.records,
            committable.topics,
            committable.timeout_ms,
        ]
    )
    return encoded


def decode_committable(data: bytes) -> KafkaCommittable:
    """The inverse of `encode_committable`.

    Raises:
        CheckpointError: written by a later release.
    """
    version, tid, producer_id, epoch, started_ms, checkpoint_id, records, topics, timeout_ms = (
        msgpack.unpackb(data)
    )
    check_version(version, _VERSION, "a Kafka transaction")
    return KafkaCommittable(
        tid, producer_id, epoch, started_ms, checkpoint_id, records, tuple(topics), timeout_ms
    )


@dataclass(frozen=True, slots=True)
class TransactionDescription:
    """What a transaction coordinator says about a transactional id.

    Attributes:
        state: Kafka's own name of it, e.g. "Ongoing".
        started_ms: when its latest transaction began; -1 if there was none since the id was taken into use.
    """

    state: str
    producer_id: int
    epoch: int
    started_ms: int


@dataclass(frozen=True, slots=True)
class OpenTransaction:
    """What a partition says of a transaction that no marker has ended yet.

    Attributes:
        coordinator_epoch: of the last marker of this producer in the partition; -1 if there was none.
    """

    topic: str
    partition: int
    producer_id: int
    epoch: int
    coordinator_epoch: int


def markers_lost(
    committable: KafkaCommittable, found: TransactionDescription | None, still_open: Sequence[OpenTransaction]
) -> list[OpenTransaction]:
    """The partitions in which a committed transaction is open all the same, because a broker lost their markers.

    A coordinator says CompleteCommit when every partition has its marker, or is gone. One that starts again takes a partition
    that has no leader yet for one that is gone (Apache Kafka 4.4.0, `getPartitionLeaderEndpoint`), so the marker is never written and the
    partition's last stable offset stands still for ever. That happens to a transaction that was PrepareCommit when its
    broker died. Only what the coordinator says of this very transaction counts: nothing later may have begun under its id.
    """
    if (
        found is None
        or found.state != "CompleteCommit"
        or (found.producer_id, found.epoch, found.started_ms)
        != (committable.producer_id, committable.epoch, committable.started_ms)
    ):
        return []
    return [
        one
        for one in still_open
        if (one.producer_id, one.epoch) == (committable.producer_id, committable.epoch)
    ]


class Verdict(enum.Enum):
    """What became of a pre-committed transaction; see the table in the module's docstring."""

    COMMIT = "not decided yet: commit it"
    COMMITTED = "already committed"
    COMMITTED_LEFTOVER = "already committed, and a later transaction of a lost attempt hangs"
    LOST = "aborted"
    UNKNOWN = "the broker no longer knows"


_COMMITTED: Final = ("PrepareCommit", "CompleteCommit")
_ABORTED: Final = ("PrepareAbort", "CompleteAbort", "PrepareEpochFence", "Dead")


def judge(committable: KafkaCommittable, found: TransactionDescription | None) -> Verdict:
    """What became of `committable`, given what the broker says about its transactional id (None: unknown id)."""
    if found is None or found.producer_id != committable.producer_id:
        return Verdict.UNKNOWN
    if found.started_ms == committable.started_ms:
        if found.state in _COMMITTED:
            return Verdict.COMMITTED
        if found.state in _ABORTED:
            return Verdict.LOST
        if found.state == "Ongoing" and found.epoch == committable.epoch:
            return Verdict.COMMIT
        return Verdict.UNKNOWN
    if found.epoch == committable.epoch and found.started_ms > committable.started_ms:
        return Verdict.COMMITTED_LEFTOVER if found.state == "Ongoing" else Verdict.COMMITTED
    return Verdict.UNKNOWN
