"""A queue with competing consumers: the real readers, ledgers and enumerator on a model of broker, network and checkpoints.

Connections are lost on the broker's side first, acknowledgements are lost on the way, the broker crashes and forgets what it took
last, checkpoints fail or complete late, notifications get lost, and jobs are restored at other parallelisms.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from functools import partial
from types import SimpleNamespace
from typing import Any, Final

from millstream.connectors.base import SourceBatch, SourceReaderContext
from millstream.connectors.rabbitmq.enumerator import RabbitMQEnumerator
from millstream.connectors.rabbitmq.message import Delivery
from millstream.connectors.rabbitmq.reader import RabbitMQSourceReader, ReaderSettings
from millstream.connectors.rabbitmq.split import decode_split, encode_split
from millstream.core.clock import ManualClock

MESSAGES: Final = 60
STEPS: Final = 700
STEPS_BY_WEIGHT: Final = {
    "publish": 8,
    "push": 20,
    "receive": 25,
    "send": 10,
    "poll": 25,
    "carry": 40,
    "start": 8,
    "trigger": 6,
    "complete": 6,
    "time": 6,
    "drop": 2,
    "crash": 0.7,
    "restore": 0.7,
}
PREFETCH: Final = 8
UNWRITTEN_MS: Final = 1_500
"""So long a broker may keep an acknowledgement in memory alone."""
HOUR_MS: Final = 3_600_000


class Violation(AssertionError):
    """An invariant does not hold."""


class Message:
    """In the queue until its acknowledgement is written."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.redelivered = False


class Connection:
    """Both directions of it, and what the broker has sent over it."""

    def __init__(self) -> None:
        self.to_client: deque[Any] = deque()
        self.to_broker: deque[Any] = deque()
        self.unacknowledged: dict[int, Message] = {}
        self.last_tag = 0
        self.open_at_broker = True


class Broker:
    """One queue, in order."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ready: list[Message] = []
        self.connections: list[Connection] = []
        self.taken: deque[tuple[int, Message]] = deque()  # acknowledged, perhaps not written

    def publish(self, number: int) -> None:
        self.ready.append(Message(number))

    def push(self, connection: Connection) -> bool:
        if not (connection.open_at_broker and self.ready and len(connection.unacknowledged) < PREFETCH):
            return False
        message = self.ready.pop(0)
        connection.last_tag += 1
        connection.unacknowledged[connection.last_tag] = message
        connection.to_client.append(("message", connection.last_tag, message.number, message.redelivered))
        return True

    def take(self, connection: Connection) -> None:
        tags, trip = connection.to_broker.popleft()
        if not connection.open_at_broker:
            return
        for tag in tags:
            if tag not in connection.unacknowledged:
                raise Violation(f"tag {tag} is acknowledged twice, or was never delivered")
            self.taken.append((self.world.clock.monotonic_ms(), connection.unacknowledged.pop(tag)))
        connection.to_client.append(("trip", trip))

    def drop(self, connection: Connection, *, flagged: bool = True) -> None:
        """The broker takes the connection for lost; the client may not know for a while."""
        connection.open_at_broker = False
        self._give_back(connection.unacknowledged.values(), flagged=flagged)
        connection.unacknowledged = {}
        self.connections.remove(connection)

    def crash(self) -> None:
        chance, now_ms = self.world.chance, self.world.clock.monotonic_ms()
        flagged = chance.random() < 0.5  # whether it has written what was delivered
        for connection in list(self.connections):
            self.drop(connection, flagged=flagged)
        since_ms = now_ms - chance.randint(0, UNWRITTEN_MS)
        self._give_back((message for at, message in self.taken if at > since_ms), flagged=flagged)
        self.taken.clear()

    def _give_back(self, messages: Any, *, flagged: bool) -> None:
        for message in messages:
            message.redelivered = message.redelivered or flagged
            self.ready.append(message)
        self.ready.sort(key=lambda message: message.number)


class Consumer:
    """The client's end of a connection."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.generation = 0
        self.backlog = 0
        self.deliveries: deque[Delivery] = deque()
        self.round_trips: deque[tuple[int, int]] = deque()
        self.error = None
        self.connection: Connection | None = None

    def start(self) -> None:
        self.connect()

    def connect(self) -> None:
        self.connection = Connection()
        self.broker.connections.append(self.connection)
        self.backlog = len(self.broker.ready)
        self.generation += 1

    def receive(self) -> None:
        """One frame; or, where nothing is left to read, what has become of the connection."""
        connection = self.connection
        if connection is None:
            if self.generation > 0:
                self.connect()
            return
        if not connection.to_client:
            if not connection.open_at_broker:
                self.lose()
            return
        kind, *rest = connection.to_client.popleft()
        if kind == "trip":
            self.round_trips.append((self.generation, rest[0]))
            return
        tag, number, redelivered = rest
        method = SimpleNamespace(delivery_tag=tag, redelivered=redelivered)
        properties = SimpleNamespace(correlation_id=str(number))
        self.deliveries.append(Delivery(self.generation, method, properties, b""))

    def lose(self) -> None:
        """The client learns that its connection is lost."""
        if self.connection is not None:
            self.connection, self.backlog = None, 0
            self.generation += 1

    def acknowledge(self, generation: int, tags: list[int], round_trip: int) -> None:
        if generation == self.generation and self.connection is not None:
            self.connection.to_broker.append((tags, round_trip))

    def stop(self, give_back: list[int]) -> None:
        raise AssertionError("the source is unbounded")

    def close(self) -> None:
        connection, self.connection = self.connection, None
        self.generation = 0
        if connection is not None and connection.open_at_broker:
            self.broker.drop(connection)


