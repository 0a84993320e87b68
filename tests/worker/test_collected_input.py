from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.core.batch import RecordBatch
from millstream.core.types import GENERIC, InvalidKeyError, KeyEncoder, Types
from millstream.runtime.worker.collected_input import KeyedInput, SortedInput, SpooledInput

RECORDS = st.lists(
    st.tuples(st.sampled_from("abc"), st.none() | st.integers(0, 4), st.integers(0, 1)), max_size=40
)


def key_of(value):
    return value[0]


def keyed(record_type=GENERIC):
    return KeyedInput(key_of, Types.STRING(), record_type)


def pieces_of(collected, size=3):
    pieces = [piece for piece in collected.pieces(size) if piece is not None]
    collected.close()
    return pieces


@settings(max_examples=40)
@given(RECORDS, st.sampled_from([1, 2_000, 1 << 30]), st.integers(1, 5))
def test_records_come_key_by_key_then_by_time_then_by_input_then_as_they_arrived(records, memory_bytes, size):
    with TemporaryDirectory() as folder:
        collected = SortedInput([keyed(), keyed()], memory_bytes=memory_bytes, folder=Path(folder))
        for arrival, (key, time, index) in enumerate(records):
            collected.add(index, RecordBatch([(key, arrival)], None if time is None else [time]))
        pieces = pieces_of(collected, size)
    found = [
        (piece.input_index, value, time)
        for piece in pieces
        for value, time in zip(
            piece.batch.values, piece.batch.timestamps or [None] * len(piece.batch), strict=True
        )
    ]
    encode = KeyEncoder(Types.STRING()).encode
    numbered = [(index, (key, arrival), time) for arrival, (key, time, index) in enumerate(records)]
    assert found == sorted(
        numbered, key=lambda r: (encode(r[1][0]), -1 if r[2] is None else r[2], r[0], r[1][1])
    )
    assert all(1 <= len(piece.batch) <= size for piece in pieces)
    for _, of_key in groupby(pieces, key=lambda piece: piece.batch.values[0][0]):
        *before, last = of_key
        assert last.ends_key
        assert not any(piece.ends_key for piece in before)
        assert all(value[0] == last.batch.values[0][0] for piece in before for value in piece.batch.values)


def test_an_empty_input_has_no_pieces(tmp_path):
    assert pieces_of(SortedInput([keyed()], memory_bytes=1, folder=tmp_path)) == []
    assert pieces_of(SpooledInput(GENERIC, memory_bytes=1, folder=tmp_path)) == []


@pytest.mark.parametrize("bad", [None, 1, ["a"]])
def test_a_key_that_cannot_be_one_is_refused_in_our_words(tmp_path, bad):
    collected = SortedInput([keyed()], memory_bytes=1 << 20, folder=tmp_path)
    collected.add(0, RecordBatch([("a", 1), (bad, 2)]))
    with pytest.raises(InvalidKeyError):
        pieces_of(collected)


@pytest.mark.parametrize("memory_bytes", [1, 1 << 20])
def test_without_keys_records_come_as_they_arrived(tmp_path, memory_bytes):
    collected = SpooledInput(Types.INT(), memory_bytes=memory_bytes, folder=tmp_path)
    collected.add(0, RecordBatch([3, 1], [30, 10]))
    collected.add(0, RecordBatch([2]))
    pieces = pieces_of(collected, 10)
    assert [value for piece in pieces for value in piece.batch.values] == [3, 1, 2]
    assert [piece.batch.timestamps for piece in pieces] == [[30, 10], None]
    assert not any(piece.ends_key for piece in pieces)
    assert (collected.spilled_bytes > 0) is (memory_bytes == 1)
