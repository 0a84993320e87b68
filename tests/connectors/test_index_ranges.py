from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millstream.connectors.datagen.ranges import IndexRange, share_out


@st.composite
def disjoint_ranges(draw: st.DrawFn) -> list[IndexRange]:
    ends = sorted(draw(st.sets(st.integers(0, 2_000), max_size=12)))
    ranges = [IndexRange(start, stop, start) for start, stop in zip(ends[::2], ends[1::2], strict=False)]
    return [IndexRange(r.start, r.stop, draw(st.integers(r.start, r.stop))) for r in ranges]


def indices(ranges: list[IndexRange]) -> list[int]:
    return [index for piece in ranges for index in range(piece.position, piece.stop)]


@given(disjoint_ranges(), st.integers(1, 8))
def test_shares_hold_every_unread_index_once(ranges, readers) -> None:
    shares = share_out(ranges, readers)
    assert len(shares) == readers
    assert sorted(index for share in shares for index in indices(share)) == sorted(indices(ranges))


@given(disjoint_ranges(), st.integers(1, 8))
def test_no_share_is_much_larger_than_an_even_one(ranges, readers) -> None:
    total = len(indices(ranges))
    largest = max(len(indices(share)) for share in share_out(ranges, readers))
    assert largest <= max(1.25 * total / readers, -(-total // readers))


@given(st.integers(0, 10_000), st.integers(1, 8))
def test_a_fresh_start_gives_each_reader_one_range_of_the_same_size(count, readers) -> None:
    shares = share_out([IndexRange(0, count, 0)], readers)
    assert all(len(share) <= 1 for share in shares)
    sizes = [len(indices(share)) for share in shares]
    if count >= 5 * readers:
        assert max(sizes) - min(sizes) <= 1


@given(disjoint_ranges(), st.integers(1, 8))
def test_split_ids_are_unique(ranges, readers) -> None:
    ids = [piece.split_id for share in share_out(ranges, readers) for piece in share]
    assert len(set(ids)) == len(ids)


@given(st.integers(1, 8), st.integers(100, 10_000), st.data())
def test_a_restart_with_as_many_readers_leaves_evenly_read_ranges_whole(readers, count, data) -> None:
    shares = share_out([IndexRange(0, count * readers, 0)], readers)
    read = [
        IndexRange(p.start, p.stop, p.start + data.draw(st.integers(0, count // 10)))
        for share in shares
        for p in share
    ]
    ids = {piece.split_id for piece in read}
    assert {piece.split_id for share in share_out(read, readers) for piece in share} == ids


@given(disjoint_ranges())
def test_the_encoding_is_exact(ranges) -> None:
    assert [IndexRange.decode(piece.encode()) for piece in ranges] == ranges
