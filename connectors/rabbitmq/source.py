"""`RabbitMQSource`: reads a queue, and acknowledges only what a checkpoint covers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, Generic, TypeVar, cast

from ...core.arguments import check_call, check_instance, check_int, check_text
from ...core.clock import SystemClock
from ...core.errors import JobDefinitionError
from ..base import Boundedness, SourceReader, SourceReaderContext, SplitEnumeratorContext
from ..schemas import DeserializationSchema, Deserializer, deserializer_of
from .connection_config import MAX_PREFETCH, RMQConnectionConfig, connection_parameters
from .consumer import QueueConsumer, QueueSettings
from .conversion import Conversion, EventTime
from .enumerator import Bound, RabbitMQEnumerator
from .errors import connector_error
from .message import RabbitMQMessage
from .queues import check_queue_type
from .reader import RabbitMQSourceReader, ReaderSettings
from .split import RabbitMQSplit, decode_split, encode_split

T = TypeVar("T")
R = TypeVar("R")
_LOG: Final = logging.getLogger(__name__)
_DEFAULT_REDELIVERY_TIMEOUT_MS: Final = 60 * 60 * 1000
_CONSUMERS_GONE_S: Final = 10.0


class RabbitMQSource(Generic[T]):
    """A recipe for reading a queue; immutable. Made by `RabbitMQSource.builder()`.

    All subtasks consume the queue together. With checkpoints, a message is acknowledged after the checkpoint that covers its
    record has completed; so at most `prefetch count` messages are read per subtask and checkpoint. On a failure the broker
    delivers again what was not acknowledged:

    - with correlation ids (`set_use_correlation_id(True)`), each id counts once, at any parallelism: exactly-once. Ids that
      are not acknowledged for certain are in the checkpoint;
    - without, the same message may be read again: at-least-once.

    Without checkpoints messages are acknowledged when they have been handed to the pipeline: what is in it is lost on a failure.
    """

    def __init__(
        self,
        *,
        config: RMQConnectionConfig,
        queue: QueueSettings,
        deserializer: Callable[[RabbitMQMessage], T | None] | None = None,
        value_deserializer: Deserializer[T] | None = None,
        use_correlation_id: bool = False,
        redelivery_timeout_ms: int = _DEFAULT_REDELIVERY_TIMEOUT_MS,
        deduplication_window_ms: int = 0,
        bound: Bound | None = None,
        event_time: EventTime | None = None,
        poison_tag: str | None = None,
    ) -> None:
        """As the builder's setters. Exactly one of `deserializer` and `value_deserializer`."""
        self._config = config
        self._queue = queue
        self._deserializer = deserializer
        self._value_deserializer = value_deserializer
        self._use_correlation_id = use_correlation_id
        self._redelivery_timeout_ms = redelivery_timeout_ms
        self._deduplication_window_ms = deduplication_window_ms
        self._bound = bound
        self._event_time = event_time
        self._poison_tag = poison_tag

    @staticmethod
    def builder() -> RabbitMQSourceBuilder[Any]:
        """A builder."""
        return RabbitMQSourceBuilder()

    @property
    def boundedness(self) -> Boundedness:
        """Bounded after `set_bounded`."""
        return Boundedness.CONTINUOUS_UNBOUNDED if self._bound is None else Boundedness.BOUNDED

    @property
    def gives_timestamps(self) -> bool:
        """Whether event times are taken from messages."""
        return self._event_time is not None

    def create_enumerator(
        self, context: SplitEnumeratorContext[RabbitMQSplit], restored: bytes | None
    ) -> RabbitMQEnumerator:
        """The part in the JobManager."""
        if not self._use_correlation_id:
            _LOG.info(
                "queue '%s' is read at least once: after a failure messages may come again; set_use_correlation_id(True) "
                "counts each correlation id once",
                self._queue.name,
            )
        return RabbitMQEnumerator(
            self._queue.name,
            self._bound,
            self._count,
            context,
            restored,
            one_reader=self._counts_repeats,
        )

    def create_reader(self, context: SourceReaderContext) -> SourceReader[T, RabbitMQSplit]:
        """The part in a subtask."""
        deserialize: Callable[[Any], Any]  # takes a body or a RabbitMQMessage
        if self._value_deserializer is not None:
            deserialize, _ = deserializer_of(self._value_deserializer, used_as="value deserializer")
        else:
            deserialize = cast("Callable[[Any], Any]", self._deserializer)
        conversion = Conversion(
            self._queue.name, deserialize, self._deserializer is not None, self._event_time, self._poison_tag
        )
        name = f"{context.job_name}: {self._queue.name}[{context.subtask}]"
        return RabbitMQSourceReader(
            ReaderSettings(
                self._queue.name,
                self._config.prefetch_count,
                conversion.convert,
                self._use_correlation_id,
                self._redelivery_timeout_ms,
                self._deduplication_window_ms,
                self._counts_repeats,
            ),
            QueueConsumer(self._config, self._queue, name=name),
            context,
        )

    def encode_split(self, split: RabbitMQSplit) -> bytes:
        """Versioned msgpack."""
        return encode_split(split)

    def decode_split(self, data: bytes) -> RabbitMQSplit:
        """The inverse. Raises CheckpointError for what a later release wrote."""
        return decode_split(data)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(queue {self._queue.name!r} at {self._config.address}, {self.boundedness.value})"

    @property
    def _counts_repeats(self) -> bool:
        """Bounded by what the queue holds, in which a message may be twice."""
        return self._use_correlation_id and self._bound is not None and self._bound.messages is None

    def _count(self) -> int:
        """How many messages the queue holds. Waits for consumers of an earlier attempt to be gone, since what they have not
        acknowledged is not counted."""
        import pika

        name = f"count of {self._queue.name}"
        try:
            with pika.BlockingConnection(connection_parameters(self._config, name=name)) as connection:
                channel = connection.channel()
                clock, pause = SystemClock(), threading.Event()
                deadline_ms = clock.monotonic_ms() + int(_CONSUMERS_GONE_S * 1000)
                while True:
                    found = channel.queue_declare(self._queue.name, passive=True).method
                    if found.consumer_count == 0:
                        break
                    if clock.monotonic_ms() >= deadline_ms:
                        _LOG.warning(
                            "queue '%s' has %d other consumers; messages that they hold are not counted",
                            self._queue.name,
                            found.consumer_count,
                        )
                        break
                    pause.wait(0.05)
                count: int = found.message_count
                return count
        except pika.exceptions.AMQPError as error:
            raise connector_error(
                error,
                doing=f"counting the messages of queue '{self._queue.name}'",
                address=self._config.address,
                tried_ms=None,
            ) from error


