from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from millstream.checkpoint.completed_store import CompletedCheckpointStore
from millstream.checkpoint.coordination import (
    Acked,
    AwaitMetadata,
    CheckpointCompleted,
    CheckpointFailed,
    CoordinatorConfig,
    Declined,
    DiscardCheckpoints,
    DiscardFiles,
    DiscardSavepoint,
    DrainSources,
    EnumeratorsSnapshotted,
    FailJob,
    JobRunning,
    JobStopped,
    MetadataDurable,
    MetadataFailed,
    RequestRefused,
    Send,
    SnapshotEnumerators,
    Tick,
    TriggerRequested,
    WriteMetadata,
)
from millstream.checkpoint.coordinator import FINAL_RETRY_MS, CheckpointCoordinator
from millstream.checkpoint.messages import (
    AckCheckpoint,
    DeclineCheckpoint,
    NotifyCheckpointAborted,
    NotifyCheckpointComplete,
    TriggerCheckpoint,
)
from millstream.core.errors import CheckpointFailureReason as Reason
from millstream.core.errors import ProtocolViolation
from millstream.core.savepoints import SavepointTarget
from millstream.state.handles import SubtaskSnapshot
from tests.checkpoint.samples import exclusive, part, shared

SOURCES = ("source-0", "source-1")
SUBTASKS = (*SOURCES, "sink-0")
WALL = 1_700_000_000_000


class Driver:
    """Feeds a coordinator; keeps the time."""

    def __init__(self, *, retained=1, attempt=1, next_checkpoint_id=1, **config):
        self.machine = CheckpointCoordinator(
            CoordinatorConfig(**{"interval_ms": 100, "timeout_ms": 50, **config}),
            CompletedCheckpointStore(retained),
            next_checkpoint_id=next_checkpoint_id,
        )
        self.now_ms = 1_000
        self.attempt = attempt
        assert self.tell(JobRunning(attempt, SUBTASKS, SOURCES)) == []

    def tell(self, event):
        return self.machine.handle(event, self.now_ms)

    def tick(self, after_ms=0):
        self.now_ms += after_ms
        return self.tell(Tick(WALL + self.now_ms))

    def ack(self, number, subtask, snapshot=None, attempt=None):
        message = AckCheckpoint(number, subtask, snapshot or SubtaskSnapshot())
        return self.tell(Acked(message, self.attempt if attempt is None else attempt))

    def decline(self, number, subtask="sink-0"):
        return self.tell(Declined(DeclineCheckpoint(number, subtask, "disk full"), self.attempt))

    def start(self, after_ms=100):
        [action] = self.tick(after_ms)
        assert isinstance(action, SnapshotEnumerators)
        self.tell(EnumeratorsSnapshotted(action.checkpoint_id, {"op": b"state"}))
        return action.checkpoint_id

    def start_and_ack(self, snapshots=None, after_ms=100):
        number = self.start(after_ms)
        for subtask in SUBTASKS:
            self.ack(number, subtask, (snapshots or {}).get(subtask))
        return number

    def complete(self, snapshots=None, after_ms=100):
        number = self.start_and_ack(snapshots, after_ms)
        return number, self.tell(MetadataDurable(number))


def kinds(actions):
    return [type(action) for action in actions]


def test_a_checkpoint_goes_through_enumerators_tasks_and_metadata():
    d = Driver()
    assert d.machine.next_deadline_ms() == 1_100
    assert d.tick(99) == []
    assert d.tick(1) == [SnapshotEnumerators(1)]
    [send] = d.tell(EnumeratorsSnapshotted(1, {"op": b"state"}))
    assert send == Send(TriggerCheckpoint(1, WALL + 1_100), SOURCES)
    assert d.ack(1, "source-0") == []
    assert d.ack(1, "sink-0") == []
    [write] = d.ack(1, "source-1", part(exclusive(1, "x")))
    assert isinstance(write, WriteMetadata)
    assert (write.data.checkpoint_id, write.data.attempt, set(write.data.subtasks)) == (1, 1, set(SUBTASKS))
    assert write.data.enumerators == {"op": b"state"}
    d.now_ms += 7
    notify, completed = d.tell(MetadataDurable(1))
    assert notify == Send(NotifyCheckpointComplete(1, oldest_retained=1), SUBTASKS)
    assert completed == CheckpointCompleted(1, (), False, 7, 5 + len(b"split") + len(b"state"))
    assert d.machine.latest_completed_id == 1


