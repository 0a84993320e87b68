"""The JobManager's shell against workers that say what the test tells them to."""

import threading
from random import Random

import cloudpickle
import pytest

from millstream import StreamExecutionEnvironment
from millstream.checkpoint.messages import (
    AckCheckpoint,
    DeclineCheckpoint,
    NotifyCheckpointAborted,
    NotifyCheckpointComplete,
)
from millstream.checkpoint.two_phase_commit import COMMITTABLES_STATE
from millstream.core.clock import ManualClock
from millstream.core.configuration import Configuration
from millstream.core.errors import CheckpointError, CheckpointFailureReason, UserFunctionError
from millstream.runtime.graph.compiler import compile_job
from millstream.runtime.job_manager.cluster import MessageArrived, WorkerGone
from millstream.runtime.job_manager.job_master import JobMaster
from millstream.runtime.job_manager.job_setup import prepare_run
from millstream.runtime.job_manager.scheduling import JobCancelled, JobFailed, JobFinished, JobStatus
from millstream.runtime.messages import (
    AddSplits,
    CancelTasks,
    ClientData,
    DeployTasks,
    FinishTasks,
    FromSubtask,
    InputEnded,
    NotifyTasks,
    TaskFailed,
    TaskFailure,
    TasksRunning,
    TasksStopped,
    TaskStatistics,
    TriggerSource,
    WorkerRegistered,
    WorkerStatistics,
)
from millstream.state.handles import OperatorSnapshot, SubtaskSnapshot


class ScriptedCluster:
    """Two workers without a will of their own; what they are sent is remembered."""

    def __init__(self):
        self.coming, self.sent, self.started = [], [], []
        self.woken = threading.Event()

    def start_workers(self, workers):
        self.started += workers
        self.coming += [MessageArrived(w, WorkerRegistered(w, 100 + w, f"unix:/w{w}")) for w in workers]

    def kill_worker(self, worker):
        self.coming.append(WorkerGone(worker, "killed"))

    def send(self, worker, message):
        self.sent.append((worker, message))

    def events(self):
        events, self.coming = self.coming, []
        return events

    def wake(self):
        self.woken.set()

    def take(self, *kinds):
        """What was sent of these kinds since the last time."""
        found = [(worker, m) for worker, m in self.sent if isinstance(m, kinds)]
        self.sent = [(worker, m) for worker, m in self.sent if not isinstance(m, kinds)]
        return found


class Harness:
    def __init__(self, tmp_path=None, **keys):
        settings = {"parallelism.default": "2", **keys}
        if tmp_path is not None:
            settings |= {
                "execution.checkpointing.interval": "1 s",
                "execution.checkpointing.dir": str(tmp_path / "c"),
                "restart-strategy.type": "fixed-delay",
                "restart-strategy.fixed-delay.attempts": "5",
                "restart-strategy.fixed-delay.delay": "10 ms",
            }
        configuration = Configuration(settings)
        env = StreamExecutionEnvironment.get_execution_environment(configuration)
        env.from_collection([1, 2, 3]).map(lambda x: x).name("Twice").print()
        graph = compile_job(env.get_stream_graph("scripted"))
        self.run = prepare_run(graph, configuration, resume=False, savepoint_path=None, random=Random(0))
        self.cluster, self.clock = ScriptedCluster(), ManualClock(1_000_000)
        self.master = JobMaster(self.run, self.cluster, self.clock)
        self.subtasks = {str(s.subtask_id): int(s.worker) for s in self.run.graph.subtasks}
        (self.source,) = (str(s.subtask_id) for s in self.run.graph.subtasks if s.vertex.is_source)

    def until(self, condition):
        """Step until it holds; helper threads wake the loop."""
        while not condition():
            self.cluster.woken.clear()
            if not self.master.step() and not condition():
                assert self.cluster.woken.wait(20), "nothing happens"
        return self

    def step(self):
        while self.master.step():
            pass

    def tell(self, worker, *messages):
        self.cluster.coming += [MessageArrived(worker, message) for message in messages]
        self.step()

    def running(self, attempt=1):
        if attempt == 1:
            self.master.start()
        self.until(lambda: any(isinstance(m, DeployTasks) for _, m in self.cluster.sent))
        self.deployed = dict(self.cluster.take(DeployTasks))
        self.tell(0, TasksRunning(attempt))
        self.tell(1, TasksRunning(attempt))
        return self

    def fail(self, failure, attempt=1):
        self.tell(0, TaskFailed(attempt, failure))
        for worker, _ in self.cluster.take(CancelTasks):
            self.tell(worker, TasksStopped(attempt))
        self.clock.advance(10)
        return self

    def ack(self, checkpoint_id, attempt=1, lists=None):
        for subtask, worker in self.subtasks.items():
            operator = self.run.graph.subtask(subtask).vertex.operators[0].operator_id
            snapshot = SubtaskSnapshot({operator: OperatorSnapshot(lists=lists or {})})
            self.tell(worker, FromSubtask(attempt, AckCheckpoint(checkpoint_id, subtask, snapshot)))

    def complete_a_checkpoint(self, attempt=1, lists=None):
        self.clock.advance(1_000)
        self.step()
        ((_, trigger),) = self.cluster.take(TriggerSource)
        self.ack(trigger.trigger.checkpoint_id, attempt, lists)
        self.until(lambda: self.notifications(NotifyCheckpointComplete))
        self.cluster.take(NotifyTasks)
        return trigger.trigger.checkpoint_id

    def notifications(self, kind):
        return [
            m.notification
            for _, m in self.cluster.sent
            if isinstance(m, NotifyTasks) and isinstance(m.notification, kind)
        ]


