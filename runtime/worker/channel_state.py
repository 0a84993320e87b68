"""Channel state of a subtask: written when a snapshot is complete, and replayed when the subtask is restored.

A barrier splits what is under way in a channel in two: the target keeps what had reached it, the source what had not left it.
Both parts, in this order, are what the channel begins with after a restore; the target gets both.

Where the target has another parallelism, its subtasks each read all of it, run it through the exchange's partitioner, and keep
what is theirs, so the partitioner has to depend on the record and the number of subtasks alone.

Watermarks under way say what *their* sender will not send any more, and the splits of a restored source are handed out anew, so
that another sender may: what holds for all of them is the least of what they said, behind all restored records.

Source: FLIP-76; FLINK-19801 (rescaling, with a virtual channel for each one of then).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ...checkpoint.channel_state import ChannelContent, decode_channels, encode_channels
from ...core.batch import MAX_TIMESTAMP, CheckpointBarrier, ControlElement, RecordBatch, Watermark
from ...core.errors import CheckpointError, CheckpointFailureReason
from ...core.types import TypeSchema, conversion, difference
from ...state.backend import CheckpointReader, CheckpointStreams
from ...state.handles import ChannelStateHandle
from ..exchange.codec import CONTROL, BatchCodec, decode_control
from ..exchange.in_flight import InFlightRecords
from ..exchange.record_writer import make_record_writer
from ..graph.channel_state import edge_name, may_be_overtaken
from ..graph.execution_graph import ExecutionGraph, Subtask
from ..graph.job_graph import JobEdge
from ..graph.stream_graph import Forward, Rebalance, Rescale

_BATCH_SIZE: Final = 1_000


def write_channel_state(
    in_flight: InFlightRecords,
    subtask: Subtask,
    graph: ExecutionGraph,
    codecs: Mapping[int, BatchCodec],
    streams: CheckpointStreams,
    inline_bytes: int,
) -> dict[str, tuple[ChannelStateHandle, ...]]:
    """A file for each exchange of the subtask that had anything under way, unless everything together fits into `inline_bytes`:
    then it goes into the metadata; handles by the id of the subtask's operator.

    Raises:
        CheckpointError: STORAGE.
    """
    is_small = in_flight.fits(inline_bytes)
    contents: dict[tuple[int, bool], list[ChannelContent]] = defaultdict(list)
    for channel_id, frames in sorted(in_flight.frames.items()):
        channel = graph.channels[channel_id]
        outgoing = channel.source.subtask_id == subtask.subtask_id
        plain = [(kind, bytes(payload)) for kind, payload in frames]
        content = ChannelContent(channel.source.index, channel.target.index, plain)
        contents[channel.edge.index, outgoing].append(content)
    handles: dict[str, list[ChannelStateHandle]] = defaultdict(list)
    for (index, outgoing), channels in contents.items():
        name = edge_name(graph.job, graph.job.edges[index])
        file = streams.write_small(
            f"{subtask.subtask_id}-channels-{index}",
            encode_channels(channels),
            inline_bytes if is_small else 0,
        )
        operator_id = name.source if outgoing else name.target
        handles[operator_id].append(
            ChannelStateHandle(
                name,
                codecs[index].schemas(),
                subtask.index,
                outgoing,
                graph.job.vertices[graph.job.edges[index].source].parallelism,
                graph.job.vertices[graph.job.edges[index].target].parallelism,
                file,
            )
        )
    return {operator_id: tuple(found) for operator_id, found in handles.items()}


@dataclass(frozen=True, slots=True)
class RestoredExchange:
    """An exchange that had records under way, as one of its targets of now restores it.

    Attributes:
        subtask: the target.
        channels: positions of the exchange's channels among the inputs of the target.
    """

    edge: JobEdge
    subtask: Subtask
    codec: BatchCodec
    handles: Sequence[ChannelStateHandle]
    channels: Sequence[int]

    def read(self, reader: CheckpointReader) -> dict[int, list[RecordBatch | Watermark]]:
        """What each of the channels begins with, by its position.

        Raises:
            CheckpointError: CORRUPT, or INCOMPATIBLE: the records were of another type, or cannot be distributed anew.
        """
        then = self._contents(reader)
        restored: dict[int, list[RecordBatch | Watermark]] = defaultdict(list)
        route = self._router()
        for (source, target), elements in sorted(then.items()):
            channel = self.channels[source % len(self.channels)]
            for element in elements:
                if isinstance(element, RecordBatch):
                    restored[channel] += route(target, element)
        watermark = least_watermark(then, self.handles[0].source_parallelism)
        if watermark is not None:
            for channel in self.channels:
                restored[channel].append(watermark)
        return dict(restored)

    def _contents(
        self, reader: CheckpointReader
    ) -> dict[tuple[int, int], list[RecordBatch | ControlElement]]:
        """Every channel of then, whole; what the target kept comes before what the source did."""
        then: dict[tuple[int, int], list[RecordBatch | ControlElement]] = defaultdict(list)
        for handle in sorted(self.handles, key=lambda handle: handle.outgoing):
            for was, now in zip(handle.schemas, self.codec.schemas(), strict=True):
                reason = _misfit(was, now)
                if reason is not None:
                    raise self._incompatible(
                        f"records under way were of the type {was}, and now they are of the type {now}: {reason}",
                        fix="start from a savepoint or an aligned checkpoint: these hold no records under way",
                    )
            for content in decode_channels(reader.read(handle.file), handle.file.path):
                then[content.source, content.target] += _decoded(self.codec, content.frames)
        return then

    def _router(self) -> Callable[[int, RecordBatch], list[RecordBatch]]:
        """What of a batch that was on its way to subtask `target` of then goes to this one."""
        me, parallelism = self.subtask.index, self.subtask.vertex.parallelism
        then = self.handles[0].target_parallelism
        if then == parallelism:
            return lambda target, batch: [batch] if target == me else []
        partitioner = self.edge.partitioner
        if isinstance(partitioner, Forward | Rescale):
            # Their own records never are under way: these are of the exchange that was there at the parallelism of then.
            partitioner = Rebalance()
        if not may_be_overtaken(partitioner):
            raise self._incompatible(
                f"records are under way to {then} subtasks, and a {partitioner.name.lower()} exchange cannot"
                f" distribute them to {parallelism}",
                fix=f"restore at parallelism {then} first, or start from a savepoint",
            )
        outputs = [_Collected() for _ in range(parallelism)]
        writer = make_record_writer(partitioner, outputs, self.subtask.vertex.max_parallelism, _BATCH_SIZE)

        def route(target: int, batch: RecordBatch) -> list[RecordBatch]:
            del target
            writer.emit(batch)
            writer.flush()
            mine = outputs[me].batches
            for output in outputs:
                output.batches = []
            return mine

        return route

    def _incompatible(self, what: str, fix: str) -> CheckpointError:
        where = f"{self.subtask.vertex.name}, input {self.edge.input_id}"
        return CheckpointError(CheckpointFailureReason.INCOMPATIBLE, what, where=where, fix=fix)


def least_watermark(
    then: Mapping[tuple[int, int], Sequence[RecordBatch | ControlElement]], sources: int
) -> Watermark | None:
    """What all source subtasks of then have said, in channels by (source, target): None if one of them has said nothing.

    MAX says that the input has ended. Senders find that out again, or, if there is more input now, find that it has not.
    """
    said: dict[int, int] = {}
    for (source, _), elements in then.items():
        for element in elements:
            if isinstance(element, Watermark):
                said[source] = max(said.get(source, element.timestamp), element.timestamp)
    least = min(said.values(), default=MAX_TIMESTAMP)
    return Watermark(least) if len(said) == sources and least < MAX_TIMESTAMP else None


class _Collected:
    """The output to one subtask, kept."""

    is_local = True
    has_room = True
    credit = 1

    def __init__(self) -> None:
        self.batches: list[RecordBatch] = []

    def send(self, batch: RecordBatch) -> None:
        self.batches.append(batch)

    def send_control(self, element: ControlElement) -> None:
        raise AssertionError(element)

    def send_barrier(self, barrier: CheckpointBarrier, in_flight: InFlightRecords) -> None:
        raise AssertionError(barrier, in_flight)

    def overtake(self) -> None:
        """Nothing waits here."""


def _misfit(was: TypeSchema, now: TypeSchema) -> str | None:
    """Why batches encoded as `was` cannot be decoded as `now`: fields of record classes go by name, all else by position."""
    reason = difference(was, now)
    if reason is None and (was.root != now.root or conversion(was, now) is not None):
        return "only fields of record classes may change while records are under way"
    return reason


def _decoded(
    codec: BatchCodec, frames: Iterable[tuple[int, bytes]]
) -> Iterator[RecordBatch | ControlElement]:
    for kind, payload in frames:
        view = memoryview(payload)
        yield decode_control(view) if kind == CONTROL else codec.decode(kind, view)
