"""What became of a transaction: the table in `committable.py`, row by row, and in a model of the broker."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.connectors.kafka.committable import (
    KafkaCommittable,
    OpenTransaction,
    TransactionDescription,
    Verdict,
    decode_committable,
    encode_committable,
    judge,
    markers_lost,
)
from millstream.core.errors import CheckpointError

OURS = KafkaCommittable("tx-0-0", 7, 3, 1000, checkpoint_id=5, records=2, topics=("t",), timeout_ms=900)


@pytest.mark.parametrize(
    ("state", "producer_id", "epoch", "started_ms", "verdict"),
    [
        ("Ongoing", 7, 3, 1000, Verdict.COMMIT),
        ("PrepareCommit", 7, 3, 1000, Verdict.COMMITTED),
        ("CompleteCommit", 7, 3, 1000, Verdict.COMMITTED),
        ("CompleteCommit", 7, 4, 1000, Verdict.COMMITTED),  # committed with EndTxn 5, which bumps the epoch
        ("PrepareAbort", 7, 4, 1000, Verdict.LOST),
        ("CompleteAbort", 7, 4, 1000, Verdict.LOST),
        ("CompleteAbort", 7, 3, 1000, Verdict.LOST),
        ("PrepareEpochFence", 7, 4, 1000, Verdict.LOST),
        ("Ongoing", 7, 3, 2000, Verdict.COMMITTED_LEFTOVER),
        ("PrepareCommit", 7, 3, 2000, Verdict.COMMITTED),
        ("CompleteCommit", 7, 3, 2000, Verdict.COMMITTED),
        ("CompleteAbort", 7, 3, 2000, Verdict.COMMITTED),
        ("Empty", 7, 4, -1, Verdict.UNKNOWN),
        ("Ongoing", 7, 5, 2000, Verdict.UNKNOWN),
        ("CompleteCommit", 7, 5, 2000, Verdict.UNKNOWN),
        ("Ongoing", 7, 4, 1000, Verdict.UNKNOWN),
        ("Ongoing", 8, 3, 1000, Verdict.UNKNOWN),
        ("CompleteCommit", 8, 0, 2000, Verdict.UNKNOWN),
        ("Empty", 7, 3, -1, Verdict.UNKNOWN),
    ],
)
def test_the_verdict(state: str, producer_id: int, epoch: int, started_ms: int, verdict: Verdict) -> None:
    assert judge(OURS, TransactionDescription(state, producer_id, epoch, started_ms)) is verdict


def test_an_id_the_broker_does_not_know_is_not_taken_for_committed() -> None:
    assert judge(OURS, None) is Verdict.UNKNOWN


def test_an_open_transaction_that_its_coordinator_calls_complete_has_lost_its_marker() -> None:
    ours, other, later = (OpenTransaction("t", p, *who, -1) for p, who in enumerate([(7, 3), (8, 3), (7, 4)]))
    complete = TransactionDescription("CompleteCommit", 7, 3, 1000)
    assert markers_lost(OURS, complete, [ours, other, later]) == [ours]


@pytest.mark.parametrize(
    "found",
    [
        None,
        TransactionDescription("PrepareCommit", 7, 3, 1000),  # the markers are on their way
        TransactionDescription("CompleteAbort", 7, 3, 1000),
        TransactionDescription("CompleteCommit", 7, 3, 2000),  # of a later transaction: which one is open?
        TransactionDescription("CompleteCommit", 7, 4, 1000),
    ],
)
def test_no_marker_counts_as_lost_unless_the_coordinator_has_completed_this_very_commit(
    found: TransactionDescription | None,
) -> None:
    assert markers_lost(OURS, found, [OpenTransaction("t", 0, 7, 3, -1)]) == []


class ModelledId:
    """A transactional id in the coordinator, as observed on Apache Kafka 4.4.0 with librdkafka 2.16 (transaction version 2)."""

    def __init__(self) -> None:
        self.state, self.epoch, self.started_ms, self.now = "Empty", 0, -1, 0

    def begin(self) -> None:
        self.now += 1
        self.state, self.started_ms = "Ongoing", self.now

    def commit(self) -> None:
        self.state = "CompleteCommit"

    def abort(self) -> None:
        self.state = "CompleteAbort"

    def time_out(self) -> None:
        self.state, self.epoch = "CompleteAbort", self.epoch + 1

    def take_over(self) -> None:
        self.epoch += 2 if self.state == "Ongoing" else 1
        self.state, self.started_ms = "Empty", -1

    def describe(self) -> TransactionDescription:
        return TransactionDescription(self.state, 7, self.epoch, self.started_ms)


@given(
    st.integers(0, 3),
    st.sampled_from(["commit", "abort", "time_out", "take_over"]),
    st.lists(st.booleans(), max_size=4),
)
def test_the_verdict_is_never_wrong_whatever_the_id_did_before_and_after(
    before: int, fate: str, after: list[bool]
) -> None:
    """A producer aborts only what it did not pre-commit; whoever takes an id over goes on with a new epoch."""
    txn = ModelledId()
    for _ in range(before):
        txn.begin()
        txn.commit()
    txn.begin()
    ours = KafkaCommittable("tx", 7, txn.epoch, txn.started_ms, 1, 1, ("t",), 1)
    assert judge(ours, txn.describe()) is Verdict.COMMIT
    getattr(txn, fate)()
    if fate == "time_out" and after:
        txn.take_over()  # a fenced producer cannot go on
    if fate == "abort":
        after = []  # nobody but the broker and another attempt ends a pre-committed transaction otherwise
    for again in after:
        txn.begin()
        if again:
            txn.commit()
    verdict = judge(ours, txn.describe())
    if fate == "commit":
        assert verdict in {Verdict.COMMITTED, Verdict.COMMITTED_LEFTOVER}
        assert (verdict is Verdict.COMMITTED_LEFTOVER) == (txn.state == "Ongoing")
    else:
        assert verdict in {Verdict.LOST, Verdict.UNKNOWN}


@given(
    st.builds(
        KafkaCommittable,
        transactional_id=st.text(min_size=1),
        producer_id=st.integers(0, 2**63 - 1),
        epoch=st.integers(0, 2**15 - 1),
        started_ms=st.integers(0, 2**62),
        checkpoint_id=st.integers(1, 2**62),
        records=st.integers(0, 2**62),
        topics=st.lists(st.text(min_size=1)).map(tuple),
        timeout_ms=st.integers(1, 2**31),
        producer=st.none(),
    )
)
def test_committables_survive_their_encoding(committable: KafkaCommittable) -> None:
    assert decode_committable(encode_committable(committable)) == committable


def test_the_encoding_of_version_1_stays_readable() -> None:
    golden = bytes.fromhex("9901a674782d302d300703cd03e8050291a174cd0384")
    assert decode_committable(golden) == OURS
    assert encode_committable(OURS) == golden


def test_a_later_version_is_refused() -> None:
    later = msgpack.packb([2, "tx", 7, 3, 1000, 5, 2, ["t"], 900])
    with pytest.raises(CheckpointError, match="format version 2"):
        decode_committable(later)
