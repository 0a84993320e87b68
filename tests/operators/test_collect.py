from __future__ import annotations

from millstream.core.types import Types
from millstream.operators.collect import CollectSpec
from millstream.testing import OperatorHarness

COLLECT = CollectSpec(Types.LONG())


def received(h: OperatorHarness) -> list[tuple[int | None, list[int]]]:
    serializer = Types.LONG().serializer()
    return [(checkpoint_id, serializer.loads_batch(data)) for checkpoint_id, _, data in h.sent]


def test_without_checkpoints_results_are_sent_at_once() -> None:
    h = OperatorHarness(COLLECT, checkpointing=False)
    h.batch([1, 2])
    h.end_input()
    h.operators[0].commit_without_checkpoint()
    assert received(h) == [(None, [1, 2])]
    assert h.output == []
    h.close()


def test_with_checkpoints_results_wait_for_the_one_that_covers_them() -> None:
    h = OperatorHarness(COLLECT)
    h.batch([1, 2])
    h.snapshot(complete=False)
    h.element(3)
    assert received(h) == []
    h.complete(1)
    assert received(h) == [(1, [1, 2])]
    h.snapshot()
    h.snapshot()
    assert received(h) == [(1, [1, 2]), (2, [3])]
    h.close()


def test_a_later_checkpoint_covers_an_earlier_notification_that_was_lost() -> None:
    h = OperatorHarness(COLLECT)
    for value in (1, 2):
        h.element(value)
        h.snapshot(complete=False)
    h.complete(2)
    assert received(h) == [(1, [1]), (2, [2])]
    h.close()


def test_what_a_complete_checkpoint_held_is_sent_after_a_restart_under_the_same_name() -> None:
    h = OperatorHarness(COLLECT)
    h.element(1)
    taken = h.snapshot()  # complete, and sent; whether it arrived nobody knows
    h.element(2)
    h = h.restored_from(taken, parallelism=2)
    assert received(h) == [(1, [1]), (1, [1])]
    assert h.sent[0][1] == h.sent[1][1]  # the client sees that it is the same
    h.element(2)
    h.snapshot()
    assert received(h)[2:] == [(2, [2])]
    assert h.sent[2][1] != h.sent[0][1]
    h.close()