def test_nothing_is_notified_before_the_metadata_is_durable():
    d = Driver()
    d.start()
    sent = [a for subtask in SUBTASKS for a in d.ack(1, subtask)]
    assert kinds(sent) == [WriteMetadata]


def test_periodic_checkpoints_keep_to_their_grid_without_bursts():
    d = Driver(timeout_ms=10_000)
    number = d.start()  # at 1100; the following ones would be due at 1200 and 1300
    d.now_ms += 250
    assert d.tick() == []  # one at a time
    for subtask in SUBTASKS:
        d.ack(number, subtask)
    d.tell(MetadataDurable(number))
    assert d.machine.next_deadline_ms() <= d.now_ms
    assert kinds(d.tick()) == [SnapshotEnumerators]
    d.tell(JobStopped())
    d.tell(JobRunning(2, SUBTASKS, SOURCES))
    assert d.machine.next_deadline_ms() == d.now_ms + 100


def test_the_minimum_pause_counts_from_the_end_of_the_previous_one():
    d = Driver(min_pause_ms=80, timeout_ms=1_000)
    d.start_and_ack()
    d.now_ms += 60
    d.tell(MetadataDurable(1))
    assert d.machine.next_deadline_ms() == d.now_ms + 80
    assert d.tick(79) == []
    assert kinds(d.tick(1)) == [SnapshotEnumerators]


def test_a_minimum_pause_implies_one_at_a_time():
    assert CoordinatorConfig(10, min_pause_ms=1, max_concurrent=3).concurrency == 1
    assert CoordinatorConfig(10, max_concurrent=3).concurrency == 3


def test_without_an_interval_only_requests_start_a_checkpoint():
    d = Driver(interval_ms=None)
    assert d.machine.next_deadline_ms() is None
    assert d.tick(10_000) == []
    assert d.tell(TriggerRequested("r", WALL)) == [SnapshotEnumerators(1)]


def test_a_request_ignores_the_pause_but_waits_for_the_one_in_flight():
    d = Driver(min_pause_ms=500)
    number = d.start_and_ack()
    assert d.tell(TriggerRequested("first", WALL)) == []
    assert d.tell(TriggerRequested("second", WALL)) == []
    d.tell(MetadataDurable(number))
    assert d.machine.next_deadline_ms() <= d.now_ms
    assert d.tick() == [SnapshotEnumerators(2)]
    d.tell(EnumeratorsSnapshotted(2, {}))
    for subtask in SUBTASKS:
        d.ack(2, subtask)
    completed = next(a for a in d.tell(MetadataDurable(2)) if isinstance(a, CheckpointCompleted))
    assert completed.request_ids == ("first", "second")


def test_after_the_final_checkpoint_none_follows():
    d = Driver()
    d.tell(TriggerRequested("end", WALL, final=True))
    d.tell(EnumeratorsSnapshotted(1, {}))
    for subtask in SUBTASKS:
        d.ack(1, subtask)
    completed = d.tell(MetadataDurable(1))[1]
    assert completed.final
    assert d.machine.next_deadline_ms() is None
    assert d.tick(10_000) == []
    [refused] = d.tell(TriggerRequested("late", WALL))
    assert refused.reason is Reason.JOB_ENDED


def test_a_final_checkpoint_of_a_stopped_attempt_does_not_end_the_job():
    d = Driver()
    d.tell(TriggerRequested("end", WALL, final=True))
    d.tell(EnumeratorsSnapshotted(1, {}))
    for subtask in SUBTASKS:
        d.ack(1, subtask)
    d.tell(JobStopped())
    [completed] = d.tell(MetadataDurable(1))
    assert not completed.final  # nobody has committed it yet: the next attempt will
    d.tell(JobRunning(2, SUBTASKS, SOURCES))
    assert d.tell(TriggerRequested("end", WALL, final=True)) == [SnapshotEnumerators(2)]


