"""A whole job's checkpoints in one thread: the real coordinator and the real two-phase commit between model tasks.

Savepoints are taken now and then, and some jobs end with one and go on from it as another job, with checkpoint ids that repeat.

Sources emit numbers to one sink each. The network loses, doubles and reorders what the JobManager and the tasks say to
each other; metadata writes take their time and may fail; commits may happen without their result being heard; tasks and
the JobManager die, and dead attempts live on as zombies for a while. A seeded random generator chooses every step, so a
failure is repeated by its seed. `Violation` is raised the moment something goes wrong.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import msgspec

from millstream.checkpoint import two_phase_commit as tpc
from millstream.checkpoint.completed_store import CompletedCheckpoint, CompletedCheckpointStore
from millstream.checkpoint.coordination import (
    Acked,
    Action,
    AwaitMetadata,
    CheckpointCompleted,
    CheckpointData,
    CheckpointFailed,
    CoordinatorConfig,
    Declined,
    DiscardCheckpoints,
    DiscardFiles,
    DiscardSavepoint,
    DrainSources,
    EnumeratorsSnapshotted,
    Event,
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
from millstream.checkpoint.coordinator import CheckpointCoordinator
from millstream.checkpoint.messages import (
    AckCheckpoint,
    DeclineCheckpoint,
    NotifyCheckpointAborted,
    NotifyCheckpointComplete,
    ToTask,
    TriggerCheckpoint,
)
from millstream.checkpoint.snapshot_files import snapshot_files
from millstream.checkpoint.two_phase_commit import COMMITTABLES_STATE, PendingCommittable, TwoPhaseCommit
from millstream.core.savepoints import SavepointTarget
from millstream.state.handles import FileRef, KeyedStateHandle, OperatorSnapshot, SubtaskSnapshot

PAIRS = 2
RECORDS = 30
CONFIG = CoordinatorConfig(interval_ms=20, timeout_ms=60, tolerable_failures=3)


class Violation(AssertionError):
    """The system under simulation broke a promise."""


def check(condition: bool, what: str) -> None:
    if not condition:
        raise Violation(what)


@dataclass
class Outside:
    """What survives every crash: checkpoint storage, and the system the sinks write to."""

    job: str = "job-1"
    files: set[str] = field(default_factory=set)
    savepoints: dict[str, CheckpointData] = field(default_factory=dict)
    stopped_at: str | None = None
    metadata: dict[int, CheckpointData] = field(default_factory=dict)
    attempts: int = 0
    serial: int = 0
    named_by_durable: set[bytes] = field(default_factory=set)
    prepared: dict[bytes, int] = field(default_factory=dict)  # encoded committable -> attempt
    aborted: set[bytes] = field(default_factory=set)
    committed: dict[bytes, tuple[int, ...]] = field(default_factory=dict)
    completed: int = 0

    def upload(self, folder: str, *, shared: bool) -> FileRef:
        self.serial += 1
        path = f"{folder}/{self.serial}"
        self.files.add(path)
        return FileRef(path, 1, "", shared)

    def make_durable(self, data: CheckpointData) -> None:
        check(data.checkpoint_id not in self.metadata, f"checkpoint {data.checkpoint_id} was written twice")
        for part in data.subtasks.values():
            missing = [f.path for f in snapshot_files(part) if f.path not in self.files]
            check(not missing, f"checkpoint {data.checkpoint_id} names deleted files {missing}")
            for _, payload in tpc.decode_pending(committables_of(part)):
                self.named_by_durable.add(payload)
        self.metadata[data.checkpoint_id] = data
        self.completed += 1

    def make_savepoint_durable(self, folder: str, data: CheckpointData, *, stops: bool) -> None:
        """Nothing is missing in it: what it does not name as pending has been committed, up to the positions in it."""
        files = {f.path for part in data.subtasks.values() for f in snapshot_files(part)}
        check(files <= self.files, f"savepoint {folder} names deleted files {files - self.files}")
        check(all(path.startswith(folder) for path in files), f"savepoint {folder} refers to checkpoints")
        pending = [p for part in data.subtasks.values() for _, p in tpc.decode_pending(committables_of(part))]
        found = {value for payload in pending for value in msgspec.msgpack.decode(payload)[2]}
        found |= {value for live in self.committed.values() for value in live}
        for index in range(PAIRS):
            position = position_of(data.subtasks[f"source-{index}"])
            lost = set(range(index * 1_000, index * 1_000 + position)) - found
            check(not lost, f"savepoint {folder} loses {sorted(lost)}")
        self.savepoints[folder] = data
        if stops:  # a plain one gives nobody the right to commit
            self.named_by_durable |= set(pending)
            self.stopped_at = folder

    def delete_savepoint(self, folder: str) -> None:
        self.savepoints.pop(folder, None)
        self.files = {path for path in self.files if not path.startswith(f"{folder}/")}
        if self.stopped_at == folder:
            self.stopped_at = None

    def begin_next_job(self) -> CheckpointData:
        """Another job starts from the savepoint that the last one ended with; of that nothing else is left."""
        assert self.stopped_at is not None
        data = self.savepoints[self.stopped_at]
        self.job, self.stopped_at = f"job-{self.attempts}", None
        self.metadata.clear()
        self.files = {f.path for part in data.subtasks.values() for f in snapshot_files(part)}
        return data

    def next_free_id(self) -> int:
        folders = [int(p.split("/")[0].removeprefix("chk-")) for p in self.files if p.startswith("chk-")]
        return max([0, *self.metadata, *folders]) + 1

    def delete_checkpoint(self, checkpoint_id: int) -> None:
        self.metadata.pop(checkpoint_id, None)
        self.files = {p for p in self.files if not p.startswith(f"chk-{checkpoint_id}/")}
        self.check_files()

    def delete_files(self, files: tuple[FileRef, ...]) -> None:
        self.files -= {file.path for file in files}
        self.check_files()

    def check_files(self) -> None:
        for data in self.metadata.values():
            for part in data.subtasks.values():
                missing = [f.path for f in snapshot_files(part) if f.path not in self.files]
                check(
                    not missing, f"files {missing} of retained checkpoint {data.checkpoint_id} were deleted"
                )

    def prepare(self, encoded: bytes, attempt: int) -> None:
        self.prepared[encoded] = attempt
        if attempt < self.attempts:  # a zombie is fenced off
            self.aborted.add(encoded)

    def abort_lingering(self, kept: set[bytes], attempt: int) -> None:
        """A new attempt aborts what earlier ones prepared, except what the restored checkpoint names."""
        lingering = {e for e, a in self.prepared.items() if a < attempt} - kept - set(self.committed)
        self.aborted |= lingering

    def commit(self, committable: PendingCommittable[tuple[int, ...]]) -> None:
        encoded = committable.encoded
        check(encoded in self.named_by_durable, f"{committable.origin} was committed before it was durable")
        check(encoded not in self.aborted, f"{committable.origin} is lost: it had been aborted")
        self.committed[encoded] = committable.live

    def check_output(self) -> None:
        """Exactly-once means each number at most once at any time, and all of them in the end."""
        values = [value for live in self.committed.values() for value in live]
        check(len(values) == len(set(values)), f"output is doubled: {sorted(values)}")


def position_of(part: SubtaskSnapshot) -> int:
    return int(part.operators["source"].lists["position"][0])


def committables_of(part: SubtaskSnapshot) -> list[bytes]:
    return [i for op in part.operators.values() for i in op.lists.get(COMMITTABLES_STATE, [])]


class SourceTask:
    """Emits numbers; its state is a set of immutable files of which only new ones are uploaded, as RocksDB does."""

    def __init__(self, world: World, index: int, attempt: int, restored: SubtaskSnapshot | None) -> None:
        self.world, self.index, self.attempt = world, index, attempt
        self.name = f"source-{index}"
        self.position = 0
        self.channel: list[int | tuple[int, SavepointTarget | None]] = []
        self.suspended_by: int | None = None
        self.tables: dict[str, FileRef | None] = {}
        self.confirmed: dict[str, FileRef] = {}
        self.uploaded: dict[int, dict[str, FileRef]] = {}
        self.last_triggered = self.last_notified = 0
        if restored is not None:
            operator = restored.operators["source"]
            self.position = position_of(restored)
            self.confirmed = dict(operator.keyed[0].files)
            self.tables = dict.fromkeys(self.confirmed)
            missing = [f.path for f in self.confirmed.values() if f.path not in world.outside.files]
            check(not missing, f"a restore misses files {missing}")

    def can_emit(self) -> bool:
        return self.position < RECORDS and len(self.channel) < 10 and self.suspended_by is None

    def emit(self) -> None:
        self.channel.append(self.index * 1_000 + self.position)
        self.position += 1

    def receive(self, message: ToTask) -> None:
        match message:
            case TriggerCheckpoint(checkpoint_id=number, savepoint=savepoint):
                if number > self.last_triggered:
                    self.last_triggered = number
                    if savepoint is not None and savepoint.stops:
                        self.suspended_by = number
                    self._snapshot(number, savepoint)
            case NotifyCheckpointComplete(checkpoint_id=number):
                if number > self.last_notified:
                    self.last_notified = number
                    self.confirmed = self.uploaded.get(number, self.confirmed)
            case NotifyCheckpointAborted(checkpoint_id=number):
                if self.suspended_by is not None and number >= self.suspended_by:
                    self.suspended_by = None

    def _snapshot(self, number: int, savepoint: SavepointTarget | None) -> None:
        world = self.world
        self.channel.append((number, savepoint))  # the barrier
        if world.lossy and world.random.random() < 0.03:
            world.to_job_manager(DeclineCheckpoint(number, self.name, "no room"), self.attempt)
            return
        if world.random.random() < 0.3:  # compaction
            self.tables.clear()
        world.outside.serial += 1
        self.tables[f"sst-{self.attempt}-{world.outside.serial}"] = None
        if savepoint is not None:
            files = {name: world.outside.upload(savepoint.folder, shared=False) for name in self.tables}
        else:
            files = {
                name: self.confirmed.get(name) or world.outside.upload("shared", shared=True)
                for name in self.tables
            }
            self.uploaded[number] = files
        handle = KeyedStateHandle("model", (0, 0), (), files)
        snapshot = OperatorSnapshot((handle,), {"position": [str(self.position).encode()]})
        world.to_job_manager(
            AckCheckpoint(number, self.name, SubtaskSnapshot({"source": snapshot})), self.attempt
        )


class SinkTask:
    """Buffers numbers and commits them with the real two-phase commit."""

    def __init__(self, world: World, index: int, attempt: int, restored: SubtaskSnapshot | None) -> None:
        self.world, self.attempt = world, attempt
        self.name = f"sink-{index}"
        self.buffer: list[int] = []
        self.commit: tuple[PendingCommittable[tuple[int, ...]], ...] = ()
        self.dead = False
        self.machine: TwoPhaseCommit[tuple[int, ...]] = world.sink_type(
            job_id=world.outside.job, attempt=attempt
        )
        items = tpc.decode_pending(committables_of(restored)) if restored else []
        pending = [PendingCommittable(o, p, msgspec.msgpack.decode(p)[2]) for o, p in items]
        pending = [PendingCommittable(p.origin, p.encoded, tuple(p.live)) for p in pending]
        self._perform(self.machine.handle(tpc.Restored(tuple(pending))))

    def receive_element(self, element: int | tuple[int, SavepointTarget | None]) -> None:
        if isinstance(element, int):
            self.buffer.append(element)
            return
        number, savepoint = element
        live = tuple(self.buffer)
        self.buffer.clear()
        committables = []
        if live:
            encoded = msgspec.msgpack.encode((self.attempt, self.name, live))
            self.world.outside.prepare(encoded, self.attempt)
            committables = [(live, encoded)]
        self._perform(self.machine.handle(tpc.Prepared(number, tuple(committables))))
        folder = f"chk-{number}" if savepoint is None else savepoint.folder
        file = self.world.outside.upload(folder, shared=False)
        operator = OperatorSnapshot(
            (KeyedStateHandle("model", (0, 0), (), {"exclusive": file}),),
            {COMMITTABLES_STATE: tpc.encode_pending(self.machine.pending())},
        )
        ack = AckCheckpoint(number, self.name, SubtaskSnapshot({"sink": operator}))
        self.world.to_job_manager(ack, self.attempt)

    def receive(self, message: ToTask) -> None:
        if isinstance(message, NotifyCheckpointComplete):
            self._perform(self.machine.handle(tpc.Completed(message.checkpoint_id, self.attempt)))

    def finish_commit(self, outcome: str) -> None:
        """The helper thread's work: `done`; `failed` after a part; `unheard`: done, but the subtask dies with it."""
        wanted, self.commit = self.commit, ()
        part = wanted[: len(wanted) // 2] if outcome == "failed" else wanted
        for committable in part:
            self.world.outside.commit(committable)
        self.world.outside.check_output()
        if outcome == "done":
            self._perform(self.machine.handle(tpc.CommitDone()))
        elif outcome == "failed":
            self._perform(self.machine.handle(tpc.CommitFailed("away", retryable=True)))
        else:
            self.dead = True

    def _perform(self, actions: list[tpc.Action[tuple[int, ...]]]) -> None:
        for action in actions:
            if isinstance(action, tpc.Commit):
                check(not self.commit, "two commits at a time")
                self.commit = action.committables
            else:
                self.dead = True


class World:
    """The job, its network and its schedule."""

    def __init__(
        self,
        seed: int,
        *,
        coordinator_type: type[CheckpointCoordinator] = CheckpointCoordinator,
        store_type: type[CompletedCheckpointStore] = CompletedCheckpointStore,
        sink_type: type[TwoPhaseCommit[tuple[int, ...]]] = TwoPhaseCommit,
    ) -> None:
        self.random = random.Random(seed)
        self.retained = self.random.choice((1, 1, 2))
        self.concurrent = self.random.choice((1, 1, 1, 2))
        self.coordinator_type, self.store_type, self.sink_type = coordinator_type, store_type, sink_type
        self.outside = Outside()
        self.now_ms = 0
        self.lossy = True
        self.network: list[tuple[str, object, int]] = []  # (receiver, message, attempt)
        self.initial: CheckpointData | None = None
        self.zombies: list[tuple[list[SourceTask], list[SinkTask]]] = []
        self.sources: list[SourceTask] = []
        self.sinks: list[SinkTask] = []
        self.final_requested = self.ended = False
        self.stops = self.random.choice(
            (0, 0, 1, 2)
        )  # how often the job ends with a savepoint and goes on from it
        self.stop_requested = self.stopped = False
        self.start_job_manager()

    # ---- JobManager ---------------------------------------------------------------------------------------------------

    def start_job_manager(self) -> None:
        self.stop_requested = self.stopped = False
        self.initial = self.outside.begin_next_job() if self.outside.stopped_at is not None else self.initial
        recovered = [
            CompletedCheckpoint(
                n,
                data.timestamp_ms,
                0,
                frozenset(f for part in data.subtasks.values() for f in snapshot_files(part)),
            )
            for n, data in self.outside.metadata.items()
        ]
        config = CoordinatorConfig(
            CONFIG.interval_ms, CONFIG.timeout_ms, 0, self.concurrent, CONFIG.tolerable_failures
        )
        self.coordinator = self.coordinator_type(
            config,
            self.store_type(self.retained, recovered),
            next_checkpoint_id=self.outside.next_free_id(),
        )
        self.writes: list[CheckpointData] = []
        self.inbox: list[Event] = []
        self.running = False
        self.start_attempt()

    def start_attempt(self) -> None:
        self.outside.attempts += 1
        attempt = self.outside.attempts
        restored_id = self.coordinator.latest_completed_id
        check(self.outside.stopped_at is None, "an attempt follows the savepoint that the job ended with")
        check(restored_id is None or restored_id in self.outside.metadata, f"{restored_id} is no checkpoint")
        data = self.outside.metadata[restored_id] if restored_id is not None else self.initial
        parts = data.subtasks if data else {}
        kept = {e for part in parts.values() for _, e in tpc.decode_pending(committables_of(part))}
        self.outside.abort_lingering(kept, attempt)
        self.sources = [SourceTask(self, i, attempt, parts.get(f"source-{i}")) for i in range(PAIRS)]
        self.sinks = [SinkTask(self, i, attempt, parts.get(f"sink-{i}")) for i in range(PAIRS)]
        self.final_requested = False
        self.running = True
        sources = tuple(task.name for task in self.sources)
        self.tell(JobRunning(attempt, sources + tuple(task.name for task in self.sinks), sources))

    def stop_attempt(self) -> None:
        """The failover: tasks are told to go, and may linger as zombies."""
        if not self.running:
            return
        self.running = False
        self.zombies = [*self.zombies[-1:], (self.sources, self.sinks)]
        self.sources, self.sinks = [], []
        self.tell(JobStopped())

    def crash_job_manager(self) -> None:
        if self.running:
            self.zombies = [*self.zombies[-1:], (self.sources, self.sinks)]
        for data in self.writes:  # the write was under way: it may have happened or not
            if self.random.random() < 0.5:
                if data.savepoint is None:
                    self.outside.make_durable(data)
                else:
                    folder, stops = data.savepoint.folder, data.savepoint.stops
                    self.outside.make_savepoint_durable(folder, data, stops=stops)
        self.start_job_manager()

    def tell(self, event: Event) -> None:
        for action in self.coordinator.handle(event, self.now_ms):
            self.perform(action)

    def perform(self, action: Action) -> None:
        match action:
            case SnapshotEnumerators(checkpoint_id=number):
                check(not self.stopped, "a checkpoint begins behind the savepoint that the job ended with")
                self.inbox.append(EnumeratorsSnapshotted(number, {}))
            case Send(message=message, subtasks=subtasks):
                attempt = self.outside.attempts
                self.network += [(subtask, message, attempt) for subtask in subtasks]
            case WriteMetadata(data=data):
                self.writes.append(data)
            case DiscardCheckpoints(checkpoint_ids=numbers):
                for number in numbers:
                    self.outside.delete_checkpoint(number)
            case DiscardFiles(files=files):
                self.outside.delete_files(files)
            case DiscardSavepoint(folder=folder):
                self.outside.delete_savepoint(folder)
            case FailJob():
                self.inbox.append(JobStopped())
            case CheckpointCompleted(final=final, savepoint=savepoint):
                if savepoint is None:
                    self.ended = self.ended or (final and self.running)
                else:
                    check(
                        savepoint.folder in self.outside.savepoints, "a savepoint is reported and not there"
                    )
                    self.stopped = self.stopped or (savepoint.stops and self.running)
            case CheckpointFailed(request_ids=request_ids):
                self.stop_requested = self.stop_requested and "stop" not in request_ids
            case RequestRefused(request_id=request_id):
                self.stop_requested = self.stop_requested and request_id != "stop"
            case AwaitMetadata() | DrainSources():
                pass

    def to_job_manager(self, message: AckCheckpoint | DeclineCheckpoint, attempt: int) -> None:
        self.network.append(("job manager", message, attempt))

    # ---- steps --------------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """One random step; which kinds there are depends on whether faults still happen."""
        choices = [
            (self.deliver, 8),
            (self.move_records, 8),
            (self.finish_commits, 3),
            (self.local_event, 5),
            (self.finish_write, 2),
            (self.pass_time, 3),
            (self.ask_savepoint, 0.2),
            (self.ask_stop, 0.2),
        ]
        if self.lossy:
            choices += [
                (self.lose, 0.4),
                (self.double, 0.4),
                (self.crash_task, 0.15),
                (self.crash_job_manager, 0.08),
            ]
        steps, weights = zip(*choices, strict=True)
        self.random.choices(steps, weights)[0]()
        if self.stopped and (not self.running or all(not sink.machine.pending() for sink in self.sinks)):
            self.go_on_from_savepoint()
        if not self.running and not self.coordinator.awaits_metadata:
            self.start_attempt()
        if any(task.dead for task in self.sinks):
            self.stop_attempt()

    def ask_savepoint(self) -> None:
        self.outside.serial += 1
        target = SavepointTarget(f"savepoint-{self.outside.serial}")
        self.tell(TriggerRequested("savepoint", 1_000_000 + self.now_ms, savepoint=target))

    def ask_stop(self) -> None:
        if self.stops and not self.stop_requested and self.running and not self.final_requested:
            self.stop_requested = True
            self.outside.serial += 1
            target = SavepointTarget(f"savepoint-{self.outside.serial}", stops=True)
            self.tell(TriggerRequested("stop", 1_000_000 + self.now_ms, savepoint=target))

    def go_on_from_savepoint(self) -> None:
        """All output that it covers is committed, or the job failed before: it is over, and the next one begins."""
        self.stops -= 1
        self.stop_attempt()
        self.network.clear()
        self.start_job_manager()

    def deliver(self) -> None:
        if not self.network:
            return
        at = self.random.randrange(len(self.network)) if self.lossy else 0
        receiver, message, attempt = self.network.pop(at)
        if receiver == "job manager":
            if isinstance(message, AckCheckpoint):
                self.tell(Acked(message, attempt))
            else:
                self.tell(Declined(message, attempt))
            return
        for task in self.tasks(attempt):
            if task.name == receiver:
                task.receive(message)

    def tasks(self, attempt: int) -> list[SourceTask | SinkTask]:
        groups = [(self.sources, self.sinks), *self.zombies]
        return [t for sources, sinks in groups for t in (*sources, *sinks) if t.attempt == attempt]

    def move_records(self) -> None:
        groups = [(self.sources, self.sinks)]
        if self.lossy and self.zombies:
            groups.append(self.random.choice(self.zombies))
        sources, sinks = self.random.choice(groups)
        for source, sink in zip(sources, sinks, strict=True):
            if source.can_emit() and self.random.random() < 0.5:
                source.emit()
            elif source.channel and not sink.machine.recovering and not sink.dead:
                sink.receive_element(source.channel.pop(0))

    def finish_commits(self) -> None:
        groups = [(self.sources, self.sinks), *self.zombies]
        for _, sinks in groups:
            for sink in sinks:
                if sink.commit and not sink.dead:
                    outcomes = ("done", "done", "done", "failed", "unheard") if self.lossy else ("done",)
                    sink.finish_commit(self.random.choice(outcomes))

    def local_event(self) -> None:
        if not self.inbox:
            return
        event = self.inbox.pop(0)
        if isinstance(event, JobStopped):
            self.stop_attempt()
        else:
            self.tell(event)

    def finish_write(self) -> None:
        if not self.writes:
            return
        data = self.writes.pop(0)
        if data.savepoint is not None:
            self.finish_savepoint(data, data.savepoint)
            return
        if self.lossy and self.random.random() < 0.1:
            self.tell(MetadataFailed(data.checkpoint_id, "the disk is away"))
            return
        self.outside.make_durable(data)
        self.tell(MetadataDurable(data.checkpoint_id))

    def finish_savepoint(self, data: CheckpointData, savepoint: SavepointTarget) -> None:
        if self.lossy and self.random.random() < 0.1:
            self.tell(MetadataFailed(data.checkpoint_id, "the disk is away"))
            return
        self.outside.make_savepoint_durable(savepoint.folder, data, stops=savepoint.stops)
        self.tell(MetadataDurable(data.checkpoint_id))

    def pass_time(self) -> None:
        # In quiet times the cluster is fast enough for its timeout; before, expiry is among the faults.
        self.now_ms += self.random.choice((1, 5, 20) if self.lossy else (1, 5))
        deadline = self.coordinator.next_deadline_ms()
        if deadline is not None and deadline <= self.now_ms:
            self.tell(Tick(1_000_000 + self.now_ms))
        exhausted = self.running and all(s.position == RECORDS for s in self.sources)
        if exhausted and not self.final_requested and not self.lossy:
            self.final_requested = True
            self.tell(TriggerRequested("end of input", 1_000_000 + self.now_ms, final=True))

    def lose(self) -> None:
        if not self.network:
            return
        _, message, attempt = self.network.pop(self.random.randrange(len(self.network)))
        last_word = self.stopped and isinstance(message, NotifyCheckpointComplete)
        if last_word and attempt == self.outside.attempts:
            self.stop_attempt()  # no later one covers it: whoever waits for it in vain has lost the JobManager

    def double(self) -> None:
        if self.network:
            self.network.append(self.random.choice(self.network))

    def crash_task(self) -> None:
        self.stop_attempt()

    # ---- runs ---------------------------------------------------------------------------------------------------------

    def run(self, steps: int = 500) -> None:
        """Faults for a while, then none: from then on the job must come to its end."""
        for _ in range(steps):
            self.step()
        self.lossy = False
        self.zombies.clear()
        for _ in range(6_000):
            if self.finished():
                break
            self.step()
        check(self.ended, "no final checkpoint completed although faults have stopped")
        self.outside.check_output()
        values = sorted(value for live in self.outside.committed.values() for value in live)
        expected = [index * 1_000 + n for index in range(PAIRS) for n in range(RECORDS)]
        check(values == expected, f"output is lost: {sorted(set(expected) - set(values))}")

    def finished(self) -> bool:
        return self.ended and all(not sink.machine.pending() for sink in self.sinks)
