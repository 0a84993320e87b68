import pytest

from millstream.core.errors import MillstreamError, ProtocolViolation
from millstream.runtime.job_manager.region_run import Stage
from millstream.runtime.job_manager.restart_strategy import FixedDelay, NoRestart
from millstream.runtime.job_manager.scheduler import Scheduler
from millstream.runtime.job_manager.scheduling import (
    AttemptFailed,
    AttemptPrepared,
    CancelAll,
    CancelRequested,
    CheckpointSettled,
    DeployAll,
    Failure,
    FinalCheckpointCompleted,
    FinishAll,
    InputEnded,
    JobCancelled,
    JobFailed,
    JobFailure,
    JobFinished,
    JobStatus,
    KillWorker,
    PrepareAttempt,
    Region,
    ReportFailure,
    SchedulerConfig,
    StartCheckpointing,
    Started,
    StartWorkers,
    StopCheckpointing,
    StoppedWithSavepoint,
    TasksRunning,
    TasksStopped,
    Tick,
    TriggerFinalCheckpoint,
    WorkerLost,
    WorkerRegistered,
)

BOOM = Failure(MillstreamError("boom"))
HOPELESS = Failure(MillstreamError("data would be lost"), recoverable=False)
LOST = Failure(MillstreamError("worker lost"))


class Driver:
    """Feeds events and remembers the actions, with worker ids 0 and 1 and subtasks a and b."""

    def __init__(self, *, checkpointing=True, restarts=1, delay_ms=100):
        region = Region(frozenset({0, 1}), frozenset({"a", "b"}))
        config = SchedulerConfig((region,), checkpointing, first_attempt=1)
        strategy = FixedDelay(restarts, delay_ms) if restarts else NoRestart()
        self.scheduler = Scheduler(config, strategy)
        self.now = 0

    def do(self, *events):
        return [action for event in events for action in self.scheduler.handle(event, self.now)]

    def deployed(self, attempt=1):
        self.do(Started(), WorkerRegistered(0), WorkerRegistered(1), AttemptPrepared(attempt))
        return self

    def executing(self, attempt=1):
        self.deployed(attempt).do(TasksRunning(0, attempt), TasksRunning(1, attempt))
        return self

    @property
    def status(self):
        return self.scheduler.status


def test_a_bounded_job_with_checkpoints_ends_with_a_final_one_that_is_committed():
    d = Driver()
    assert d.do(Started()) == [StartWorkers((0, 1))]
    assert d.do(WorkerRegistered(1)) == []
    assert d.do(WorkerRegistered(0)) == [PrepareAttempt(1, 1)]
    assert d.do(AttemptPrepared(1)) == [DeployAll(1, 0, 1)]
    assert d.do(TasksRunning(0, 1), TasksRunning(1, 1)) == [StartCheckpointing(1)]
    assert d.do(InputEnded(1, "a")) == []
    assert d.do(InputEnded(1, "b")) == [TriggerFinalCheckpoint(1)]
    assert d.do(FinalCheckpointCompleted(1)) == [FinishAll(1, commit_now=False)]
    assert d.do(TasksStopped(0, 1)) == []
    assert d.do(TasksStopped(1, 1)) == [StopCheckpointing(), CancelAll(1, 0)]
    assert d.status is JobStatus.RUNNING
    assert d.do(CheckpointSettled()) == [JobFinished()]
    assert d.status is JobStatus.FINISHED


def test_a_bounded_job_without_checkpoints_commits_at_its_end():
    d = Driver(checkpointing=False).executing()
    assert d.do(InputEnded(1, "a"), InputEnded(1, "b")) == [FinishAll(1, commit_now=True)]


def test_input_that_ends_before_all_tasks_run_is_not_forgotten():
    d = Driver(checkpointing=False).deployed()
    assert d.do(TasksRunning(0, 1), InputEnded(1, "a"), InputEnded(1, "b")) == []
    assert d.do(TasksRunning(1, 1)) == [StartCheckpointing(1), FinishAll(1, commit_now=True)]


def test_a_failure_stops_all_tasks_before_the_next_attempt():
    d = Driver().executing()
    assert d.do(AttemptFailed(1, BOOM)) == [
        ReportFailure((0,), BOOM, 100),
        StopCheckpointing(),
        CancelAll(1, 0),
    ]
    assert d.status is JobStatus.RESTARTING
    assert d.do(CheckpointSettled(), TasksStopped(0, 1)) == []
    assert d.do(TasksStopped(1, 1)) == []
    assert d.scheduler.next_deadline_ms() == 100
    assert d.do(Tick()) == []
    d.now = 100
    assert d.do(Tick()) == [PrepareAttempt(2, 2)]
    assert d.do(AttemptPrepared(2)) == [DeployAll(2, 0, 2)]


