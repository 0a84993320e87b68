"""Phase two of exactly-once delivery: commits transactions of producers that live here, or are gone."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any, Final

from ...core.clock import Clock, SystemClock
from ...core.errors import ConnectorError
from ...core.faults import fault_point
from .committable import KafkaCommittable, TransactionDescription, Verdict, judge, markers_lost
from .transaction_client import TransactionClient

_LOG: Final = logging.getLogger(__name__)
_MARKER_PAUSE_S: Final = 0.002
_QUICKER_THAN_A_BROKER_STARTS_MS: Final = 500
"""A commit that took less was not interrupted by a broker's restart, so no marker can be lost and nobody need look for one."""
_ROUNDS: Final = 5
"""How often to ask again when EndTxn and DescribeTransactions contradict each other, which only a race can make."""


class KafkaCommitter:
    """Makes pre-committed transactions visible. Idempotent: `committable.judge` says how.

    Fault points: `kafka.before-commit` and `kafka.after-commit`, around each transaction.
    """

    def __init__(
        self,
        properties: dict[str, Any],
        *,
        budget_ms: int,
        accept_unverifiable: bool,
        clock: Clock | None = None,
    ) -> None:
        """`budget_ms`: how long to try again while brokers are away, per transaction."""
        self._properties = properties
        self._budget_ms = budget_ms
        self._accept_unverifiable = accept_unverifiable
        self._clock = clock or SystemClock()
        self._client: TransactionClient | None = None

    def commit(self, committables: Sequence[KafkaCommittable]) -> None:
        """Commit each, in order; when it returns, consumers can see them.

        Raises:
            ConnectorError: retryable if no broker answered in time; not retryable if the transaction was aborted (its
                records are lost to every consumer) or if nobody can tell any more what became of it.
        """
        if not committables:
            return
        complete = max(committable.checkpoint_id for committable in committables)
        for committable in committables:
            fault_point("kafka.before-commit")
            started_ms = self._clock.monotonic_ms()
            alive = self._committed_alive(committable, complete)
            if not alive:
                self._commit_for_the_dead(committable)
            found = self._await_markers(committable)
            if not alive or self._clock.monotonic_ms() - started_ms >= _QUICKER_THAN_A_BROKER_STARTS_MS:
                self._write_lost_markers(committable, found)
            fault_point("kafka.after-commit")

    def close(self) -> None:
        """Disconnect."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _committed_alive(self, committable: KafkaCommittable, complete: int) -> bool:
        """Let the producer commit that wrote it, if it is here. False: it is not, or could not; the broker knows more."""
        producer = committable.producer
        if producer is None:
            return False
        from confluent_kafka import KafkaException

        try:
            producer.commit(complete, self._budget_ms)
        except (KafkaException, SystemError) as error:  # SystemError: as in writer._Produce._serve
            _LOG.warning("the producer of %s could not commit it (%s); asking the broker", committable, error)
            return False
        return True

    def _commit_for_the_dead(self, committable: KafkaCommittable) -> None:
        client, tid = self._connected(), committable.transactional_id
        found = None
        code = 0
        for _ in range(_ROUNDS):
            found = client.describe(tid)
            match judge(committable, found):
                case Verdict.COMMIT:
                    code = client.end(tid, committable.producer_id, committable.epoch, commit=True)
                    if code == 0:
                        return
                case Verdict.COMMITTED:
                    return
                case Verdict.COMMITTED_LEFTOVER:
                    # Restored from an older checkpoint: what came after it belongs to nobody and must not hang.
                    client.end(tid, committable.producer_id, committable.epoch, commit=False)
                    return
                case Verdict.LOST:
                    raise _lost(committable, found)
                case Verdict.UNKNOWN:
                    self._decide_unknown(committable, found)
                    return
        raise ConnectorError(
            f"Kafka: the coordinator refused to commit {committable} with error {code}",
            where=f"the broker says {found}",
            retryable=True,
        )

    def _await_markers(self, committable: KafkaCommittable) -> TransactionDescription | None:
        """Wait until consumers see it: Kafka answers a commit when it is decided, some ms before it is visible.

        Returns: what the broker says in the end.

        Raises:
            ConnectorError: retryable; the broker went away meanwhile and did not come back in time. The outcome stands, but
                whether every partition has its marker has to be looked at again.
        """
        client = self._connected()
        pause = threading.Event()
        deadline_ms = self._clock.monotonic_ms() + self._budget_ms
        while True:
            found = client.describe(committable.transactional_id)
            if found is None or found.state != "PrepareCommit" or found.started_ms != committable.started_ms:
                return found
            if self._clock.monotonic_ms() >= deadline_ms:
                raise ConnectorError(
                    f"Kafka: {committable} is committed, but not visible after {self._budget_ms} ms",
                    where=f"the broker says {found}",
                    fix="see that the leaders of the topic's partitions are up",
                    retryable=True,
                )
            pause.wait(_MARKER_PAUSE_S)

    def _write_lost_markers(
        self, committable: KafkaCommittable, found: TransactionDescription | None
    ) -> None:
        """Where a broker forgot the end of the transaction: see `markers_lost`."""
        if found is None or found.state != "CompleteCommit":
            return
        client = self._connected()
        for lost in markers_lost(committable, found, client.open_transactions(committable.topics)):
            _LOG.warning(
                "a broker lost the end of %s in partition %s of '%s'; writing it",
                committable,
                lost.partition,
                lost.topic,
            )
            client.write_marker(lost, commit=True)

    def _connected(self) -> TransactionClient:
        if self._client is None:
            self._client = TransactionClient(self._properties, self._clock)
        return self._client

    def _decide_unknown(self, committable: KafkaCommittable, found: TransactionDescription | None) -> None:
        if self._accept_unverifiable:
            _LOG.warning(
                "cannot verify that %s was committed (the broker says %s); going on", committable, found
            )
            return
        raise ConnectorError(
            f"Kafka: nobody can tell any more whether {committable} was committed: the transactional id was taken over "
            "by another run, or expired",
            where=f"the broker says {found}",
            fix="this happens when a checkpoint or savepoint is restored that is not the newest, or is older than "
            "transactional.id.expiration.ms. Look into the topics; if the records are there (or not wanted), set "
            "the sink property transaction.unverifiable=accept, or restore the newest checkpoint",
        )


def _lost(committable: KafkaCommittable, found: TransactionDescription | None) -> ConnectorError:
    return ConnectorError(
        f"Kafka: {committable} was aborted before it could be committed: these records are LOST to consumers, "
        "although their checkpoint is complete",
        where=f"started at {committable.started_ms} ms, transaction.timeout.ms={committable.timeout_ms}; "
        f"the broker says {found}",
        fix="the job was down, or its checkpoint took, longer than transaction.timeout.ms: raise it (up to "
        "transaction.max.timeout.ms of the brokers). To write the lost records again, restart from an earlier "
        "checkpoint, which repeats the committed ones after it",
    )
