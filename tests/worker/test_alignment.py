from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.core.batch import CheckpointBarrier
from millstream.runtime.worker.alignment import BarrierAligner


def barrier(checkpoint_id: int) -> CheckpointBarrier:
    return CheckpointBarrier(checkpoint_id, 0)


def test_the_snapshot_is_taken_when_the_barrier_came_on_every_input() -> None:
    aligner = BarrierAligner(3, exactly_once=True)
    assert aligner.on_barrier(0, barrier(1)) is None
    assert aligner.on_barrier(2, barrier(1)) is None
    assert aligner.blocked == {0, 2}
    assert aligner.aligning
    assert aligner.on_barrier(1, barrier(1)) == barrier(1)
    assert aligner.blocked == set()
    assert not aligner.aligning


def test_one_input_never_waits() -> None:
    aligner = BarrierAligner(1, exactly_once=True)
    assert [aligner.on_barrier(0, barrier(n)) for n in (1, 2)] == [barrier(1), barrier(2)]


def test_at_least_once_blocks_nothing() -> None:
    aligner = BarrierAligner(2, exactly_once=False)
    aligner.on_barrier(0, barrier(1))
    assert aligner.blocked == set()
    assert aligner.on_barrier(1, barrier(1)) == barrier(1)


def test_a_later_checkpoint_gives_up_the_one_being_aligned() -> None:
    aligner = BarrierAligner(2, exactly_once=True)
    aligner.on_barrier(0, barrier(1))
    assert aligner.on_barrier(1, barrier(2)) is None
    assert aligner.blocked == {1}
    assert aligner.on_barrier(1, barrier(1)) is None
    assert aligner.on_barrier(0, barrier(2)) == barrier(2)


def test_an_aborted_checkpoint_blocks_nothing_any_more_and_its_barriers_are_ignored() -> None:
    aligner = BarrierAligner(2, exactly_once=True)
    aligner.on_barrier(0, barrier(1))
    aligner.on_aborted(1)
    assert aligner.blocked == set()
    assert aligner.on_barrier(1, barrier(1)) is None
    assert aligner.blocked == set()
    assert aligner.on_barrier(0, barrier(2)) is None
    assert aligner.on_barrier(1, barrier(2)) == barrier(2)


def test_an_abort_that_comes_ahead_of_the_barriers_holds() -> None:
    aligner = BarrierAligner(2, exactly_once=True)
    aligner.on_aborted(1)
    assert aligner.on_barrier(0, barrier(1)) is None
    assert not aligner.aligning


def test_an_abort_of_an_earlier_checkpoint_does_not_disturb_the_one_being_aligned() -> None:
    aligner = BarrierAligner(2, exactly_once=True)
    aligner.on_barrier(0, barrier(2))
    aligner.on_aborted(1)
    assert aligner.blocked == {0}
    assert aligner.on_barrier(1, barrier(2)) == barrier(2)


def test_at_least_once_counts_the_barriers_of_several_checkpoints() -> None:
    aligner = BarrierAligner(2, exactly_once=False)
    assert [aligner.on_barrier(0, barrier(n)) for n in (1, 2, 3)] == [None] * 3
    aligner.on_aborted(2)
    assert [aligner.on_barrier(1, barrier(n)) for n in (1, 2, 3)] == [barrier(1), None, barrier(3)]
    assert not aligner.aligning


def test_an_abort_of_a_later_checkpoint_does_not_disturb_the_one_being_aligned() -> None:
    aligner = BarrierAligner(2, exactly_once=True)
    aligner.on_barrier(0, barrier(1))
    aligner.on_aborted(2)
    assert aligner.on_barrier(1, barrier(1)) == barrier(1)
    assert aligner.on_barrier(0, barrier(2)) is None
    assert not aligner.blocked


def overtaking(checkpoint_id: int, after_ms: int | None = 0) -> CheckpointBarrier:
    return CheckpointBarrier(checkpoint_id, 100, after_ms)


