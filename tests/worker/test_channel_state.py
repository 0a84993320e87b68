"""Channel state of one exchange: what is kept of it, and who gets it back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from millstream.checkpoint.channel_state import ChannelContent, encode_channels
from millstream.core.batch import MAX_TIMESTAMP, RecordBatch, Watermark
from millstream.core.errors import CheckpointError
from millstream.core.types import GENERIC, TypeInformation, Types
from millstream.core.types.inference import infer_type
from millstream.runtime.exchange.codec import CONTROL, BatchCodec, encode_control
from millstream.runtime.exchange.in_flight import InFlightRecords
from millstream.runtime.graph.execution_graph import ExecutionGraph, build_execution_graph
from millstream.runtime.graph.job_graph import JobEdge, JobGraph, JobVertex
from millstream.runtime.graph.stream_graph import (
    Broadcast,
    Custom,
    Forward,
    Global,
    Hash,
    JobSettings,
    Partitioner,
    Rebalance,
    Rescale,
    Shuffle,
)
from millstream.runtime.worker.channel_state import RestoredExchange, least_watermark, write_channel_state
from millstream.state.handles import ChannelStateHandle, FileRef
from tests.simulation.barrier_world import SeenSpec
from tests.worker.chains import described

KEYED = Hash(lambda value: value, Types.INT())


@dataclass
class Storage:
    """Files in memory."""

    files: dict[str, bytes] = field(default_factory=dict)

    def write_exclusive(self, name: str, chunks: Sequence[bytes]) -> FileRef:
        path = f"{len(self.files)}-{name}"
        self.files[path] = b"".join(chunks)
        return FileRef(path, len(self.files[path]), "", shared=False)

    def write_small(self, name: str, content: bytes, most: int) -> FileRef:
        if len(content) > most:
            return self.write_exclusive(name, [content])
        return FileRef("", len(content), "", shared=False, content=content)

    def read(self, ref: FileRef) -> bytes:
        return self.files[ref.path] if ref.content is None else ref.content

    def upload_shared(self, local: Path) -> FileRef:
        raise AssertionError(local)

    def download(self, ref: FileRef, local: Path) -> None:
        raise AssertionError(ref, local)


def graph(sources: int, targets: int, partitioner: Partitioner) -> ExecutionGraph:
    operators = described(SeenSpec(), SeenSpec())
    vertices = tuple(
        JobVertex(f"v{n}", n, f"v{n}", (operator,), width, 128, "default")
        for n, (operator, width) in enumerate(zip(operators, (sources, targets), strict=True))
    )
    edge = JobEdge(0, 0, 0, 1, partitioner, None, GENERIC)
    return build_execution_graph(JobGraph(JobSettings("job"), vertices, (edge,)))


def keep(
    then: ExecutionGraph, storage: Storage, elements: dict[tuple[int, int], list[Any]], codec: BatchCodec
) -> list[ChannelStateHandle]:
    """As if the first half of every channel's elements had reached the target, and the others had not left the source."""
    handles: list[ChannelStateHandle] = []
    for subtask in then.subtasks:
        records = InFlightRecords(1)
        for channel in then.channels:
            mine = elements.get((channel.source.index, channel.target.index), [])
            half = len(mine) // 2
            if channel.source is subtask:
                mine = mine[half:]
            elif channel.target is subtask:
                mine = mine[:half]
            else:
                continue
            for element in mine:
                frame = (
                    (CONTROL, encode_control(element))
                    if isinstance(element, Watermark)
                    else codec.encode(element)
                )
                records.add(channel.channel_id, *frame)
        written = write_channel_state(records, subtask, then, {0: codec}, storage, 200)
        handles += [handle for found in written.values() for handle in found]
    return handles


def restored(
    now: ExecutionGraph, handles: list[ChannelStateHandle], storage: Storage, codec: BatchCodec
) -> list[dict[int, list[Any]]]:
    """What each target of now begins with, by channel."""
    edge, sources = now.job.edges[0], now.job.vertices[0].parallelism
    targets = [subtask for subtask in now.subtasks if subtask.vertex.index == 1]
    return [
        RestoredExchange(edge, target, codec, handles, range(sources)).read(storage) for target in targets
    ]


def values(channels: dict[int, list[Any]]) -> list[Any]:
    return [v for es in channels.values() for e in es if isinstance(e, RecordBatch) for v in e.values]


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.sampled_from([KEYED, Rebalance(), Shuffle(), Global(), Custom(lambda key, n: key % n, lambda v: v)]),
    st.data(),
)
def test_each_record_is_restored_once_and_in_the_order_of_its_channel(
    then: tuple[int, int], now: tuple[int, int], partitioner: Partitioner, data: st.DataObject
) -> None:
    numbers = iter(range(1_000))
    batch = st.integers(1, 4).map(lambda n: RecordBatch([next(numbers) for _ in range(n)]))
    elements = {
        (source, target): data.draw(st.lists(batch, max_size=4))
        for source in range(then[0])
        for target in range(then[1])
    }
    storage, codec = Storage(), BatchCodec(GENERIC)
    handles = keep(graph(*then, partitioner), storage, elements, codec)
    if not handles:
        return
    found = [values(channels) for channels in restored(graph(*now, partitioner), handles, storage, codec)]
    sent = [v for batches in elements.values() for b in batches for v in b.values]
    assert sorted(v for got in found for v in got) == sorted(sent)
    for batches in elements.values():
        channel = [v for b in batches for v in b.values]
        for got in found:
            assert [v for v in got if v in channel] == [v for v in channel if v in got]


