"""The writers of `KafkaSink`: at-least-once (and none), and exactly-once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ...core.batch import MAX_TIMESTAMP
from ...core.clock import Clock
from ...core.errors import ConnectorError
from ..base import SinkWriterContext
from .client_log import ClientLog
from .committable import KafkaCommittable
from .errors import connector_error, invalid_property, missing
from .partitions import DeliveryGuarantee
from .producer_pool import ProducerPool, TransactionalProducer, transactional_id
from .serialization import KafkaRecordSerializationSchema
from .transaction_client import TransactionClient

_LOG: Final = logging.getLogger(__name__)
_POLL_S: Final = 0.005
_FLUSH_S: Final = 1.0
# A broker with auto.create.topics.enable makes a missing topic when asked for it; that takes a moment.
_BEING_CREATED: Final = {"UNKNOWN_TOPIC_OR_PART", "LEADER_NOT_AVAILABLE"}
_TOPIC_TRIES: Final = 10
_TOPIC_PAUSE_S: Final = 0.1
_PROBES_BEHIND_THE_LAST: Final = 3
"""Unknown ids in a row after which there are no more: an index may be missing where making its producer failed."""
_SETTLE_S: Final = 0.04


@dataclass(frozen=True)
class SinkSettings:
    """What the writers and the committer need of a `KafkaSink`.

    Attributes:
        client: properties for librdkafka, bootstrap.servers included.
        given: the properties as the user gave them.
    """

    serializer: KafkaRecordSerializationSchema[Any]
    guarantee: DeliveryGuarantee
    bootstrap_servers: str
    client: dict[str, Any]
    given: dict[str, Any]
    bootstrap_timeout_ms: int
    transactional_id_prefix: str
    transaction_timeout_ms: int
    accept_unverifiable: bool


class _Produce:
    """Feeds one librdkafka producer and keeps the first failure it reports.

    `producer` is set by whoever owns this; failures are reported by callbacks inside poll() and flush(), which run in the
    caller's thread.
    """

    def __init__(self, settings: SinkSettings) -> None:
        self._settings = settings
        self._failure: ConnectorError | None = None
        self._log = ClientLog("sink")

    def new_producer(self, extra: dict[str, Any]) -> Any:
        """A `confluent_kafka.Producer`.

        Raises:
            ConfigurationError: a property is unknown or malformed.
            MissingDependencyError: confluent-kafka is not installed.
        """
        try:
            from confluent_kafka import KafkaException, Producer
        except ImportError:
            raise missing("confluent-kafka", "writing to Kafka") from None
        callbacks = {
            # Reports of success are not needed: flush() waits for them, and one call per record would cost.
            "delivery.report.only.error": True,
            "on_delivery": self._on_delivery,
            "error_cb": self._on_error,
            "logger": self._log,
        }
        try:
            return Producer({**self._settings.client, **extra, **callbacks})
        except KafkaException as error:
            raise invalid_property(error, of="the sink") from error

    def check_topic(self, producer: Any) -> None:
        """See that a broker answers, and that the topic exists where there is only one.

        Raises:
            ConnectorError: no broker in bootstrap.timeout.ms, no such topic, or no access.
        """
        from confluent_kafka import KafkaException

        topic = self._settings.serializer.topic
        timeout_s = self._settings.bootstrap_timeout_ms / 1000
        pause = threading.Event()
        trouble: Any = None  # a KafkaError
        for _ in range(_TOPIC_TRIES):
            try:
                found = (
                    producer.list_topics(topic, timeout_s)
                    if topic
                    else producer.list_topics(timeout=timeout_s)
                )
            except KafkaException as error:
                self._serve(producer.poll, 0)  # a refused login is told to the callback only
                raise self.failed(error, "connecting the sink") from error
            trouble = found.topics[topic].error if topic else None
            if trouble is None:
                return
            if trouble.name() not in _BEING_CREATED:
                break
            pause.wait(_TOPIC_PAUSE_S)
        raise self.failed(trouble, f"writing to topic '{topic}'", f"topic '{topic}'")

    def write(self, producer: Any, values: Sequence[Any], timestamps: Sequence[int] | None) -> set[str]:
        """Hand the records to librdkafka; waits only for room in its queue. Returns the topics written to."""
        topics, keys, payloads = self._settings.serializer.prepare(values)
        count = len(payloads)
        times = [0] * count if timestamps is None else timestamps  # 0: librdkafka takes the current time
        # Kafka knows no times before 1970, and brokers refuse the end of all time, which results of windows without an end have.
        if timestamps and (min(timestamps) < 0 or max(timestamps) == MAX_TIMESTAMP):
            times = [max(time, 0) if time != MAX_TIMESTAMP else 0 for time in timestamps]
        rows = zip(
            [topics] * count if isinstance(topics, str) else topics,
            payloads,
            [None] * count if keys is None else keys,
            times,
            strict=True,
        )
        self._produce_rows(producer, rows)
        self._serve(producer.poll, 0)
        return {topics} if isinstance(topics, str) else set(topics)

    # HOT: a bare loop of produce() does 0.75 to 0.88 M records a second (2026-11, two cores, confluent-kafka 2.16)
    def _produce_rows(self, producer: Any, rows: Iterator[tuple[Any, Any, Any, int]]) -> None:
        from confluent_kafka import KafkaException

        produce = producer.produce
        topic = None
        try:
            for topic, payload, key, time in rows:
                try:
                    produce(topic, payload, key, timestamp=time)
                except BufferError:
                    self._produce_when_room(producer, (topic, payload, key, time))
        except KafkaException as error:
            self.check()
            raise self.failed(error, f"writing to topic '{topic}'", f"topic '{topic}'") from error

    def _produce_when_room(self, producer: Any, row: tuple[Any, Any, Any, int]) -> None:
        topic, payload, key, time = row
        while True:
            self._serve(producer.poll, _POLL_S)
            try:
                producer.produce(topic, payload, key, timestamp=time)
            except BufferError:
                continue
            return

    def flush(self, producer: Any) -> None:
        """Wait until every record is acknowledged by the brokers.

        Raises:
            ConnectorError: one was not, after delivery.timeout.ms at the latest.
        """
        while self._serve(producer.flush, _FLUSH_S):
            pass
        self._log.working()

    def _serve(self, call: Callable[[float], int], timeout_s: float) -> int:
        """Poll or flush, which calls our callbacks, and raise what they were told.

        A fatal error is raised by confluent-kafka itself. If it calls a callback after that, all ends in a SystemError
        (confluent-kafka 2.16), with the fatal error as its cause or without.
        """
        from confluent_kafka import KafkaException

        try:
            left = call(timeout_s)
        except KafkaException as error:
            raise self._failure or self.failed(error, "writing") from error
        except SystemError as error:
            if isinstance(error.__cause__, KafkaException):
                raise self._failure or self.failed(error.__cause__, "writing") from error
            raise self._failure or _nameless_fatal_error() from error
        self.check()
        return left

    def check(self) -> None:
        """Raise what was reported by a callback."""
        if self._failure is not None:
            raise self._failure

    def failed(self, error: Any, doing: str, where: str | None = None) -> ConnectorError:
        """librdkafka's error as ours."""
        return connector_error(
            error, doing=doing, bootstrap_servers=self._settings.bootstrap_servers, where=where
        )

    def _on_delivery(self, error: Any, message: Any) -> None:
        if error is not None and self._failure is None:
            topic = message.topic()
            where = f"topic '{topic}', partition {message.partition()}, key {message.key()!r:.80}"
            self._failure = self.failed(error, f"writing to topic '{topic}'", where)

    def _on_error(self, error: Any) -> None:
        if error.fatal() and self._failure is None:
            self._failure = self.failed(error, "writing")
        elif error.name() in {"_AUTHENTICATION", "_SSL"} and self._failure is None:
            self._failure = self.failed(error, "connecting the sink")
        elif error.name() == "_ALL_BROKERS_DOWN":
            self._log.all_brokers_down()