class RabbitMQSourceBuilder(Generic[T]):
    """Builds a `RabbitMQSource`; every setter returns the builder.

    Required: a connection, a queue and a deserializer.
    """

    def __init__(self) -> None:
        self._config: RMQConnectionConfig | None = None
        self._queue: str | None = None
        self._queue_type: str | None = None
        self._must_exist = False
        self._prefetch: int | None = None
        self._fields: dict[str, Any] = {}

    def set_connection_config(self, connection_config: RMQConnectionConfig) -> RabbitMQSourceBuilder[T]:
        """How to reach the broker."""
        fix = "build one with RMQConnectionConfig.Builder()"
        check_instance("connection config", connection_config, RMQConnectionConfig, fix=fix)
        self._config = connection_config
        return self

    def set_queue_name(self, queue_name: str) -> RabbitMQSourceBuilder[T]:
        """The queue to read. One that is there is taken as it is; one that is missing is declared, durable."""
        check_text("name of a queue", queue_name, fix="give for example 'orders'")
        self._queue = queue_name
        return self

    def set_queue_type(self, queue_type: str) -> RabbitMQSourceBuilder[T]:
        """`classic` or `quorum`, for a queue that is missing; the broker's default unless set."""
        check_queue_type(queue_type)
        self._queue_type = queue_type
        return self

    def set_queue_must_exist(self, must_exist: bool = True) -> RabbitMQSourceBuilder[T]:
        """Fail where the queue is missing instead of declaring it."""
        self._must_exist = bool(must_exist)
        return self

    def set_use_correlation_id(self, use_correlation_id: bool) -> RabbitMQSourceBuilder[T]:
        """Count each correlation id once. Every message must have one; a message without fails the job."""
        self._fields["use_correlation_id"] = bool(use_correlation_id)
        return self

    def set_prefetch_count(self, prefetch_count: int) -> RabbitMQSourceBuilder[T]:
        """Instead of that of the connection: how many messages a subtask holds unacknowledged, at most."""
        fix = "give 1 to 65535; 0 would let the broker send its whole queue at once"
        check_int("prefetch count", prefetch_count, least=1, most=MAX_PREFETCH, fix=fix)
        self._prefetch = prefetch_count
        return self

    def set_redelivery_timeout(self, redelivery_timeout_ms: int) -> RabbitMQSourceBuilder[T]:
        """In ms, how long an id is kept whose message may come again but does not: 3600000 unless set. A message that comes
        later than that counts again."""
        fix = "give milliseconds, for example 3600000"
        check_int("redelivery timeout", redelivery_timeout_ms, least=1, fix=fix)
        self._fields["redelivery_timeout_ms"] = redelivery_timeout_ms
        return self

    def set_deduplication_window(self, deduplication_window_ms: int) -> RabbitMQSourceBuilder[T]:
        """In ms, how long an id is kept after its message was acknowledged: a publisher that sends a message again, with its id, as an
        at-least-once sink does after a failure, is recognised that long. 0 unless set: some seconds.

        The ids of the window are in every checkpoint. Above a parallelism of 1 all subtasks are asked about each id.
        """
        fix = "give milliseconds, for example 60000"
        check_int("deduplication window", deduplication_window_ms, least=0, fix=fix)
        self._fields["deduplication_window_ms"] = deduplication_window_ms
        return self

    def set_bounded(self, messages: int | None = None) -> RabbitMQSourceBuilder[T]:
        """Stop after so many messages, over all subtasks; without a number, after as many as the queue holds at the start.

        With correlation ids, what comes again after a failure does not count; nor does what a publisher has sent twice, if a number
        is given; without one, a single subtask reads. Without ids, a message that comes again does, and another one is left in the queue. While a job is bounded by what the queue holds, nobody else should read it.
        """
        if messages is not None:
            check_int("number of messages", messages, least=0, fix="give for example 1000, or nothing")
        self._fields["bound"] = Bound(messages)
        return self

    def set_event_time_from_property(self) -> RabbitMQSourceBuilder[T]:
        """Event times from the property `timestamp`, which AMQP has in seconds. A message without it fails the job."""
        self._fields["event_time"] = EventTime()
        return self

    def set_event_time_from_header(self, header: str) -> RabbitMQSourceBuilder[T]:
        """Event times from a header that holds whole milliseconds since the epoch. A message without it fails the job."""
        check_text("name of a header", header, fix="give for example 'event-time'")
        self._fields["event_time"] = EventTime(header)
        return self

    def set_poison_output(self, tag: Any) -> RabbitMQSourceBuilder[T]:
        """Messages that the deserializer raises for go, as `RabbitMQMessage`s, to this side output of the source, and are
        acknowledged like others. Unless set, the job fails, and the message stays in the queue."""
        tag_id = getattr(tag, "tag_id", None)
        if not isinstance(tag_id, str):
            raise JobDefinitionError(
                f"the poison output must be an OutputTag, not {tag!r}", fix="give OutputTag('poison')"
            )
        self._fields["poison_tag"] = tag_id
        return self

    def set_value_only_deserializer(
        self, deserialization_schema: Deserializer[R]
    ) -> RabbitMQSourceBuilder[R]:
        """Records from bodies: a schema, or a function from bytes; None drops the message."""
        deserializer_of(deserialization_schema, used_as="value deserializer")
        self._fields["value_deserializer"] = deserialization_schema
        self._fields.pop("deserializer", None)
        return cast("RabbitMQSourceBuilder[R]", self)  # the same object builds a source of other records now

    def set_deserializer(
        self, deserializer: Callable[[RabbitMQMessage], R | None]
    ) -> RabbitMQSourceBuilder[R]:
        """Records from whole messages, by a function; None drops the message."""
        check_call("deserializer", deserializer, 1, fix="give a function that takes a RabbitMQMessage")
        self._fields["deserializer"] = deserializer
        self._fields.pop("value_deserializer", None)
        return cast("RabbitMQSourceBuilder[R]", self)  # as above

    def build(self) -> RabbitMQSource[T]:
        """The source.

        Raises:
            JobDefinitionError: something is missing.
        """
        for what, given, setter in (
            ("a connection", self._config, "set_connection_config(...)"),
            ("a queue", self._queue, "set_queue_name('orders')"),
            (
                "a deserializer",
                self._fields.get("deserializer") or self._fields.get("value_deserializer"),
                "set_value_only_deserializer(SimpleStringSchema())",
            ),
        ):
            if given is None:
                raise JobDefinitionError(
                    f"a RabbitMQSource needs {what}", fix=f"call {setter} on its builder"
                )
        assert self._config is not None  # both checked above
        assert self._queue is not None
        config = self._config
        if self._prefetch is not None:
            config = replace(config, prefetch_count=self._prefetch)
        queue = QueueSettings(self._queue, self._queue_type, self._must_exist)
        return RabbitMQSource(config=config, queue=queue, **self._fields)


class RMQSource(RabbitMQSource[T]):
    """PyFlink's source: a queue, which is declared durable if it is missing. More settings are in `RabbitMQSource.builder()`.

    Args:
        use_correlation_id: count each correlation id once; every message must have one.
        deserialization_schema: records from bodies.

    Raises:
        JobDefinitionError: an argument is of the wrong kind.
    """

    def __init__(
        self,
        connection_config: RMQConnectionConfig,
        queue_name: str,
        use_correlation_id: bool,
        deserialization_schema: DeserializationSchema[T],
    ) -> None:
        fix = "build one with RMQConnectionConfig.Builder()"
        check_instance("connection config", connection_config, RMQConnectionConfig, fix=fix)
        check_text("name of a queue", queue_name, fix="give for example 'orders'")
        deserializer_of(deserialization_schema, used_as="deserialization schema")
        super().__init__(
            config=connection_config,
            queue=QueueSettings(queue_name),
            value_deserializer=deserialization_schema,
            use_correlation_id=bool(use_correlation_id),
        )
