"""The enumerator of `RabbitMQSource`: gives each reader its ledger and its share, and passes their questions on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgpack

from ..base import SplitEnumeratorContext
from .questions import Event, Questions, decode_event, encode_event
from .split import RabbitMQSplit, check_version


@dataclass(frozen=True, slots=True)
class Bound:
    """Where a bounded source ends: after `messages`, or, if None, after as many as are in the queue at its start."""

    messages: int | None


class RabbitMQEnumerator:
    """One split for each reader, whatever the parallelism was before: ledgers and remaining messages are shared out anew.

    Args:
        queue: names the splits.
        bound: None: unbounded.
        count: how many messages are in the queue; may block.
        restored: an earlier `snapshot_state`.
        one_reader: the first one reads everything: what another gave back could not be told from what it had emitted.
    """

    def __init__(
        self,
        queue: str,
        bound: Bound | None,
        count: Callable[[], int],
        context: SplitEnumeratorContext[RabbitMQSplit],
        restored: bytes | None,
        *,
        one_reader: bool = False,
    ) -> None:
        self._queue = queue
        self._bound = bound
        self._count = count
        self._context = context
        self._readers_used = 1 if one_reader else context.parallelism
        self._questions = Questions(self._readers_used)
        self._readers: set[int] = set()
        self._given: set[int] = set()
        self._ledger: list[tuple[str, int]] = []
        self._total: int | None = None  # not yet shared out; None: not known, or without end
        self._known = bound is None  # how much there is to read
        if restored is not None:
            version, ledger, self._total, self._known = msgpack.unpackb(restored)
            check_version(version)
            self._ledger = [(id_, since) for id_, since in ledger]

    def start(self) -> None:
        """Find out how much there is to read."""
        if self._known or self._bound is None:
            return
        if self._bound.messages is not None:
            self._on_counted(self._bound.messages)
        else:
            self._context.call_async(self._count, self._on_counted)

    def add_reader(self, subtask: int) -> None:
        """Give the reader its split, then the questions that waited for it."""
        if subtask >= self._readers_used:
            self._context.signal_no_more_splits(subtask)
            return
        self._readers.add(subtask)
        self._hand_out()
        self._send(self._questions.add_reader(subtask))

    def handle_split_request(self, subtask: int) -> None:
        """Nothing: there is one split for each reader."""

    def handle_source_event(self, subtask: int, event: bytes) -> None:
        """A question of a reader, or its reply to one."""
        self._send(self._questions.handle(subtask, decode_event(event)))

    def add_splits_back(self, splits: Sequence[RabbitMQSplit]) -> None:
        """Take over ledgers and remaining messages of a restored checkpoint, before any reader is there."""
        for split in splits:
            self._ledger.extend(split.ledger)
            if split.remaining is not None:
                self._total = (self._total or 0) + split.remaining

    def snapshot_state(self, checkpoint_id: int) -> bytes:  # the state is the same for every checkpoint
        """What no reader has yet."""
        waiting = [subtask for subtask in range(self._readers_used) if subtask not in self._given]
        splits = [self._split(subtask) for subtask in waiting]
        ledger = [entry for split in splits for entry in split.ledger]
        total = None if self._total is None else sum(split.remaining or 0 for split in splits)
        encoded: bytes = msgpack.packb([1, ledger, total, self._known])
        return encoded

    def close(self) -> None:
        """Nothing is held."""

    def _on_counted(self, count: int) -> None:
        self._total, self._known = count, True
        self._hand_out()

    def _hand_out(self) -> None:
        if not self._known:
            return
        for subtask in sorted(self._readers - self._given):
            self._given.add(subtask)
            if self._total != 0:
                self._context.assign_splits({subtask: [self._split(subtask)]})
            if self._bound is not None:
                self._context.signal_no_more_splits(subtask)

    def _split(self, subtask: int) -> RabbitMQSplit:
        readers = self._readers_used
        remaining = None
        if self._bound is not None:
            each, rest = divmod(self._total or 0, readers)
            remaining = each + (subtask < rest)
        ledger = tuple(self._ledger[subtask::readers])
        return RabbitMQSplit(f"{self._queue}-{subtask}", ledger, remaining, restored=bool(self._ledger))

    def _send(self, events: list[tuple[int, Event]]) -> None:
        for subtask, event in events:
            self._context.send_event_to_reader(subtask, encode_event(event))
