"""Channels: the lanes of an exchange, bounded by credit.

Every channel is a queue with room for a few batches. A sender that has used up its credit stops taking input; the receiver
gives credit back batch by batch as it consumes. So one slow or blocked channel never holds up another on the same connection.
Control elements keep their place among the batches and need no credit: there are few of them. Source: FLINK-7282.

A barrier that overtakes leaves the records before it where they are, and goes ahead of them: what it passed is recorded. The
sender does so with what waits for credit, the receiver with what it has queued, and with what still comes before a barrier
that is on its way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Protocol, TypeAlias

import msgspec

from ...core.batch import (
    CheckpointBarrier,
    ControlElement,
    EndOfChannelState,
    RecordBatch,
    StreamElement,
    Watermark,
)
from .codec import CONTROL, BatchCodec, decode_control, encode_control
from .in_flight import Frame, InFlightRecords

SendFrame: TypeAlias = Callable[[int, int, bytes], None]
"""(kind, channel id, payload)"""


class OutputChannel(Protocol):
    """The sending end."""

    def send(self, batch: RecordBatch) -> None:
        """Always takes the batch; ask `has_room` before producing more."""

    def send_control(self, element: ControlElement) -> None:
        """Takes its place behind the batches sent before."""

    def send_barrier(self, barrier: CheckpointBarrier, in_flight: InFlightRecords) -> None:
        """As its `overtake_after_ms` says: ahead of what waits here for credit, or behind it until `overtake` is called.

        What it passes here is added to `in_flight`, in which the channel stays open for as long as the barrier waits.
        """

    def overtake(self) -> None:
        """A barrier that waits goes ahead now."""

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

    Attributes:
        announce: told of barriers when they join the queue; set by a task that lets them overtake.
    """

    __slots__ = (
        "_aside",
        "_batches",
        "_codec",
        "_give_credit",
        "_in_flight",
        "_queue",
        "announce",
        "channel_id",
    )

    def __init__(
        self, channel_id: int, codec: BatchCodec, give_credit: Callable[[int, int], None] | None
    ) -> None:
        self.channel_id = channel_id
        self._codec = codec
        self._give_credit = give_credit
        self._queue: deque[StreamElement | tuple[int, memoryview]] = deque()
        self._batches = 0
        self._aside = 0  # so many elements at the front of the queue hold up the sender no more
        self._in_flight: InFlightRecords | None = None
        self.announce: Callable[[CheckpointBarrier], None] | None = None

    def put(self, element: StreamElement) -> None:
        """Append an element of this process."""
        self._queue.append(element)
        if isinstance(element, RecordBatch):
            self._batches += 1
            if self._in_flight is not None:
                self._record(element, self._in_flight)
        else:
            self._note_control(element)

    def put_frame(self, kind: int, payload: memoryview) -> None:
        """Append a frame from another worker; `payload` belongs to the channel from now on."""
        if kind == CONTROL:
            self.put(decode_control(payload))
        else:
            self._batches += 1
            self._queue.append((kind, payload))
            if self._in_flight is not None:
                self._record((kind, payload), self._in_flight)

    def _note_control(self, element: StreamElement) -> None:
        if self._in_flight is not None:
            if isinstance(element, CheckpointBarrier):
                self._end_recording(self._in_flight, element)
            else:
                self._record(element, self._in_flight)
        if self.announce is not None and isinstance(element, CheckpointBarrier):
            self.announce(element)

    def _end_recording(self, in_flight: InFlightRecords, barrier: CheckpointBarrier) -> None:
        if barrier.checkpoint_id < in_flight.checkpoint_id:
            return  # of a checkpoint that was given up
        self._in_flight = None
        if barrier.checkpoint_id == in_flight.checkpoint_id:
            in_flight.close(self.channel_id)
        else:
            in_flight.give_up()

    def record_into(self, in_flight: InFlightRecords) -> None:
        """Keep what is queued before the barrier of this checkpoint, and while that has not come, what comes before it.

        Watermarks are kept too. The other control elements are not: a restarted sender says them again.
        """
        self._in_flight = None
        for element in self._queue:
            if isinstance(element, CheckpointBarrier):
                if element.checkpoint_id == in_flight.checkpoint_id:
                    return
            else:
                self._record(element, in_flight)
        self._in_flight = in_flight
        in_flight.open(self.channel_id)

    def _record(self, element: StreamElement | tuple[int, memoryview], in_flight: InFlightRecords) -> None:
        if in_flight.given_up:
            self._in_flight = None
        elif isinstance(element, tuple):
            in_flight.add(self.channel_id, *element)
        elif isinstance(element, RecordBatch):
            # At once: the functions behind the queue may change these very records.
            in_flight.add(self.channel_id, *self._codec.encode(element))
        elif isinstance(element, Watermark):
            in_flight.add(self.channel_id, CONTROL, encode_control(element))

    def restore(self, elements: Sequence[RecordBatch | Watermark]) -> None:
        """What a restored channel begins with, ahead of all that its sender has sent since."""
        self._queue.extendleft(reversed((*elements, EndOfChannelState())))
        self._batches += sum(isinstance(element, RecordBatch) for element in elements)

    def put_back(self, batch: RecordBatch) -> None:
        """The rest of a batch that was taken only in part: next in turn."""
        self._queue.appendleft(batch)
        if self._aside:
            self._aside += 1
        else:
            self._batches += 1

    def set_aside(self) -> bool:
        """Let the sender go on as if all that is queued had been consumed; whether it makes a difference to the sender.

        The queue then has no bound: for an input that must not be read, and whose sender must not stand still.
        """
        if self._batches == 0:
            return False
        waiting = len(self._queue) - self._aside
        remote = sum(isinstance(element, tuple) for element in islice(reversed(self._queue), waiting))
        self._aside, self._batches = len(self._queue), 0
        if remote:
            assert self._give_credit is not None
            self._give_credit(self.channel_id, remote)
        return True

    def take(self) -> StreamElement:
        """The next element; the queue must not be empty."""
        element = self._queue.popleft()
        if self._aside:
            self._aside -= 1
            return self._codec.decode(*element) if isinstance(element, tuple) else element
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
        """Batches waiting; neither control elements count nor what was set aside."""
        return self._batches


