"""The scheduler against a cluster of models: workers that die, hang and answer late, restores and tasks that fail.

Commands keep their order, as connections do; answers of a worker do in most worlds, in some they come in any order. Between workers,
storage and the user any order happens, chosen by the seed. A worker that hangs neither obeys nor answers, and may wake up again;
what it says then is heard as long as nobody has declared it lost. Some answers come twice.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from random import Random

from millstream.core.errors import MillstreamError
from millstream.runtime.job_manager.region_run import Stage
from millstream.runtime.job_manager.restart_strategy import (
    FailureRate,
    FixedDelay,
    NoRestart,
    RestartStrategy,
)
from millstream.runtime.job_manager.scheduler import Scheduler
from millstream.runtime.job_manager.scheduling import (
    Action,
    AttemptFailed,
    AttemptPrepared,
    CancelAll,
    CancelRequested,
    CheckpointSettled,
    DeployAll,
    Event,
    Failure,
    FinalCheckpointCompleted,
    FinishAll,
    InputEnded,
    JobCancelled,
    JobFailed,
    JobFailure,
    JobFinished,
    KillWorker,
    PrepareAttempt,
    Region,
    ReportFailure,
    SchedulerConfig,
    SourcesDrained,
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
FAULTY_STEPS = 600
STEPS_TO_THE_END = 20_000


class Violation(AssertionError):
    """An invariant does not hold."""


@dataclass(slots=True)
class _Worker:
    """A process. `tasks`: the attempt of each region that it runs."""

    registered: bool = False
    hangs: bool = False
    commands: deque[Action] = field(default_factory=deque)
    answers: deque[Event] = field(default_factory=deque)
    tasks: dict[int, int] = field(default_factory=dict)


class World:
    """One job and its cluster; `run` raises `Violation` where an invariant of the scheduler is broken."""

    def __init__(self, seed: int, *, scheduler_type: type[Scheduler] = Scheduler) -> None:
        self.random = random = Random(seed)
        self.workers = tuple(range(random.randint(1, 3)))
        self.regions = tuple(self._region(index) for index in range(random.randint(1, 3)))
        self.checkpointing = random.random() < 0.7
        config = SchedulerConfig(self.regions, self.checkpointing, first_attempt=random.choice([1, 7]))
        self.scheduler = scheduler_type(config, self._strategy())
        self.in_order = random.random() < 0.5
        self.calm = random.choice([4, 10, 25])  # how rare faults are
        self.reading = random.choice([0.3, 0.95])  # how seldom an input ends
        self.now = 0
        self.alive: dict[int, _Worker] = {}
        self.others: list[Event] = []  # what storage and the checkpoints have to say, in any order
        self.last_words: dict[int, deque[Event]] = {}  # of workers whose end is not known yet
        self.outcome: Action | None = None
        self.faults = True
        self.cancelled = False
        self.doomed = False  # a failure that loses data was heard while it mattered
        self.writing = False  # metadata
        self.checkpointed = False  # checkpoints are being taken
        self.settling = False
        self.region_of: dict[int, int] = {}
        self.deployed: set[int] = set()
        self.ended: dict[int, set[str]] = {}
        self.struck: set[int] = set()
        self.before = self.scheduler.stages
        self.drained = False  # sources were told to end for a savepoint
        self.stopped = False  # that savepoint is durable: no attempt may follow
        self.finishing: set[int] = set()
        self.counts = {"deployments": 0, "failures": 0, "deaths": 0, "late": 0, "regional": 0}

    def _region(self, index: int) -> Region:
        workers = self.random.sample(self.workers, self.random.randint(1, len(self.workers)))
        return Region(frozenset(workers), frozenset(f"{index}/{worker}" for worker in workers))

    def _strategy(self) -> RestartStrategy:
        patient = [FixedDelay(10**6, 50), FixedDelay(10**6, 0)] * 3
        return self.random.choice([*patient, FixedDelay(4, 50), FailureRate(5, 20_000, 10), NoRestart()])

    # ---- running

    def run(self) -> World:
        """Faults for a while, then none: the job ends, or was ended, and nothing of it runs."""
        self.tell(Started())
        for _ in range(FAULTY_STEPS):
            if self.outcome is None:
                self.random.choice(self._choices())()
        self.faults = False
        for worker in (
            self.alive.values()
        ):  # who does not stop must be killed; who hangs otherwise is for the heartbeat
            told = {command.attempt for command in worker.commands if isinstance(command, CancelAll)}
            worker.hangs = worker.hangs and bool(told & set(worker.tasks.values()))
        for _ in range(STEPS_TO_THE_END):
            if self.outcome is not None:
                break
            self.random.choice(self._choices())()
        self._check_end()
        return self

    def _choices(self) -> list:
        good = [self.obey, self.answer, self.deliver_other, self.register, self.end_input, self.settle]
        good.append(self.hear_last_words)
        bad = [
            self.die,
            self.hang,
            self.wake,
            self.fail_task,
            self.fail_checkpoints,
            self.stop_with_savepoint,
            self.cancel,
        ]
        return good * self.calm + bad + [self.pass_time] if self.faults else [*good, self.pass_time]

    def tell(self, event: Event) -> None:
        self._note(event)
        actions = self.scheduler.handle(event, self.now)
        for action in actions:
            self._perform(action)
        cancelled = {action.region for action in actions if isinstance(action, CancelAll)}
        if self.drained and cancelled:
            left = {i for i, stage in enumerate(self.before) if stage is Stage.EXECUTING} - cancelled
            self._require(not left, f"regions {left} go on though their sources were drained")

    def _note(self, event: Event) -> None:
        """Which regions a failure strikes, seen from outside."""
        stages = self.before = self.scheduler.stages
        match event:
            case AttemptFailed(attempt=attempt, failure=failure):
                region = self.region_of.get(attempt)
                if region is None or self.scheduler.attempt_of(region) != attempt:
                    self.counts["late"] += 1
                    return
                self.struck.add(region)
                active = stages[region] not in {Stage.AWAITING_WORKERS, Stage.BACKOFF, Stage.FINISHED}
                if not failure.recoverable and active and not self.cancelled:
                    self.doomed = True
            case WorkerLost(worker=worker):
                self.struck |= {i for i, region in enumerate(self.regions) if worker in region.workers}
            case JobFailure():
                self.struck |= set(range(len(self.regions)))

    # ---- what the scheduler asks for

    def _perform(self, action: Action) -> None:
        self._require(self.outcome is None, f"{action} after the end")
        match action:
            case StartWorkers(workers=workers):
                taken = set(self.alive) | set(self.last_words)
                self._require(not set(workers) & taken, f"{action}: their end is not known")
                self.alive |= {worker: _Worker() for worker in workers}
            case KillWorker(worker=worker):
                self._kill(worker)
            case PrepareAttempt(attempt=attempt):
                self._on_prepare(attempt)
            case DeployAll(attempt=attempt, region=region):
                self._on_deploy(attempt, region)
                self._command(region, action)
            case CancelAll(region=region):
                self._on_cancel_all(action)
                self._command(region, action)
            case FinishAll(attempt=attempt):
                self._on_finish(attempt)
                self._command(self.region_of[attempt], action)
            case StartCheckpointing():
                self._require(set(self.scheduler.stages) == {Stage.EXECUTING}, "checkpoints of half a job")
                self.checkpointed = True
                self.struck.clear()
                self.drained = False
            case StopCheckpointing():
                self.checkpointed, self.settling = False, True
            case TriggerFinalCheckpoint(attempt=attempt):
                self.others.append(FinalCheckpointCompleted(attempt))
            case ReportFailure(restart_in_ms=delay_ms):
                self._on_report(action, delay_ms)
            case JobFinished() | JobFailed() | JobCancelled():
                self.outcome = action

    def _command(self, region: int, action: Action) -> None:
        for worker in self.regions[region].workers & set(self.alive):
            self.alive[worker].commands.append(action)

    def _on_prepare(self, attempt: int) -> None:
        self._require(
            not (self.writing or self.settling), "S2: asks what to restore while metadata is written"
        )
        region = self.scheduler.region_of(attempt)
        self._require(
            region is not None and attempt not in self.region_of, f"attempt {attempt} given out twice"
        )
        assert region is not None
        self.region_of[attempt] = region
        failed = self.faults and self.random.random() < 0.1
        failure = HOPELESS if self.random.random() < 0.1 else BOOM
        self.others.append(AttemptFailed(attempt, failure) if failed else AttemptPrepared(attempt))

    def _on_deploy(self, attempt: int, region: int) -> None:
        self._require(attempt not in self.deployed, f"attempt {attempt} is deployed twice")
        self._require(self.region_of.get(attempt) == region, f"attempt {attempt} is of another region")
        self._require(not self.doomed, "a restart that loses data")
        self._require(not self.stopped, "a restart behind a savepoint that stopped the job")
        known = set(self.alive) | set(self.last_words)
        self._require(self.regions[region].workers <= known, "deploys to workers known to be gone")
        self.deployed.add(attempt)
        self.ended[attempt] = set()
        self.counts["deployments"] += 1

    def _on_cancel_all(self, action: CancelAll) -> None:
        ending = self.scheduler.status.value not in {"RUNNING", "RESTARTING"} or self._over(action.attempt)
        allowed = ending or action.region in self.struck or bool(self.finishing) or self.drained
        self._require(allowed, f"S3: region {action.region} is stopped though nothing struck it")
        if len(self.struck) < len(self.regions) and not ending:
            self.counts["regional"] += 1

    def _over(self, attempt: int) -> bool:
        return attempt in self.finishing

    def _on_finish(self, attempt: int) -> None:
        region = self.region_of[attempt]
        self._require(self.scheduler.attempt_of(region) == attempt, "an old attempt is to finish")
        for index, other in enumerate(self.regions):
            current = self.scheduler.attempt_of(index)
            assert current is not None
            over = self.stopped or self.ended.get(current) == other.subtasks
            self._require(over, "finishes before all input has ended")
        self.finishing.add(attempt)

    def _on_report(self, action: ReportFailure, delay_ms: int | None) -> None:
        self.counts["failures"] += 1
        echoes = [r for r in action.regions if self.before[r] in {Stage.STOPPING, Stage.BACKOFF}]
        self._require(
            delay_ms is None or not echoes, f"echoes use up a restart: regions {echoes} have failed already"
        )

    # ---- what happens

    def obey(self) -> None:
        """A worker takes a command."""
        for number, worker in self._shuffled():
            if worker.commands and not worker.hangs:
                self._obey(number, worker, worker.commands.popleft())
                return

    def _obey(self, number: int, worker: _Worker, command: Action) -> None:
        match command:
            case DeployAll(attempt=attempt, region=region):
                for other in self.alive.values():
                    running = other.tasks.get(region, attempt)
                    self._require(
                        running == attempt, f"S1: attempts {running} and {attempt} of region {region}"
                    )
                worker.tasks[region] = attempt
                failed = self.faults and self.random.random() < 0.1
                worker.answers.append(
                    AttemptFailed(attempt, BOOM) if failed else TasksRunning(number, attempt)
                )
            case CancelAll(attempt=attempt, region=region) if worker.tasks.get(region) != attempt:
                worker.answers.append(TasksStopped(number, attempt))
            case CancelAll(attempt=attempt, region=region):
                del worker.tasks[region]
                answers = 2 if self.random.random() < 0.2 else 1
                worker.answers.extend([TasksStopped(number, attempt)] * answers)
            case FinishAll(attempt=attempt) if worker.tasks.get(self.region_of[attempt]) == attempt:
                del worker.tasks[self.region_of[attempt]]
                worker.answers.append(TasksStopped(number, attempt))

    def answer(self) -> None:
        """The JobManager hears a worker."""
        for _, worker in self._shuffled():
            if worker.answers and worker.registered and not worker.hangs:
                position = 0 if self.in_order else self.random.randrange(len(worker.answers))
                event = worker.answers[position]
                if self.in_order or isinstance(event, TasksRunning) or self.random.random() < 0.6:
                    del worker.answers[position]  # else it comes once more
                self.tell(event)
                return

    def hear_last_words(self) -> None:
        """What dead workers had sent, then that they are dead."""
        if self.last_words:
            number = self.random.choice(list(self.last_words))
            event = self.last_words[number].popleft()
            if not self.last_words[number]:
                del self.last_words[number]
            self.tell(event)

    def deliver_other(self) -> None:
        if self.others:
            self.tell(self.others.pop(self.random.randrange(len(self.others))))

    def register(self) -> None:
        for number, worker in self._shuffled():
            if not worker.registered and not worker.hangs:
                worker.registered = True
                self.tell(WorkerRegistered(number))
                return

    def end_input(self) -> None:
        """A subtask has nothing more to read: seldom, as long as there are faults."""
        if self.faults and self.random.random() < self.reading:
            return
        for number, worker in self._shuffled():
            for region, attempt in worker.tasks.items():
                subtask = f"{region}/{number}"
                running = TasksRunning(number, attempt) not in worker.answers
                if running and subtask not in self.ended[attempt]:
                    self.ended[attempt].add(subtask)
                    worker.answers.append(InputEnded(attempt, subtask))
                    return

    def settle(self) -> None:
        """Metadata begins or ends to be written; when all is written, checkpointing can be over."""
        self.writing = self.checkpointed and not self.writing
        if self.settling and not self.writing:
            self.settling = False
            self.tell(CheckpointSettled())

    def pass_time(self) -> None:
        deadline = self.scheduler.next_deadline_ms()
        self.now = (
            max(self.now, deadline or 0)
            if not self.faults
            else self.now + self.random.choice([1, 60, 10_000])
        )
        self.tell(Tick())
        deadline = self.scheduler.next_deadline_ms()
        self._require(
            deadline is None or deadline > self.now, "what a tick was for is due still: a busy loop"
        )

    def die(self) -> None:
        if self.alive:
            self._kill(self.random.choice(list(self.alive)))

    def _kill(self, number: int) -> None:
        worker = self.alive.pop(number, None)
        if worker is None:
            return  # it is dead already, and only its end is not known yet
        self.counts["deaths"] += 1
        sent = list(worker.answers) if worker.registered else []
        heard = sent[: self.random.randint(0, len(sent))]
        self.last_words[number] = deque([*heard, WorkerLost(number, LOST)])

    def hang(self) -> None:
        for _, worker in self._shuffled():
            worker.hangs = True
            return

    def wake(self) -> None:
        for _, worker in self._shuffled():
            worker.hangs = False

    def fail_task(self) -> None:
        for _, worker in self._shuffled():
            if worker.tasks:
                attempt = self.random.choice(list(worker.tasks.values()))
                hopeless = self.random.random() < 0.02
                worker.answers.append(AttemptFailed(attempt, HOPELESS if hopeless else BOOM))
                return

    def fail_checkpoints(self) -> None:
        if self.checkpointed and self.checkpointing and self.random.random() < 0.2:
            self.tell(JobFailure(BOOM))

    def stop_with_savepoint(self) -> None:
        """Seldom: sources are drained, or the savepoint that stops the job is durable."""
        if self.checkpointing and self.checkpointed and self.random.random() < 0.1:
            if self.random.random() < 0.7:
                self.drained = True
                self.tell(SourcesDrained())
            elif set(self.scheduler.stages) == {Stage.EXECUTING}:
                self.stopped = True
                self.tell(StoppedWithSavepoint(self.scheduler.attempt))

    def cancel(self) -> None:
        if self.random.random() < 0.01:
            self.cancelled = True
            self.tell(CancelRequested())

    # ---- the end

    def _check_end(self) -> None:
        self._require(self.outcome is not None, f"liveness: the job hangs, {self.scheduler.stages}")
        running = {number: worker.tasks for number, worker in self.alive.items() if worker.tasks}
        self._require(not running, f"tasks outlive the job: {running}")
        if isinstance(self.outcome, JobFinished):
            self._require(not self.doomed, "the job finishes although data was lost")
            self._require(not self.cancelled, "the job finishes although it was cancelled")
        if isinstance(self.outcome, JobCancelled):
            self._require(self.cancelled, "nobody cancelled the job")
        self._require(self.scheduler.status.is_terminal(), "the status does not say that the job has ended")

    def _shuffled(self) -> list[tuple[int, _Worker]]:
        found = list(self.alive.items())
        self.random.shuffle(found)
        return found

    @staticmethod
    def _require(holds: bool, what: str) -> None:
        if not holds:
            raise Violation(what)
