from __future__ import annotations

import pytest

from millstream.checkpoint.two_phase_commit import (
    Commit,
    CommitDone,
    CommitFailed,
    CommittableOrigin,
    Completed,
    FailTask,
    PendingCommittable,
    Prepared,
    Restored,
    TwoPhaseCommit,
    decode_pending,
    encode_pending,
)
from millstream.core.errors import CheckpointError, ProtocolViolation


def machine() -> TwoPhaseCommit[str]:
    return TwoPhaseCommit(job_id="job", attempt=2)


def prepare(m: TwoPhaseCommit[str], number: int, *names: str) -> None:
    assert m.handle(Prepared(number, tuple((name, name.encode()) for name in names))) == []


def live(committables) -> list[str]:
    return [c.live for c in committables]


def committed(actions) -> list[str]:
    [action] = actions
    assert isinstance(action, Commit)
    return live(action.committables)


def restored(*names: str, attempt: int = 1, number: int = 50) -> Restored[str]:
    origin = CommittableOrigin("job", attempt, number)
    return Restored(tuple(PendingCommittable(origin, name.encode(), name) for name in names))


def test_committables_wait_for_their_checkpoint():
    m = machine()
    prepare(m, 1, "a", "b")
    assert live(m.pending()) == ["a", "b"]
    assert committed(m.handle(Completed(1, 2))) == ["a", "b"]
    assert live(m.pending()) == ["a", "b"]  # a crash now must find them in the next snapshot
    assert m.handle(CommitDone()) == []
    assert m.pending() == ()


def test_a_completion_covers_all_earlier_checkpoints():
    m = machine()
    prepare(m, 1, "a")
    prepare(m, 2, "b")  # the completion of 1 was lost, or 1 was aborted
    prepare(m, 3, "c")
    assert committed(m.handle(Completed(2, 2))) == ["a", "b"]
    assert live(m.pending()) == ["a", "b", "c"]


def test_commits_happen_one_at_a_time():
    m = machine()
    prepare(m, 1, "a")
    m.handle(Completed(1, 2))
    prepare(m, 2, "b")
    assert m.handle(Completed(2, 2)) == []
    assert committed(m.handle(CommitDone())) == ["b"]


def test_doubled_and_late_notifications_change_nothing():
    m = machine()
    prepare(m, 5, "a")
    assert m.handle(Completed(4, 2)) == []
    m.handle(Completed(5, 2))
    assert m.handle(Completed(5, 2)) == []
    m.handle(CommitDone())
    assert m.handle(Completed(5, 2)) == []
    assert m.handle(Completed(3, 2)) == []


def test_a_notification_for_another_attempt_commits_nothing():
    m = machine()
    prepare(m, 1, "a")
    assert m.handle(Completed(9, 1)) == []


def test_restored_committables_are_committed_at_once_whatever_their_id():
    m = machine()
    assert not m.recovering
    assert committed(m.handle(restored("x", "y", number=50))) == ["x", "y"]
    assert m.recovering
    m.handle(CommitDone())
    assert not m.recovering


def test_committables_of_another_job_are_committed_too():
    m = machine()
    origin = CommittableOrigin("the savepoint's job", 9, 3)
    assert committed(m.handle(Restored((PendingCommittable(origin, b"x", "x"),)))) == ["x"]


def test_an_empty_restore_needs_no_commit():
    m = machine()
    assert m.handle(Restored(())) == []
    assert not m.recovering


def test_a_failed_commit_fails_the_task_and_keeps_the_committables():
    m = machine()
    prepare(m, 1, "a")
    m.handle(Completed(1, 2))
    assert m.handle(CommitFailed("broker away", retryable=True)) == [FailTask("broker away", True)]
    assert live(m.pending()) == ["a"]
    assert m.handle(Completed(1, 2)) == []  # the restart repeats it


def test_impossible_events_are_violations():
    m = machine()
    with pytest.raises(ProtocolViolation, match="without a running commit"):
        m.handle(CommitDone())
    prepare(m, 3, "a")
    with pytest.raises(ProtocolViolation, match="after checkpoint 3"):
        m.handle(Prepared(3, ()))
    with pytest.raises(ProtocolViolation, match="has begun"):
        m.handle(restored("x"))
    with pytest.raises(ProtocolViolation, match="of this attempt"):
        machine().handle(restored("x", attempt=2))


def test_pending_committables_survive_in_a_snapshot_with_their_origin():
    m = machine()
    prepare(m, 4, "a")
    prepare(m, 5, "b")
    items = encode_pending(m.pending())
    assert decode_pending(items) == [
        (CommittableOrigin("job", 2, 4), b"a"),
        (CommittableOrigin("job", 2, 5), b"b"),
    ]


def test_a_damaged_committable_is_an_error_that_says_so():
    with pytest.raises(CheckpointError, match="committable"):
        decode_pending([b"\xc1"])
