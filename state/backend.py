"""The contract between operators and state backends.

Keyed state is a set of named *tables*. A table maps namespace -> key -> value, and one of the two decides which key group
an entry belongs to (`routed_by`):

- window contents: namespace = slice start (ms), or the window where windows are kept one by one, key = the stream's key, routed
  by `key`; in the same way the state of triggers and the per-window state of functions;
- value, list, reducing, aggregating state: namespace = None, key = the stream's key, routed by `key`;
- map state: namespace = the stream's key, key = the map's key, routed by `namespace`;
- timers: namespace = timestamp (ms), key = the stream's key, routed by `key`; of windows: the value lists the windows.

One namespace of a table is a `StateMap`: a dict that hot loops use directly. `m[key]` gives the value or None when there is
none, `m[key] = value` sets it: no call of ours per record as long as the entry is in memory.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

from ..core.clock import Clock, SystemClock
from ..core.savepoints import SavepointFormatType
from ..core.types import TypeInformation
from .expiry import Expiry
from .handles import FileRef, KeyedStateHandle
from .memory import WorkerMemory

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class TableDescriptor:
    """Declares a table. Two declarations of one name in one operator must be equal.

    Attributes:
        routed_by: whether the key or the namespace decides the key group.
        mutable_values: values may be changed in place by user code after they were read; a backend that shares a value
            with a running snapshot must hand out a copy. False promises that values are only ever replaced.
        few_namespaces: namespaces are few (windows, timers), so the backend may remember which exist; otherwise there
            may be one per key.
        expiry: how entries expire, None when they do not; values are then stored with the time of their last access.
        kind: what the table is used as (`value`, `list`, `map`, `reducing`, `aggregating`, `timers`, `window`), for those
            who read checkpoints; two declarations may differ in it.
    """

    name: str
    key_type: TypeInformation[Any]
    value_type: TypeInformation[Any]
    namespace_type: TypeInformation[Any] | None = None
    routed_by: Literal["key", "namespace"] = "key"
    mutable_values: bool = True
    few_namespaces: bool = True
    expiry: Expiry | None = None
    kind: str = field(default="", compare=False)


class StateMap(dict[K, V], Generic[K, V]):
    """One namespace of a table; also the hot loop's dict.

    The dict itself holds only the entries touched lately; the rest may be in a frozen snapshot layer, a cache or on disk.
    So only these are meaningful to callers: `m[key]` (the value, None when unset; may load it, and then counts as
    written), `m[key] = value` (never None), and the methods below. `len`, `in`, iteration, `get`, `pop` and `del` see the
    dict alone and must not be used.
    """

    __slots__ = ()

    @abstractmethod
    def __missing__(self, key: K) -> V | None:
        """The value from below, now also in the dict; None when there is none (and the dict stays as it is)."""

    @abstractmethod
    def peek(self, key: K) -> V | None:
        """The value or None, for reading only: the entry does not count as written."""

    @abstractmethod
    def remove(self, key: K) -> None:
        """Delete the entry; a no-op when there is none."""

    @abstractmethod
    def entries(self) -> Iterator[tuple[K, V]]:
        """All entries in unspecified order; the map must not be changed meanwhile. Values are for reading only."""

    @abstractmethod
    def is_empty(self) -> bool:
        """Whether there is no entry at all."""


class StateTable(Protocol):
    """One named state of one operator of one subtask."""

    @property
    def descriptor(self) -> TableDescriptor: ...

    def namespace(self, namespace: Any) -> StateMap[Any, Any]:
        """The map of `namespace`, made on demand. The same object until `drop` or `StateBackend.end_of_batch`; fetch it
        again after those."""

    def namespaces(self) -> Iterable[Any]:
        """The namespaces that have entries (a superset is allowed), in unspecified order."""

    def drop(self, namespace: Any) -> None:
        """Delete every entry of `namespace`."""

    def walk(self) -> Iterator[tuple[Any, Any, Any]]:
        """(namespace, key, value) of every entry that is there from the first to the last step, once or more often, in
        unspecified order. The table may be changed between the steps, so a value may be outdated, and is for reading only."""


class CheckpointStreams(Protocol):
    """Where a snapshot writes its files. Thread-safe: called from upload threads."""

    def write_exclusive(self, name: str, chunks: Iterable[bytes]) -> FileRef:
        """Write a file of this checkpoint alone; `name` is unique within it. Durable on return.

        Raises:
            CheckpointError: STORAGE, when the storage fails for good.
        """

    def write_small(self, name: str, content: bytes, most: int) -> FileRef:
        """The same; content of at most `most` bytes becomes no file, but part of the metadata."""

    def upload_shared(self, local: Path) -> FileRef:
        """Copy a local immutable file to a new unique name in `shared/`. Durable on return. Raises as above."""


class CheckpointReader(Protocol):
    """Reads files of a restored checkpoint. Every read verifies size and checksum."""

    def read(self, ref: FileRef) -> bytes:
        """The whole content.

        Raises:
            CheckpointError: CORRUPT (missing, short or altered), with the file's path.
        """

    def download(self, ref: FileRef, local: Path) -> None:
        """Copy to a local file. Raises as `read`."""


class PendingSnapshot(Protocol):
    """The asynchronous part of a snapshot, made by the synchronous part."""

    def write(self, streams: CheckpointStreams) -> KeyedStateHandle:
        """Write everything; runs in a helper thread while the loop goes on with the live state."""

    def release(self) -> None:
        """Called in the loop's thread once, after `write` ended or failed or was never run: give up the frozen layer."""


