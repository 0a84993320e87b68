"""Random histories of checkpoints over a real storage: the coordinator, the store, what subtasks reuse, sweeping and resuming together.

Subtasks keep sets of immutable files, as RocksDB does: a snapshot uploads what is new and refers to the rest. Checkpoints complete, are
declined, or never heard of; notifications are lost; deletions are refused for a while; attempts fail, and the JobManager is
killed and resumes from what it finds. After every step each retained checkpoint is whole; at the end nothing else is left.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import fsspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from millstream.checkpoint import coordination as c
from millstream.checkpoint.catalog import resume_point
from millstream.checkpoint.completed_store import CompletedCheckpoint, CompletedCheckpointStore
from millstream.checkpoint.coordinator import CheckpointCoordinator
from millstream.checkpoint.leftovers import remove_leftovers
from millstream.checkpoint.messages import (
    AckCheckpoint,
    DeclineCheckpoint,
    NotifyCheckpointComplete,
    TriggerCheckpoint,
)
from millstream.checkpoint.metadata import Metadata, OperatorDescription, encode_metadata, metadata_from
from millstream.checkpoint.storage import CheckpointStorage
from millstream.state.handles import FileRef, KeyedStateHandle, OperatorSnapshot, SubtaskSnapshot
from millstream.state.uploaded_files import UploadedFiles

JOB, NAME = "0" * 32, "clicks"
SUBTASKS = ("0/0", "0/1")
RETAINED = 2
_CONFIG = c.CoordinatorConfig(interval_ms=None, tolerable_failures=1_000)
_OPERATORS = (OperatorDescription("op", "uid", "op", len(SUBTASKS), 128),)
_worlds = count()


class Subtask:
    """Immutable files by local name, and what became of them."""

    def __init__(self, uploaded: UploadedFiles, restored: dict[str, FileRef]) -> None:
        self.local = set(restored)
        self.uploaded = uploaded
        self.notified: list[int] = []


class StorageWorld(RuleBasedStateMachine):
    """One job, its storage and its deaths."""

    store_type: type[CompletedCheckpointStore] = CompletedCheckpointStore
    uploaded_type: type[UploadedFiles] = UploadedFiles

    @initialize()
    def begin(self) -> None:
        self.storage = CheckpointStorage(f"memory://world-{next(_worlds)}", JOB)
        self.refusing = False
        self.serial = 0
        self._start((), next_checkpoint_id=1, restored=None)

    # ---- what happens ---------------------------------------------------------------------------------------------------

    @rule()
    def trigger(self) -> None:
        self._handle(c.TriggerRequested("", self.serial))

    @precondition(lambda self: self.pending)
    @rule(subtask=st.sampled_from(SUBTASKS), compacts=st.booleans(), heard=st.booleans())
    def snapshot(self, subtask: str, compacts: bool, heard: bool) -> None:
        """`heard`: the acknowledgement arrives."""
        number = max(self.pending)
        if subtask not in self.pending[number]:
            return
        self.pending[number].discard(subtask)
        task = self.subtasks[subtask]
        if compacts:
            task.local.clear()
        self.serial += 1
        task.local.add(f"{self.serial}.sst")
        ack = AckCheckpoint(number, subtask, self._written(task, number))
        if heard:
            self._handle(c.Acked(ack, self.attempt))

    @precondition(lambda self: self.pending)
    @rule(subtask=st.sampled_from(SUBTASKS))
    def decline(self, subtask: str) -> None:
        number = max(self.pending)
        self._handle(c.Declined(DeclineCheckpoint(number, subtask, "planned"), self.attempt))
        self.pending.pop(number, None)

    @precondition(lambda self: self.writing)
    @rule(works=st.sampled_from((True, True, True, False)))
    def metadata(self, works: bool) -> None:
        data = self.writing.pop(0)
        if works:
            self.storage.write_metadata(data.checkpoint_id, encode_metadata(_metadata(data)))
            self._handle(c.MetadataDurable(data.checkpoint_id))
        else:
            self._handle(c.MetadataFailed(data.checkpoint_id, "planned"))

    @rule(compacts=st.booleans())
    def whole_checkpoint(self, compacts: bool) -> None:
        """All that it takes, so that histories get long."""
        self.trigger()
        for subtask in SUBTASKS:
            if self.pending:
                self.snapshot(subtask, compacts=compacts, heard=True)
        while self.writing:
            self.metadata(works=True)
        for subtask in SUBTASKS:
            self.notify(subtask)

    @rule(compacts=st.booleans())
    def given_up_checkpoint(self, compacts: bool) -> None:
        """One subtask has written its part, the other one declines."""
        self.trigger()
        if self.pending:
            self.snapshot(SUBTASKS[0], compacts=compacts, heard=True)
            self.decline(SUBTASKS[1])

    @rule(subtask=st.sampled_from(SUBTASKS))
    def notify(self, subtask: str) -> None:
        """One notification arrives, whichever; others never do."""
        task = self.subtasks[subtask]
        if task.notified:
            task.uploaded.completed(task.notified.pop())

    @rule()
    def refuse_or_allow_deletions(self) -> None:
        self.refusing = not self.refusing

    @rule()
    def fail(self) -> None:
        """All tasks stop; the next attempt restores the newest completed checkpoint."""
        self._handle(c.JobStopped())
        while self.writing:
            self.metadata(works=True)
        retained = self.coordinator.retained_ids
        self.attempt = self.storage.claim_attempt(NAME)
        remove_leftovers(self.storage, before_attempt=self.attempt)
        self._run(self.storage.load(retained[0]) if retained else None)

    @rule(completes=st.booleans())
    def kill_job_manager_and_resume(self, completes: bool) -> None:
        """`completes`: metadata under way became durable, which nobody has heard."""
        if self.writing and completes:
            data = self.writing[0]
            self.storage.write_metadata(data.checkpoint_id, encode_metadata(_metadata(data)))
        found = resume_point(self.storage.url, NAME)
        self.storage = CheckpointStorage(self.storage.url, JOB)
        if found is None:
            highest = max(self.storage.checkpoint_ids(), default=0)
            self._start((), next_checkpoint_id=highest + 1, restored=None)
        else:
            self._start(
                found.retained,
                next_checkpoint_id=found.next_checkpoint_id,
                restored=found.checkpoint.metadata,
            )

    # ---- what must hold -------------------------------------------------------------------------------------------------

    @invariant()
    def every_retained_checkpoint_is_whole(self) -> None:
        reader = self.storage.reader()
        for checkpoint in self.store.checkpoints:
            for file in self.storage.load(checkpoint.checkpoint_id).files():
                reader.verify(file, content=True)

    def teardown(self) -> None:
        """Once faults stop, a few checkpoints and a start later, only what is retained is there."""
        if not hasattr(self, "storage"):
            return
        try:
            self._settle()
        finally:
            fsspec.filesystem("memory").rm(self.storage.job_folder, recursive=True)

    def _settle(self) -> None:
        self.refusing = False
        for _ in range(RETAINED + 2):
            self.fail()
            self.whole_checkpoint(compacts=True)
        self.fail()
        retained = {checkpoint.checkpoint_id for checkpoint in self.store.checkpoints}
        assert set(self.storage.checkpoint_ids()) == retained
        needed = {
            file.path for number in retained for file in self.storage.load(number).files() if file.shared
        }
        assert {f"shared/{name}" for name in self.storage.file_names(None)} == needed

    # ---- how ------------------------------------------------------------------------------------------------------------

    def _start(
        self,
        recovered: tuple[CompletedCheckpoint, ...],
        *,
        next_checkpoint_id: int,
        restored: Metadata | None,
    ) -> None:
        self.refused: list[Callable[[], None]] = []
        self.attempt = self.storage.claim_attempt(NAME)
        remove_leftovers(self.storage, before_attempt=self.attempt)
        self.store = self.store_type(RETAINED, recovered)
        self.coordinator = CheckpointCoordinator(_CONFIG, self.store, next_checkpoint_id=next_checkpoint_id)
        self._run(restored)

    def _run(self, restored: Metadata | None) -> None:
        self.pending: dict[int, set[str]] = {}
        self.writing: list[c.CheckpointData] = []
        self.subtasks: dict[str, Subtask] = {}
        for index, subtask in enumerate(SUBTASKS):
            files = dict(restored.states["op"][index].keyed[0].files) if restored else {}
            self.subtasks[subtask] = Subtask(self.uploaded_type(files), files)
        self._handle(c.JobRunning(self.attempt, SUBTASKS, SUBTASKS))

    def _written(self, task: Subtask, number: int) -> SubtaskSnapshot:
        streams, reusable = self.storage.streams(number, self.attempt), task.uploaded.reusable()
        files = {}
        for name in sorted(task.local):
            files[name] = reusable.get(name) or _upload(self.storage, streams, name)
        task.uploaded.uploaded(number, files)
        manifest = streams.write_exclusive("manifest", (b"manifest",))
        handle = KeyedStateHandle("rocksdb-1", (0, 127), (), files)
        own = KeyedStateHandle("rocksdb-1", (0, 127), (), {"manifest": manifest})
        return SubtaskSnapshot({"op": OperatorSnapshot((handle, own))})

    def _handle(self, event: c.Event) -> None:
        self.serial += 1
        for action in self.coordinator.handle(event, self.serial):
            self._perform(action)

    def _perform(self, action: c.Action) -> None:
        match action:
            case c.SnapshotEnumerators(checkpoint_id=number):
                self._handle(c.EnumeratorsSnapshotted(number, {}))
            case c.Send(message=TriggerCheckpoint(checkpoint_id=number)):
                self.pending[number] = set(SUBTASKS)
            case c.Send(message=NotifyCheckpointComplete(checkpoint_id=number)):
                for task in self.subtasks.values():
                    task.notified.append(number)
            case c.WriteMetadata(data=data):
                self.writing.append(data)
            case c.DiscardCheckpoints(checkpoint_ids=numbers):
                self._delete([partial(self.storage.discard, number) for number in numbers])
            case c.DiscardFiles(files=files):
                self._delete([partial(self.storage.discard_files, files)])
            case c.CheckpointCompleted():
                refused, self.refused = self.refused, []
                self._delete(refused)
            case _:
                pass  # news

    def _delete(self, deletions: list[Callable[[], None]]) -> None:
        """As the JobManager's `Cleanup`: what is refused is tried again after the next completed checkpoint."""
        if self.refusing:
            self.refused += deletions
            return
        for deletion in deletions:
            deletion()


def _upload(storage: CheckpointStorage, streams: Any, name: str) -> FileRef:
    """As `upload_shared`, of a file that is its own name."""
    written: FileRef = streams._write(
        f"shared/{streams._unique(name)}", lambda: (name.encode(),), storage._retry, shared=True
    )
    return written


def _metadata(data: c.CheckpointData) -> Metadata:
    index = {subtask: number for number, subtask in enumerate(SUBTASKS)}
    return metadata_from(data, job_id=JOB, job_name=NAME, operators=_OPERATORS, subtask_index=index)