def test_what_to_restore_is_not_asked_while_metadata_is_being_written():
    d = Driver(delay_ms=0).executing()
    d.do(AttemptFailed(1, BOOM), TasksStopped(0, 1))
    assert d.do(TasksStopped(1, 1)) == []
    assert d.do(CheckpointSettled()) == [PrepareAttempt(2, 2)]


def test_a_lost_worker_is_started_again_for_the_next_attempt():
    d = Driver(delay_ms=0).executing()
    d.do(WorkerLost(1, LOST), CheckpointSettled())
    assert d.do(TasksStopped(0, 1)) == [StartWorkers((1,))]
    assert d.do(WorkerRegistered(1)) == [PrepareAttempt(2, 2)]


def test_workers_lost_together_use_up_one_restart():
    d = Driver(delay_ms=0, restarts=1).executing()
    actions = d.do(WorkerLost(1, LOST), WorkerLost(0, LOST), CheckpointSettled())
    assert actions[-1] == StartWorkers((0, 1))


def test_echoes_of_a_failure_use_up_no_restart():
    d = Driver(delay_ms=0, restarts=1).executing()
    d.do(AttemptFailed(1, BOOM), AttemptFailed(1, BOOM), CheckpointSettled(), TasksStopped(0, 1))
    assert d.do(TasksStopped(1, 1)) == [PrepareAttempt(2, 2)]


def test_without_budget_the_failure_is_the_end():
    d = Driver(restarts=0).executing()
    assert d.do(AttemptFailed(1, BOOM))[0] == ReportFailure((0,), BOOM, None)
    assert d.status is JobStatus.FAILING
    d.do(CheckpointSettled(), TasksStopped(0, 1))
    assert d.do(TasksStopped(1, 1)) == [JobFailed(BOOM)]


def test_a_failure_that_is_not_recoverable_is_the_end_whatever_the_budget():
    d = Driver(restarts=9).executing()
    d.do(AttemptFailed(1, HOPELESS), CheckpointSettled(), TasksStopped(0, 1))
    assert d.do(TasksStopped(1, 1)) == [JobFailed(HOPELESS)]


def test_a_failure_that_is_not_recoverable_overrides_a_restart_that_is_under_way():
    d = Driver(restarts=9).executing()
    d.do(AttemptFailed(1, BOOM), AttemptFailed(1, HOPELESS), CheckpointSettled(), TasksStopped(0, 1))
    assert d.do(TasksStopped(1, 1)) == [JobFailed(HOPELESS)]


def test_a_failure_while_deploying_surfaces_like_any_other():
    d = Driver(restarts=0).deployed()
    assert d.do(AttemptFailed(1, BOOM)) == [
        ReportFailure((0,), BOOM, None),
        StopCheckpointing(),
        CancelAll(1, 0),
    ]


def test_a_preparation_that_failed_deploys_nothing():
    d = Driver(restarts=0)
    d.do(Started(), WorkerRegistered(0), WorkerRegistered(1))
    d.do(AttemptFailed(1, BOOM))
    assert d.do(CheckpointSettled()) == [JobFailed(BOOM)]


def test_a_worker_that_dies_before_it_registers_uses_up_budget():
    d = Driver(restarts=1, delay_ms=0)
    d.do(Started(), WorkerRegistered(0), WorkerLost(1, LOST))
    assert d.do(CheckpointSettled()) == [StartWorkers((1,))]
    d.do(WorkerLost(1, LOST))
    assert d.do(CheckpointSettled()) == [JobFailed(LOST)]


def test_a_worker_that_never_registers_is_killed_and_replaced_once_it_is_gone():
    d = Driver(restarts=1, delay_ms=0)
    d.do(Started(), WorkerRegistered(0))
    d.now = 60_000
    actions = d.do(Tick())
    assert actions[0] == KillWorker(1)
    assert isinstance(actions[1], ReportFailure)
    assert d.do(CheckpointSettled()) == []
    assert d.do(WorkerLost(1, LOST)) == [StartWorkers((1,))]


