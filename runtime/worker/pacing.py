"""Output channels that keep no more under way than their receiver takes in a moment.

A barrier waits behind the records before it. Credit counts batches, and four batches of records that take 10 ms each are 40 s of
work; so the sender looks at how long a batch waits for its turn, and sends less ahead to a slow receiver.
Source: FLIP-183 (buffer debloating), with the sender as the one that measures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from ...core.batch import RecordBatch
from ...core.clock import Clock
from ..exchange.channels import InputChannel, LocalOutputChannel, RemoteOutputChannel, SendFrame
from ..exchange.codec import BatchCodec

_SLOW_MS: Final = 200
_QUICK_MS: Final = 50
_FIRST_WINDOW: Final = 64
"""Records, before anything is known. A quick receiver is sent full batches after seven of them."""


class Pace:
    """How many records may be under way in one channel.

    Args:
        batch_size: records.
        credit: batches; with a window of so many full ones the channel is limited by its credit alone.
    """

    def __init__(self, clock: Clock, batch_size: int, credit: int) -> None:
        self._clock = clock
        self._batch_size = batch_size
        self._most = most = batch_size * credit
        self._window = min(_FIRST_WINDOW, most)
        self._under_way: deque[tuple[int, int]] = deque()
        self._records = 0

    def sent(self, records: int) -> None:
        """A batch was handed to the channel."""
        self._under_way.append((self._clock.monotonic_ms(), records))
        self._records += records

    def taken(self) -> None:
        """The oldest batch had its turn."""
        sent_ms, records = self._under_way.popleft()
        self._records -= records
        waited_ms = self._clock.monotonic_ms() - sent_ms
        if waited_ms > _SLOW_MS:
            self._window = max(1, self._window // 2)
        elif waited_ms < _QUICK_MS:
            self._window = min(self._most, self._window * 2)

    @property
    def is_narrow(self) -> bool:
        """Whether records must be sent at once to be counted, instead of being held back until they fill a batch."""
        return self._window < self._batch_size

    @property
    def batches(self) -> int:
        """Under way."""
        return len(self._under_way)

    @property
    def room(self) -> int:
        """Records that may be sent now; 0 or less: none."""
        return self._most if self._window == self._most else self._window - self._records


class FastestPace:
    """The paces of channels one of which is chosen for each record: the one with most room counts."""

    def __init__(self, paces: Sequence[Pace]) -> None:
        self._paces = tuple(paces)

    @property
    def is_narrow(self) -> bool:
        return any(pace.is_narrow for pace in self._paces)

    @property
    def room(self) -> int:
        return max(pace.room for pace in self._paces)


class PacedLocalChannel(LocalOutputChannel):
    """To a subtask in the same process."""

    __slots__ = ("_pace", "_queue")

    def __init__(self, target: InputChannel, capacity: int, pace: Pace) -> None:
        super().__init__(target, capacity)
        self._queue = target
        self._pace = pace

    def send(self, batch: RecordBatch) -> None:
        super().send(batch)
        self._pace.sent(len(batch))

    @property
    def has_room(self) -> bool:
        while self._pace.batches > self._queue.queued_batches:
            self._pace.taken()
        return super().has_room and self._pace.room > 0

    @property
    def credit(self) -> int:
        return super().credit if self.has_room else 0


class PacedRemoteChannel(RemoteOutputChannel):
    """To a subtask of another worker."""

    __slots__ = ("_pace",)

    def __init__(
        self,
        channel_id: int,
        codec: BatchCodec,
        send_frame: SendFrame,
        credit: int,
        pace: Pace,
    ) -> None:
        super().__init__(channel_id, codec, send_frame, credit)
        self._pace = pace

    def send(self, batch: RecordBatch) -> None:
        self._pace.sent(len(batch))
        super().send(batch)

    def add_credit(self, batches: int) -> None:
        for _ in range(batches):
            self._pace.taken()
        super().add_credit(batches)

    @property
    def has_room(self) -> bool:
        return super().has_room and self._pace.room > 0

    @property
    def credit(self) -> int:
        return super().credit if self.has_room else 0
