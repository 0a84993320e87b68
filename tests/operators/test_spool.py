from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.core.batch import RecordBatch
from millstream.core.record_files import RecordCodec
from millstream.core.types import GENERIC
from millstream.operators.spool import Spool

BATCHES = st.lists(st.tuples(st.lists(st.integers() | st.text(), max_size=20), st.booleans()), max_size=8)


def spool(folder, memory_bytes):
    return Spool(RecordCodec(GENERIC), memory_bytes=memory_bytes, path=Path(folder) / "spool" / "records")


def filled(made, batches):
    added = []
    for values, timed in batches:
        times = list(range(len(values))) if timed else None
        made.add(RecordBatch(values, times))
        added += zip(values, times or [None] * len(values), strict=True)
    return added


def content(batches):
    return [pair for b in batches for pair in zip(b.values, b.timestamps or [None] * len(b), strict=True)]


@settings(max_examples=40)
@given(BATCHES, BATCHES, st.sampled_from([1, 1_000, 1 << 30]), st.integers(1, 30))
def test_records_come_back_in_order_again_and_again(first, second, memory_bytes, size):
    with TemporaryDirectory() as folder:
        made = spool(folder, memory_bytes)
        added = filled(made, first)
        assert content(made.batches(size)) == added
        added += filled(made, second)
        given_back = list(made.batches(size))
        assert content(given_back) == added
        assert all(1 <= len(batch) <= size for batch in given_back)
        assert made.records == len(added)
        made.close()


@settings(max_examples=40)
@given(BATCHES, st.sampled_from([1, 1_000, 1 << 30]), st.sampled_from([1, 1 << 30]))
def test_frames_fill_another_spool_with_the_same_records(batches, memory_bytes, other_memory_bytes):
    with TemporaryDirectory() as folder, TemporaryDirectory() as other_folder:
        made, other = spool(folder, memory_bytes), spool(other_folder, other_memory_bytes)
        added = filled(made, batches)
        for frame in made.frames():
            other.add_frame(frame)
        assert content(other.batches(7)) == added
        made.close()
        other.close()


def test_what_fits_in_memory_makes_no_file(tmp_path):
    made = spool(tmp_path, 1 << 20)
    made.add(RecordBatch([1, 2]))
    assert made.spilled_bytes == 0
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_is_on_disk(tmp_path):
    made = spool(tmp_path, 1_000)
    for _ in range(100):
        made.add(RecordBatch(["x" * 100]))
    made.close()
    assert 9_000 < made.spilled_bytes == (tmp_path / "spool" / "records").stat().st_size