def test_a_worker_whose_tasks_do_not_stop_is_killed():
    d = Driver(delay_ms=0).executing()
    d.do(AttemptFailed(1, BOOM), CheckpointSettled(), TasksStopped(0, 1))
    d.now = 10_000
    assert d.do(Tick()) == [KillWorker(1)]
    assert d.do(WorkerLost(1, LOST)) == [StartWorkers((1,))]


def test_cancelling_a_running_job_commits_nothing():
    d = Driver().executing()
    assert d.do(CancelRequested()) == [StopCheckpointing(), CancelAll(1, 0)]
    assert d.status is JobStatus.CANCELLING
    d.do(CheckpointSettled(), WorkerLost(0, LOST))
    assert d.do(TasksStopped(1, 1)) == [JobCancelled()]


def test_cancelling_while_waiting_for_a_restart_ends_at_once():
    d = Driver().executing()
    d.do(AttemptFailed(1, BOOM), CheckpointSettled(), TasksStopped(0, 1), TasksStopped(1, 1))
    assert d.do(CancelRequested()) == [JobCancelled()]
    assert d.do(CancelRequested()) == []


def test_cancelling_while_tasks_stop_for_a_restart_turns_it_into_a_cancellation():
    d = Driver().executing()
    d.do(AttemptFailed(1, BOOM), CancelRequested(), CheckpointSettled(), TasksStopped(0, 1))
    assert d.do(TasksStopped(1, 1)) == [JobCancelled()]


def test_a_job_that_fails_for_good_still_tells_its_error_when_it_is_cancelled():
    d = Driver(restarts=0).executing()
    d.do(AttemptFailed(1, BOOM), CancelRequested(), CheckpointSettled(), TasksStopped(0, 1))
    assert d.do(TasksStopped(1, 1)) == [JobFailed(BOOM)]


def test_a_job_cancelled_before_its_start_never_starts():
    d = Driver()
    assert d.do(CancelRequested()) == [JobCancelled()]
    assert d.do(Started()) == []


def test_a_failure_in_the_final_commit_restarts_and_finishes_again():
    d = Driver(delay_ms=0).executing()
    d.do(InputEnded(1, "a"), InputEnded(1, "b"), FinalCheckpointCompleted(1), TasksStopped(0, 1))
    assert d.do(WorkerLost(1, LOST)) == [ReportFailure((0,), LOST, 0), StopCheckpointing(), CancelAll(1, 0)]
    assert d.do(CheckpointSettled()) == [StartWorkers((1,))]
    d.do(WorkerRegistered(1), AttemptPrepared(2), TasksRunning(0, 2), TasksRunning(1, 2))
    assert d.do(InputEnded(2, "a"), InputEnded(2, "b")) == [TriggerFinalCheckpoint(2)]


def test_a_job_stopped_with_a_savepoint_finishes_without_the_end_of_its_input():
    d = Driver().executing()
    assert d.do(StoppedWithSavepoint(1)) == [FinishAll(1, commit_now=False)]
    assert d.do(TasksStopped(0, 1), TasksStopped(1, 1), CheckpointSettled())[-1] == JobFinished()


def test_nothing_is_restarted_behind_the_savepoint_that_stops_the_job():
    d = Driver(delay_ms=0).executing()
    d.do(StoppedWithSavepoint(1))
    assert d.do(AttemptFailed(1, BOOM))[0] == ReportFailure((0,), BOOM, None)
    assert d.do(TasksStopped(0, 1), TasksStopped(1, 1), CheckpointSettled())[-1] == JobFailed(BOOM)


def test_a_savepoint_that_stops_an_earlier_attempt_is_late():
    d = Driver(delay_ms=0).executing()
    d.do(
        AttemptFailed(1, BOOM),
        TasksStopped(0, 1),
        TasksStopped(1, 1),
        CheckpointSettled(),
        AttemptPrepared(2),
    )
    assert d.do(StoppedWithSavepoint(1)) == []
    d.do(TasksRunning(0, 2), TasksRunning(1, 2))
    assert d.do(StoppedWithSavepoint(1)) == []


def test_an_answer_to_the_cancellation_after_one_to_the_end_changes_nothing():
    d = Driver(delay_ms=0).executing()
    d.do(InputEnded(1, "a"), InputEnded(1, "b"), FinalCheckpointCompleted(1), AttemptFailed(1, BOOM))
    d.do(TasksStopped(0, 1), TasksStopped(1, 1), CheckpointSettled())
    assert d.do(TasksStopped(0, 1)) == []