def _nameless_fatal_error() -> ConnectorError:
    return ConnectorError(
        "Kafka: the client ended with a fatal error that it does not name",
        fix="most often another producer took over the transactional id: give every sink of every running job its own "
        "transactional id prefix",
        retryable=True,
    )


class KafkaWriter:
    """Writes with the guarantees NONE and AT_LEAST_ONCE; the latter waits at every barrier for all acknowledgements."""

    def __init__(self, settings: SinkSettings, _context: SinkWriterContext[Any]) -> None:
        """Raises ConnectorError, ConfigurationError."""
        self._flush_at_barrier = settings.guarantee is not DeliveryGuarantee.NONE
        self._io = _Produce(settings)
        self._producer = self._io.new_producer({})
        self._io.check_topic(self._producer)

    def write_batch(self, values: Sequence[Any], timestamps: Sequence[int] | None) -> None:
        """Hand the records to librdkafka. A failed delivery of an earlier one is raised here or by `flush`."""
        self._io.write(self._producer, values, timestamps)

    def flush(self, end_of_input: bool) -> None:
        """Wait for the acknowledgement of everything written."""
        if self._flush_at_barrier or end_of_input:
            self._io.flush(self._producer)

    def close(self) -> None:
        """Drop what is not yet sent and disconnect."""
        self._producer.purge()
        self._producer.flush(0)
        self._producer = None


