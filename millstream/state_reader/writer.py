"""Makes savepoints: of data alone, or of another savepoint or checkpoint with operators added, removed and renamed.

Source: Flink's State Processor API, `SavepointWriter`.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ..checkpoint.catalog import StoredCheckpoint, load
from ..checkpoint.files import read_chunks
from ..checkpoint.metadata import Metadata, OperatorDescription, encode_metadata
from ..checkpoint.savepoint_folder import SavepointFolder
from ..checkpoint.storage import open_files
from ..core.clock import SystemClock
from ..core.errors import CheckpointError, CheckpointFailureReason, StateError
from ..core.savepoints import SavepointFormatType
from ..core.types import TypeInformation, as_type
from ..operators.operator_state import OperatorStateStore
from ..runtime.graph.passes import operator_id_of_uid
from ..state import rocksdb_snapshot
from ..state.backend import CheckpointReader, CheckpointStreams
from ..state.descriptors import ListStateDescriptor, MapStateDescriptor
from ..state.handles import ChannelStateHandle, FileRef, KeyedStateHandle, OperatorSnapshot
from ..state.key_groups import UPPER_BOUND_MAX_PARALLELISM
from .bootstrap import KeyedBootstrap, KeyedStateBootstrapFunction


@dataclass(slots=True)
class _NewOperator:
    """What was declared of an operator: keyed state to be made, operator state that is made already."""

    keyed: KeyedBootstrap | None = None
    store: OperatorStateStore = field(default_factory=lambda: OperatorStateStore({}))


class SavepointWriter:
    """Declares what a savepoint holds, and writes it. Made by `new` or `from_existing`; its methods give itself back.

    A job starts from it as from any other: operators find their state by uid.
    """

    def __init__(self, existing: StoredCheckpoint | None, max_parallelism: int) -> None:
        self._existing = existing
        self._max_parallelism = max_parallelism
        self._new: dict[str, _NewOperator] = {}
        self._kept = [] if existing is None else list(existing.metadata.operators)
        self._renamed: dict[str, str] = {}  # id now -> id in the existing savepoint

    @classmethod
    def new(cls, max_parallelism: int = 128) -> SavepointWriter:
        """An empty one.

        Args:
            max_parallelism: number of key groups: that of the job which is to start from it (128, unless the job or its
                parallelism says otherwise).

        Raises:
            StateError: it is not between 1 and 32768.
        """
        if not 1 <= max_parallelism <= UPPER_BOUND_MAX_PARALLELISM:
            raise StateError(
                f"a max parallelism of {max_parallelism}",
                fix=f"give a number between 1 and {UPPER_BOUND_MAX_PARALLELISM}",
            )
        return cls(None, max_parallelism)

    @classmethod
    def from_existing(cls, path: str, max_parallelism: int = 128) -> SavepointWriter:
        """One that holds what a savepoint or checkpoint holds, which stays as it is.

        Args:
            path: of its folder: a path or an fsspec URL.
            max_parallelism: of operators that are added.

        Raises:
            CheckpointError: NOT_FOUND, CORRUPT or INCOMPATIBLE.
        """
        return cls(load(path), max_parallelism)

    def with_keyed_state(
        self,
        uid: str,
        data: Iterable[Any],
        key_selector: Callable[[Any], Any],
        function: KeyedStateBootstrapFunction[Any],
        key_type: TypeInformation[Any] | type | None = None,
    ) -> SavepointWriter:
        """Have an operator hold the keyed state that a function makes of data.

        Args:
            uid: of the operator in the job.
            data: any iterable, however large: it is read once, while the savepoint is written.
            key_selector: gives the key of a value.
            function: asks for states and writes them.
            key_type: as the job's `key_by` declares it.

        Raises:
            StateError: the operator has keyed state already.
        """
        operator = self._operator(uid)
        if operator.keyed is not None:
            raise _taken(uid, "keyed state")
        operator.keyed = KeyedBootstrap(data, key_selector, as_type(key_type), function)
        return self

    def with_list_state(
        self, uid: str, descriptor: ListStateDescriptor[Any], items: Iterable[Any]
    ) -> SavepointWriter:
        """Have an operator hold operator list state, whose items a job shares out among the subtasks.

        Raises:
            StateError: the operator is in the existing savepoint, or an item is None.
        """
        self._operator(uid).store.get_list_state(descriptor).add_all(items)
        return self

    def with_union_list_state(
        self, uid: str, descriptor: ListStateDescriptor[Any], items: Iterable[Any]
    ) -> SavepointWriter:
        """Have an operator hold union list state, which every subtask gets in full. Raises as `with_list_state`."""
        self._operator(uid).store.get_union_list_state(descriptor).add_all(items)
        return self

    def with_broadcast_state(
        self, uid: str, descriptor: MapStateDescriptor[Any, Any], entries: Mapping[Any, Any]
    ) -> SavepointWriter:
        """Have an operator hold broadcast state. Raises as `with_list_state`."""
        self._operator(uid).store.get_broadcast_state(descriptor).put_all(entries)
        return self

    def remove_operator(self, uid: str) -> SavepointWriter:
        """Leave an operator out, with all its state.

        Raises:
            StateError: there is none of this uid or id.
        """
        if self._new.pop(uid, None) is None:
            self._kept.remove(self._find(uid))
        return self

    def change_uid(self, old: str, new: str) -> SavepointWriter:
        """Give the state of an operator of the existing savepoint to the operator of another uid.

        Raises:
            StateError: there is no operator of the uid or id `old`, or there is one of the uid `new`.
        """
        found = self._find(old)
        self._require_free(new)
        changed = msgspec.structs.replace(found, uid=new, operator_id=operator_id_of_uid(new))
        self._kept[self._kept.index(found)] = changed
        self._renamed[changed.operator_id] = self._renamed.pop(found.operator_id, found.operator_id)
        return self

    def write(self, path: str) -> str:
        """Write the savepoint: complete and durable on return, with everything in its own folder.

        Keyed state is made while this runs, memory bounded. Files of the existing savepoint are copied, checksums verified.

        Args:
            path: of the folder that it becomes: a path or an fsspec URL. There must be nothing in it.

        Returns:
            The full path or URL, for `--from` and `execution.savepoint.path`.

        Raises:
            CheckpointError: STORAGE, the folder cannot be written, or there is something in it; CORRUPT, a file of the existing one
                is missing or altered; INCOMPATIBLE, its state lies in a database.
            InvalidKeyError, RecordSerializationError: data does not fit the declared types.
        """
        folder = SavepointFolder(open_files(path).url())
        if folder.is_taken():
            raise CheckpointError(
                CheckpointFailureReason.STORAGE,
                "a savepoint is to be written where there is something already",
                where=folder.url,
                fix="name another folder; nothing is ever written over",
            )
        try:
            metadata = self._written(folder.streams(attempt=1))
            folder.write_metadata(encode_metadata(metadata))
        except BaseException:
            folder.delete()
            raise
        return folder.url

    def _written(self, streams: CheckpointStreams) -> Metadata:
        states = self._copied(streams)
        descriptions = list(self._kept)
        for uid, operator in self._new.items():
            operator_id = operator_id_of_uid(uid)
            keyed = operator.keyed
            handles = () if keyed is None else (keyed.write(uid, self._max_parallelism, streams),)
            states[operator_id] = (OperatorSnapshot(handles, operator.store.snapshot()),)
            descriptions.append(OperatorDescription(operator_id, uid, uid, 1, self._max_parallelism))
        native = any(handle.format == rocksdb_snapshot.FORMAT for handle in _handles(states))
        return msgspec.structs.replace(
            self._origin(),
            operators=tuple(descriptions),
            states=states,
            savepoint=SavepointFormatType.NATIVE if native else SavepointFormatType.CANONICAL,
        )

    def _origin(self) -> Metadata:
        """Whose savepoint it is. What an existing one has to commit is known by the job, attempt and checkpoint that wrote it."""
        if self._existing is None:
            now_ms = SystemClock().now_ms()
            return Metadata(secrets.token_hex(16), "bootstrap", 1, now_ms, 1, (), {}, {})
        metadata = self._existing.metadata
        enumerators = {
            description.operator_id: metadata.enumerators[source]
            for description in self._kept
            if (source := self._origin_of(description)) in metadata.enumerators
        }
        return msgspec.structs.replace(metadata, enumerators=enumerators)

    def _copied(self, streams: CheckpointStreams) -> dict[str, tuple[OperatorSnapshot, ...]]:
        """The states of the operators that are kept, their files copied."""
        if self._existing is None:
            return {}
        metadata, reader = self._existing.metadata, self._existing.storage().reader()
        with tempfile.TemporaryDirectory(prefix="millstream-savepoint-") as folder:
            ids = {self._origin_of(kept): kept.operator_id for kept in self._kept}
            copy = _Copy(reader, streams, Path(folder) / "file", ids)
            return {
                description.operator_id: tuple(map(copy.snapshot, metadata.states[origin]))
                for description in self._kept
                if (origin := self._origin_of(description)) in metadata.states
            }

    def _origin_of(self, description: OperatorDescription) -> str:
        return self._renamed.get(description.operator_id, description.operator_id)

    def _operator(self, uid: str) -> _NewOperator:
        if uid not in self._new:
            self._require_free(uid)
            self._new[uid] = _NewOperator()
        return self._new[uid]

    def _require_free(self, uid: str) -> None:
        if uid in self._new or any(kept.operator_id == operator_id_of_uid(uid) for kept in self._kept):
            raise _taken(uid, "state")

    def _find(self, uid: str) -> OperatorDescription:
        for description in self._kept:
            if uid in {description.uid, description.operator_id}:
                return description
        known = ", ".join(str(description) for description in self._kept) or "none"
        raise StateError(f"the savepoint has no operator of the uid or id '{uid}'", fix=f"there are: {known}")


@dataclass(frozen=True, slots=True)
class _Copy:
    """Copies files into a savepoint, by way of a local one: checked when read, checked again when they are restored."""

    reader: CheckpointReader
    streams: CheckpointStreams
    local: Path
    ids: Mapping[str, str]
    """Ids of operators now, by those of then: records under way are known by the operators they are between."""

    def snapshot(self, snapshot: OperatorSnapshot) -> OperatorSnapshot:
        """The same, with copies of its files."""
        keyed = tuple(map(self._handle, snapshot.keyed))
        channels = tuple(map(self._channel, snapshot.channels))
        return msgspec.structs.replace(snapshot, keyed=keyed, channels=channels)

    def _channel(self, channel: ChannelStateHandle) -> ChannelStateHandle:
        source, target = (self.ids.get(end, end) for end in (channel.edge.source, channel.edge.target))
        edge = msgspec.structs.replace(channel.edge, source=source, target=target)
        return msgspec.structs.replace(channel, edge=edge, file=self._file(channel.file))

    def _handle(self, handle: KeyedStateHandle) -> KeyedStateHandle:
        if handle.external is not None:
            raise CheckpointError(
                CheckpointFailureReason.INCOMPATIBLE,
                f"keyed state of the format '{handle.format}' lies in a database and cannot be copied",
                fix="take a canonical savepoint of the job and start from that",
            )
        return msgspec.structs.replace(
            handle, files={name: self._file(file) for name, file in handle.files.items()}
        )

    def _file(self, ref: FileRef) -> FileRef:
        self.reader.download(ref, self.local)
        name = ref.path.rpartition("/")[2]
        with self.local.open("rb") as file:
            return self.streams.write_exclusive(name, read_chunks(file))


def _handles(states: Mapping[str, tuple[OperatorSnapshot, ...]]) -> Iterable[KeyedStateHandle]:
    return (handle for snapshots in states.values() for snapshot in snapshots for handle in snapshot.keyed)


def _taken(uid: str, what: str) -> StateError:
    return StateError(
        f"the operator '{uid}' has {what} already", fix="remove_operator(uid) first, or give another uid"
    )
