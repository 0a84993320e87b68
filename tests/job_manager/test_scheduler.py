import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from millstream.core.errors import MillstreamError, ProtocolViolation
from millstream.runtime.job_manager.restart_strategy import FixedDelay, NoRestart
from millstream.runtime.job_manager.scheduler import Scheduler, Stage
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
    JobFinished,
    JobStatus,
    KillWorker,
    PrepareAttempt,
    ReportFailure,
    SchedulerConfig,
    StartCheckpointing,
    Started,
    StartWorkers,
    StopCheckpointing,
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
        config = SchedulerConfig((0, 1), frozenset({"a", "b"}), checkpointing, first_attempt=1)
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
    assert d.do(WorkerRegistered(0)) == [PrepareAttempt(1)]
    assert d.do(AttemptPrepared(1)) == [DeployAll(1)]
    assert d.do(TasksRunning(0, 1), TasksRunning(1, 1)) == [StartCheckpointing(1)]
    assert d.do(InputEnded(1, "a")) == []
    assert d.do(InputEnded(1, "b")) == [TriggerFinalCheckpoint(1)]
    assert d.do(FinalCheckpointCompleted(1)) == [FinishAll(1, commit_now=False)]
    assert d.do(TasksStopped(0, 1)) == []
    assert d.do(TasksStopped(1, 1)) == [StopCheckpointing()]
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
    assert d.do(AttemptFailed(1, BOOM)) == [ReportFailure(1, BOOM, 100), StopCheckpointing(), CancelAll(1)]
    assert d.status is JobStatus.RESTARTING
    assert d.do(CheckpointSettled(), TasksStopped(0, 1)) == []
    assert d.do(TasksStopped(1, 1)) == []
    assert d.scheduler.next_deadline_ms() == 100
    assert d.do(Tick()) == []
    d.now = 100
    assert d.do(Tick()) == [PrepareAttempt(2)]
    assert d.do(AttemptPrepared(2)) == [DeployAll(2)]


def test_what_to_restore_is_not_asked_while_metadata_is_being_written():
    d = Driver(delay_ms=0).executing()
    d.do(AttemptFailed(1, BOOM), TasksStopped(0, 1))
    assert d.do(TasksStopped(1, 1)) == []
    assert d.do(CheckpointSettled()) == [PrepareAttempt(2)]


def test_a_lost_worker_is_started_again_for_the_next_attempt():
    d = Driver(delay_ms=0).executing()
    d.do(WorkerLost(1, LOST), CheckpointSettled())
    assert d.do(TasksStopped(0, 1)) == [StartWorkers((1,))]
    assert d.do(WorkerRegistered(1)) == [PrepareAttempt(2)]


def test_workers_lost_together_use_up_one_restart():
    d = Driver(delay_ms=0, restarts=1).executing()
    actions = d.do(WorkerLost(1, LOST), WorkerLost(0, LOST), CheckpointSettled())
    assert actions[-1] == StartWorkers((0, 1))


def test_echoes_of_a_failure_use_up_no_restart():
    d = Driver(delay_ms=0, restarts=1).executing()
    d.do(AttemptFailed(1, BOOM), AttemptFailed(1, BOOM), CheckpointSettled(), TasksStopped(0, 1))
    assert d.do(TasksStopped(1, 1)) == [PrepareAttempt(2)]


def test_without_budget_the_failure_is_the_end():
    d = Driver(restarts=0).executing()
    assert d.do(AttemptFailed(1, BOOM))[0] == ReportFailure(1, BOOM, None)
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
    assert d.do(AttemptFailed(1, BOOM)) == [ReportFailure(1, BOOM, None), StopCheckpointing(), CancelAll(1)]


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
    assert d.do(CancelRequested()) == [StopCheckpointing(), CancelAll(1)]
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
    assert d.do(WorkerLost(1, LOST)) == [ReportFailure(1, LOST, 0), StopCheckpointing()]
    assert d.do(CheckpointSettled()) == [StartWorkers((1,))]
    d.do(WorkerRegistered(1), AttemptPrepared(2), TasksRunning(0, 2), TasksRunning(1, 2))
    assert d.do(InputEnded(2, "a"), InputEnded(2, "b")) == [TriggerFinalCheckpoint(2)]


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
    assert d.scheduler.stage is Stage.DEPLOYING


@pytest.mark.parametrize("event", [TasksRunning(0, 7), WorkerRegistered(5), Started()])
def test_impossible_events_are_our_own_bugs_and_loud(event):
    with pytest.raises(ProtocolViolation):
        Driver().executing().do(event)


