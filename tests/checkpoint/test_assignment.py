from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from millstream.checkpoint.assignment import assign_state
from millstream.state.handles import OperatorSnapshot
from millstream.state.key_groups import key_group_range
from tests.checkpoint.samples import exclusive, handle

ITEMS = st.dictionaries(st.sampled_from("ab"), st.lists(st.binary(max_size=2), max_size=6), max_size=2)


@st.composite
def snapshots(draw, max_parallelism):
    parallelism = draw(st.integers(1, min(6, max_parallelism)))
    return [
        OperatorSnapshot(
            (handle(exclusive(1, f"s{n}"), key_groups=key_group_range(n, max_parallelism, parallelism)),),
            draw(ITEMS),
        )
        for n in range(parallelism)
    ]


@given(st.data(), st.integers(1, 20))
def test_every_key_group_and_every_item_goes_to_exactly_one_subtask(data, max_parallelism):
    before = data.draw(snapshots(max_parallelism))
    parallelism = data.draw(st.integers(1, max_parallelism))
    after = assign_state(before, parallelism, max_parallelism)
    assert len(after) == parallelism
    for subtask, snapshot in enumerate(after):
        first, last = key_group_range(subtask, max_parallelism, parallelism)
        covered = Counter(g for h in snapshot.keyed for g in range(h.key_groups[0], h.key_groups[1] + 1))
        assert all(covered[group] == 1 for group in range(first, last + 1))
        assert all(h.key_groups[0] <= last and first <= h.key_groups[1] for h in snapshot.keyed)
    for name in "ab":
        then = Counter(item for s in before for item in s.lists.get(name, []))
        now = Counter(item for s in after for item in s.lists.get(name, []))
        assert then == now


@given(st.data(), st.integers(1, 20))
def test_at_the_same_parallelism_each_subtask_gets_its_own_back(data, max_parallelism):
    before = data.draw(snapshots(max_parallelism))
    assert assign_state(before, len(before), max_parallelism) == tuple(before)


def test_items_are_dealt_out_one_by_one():
    before = [OperatorSnapshot(lists={"x": [b"1", b"2", b"3"]}), OperatorSnapshot(lists={"x": [b"4"]})]
    assert [s.lists for s in assign_state(before, 3, 128)] == [
        {"x": [b"1", b"4"]},
        {"x": [b"2"]},
        {"x": [b"3"]},
    ]


@given(st.data(), st.integers(1, 20))
def test_each_subtask_gets_one_whole_copy_of_a_broadcast_state(data, max_parallelism):
    copies = data.draw(st.lists(st.lists(st.binary(max_size=2)), min_size=1, max_size=max_parallelism))
    before = [OperatorSnapshot((), {"broadcast:b": copy, "other": [b"x"]}) for copy in copies]
    parallelism = data.draw(st.integers(1, max_parallelism))
    after = assign_state(before, parallelism, max_parallelism)
    assert [snapshot.lists["broadcast:b"] for snapshot in after] == [
        copies[subtask % len(copies)] for subtask in range(parallelism)
    ]


def test_subtasks_without_a_copy_take_that_of_others():
    before = [OperatorSnapshot(), OperatorSnapshot((), {"broadcast:b": [b"copy"]})]
    assert [s.lists["broadcast:b"] for s in assign_state(before, 3, 8)] == [[b"copy"]] * 3
