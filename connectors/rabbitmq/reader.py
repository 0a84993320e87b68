"""The reader of `RabbitMQSource`: one of several consumers of a queue, with a ledger of what it has emitted.

A delivery whose id is in the ledger is dropped and acknowledged like any other. One that the broker may have delivered to a
sibling is held until all siblings have said that they did not emit it (`questions.py`).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol

from ...core.errors import ConnectorError, MillstreamError
from ..base import EndOfSource, NothingAvailable, Poll, SourceBatch, SourceReaderContext, SplitFinished
from .ledger import Ledger
from .message import Delivery, place_of
from .questions import Answer, Ask, Asked, Done, Finish, Reply, Settled, decode_event, encode_event
from .split import RabbitMQSplit

_LOG: Final = logging.getLogger(__name__)
_NOTHING: Final = NothingAvailable(5)
_AGAIN: Final = NothingAvailable(0)
_DISOWNED_MS: Final = 120_000
"""How long an id that a sibling asked for is taken with care here: frames of a connection that is already lost may still lie
in a socket, and say nothing of a redelivery."""
_EXPIRE_EVERY_MS: Final = 10_000


class Consumer(Protocol):
    """A connection that consumes the queue, in a thread of its own.

    Attributes:
        generation: rises when a connection begins and when it is lost; 0 before the first.
        backlog: how many messages were ready in the queue when the current connection began.
        deliveries: taken by the reader alone.
        round_trips: (generation, number) of what came back; taken by the reader alone.
        error: why it gave up, or None.
    """

    generation: int
    backlog: int
    deliveries: deque[Delivery]
    round_trips: deque[tuple[int, int]]

    @property
    def error(self) -> MillstreamError | None: ...

    def start(self) -> None:
        """Connect and consume."""

    def acknowledge(self, generation: int, tags: list[int], round_trip: int) -> None:
        """Acknowledge rising tags, then make a round trip; nothing happens if that connection is lost."""

    def stop(self, give_back: list[int]) -> None:
        """Take no more deliveries, and give back these and those that lie in `deliveries`."""

    def close(self) -> None:
        """Send what waits to be sent, disconnect, end the thread."""


@dataclass(frozen=True, slots=True)
class ReaderSettings:
    """What the reader needs of a `RabbitMQSource`.

    Attributes:
        convert: from deliveries to records, timestamps and side outputs; may drop some.
        use_correlation_id: keep ids in a ledger.
        redelivery_timeout_ms: how long an id is kept whose message does not come again.
        repeats_count: what a publisher has sent twice is two of the messages that the source is bounded by.
        deduplication_window_ms: how long an id is kept whose message is acknowledged; 0: publishers send each once.
    """

    queue: str
    prefetch: int
    convert: Callable[[list[Delivery]], tuple[list[Any], list[int] | None, dict[str, list[Any]] | None]]
    use_correlation_id: bool
    redelivery_timeout_ms: int
    deduplication_window_ms: int = 0
    repeats_count: bool = False


class RabbitMQSourceReader:
    """A `SourceReader` of a queue; one split, which it shares with nobody.

    Acknowledgements wait for checkpoints where the job takes them; otherwise they follow the next poll.
    """

    ledger_type: ClassVar = Ledger  # planted bugs of the simulation take its place

    def __init__(self, settings: ReaderSettings, consumer: Consumer, context: SourceReaderContext) -> None:
        self._settings = settings
        self._consumer = consumer
        self._send = context.send_source_event
        self._clock = context.clock
        self._asks = context.parallelism > 1
        self._parallelism = context.parallelism
        self._checkpointing = context.checkpointing
        self._with_ids = settings.use_correlation_id and context.checkpointing
        self._asks_always = settings.deduplication_window_ms > 0
        self._ledger = self._make_ledger(())
        self._split: RabbitMQSplit | None = None
        self._remaining: int | None = None
        self._no_more = self._done = self._finishing = self._finished = False
        self._generation = 0
        self._doubtful = 0  # so many of the next deliveries may be redeliveries without the flag
        self._accepted: deque[tuple[Delivery, str]] = deque()  # nobody has emitted these
        self._accepted_ids: set[str] = set()
        self._held: dict[str, list[Delivery]] = {}
        self._to_ask: list[str] = []
        self._asked: dict[int, list[str]] = {}
        self._questions = 0
        self._disowned: dict[str, int] = {}
        self._expire_at_ms = 0
        self._handed_over: list[int] = []  # without checkpoints: tags of the last batch
        self._unprompted = 0
        self._repeats = 0  # that count, since `_remaining` was last brought up to date
        self._warned_full = False

    # ---- SourceReader -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Nothing: the connection begins with the split."""

    def add_splits(self, splits: Sequence[RabbitMQSplit]) -> None:
        """Take over the ledger, and begin to consume."""
        (split,) = splits
        now_ms = self._clock.now_ms()
        restored = ((id_, since or now_ms) for id_, since in split.ledger)
        self._ledger = self._make_ledger(restored)
        self._split, self._remaining = split, split.remaining
        if self._remaining != 0:
            self._consumer.start()

    def _make_ledger(self, restored: Iterable[tuple[str, int]]) -> Ledger:
        settings = self._settings
        return self.ledger_type(
            restored, keep_ms=settings.redelivery_timeout_ms, remember_ms=settings.deduplication_window_ms
        )

    def notify_no_more_splits(self) -> None:
        """Without a split there is nothing to read."""
        self._no_more = True

    def poll_next(self, max_records: int) -> Poll[Any]:
        """New messages.

        Raises:
            ConnectorError: the connection could not be had again in time, or a message has no correlation id.
        """
        split = self._split
        if split is None:
            return EndOfSource() if self._no_more else _NOTHING
        if self._finished:
            return EndOfSource()
        self._step()
        if self._finishing:
            self._finished = True
            return SplitFinished(split.split_id)
        wanted = max_records
        if self._remaining is not None:
            self._count_down(0)
            wanted = min(max_records, self._remaining)
        taken = self._take(wanted) if wanted else []
        self._ask()
        if self._remaining is not None:
            self._count_down(len(taken))
            if self._remaining <= 0:
                self._end()
        if not taken:
            self._warn_when_full()
            return _NOTHING
        values, timestamps, side = self._settings.convert(taken)
        return SourceBatch(split.split_id, values, timestamps, side) if values or side else _AGAIN

    def _count_down(self, taken: int) -> None:
        assert self._remaining is not None
        self._remaining, self._repeats = self._remaining - taken - self._repeats, 0

    def _count_repeat(self, delivery: Delivery) -> None:
        """What is dropped may be one of the messages that the share consists of; a redelivery was counted before."""
        if self._settings.repeats_count and not delivery.method.redelivered:
            self._repeats += 1

    @property
    def _share_is_read(self) -> bool:
        return self._remaining is not None and self._remaining <= self._repeats

    def snapshot_state(self, checkpoint_id: int) -> list[RabbitMQSplit]:
        """The ledger as it is, and how much remains."""
        if self._split is None or self._finished:
            self._ledger.snapshot(checkpoint_id)
            return []
        ledger = self._ledger.snapshot(checkpoint_id)
        if self._remaining is not None:
            self._count_down(0)
        return [RabbitMQSplit(self._split.split_id, tuple(ledger), self._remaining)]

    def notify_checkpoint_complete(self, checkpoint_id: int) -> None:
        """Acknowledge what it covers."""
        self._notice_connection()
        acknowledged = self._ledger.complete(checkpoint_id)
        if acknowledged is not None:
            self._consumer.acknowledge(self._generation, acknowledged[1], acknowledged[0])

    def handle_source_event(self, event: bytes) -> None:
        """A sibling's question, or what came of ours."""
        match decode_event(event):
            case Asked(question=question, ids=ids):
                self._reply(question, ids)
            case Answer() as answer:
                self._on_answer(answer)
            case Settled(ids=ids):
                self._ledger.settled(ids, self._clock.now_ms())
            case Finish():
                self._finishing = True
            case Ask() | Reply() | Done() as other:
                message = f"the enumerator does not send {type(other).__name__}"
                raise AssertionError(message)

    def close(self) -> None:
        """Send the acknowledgements that wait, and disconnect; the rest goes back to the queue."""
        self._consumer.close()

    # ---- taking deliveries --------------------------------------------------------------------------------------------

    def _step(self) -> None:
        if self._consumer.error is not None and not self._done:
            raise self._consumer.error
        self._notice_connection()
        if self._handed_over:
            self._unprompted += 1
            self._consumer.acknowledge(self._generation, self._handed_over, -self._unprompted)
            self._handed_over = []
        monotonic_ms = self._clock.monotonic_ms()
        trips = self._consumer.round_trips
        while trips:
            generation, number = trips.popleft()
            if generation == self._generation:
                self._ledger.round_trip_done(number, monotonic_ms)
        elsewhere = self._ledger.settle(monotonic_ms, self._clock.now_ms())
        if elsewhere:
            self._send(encode_event(Settled(elsewhere)))
        if monotonic_ms >= self._expire_at_ms:
            self._expire(monotonic_ms)

    def _expire(self, monotonic_ms: int) -> None:
        self._expire_at_ms = monotonic_ms + _EXPIRE_EVERY_MS
        old = self._ledger.expire(self._clock.now_ms())
        if old:
            _LOG.info(
                "queue '%s': %d ids were not delivered again and are forgotten",
                self._settings.queue,
                len(old),
            )
        before = monotonic_ms - _DISOWNED_MS
        self._disowned = {id_: since for id_, since in self._disowned.items() if since > before}

    def _notice_connection(self) -> None:
        generation = self._consumer.generation
        if generation == self._generation:
            return
        again = self._generation > 0
        if again:
            self._ledger.connection_lost(self._clock.now_ms())
        # A broker that crashed may not know any more what it had delivered, so no flag is trusted in what was in the queue
        # when the connection began. On a first one only what this attempt's readers can hold comes again, and comes first.
        most = self._consumer.backlog
        if not again and not (self._split and self._split.restored):
            most = min(most, self._parallelism * self._settings.prefetch)
        self._doubtful = most
        self._generation = generation
        self._accepted.clear()
        self._accepted_ids.clear()
        self._held.clear()
        self._to_ask.clear()
        self._asked.clear()
        self._handed_over = []

    def _take(self, wanted: int) -> list[Delivery]:
        taken: list[Delivery] = []
        ledger, generation = self._ledger, self._generation
        while self._accepted and len(taken) < wanted:
            delivery, id_ = self._accepted.popleft()
            self._accepted_ids.discard(id_)
            ledger.emitted(delivery.method.delivery_tag, id_)
            taken.append(delivery)
        deliveries = self._consumer.deliveries
        while len(taken) + self._repeats < wanted and deliveries:
            delivery = deliveries[0]
            if delivery.generation > generation:
                break  # noticed at the next poll
            deliveries.popleft()
            if delivery.generation == generation and self._is_new(delivery):
                taken.append(delivery)
        return taken

    # HOT: benchmarks of RabbitMQ: once for each delivery
    def _is_new(self, delivery: Delivery) -> bool:
        """Note a delivery of the current connection, and say whether it is to be emitted now."""
        tag = delivery.method.delivery_tag
        id_ = delivery.properties.correlation_id
        if id_ is None and self._settings.use_correlation_id:
            raise self._no_id(delivery)
        if not self._with_ids:
            if self._checkpointing:
                self._ledger.emitted(tag, None)
            else:
                self._handed_over.append(tag)
            return True
        doubtful = delivery.method.redelivered or self._asks_always
        if self._doubtful > 0:
            self._doubtful -= 1
            doubtful = True
        if id_ in self._ledger:
            self._count_repeat(delivery)
            self._ledger.repeated(tag, id_)
            return False
        if self._asks and (
            doubtful or id_ in self._disowned or id_ in self._held or id_ in self._accepted_ids
        ):
            if id_ not in self._held:
                self._held[id_] = []
                self._to_ask.append(id_)
            self._held[id_].append(delivery)
            return False
        self._ledger.emitted(tag, id_)
        return True

    def _end(self) -> None:
        """The share is read: leave the rest of the queue to the others."""
        if self._done:
            return
        self._done = True
        tags = [delivery.method.delivery_tag for held in self._held.values() for delivery in held]
        tags += [delivery.method.delivery_tag for delivery, _ in self._accepted]
        self._held.clear()
        self._accepted.clear()
        self._accepted_ids.clear()
        self._to_ask.clear()
        self._asked.clear()
        self._consumer.stop(sorted(tags))
        if self._asks:
            self._send(encode_event(Done()))
        else:
            self._finishing = True

    # ---- questions ----------------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        if self._to_ask:
            self._questions += 1
            ids, self._to_ask = self._to_ask, []
            self._asked[self._questions] = ids
            self._send(encode_event(Ask(self._questions, ids)))

    def _reply(self, question: int, ids: list[str]) -> None:
        self._notice_connection()
        known = [id_ for id_ in ids if id_ in self._ledger]
        later = [id_ for id_ in ids if id_ in self._accepted_ids]
        now_ms = self._clock.monotonic_ms()
        self._disowned.update((id_, now_ms) for id_ in ids if id_ not in self._ledger)
        reply = Reply(question, known, self._ledger.covered_from, later)
        self._send(encode_event(reply))

    def _on_answer(self, answer: Answer) -> None:
        self._notice_connection()
        later = set(answer.later)
        for id_ in self._asked.pop(answer.number, ()):  # nothing if the connection was lost meanwhile
            if id_ in later or id_ in self._accepted_ids:
                self._to_ask.append(id_)
                continue
            if self._share_is_read:
                continue  # given back with all that is held
            held = self._held.pop(id_)
            covered_from = answer.known.get(id_)
            if id_ in self._ledger or covered_from is not None:
                self._drop(held, id_, None if id_ in self._ledger else covered_from)
                continue
            self._accepted.append((held[0], id_))
            self._accepted_ids.add(id_)
            if held[1:]:  # the same id twice: asked for again once the first is emitted
                self._held[id_] = held[1:]
                self._to_ask.append(id_)

    def _drop(self, held: list[Delivery], id_: str, covered_from: int | None) -> None:
        """These were emitted before: by a sibling, or here (None)."""
        for index, delivery in enumerate(held):
            if self._share_is_read:
                self._held[id_] = held[index:]
                return
            self._count_repeat(delivery)
            if covered_from is None:
                self._ledger.repeated(delivery.method.delivery_tag, id_)
            else:
                self._ledger.repeated_elsewhere(delivery.method.delivery_tag, id_, covered_from)

    # ---- messages -----------------------------------------------------------------------------------------------------

    def _no_id(self, delivery: Delivery) -> ConnectorError:
        return ConnectorError(
            "RabbitMQ: a message has no correlation id, which this source needs to recognise what comes twice",
            where=place_of(delivery, self._settings.queue),
            fix="let the publisher set the property correlation_id, different for each message, or read at least once "
            "with set_use_correlation_id(False)",
        )

    def _warn_when_full(self) -> None:
        if not self._warned_full and self._checkpointing and self._ledger.owed >= self._settings.prefetch:
            self._warned_full = True
            _LOG.warning(
                "queue '%s': %d deliveries wait for a checkpoint, which is all that the prefetch count allows; for more "
                "throughput raise set_prefetch_count(...) or shorten the checkpoint interval",
                self._settings.queue,
                self._ledger.owed,
            )
