"""Channels: the lanes of an exchange, bounded by credit.

Every channel is a queue with room for a few batches. A sender that has used up its credit stops taking input; the receiver
gives credit back batch by batch as it consumes. So one slow or blocked channel never holds up another on the same connection.
Control elements keep their place among the batches and need no credit: there are few of them. Source: FLINK-7282.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeAlias

from ...core.batch import ControlElement, RecordBatch, StreamElement
from .codec import CONTROL, BatchCodec, decode_control, encode_control

SendFrame: TypeAlias = Callable[[int, int, bytes], None]
"""(kind, channel id, payload)"""


class OutputChannel(Protocol):
    """The sending end."""

    def send(self, batch: RecordBatch) -> None:
        """Always takes the batch; ask `has_room` before producing more."""

    def send_control(self, element: ControlElement) -> None:
        """Takes its place behind the batches sent before."""

    @property
    def has_room(self) -> bool:
        """Whether the receiver has room for another batch."""

    @property
    def credit(self) -> int:
        """For how many batches the receiver has room; 0 or less: for none."""

    @property
    def is_local(self) -> bool:
        """Within the process: batches are handed over by reference."""


class InputChannel:
    """The receiving end: elements in order; batches from other workers are decoded when their turn comes.

    Args:
        give_credit: called with 1 for each batch consumed; None for a local channel, whose sender looks at the queue.
    """

    __slots__ = ("_batches", "_codec", "_give_credit", "_queue", "channel_id")

    def __init__(
        self, channel_id: int, codec: BatchCodec, give_credit: Callable[[int, int], None] | None
    ) -> None:
        self.channel_id = channel_id
        self._codec = codec
        self._give_credit = give_credit
        self._queue: deque[StreamElement | tuple[int, memoryview]] = deque()
        self._batches = 0

    def put(self, element: StreamElement) -> None:
        """Append an element of this process."""
        self._batches += isinstance(element, RecordBatch)
        self._queue.append(element)

    def put_frame(self, kind: int, payload: memoryview) -> None:
        """Append a frame from another worker; `payload` belongs to the channel from now on."""
        if kind == CONTROL:
            self._queue.append(decode_control(payload))
        else:
            self._batches += 1
            self._queue.append((kind, payload))

    def put_back(self, batch: RecordBatch) -> None:
        """The rest of a batch that was taken only in part: next in turn."""
        self._queue.appendleft(batch)
        self._batches += 1

    def take(self) -> StreamElement:
        """The next element; the queue must not be empty."""
        element = self._queue.popleft()
        if isinstance(element, tuple):
            self._batches -= 1
            assert self._give_credit is not None
            self._give_credit(self.channel_id, 1)
            return self._codec.decode(*element)
        self._batches -= isinstance(element, RecordBatch)
        return element

    def __bool__(self) -> bool:
        return bool(self._queue)

    @property
    def has_control_next(self) -> bool:
        """Whether the next element is there and needs no room."""
        return bool(self._queue) and not isinstance(self._queue[0], RecordBatch | tuple)

    @property
    def queued_batches(self) -> int:
        """Batches waiting; control elements do not count."""
        return self._batches


class LocalOutputChannel:
    """To a subtask in the same process."""

    is_local = True
    __slots__ = ("_capacity", "_input")

    def __init__(self, target: InputChannel, capacity: int) -> None:
        self._input = target
        self._capacity = capacity

    def send(self, batch: RecordBatch) -> None:
        self._input.put(batch)

    def send_control(self, element: ControlElement) -> None:
        self._input.put(element)

    @property
    def has_room(self) -> bool:
        return self._input.queued_batches < self._capacity

    @property
    def credit(self) -> int:
        return self._capacity - self._input.queued_batches


class RemoteOutputChannel:
    """To a subtask of another worker, over the connection to that worker."""

    is_local = False
    __slots__ = ("_codec", "_credit", "_send_frame", "_waiting", "channel_id")

    def __init__(self, channel_id: int, codec: BatchCodec, send_frame: SendFrame, credit: int) -> None:
        self.channel_id = channel_id
        self._codec = codec
        self._send_frame = send_frame
        self._credit = credit
        self._waiting: deque[tuple[int, bytes]] = deque()

    def send(self, batch: RecordBatch) -> None:
        self._enqueue(*self._codec.encode(batch))

    def send_control(self, element: ControlElement) -> None:
        self._enqueue(CONTROL, encode_control(element))

    def _enqueue(self, kind: int, payload: bytes) -> None:
        self._waiting.append((kind, payload))
        self._send_waiting()

    def add_credit(self, batches: int) -> None:
        """The receiver consumed so many batches."""
        self._credit += batches
        self._send_waiting()

    def _send_waiting(self) -> None:
        waiting = self._waiting
        while waiting and (self._credit > 0 or waiting[0][0] == CONTROL):
            kind, payload = waiting.popleft()
            if kind != CONTROL:
                self._credit -= 1
            self._send_frame(kind, self.channel_id, payload)

    @property
    def has_room(self) -> bool:
        return self._credit > 0

    @property
    def credit(self) -> int:
        return self._credit - len(self._waiting)