def test_a_failed_final_checkpoint_is_repeated_after_a_moment():
    d = Driver(tolerable_failures=1)
    d.tell(TriggerRequested("end", WALL, final=True))
    d.tell(EnumeratorsSnapshotted(1, {}))
    failed = next(a for a in d.decline(1) if isinstance(a, CheckpointFailed))
    assert failed.request_ids == ()  # not answered yet
    assert d.machine.next_deadline_ms() == d.now_ms + FINAL_RETRY_MS
    assert d.tick(FINAL_RETRY_MS - 1) == []
    assert d.tick(1) == [SnapshotEnumerators(2)]


def test_a_timeout_aborts_and_names_who_is_missing():
    d = Driver()
    d.start()
    d.ack(1, "source-0", part(shared("new"), exclusive(1, "x")))
    assert d.machine.next_deadline_ms() == d.now_ms + 50
    abort, folder, files, failed, fail_job = d.tick(50)
    assert abort == Send(NotifyCheckpointAborted(1), SUBTASKS)
    assert folder == DiscardCheckpoints((1,))
    assert files == DiscardFiles((shared("new"),))
    assert (failed.reason, failed.counted, failed.acknowledged, failed.subtasks) == (
        Reason.EXPIRED,
        True,
        1,
        3,
    )
    assert "sink-0, source-1" in failed.detail
    assert fail_job == FailJob(Reason.EXPIRED, failed.detail, 1)


def test_failures_in_a_row_beyond_the_tolerable_ones_fail_the_job():
    d = Driver(tolerable_failures=2)
    for _ in range(2):
        assert FailJob not in kinds(d.decline(d.start()))
    d.complete()
    for _ in range(2):  # a completion starts the count afresh
        assert FailJob not in kinds(d.decline(d.start()))
    actions = d.decline(d.start())
    assert actions[-1] == FailJob(Reason.DECLINED, "subtask sink-0: disk full", 3)


def test_a_new_attempt_starts_the_count_of_failures_afresh():
    d = Driver(tolerable_failures=1)
    d.decline(d.start())
    d.tell(JobStopped())
    d.tell(JobRunning(2, SUBTASKS, SOURCES))
    d.attempt = 2
    assert FailJob not in kinds(d.decline(d.start()))


def test_a_stopped_job_aborts_without_counting_a_failure():
    d = Driver()
    d.start()
    d.ack(1, "sink-0", part(shared("new")))
    actions = d.tell(JobStopped())
    assert kinds(actions) == [Send, DiscardCheckpoints, DiscardFiles, CheckpointFailed]
    assert (actions[-1].reason, actions[-1].counted) == (Reason.TASK_FAILED, False)
    assert d.tell(JobStopped()) == []
    assert d.machine.next_deadline_ms() is None


def test_requests_that_never_started_are_refused_when_the_job_stops():
    d = Driver()
    d.start()
    d.tell(TriggerRequested("r", WALL))
    assert isinstance(d.tell(JobStopped(ended=True))[0], RequestRefused)
    [refused] = d.tell(TriggerRequested("again", WALL))
    assert refused.request_id == "again"


def test_metadata_that_becomes_durable_after_the_job_stopped_is_what_to_restore_from():
    d = Driver()
    number = d.start_and_ack()
    assert d.tell(JobStopped()) == [AwaitMetadata((number,))]
    assert d.machine.awaits_metadata
    with pytest.raises(ProtocolViolation, match="metadata is still being written"):
        d.tell(JobRunning(2, SUBTASKS, SOURCES))
    assert kinds(d.tell(MetadataDurable(number))) == [CheckpointCompleted]  # nobody is there to be notified
    assert not d.machine.awaits_metadata
    assert d.machine.latest_completed_id == number
    assert d.tell(JobRunning(2, SUBTASKS, SOURCES)) == []


def test_metadata_that_fails_after_the_job_stopped_leaves_the_older_checkpoint():
    d = Driver()
    d.complete()
    number = d.start_and_ack({"sink-0": part(shared("new"))})
    d.tell(JobStopped())
    actions = d.tell(MetadataFailed(number, "disk full"))
    assert kinds(actions) == [Send, DiscardCheckpoints, DiscardFiles, CheckpointFailed]
    assert d.machine.latest_completed_id == 1


def test_a_checkpoint_whose_metadata_is_being_written_does_not_expire():
    d = Driver()
    d.start_and_ack()
    assert d.tick(10_000) == []
    assert d.machine.next_deadline_ms() is None
    assert CheckpointCompleted in kinds(d.tell(MetadataDurable(1)))