def test_an_announced_barrier_may_overtake_when_its_time_has_come() -> None:
    aligner = BarrierAligner(3, exactly_once=True, overtakable=[0, 1, 2])
    aligner.on_announced(overtaking(1, 30))
    assert aligner.may_overtake_at_ms == 130
    assert aligner.on_barrier(0, overtaking(1, 30)) is None
    assert aligner.overtake() == (overtaking(1, 0), {1, 2})
    assert not aligner.blocked
    assert aligner.on_barrier(1, overtaking(1, 30)) is None, "its checkpoint has been taken"
    assert aligner.may_overtake_at_ms is None


def test_once_a_barrier_has_overtaken_elsewhere_it_does_so_here() -> None:
    aligner = BarrierAligner(2, exactly_once=True, overtakable=[0, 1])
    aligner.on_announced(overtaking(1, 30))
    aligner.on_announced(overtaking(1, 0))
    assert aligner.may_overtake_at_ms == 100


def test_a_snapshot_waits_for_the_inputs_that_keep_their_order() -> None:
    aligner = BarrierAligner(3, exactly_once=True, overtakable=[0, 1])
    aligner.on_announced(overtaking(1))
    assert aligner.may_overtake_at_ms is None
    assert aligner.on_barrier(2, overtaking(1)) is None
    assert aligner.may_overtake_at_ms == 100
    assert aligner.overtake() == (overtaking(1), {0, 1})


def test_a_barrier_that_keeps_its_place_is_aligned_everywhere() -> None:
    aligner = BarrierAligner(2, exactly_once=True, overtakable=[0, 1])
    aligner.on_announced(overtaking(1, None))
    assert not aligner.aligning
    assert aligner.on_barrier(0, overtaking(1, None)) is None
    assert aligner.may_overtake_at_ms is None
    assert aligner.on_barrier(1, overtaking(1, None)) == overtaking(1, None)


def test_announcements_of_settled_and_aborted_checkpoints_are_ignored() -> None:
    aligner = BarrierAligner(2, exactly_once=True, overtakable=[0, 1])
    aligner.on_aborted(2)
    aligner.on_announced(overtaking(2))
    assert not aligner.aligning
    aligner.on_announced(overtaking(3))
    aligner.on_announced(overtaking(4))
    assert aligner.overtake() == (overtaking(4), {0, 1})
    aligner.on_announced(overtaking(3))
    assert not aligner.aligning


@pytest.mark.parametrize("exactly_once", [True, False])
@given(data=st.data())
def test_every_checkpoint_cuts_all_inputs_at_their_barriers(exactly_once, data) -> None:
    inputs = data.draw(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=4))
    # On each input, so many records come ahead of the barriers 1, 2, 3.
    queues = [
        deque(element for n, count in enumerate(counts, 1) for element in (*["record"] * count, barrier(n)))
        for counts in inputs
    ]
    aligner = BarrierAligner(len(inputs), exactly_once=exactly_once)
    read, cuts = [0] * len(inputs), []
    while any(queues):
        ready = [n for n, queue in enumerate(queues) if queue and n not in aligner.blocked]
        assert ready, "everything waits for ever"
        channel = data.draw(st.sampled_from(ready))
        element = queues[channel].popleft()
        if element == "record":
            read[channel] += 1
        elif aligner.on_barrier(channel, element) is not None:
            cuts.append((element.checkpoint_id, list(read)))
    wanted = [(n, [sum(counts[:n]) for counts in inputs]) for n in (1, 2, 3)]
    if exactly_once:
        assert cuts == wanted
    else:
        for (checkpoint_id, counts), (_, least) in zip(cuts, (wanted[n - 1] for n, _ in cuts), strict=True):
            assert all(count >= at_least for count, at_least in zip(counts, least, strict=True)), (
                checkpoint_id
            )
