"""Record writers: distribute a task's results over the channels of one exchange, in batches.

A batch leaves when it is full, and all of them when the buffer timeout expires, when the task has nothing else to do, and
before every control element, so that order within a channel is the order of production.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from ...core.batch import CheckpointBarrier, ControlElement, PartialBatch, RecordBatch
from ...core.types import KeyEncoder
from ...operators.user_function import UserFunction
from ...state.key_groups import key_group_of, subtask_of_key_group
from ..graph.stream_graph import (
    Broadcast,
    Custom,
    Forward,
    Global,
    Hash,
    Partitioner,
    Rebalance,
    Rescale,
    Shuffle,
)
from .channels import OutputChannel
from .in_flight import InFlightRecords

_MAX_CACHED_KEYS: Final = 200_000


class RecordWriter(ABC):
    """The channels of one exchange as a subtask sees them.

    Attributes:
        name: for messages; set by whoever builds the chain: of the operator whose results are written.
        records_out: records and partial aggregates written so far.
        buffer_timeout_ms: how long a batch may wait to fill, where this exchange has a time of its own; set by whoever
            builds the chain.
        overtakable: whether barriers may go ahead of records on this exchange; set by whoever builds the chain.
    """

    name = ""
    overtakable = False

    def __init__(self, channels: Sequence[OutputChannel], batch_size: int) -> None:
        self.buffer_timeout_ms: int | None = None
        self._channels = tuple(channels)
        self._batch_size = batch_size
        self.records_out = 0

    @abstractmethod
    def emit(self, batch: RecordBatch) -> None:
        """Take results, in order."""

    def flush(self) -> None:
        """Send what is held back."""

    def broadcast(self, element: ControlElement) -> None:
        """To every channel, behind everything emitted so far."""
        self.flush()
        for channel in self._channels:
            channel.send_control(element)

    def send_barrier(self, barrier: CheckpointBarrier, in_flight: InFlightRecords) -> None:
        """To every channel: behind everything emitted so far, or ahead of what waits. See `OutputChannel.send_barrier`."""
        if not self.overtakable or barrier.overtake_after_ms is None:
            self.broadcast(barrier)
            return
        self.flush()
        for channel in self._channels:
            channel.send_barrier(barrier, in_flight)

    def overtake(self) -> None:
        """Barriers that wait in the channels go ahead now."""
        for channel in self._channels:
            channel.overtake()

    @property
    def has_room(self) -> bool:
        """Whether every channel has room: otherwise the task takes no input."""
        return all(channel.has_room for channel in self._channels)


def make_record_writer(
    partitioner: Partitioner,
    channels: Sequence[OutputChannel],
    max_parallelism: int,
    batch_size: int,
    *,
    random: Random | None = None,
) -> RecordWriter:
    """The writer for an exchange. `max_parallelism` is the target's; `random` makes the choices of a shuffle."""
    if isinstance(partitioner, Custom):
        return _CustomWriter(channels, batch_size, partitioner)
    if len(channels) == 1:
        return _SingleChannelWriter(channels, batch_size)
    match partitioner:
        case Hash(key_selector=key_selector, key_type=key_type):
            router = KeyRouter(KeyEncoder(key_type).encode, max_parallelism, len(channels))
            return _HashWriter(channels, batch_size, key_selector, router)
        case Rebalance(adaptive=adaptive) | Rescale(adaptive=adaptive):
            return (_AdaptiveWriter if adaptive else _RebalanceWriter)(channels, batch_size)
        case Shuffle():
            return _ShuffleWriter(channels, batch_size, random or Random(0))
        case Global():
            return _GlobalWriter(channels, batch_size)
        case Broadcast():
            return _BroadcastWriter(channels, batch_size)
        case Forward():
            msg = "a forward exchange has one channel per subtask"
            raise AssertionError(msg)


class _Held:
    """Records held back for one channel until they fill a batch."""

    __slots__ = ("channel", "timestamps", "values")

    def __init__(self, channel: OutputChannel) -> None:
        self.channel = channel
        self.values: list[Any] = []
        self.timestamps: list[int] = []

    def send(self) -> None:
        values, timestamps = self.values, self.timestamps
        if values:
            self.values, self.timestamps = [], []
            self.channel.send(RecordBatch(values, timestamps or None))