@dataclass(frozen=True, slots=True)
class _WaitingBarrier:
    """It stands in the sender's queue, and may still overtake."""

    barrier: CheckpointBarrier
    frame: Frame
    in_flight: InFlightRecords


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

    def send_barrier(self, barrier: CheckpointBarrier, in_flight: InFlightRecords) -> None:
        del in_flight  # nothing waits here
        self._input.put(barrier)

    def overtake(self) -> None:
        """Nothing waits here."""

    @property
    def has_room(self) -> bool:
        return self._input.queued_batches < self._capacity

    @property
    def credit(self) -> int:
        return self._capacity - self._input.queued_batches


class RemoteOutputChannel:
    """To a subtask of another worker, over the connection to that worker."""

    is_local = False
    __slots__ = ("_codec", "_credit", "_send_frame", "_waiting", "_waiting_barrier", "channel_id")

    def __init__(self, channel_id: int, codec: BatchCodec, send_frame: SendFrame, credit: int) -> None:
        self.channel_id = channel_id
        self._codec = codec
        self._send_frame = send_frame
        self._credit = credit
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._waiting_barrier: _WaitingBarrier | None = None

    def send(self, batch: RecordBatch) -> None:
        self._enqueue(*self._codec.encode(batch))

    def send_control(self, element: ControlElement) -> None:
        self._enqueue(CONTROL, encode_control(element))

    def send_barrier(self, barrier: CheckpointBarrier, in_flight: InFlightRecords) -> None:
        frame = (CONTROL, encode_control(barrier))
        self._waiting.append(frame)
        self._waiting_barrier = _WaitingBarrier(barrier, frame, in_flight)
        in_flight.open(self.channel_id)
        self._send_waiting()
        if barrier.overtake_after_ms == 0:
            self.overtake()

    def overtake(self) -> None:
        if self._waiting_barrier is None:
            return
        waiting, self._waiting_barrier = self._waiting_barrier, None
        for kind, payload in takewhile(lambda frame: frame is not waiting.frame, self._waiting):
            if kind != CONTROL or isinstance(decode_control(payload), Watermark):
                waiting.in_flight.add(self.channel_id, kind, payload)
        self._waiting = deque(frame for frame in self._waiting if frame is not waiting.frame)
        ahead = msgspec.structs.replace(waiting.barrier, overtake_after_ms=0)
        self._send_frame(CONTROL, self.channel_id, encode_control(ahead))
        waiting.in_flight.close(self.channel_id)

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
            frame = waiting.popleft()
            kind, payload = frame
            if kind != CONTROL:
                self._credit -= 1
            self._send_frame(kind, self.channel_id, payload)
            if self._waiting_barrier is not None and frame is self._waiting_barrier.frame:
                in_flight, self._waiting_barrier = self._waiting_barrier.in_flight, None
                in_flight.close(self.channel_id)

    @property
    def has_room(self) -> bool:
        return self._credit > 0

    @property
    def credit(self) -> int:
        return self._credit - len(self._waiting)