@pytest.fixture
def harness(tmp_path):
    made = []

    def make(*, checkpoints=False, **keys):
        made.append(Harness(tmp_path if checkpoints else None, **keys))
        return made[-1]

    yield make
    for h in made:
        h.master.close(force=False)


BOOM = TaskFailure(
    "1/0",
    "Twice (1/2)",
    "Twice",
    "ValueError: boom",
    "Traceback\nValueError: boom",
    "3",
    None,
    user_code=True,
)


def test_every_worker_is_told_all_addresses_and_that_nothing_is_restored(harness):
    h = harness().running()
    assert set(h.deployed) == {0, 1}
    for deploy in h.deployed.values():
        assert deploy.addresses == {0: "unix:/w0", 1: "unix:/w1"}
        assert deploy.restores == {}
        assert deploy.restored_checkpoint_id is None
        assert deploy.checkpoint_base == ""


def test_readers_get_their_splits_once_their_worker_runs(harness):
    h = harness()
    h.master.start()
    h.step()
    assert h.cluster.take(AddSplits) == []
    h.tell(h.subtasks[h.source], TasksRunning(1))
    messages = h.cluster.take(AddSplits)
    assert [bool(m.splits) for _, m in messages] == [True, False]
    assert messages[-1][1].no_more
    assert {(worker, m.subtask) for worker, m in messages} == {(h.subtasks[h.source], h.source)}


def test_a_bounded_job_finishes_when_all_workers_have(harness):
    h = harness().running()
    for subtask, worker in h.subtasks.items():
        h.tell(worker, InputEnded(1, subtask))
    assert [m for _, m in h.cluster.take(FinishTasks)] == [FinishTasks(1, commit_now=True)] * 2
    h.tell(0, TasksStopped(1))
    assert h.master.outcome is None
    h.tell(1, TasksStopped(1))
    assert h.master.outcome == JobFinished()


def test_tasks_hear_of_a_checkpoint_only_when_its_metadata_is_there(harness, tmp_path):
    h = harness(checkpoints=True).running()
    h.clock.advance(1_000)
    h.step()
    ((worker, trigger),) = h.cluster.take(TriggerSource)
    assert (worker, trigger.subtask) == (h.subtasks[h.source], h.source)
    assert trigger.trigger.timestamp_ms == h.clock.now_ms()
    h.ack(1)
    h.until(lambda: h.notifications(NotifyCheckpointComplete))
    assert len(list(tmp_path.glob("c/*/chk-1/_metadata"))) == 1
    assert h.master.statistics().latest_checkpoint.endswith("chk-1")


def test_a_declined_checkpoint_fails_the_attempt_when_none_may_fail(harness):
    h = harness(checkpoints=True).running()
    h.clock.advance(1_000)
    h.step()
    h.tell(1, FromSubtask(1, DeclineCheckpoint(1, "1/1", "no room")))
    assert h.notifications(NotifyCheckpointAborted)
    assert h.cluster.take(CancelTasks)
    assert "no room" in h.master.statistics().last_failure


def test_a_restart_gives_the_readers_splits_back_to_the_enumerator(harness):
    h = harness(checkpoints=True).running()
    ((_, given), _) = h.cluster.take(AddSplits)
    h.complete_a_checkpoint(lists={"splits": given.splits, "other": [b"x"]})
    h.fail(BOOM).until(lambda: any(isinstance(m, DeployTasks) for _, m in h.cluster.sent))
    h.running(2)
    restored = h.deployed[h.subtasks[h.source]].restores[h.source]
    assert [set(restore.snapshot.lists) for restore in restored.values()] == [{"other"}]
    assert {deploy.restored_checkpoint_id for deploy in h.deployed.values()} == {1}
    ((_, again), _) = h.cluster.take(AddSplits)
    assert again.splits == given.splits
    assert again.attempt == 2


