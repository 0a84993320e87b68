"""The ledger and the acknowledgement plan, on their own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millstream.connectors.rabbitmq.ledger import CERTAIN_AFTER_MS, AckPlan, Ledger

HOUR = 3_600_000


def ledger(*restored: tuple[str, int]) -> Ledger:
    return Ledger(restored, keep_ms=HOUR)


def test_only_what_a_completed_checkpoint_covers_is_acknowledged() -> None:
    mine = ledger()
    mine.emitted(1, "a")
    assert mine.complete(1) is None  # of an attempt before this one
    mine.snapshot(2)
    mine.emitted(2, "b")
    assert mine.complete(2) == (1, [1])
    assert mine.complete(2) is None
    mine.snapshot(3)
    mine.snapshot(4)
    assert mine.complete(4) == (2, [2])  # a later notification covers earlier checkpoints


def test_what_a_sibling_emitted_waits_for_a_checkpoint_that_covers_it_there() -> None:
    asker, holder = ledger(), ledger()
    holder.snapshot(5)
    holder.emitted(1, "a")  # after its snapshot of checkpoint 5, which is not complete yet
    asker.repeated_elsewhere(7, "a", holder.covered_from)
    asker.snapshot(5)
    assert asker.complete(5) is None  # restoring 5 would lose the record
    holder.snapshot(6)
    asker.snapshot(6)
    assert asker.complete(6) == (1, [7])


def test_an_id_is_forgotten_only_some_time_after_the_round_trip() -> None:
    mine = ledger()
    mine.emitted(1, "a")
    mine.snapshot(1)
    assert mine.complete(1) == (1, [1])
    mine.settle(10 * CERTAIN_AFTER_MS, 0)
    assert "a" in mine
    mine.round_trip_done(1, 100)
    mine.settle(100 + CERTAIN_AFTER_MS - 1, 0)
    assert "a" in mine
    assert mine.settle(100 + CERTAIN_AFTER_MS, 0) == []
    assert "a" not in mine


def test_after_a_lost_connection_ids_stay_until_they_come_again_or_time_out() -> None:
    mine = ledger()
    for tag, id_ in enumerate("abc", start=1):
        mine.emitted(tag, id_)
    mine.snapshot(1)
    mine.complete(1)
    mine.connection_lost(now_ms=1000)
    mine.round_trip_done(1, 0)  # of the lost connection
    mine.settle(HOUR, 0)
    assert [id_ in mine for id_ in "abc"] == [True] * 3
    assert sorted(mine.snapshot(2)) == [("a", 1000), ("b", 1000), ("c", 1000)]
    mine.repeated(1, "a")
    mine.settled(["b", "a"], 0)  # "a" is owed here: another message of the same id
    assert mine.expire(1000 + HOUR - 1) == []
    assert mine.expire(1000 + HOUR) == ["c"]
    assert [id_ in mine for id_ in "abc"] == [True, False, False]


def test_an_id_that_comes_twice_stays_until_both_are_certain() -> None:
    mine = ledger()
    mine.emitted(1, "a")
    mine.snapshot(1)
    assert mine.complete(1) == (1, [1])
    mine.repeated(2, "a")
    mine.snapshot(2)
    assert mine.complete(2) == (2, [2])
    for number in (1, 2):
        assert "a" in mine
        mine.round_trip_done(number, 0)
        mine.settle(CERTAIN_AFTER_MS, 0)
    assert "a" not in mine


def test_certain_ids_of_siblings_are_told() -> None:
    mine = ledger()
    mine.repeated_elsewhere(1, "a", 1)
    mine.snapshot(1)
    assert mine.complete(1) == (1, [1])
    mine.round_trip_done(1, 0)
    assert mine.settle(CERTAIN_AFTER_MS, 0) == ["a"]


@given(st.permutations(range(1, 13)), st.lists(st.integers(1, 4), min_size=12, max_size=12))
def test_every_tag_is_acknowledged_once_and_a_prefix_names_a_tag_of_its_call(
    order: list[int], sizes: list[int]
) -> None:
    plan, outstanding = AckPlan(), set(range(1, 13))
    while order:
        size = sizes.pop()
        tags, order = sorted(order[:size]), order[size:]
        upto, single = plan.add(tags)
        acknowledged = set(single)
        if upto is not None:
            assert upto in tags  # RabbitMQ closes the channel for a tag that it does not wait for
            acknowledged |= {tag for tag in outstanding if tag <= upto}
        assert acknowledged == set(tags)
        outstanding -= acknowledged
    assert not outstanding


def test_an_id_is_remembered_for_the_window_behind_its_acknowledgement_also_by_whoever_restores_it() -> None:
    mine = Ledger((), keep_ms=HOUR, remember_ms=10_000)
    mine.emitted(1, "a")
    mine.snapshot(1)
    assert mine.complete(1) == (1, [1])
    mine.round_trip_done(1, 0)
    mine.settle(CERTAIN_AFTER_MS, 2 * HOUR)
    assert "a" in mine
    restored = Ledger(mine.snapshot(2), keep_ms=HOUR, remember_ms=10_000)
    for one in (mine, restored):
        one.expire(2 * HOUR + 9_999)
        assert "a" in one
    mine.repeated(2, "a")  # sent again: owed, and remembered anew
    assert mine.snapshot(3) == [("a", 0)]
    for one in (mine, restored):
        one.expire(2 * HOUR + 10_000)
    assert "a" in mine
    assert "a" not in restored
    assert mine.complete(3) == (2, [2])
