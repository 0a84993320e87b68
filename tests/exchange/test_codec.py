from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.core.batch import (
    MAX_TIMESTAMP,
    MIN_TIMESTAMP,
    CheckpointBarrier,
    EndOfInput,
    PartialBatch,
    RecordBatch,
    Watermark,
    WatermarkStatus,
)
from millstream.core.errors import RecordSerializationError
from millstream.core.types import GENERIC, Types
from millstream.runtime.exchange.codec import (
    PARTIALS,
    RECORDS,
    BatchCodec,
    decode_control,
    decode_credit,
    encode_control,
    encode_credit,
)

int64 = st.integers(MIN_TIMESTAMP, MAX_TIMESTAMP)
scalars = st.none() | st.booleans() | int64 | st.floats(allow_nan=False) | st.text() | st.binary()
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner)
)


def there_and_back(codec: BatchCodec, batch: RecordBatch) -> RecordBatch:
    kind, payload = codec.encode(batch)
    return codec.decode(kind, memoryview(payload))


def types_of(value):
    if isinstance(value, list | tuple):
        return type(value), [types_of(item) for item in value]
    if isinstance(value, dict):
        return dict, {key: types_of(item) for key, item in value.items()}
    return type(value)


@given(st.lists(st.tuples(values, int64)), st.booleans())
def test_records_of_any_type_come_back_exactly(rows, with_timestamps) -> None:
    batch = RecordBatch([row[0] for row in rows], [row[1] for row in rows] if with_timestamps else None)
    back = there_and_back(BatchCodec(GENERIC), batch)
    if rows:
        assert back == batch
    assert back.values == batch.values
    assert types_of(back.values) == types_of(batch.values)


@given(st.lists(st.tuples(st.text(), int64)))
def test_records_of_a_declared_type_come_back_exactly(rows) -> None:
    codec = BatchCodec(Types.TUPLE([Types.STRING(), Types.LONG()]))
    assert there_and_back(codec, RecordBatch(rows)) == RecordBatch(rows)


@given(st.lists(st.tuples(st.text(), int64, st.lists(int64)), min_size=1))
def test_partial_aggregates_come_back_as_such(partials) -> None:
    codec = BatchCodec(GENERIC, Types.STRING(), Types.LIST(Types.LONG()))
    batch = PartialBatch(partials)
    assert codec.encode(batch)[0] == PARTIALS
    back = there_and_back(codec, batch)
    assert type(back) is PartialBatch
    assert back == batch


def test_a_record_of_another_type_than_the_edge_is_refused() -> None:
    with pytest.raises(RecordSerializationError):
        BatchCodec(Types.LONG()).encode(RecordBatch(["no number"]))


def test_a_batch_may_lie_anywhere_in_memory() -> None:
    codec = BatchCodec(GENERIC)
    batch = RecordBatch(["a", "b"], [1, 2])
    kind, payload = codec.encode(batch)
    assert kind == RECORDS
    for shift in range(8):  # frames are cut out of what one read gave, at any offset
        assert codec.decode(kind, memoryview(b"\0" * shift + payload)[shift:]) == batch


def test_timestamps_are_little_endian_on_the_wire() -> None:
    _, payload = BatchCodec(GENERIC).encode(RecordBatch(["a"], [258]))
    assert payload.endswith(array("q", [258]).tobytes())


@pytest.mark.parametrize(
    "element",
    [
        Watermark(MAX_TIMESTAMP),
        Watermark(MIN_TIMESTAMP),
        WatermarkStatus(idle=True),
        CheckpointBarrier(7, 1_700_000_000_000),
        EndOfInput(),
    ],
    ids=repr,
)
def test_control_elements_come_back(element) -> None:
    assert decode_control(memoryview(encode_control(element))) == element


@given(st.integers(0, 2**32 - 1))
def test_credit_comes_back(batches) -> None:
    assert decode_credit(memoryview(encode_credit(batches))) == batches