class SchedulerUnderFire(RuleBasedStateMachine):
    """A model cluster whose messages arrive in any order but that of one sender, while workers die, tasks fail, metadata
    is slow and the user cancels at any moment."""

    def __init__(self):
        super().__init__()
        config = SchedulerConfig((0, 1), frozenset({"a", "b"}), checkpointing=True, first_attempt=1)
        self.scheduler = Scheduler(config, FixedDelay(3, 50))
        self.now = 0
        self.starting, self.alive = set(), set()
        self.commands = {0: [], 1: []}  # on their way to a worker
        self.tasks: dict[int, int] = {}  # worker -> attempt whose tasks it runs
        self.answers: list = []  # events on their way to the scheduler
        self.outcome = None
        self.tell(Started())

    def tell(self, event):
        for action in self.scheduler.handle(event, self.now):
            self.perform(action)

    def perform(self, action):
        assert self.outcome is None, "an action after the end"
        match action:
            case StartWorkers(workers=workers):
                assert not (self.starting | self.alive) & set(workers)
                self.starting |= set(workers)
            case KillWorker(worker=worker):
                self.die(worker)  # nothing happens if it is dead already and only its end is not known yet
            case PrepareAttempt(attempt=attempt):
                assert CheckpointSettled() not in self.answers, "S2: metadata is being written"
                self.answers.append(AttemptPrepared(attempt))
            case StopCheckpointing():
                self.answers.append(CheckpointSettled())
            case TriggerFinalCheckpoint(attempt=attempt):
                self.answers.append(FinalCheckpointCompleted(attempt))
            case DeployAll() | FinishAll() | CancelAll():
                for worker in self.alive:
                    self.commands[worker].append(action)
            case JobFinished() | JobFailed() | JobCancelled():
                assert not self.tasks, "tasks outlive the job"
                self.outcome = action
            case _:
                pass

    @rule(worker=st.sampled_from([0, 1]))
    @precondition(lambda self: any(self.commands.values()))
    def obey(self, worker):
        if not self.commands[worker]:
            return
        command = self.commands[worker].pop(0)
        if isinstance(command, DeployAll):
            assert set(self.tasks.values()) <= {command.attempt}, "S1: two attempts at once"
            self.tasks[worker] = command.attempt
            self.answers.append(TasksRunning(worker, command.attempt))
        else:
            self.tasks.pop(worker, None)
            self.answers.append(TasksStopped(worker, command.attempt))

    @rule(data=st.data())
    @precondition(lambda self: self.answers)
    def deliver(self, data):
        # From one worker messages come in order; between workers and the others they do not.
        first_of_each = {}
        for answer in self.answers:
            first_of_each.setdefault(getattr(answer, "worker", type(answer).__name__), answer)
        answer = data.draw(st.sampled_from(list(first_of_each.values())))
        self.answers.remove(answer)
        self.tell(answer)

    @rule(worker=st.sampled_from([0, 1]))
    @precondition(lambda self: self.starting)
    def register(self, worker):
        if worker in self.starting:
            self.starting.discard(worker)
            self.alive.add(worker)
            self.answers.append(WorkerRegistered(worker))

    @rule(worker=st.sampled_from([0, 1]))
    def die(self, worker):
        if worker in self.alive | self.starting:
            self.starting.discard(worker)
            self.alive.discard(worker)
            self.tasks.pop(worker, None)
            self.commands[worker].clear()
            self.answers.append(WorkerLost(worker, LOST))

    @rule(subtask=st.sampled_from(["a", "b"]))
    @precondition(lambda self: self.tasks)
    def end_input(self, subtask):
        self.answers.append(InputEnded(min(self.tasks.values()), subtask))

    @rule(recoverable=st.booleans())
    @precondition(lambda self: self.tasks)
    def fail(self, recoverable):
        self.answers.append(AttemptFailed(min(self.tasks.values()), BOOM if recoverable else HOPELESS))

    @rule()
    @precondition(lambda self: self.scheduler.restarts > 0)
    def cancel(self):
        self.tell(CancelRequested())

    @rule(steps=st.integers(1, 12))
    def all_goes_well_for_a_while(self, steps):
        """Without this a random walk hardly ever gets as far as tasks that run."""
        for _ in range(steps):
            if self.outcome is None:
                self.advance()

    @rule(delta=st.sampled_from([1, 50, 10_000, 60_000]))
    def time_passes(self, delta):
        self.now += delta
        deadline = self.scheduler.next_deadline_ms()
        if deadline is not None and deadline <= self.now:
            self.tell(Tick())

    @invariant()
    def it_ends_or_waits_for_something(self):
        assert (
            self.outcome is not None
            or self.answers
            or self.starting
            or self.tasks
            or any(self.commands.values())
            or self.scheduler.next_deadline_ms() is not None
        )

    @invariant()
    def the_end_and_the_status_agree(self):
        assert self.scheduler.status.is_terminal() == (self.outcome is not None)

    def teardown(self):
        """Liveness: when nothing bad happens any more, every job ends, without a worker being killed for it."""
        for _ in range(1_000):
            if self.outcome is not None:
                return
            self.advance()
            if self.scheduler.stage is Stage.EXECUTING and self.tasks:
                self.end_input("a")
                self.end_input("b")
        raise AssertionError(self.scheduler.stage)

    def advance(self):
        for worker in (0, 1):
            self.register(worker)
            self.obey(worker)
        # Storage is slow: that it has settled is heard last.
        prompt = [answer for answer in self.answers if answer != CheckpointSettled()]
        if prompt:
            self.answers.remove(prompt[0])
            self.tell(prompt[0])
        elif self.scheduler.stage is Stage.BACKOFF:
            self.time_passes(50)
        elif self.answers:
            self.tell(self.answers.pop(0))


TestSchedulerUnderFire = SchedulerUnderFire.TestCase
TestSchedulerUnderFire.settings = settings(max_examples=300, stateful_step_count=50)
