"""Pointers to durable pieces of state: what acknowledgements and `_metadata` are made of. Versioned by adding fields last."""

from __future__ import annotations

from typing import Final

import msgspec

from ..core.types import TypeSchema

ACCUMULATORS_STATE: Final = "accumulators"
"""The list state that holds what an operator's functions have added up: statistics, which may go without an operator."""


class FileRef(msgspec.Struct, frozen=True):
    """A file under the checkpoint directory, or what would be one if it were not so small.

    Attributes:
        path: relative to the job's folder, `chk-<n>/...` for a file of one checkpoint, `shared/...` for one that several
            checkpoints may refer to.
        size: bytes.
        checksum: `xxh3_128` of the content, hexadecimal; verified on every read.
        shared: whether it lives in `shared/` and is reference-counted.
        content: all of it, where there is no such file: `path` then names the metadata.
    """

    path: str
    size: int
    checksum: str
    shared: bool
    content: bytes | None = None


class TableInfo(msgspec.Struct, frozen=True):
    """How a state table was written, so that a restore can refuse what does not fit, and readers know what they see.

    Attributes:
        table_id: its number in the files. A name may have several tables, when not every subtask has brought what it restored
            to the types of now.
        key_schema, namespace_schema, value_schema: what the types named above looked like; None from releases that did not
            write them, and for a namespace type that is none.
        kind: what a program uses the table as (`TableDescriptor.kind`); empty where nothing says so.
        ttl_ms: how long an entry lives after its last access; 0 where entries do not expire.
    """

    name: str
    table_id: int
    routed_by: str
    key_type: str
    namespace_type: str
    value_type: str
    key_schema: TypeSchema | None = None
    namespace_schema: TypeSchema | None = None
    value_schema: TypeSchema | None = None
    kind: str = ""
    ttl_ms: int = 0


class ExternalVersion(msgspec.Struct, frozen=True):
    """Keyed state that stays in a database: whose, and as of when.

    Attributes:
        job_id, operator_id: under which it stands there.
        checkpoint_id: of the checkpoint, and so of the version.
        attempt: that took the checkpoint.
        base: the checkpoint whose state the database held, or a later one; the handle's files bring it to this one. Stores
            that keep versions have no use for it.
    """

    job_id: str
    operator_id: str
    checkpoint_id: int
    attempt: int
    base: int = 0


class KeyedStateHandle(msgspec.Struct, frozen=True):
    """The keyed state of one operator of one subtask at one checkpoint.

    Attributes:
        format: which backend's layout the files have (`heap-1`, `rocksdb-1`, `postgresql-1`, `redis-1`).
        key_groups: first and last key group in it, both inclusive.
        tables: what was in it.
        files: local name to file; the format says what each is.
        external: where the state is, if it is in no file.
    """

    format: str
    key_groups: tuple[int, int]
    tables: tuple[TableInfo, ...]
    files: dict[str, FileRef]
    external: ExternalVersion | None = None


class EdgeName(msgspec.Struct, frozen=True):
    """An exchange between two operators, as a later run of the program finds it again: by operator ids."""

    source: str
    side_output: str | None
    target: str
    input_id: int


class ChannelStateHandle(msgspec.Struct, frozen=True):
    """Records that were under way on one exchange when a barrier overtook them, as one subtask kept them.

    Attributes:
        schemas: of the types they are encoded by: of records, and of keys and accumulators of partial aggregates.
        subtask: who kept them: what had reached it as the target, or had not left it as the source.
        outgoing: whether that was the source: in each channel its records come behind those that the target kept.
        source_parallelism, target_parallelism: of the exchange.
        file: see `checkpoint/channel_state.py`.
    """

    edge: EdgeName
    schemas: tuple[TypeSchema, ...]
    subtask: int
    outgoing: bool
    source_parallelism: int
    target_parallelism: int
    file: FileRef


class OperatorSnapshot(msgspec.Struct, frozen=True):
    """The state of one operator of one subtask.

    Attributes:
        keyed: handles of keyed state: one after a snapshot, several when state is handed out at another parallelism.
        lists: operator list state by name; its items are redistributed one by one.
        channels: records under way to the operator, and from it to others.
    """

    keyed: tuple[KeyedStateHandle, ...] = ()
    lists: dict[str, list[bytes]] = {}
    channels: tuple[ChannelStateHandle, ...] = ()


class SubtaskSnapshot(msgspec.Struct, frozen=True):
    """All that a subtask contributes to a checkpoint, by operator id."""

    operators: dict[str, OperatorSnapshot] = {}
