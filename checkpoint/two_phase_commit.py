"""The two-phase commit of a sink subtask: which committables may be committed, and which must be kept. Pure.

    barrier:        flush, prepare_commit -> Prepared -> `pending()` goes into the snapshot
    notification:   Completed -> Commit -> (helper thread) -> CommitDone
    restart:        Restored -> Commit of all of them, before any record flows

Rules of this file:

- A committable stays in `pending()`, and so in every later snapshot, until its commit is known to be done. So a crash at any
  point repeats a commit at worst, which committers must bear (they are idempotent), and never forgets one.
- Notifications may be lost, doubled or come late: one covers all earlier checkpoints.
- An aborted checkpoint does not undo its pre-commit: its committables are committed with the next completed checkpoint, whose
  snapshot names them too.
- A restored committable was durable in a completed checkpoint, so it is committed whatever its id. One of this attempt is
  committed when a checkpoint of this attempt with its id or a later one completed: ids may repeat after the JobManager died,
  so committables are known by job, attempt and checkpoint id (`CommittableOrigin`), never by checkpoint id alone.

INVARIANT T1: what `Commit` names was in the snapshot of a checkpoint that is durable.
Kept by: tests/simulation/test_coordinator.py::test_commits_only_durable_checkpoints
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeAlias, TypeVar, assert_never

import msgspec

from ..core.errors import CheckpointError, CheckpointFailureReason, ProtocolViolation

CommT = TypeVar("CommT")

COMMITTABLES_STATE: Final = "sink-committables"
"""Name of the operator list state that holds `encode_pending`: its items are redistributed one by one."""


class CommittableOrigin(msgspec.Struct, frozen=True, array_like=True):
    """The pre-commit a committable comes from."""

    job_id: str
    attempt: int
    checkpoint_id: int


class _StoredCommittable(msgspec.Struct, frozen=True, array_like=True):
    version: int
    origin: CommittableOrigin
    payload: bytes


@dataclass(frozen=True, slots=True)
class PendingCommittable(Generic[CommT]):
    """A committable that is not known to be committed.

    Attributes:
        encoded: the sink's own encoding, what a snapshot holds.
        live: the very object of `prepare_commit` or the decoded one.
    """

    origin: CommittableOrigin
    encoded: bytes
    live: CommT


@dataclass(frozen=True, slots=True)
class Restored(Generic[CommT]):
    """First of all events, at most once: this subtask's share of the restored checkpoint's committables."""

    committables: tuple[PendingCommittable[CommT], ...]


@dataclass(frozen=True, slots=True)
class Prepared(Generic[CommT]):
    """The sink pre-committed for a checkpoint. Each committable with its encoded form, in order."""

    checkpoint_id: int
    committables: tuple[tuple[CommT, bytes], ...]


@dataclass(frozen=True, slots=True)
class Completed:
    """A notification: the checkpoint is durable. `attempt` is the one the notification was sent to."""

    checkpoint_id: int
    attempt: int


@dataclass(frozen=True, slots=True)
class CommitDone:
    """All committables of the last `Commit` are committed."""


@dataclass(frozen=True, slots=True)
class CommitFailed:
    """The last `Commit` failed; some of it may have happened."""

    error: str
    retryable: bool


Event: TypeAlias = Restored[CommT] | Prepared[CommT] | Completed | CommitDone | CommitFailed


@dataclass(frozen=True, slots=True)
class Commit(Generic[CommT]):
    """Commit these in order in the helper thread, then answer with `CommitDone` or `CommitFailed`. One at a time."""

    committables: tuple[PendingCommittable[CommT], ...]


@dataclass(frozen=True, slots=True)
class FailTask:
    """Fail the subtask; after the restart the committables come back from the checkpoint.

    `retryable=False`: the outside system refused for good, data would be lost, so the job must not be restarted.
    """

    error: str
    retryable: bool


Action: TypeAlias = Commit[CommT] | FailTask


class TwoPhaseCommit(Generic[CommT]):
    """Decides for one sink subtask in one attempt; runs in the loop's thread."""

    def __init__(self, *, job_id: str, attempt: int) -> None:
        self._job_id = job_id
        self._attempt = attempt
        self._waiting: list[
            PendingCommittable[CommT]
        ] = []  # in the order of pre-commits, restored ones first
        self._in_flight: tuple[PendingCommittable[CommT], ...] = ()
        self._recovering = False
        self._covered_id = 0  # the newest checkpoint of this attempt known to be complete
        self._prepared_id = 0
        self._failed = False

    @property
    def recovering(self) -> bool:
        """Whether committables of the restored checkpoint are still being committed: no record may flow before."""
        return self._recovering

    @property
    def next_checkpoint_id(self) -> int:
        """Above every id for which the sink pre-committed."""
        return self._prepared_id + 1

    def pending(self) -> tuple[PendingCommittable[CommT], ...]:
        """Everything not known to be committed, in order: what a snapshot taken now must hold (`encode_pending`)."""
        return (*self._in_flight, *self._waiting)

    def handle(self, event: Event[CommT]) -> list[Action[CommT]]:
        """What follows from `event`.

        Raises:
            ProtocolViolation: the event is impossible in this state.
        """
        match event:
            case Restored(committables=committables):
                return self._on_restored(committables)
            case Prepared(checkpoint_id=checkpoint_id, committables=committables):
                return self._on_prepared(checkpoint_id, committables)
            case Completed(checkpoint_id=checkpoint_id, attempt=attempt):
                if attempt == self._attempt:
                    self._covered_id = max(self._covered_id, checkpoint_id)
                return self._commit_next()
            case CommitDone():
                self._take_in_flight("CommitDone")
                self._recovering = False
                return self._commit_next()
            case CommitFailed(error=error, retryable=retryable):
                self._waiting[:0] = self._take_in_flight("CommitFailed")
                self._failed = True
                return [FailTask(error, retryable)]
            case _:
                assert_never(event)

    def _on_restored(self, committables: tuple[PendingCommittable[CommT], ...]) -> list[Action[CommT]]:
        if self._waiting or self._in_flight or self._prepared_id or self._covered_id:
            raise ProtocolViolation(
                "committables were restored into a sink that has begun", where=self._where()
            )
        if any(c.origin.job_id == self._job_id and c.origin.attempt >= self._attempt for c in committables):
            raise ProtocolViolation(
                "a restored committable claims to be of this attempt or a later one", where=self._where()
            )
        self._waiting = list(committables)
        self._recovering = bool(committables)
        return self._commit_next()

    def _on_prepared(
        self, checkpoint_id: int, committables: tuple[tuple[CommT, bytes], ...]
    ) -> list[Action[CommT]]:
        if checkpoint_id <= self._prepared_id:
            what = f"checkpoint {checkpoint_id} was pre-committed after checkpoint {self._prepared_id}"
            raise ProtocolViolation(what, where=self._where())
        self._prepared_id = checkpoint_id
        origin = CommittableOrigin(self._job_id, self._attempt, checkpoint_id)
        self._waiting += [PendingCommittable(origin, encoded, live) for live, encoded in committables]
        return []

    def _commit_next(self) -> list[Action[CommT]]:
        """Everything that may be committed, unless a commit is running (then after it) or has failed."""
        if self._in_flight or self._failed:
            return []
        self._in_flight = tuple(c for c in self._waiting if self._is_covered(c.origin))
        self._waiting = [c for c in self._waiting if not self._is_covered(c.origin)]
        return [Commit(self._in_flight)] if self._in_flight else []

    def _is_covered(self, origin: CommittableOrigin) -> bool:
        own = origin.job_id == self._job_id and origin.attempt == self._attempt
        return not own or origin.checkpoint_id <= self._covered_id

    def _take_in_flight(self, event: str) -> tuple[PendingCommittable[CommT], ...]:
        if not self._in_flight:
            raise ProtocolViolation(f"{event} without a running commit", where=self._where())
        taken, self._in_flight = self._in_flight, ()
        return taken

    def _where(self) -> str:
        return f"two-phase commit of job {self._job_id}, attempt {self._attempt}"


def encode_pending(committables: Sequence[PendingCommittable[CommT]]) -> list[bytes]:
    """Items for the list state `COMMITTABLES_STATE`."""
    return [msgspec.msgpack.encode(_StoredCommittable(1, c.origin, c.encoded)) for c in committables]


def decode_pending(items: Sequence[bytes]) -> list[tuple[CommittableOrigin, bytes]]:
    """The inverse: origin and the sink's own encoding of each.

    Raises:
        CheckpointError: CORRUPT.
    """
    try:
        stored = [msgspec.msgpack.decode(item, type=_StoredCommittable) for item in items]
    except msgspec.MsgspecError as error:
        raise CheckpointError(
            CheckpointFailureReason.CORRUPT,
            f"a committable in the checkpoint cannot be decoded: {error}",
            where=f"operator list state '{COMMITTABLES_STATE}'",
            fix="restore an older checkpoint",
        ) from error
    return [(item.origin, item.payload) for item in stored]
