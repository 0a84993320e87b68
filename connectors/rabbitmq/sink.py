"""`RabbitMQSink`: writes records as messages, at least once, with publisher confirms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

from ...core.arguments import check_call, check_instance, check_int, check_text
from ...core.errors import JobDefinitionError
from ..base import SinkWriterContext
from ..schemas import Serializer, serializer_of
from .connection_config import RMQConnectionConfig
from .message_ids import given, positioned
from .queues import check_queue_type
from .writer import RabbitMQWriter, SinkSettings

T = TypeVar("T")

DEFAULT_MAX_UNCONFIRMED: Final = 10_000


class RabbitMQSink(Generic[T]):
    """A recipe for writing to RabbitMQ; immutable. Made by `RabbitMQSink.builder()`.

    At-least-once: everything written before a barrier is confirmed by the broker before the checkpoint can complete, and what follows
    it is written again after a failure. With `set_message_id` or `set_source_position` a message that is written again has the id that
    it had, as its message id and correlation id, so that a reader which drops ids it has seen has each once: `RabbitMQSource` does.
    Order is kept per subtask, repeated messages apart.
    """

    def __init__(
        self,
        settings: SinkSettings,
        schema: Serializer[T],
        *,
        message_id: Callable[[T], str] | None = None,
        source_position: Callable[[T], Any] | None = None,
    ) -> None:
        """As the builder's setters."""
        self._settings = settings
        self._schema = schema
        self._message_id = message_id
        self._source_position = source_position

    @staticmethod
    def builder() -> RabbitMQSinkBuilder[Any]:
        """A builder in the style of `KafkaSink`'s."""
        return RabbitMQSinkBuilder()

    def create_writer(self, context: SinkWriterContext[Any]) -> RabbitMQWriter:
        """The part in a subtask; connects in a thread of its own.

        Raises:
            MissingDependencyError: pika is not installed.
        """
        from dataclasses import replace

        from .connection_config import connection_parameters

        settings = self._settings
        name = f"{context.job_name} sink {context.subtask}"
        connection_parameters(
            settings.config, name=name
        )  # raises what is wrong with them here, not in a thread
        namespace = (context.job_name, settings.exchange, settings.queue or "")
        id_of = None
        if self._message_id is not None:
            id_of = given(self._message_id)
        elif self._source_position is not None:
            id_of = positioned(namespace, self._source_position)
        serialize = serializer_of(self._schema, used_as="serializer of the RabbitMQ sink")
        return RabbitMQWriter(replace(settings, id_of=id_of), serialize, name=name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.target} at {self._settings.config.address})"