@given(
    st.dictionaries(
        st.integers(0, 1 << 20),
        st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300)), min_size=1, max_size=40),
        min_size=1,
        max_size=8,
    )
)
def test_what_fits_into_a_size_is_not_larger_when_it_is_encoded(frames) -> None:
    kept = InFlightRecords(1)
    for channel, elements in frames.items():
        for kind, payload in elements:
            kept.add(channel, kind, payload)
    encoded = encode_channels(ChannelContent(1 << 20, channel, found) for channel, found in frames.items())
    assert kept.fits(len(encoded) + 50 * len(frames) + 8 * sum(map(len, frames.values())))
    assert not kept.fits(len(encoded) - 1)


def test_a_watermark_counts_when_all_senders_have_said_one() -> None:
    storage, codec = Storage(), BatchCodec(GENERIC)
    elements = {(0, 0): [RecordBatch([1]), Watermark(5), Watermark(9)], (1, 0): [Watermark(7)]}
    handles = keep(graph(2, 1, KEYED), storage, elements, codec)
    (channels,) = restored(graph(2, 1, KEYED), handles, storage, codec)
    assert channels == {0: [RecordBatch([1]), Watermark(7)], 1: [Watermark(7)]}
    assert least_watermark({(0, 0): [Watermark(9)]}, sources=2) is None


def test_the_end_of_all_inputs_is_found_out_again() -> None:
    ended = Watermark(MAX_TIMESTAMP)
    assert least_watermark({(0, 0): [ended], (1, 0): [ended]}, sources=2) is None
    assert least_watermark({(0, 0): [ended], (1, 0): [Watermark(4)]}, sources=2) == Watermark(4)


def test_records_of_a_broadcast_cannot_be_distributed_anew() -> None:
    storage, codec = Storage(), BatchCodec(GENERIC)
    handles = keep(graph(2, 2, KEYED), storage, {(0, 0): [RecordBatch([1]), RecordBatch([2])]}, codec)
    with pytest.raises(CheckpointError, match="a broadcast exchange cannot distribute them to 3") as caught:
        restored(graph(2, 3, Broadcast()), handles, storage, codec)
    assert "savepoint" in caught.value.fix


@given(st.data(), st.integers(1, 4), st.integers(1, 4))
def test_an_exchange_that_is_pointwise_at_the_parallelism_of_now_takes_each_record_once(data, targets, width):
    """The program leaves it open: a rebalance where the parallelism differs, and one to one where it does not."""
    storage, codec = Storage(), BatchCodec(GENERIC)
    sources = data.draw(st.integers(1, 4))
    lengths = {
        (source, target): data.draw(st.integers(0, 5))
        for source in range(sources)
        for target in range(targets)
    }
    elements: dict[tuple[int, int], list[Any]] = {
        channel: [RecordBatch([(*channel, n)]) for n in range(length)] for channel, length in lengths.items()
    }
    handles = keep(graph(sources, targets, Rebalance()), storage, elements, codec)
    assume(handles)
    now = data.draw(st.sampled_from([Forward(), Rescale()]))
    found = [values(channels) for channels in restored(graph(width, width, now), handles, storage, codec)]
    sent = [(*channel, n) for channel, length in lengths.items() for n in range(length)]
    assert sorted(v for got in found for v in got) == sent


def record_type(*fields: Any) -> TypeInformation[Any]:
    cls = make_dataclass("Reading", fields)
    cls.__module__ = __name__
    globals()["Reading"] = cls
    info = infer_type(cls)
    assert info is not None
    return info


def test_a_type_that_changed_meanwhile_is_refused_with_both() -> None:
    storage, was = Storage(), BatchCodec(Types.STRING())
    handles = keep(graph(1, 1, KEYED), storage, {(0, 0): [RecordBatch(["a"])]}, was)
    with pytest.raises(CheckpointError, match="of the type STRING, and now they are of the type LONG"):
        restored(graph(1, 1, KEYED), handles, storage, BatchCodec(Types.LONG()))


def test_fields_of_a_record_class_may_be_added_with_a_default() -> None:
    storage, was = Storage(), record_type(("name", str))
    before = RecordBatch([globals()["Reading"]("a")])
    handles = keep(graph(1, 1, KEYED), storage, {(0, 0): [before]}, BatchCodec(was))
    now = BatchCodec(record_type(("name", str), ("n", int, field(default=3))))
    (channels,) = restored(graph(1, 1, KEYED), handles, storage, now)
    assert values(channels) == [globals()["Reading"]("a", 3)]
    stranger = BatchCodec(record_type(("name", str), ("n", int)))
    with pytest.raises(CheckpointError, match="'n'"):
        restored(graph(1, 1, KEYED), handles, storage, stranger)
