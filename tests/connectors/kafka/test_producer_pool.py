"""INVARIANT K1: no transactional id is used again while a checkpoint that can be restored holds its last transaction."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from millstream.connectors.kafka.producer_pool import ProducerPool, TransactionalProducer
from millstream.core.clock import ManualClock


def make(transactional_id: str) -> TransactionalProducer:
    return TransactionalProducer(transactional_id, None, 1, 0, ManualClock())


def test_ids_count_from_zero_and_leave_out_reserved_ones() -> None:
    pool = ProducerPool(make, "p", 3)
    pool.reserve({"p-3-0", "p-3-2", "p-1-1"})
    assert [pool.acquire().transactional_id for _ in range(3)] == ["p-3-1", "p-3-3", "p-3-4"]


def test_a_committed_producer_rests_until_a_later_checkpoint_is_complete() -> None:
    pool = ProducerPool(make, "p", 0)
    first, second = pool.acquire(), pool.acquire()
    pool.committed(first, 1)
    assert pool.acquire() is not first
    pool.committed(second, 2)
    assert pool.acquire() is first


def test_producers_committed_with_the_same_checkpoint_rest_alike() -> None:
    pool = ProducerPool(make, "p", 0)
    first, second = pool.acquire(), pool.acquire()
    pool.committed(first, 2)  # pre-committed for checkpoint 1, which was aborted; committed with 2
    pool.committed(second, 2)
    assert pool.acquire() not in {first, second}


def test_a_closed_pool_takes_nothing_back() -> None:
    pool = ProducerPool(make, "p", 0)
    producer = pool.acquire()
    pool.close()
    pool.committed(producer, 1)
    pool.committed(producer, 2)
    assert pool.acquire() is not producer


class PoolUnderCheckpoints(RuleBasedStateMachine):
    """Checkpoints are taken, complete late and in order, or never; commits come even later. Empty ones are common."""

    @initialize(reserved=st.sets(st.integers(0, 4)))
    def start(self, reserved: set[int]) -> None:
        self.pool = ProducerPool(make, "p", 0)
        self.reserved = {f"p-0-{index}" for index in reserved}
        self.pool.reserve(self.reserved)
        self.open: TransactionalProducer | None = None
        self.next_checkpoint = 1
        self.uncommitted: dict[int, TransactionalProducer] = {}
        self.newest_complete = 0
        self.in_newest_complete: set[str] = set()
        self.used: set[str] = set()

    @rule()
    def write(self) -> None:
        if self.open is None:
            self.open = self.pool.acquire()
            self.used.add(self.open.transactional_id)

    @rule()
    def barrier(self) -> None:
        if self.open is not None:
            self.uncommitted[self.next_checkpoint] = self.open
        self.open = None
        self.next_checkpoint += 1

    @rule(skip=st.integers(0, 2), commit=st.booleans())
    def complete(self, skip: int, commit: bool) -> None:
        """The newest but `skip` checkpoint completes; it holds everything not committed up to it."""
        checkpoint = self.next_checkpoint - 1 - skip
        if checkpoint <= self.newest_complete:
            return
        self.newest_complete = checkpoint
        due = {taken: producer for taken, producer in self.uncommitted.items() if taken <= checkpoint}
        self.in_newest_complete = {producer.transactional_id for producer in due.values()}
        if commit:
            for taken, producer in due.items():
                self.pool.committed(producer, max(due))
                del self.uncommitted[taken]

    @invariant()
    def no_id_of_a_restorable_checkpoint_is_in_use(self) -> None:
        if hasattr(self, "open") and self.open is not None:
            assert self.open.transactional_id not in self.in_newest_complete

    @invariant()
    def reserved_ids_are_left_alone(self) -> None:
        if hasattr(self, "used"):
            assert not self.used & self.reserved


TestPoolUnderCheckpoints = PoolUnderCheckpoints.TestCase