class Attempt:
    """One attempt of the job: enumerator, readers, what their records have added up to, and messages under way."""

    def __init__(self, world: World, parallelism: int, restored: Any) -> None:
        self.world = world
        self.parallelism = parallelism
        self.effects: list[Counter[str]] = [Counter() for _ in range(parallelism)]
        self.before: Counter[str] = Counter()
        self.to_enumerator: list[deque[bytes]] = [deque() for _ in range(parallelism)]
        self.to_reader: list[deque[Any]] = [deque() for _ in range(parallelism)]
        self.pending: dict[int, dict[int, Any]] = {}
        self.enumerator_states: dict[int, bytes] = {}
        self.starting = list(range(parallelism))
        state, splits = None, []
        if restored is not None:
            state, splits, self.before = restored[0], restored[1], Counter(restored[2])
        self.enumerator = RabbitMQEnumerator("q", None, lambda: 0, self, state)  # type: ignore[arg-type]
        self.enumerator.start()
        if splits:
            self.enumerator.add_splits_back([decode_split(split) for split in splits])
        self.consumers = [Consumer(world.broker) for _ in range(parallelism)]
        settings = ReaderSettings(
            "q", PREFETCH, _values, use_correlation_id=True, redelivery_timeout_ms=HOUR_MS
        )
        self.readers = [
            world.reader_type(
                settings,
                consumer,
                SourceReaderContext(
                    subtask,
                    parallelism,
                    "job",
                    world.clock,
                    send_source_event=self.to_enumerator[subtask].append,
                ),
            )
            for subtask, consumer in enumerate(self.consumers)
        ]

    # What the enumerator asks of its context.

    def assign_splits(self, assignment: Any) -> None:
        for subtask, splits in assignment.items():
            copies = [decode_split(encode_split(split)) for split in splits]
            self.to_reader[subtask].append(partial(self.readers[subtask].add_splits, copies))

    def send_event_to_reader(self, subtask: int, event: bytes) -> None:
        self.to_reader[subtask].append(partial(self.readers[subtask].handle_source_event, event))

    # Steps.

    def start_a_reader(self) -> None:
        if self.starting:
            subtask = self.starting.pop(self.world.chance.randrange(len(self.starting)))
            self.enumerator.add_reader(subtask)

    def poll(self, subtask: int, most: int) -> None:
        answer = self.readers[subtask].poll_next(most)
        if isinstance(answer, SourceBatch):
            self.effects[subtask].update(answer.values)

    def carry(self, subtask: int) -> None:
        """One message in each direction."""
        if self.to_enumerator[subtask]:
            self.enumerator.handle_source_event(subtask, self.to_enumerator[subtask].popleft())
        if self.to_reader[subtask]:
            self.to_reader[subtask].popleft()()

    def trigger(self, checkpoint_id: int) -> None:
        if self.starting:
            return
        self.enumerator_states[checkpoint_id] = self.enumerator.snapshot_state(checkpoint_id)
        self.pending[checkpoint_id] = {}
        for subtask in range(self.parallelism):
            self.to_reader[subtask].append(partial(self._snapshot, subtask, checkpoint_id))

    def _snapshot(self, subtask: int, checkpoint_id: int) -> None:
        splits = [encode_split(split) for split in self.readers[subtask].snapshot_state(checkpoint_id)]
        if checkpoint_id in self.pending:  # unless a later one has completed
            self.pending[checkpoint_id][subtask] = (splits, Counter(self.effects[subtask]))

    def complete(self, *, fails: bool) -> None:
        """The oldest checkpoint whose snapshots are all there becomes durable, or does not."""
        full = [number for number, taken in self.pending.items() if len(taken) == self.parallelism]
        if not full:
            return
        checkpoint_id = min(full)
        taken = self.pending.pop(checkpoint_id)
        if fails:
            return
        for older in [number for number in self.pending if number < checkpoint_id]:
            del self.pending[older]
        splits = [split for part, _ in taken.values() for split in part]
        effects = sum((part for _, part in taken.values()), Counter(self.before))
        self.world.completed = (self.enumerator_states[checkpoint_id], splits, effects)
        for subtask, reader in enumerate(self.readers):
            if self.world.faulty and self.world.chance.random() < 0.2:
                continue  # a notification that gets lost
            self.to_reader[subtask].append(partial(reader.notify_checkpoint_complete, checkpoint_id))

    def close(self) -> None:
        for reader in self.readers:
            reader.close()

    @property
    def counted(self) -> Counter[str]:
        return sum(self.effects, Counter(self.before))