@runtime_checkable
class SupportsSavepoints(Protocol):
    """A `PendingSnapshot` that can be written as a part of a savepoint, instead of a checkpoint."""

    def write_savepoint(self, streams: CheckpointStreams, kind: SavepointFormatType) -> KeyedStateHandle:
        """As `write`, but everything goes into files of its own: it refers to nothing of a checkpoint, and no later
        snapshot refers to it.

        Raises:
            StateError: the state cannot be written in this format.
        """


class KeyedStateBackend(Protocol):
    """The keyed state of one operator in one subtask. All methods are called in the loop's thread.

    Attributes:
        clock: by which entries expire.
        removes_expired: it looks for expired entries of itself in `end_of_batch`, so that handles need not.
    """

    @property
    def clock(self) -> Clock: ...

    @property
    def removes_expired(self) -> bool: ...

    def table(self, descriptor: TableDescriptor) -> StateTable:
        """Open a table, with what was restored under its name.

        Raises:
            StateError: another declaration under the same name, now or in the restored state.
        """

    def snapshot(self, checkpoint_id: int) -> PendingSnapshot:
        """The synchronous part: freeze what is there now. Must be short whatever the size of the state; one at a time:
        the previous pending snapshot has been released."""

    def notify_checkpoint_complete(self, checkpoint_id: int) -> None:
        """Files of this checkpoint may be referred to by later ones."""

    def notify_checkpoint_subsumed(self, oldest_retained: int) -> None:
        """Nothing will restore a checkpoint before `oldest_retained` any more. May be lost, late or repeated."""

    def clear(self) -> None:
        """Delete every entry of every table; maps have to be fetched again."""

    def end_of_batch(self) -> None:
        """Bounded housekeeping between batches: eviction, merging of layers. Cheap when there is nothing to do."""

    def statistics(self) -> BackendStatistics:
        """What it holds right now."""

    def close(self) -> None:
        """Free memory, files and locks. Idempotent."""


@dataclass(frozen=True, slots=True)
class BackendStatistics:
    """A snapshot of a backend's figures.

    Attributes:
        entries_in_memory: deserialised entries held, over all tables.
        loads: entries read from below the memory since opening.
        flushed: entries written below the memory since opening.
        bytes_on_disk: size of the local files, 0 for a heap backend.
    """

    entries_in_memory: int
    loads: int
    flushed: int
    bytes_on_disk: int


@dataclass(frozen=True, slots=True)
class StateOwner:
    """Whose state it is, for a store that outlives the process.

    Attributes:
        job_id: of the job, the same through its restarts.
        operator_id: of the operator in it.
        attempt: higher than that of every earlier owner of the same state; whoever has a lower one is a zombie.
    """

    job_id: str = ""
    operator_id: str = ""
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class StateStore:
    """A database that keyed state lives in.

    Attributes:
        url: with its password, if any: never shown.
        area: the schema (PostgreSQL) or what keys begin with (Redis).
    """

    url: str = field(repr=False)
    area: str


@dataclass(frozen=True, slots=True)
class BackendContext:
    """What a backend is opened with.

    Attributes:
        operator: name for error messages.
        max_parallelism: number of key groups.
        key_groups: first and last key group of this subtask, inclusive.
        local_dir: an own, empty, existing folder, named by attempt.
        restored: handles that together cover `key_groups` (each may hold more groups than that); empty on a fresh start.
        reader: for reading the files of `restored`.
        cache_entries: bound on deserialised entries in memory (RocksDB's write-back cache).
        memory: bound in bytes on what all such backends of the worker hold, natively and as objects.
        clock: by which entries expire.
        owner: whose state it is.
        store: where it lives outside this process; None for backends that need none.
    """

    operator: str
    max_parallelism: int
    key_groups: tuple[int, int]
    local_dir: Path
    restored: tuple[KeyedStateHandle, ...]
    reader: CheckpointReader
    cache_entries: int
    clock: Clock = field(default_factory=SystemClock)
    owner: StateOwner = StateOwner()
    store: StateStore | None = None
    memory: WorkerMemory = field(default_factory=WorkerMemory)


BackendFactory = Callable[[BackendContext], KeyedStateBackend]