class RabbitMQSinkBuilder(Generic[T]):
    """Builds a `RabbitMQSink`. Required: a connection, a serializer, and a queue or an exchange."""

    def __init__(self) -> None:
        self._config: RMQConnectionConfig | None = None
        self._schema: Any = None
        self._queue: str | None = None
        self._queue_type: str | None = None
        self._exchange: str | None = None
        self._routing_key: str | Callable[[T], str] | None = None
        self._headers: Callable[[T], Mapping[str, Any]] | None = None
        self._properties: Callable[[T], Mapping[str, Any]] | None = None
        self._message_id: Callable[[T], str] | None = None
        self._source_position: Callable[[T], Any] | None = None
        self._persistent = True
        self._mandatory = True
        self._max_unconfirmed = DEFAULT_MAX_UNCONFIRMED

    def set_connection_config(self, connection_config: RMQConnectionConfig) -> RabbitMQSinkBuilder[T]:
        """How to reach the broker."""
        fix = "make one with RMQConnectionConfig.Builder()"
        check_instance("connection of a RabbitMQSink", connection_config, RMQConnectionConfig, fix=fix)
        self._config = connection_config
        return self

    def set_serialization_schema(self, serialization_schema: Serializer[T]) -> RabbitMQSinkBuilder[T]:
        """From a record to the body of its message: a schema, or a function to bytes."""
        serializer_of(serialization_schema, used_as="serializer of the RabbitMQ sink")
        self._schema = serialization_schema
        return self

    def set_queue_name(self, queue_name: str) -> RabbitMQSinkBuilder[T]:
        """Write to this queue by the default exchange. Where it is missing it is declared durable."""
        check_text("queue of a RabbitMQSink", queue_name, fix="give the queue's name")
        self._queue = queue_name
        return self

    def set_queue_type(self, queue_type: str) -> RabbitMQSinkBuilder[T]:
        """`classic` or `quorum`, for a queue that is missing; the broker's default unless set."""
        check_queue_type(queue_type)
        self._queue_type = queue_type
        return self

    def set_exchange(self, exchange: str) -> RabbitMQSinkBuilder[T]:
        """Write to this exchange, which has to exist; nothing is declared."""
        check_text("exchange of a RabbitMQSink", exchange, fix="give the exchange's name")
        self._exchange = exchange
        return self

    def set_routing_key(self, routing_key: str | Callable[[T], str]) -> RabbitMQSinkBuilder[T]:
        """The routing key, or a function from a record to it."""
        if not isinstance(routing_key, str):
            check_call(
                "routing key of a RabbitMQSink",
                routing_key,
                1,
                fix="give a string, or a function of the record",
            )
        self._routing_key = routing_key
        return self

    def set_headers(self, headers: Callable[[T], Mapping[str, Any]]) -> RabbitMQSinkBuilder[T]:
        """A function from a record to the headers of its message."""
        check_call("headers of a RabbitMQSink", headers, 1, fix="give a function from a record to a dict")
        self._headers = headers
        return self

    def set_properties(self, properties: Callable[[T], Mapping[str, Any]]) -> RabbitMQSinkBuilder[T]:
        """A function from a record to properties of its message by pika's names (`content_type`, `priority`, `expiration`, ...). They go
        before what the sink sets itself."""
        check_call(
            "properties of a RabbitMQSink", properties, 1, fix="give a function from a record to a dict"
        )
        self._properties = properties
        return self

    def set_message_id(self, message_id: Callable[[T], str]) -> RabbitMQSinkBuilder[T]:
        """A function from a record to its id: the same whenever the record is written again, and no other record's."""
        check_call(
            "message id of a RabbitMQSink", message_id, 1, fix="give a function from a record to a string"
        )
        self._message_id = message_id
        return self

    def set_source_position(self, source_position: Callable[[T], Any]) -> RabbitMQSinkBuilder[T]:
        """A function from a record to the place that it was made from, of which its id is made: a tuple such as (topic, partition, offset),
        or (key, end of the window). Two records of one place need another part, for example a number."""
        check_call(
            "source position of a RabbitMQSink",
            source_position,
            1,
            fix="give a function from a record to a tuple",
        )
        self._source_position = source_position
        return self

    def set_persistent(self, persistent: bool) -> RabbitMQSinkBuilder[T]:
        """Whether messages survive a restart of the broker, in a durable queue; True unless set."""
        self._persistent = bool(persistent)
        return self

    def set_mandatory(self, mandatory: bool) -> RabbitMQSinkBuilder[T]:
        """Whether a message that reaches no queue fails the job, instead of being dropped by the broker; True unless set."""
        self._mandatory = bool(mandatory)
        return self

    def set_max_unconfirmed(self, max_unconfirmed: int) -> RabbitMQSinkBuilder[T]:
        """How many messages of a subtask may wait for their confirm, before it stands still; 10000 unless set."""
        check_int("max unconfirmed of a RabbitMQSink", max_unconfirmed, least=1, fix="give for example 10000")
        self._max_unconfirmed = max_unconfirmed
        return self

    def build(self) -> RabbitMQSink[T]:
        """The sink.

        Raises:
            JobDefinitionError: something is missing or contradicts.
        """
        config, schema = self._config, self._schema
        if config is None or schema is None:
            raise JobDefinitionError(
                "a RabbitMQSink needs a connection and a serializer",
                fix="call set_connection_config(...) and set_serialization_schema(...)",
            )
        self._check_what_goes_together()
        routing_key = self._routing_key if self._queue is None else self._queue
        settings = SinkSettings(
            config,
            self._exchange or "",
            self._queue,
            self._queue_type,
            "" if routing_key is None else routing_key,
            self._headers,
            self._properties,
            None,
            self._persistent,
            self._mandatory,
            self._max_unconfirmed,
        )
        return RabbitMQSink(
            settings, schema, message_id=self._message_id, source_position=self._source_position
        )

    def _check_what_goes_together(self) -> None:
        if (self._queue is None) == (self._exchange is None):
            raise JobDefinitionError(
                "a RabbitMQSink needs a queue or an exchange, and not both",
                fix="call set_queue_name('orders'), or set_exchange('events') with set_routing_key(...)",
            )
        if self._queue is None and self._queue_type is not None:
            raise JobDefinitionError(
                "a RabbitMQSink that writes to an exchange declares no queue, so that it has no queue type",
                fix="leave out set_queue_type(...), or call set_queue_name(...) instead of set_exchange(...)",
            )
        if self._queue is not None and self._routing_key is not None:
            raise JobDefinitionError(
                "a RabbitMQSink that writes to a queue has that queue's name as its routing key",
                fix="leave out set_routing_key(...), or call set_exchange(...) instead of set_queue_name(...)",
            )
        if self._message_id is not None and self._source_position is not None:
            raise JobDefinitionError(
                "a RabbitMQSink has ids by set_message_id and by set_source_position",
                fix="leave out one of both",
            )


class RMQSink(RabbitMQSink[T]):
    """PyFlink's name and arguments, for `DataStream.add_sink`: persistent messages to a durable queue, at least once.

    Unlike Flink's, it waits for the broker's confirms at every checkpoint.
    """

    passed_to_add_sink = True

    def __init__(
        self, connection_config: RMQConnectionConfig, queue_name: str, serialization_schema: Serializer[T]
    ) -> None:
        """A queue that is missing is declared durable.

        Raises:
            JobDefinitionError: an argument is not what it has to be.
        """
        built: RabbitMQSink[T] = (
            RabbitMQSink.builder()
            .set_connection_config(connection_config)
            .set_queue_name(queue_name)
            .set_serialization_schema(serialization_schema)
            .build()
        )
        super().__init__(built._settings, serialization_schema)
