"""Records that were under way in an unaligned checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from millstream import Row, Types, state_reader
from millstream.checkpoint.channel_state import ChannelContent, encode_channels
from millstream.checkpoint.metadata import Metadata, OperatorDescription, encode_metadata
from millstream.checkpoint.storage import CheckpointStorage
from millstream.core.batch import PartialBatch, RecordBatch, Watermark
from millstream.core.errors import CheckpointError
from millstream.core.types import GENERIC
from millstream.runtime.exchange.codec import CONTROL, BatchCodec, encode_control
from millstream.state.handles import ChannelStateHandle, EdgeName, OperatorSnapshot
from millstream.state_reader import InFlightRecord, InFlightState

ROWS = Types.ROW_NAMED(["a"], [Types.LONG()])


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    """Of a source `src` and an operator `op`, with records between them at both ends."""
    storage = CheckpointStorage(str(tmp_path), "job")
    streams = storage.streams(1, 1)
    codec = BatchCodec(ROWS, Types.STRING(), GENERIC)

    def handle(name: str, outgoing: bool, *contents: ChannelContent) -> ChannelStateHandle:
        file = streams.write_exclusive(name, [encode_channels(contents)])
        return ChannelStateHandle(EdgeName("1", None, "2", 1), codec.schemas(), 0, outgoing, 2, 1, file)

    first, second = (codec.encode(RecordBatch([Row(a=n)], [n * 1_000])) for n in (1, 2))
    partial = codec.encode(PartialBatch([("k", 5_000, (1, 2))]))
    watermark = CONTROL, encode_control(Watermark(7))
    kept_by_target = handle("in", False, ChannelContent(0, 0, [first, watermark, second]))
    kept_by_source = handle("out", True, ChannelContent(1, 0, [partial]))
    states = {
        "1": (OperatorSnapshot(channels=(kept_by_source,)),),
        "2": (OperatorSnapshot(channels=(kept_by_target,)),),
    }
    operators = (OperatorDescription("1", None, "src", 2, 128), OperatorDescription("2", "op", "Map", 1, 128))
    storage.write_metadata(1, encode_metadata(Metadata("job", "j", 1, 0, 1, operators, states, {})))
    return storage.checkpoint_path(1)


def test_records_under_way_are_read_at_either_end(checkpoint: str) -> None:
    with state_reader.open(checkpoint) as snapshot:
        came = snapshot.operator("op").state("from src")
        assert isinstance(came, InFlightState)
        assert list(came.items()) == [
            InFlightRecord(0, 0, 1_000, Row(a=1)),
            InFlightRecord(0, 0, 2_000, Row(a=2)),
        ]
        assert (came.kind, came.value_type, came.size().entries) == ("in-flight", "ROW(a LONG)", 2)
        went = snapshot.operator("src").state("to op")
        assert isinstance(went, InFlightState)
        assert [record.value for record in went.items()] == [("k", 5_000, (1, 2))]
        assert came.to_arrow().column("value").to_pylist() == [{"a": 1}, {"a": 2}]


def test_an_altered_file_of_records_under_way_is_found(checkpoint: str) -> None:
    (file,) = Path(checkpoint).glob("*-in")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with state_reader.open(checkpoint) as snapshot, pytest.raises(CheckpointError, match="checksum"):
        snapshot.operator("op").state("from src").size()
