from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from millstream.checkpoint.coordination import CheckpointData
from millstream.checkpoint.metadata import decode_metadata, encode_metadata, metadata_from
from millstream.core.errors import CheckpointError, CheckpointFailureReason
from millstream.state.handles import OperatorSnapshot, SubtaskSnapshot
from tests.checkpoint.samples import exclusive, handle, inlined, metadata, operator, shared

GOLDEN = Path(__file__).parents[1] / "golden" / "wire"
ENCODED = encode_metadata(metadata(shared("a"), exclusive(7, "b")))


def test_a_round_trip_gives_an_equal_value():
    assert decode_metadata(ENCODED, "p") == metadata(shared("a"), exclusive(7, "b"))


def test_version_2_decodes_for_ever():
    data = (GOLDEN / "checkpoint-metadata-v2.bin").read_bytes()
    assert decode_metadata(data, "golden") == metadata(shared("a"), inlined(7, b"small"))


def test_what_lives_in_the_metadata_is_no_file():
    found = metadata(shared("a"), inlined(7, b"small"))
    assert [file.path for file in found.files()] == [shared("a").path]
    assert found.size_bytes() == metadata(shared("a")).size_bytes() + len(b"small")


def test_version_1_decodes_for_ever():
    data = (GOLDEN / "checkpoint-metadata-v1.bin").read_bytes()
    assert decode_metadata(data, "golden") == metadata(shared("a"), exclusive(7, "b"))


@given(st.integers(0, len(ENCODED) - 1), st.integers(1, 255))
def test_any_altered_byte_is_found(position, difference):
    altered = bytearray(ENCODED)
    altered[position] ^= difference
    with pytest.raises(CheckpointError) as caught:
        decode_metadata(bytes(altered), "/checkpoints/job/chk-7/_metadata")
    assert caught.value.reason is CheckpointFailureReason.CORRUPT
    assert caught.value.where == "/checkpoints/job/chk-7/_metadata"


@given(st.integers(0, len(ENCODED) - 1))
def test_any_cut_is_found(length):
    with pytest.raises(CheckpointError) as caught:
        decode_metadata(ENCODED[:length], "p")
    assert caught.value.reason is CheckpointFailureReason.CORRUPT


def test_trailing_bytes_are_found():
    with pytest.raises(CheckpointError, match="bytes instead of"):
        decode_metadata(ENCODED + b"x", "p")


def with_header(payload: bytes, version: int) -> bytes:
    prefix = version.to_bytes(2, "big") + len(payload).to_bytes(8, "big")
    return ENCODED[:8] + prefix + xxhash.xxh3_128_digest(prefix + payload) + payload


def test_a_later_format_is_refused_with_advice():
    with pytest.raises(CheckpointError, match="format 3, this release reads up to 2") as caught:
        decode_metadata(with_header(b"whatever", 3), "p")
    assert caught.value.reason is CheckpointFailureReason.INCOMPATIBLE


def test_a_payload_that_is_no_metadata_is_corrupt_even_with_a_right_checksum():
    with pytest.raises(CheckpointError, match="cannot be decoded"):
        decode_metadata(with_header(msgspec.msgpack.encode({"job_id": 1}), 1), "p")


def test_fields_that_a_later_release_added_are_ignored():
    fields = {**msgspec.to_builtins(metadata(), builtin_types=[bytes]), "added_later": [1, 2]}
    assert decode_metadata(with_header(msgspec.msgpack.encode(fields), 1), "p") == metadata()


def test_every_file_is_listed_once_and_counted_once():
    states = {
        "op": (OperatorSnapshot((handle(shared("a", 10)),)), OperatorSnapshot((handle(shared("a", 10)),)))
    }
    twice = msgspec.structs.replace(metadata(), states=states)
    assert [file.path for file in twice.files()] == ["shared/a"]
    assert twice.size_bytes() == 10 + len(b"enumerator")


def test_metadata_of_what_the_coordinator_collected_orders_by_subtask():
    first, second = OperatorSnapshot(lists={"x": [b"0"]}), OperatorSnapshot(lists={"x": [b"1"]})
    data = CheckpointData(
        9,
        123,
        4,
        {
            "v#1": SubtaskSnapshot({"op": second}),
            "v#0": SubtaskSnapshot({"op": first}),
            "s#0": SubtaskSnapshot(),
        },
        {"op": b"e"},
    )
    built = metadata_from(
        data,
        job_id="j",
        job_name="n",
        operators=(operator("op"), operator("sink", parallelism=1)),
        subtask_index={"v#0": 0, "v#1": 1, "s#0": 0},
    )
    assert built.states == {"op": (first, second)}
    assert (built.checkpoint_id, built.timestamp_ms, built.attempt, built.enumerators) == (
        9,
        123,
        4,
        {"op": b"e"},
    )


def test_absolute_paths_name_the_files_of_another_job():
    moved = metadata(shared("a")).with_absolute_paths("/dir/job")
    assert [file.path for file in moved.files()] == ["/dir/job/shared/a"]
    assert list(moved.with_absolute_paths("/other").files()) == list(moved.files())