class _HoldingWriter(RecordWriter):
    """Holds records back per channel. Batches with and without timestamps are never mixed in one."""

    def __init__(self, channels: Sequence[OutputChannel], batch_size: int) -> None:
        super().__init__(channels, batch_size)
        self._held = [_Held(channel) for channel in channels]
        self._with_timestamps = False

    def _prepare(self, batch: RecordBatch) -> None:
        with_timestamps = batch.timestamps is not None
        if with_timestamps != self._with_timestamps:
            self.flush()
            self._with_timestamps = with_timestamps
        self.records_out += len(batch.values)

    def _send_full(self) -> None:
        for held in self._held:
            if len(held.values) >= self._batch_size:
                held.send()

    def flush(self) -> None:
        for held in self._held:
            held.send()


class _SingleChannelWriter(_HoldingWriter):
    """One channel takes everything: within a process batch by batch, to another worker in full batches."""

    def emit(self, batch: RecordBatch) -> None:
        held = self._held[0]
        is_partial = isinstance(batch, PartialBatch)
        if is_partial or held.channel.is_local or len(batch) >= self._batch_size:
            self.flush()
            self.records_out += len(batch)
            _send_in_pieces(held.channel, batch, self._batch_size)
            return
        self._prepare(batch)
        held.values += batch.values
        if batch.timestamps is not None:
            held.timestamps += batch.timestamps
        self._send_full()


class _RebalanceWriter(_HoldingWriter):
    """Record by record in turn, a slice of each batch at a time."""

    def __init__(self, channels: Sequence[OutputChannel], batch_size: int) -> None:
        super().__init__(channels, batch_size)
        self._next = 0

    def emit(self, batch: RecordBatch) -> None:
        self._prepare(batch)
        count = len(self._held)
        for index, held in enumerate(self._held):
            first = (index - self._next) % count
            held.values += batch.values[first::count]
            if batch.timestamps is not None:
                held.timestamps += batch.timestamps[first::count]
        self._next = (self._next + len(batch.values)) % count
        self._send_full()


class _AdaptiveWriter(_HoldingWriter):
    """As rebalance, over the channels with the most credit when a batch comes: a slow receiver gets fewer records.

    Source: FLIP-339 (adaptive partition selection), by credit instead of backlog.
    """

    def __init__(self, channels: Sequence[OutputChannel], batch_size: int) -> None:
        super().__init__(channels, batch_size)
        self._next = 0

    def emit(self, batch: RecordBatch) -> None:
        self._prepare(batch)
        rooms = [held.channel.credit for held in self._held]
        most = max(rooms)
        chosen = [held for held, room in zip(self._held, rooms, strict=True) if room == most]
        count = len(chosen)
        for index, held in enumerate(chosen):
            first = (index - self._next) % count
            held.values += batch.values[first::count]
            if batch.timestamps is not None:
                held.timestamps += batch.timestamps[first::count]
        self._next = (self._next + len(batch.values)) % len(self._held)
        self._send_full()

    @property
    def has_room(self) -> bool:
        return any(channel.has_room for channel in self._channels)


class _ShuffleWriter(_HoldingWriter):
    """Record by record at random. On replay a record may take another channel."""

    def __init__(self, channels: Sequence[OutputChannel], batch_size: int, random: Random) -> None:
        super().__init__(channels, batch_size)
        self._random = random

    def emit(self, batch: RecordBatch) -> None:
        self._prepare(batch)
        chosen = self._random.choices(self._held, k=len(batch.values))
        for held, value in zip(chosen, batch.values, strict=True):
            held.values.append(value)
        if batch.timestamps is not None:
            for held, timestamp in zip(chosen, batch.timestamps, strict=True):
                held.timestamps.append(timestamp)
        self._send_full()


class _GlobalWriter(_SingleChannelWriter):
    """The first channel takes all records; control elements go to every one."""

    @property
    def has_room(self) -> bool:
        return self._channels[0].has_room