class World:
    """One run with one seed.

    Args:
        reader_type: the readers under test.
    """

    def __init__(self, seed: int, reader_type: Any = RabbitMQSourceReader) -> None:
        self.chance = random.Random(seed)
        self.clock = ManualClock(1_000_000)
        self.reader_type = reader_type
        self.broker = Broker(self)
        self.faulty = True
        self.completed: Any = None
        self.checkpoint_id = 0
        self.published = 0
        self.counts: Counter[str] = Counter()
        self.attempt = Attempt(self, self.chance.randint(1, 4), None)

    def run(self) -> World:
        """Faults, then peace: everything is counted once, and the queue ends empty.

        Raises:
            Violation: it is not.
        """
        for _ in range(STEPS):
            self._step()
            self._check_nothing_twice()
        self.faulty = False
        self._finish()
        return self

    def _step(self) -> None:
        chance, attempt = self.chance, self.attempt
        subtask = chance.randrange(attempt.parallelism)
        what = chance.choices(list(STEPS_BY_WEIGHT), list(STEPS_BY_WEIGHT.values()))[0]
        self.counts[what] += 1
        match what:
            case "publish":
                self._publish()
            case "push" if self.broker.connections:
                self.broker.push(chance.choice(self.broker.connections))
            case "receive":
                attempt.consumers[subtask].receive()
            case "send":
                connection = attempt.consumers[subtask].connection
                if connection is not None and connection.to_broker:
                    self.broker.take(connection)
            case "poll":
                attempt.poll(subtask, chance.randint(1, 4))
            case "carry":
                attempt.carry(subtask)
            case "start":
                attempt.start_a_reader()
            case "trigger":
                self.checkpoint_id += 1
                attempt.trigger(self.checkpoint_id)
            case "complete":
                attempt.complete(fails=chance.random() < 0.2)
            case "time":
                self.clock.advance(chance.randint(1, 2500))
            case "drop" if self.broker.connections:
                self.broker.drop(chance.choice(self.broker.connections))
            case "crash":
                self.broker.crash()
                for consumer in attempt.consumers:
                    consumer.lose()  # its end of the connection is reset at once
            case "restore":
                self._restore()

    def _publish(self) -> None:
        for _ in range(min(3, MESSAGES - self.published)):
            self.broker.publish(self.published)
            self.published += 1

    def _restore(self) -> None:
        self.attempt.close()
        self.attempt = Attempt(self, self.chance.randint(1, 4), self.completed)

    def _check_nothing_twice(self) -> None:
        twice = [id_ for id_, count in self.attempt.counted.items() if count > 1]
        if twice:
            raise Violation(f"counted more than once: {twice}")

    def _finish(self) -> None:
        for _ in range(200):
            self._publish()
            attempt = self.attempt
            for _ in range(12):
                while attempt.starting:
                    attempt.start_a_reader()
                for connection in list(self.broker.connections):
                    while self.broker.push(connection):
                        pass
                for subtask in range(attempt.parallelism):
                    self._serve(subtask)
            self.checkpoint_id += 1
            attempt.trigger(self.checkpoint_id)
            for _ in range(12):
                for subtask in range(attempt.parallelism):
                    attempt.carry(subtask)
            attempt.complete(fails=False)
            self._check_nothing_twice()
            self.clock.advance(1_000)
            owed = any(connection.unacknowledged for connection in self.broker.connections)
            if self.published == MESSAGES and not self.broker.ready and not owed:
                break
        else:
            raise Violation("the queue does not become empty")
        if attempt.counted != Counter(str(number) for number in range(MESSAGES)):
            lost = [number for number in range(MESSAGES) if str(number) not in attempt.counted]
            raise Violation(f"lost: {lost}")

    def _serve(self, subtask: int) -> None:
        attempt = self.attempt
        consumer = attempt.consumers[subtask]
        for _ in range(2 * PREFETCH):
            consumer.receive()
        attempt.poll(subtask, PREFETCH)
        while consumer.connection is not None and consumer.connection.to_broker:
            self.broker.take(consumer.connection)
        for _ in range(8):
            attempt.carry(subtask)


def _values(deliveries: list[Delivery]) -> tuple[list[Any], None, None]:
    return [delivery.properties.correlation_id for delivery in deliveries], None, None