def test_ids_go_on_after_a_restart():
    d = Driver(next_checkpoint_id=12)
    assert d.start() == 12
    d.tell(JobStopped())
    d.tell(JobRunning(2, SUBTASKS, SOURCES))
    d.attempt = 2
    assert d.start() == 13


def test_late_acks_are_dropped_and_their_files_discarded():
    d = Driver(tolerable_failures=1)
    d.start()
    d.decline(1)
    late = part(shared("late"), exclusive(1, "late"))
    assert d.ack(1, "sink-0", late) == [DiscardFiles((shared("late"), exclusive(1, "late")))]
    assert d.decline(1) == []
    assert d.machine.statistics().late_messages == 2


@pytest.mark.parametrize("late", [False, True])
def test_what_a_subtask_that_declines_has_written_is_discarded(late):
    d = Driver(tolerable_failures=1)
    d.start()
    if late:
        d.decline(1)
    written = part(shared("for nothing"), exclusive(1, "for nothing"))
    actions = d.tell(Declined(DeclineCheckpoint(1, "sink-0", "given up", written), 1))
    discarded = [file for action in actions if isinstance(action, DiscardFiles) for file in action.files]
    assert discarded == [shared("for nothing"), *([exclusive(1, "for nothing")] if late else [])]
    assert (DiscardCheckpoints((1,)) in actions) is not late  # with the exclusive ones


def test_a_doubled_ack_discards_nothing_that_counts():
    d = Driver(timeout_ms=1_000)
    snapshot = part(shared("a"), exclusive(1, "b"))
    d.start()
    d.ack(1, "sink-0", snapshot)
    assert d.ack(1, "sink-0", snapshot) == []  # in flight
    for subtask in SOURCES:
        d.ack(1, subtask)
    assert d.ack(1, "sink-0", snapshot) == []  # being written
    d.tell(MetadataDurable(1))
    assert d.ack(1, "sink-0", snapshot) == []  # retained


def test_an_ack_of_an_old_attempt_never_counts_though_the_id_is_the_same():
    d = Driver(attempt=5)
    d.start()
    assert d.ack(1, "sink-0", part(shared("zombie")), attempt=4) == []
    assert d.machine.statistics().pending[0].acknowledged == 0


def test_files_named_by_an_attempt_before_this_coordinator_are_left_alone():
    d = Driver(attempt=5)
    assert d.ack(99, "whoever", part(shared("unknown")), attempt=4) == []


def test_an_aborted_checkpoint_keeps_the_files_it_shares_with_a_retained_one():
    d = Driver()
    d.complete({"sink-0": part(shared("old"))})
    d.start()
    d.ack(2, "sink-0", part(shared("old"), shared("new")))
    discarded = [a for a in d.tick(50) if isinstance(a, DiscardFiles)]
    assert discarded == [DiscardFiles((shared("new"),))]


def test_subsumed_checkpoints_go_and_their_shared_files_one_checkpoint_later():
    d = Driver()
    d.complete({"sink-0": part(shared("a"), shared("b"))})
    _, actions = d.complete({"sink-0": part(shared("b"))})
    assert [a for a in actions if isinstance(a, DiscardCheckpoints | DiscardFiles)] == [
        DiscardCheckpoints((1,))
    ]
    _, actions = d.complete({"sink-0": part(shared("b"))})
    assert actions[2:] == [DiscardCheckpoints((2,)), DiscardFiles((shared("a"),))]


def test_impossible_events_are_violations():
    d = Driver()
    with pytest.raises(ProtocolViolation, match="never asked"):
        d.ack(1, "sink-0")
    d.start()
    with pytest.raises(ProtocolViolation, match="never asked"):
        d.ack(1, "stranger")
    with pytest.raises(ProtocolViolation, match="not being written"):
        d.tell(MetadataDurable(1))
    with pytest.raises(ProtocolViolation, match="already"):
        d.tell(EnumeratorsSnapshotted(1, {}))
    with pytest.raises(ProtocolViolation, match="not over"):
        d.tell(JobRunning(2, SUBTASKS, SOURCES))
    assert d.tell(EnumeratorsSnapshotted(0, {})) == []  # late