class _CustomWriter(_HoldingWriter):
    """Where the user's partitioner says.

    Raises:
        ValueError: it names no channel; the failure names the operator and the record.
    """

    def __init__(self, channels: Sequence[OutputChannel], batch_size: int, partitioner: Custom) -> None:
        super().__init__(channels, batch_size)
        self._partitioner = partitioner
        self._partition: Callable[[Any, int], int] = UserFunction(partitioner.function, "partition").call

    def emit(self, batch: RecordBatch) -> None:
        self._prepare(batch)
        key_of, partition, count = self._partitioner.key_selector, self._partition, len(self._held)
        push = {index: held.values.append for index, held in enumerate(self._held)}
        chosen = []
        for value in batch.values:
            key = key_of(value)
            index = partition(key, count)
            if index not in push:
                message = (
                    f"the partitioner returned {index!r} for the key {key!r};"
                    f" it must be one of the {count} channels, an int from 0 to {count - 1}"
                )
                raise ValueError(message)
            push[index](value)
            chosen.append(index)
        if batch.timestamps is not None:
            for index, timestamp in zip(chosen, batch.timestamps, strict=True):
                self._held[index].timestamps.append(timestamp)
        self._send_full()


class _BroadcastWriter(RecordWriter):
    """Everything to everyone."""

    def emit(self, batch: RecordBatch) -> None:
        self.records_out += len(batch) * len(self._channels)
        for channel in self._channels:
            _send_in_pieces(channel, batch, self._batch_size)


class KeyRouter(dict[Any, int]):
    """Key -> channel, remembered for the keys seen lately; a new key is encoded, hashed and checked once.

    Raises:
        InvalidKeyError: on look-up of a key that cannot be one (None, NaN, of another type than declared).
    """

    def __init__(self, encode: Callable[[Any], bytes], max_parallelism: int, channels: int) -> None:
        super().__init__()
        self.encode = encode
        self._max_parallelism = max_parallelism
        self._channel_count = channels

    def __missing__(self, key: Any) -> int:
        group = key_group_of(self.encode(key), self._max_parallelism)
        if len(self) >= _MAX_CACHED_KEYS:
            self.clear()
        self[key] = channel = subtask_of_key_group(group, self._max_parallelism, self._channel_count)
        return channel


class _HashWriter(_HoldingWriter):
    """By the key group of the record's key. HOT: benchmarks exchange, W3 at two workers."""

    def __init__(
        self,
        channels: Sequence[OutputChannel],
        batch_size: int,
        key_selector: Callable[[Any], Any],
        router: KeyRouter,
    ) -> None:
        super().__init__(channels, batch_size)
        self._key_selector = key_selector
        self._router = router

    def emit(self, batch: RecordBatch) -> None:
        if isinstance(batch, PartialBatch):
            self._emit_partials(batch.values)
            return
        self._prepare(batch)
        key_of, route = self._key_selector, self._router
        push = [held.values.append for held in self._held]
        key = None
        try:
            if batch.timestamps is None:
                for value in batch.values:
                    key = key_of(value)
                    push[route[key]](value)
            else:
                push_time = [held.timestamps.append for held in self._held]
                for value, timestamp in zip(batch.values, batch.timestamps, strict=True):
                    key = key_of(value)
                    channel = route[key]
                    push[channel](value)
                    push_time[channel](timestamp)
        except TypeError:
            if not _is_hashable(key):
                route.encode(
                    key
                )  # the encoder says so in our words; any other error is the key selector's own
            raise
        self._send_full()

    def _emit_partials(self, partials: list[tuple[Any, int, Any]]) -> None:
        self.flush()
        self.records_out += len(partials)
        route = self._router
        buckets: list[list[Any]] = [[] for _ in self._channels]
        push = [bucket.append for bucket in buckets]
        for partial in partials:
            push[route[partial[0]]](partial)
        for channel, bucket in zip(self._channels, buckets, strict=True):
            _send_in_pieces(channel, PartialBatch(bucket), self._batch_size)


def _is_hashable(key: Any) -> bool:
    try:
        hash(key)
    except TypeError:
        return False
    return True


def _send_in_pieces(channel: OutputChannel, batch: RecordBatch, batch_size: int) -> None:
    if len(batch) <= 2 * batch_size:
        if batch.values:
            channel.send(batch)
        return
    for start in range(0, len(batch), batch_size):
        end = start + batch_size
        timestamps = None if batch.timestamps is None else batch.timestamps[start:end]
        channel.send(type(batch)(batch.values[start:end], timestamps))
