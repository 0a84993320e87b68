"""The protocols of sources and sinks: a new connector is written from this file alone, in one file of its own.

A *source* is a recipe. In the JobManager it makes one `SplitEnumerator`, which finds splits and decides which subtask reads
which; in every source subtask it makes a `SourceReader`. A *sink* is a recipe that makes a `SinkWriter` in every subtask
and, if it can commit (`SupportsCommitter`), a `Committer`. Recipes travel to the workers by cloudpickle, so they hold plain
settings and no connection. Source: FLIP-27 (sources), FLIP-143 and FLIP-191 (sinks).

A new source, in this order:
    1. the split: a frozen dataclass with a `split_id` and a position, and its encoding (`encode_split`, `decode_split`): a
       version first, then plain data, with msgpack. The position is that of the *next* record, the one trap of restoring.
    2. the reader: `poll_next` gives records of one split and moves its position; `snapshot_state` gives the splits as they
       are. What would block gets a thread and a bounded queue. `pause_or_resume_splits` if single splits can wait.
    3. the enumerator: `static_splits.StaticSplitEnumerator` where all splits are known at the start, otherwise one of its own
       that looks for splits with `call_async(..., period_ms=...)` and remembers which it found.
A new sink:
    1. the writer: buffers, writes, and has everything where it survives when `flush` returns.
    2. for exactly-once, the committable: the least that is needed to make visible, from any process, what `flush` brought
       away; and the committer, which may see every committable again. What was prepared for a checkpoint that never
       completed stays invisible, and `create_writer` sweeps it up: all but `pending_committables`.
`millstream.testing.connectors` has contract tests for both: derive a class from `SourceContract`, `SinkContract`, or, where there
is no committer, `AtLeastOnceSinkContract`.
`examples/sqlite_connector.py` is a whole connector.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from ..core.clock import Clock

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)
SplitT = TypeVar("SplitT", bound="SourceSplit")
CommT = TypeVar("CommT")
CommT_contra = TypeVar("CommT_contra", contravariant=True)
SplitT_contra = TypeVar("SplitT_contra", bound="SourceSplit", contravariant=True)


class Boundedness(enum.Enum):
    """Whether a source ends by itself."""

    BOUNDED = "bounded"
    CONTINUOUS_UNBOUNDED = "unbounded"


class SourceSplit(Protocol):
    """A part of a source with a position in it, e.g. a Kafka partition from an offset on. An immutable value."""

    @property
    def split_id(self) -> str:
        """Stable and unique within the source; the same for every position in the part."""


@dataclass(slots=True)
class SourceBatch(Generic[T]):
    """Records of one split, in its order.

    Attributes:
        split_id: which split; watermarks are generated per split.
        values: the records; handed over, the reader does not touch the list again.
        timestamps: event times in ms given by the outside system, or None.
        side: records for side outputs, by the id of their tag: what could not be made a record of, for example.
    """

    split_id: str
    values: list[T]
    timestamps: list[int] | None = None
    side: Mapping[str, list[Any]] | None = None


@dataclass(frozen=True, slots=True)
class SplitFinished:
    """The split was read to its end; it no longer takes part in watermarks and will not be in snapshots."""

    split_id: str


@dataclass(frozen=True, slots=True)
class NothingAvailable:
    """No record right now; ask again in `retry_in_ms` at the latest (the loop sleeps until then or until other work)."""

    retry_in_ms: int = 5


@dataclass(frozen=True, slots=True)
class EndOfSource:
    """No record will ever follow: every split is finished and there will be no more (`notify_no_more_splits`)."""


Poll = SourceBatch[T] | SplitFinished | NothingAvailable | EndOfSource


class SourceReader(Protocol[T, SplitT]):
    """Reads the splits of one subtask. All methods are called in the loop's thread and must not block (a few ms at most);
    one that must wait on an outside system keeps its own thread and a bounded queue."""

    def start(self) -> None:
        """Connect. Called once, before anything else. Raises ConnectorError."""

    def add_splits(self, splits: Sequence[SplitT]) -> None:
        """Read these too, each from its position on."""

    def notify_no_more_splits(self) -> None:
        """No split will be added any more: once all are finished, `poll_next` answers `EndOfSource`."""

    def poll_next(self, max_records: int) -> Poll[T]:
        """At most `max_records` records of one split, or why there is none. Raises ConnectorError."""

    def snapshot_state(self, checkpoint_id: int) -> list[SplitT]:
        """The unfinished splits, each at the position after the last record returned by `poll_next`.

        On replay the job gives them out again (to any subtask) and continues exactly there."""

    def notify_checkpoint_complete(self, checkpoint_id: int) -> None:
        """Everything up to this snapshot is durable: acknowledge, commit offsets for monitoring, and the like. May be
        lost or come late; a later one covers earlier ones. Must not raise for an outside system being away."""

    def close(self) -> None:
        """Give everything back. Called once, also after errors."""


@runtime_checkable
class SupportsSplitPausing(Protocol):
    """A reader that can leave out single splits for a while (FLIP-217). Where watermarks are aligned, a reader without this
    is not polled at all while it is ahead of the others."""

    def pause_or_resume_splits(
        self, splits_to_pause: Collection[str], splits_to_resume: Collection[str]
    ) -> None:
        """By split id: return no record of the first ones until they are resumed, and of the others again. Only splits that
        were added and are not finished are named. A paused split stays in snapshots; while all are paused, `poll_next`
        answers `NothingAvailable`. Not part of a checkpoint: after a restore nothing is paused."""


@runtime_checkable
class HandlesSourceEvents(Protocol):
    """A reader that is told things by its enumerator (FLIP-27's source events). They come in their order, also with regard to
    splits; those of an earlier attempt are dropped, and none is part of a checkpoint."""

    def handle_source_event(self, event: bytes) -> None:
        """In the loop's thread, between two calls of `poll_next`."""


@runtime_checkable
class HandlesReaderEvents(Protocol):
    """An enumerator that is told things by its readers, on the same terms."""

    def handle_source_event(self, subtask: int, event: bytes) -> None:
        """In the JobManager's thread."""


def no_source_events(event: bytes) -> None:
    """Where a reader has no enumerator to tell."""
    raise NotImplementedError(f"there is no enumerator for {event!r}")


@dataclass(frozen=True, slots=True)
class SourceReaderContext:
    """Where a reader runs.

    Attributes:
        subtask: from 0.
        checkpointing: whether the job takes checkpoints: if not, `notify_checkpoint_complete` is never called.
        send_source_event: to the enumerator, which is `HandlesReaderEvents`; a versioned encoding, never pickle.
    """

    subtask: int
    parallelism: int
    job_name: str
    clock: Clock
    checkpointing: bool = True
    send_source_event: Callable[[bytes], None] = no_source_events


class SplitEnumeratorContext(Protocol[SplitT_contra]):
    """What an enumerator may ask for. Used in the JobManager's thread only, except for the work given to `call_async`."""

    @property
    def parallelism(self) -> int:
        """Number of readers."""

    def assign_splits(self, assignment: Mapping[int, Sequence[SplitT_contra]]) -> None:
        """Give splits to readers (by subtask). A split given before a checkpoint's snapshot of the enumerator is in the
        reader's snapshot, and one given after it is not."""

    def signal_no_more_splits(self, subtask: int) -> None:
        """That reader will get no more."""

    def send_event_to_reader(self, subtask: int, event: bytes) -> None:
        """To a reader that runs (`add_reader`) and is `HandlesSourceEvents`; a versioned encoding, never pickle."""

    def call_async(
        self, work: Callable[[], Any], handler: Callable[[Any], None], *, period_ms: int | None = None
    ) -> None:
        """Run `work` (which may block) in a helper thread, then `handler(result)` in the JobManager's thread; again every
        `period_ms` if given. An exception of either fails the job."""


class SplitEnumerator(Protocol[SplitT_contra]):
    """Finds splits and hands them out; one per source, in the JobManager. Methods must not block: use `call_async`."""

    def start(self) -> None:
        """Called once. On a restored job `add_splits_back` with all the readers' splits comes right after it."""

    def add_reader(self, subtask: int) -> None:
        """The reader of `subtask` is running and can be given splits. Called once per subtask and attempt."""

    def handle_split_request(self, subtask: int) -> None:
        """A reader asks for (more) work: it ran out of splits."""

    def add_splits_back(self, splits: Sequence[SplitT_contra]) -> None:
        """Splits (with their positions) of a restored checkpoint, to be given out again, to whichever reader."""

    def snapshot_state(self, checkpoint_id: int) -> bytes:
        """Everything that readers' splits do not tell: which splits were found (also the finished ones), which are not
        given out yet. A versioned encoding of its own (msgpack), never pickle."""

    def close(self) -> None:
        """Give everything back. Called once."""


class Source(Protocol[T, SplitT]):
    """A recipe for a source. Immutable; may be used in several jobs."""

    @property
    def boundedness(self) -> Boundedness: ...

    def create_enumerator(
        self, context: SplitEnumeratorContext[SplitT], restored: bytes | None
    ) -> SplitEnumerator[SplitT]:
        """`restored` is what `SplitEnumerator.snapshot_state` gave, on a restored job."""

    def create_reader(self, context: SourceReaderContext) -> SourceReader[T, SplitT]: ...

    def encode_split(self, split: SplitT) -> bytes:
        """A versioned encoding (msgpack), never pickle: splits travel in messages and live in checkpoints."""

    def decode_split(self, data: bytes) -> SplitT:
        """The inverse; must read what earlier releases wrote."""


@runtime_checkable
class TellsTimestamps(Protocol):
    """A source that knows beforehand whether its records have timestamps: without them, and without a timestamp assigner,
    event-time windows are refused while the program is built. Of other sources the records tell."""

    @property
    def gives_timestamps(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class SinkWriterContext(Generic[CommT]):
    """Where a writer runs and what it starts from.

    Attributes:
        subtask: from 0.
        job_id: hexadecimal; one fresh start of a job and its restarts.
        attempt: rises with every restart of the writer, also across `--resume`.
        restored_checkpoint_id: the checkpoint restored from, or None on a fresh start.
        restored_state: what this sink's writers put into `snapshot_state`, this subtask's share of it.
        pending_committables: every committable of the restored checkpoint, of ALL subtasks. They are being committed now,
            here or in another subtask: a writer must neither abort nor reuse what they refer to.
        oldest_attempt: when this attempt began, no task of the job ran, in whatever region, of an attempt below this one.
    """

    subtask: int
    parallelism: int
    job_id: str
    job_name: str
    attempt: int
    restored_checkpoint_id: int | None
    restored_state: tuple[bytes, ...]
    pending_committables: tuple[CommT, ...]
    clock: Clock
    oldest_attempt: int = 0


class SinkWriter(Protocol[T_contra]):
    """Writes the records of one subtask; all methods are called in the loop's thread. Built by `Sink.create_writer`, which
    connects (and raises ConnectorError)."""

    def write_batch(self, values: Sequence[T_contra], timestamps: Sequence[int] | None) -> None:
        """Take the records. May buffer; may block only to wait for room in a bounded buffer.

        A record that the user's serializer cannot take raises the user's own exception, with the record's index in
        `values` as `error.millstream_record_index` where known."""

    def flush(self, end_of_input: bool) -> None:
        """Bring everything written so far to the outside system and wait until it has it (not: until it is visible).
        Called at every barrier and at the end of input, before `prepare_commit` / `snapshot_state`.
        Without it having returned, the checkpoint is not acknowledged: at-least-once rests on this method."""

    def close(self) -> None:
        """Give everything back; anything not flushed may be dropped. Called once, also after errors: must not commit."""


@runtime_checkable
class CommittingSinkWriter(Protocol[CommT]):
    """A writer of a two-phase-commit sink."""

    def prepare_commit(self, checkpoint_id: int) -> list[CommT]:
        """Phase one, right after `flush`: everything written since the last call becomes a list of committables that can
        be committed from any process, later, with nothing but their encoded form. Later writes belong to the next one."""


@runtime_checkable
class StatefulSinkWriter(Protocol):
    """A writer with state of its own in the checkpoint."""

    def snapshot_state(self, checkpoint_id: int) -> list[bytes]:
        """Items that come back as `SinkWriterContext.restored_state`, redistributed one by one. Called after
        `prepare_commit`."""


class Committer(Protocol[CommT_contra]):
    """Phase two. Runs in a helper thread, one call at a time; may block."""

    def commit(self, committables: Sequence[CommT_contra]) -> None:
        """Make each committable visible, in order. Called again for the same committable after any failure, in any
        process: must be idempotent. A committable may be the very object that `prepare_commit` returned (same process) or
        one decoded from a checkpoint. Transient trouble is retried inside, with backoff, within the connector's budget.

        Raises:
            ConnectorError: it could not be committed. `retryable=False` means that data would be lost (say which);
                the job then fails for good instead of restarting.
        """

    def close(self) -> None:
        """Give everything back."""


class Sink(Protocol[T_contra]):
    """A recipe for a sink. Immutable."""

    def create_writer(self, context: SinkWriterContext[Any]) -> SinkWriter[T_contra]: ...


@runtime_checkable
class TakenByAddSink(Protocol):
    """A sink by the name of one of Flink's sink functions: programs pass it to `add_sink`."""

    passed_to_add_sink: bool


@runtime_checkable
class SupportsCommitter(Protocol[CommT]):
    """A sink whose writers are `CommittingSinkWriter`s. Committables are part of the checkpoint taken at the barrier and
    are committed after it completed; those found in a restored checkpoint are committed before records flow."""

    def create_committer(self) -> Committer[CommT]: ...

    def encode_committable(self, committable: CommT) -> bytes:
        """A versioned encoding (msgpack), never pickle."""

    def decode_committable(self, data: bytes) -> CommT: ...


@runtime_checkable
class CommitsRestored(Protocol[CommT]):
    """A sink without committables of its own that commits those of a restored checkpoint: it had another guarantee then."""

    def create_committer(self) -> Committer[CommT]: ...

    def decode_committable(self, data: bytes) -> CommT: ...


@runtime_checkable
class HasTransactionTimeout(Protocol):
    """A sink whose outside system aborts a transaction some time after it began."""

    @property
    def transaction_timeout_ms(self) -> int | None:
        """After how long, whoever may still want to commit it; None if never. A job that could take longer is refused."""