def test_a_worker_lost_after_it_has_finished_does_not_matter():
    d = Driver().executing()
    d.do(InputEnded(1, "a"), InputEnded(1, "b"), FinalCheckpointCompleted(1), TasksStopped(0, 1))
    assert d.do(WorkerLost(0, LOST)) == []
    assert d.do(TasksStopped(1, 1), CheckpointSettled())[-1] == JobFinished()


def test_messages_of_earlier_attempts_change_nothing():
    d = Driver(delay_ms=0).executing()
    d.do(
        AttemptFailed(1, BOOM),
        CheckpointSettled(),
        TasksStopped(0, 1),
        TasksStopped(1, 1),
        AttemptPrepared(2),
    )
    late = [AttemptFailed(1, HOPELESS), TasksRunning(0, 1), InputEnded(1, "a"), TasksStopped(0, 1)]
    assert d.do(*late, AttemptPrepared(1), FinalCheckpointCompleted(1)) == []
    assert d.scheduler.stages == (Stage.DEPLOYING,)


@pytest.mark.parametrize("event", [TasksRunning(0, 7), WorkerRegistered(5), Started()])
def test_impossible_events_are_our_own_bugs_and_loud(event):
    with pytest.raises(ProtocolViolation):
        Driver().executing().do(event)


# ---- several regions


class TwoRegions(Driver):
    """Regions of subtasks a and b on both workers, and of c and d on worker 1 alone."""

    def __init__(self, *, checkpointing=True, restarts=3, delay_ms=0):
        regions = (
            Region(frozenset({0, 1}), frozenset({"a", "b"})),
            Region(frozenset({1}), frozenset({"c", "d"})),
        )
        config = SchedulerConfig(regions, checkpointing, first_attempt=1)
        self.scheduler = Scheduler(config, FixedDelay(restarts, delay_ms))
        self.now = 0

    def all_executing(self):
        self.do(Started(), WorkerRegistered(0), WorkerRegistered(1), AttemptPrepared(1), AttemptPrepared(2))
        self.do(TasksRunning(0, 1), TasksRunning(1, 1), TasksRunning(1, 2))
        return self


def test_each_region_has_an_attempt_and_checkpoints_begin_when_all_execute():
    d = TwoRegions()
    assert d.do(Started()) == [StartWorkers((0, 1))]
    assert d.do(WorkerRegistered(1)) == [PrepareAttempt(1, 1)]
    assert d.do(WorkerRegistered(0)) == [PrepareAttempt(2, 1)]
    assert d.do(AttemptPrepared(1)) == [DeployAll(1, 1, 1)]
    assert d.do(TasksRunning(1, 1)) == []
    assert d.do(AttemptPrepared(2)) == [DeployAll(2, 0, 1)]
    assert d.do(TasksRunning(0, 2)) == []
    assert d.do(TasksRunning(1, 2)) == [StartCheckpointing(2)]


def test_a_failed_region_restarts_alone_and_checkpoints_wait_for_it():
    d = TwoRegions().all_executing()
    assert d.do(AttemptFailed(2, BOOM)) == [
        ReportFailure((1,), BOOM, 0),
        StopCheckpointing(),
        CancelAll(2, 1),
    ]
    assert d.status is JobStatus.RESTARTING
    assert d.do(CheckpointSettled()) == []
    assert d.do(TasksStopped(1, 2)) == [PrepareAttempt(3, 1)]
    assert d.do(AttemptPrepared(3)) == [DeployAll(3, 1, 1)]
    assert d.do(TasksRunning(1, 3)) == [StartCheckpointing(3)]
    assert d.status is JobStatus.RUNNING
    assert d.scheduler.restarts == 1


def test_a_lost_worker_strikes_the_regions_with_tasks_on_it_and_uses_up_one_restart():
    d = TwoRegions(restarts=1).all_executing()
    assert d.do(WorkerLost(0, LOST))[-1] == CancelAll(1, 0)
    assert d.do(CheckpointSettled(), TasksStopped(1, 1)) == [StartWorkers((0,))]
    d = TwoRegions(restarts=1).all_executing()
    actions = d.do(WorkerLost(1, LOST))
    assert [a for a in actions if isinstance(a, CancelAll)] == [CancelAll(1, 0), CancelAll(2, 1)]
    assert d.do(CheckpointSettled()) == [StartWorkers((1,))]
    assert d.do(TasksStopped(0, 1)) == []
    assert d.do(WorkerRegistered(1)) == [PrepareAttempt(3, 2), PrepareAttempt(4, 3)]


