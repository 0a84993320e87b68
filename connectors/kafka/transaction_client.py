"""The requests about transactions that librdkafka lacks, sent with kafka-python to the same brokers.

Commit or abort a transaction of a producer that is gone (EndTxn), ask what a transactional id is doing (DescribeTransactions),
find ids (ListTransactions), take an id over (InitProducerId), which aborts what it left open and fences its old producer, and
write a marker that a broker lost (DescribeProducers, WriteTxnMarkers).
Needs Kafka 3.0 or later.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final, TypeVar

from ...core.clock import Clock
from ...core.errors import ConnectorError
from .committable import OpenTransaction, TransactionDescription
from .errors import unreachable
from .kafka_python import admin_client, listens, load
from .properties import BOOTSTRAP_TIMEOUT_MS, DEFAULT_BOOTSTRAP_TIMEOUT_MS, kafka_python_config, parse_ms

R = TypeVar("R")

# Kafka's error codes: https://kafka.apache.org/protocol#protocol_error_codes
CONCURRENT_TRANSACTIONS: Final = 51
_UNKNOWN_ID: Final = 105
# Request timed out, network exception, coordinator loading / not available / moved, markers being written.
_TRY_AGAIN: Final = (7, 13, 14, 15, 16, CONCURRENT_TRANSACTIONS)

# From version 5 on EndTxn bumps the epoch; a version up to 4 leaves id, producer id, epoch and start recognisable.
_END_TXN_VERSION: Final = 4
# Later versions of InitProducerId negotiate two-phase commit of Kafka's own; none of it is used here.
_INIT_PRODUCER_ID_VERSION: Final = 4
# Version 2 says of the marker that its epoch was bumped, which versions up to 4 of EndTxn do not do.
_WRITE_MARKERS_VERSION: Final = 1
_REFUSED_FIX: Final = (
    "exactly-once delivery needs Kafka 3.0 or later, and WRITE and DESCRIBE on the transactional ids that begin with the "
    "sink's prefix"
)
_BACKOFF_S: Final = 0.02
_BACKOFF_MAX_S: Final = 1.0


class TransactionClient:
    """Asks and orders the transaction coordinators. Connects at the first request; used by one thread at a time.

    Every method tries again, with backoff, while brokers are away, coordinators move or markers are being written, for
    `bootstrap.timeout.ms` altogether; then it raises a retryable ConnectorError.
    """

    def __init__(self, properties: Mapping[str, Any], clock: Clock) -> None:
        """`properties` are those of the sink, in librdkafka's names.

        Raises:
            ConfigurationError: they hold credentials in a form that kafka-python cannot use.
            MissingDependencyError: kafka-python is not installed.
        """
        self._config = kafka_python_config(properties)
        self._servers = ",".join(self._config.get("bootstrap_servers", ()))
        self._timeout_ms = parse_ms(properties, BOOTSTRAP_TIMEOUT_MS, DEFAULT_BOOTSTRAP_TIMEOUT_MS)
        self._clock = clock
        self._closed = threading.Event()
        self._admin: Any = None  # kafka-python has no type information
        load()

    def describe(self, transactional_id: str) -> TransactionDescription | None:
        """What the coordinator says about the id, or None if it does not know it."""
        from kafka.protocol.admin.transactions import DescribeTransactionsRequest

        request = DescribeTransactionsRequest(transactional_ids=[transactional_id])

        async def ask() -> TransactionDescription | None:
            response = await self._to_coordinator(transactional_id, request)
            (found,) = response.transaction_states
            if found.error_code == _UNKNOWN_ID:
                return None
            _raise_for(found.error_code)
            return TransactionDescription(
                str(found.transaction_state),
                found.producer_id,
                found.producer_epoch,
                found.transaction_start_time_ms,
            )

        return self._retried(ask, f"asking about transaction '{transactional_id}'", transactional_id)

    def end(self, transactional_id: str, producer_id: int, epoch: int, *, commit: bool) -> int:
        """Commit or abort, and give Kafka's answer: 0, or an error code that trying again would not change."""
        from kafka.protocol.producer.transaction import EndTxnRequest

        request = EndTxnRequest(
            transactional_id=transactional_id,
            producer_id=producer_id,
            producer_epoch=epoch,
            committed=commit,
            max_version=_END_TXN_VERSION,
        )

        async def ask() -> int:
            response = await self._to_coordinator(transactional_id, request)
            code = int(response.error_code)
            if code in _TRY_AGAIN:
                _raise_for(code)
            return code

        verb = "committing" if commit else "aborting"
        return self._retried(ask, f"{verb} transaction '{transactional_id}'", transactional_id)

    def take_over(self, transactional_id: str, transaction_timeout_ms: int) -> tuple[int, int]:
        """Abort what the id left open and fence its producer, wherever that still runs. Returns once that is done.

        Returns: producer id and epoch of the id from now on; the fenced producer had the same id and an earlier epoch.
        """
        from kafka.protocol.producer.transaction import InitProducerIdRequest

        request = InitProducerIdRequest(
            transactional_id=transactional_id,
            transaction_timeout_ms=transaction_timeout_ms,
            producer_id=-1,
            producer_epoch=-1,
            max_version=_INIT_PRODUCER_ID_VERSION,
        )

        async def ask() -> tuple[int, int]:
            response = await self._to_coordinator(transactional_id, request)
            _raise_for(response.error_code)
            return int(response.producer_id), int(response.producer_epoch)

        return self._retried(ask, f"taking over transaction '{transactional_id}'", transactional_id)

    def open_transactions(self, topics: Collection[str]) -> list[OpenTransaction]:
        """Every transaction that is open in a partition of these topics, whoever's it is.

        Raises:
            ConnectorError: not retryable if the principal may not READ one of them.
        """
        from kafka import TopicPartition

        async def ask() -> list[OpenTransaction]:
            metadata = await self._admin._get_cluster_metadata(sorted(topics))
            partitions = []
            for topic in metadata["topics"]:
                _raise_for(topic["error_code"])
                partitions += [
                    TopicPartition(topic["name"], p["partition_index"]) for p in topic["partitions"]
                ]
            described = await self._admin._async_describe_producers(partitions)
            return [
                OpenTransaction(
                    partition.topic,
                    partition.partition,
                    one.producer_id,
                    one.producer_epoch,
                    one.coordinator_epoch,
                )
                for partition, state in described.items()
                for one in state.active_producers
                if one.current_transaction_start_offset >= 0
            ]

        names = ", ".join(sorted(topics))
        fix = f"grant the principal READ and DESCRIBE on {names}"
        return self._retried(ask, f"looking for open transactions in {names}", None, fix)

    def write_marker(self, found: OpenTransaction, *, commit: bool) -> None:
        """End a transaction in one partition as its coordinator has already decided.

        Raises:
            ConnectorError: not retryable if the principal may not ALTER the cluster.
        """
        from kafka import TopicPartition
        from kafka.protocol.producer.transaction import WriteTxnMarkersRequest

        marker = WriteTxnMarkersRequest.WritableTxnMarker
        request = WriteTxnMarkersRequest(
            markers=[
                marker(
                    producer_id=found.producer_id,
                    producer_epoch=found.epoch,
                    transaction_result=commit,
                    topics=[
                        marker.WritableTxnMarkerTopic(name=found.topic, partition_indexes=[found.partition])
                    ],
                    coordinator_epoch=max(found.coordinator_epoch, 0),
                )
            ],
            max_version=_WRITE_MARKERS_VERSION,
        )

        async def ask() -> None:
            partition = TopicPartition(found.topic, found.partition)
            (leader,) = await self._admin._async_get_leader_for_partitions([partition])
            response = await self._admin._manager.send(request, node_id=leader)
            for written in response.markers:
                for topic in written.topics:
                    for part in topic.partitions:
                        _raise_for(part.error_code)

        where = f"partition {found.partition} of topic '{found.topic}'"
        fix = (
            "grant the principal ALTER on the cluster and run the job again. Until then consumers with "
            "isolation.level=read_committed see nothing more of the partition. Do not abort the transaction by hand: its records "
            "are committed"
        )
        self._retried(ask, f"writing a transaction marker that a broker lost to {where}", None, fix)

    def list_ids(self, prefix: str, suffix: str) -> list[str]:
        """Every transactional id the brokers know that is `prefix` and then the regular expression `suffix`, sorted."""
        matches = re.compile(re.escape(prefix) + suffix).fullmatch

        async def ask() -> list[str]:
            listed = await self._list_transactions(prefix)
            return sorted(
                transaction.transactional_id
                for transactions in listed.values()
                for transaction in transactions
                if matches(transaction.transactional_id)
            )

        return self._retried(ask, "listing transactions", None)

    async def _list_transactions(self, prefix: str) -> Any:
        from kafka.errors import UnsupportedVersionError

        try:  # from Kafka 4.1 on the broker sends only what can matter, out of maybe very many
            return await self._admin._async_list_transactions(
                transactional_id_pattern=re.escape(prefix) + ".*"
            )
        except UnsupportedVersionError:
            return await self._admin._async_list_transactions()

    def close(self) -> None:
        """Disconnect; a request that waits for its next try gives up."""
        self._closed.set()
        self._disconnect()

    async def _to_coordinator(self, transactional_id: str, request: Any) -> Any:
        from kafka.protocol.metadata import CoordinatorType

        node_ids = await self._admin._find_coordinator_ids(
            [transactional_id], key_type=CoordinatorType.TRANSACTION
        )
        return await self._admin._manager.send(request, node_id=node_ids[transactional_id])

    def _retried(
        self,
        ask: Callable[[], Awaitable[R]],
        doing: str,
        transactional_id: str | None,
        fix: str = _REFUSED_FIX,
    ) -> R:
        from kafka.errors import KafkaError

        deadline_ms = self._clock.monotonic_ms() + self._timeout_ms
        backoff_s = _BACKOFF_S
        while True:
            try:
                self._connect(deadline_ms)
                answer: R = self._admin._manager.run(ask)
                return answer
            except KafkaError as error:
                # UnknownBrokerIdError: the coordinator left the cluster and the metadata does not tell yet.
                again = (
                    error.retriable
                    or getattr(error, "errno", None) in _TRY_AGAIN
                    or _is_unknown_broker(error)
                )
                if not again:
                    raise self._refused(error, doing, fix) from error
                if self._clock.monotonic_ms() >= deadline_ms or self._closed.wait(backoff_s):
                    raise unreachable(self._servers, doing=doing, reason=_text(error)) from error
                self._forget(transactional_id, error)
                backoff_s = min(backoff_s * 2, _BACKOFF_MAX_S)

    def _connect(self, deadline_ms: int) -> None:
        if self._admin is not None:
            return
        from kafka.errors import KafkaConnectionError

        # kafka-python would try for as long as it is given; this keeps the time in our hands.
        if not any(map(listens, self._config.get("bootstrap_servers", ()))):
            raise KafkaConnectionError("connection refused")
        left_ms = max(deadline_ms - self._clock.monotonic_ms(), 1_000)
        self._admin = admin_client(
            **self._config,
            bootstrap_timeout_ms=left_ms,
            request_timeout_ms=10_000,
            reconnect_backoff_max_ms=1_000,
        )

    def _forget(self, transactional_id: str | None, error: Exception) -> None:
        """Drop what may be out of date: the coordinator of the id, or with a broken connection everything."""
        if getattr(error, "errno", None) in (14, CONCURRENT_TRANSACTIONS) or self._admin is None:
            return
        if transactional_id is not None and getattr(error, "errno", None) is not None:
            from kafka.protocol.metadata import CoordinatorType

            self._admin._manager.cluster._coordinators.pop(
                (CoordinatorType.TRANSACTION, transactional_id), None
            )
            return
        self._disconnect()

    def _disconnect(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            admin.close()

    def _refused(self, error: Exception, doing: str, fix: str) -> ConnectorError:
        return ConnectorError(
            f"Kafka: {doing} failed: {_text(error)}",
            where=f"bootstrap.servers={self._servers}",
            fix=fix,
        )


def _raise_for(code: int) -> None:
    if code == 0:
        return
    from kafka.errors import for_code

    error: type[Exception] = for_code(code)
    raise error


def _is_unknown_broker(error: Exception) -> bool:
    from kafka.errors import UnknownBrokerIdError

    return isinstance(error, UnknownBrokerIdError)


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
