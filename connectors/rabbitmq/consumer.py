"""Consumes a queue over one connection at a time, in a thread of its own, so that heartbeats go on while the job waits."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from ...core.errors import ConfigurationError, ConnectorError, MissingDependencyError
from .connection_config import RMQConnectionConfig
from .connection_thread import ConnectionThread
from .ledger import AckPlan
from .message import Delivery
from .queues import ensure_queue


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """The queue to read.

    Attributes:
        type: for declaring it if it is missing; None: the broker's default.
        must_exist: it is not declared.
    """

    name: str
    type: str | None = None
    must_exist: bool = False


class QueueConsumer:
    """See `reader.Consumer`.

    Args:
        config: how to connect, how long to try again, and the prefetch count.
        name: what the broker's management shows the connection as.
    """

    def __init__(self, config: RMQConnectionConfig, queue: QueueSettings, *, name: str) -> None:
        self.generation = 0
        self.backlog = 0
        self.deliveries: deque[Delivery] = deque()  # bounded by the prefetch count of each connection
        self.round_trips: deque[tuple[int, int]] = deque()
        self._prefetch = config.prefetch_count
        self._queue = queue
        self._thread = ConnectionThread(
            config,
            doing=f"reading from queue '{queue.name}' as user {config.user_name}",
            name=name,
            on_open=self._on_open,
            on_lost=self._on_lost,
        )
        # Of the thread alone:
        self._channel: Any = None
        self._consuming = False
        self._consumer_tag: str | None = None
        self._plan = AckPlan()
        self._stopped = False

    @property
    def error(self) -> ConnectorError | ConfigurationError | MissingDependencyError | None:
        """Why there will be no connection any more."""
        return self._thread.failure

    def start(self) -> None:
        """Connect and consume, in the background; what fails is `error`."""
        self._thread.start()

    def acknowledge(self, generation: int, tags: list[int], round_trip: int) -> None:
        """See `reader.Consumer`; without a round trip if its number is not above 0."""
        self._thread.call(lambda: self._acknowledge(generation, tags, round_trip))

    def stop(self, give_back: list[int]) -> None:
        """See `reader.Consumer`."""
        self._thread.call(lambda: self._stop(give_back))

    def close(self) -> None:
        """See `reader.Consumer`."""
        self._thread.close()

    # ---- in the thread ------------------------------------------------------------------------------------------------

    def _on_open(self, channel: Any) -> None:
        self._channel, self._plan = channel, AckPlan()
        if self._stopped:
            return
        if self.generation == 0 and not self._queue.must_exist:
            ensure_queue(channel, self._queue.name, self._queue.type, lambda: self._declare(channel))
        else:
            self._declare(channel)

    def _declare(self, channel: Any) -> None:
        channel.queue_declare(self._queue.name, passive=True, callback=self._declared)

    def _declared(self, frame: Any) -> None:
        count = frame.method.message_count
        self._channel.basic_qos(prefetch_count=self._prefetch, callback=lambda _: self._consume(count))

    def _consume(self, count: int) -> None:
        self.backlog = count
        self.generation += 1
        self._consuming = True
        generation, append = self.generation, self.deliveries.append
        # The queue was deleted, or has moved: a new connection shows which.
        self._channel.add_on_cancel_callback(lambda _: self._channel.close())

        # HOT: benchmarks of RabbitMQ: once for each delivery
        def on_message(channel: Any, method: Any, properties: Any, body: bytes) -> None:
            if self._stopped:
                channel.basic_nack(method.delivery_tag)
                return
            append(Delivery(generation, method, properties, body))

        self._consumer_tag = self._channel.basic_consume(self._queue.name, on_message)

    def _on_lost(self) -> None:
        """Let the reader know at once: what it has not taken yet may be delivered to a sibling from now on."""
        if self._consuming:
            self._consuming, self.backlog = False, 0
            self.generation += 1

    def _acknowledge(self, generation: int, tags: list[int], round_trip: int) -> None:
        if generation != self.generation or not self._consuming or not self._channel.is_open:
            return
        upto, single = self._plan.add(tags)
        if upto is not None:
            self._channel.basic_ack(upto, multiple=True)
        for tag in single:
            self._channel.basic_ack(tag)
        if round_trip > 0:
            done = (generation, round_trip)
            self._channel.queue_declare(
                self._queue.name, passive=True, callback=lambda _: self.round_trips.append(done)
            )

    def _stop(self, give_back: list[int]) -> None:
        self._stopped = True
        if not self._consuming or not self._channel.is_open:
            return
        self._channel.basic_cancel(self._consumer_tag)
        tags = list(give_back)
        while self.deliveries:
            delivery = self.deliveries.popleft()
            if delivery.generation == self.generation:
                tags.append(delivery.method.delivery_tag)
        for tag in tags:
            self._channel.basic_nack(tag)
        self._plan.add(sorted(tags))