def test_failures_of_two_regions_are_dealt_with_side_by_side():
    d = TwoRegions().all_executing()
    d.do(AttemptFailed(1, BOOM), AttemptFailed(2, BOOM), CheckpointSettled())
    assert d.do(TasksStopped(1, 2)) == [PrepareAttempt(3, 1)]
    d.do(AttemptPrepared(3), TasksRunning(1, 3), TasksStopped(0, 1))
    assert d.do(TasksStopped(1, 1)) == [PrepareAttempt(4, 3)]
    assert d.do(AttemptPrepared(4), TasksRunning(0, 4), TasksRunning(1, 4)) == [
        DeployAll(4, 0, 3),
        StartCheckpointing(4),
    ]
    assert d.scheduler.restarts == 2


def test_a_worker_killed_for_one_region_restarts_the_others_on_it_for_nothing():
    d = TwoRegions(restarts=1).all_executing()
    d.do(AttemptFailed(2, BOOM), CheckpointSettled())
    d.now = 10_000
    assert d.do(Tick()) == [KillWorker(1)]
    actions = d.do(WorkerLost(1, LOST))
    assert CancelAll(1, 0) in actions
    assert not any(isinstance(action, ReportFailure) for action in actions)
    assert d.scheduler.restarts == 1


def test_failed_checkpoints_restart_all_regions():
    d = TwoRegions().all_executing()
    actions = d.do(JobFailure(BOOM))
    assert actions == [ReportFailure((0, 1), BOOM, 0), StopCheckpointing(), CancelAll(1, 0), CancelAll(2, 1)]


def test_a_job_ends_when_the_input_of_all_regions_has_ended():
    d = TwoRegions().all_executing()
    assert d.do(InputEnded(2, "c"), InputEnded(2, "d"), InputEnded(1, "a")) == []
    assert d.do(InputEnded(1, "b")) == [TriggerFinalCheckpoint(2)]
    assert d.do(FinalCheckpointCompleted(2)) == [
        FinishAll(1, commit_now=False),
        FinishAll(2, commit_now=False),
    ]
    d.do(TasksStopped(0, 1), TasksStopped(1, 1))
    assert d.do(TasksStopped(1, 2))[0] == StopCheckpointing()
    assert d.do(CheckpointSettled()) == [JobFinished()]


def test_a_region_that_fails_when_all_input_has_ended_reads_again_and_the_last_checkpoint_waits():
    d = TwoRegions().all_executing()
    d.do(InputEnded(2, "c"), InputEnded(2, "d"), InputEnded(1, "a"), InputEnded(1, "b"))
    d.do(AttemptFailed(2, BOOM), CheckpointSettled(), TasksStopped(1, 2), AttemptPrepared(3))
    assert d.do(FinalCheckpointCompleted(2)) == []
    assert d.do(TasksRunning(1, 3), InputEnded(3, "c")) == [StartCheckpointing(3)]
    assert d.do(InputEnded(3, "d")) == [TriggerFinalCheckpoint(3)]


def test_a_failure_while_the_job_finishes_restarts_all_regions_also_those_that_are_done():
    d = TwoRegions().all_executing()
    d.do(InputEnded(2, "c"), InputEnded(2, "d"), InputEnded(1, "a"), InputEnded(1, "b"))
    d.do(FinalCheckpointCompleted(2), TasksStopped(1, 2))
    actions = d.do(AttemptFailed(1, BOOM))
    assert actions == [ReportFailure((0, 1), BOOM, 0), StopCheckpointing(), CancelAll(1, 0), CancelAll(2, 1)]


def test_a_job_that_fails_for_good_or_is_cancelled_stops_the_regions_that_run_well_too():
    d = TwoRegions().all_executing()
    assert d.do(AttemptFailed(2, HOPELESS))[1:] == [StopCheckpointing(), CancelAll(1, 0), CancelAll(2, 1)]
    d.do(CheckpointSettled(), TasksStopped(0, 1), TasksStopped(1, 1))
    assert d.do(TasksStopped(1, 2)) == [JobFailed(HOPELESS)]
    d = TwoRegions().all_executing()
    d.do(AttemptFailed(2, BOOM), CheckpointSettled())
    assert d.do(CancelRequested()) == [StopCheckpointing(), CancelAll(1, 0)]
    d.do(CheckpointSettled(), TasksStopped(1, 2), TasksStopped(0, 1))
    assert d.do(TasksStopped(1, 1)) == [JobCancelled()]