def test_statistics_tell_what_happened():
    d = Driver(tolerable_failures=5)
    d.complete()
    d.decline(d.start())
    d.start()
    d.ack(3, "sink-0")
    statistics = d.machine.statistics()
    assert (statistics.triggered, statistics.completed, statistics.failed) == (3, 1, 1)
    assert statistics.consecutive_failures == 1
    assert statistics.last_completed.checkpoint_id == 1
    [pending] = statistics.pending
    assert (pending.checkpoint_id, pending.phase.name, pending.acknowledged, pending.subtasks) == (
        3,
        "TASKS",
        1,
        3,
    )


def test_statistics_are_asked_by_other_threads_while_checkpoints_come_and_go():
    d = Driver(retained=3, max_concurrent=4)
    asked, over = [], Event()

    def ask():
        while not over.is_set():
            asked.append((d.machine.latest_completed_id, d.machine.statistics()))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(1) as pool:
            answers = pool.submit(ask)
            try:
                for _ in range(300):
                    numbers = [d.start_and_ack() for _ in range(4)]
                    for number in numbers:
                        d.tell(MetadataDurable(number))
            finally:
                over.set()
            answers.result()
    finally:
        sys.setswitchinterval(interval)
    latest = [number for number, _ in asked if number is not None]
    assert latest == sorted(latest)
    assert d.machine.statistics().completed == 1_200


def test_with_two_in_flight_the_older_one_may_finish_last():
    d = Driver(max_concurrent=2, retained=1, timeout_ms=1_000)
    d.start()
    d.start()
    for number in (2, 1):
        for subtask in SUBTASKS:
            d.ack(number, subtask)
    assert d.tell(MetadataDurable(2))[0] == Send(NotifyCheckpointComplete(2, oldest_retained=2), SUBTASKS)
    actions = d.tell(MetadataDurable(1))
    assert kinds(actions) == [CheckpointCompleted, DiscardCheckpoints]
    assert actions[1] == DiscardCheckpoints((1,))
    assert d.machine.latest_completed_id == 2


# ---- savepoints -------------------------------------------------------------------------------------------------------

PLAIN = SavepointTarget("/savepoints/savepoint-1")
STOP = SavepointTarget("/savepoints/savepoint-2", stops=True)


def savepoint(d, target, request_id="mine", *, drain=False):
    return d.tell(TriggerRequested(request_id, WALL, savepoint=target, drain=drain))


def all_ack(d, number):
    return [action for subtask in SUBTASKS for action in d.ack(number, subtask, part(shared(f"s{number}")))]


def test_a_savepoint_commits_nothing_and_is_not_retained():
    d = Driver(interval_ms=None)
    assert savepoint(d, PLAIN) == [SnapshotEnumerators(1)]
    [send] = d.tell(EnumeratorsSnapshotted(1, {}))
    assert send == Send(TriggerCheckpoint(1, WALL, PLAIN), SOURCES)
    [write] = all_ack(d, 1)
    assert write.data.savepoint == PLAIN
    [completed] = d.tell(MetadataDurable(1))
    assert (completed.request_ids, completed.savepoint) == (("mine",), PLAIN)
    assert d.machine.latest_completed_id is None


def test_a_savepoint_that_stops_the_job_commits_and_no_checkpoint_follows():
    d = Driver()
    savepoint(d, STOP)
    d.tell(EnumeratorsSnapshotted(1, {}))
    all_ack(d, 1)
    notify, completed = d.tell(MetadataDurable(1))
    assert notify == Send(NotifyCheckpointComplete(1), SUBTASKS)
    assert completed.savepoint == STOP
    assert d.machine.latest_completed_id is None
    assert d.tick(1_000) == []


def test_a_savepoint_is_taken_alone():
    d = Driver(max_concurrent=2)
    first = d.start()
    assert savepoint(d, PLAIN) == []
    assert d.tick(1) == []
    all_ack(d, first)
    d.tell(MetadataDurable(first))
    assert d.tick(0) == [SnapshotEnumerators(2)]
    d.tell(EnumeratorsSnapshotted(2, {}))
    assert kinds(d.tick(40)) == []  # a periodic one would be due
    all_ack(d, 2)
    d.tell(MetadataDurable(2))
    assert d.tick(100) == [SnapshotEnumerators(3)]


