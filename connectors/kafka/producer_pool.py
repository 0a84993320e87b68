"""Transactional producers of one subtask: made when needed, used again when it is safe.

INVARIANT K1: a transactional id is used for a new transaction only when no checkpoint that can still be restored holds its
last one: a producer that committed for checkpoint N rests until something was committed for a later checkpoint, which
proves that a later one is complete. A crash therefore never finds a later transaction under a pending committable's id.
Kept by: tests/connectors/kafka/test_producer_pool.py
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from typing import Any, Final

from ...core.clock import Clock

_LOG: Final = logging.getLogger(__name__)
_ABORT_TIMEOUT_S: Final = 5.0
"""For aborting an open transaction at close. If it does not succeed, the next attempt takes the id over."""


def transactional_id(prefix: str, subtask: int, index: int) -> str:
    """The id of the `index`-th producer of a subtask."""
    return f"{prefix}-{subtask}-{index}"


class ProducerPool:
    """Hands out producers for one transaction each. `acquire` is for the loop's thread, `committed` for any."""

    def __init__(self, make: Callable[[str], TransactionalProducer], prefix: str, subtask: int) -> None:
        """`make` gives an initialised producer for a transactional id; it may raise ConnectorError."""
        self._make = make
        self._prefix = prefix
        self._subtask = subtask
        self._reserved: set[str] = set()
        self._free: list[TransactionalProducer] = []
        self._resting: list[tuple[int, TransactionalProducer]] = []
        self._lock = threading.Lock()
        self._closed = False

    def reserve(self, transactional_ids: Collection[str]) -> None:
        """Never use these ids: restored committables refer to them."""
        self._reserved.update(transactional_ids)

    def acquire(self) -> TransactionalProducer:
        """A producer that has no transaction. May block for some ms, when a new one must be made."""
        with self._lock:
            if self._free:
                return self._free.pop()
        index = 0
        while transactional_id(self._prefix, self._subtask, index) in self._reserved:
            index += 1
        new_id = transactional_id(self._prefix, self._subtask, index)
        self._reserved.add(new_id)
        producer = self._make(new_id)
        producer.pool = self
        return producer

    def committed(self, producer: TransactionalProducer, checkpoint_id: int) -> None:
        """`producer` committed its transaction for `checkpoint_id`, which is thus complete."""
        with self._lock:
            if self._closed:
                return
            self._free.extend(resting for checkpoint, resting in self._resting if checkpoint < checkpoint_id)
            self._resting = [entry for entry in self._resting if entry[0] >= checkpoint_id]
            self._resting.append((checkpoint_id, producer))

    def close(self) -> None:
        """Let go of the producers. Those with a pre-committed transaction live on in their committables."""
        with self._lock:
            self._closed = True
            self._free.clear()
            self._resting.clear()


class TransactionalProducer:
    """A librdkafka producer with its transactional id, and who it is to the broker.

    Attributes:
        producer: the `confluent_kafka.Producer`.
        producer_id: given by the broker, constant.
        first_epoch: the epoch after initialisation. With librdkafka up to 2.16 it stays; a client that follows KIP-890
            to the end raises it by one for each transaction.
        transactions: how many were ended.
    """

    def __init__(
        self, transactional_id: str, producer: Any, producer_id: int, first_epoch: int, clock: Clock
    ) -> None:
        self.transactional_id = transactional_id
        self.producer = producer
        self.producer_id = producer_id
        self.first_epoch = first_epoch
        self.transactions = 0
        self.pool: ProducerPool | None = None
        self._clock = clock

    def owns(self, producer_id: int, epoch: int) -> bool:
        """Whether a transaction under our id that is said to be of (`producer_id`, `epoch`) is ours."""
        return producer_id == self.producer_id and 0 <= epoch - self.first_epoch <= self.transactions

    def commit(self, checkpoint_id: int, budget_ms: int) -> None:
        """Commit the transaction and go back to the pool. Retries what librdkafka calls retriable, for `budget_ms`.

        Raises:
            KafkaException: not committed as far as librdkafka knows; the producer is of no use any more.
        """
        from confluent_kafka import KafkaException

        deadline_ms = self._clock.monotonic_ms() + budget_ms
        while True:
            left_ms = deadline_ms - self._clock.monotonic_ms()
            try:
                self.producer.commit_transaction(max(left_ms, 1) / 1000)
                break
            except KafkaException as error:
                if not error.args[0].retriable() or left_ms <= 0:
                    raise
        self.transactions += 1
        if self.pool is not None:
            self.pool.committed(self, checkpoint_id)

    def abort(self) -> None:
        """Abort the open transaction, if that is possible in a few seconds."""
        from confluent_kafka import KafkaException

        try:
            self.producer.abort_transaction(_ABORT_TIMEOUT_S)
        except (KafkaException, SystemError) as error:  # SystemError: as in writer._Produce._serve
            # Not lost, not hanging for ever: the next attempt takes the id over, or the broker times it out.
            _LOG.warning("could not abort transaction '%s' at close: %s", self.transactional_id, error)
