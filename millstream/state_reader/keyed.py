"""Keyed state of one operator, over the handles of all its subtasks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ..core.errors import StateError
from ..core.types import TypeInformation
from ..core.types.offline import OfflineClasses
from ..state.backend import CheckpointReader
from ..state.expiry import is_timed
from ..state.handles import KeyedStateHandle, TableInfo
from ..state.offline import HandleFiles, OfflineTable, TableSize, lay_out
from ..state.type_names import TypeReader
from .entries import StateEntry, entry_reader, kind_of, shown_type
from .frames import Columnar


class LaidOutHandles:
    """The handles of an operator, each brought into a local folder when it is first read, and kept there.

    Args:
        handles: of all subtasks.
        reader: of the checkpoint's files.
        folder: an own one, made when needed.
    """

    def __init__(self, handles: tuple[KeyedStateHandle, ...], reader: CheckpointReader, folder: Path) -> None:
        self.handles: Final = handles
        self._reader = reader
        self._folder = folder
        self._opened: dict[int, HandleFiles] = {}

    def files(self, index: int) -> HandleFiles:
        """The files of a handle. Raises as `lay_out`."""
        found = self._opened.get(index)
        if found is None:
            found = lay_out(self.handles[index], self._reader, self._folder / str(index))
            self._opened[index] = found
        return found

    def infos(self) -> dict[str, TableInfo]:
        """The tables of all handles by name, as the last that was written says: earlier ones of a name hold older types."""
        return {info.name: info for handle in self.handles for info in handle.tables}

    def tables(self, index: int, name: str) -> list[TableInfo]:
        """A handle's tables of a name: none, one, or several where values were written with other types."""
        return [info for info in self.handles[index].tables if info.name == name]

    def sizes(self) -> dict[str, TableSize]:
        """How much each table holds over all handles: reads all files, decodes nothing."""
        totals: dict[str, TableSize] = {name: TableSize() for name in self.infos()}
        for index, handle in enumerate(self.handles):
            by_number = self.files(index).sizes()
            for info in handle.tables:
                size = by_number.get(info.table_id, TableSize())
                totals[info.name] = totals[info.name].plus(size.entries, size.size_bytes)
        return totals

    def close(self) -> None:
        """Let go of open files."""
        for files in self._opened.values():
            files.close()
        self._opened.clear()


class KeyedState(Columnar):
    """One state of one operator. Nothing is read before it is asked for, and never all at once.

    Attributes:
        name: as declared by the program; of an operator's own tables the operator's name for it.
        kind: `value`, `list`, `map`, `reducing`, `aggregating`, `timers`, `window`, `join-buffer`.
        ttl_ms: how long entries live after their last access; 0 where they do not expire, or the checkpoint does not say.
    """

    def __init__(
        self,
        info: TableInfo,
        handles: LaidOutHandles,
        types: TypeReader,
        operator: str,
        max_parallelism: int,
    ) -> None:
        self.name: Final = info.name
        self.kind: Final = kind_of(info)
        self.ttl_ms: Final = info.ttl_ms
        self._info = info
        self._handles = handles
        self._types = types
        self._classes = OfflineClasses(types.classes)
        self._operator = operator
        self._max_parallelism = max_parallelism

    @property
    def key_type(self) -> str:
        """Type of the stream's keys."""
        return self._info.key_type if self._info.routed_by == "key" else self._info.namespace_type

    @property
    def namespace_type(self) -> str:
        """Type of windows and times; empty where state belongs to the key alone."""
        return self._info.namespace_type if self._info.routed_by == "key" else ""

    @property
    def map_key_type(self) -> str:
        """Type of the keys of map state; empty otherwise."""
        return "" if self._info.routed_by == "key" else self._info.key_type

    @property
    def value_type(self) -> str:
        """Type of the values, as they are read: without times of access."""
        return shown_type(self._info)

    @property
    def max_parallelism(self) -> int:
        """Number of key groups."""
        return self._max_parallelism

    def size(self) -> TableSize:
        """Entries and encoded bytes: reads all files of the operator, decodes nothing."""
        return self._handles.sizes()[self.name]

    def entries(self, first_key_group: int = 0, last_key_group: int | None = None) -> Iterator[StateEntry]:
        """Every entry whose key group lies between these, both inclusive, in the order of subtasks; expired ones too.

        Raises:
            CheckpointError: CORRUPT, a file is missing or altered; INCOMPATIBLE, its format is unknown.
            StateError: a type in the checkpoint is of no known form.
        """
        last = self._max_parallelism - 1 if last_key_group is None else last_key_group
        for index, handle in enumerate(self._handles.handles):
            if handle.key_groups[1] < first_key_group or last < handle.key_groups[0]:
                continue
            for info in self._handles.tables(index, self.name):
                stored = self._handles.files(index).entries(self._table(info), first_key_group, last)
                yield from map(entry_reader(info), stored)

    def get(self, key: object) -> list[StateEntry]:
        """The entries of one key: none, one, or of maps and windows several. Reads the key's group alone.

        Raises:
            InvalidKeyError: the key is not of the declared type.
            CheckpointError, StateError: as `entries`.
        """
        found: list[StateEntry] = []
        group = self._table(self._info).group_of(key)
        for index, handle in enumerate(self._handles.handles):
            if not handle.key_groups[0] <= group <= handle.key_groups[1]:
                continue
            for info in self._handles.tables(index, self.name):
                stored = self._handles.files(index).entries_of_key(self._table(info), key)
                found += map(entry_reader(info), stored)
        return found

    def value(self, key: object) -> object:
        """What a handle of the program would read for this key: the value, None when unset; of a map a dict.

        Raises:
            StateError: there is more than one window; read them with `get`. Otherwise as `get`.
        """
        found = self.get(key)
        if self._info.routed_by == "namespace":
            return {entry.map_key: entry.value for entry in found} or None
        if len(found) > 1:
            raise StateError(
                f"key {key!r} has {len(found)} windows or times in state '{self.name}'",
                where=self._operator,
                fix="read all of them with get(key)",
            )
        return found[0].value if found else None

    def declared_key_type(self) -> TypeInformation[Any]:
        """Type of the stream's keys, as a type.

        Raises:
            StateError: it is of no known form.
        """
        return self._types.read(self.key_type)

    @property
    def columns(self) -> dict[str, str]:
        """Columns of `rows` and their types; only those that the state has anything for."""
        found = {"key": self.key_type}
        if self.namespace_type:
            found["namespace"] = self.namespace_type
        if self.map_key_type:
            found["map_key"] = self.map_key_type
        found["value"] = self.value_type
        if is_timed(self._info.value_type):
            found["last_access_ms"] = found["expires_ms"] = "LONG"
        return found

    def row(self, entry: StateEntry) -> dict[str, Any]:
        """An entry by column."""
        return {name: getattr(entry, name) for name in self.columns}

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every entry by column. Raises as `entries`."""
        names = tuple(self.columns)
        return ({name: getattr(entry, name) for name in names} for entry in self.entries())

    def _type_reader(self) -> TypeReader:
        return self._types

    def _table(self, info: TableInfo) -> OfflineTable:
        return OfflineTable(info, self._types, self._classes, self._operator, self._max_parallelism)

    def __repr__(self) -> str:
        return f"KeyedState({self.name!r}, {self.kind}, {self.key_type} -> {self.value_type})"