class ExactlyOnceKafkaWriter:
    """Writes into one transaction per checkpoint, each on a producer of its own from a pool.

    A transaction begins with the first record after a barrier, so an idle subtask has none that could time out. At its start
    the writer takes over the transactional ids of earlier attempts that fall to it: what they left open is aborted, and
    a producer that still runs somewhere is fenced. Ids named in restored committables are left alone.
    """

    def __init__(self, settings: SinkSettings, context: SinkWriterContext[KafkaCommittable]) -> None:
        """Raises ConnectorError, ConfigurationError, MissingDependencyError."""
        self._settings = settings
        self._clock: Clock = context.clock
        self._io = _Produce(settings)
        self._client = TransactionClient(settings.given, context.clock)
        self._pool = ProducerPool(self._make_producer, settings.transactional_id_prefix, context.subtask)
        self._next: TransactionalProducer | None = None
        self._pool.reserve({committable.transactional_id for committable in context.pending_committables})
        self._open: TransactionalProducer | None = None
        self._records = 0
        self._topics: set[str] = set()
        try:
            # Without a transaction first: a wrong address, password or topic is then told before anything is touched.
            self._io.check_topic(self._io.new_producer({}))
            # Before the first producer: librdkafka sleeps half a second where it has to wait for the abort of an open transaction.
            self._take_over_lost_transactions(context)
            self._next = self._pool.acquire()
        except BaseException:
            self._client.close()
            raise

    def write_batch(self, values: Sequence[Any], timestamps: Sequence[int] | None) -> None:
        """Hand the records to librdkafka, within the transaction of the coming checkpoint."""
        if not values:
            return
        producer = self._open or self._begin()
        self._topics |= self._io.write(producer.producer, values, timestamps)
        self._records += len(values)

    def flush(self, end_of_input: bool) -> None:  # the transaction must be whole either way
        """Wait for the acknowledgement of everything written."""
        if self._open is not None:
            self._io.flush(self._open.producer)

    def prepare_commit(self, checkpoint_id: int) -> list[KafkaCommittable]:
        """The transaction that holds everything since the last barrier; nothing if nothing was written."""
        producer = self._open
        if producer is None:
            return []
        found = self._client.describe(producer.transactional_id)
        if found is None or found.state != "Ongoing" or not producer.owns(found.producer_id, found.epoch):
            raise self._ended_early(producer, found)
        committable = KafkaCommittable(
            transactional_id=producer.transactional_id,
            producer_id=found.producer_id,
            epoch=found.epoch,
            started_ms=found.started_ms,
            checkpoint_id=checkpoint_id,
            records=self._records,
            topics=tuple(sorted(self._topics)),
            timeout_ms=self._settings.transaction_timeout_ms,
            producer=producer,
        )
        self._open, self._records, self._topics = None, 0, set()
        return [committable]

    def close(self) -> None:
        """Abort what was not pre-committed and disconnect; pre-committed transactions stay as they are."""
        self._pool.close()
        if self._open is not None:
            self._open.producer.purge()
            self._open.abort()
            self._open = None
        self._client.close()

    def _begin(self) -> TransactionalProducer:
        from confluent_kafka import KafkaException

        producer = self._next or self._pool.acquire()
        self._next = None
        try:
            producer.producer.begin_transaction()
        except KafkaException as error:
            raise self._io.failed(error, "beginning a transaction", producer.transactional_id) from error
        self._open = producer
        return producer

    def _make_producer(self, transactional_id: str) -> TransactionalProducer:
        from confluent_kafka import KafkaException

        where = f"transactional id '{transactional_id}'"
        timeout_ms = self._settings.transaction_timeout_ms
        producer = self._io.new_producer(
            {"transactional.id": transactional_id, "transaction.timeout.ms": timeout_ms}
        )
        self._io.check_topic(producer)
        # librdkafka sleeps half a second if it looks for the coordinator in the few ms before its connection to the
        # broker stands (one start in four). This lets it be: 5 ms to initialise then.
        threading.Event().wait(_SETTLE_S)
        try:
            producer.init_transactions(self._settings.bootstrap_timeout_ms / 1000)
        except KafkaException as error:
            doing = f"initialising transactions (transaction.timeout.ms={timeout_ms})"
            raise self._io.failed(error, doing, where) from error
        found = self._client.describe(transactional_id)
        if found is None:
            raise ConnectorError(
                "Kafka: the broker forgot a transactional id that was just initialised",
                where=where,
                retryable=True,
            )
        return TransactionalProducer(transactional_id, producer, found.producer_id, found.epoch, self._clock)

    def _take_over_lost_transactions(self, context: SinkWriterContext[KafkaCommittable]) -> None:
        """End what earlier attempts left, at whatever parallelism they ran.

        An id whose old subtask index is s falls to subtask s modulo the parallelism, so that every id falls to one subtask,
        and to none that another live subtask uses.
        """
        pending = {committable.transactional_id for committable in context.pending_committables}
        listed = {
            found
            for found in self._client.list_ids(self._settings.transactional_id_prefix, r"-(\d+)-(\d+)")
            if int(found.rsplit("-", 2)[1]) % context.parallelism == context.subtask
        }
        fenced = dict(
            self._client.take_over(found, self._settings.transaction_timeout_ms)
            for found in sorted(listed.union(self._probed_ids(context)) - pending)
        )
        self._end_aborted_ones(fenced)

    def _end_aborted_ones(self, fenced: Mapping[int, int]) -> None:
        """Write the abort markers that a broker lost (see `committable.markers_lost`): otherwise they hang for ever.

        Args:
            fenced: epoch now by producer id. Nothing of an earlier epoch is wanted, and all of it is decided.
        """
        topic = self._settings.serializer.topic
        if not fenced or not topic:
            return
        try:
            still_open = self._client.open_transactions([topic])
        except ConnectorError as error:
            if error.retryable:
                raise
            _LOG.warning("cannot see whether a broker lost the end of an aborted transaction: %s", error)
            return
        for found in still_open:
            if found.epoch < fenced.get(found.producer_id, 0):
                _LOG.warning(
                    "a broker lost the end of an aborted transaction in partition %s of '%s'; writing it",
                    found.partition,
                    found.topic,
                )
                self._client.write_marker(found, commit=False)

    def _probed_ids(self, context: SinkWriterContext[KafkaCommittable]) -> Iterator[str]:
        """Ids of earlier attempts, asked for one by one as they are handed out: subtasks and indices without gaps.

        A broker that has just started lists only the transactions it has loaded so far, and does not say that more will come;
        asked for one id, it answers when it knows.
        """
        old_subtask, any_found = context.subtask, True
        while any_found:
            any_found, index, missing = False, 0, 0
            while missing < _PROBES_BEHIND_THE_LAST:
                name = transactional_id(self._settings.transactional_id_prefix, old_subtask, index)
                known = self._client.describe(name) is not None
                any_found, missing = any_found or known, 0 if known else missing + 1
                if known:
                    yield name
                index += 1
            old_subtask += context.parallelism

    def _ended_early(self, producer: TransactionalProducer, found: Any) -> ConnectorError:
        return ConnectorError(
            f"Kafka: transaction '{producer.transactional_id}' ended before its checkpoint; "
            "its records are not lost: the job goes back to its last checkpoint and writes them again",
            where=f"{self._records} records for {', '.join(sorted(self._topics))}; the broker says {found}",
            fix="raise transaction.timeout.ms of the sink above the time between checkpoints; see that no other job uses "
            f"the transactional id prefix '{self._settings.transactional_id_prefix}'",
            retryable=True,
        )