def test_two_savepoints_and_a_checkpoint_that_wait_together_are_three():
    d = Driver(interval_ms=None)
    savepoint(d, PLAIN, "a")
    savepoint(d, PLAIN, "b")
    d.tell(TriggerRequested("c", WALL))
    reports = []
    for number in (1, 2, 3):
        d.tell(EnumeratorsSnapshotted(number, {}))
        all_ack(d, number)
        reports += [a for a in d.tell(MetadataDurable(number)) if isinstance(a, CheckpointCompleted)]
        d.tick()
    assert [(r.request_ids, r.savepoint) for r in reports] == [
        (("a",), PLAIN),
        (("b",), PLAIN),
        (("c",), None),
    ]


@pytest.mark.parametrize("target", [PLAIN, STOP])
@pytest.mark.parametrize("ending", ["declined", "expired", "metadata failed", "job stopped"])
def test_a_savepoint_that_fails_is_discarded_and_never_fails_the_job(target, ending):
    d = Driver(interval_ms=None, tolerable_failures=0)
    savepoint(d, target)
    d.tell(EnumeratorsSnapshotted(1, {}))
    match ending:
        case "declined":
            actions = d.decline(1)
        case "expired":
            actions = d.tick(50)
        case "metadata failed":
            all_ack(d, 1)
            actions = d.tell(MetadataFailed(1, "disk full"))
        case _:
            actions = d.tell(JobStopped())
    assert kinds(actions) == [Send, DiscardSavepoint, CheckpointFailed]
    assert actions[0].message == NotifyCheckpointAborted(1)
    assert actions[1].folder == target.folder
    assert (actions[2].request_ids, actions[2].counted) == (("mine",), False)


def test_what_comes_late_for_a_failed_savepoint_is_discarded_with_it():
    d = Driver(interval_ms=None)
    savepoint(d, PLAIN)
    d.tell(EnumeratorsSnapshotted(1, {}))
    d.decline(1)
    assert d.ack(1, "source-0") == [DiscardSavepoint(PLAIN.folder)]


def test_a_stop_that_becomes_durable_after_the_attempt_is_discarded_but_a_plain_savepoint_stays():
    for target, expected in (
        (STOP, [Send, DiscardSavepoint, CheckpointFailed]),
        (PLAIN, [CheckpointCompleted]),
    ):
        d = Driver(interval_ms=None)
        savepoint(d, target)
        d.tell(EnumeratorsSnapshotted(1, {}))
        all_ack(d, 1)
        assert kinds(d.tell(JobStopped())) == [AwaitMetadata]
        assert kinds(d.tell(MetadataDurable(1))) == expected


def test_draining_ends_the_sources_and_takes_the_place_of_the_final_checkpoint():
    d = Driver()
    assert savepoint(d, STOP, drain=True) == [DrainSources(SOURCES)]
    d.complete()  # periodic ones go on meanwhile
    assert d.tell(TriggerRequested("final", WALL, final=True)) == [SnapshotEnumerators(2)]
    d.tell(EnumeratorsSnapshotted(2, {}))
    all_ack(d, 2)
    notify, completed = d.tell(MetadataDurable(2))
    assert notify == Send(NotifyCheckpointComplete(2), SUBTASKS)
    assert (completed.request_ids, completed.savepoint) == (("mine",), STOP)


def test_a_drained_job_whose_savepoint_fails_has_to_restart():
    d = Driver(interval_ms=None, tolerable_failures=5)
    savepoint(d, STOP, drain=True)
    d.tell(TriggerRequested("final", WALL, final=True))
    d.tell(EnumeratorsSnapshotted(1, {}))
    assert kinds(d.decline(1)) == [Send, DiscardSavepoint, CheckpointFailed, FailJob]


@pytest.mark.parametrize("drain", [False, True])
def test_a_job_is_stopped_once(drain):
    d = Driver(interval_ms=None)
    savepoint(d, STOP, drain=drain)
    [refused] = savepoint(d, STOP, "other")
    assert isinstance(refused, RequestRefused)
    assert refused.request_id == "other"
    [*_, last] = d.tell(JobStopped())
    assert isinstance(last, RequestRefused if drain else CheckpointFailed)