def test_each_subtask_gets_its_share_of_the_committables_and_knows_all(harness):
    h = harness(checkpoints=True).running()
    h.complete_a_checkpoint(lists={COMMITTABLES_STATE: [b"c"], "union:u": [b"u"]})
    h.fail(BOOM).running(2)
    for worker, deploy in h.deployed.items():
        for subtask, restores in deploy.restores.items():
            assert h.subtasks[subtask] == worker
            for restore in restores.values():
                copies = h.run.graph.subtask(subtask).vertex.parallelism
                assert restore.committables == [b"c"]
                assert restore.all_committables == [b"c"] * copies
                assert restore.snapshot.lists == {"union:u": [b"u"] * copies}


def test_what_a_former_attempt_still_says_changes_nothing(harness):
    h = harness(checkpoints=True).running()
    h.complete_a_checkpoint()
    h.fail(BOOM).running(2)
    h.tell(
        0, TaskFailed(1, BOOM), InputEnded(1, "0/0"), WorkerStatistics(1, [TaskStatistics("0/0", 9, 9, None)])
    )
    h.ack(2, attempt=1)
    assert h.cluster.take(CancelTasks) == []
    assert h.master.status is JobStatus.RUNNING
    assert h.master.statistics().vertices[0].records_in == 0


def test_a_damaged_checkpoint_found_by_a_task_is_not_restored_again(harness):
    h = harness(checkpoints=True).running()
    h.complete_a_checkpoint()
    h.complete_a_checkpoint()
    h.fail(BOOM).running(2)
    assert h.deployed[0].restored_checkpoint_id == 2
    damaged = CheckpointError(CheckpointFailureReason.CORRUPT, "flipped", where="chk-2/x")
    told = TaskFailure("1/0", "t", "o", str(damaged), "", None, cloudpickle.dumps(damaged), user_code=False)
    h.fail(told, attempt=2).running(3)
    assert h.deployed[0].restored_checkpoint_id == 1
    h.fail(told, attempt=3)
    h.until(lambda: h.master.outcome is not None)
    assert isinstance(h.master.outcome, JobFailed)
    assert "no checkpoint" in str(h.master.outcome.failure.error)


def test_results_of_a_repeated_commit_count_once(harness):
    h = harness().running()
    for data in (b"a", b"a again"):
        h.tell(0, ClientData(1, "op", "1/0", 4, data))
    h.tell(1, ClientData(1, "op", "1/1", 4, b"b"), ClientData(1, "op", "1/1", None, b"c"))
    h.master.results.end()
    assert list(h.master.results.of("op")) == [b"a", b"b", b"c"]
    assert list(h.master.results.of("another")) == []


def test_a_users_error_is_told_with_everything_that_is_known(harness):
    h = harness().running()
    h.fail(BOOM)
    error = h.master.outcome.failure.error
    assert isinstance(error, UserFunctionError)
    assert (error.operator, error.subtask, error.record) == ("Twice", "Twice (1/2)", "3")


def test_cancelling_waits_for_the_tasks(harness):
    h = harness().running()
    h.master.cancel()
    assert h.cluster.woken.is_set()
    h.step()
    assert h.master.status is JobStatus.CANCELLING
    for worker, _ in h.cluster.take(CancelTasks):
        h.tell(worker, TasksStopped(1))
    assert h.master.outcome == JobCancelled()


def test_a_lost_worker_is_replaced(harness):
    h = harness(checkpoints=True).running()
    h.cluster.coming.append(WorkerGone(1, "killed by signal 9"))
    h.step()
    h.tell(0, TasksStopped(1))
    h.clock.advance(10)
    h.until(lambda: h.cluster.started == [0, 1, 1])
    assert "signal 9" in h.master.statistics().last_failure
    h.running(2)


def test_statistics_add_up_the_subtasks_of_a_vertex(harness):
    h = harness().running()
    for index in (0, 1):
        counters = TaskStatistics(f"1/{index}", 10, 5, 100 + index, {"late": 1})
        h.tell(h.subtasks[f"1/{index}"], WorkerStatistics(1, [counters]))
    twice = h.master.statistics().vertices[1]
    assert (twice.records_in, twice.records_out, twice.watermark) == (20, 10, 100)
    assert twice.counters == {"late": 2}
