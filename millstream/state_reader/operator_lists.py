"""Operator state of one operator: lists, union lists, broadcast maps, positions of sources, and what operators keep for themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgpack  # type: ignore[import-untyped,unused-ignore]
import msgspec

from ..core.types import GENERIC, MapTypeInfo, TypeSchema
from ..core.types.offline import OfflineClasses, without_program
from ..operators.list_schemas import SCHEMAS
from ..operators.operator_state import BROADCAST, KEYS_PART, LIST, UNION_LIST
from ..state.handles import OperatorSnapshot
from ..state.offline import TableSize
from ..state.type_names import TypeReader
from .entries import OperatorStateItem
from .frames import Columnar

_KINDS: Final = {LIST: "operator-list", UNION_LIST: "operator-union-list", BROADCAST: "broadcast"}
SPLITS: Final = "splits"
ENUMERATOR: Final = "enumerator"


class ListPart(NamedTuple):
    """What one subtask held of a list; `value_type` as it said itself, empty where it said nothing."""

    subtask: int | None
    items: Sequence[bytes]
    value_type: str


def operator_states(
    snapshots: Sequence[OperatorSnapshot], enumerator: bytes | None, types: TypeReader
) -> Iterator[OperatorState]:
    """The states in the snapshots of an operator's subtasks, and of its split enumerator."""
    names = dict.fromkeys(name for snapshot in snapshots for name in snapshot.lists)
    for name in names:
        if not name.startswith(SCHEMAS):
            parts = (
                ListPart(index, snapshot.lists.get(name, ()), _type_name(snapshot, name))
                for index, snapshot in enumerate(snapshots)
            )
            yield OperatorState(name, tuple(parts), types)
    if enumerator is not None:
        yield OperatorState(ENUMERATOR, (ListPart(None, (enumerator,), ""),), types)


def _type_name(snapshot: OperatorSnapshot, name: str) -> str:
    """The type that the items of a list were written with, as their schema says; of broadcast state the map's."""
    values = _schema_name(snapshot, name)
    if not values or not name.startswith(BROADCAST):
        return values
    return f"MAP({_schema_name(snapshot, name + KEYS_PART)}, {values})"


def _schema_name(snapshot: OperatorSnapshot, name: str) -> str:
    items = snapshot.lists.get(SCHEMAS + name, ())
    return str(msgspec.msgpack.decode(items[-1], type=TypeSchema)) if items else ""


class OperatorState(Columnar):
    """One operator state over all subtasks.

    Attributes:
        name: as declared by the program; of an operator's own lists the operator's name for it.
        kind: `operator-list`, `operator-union-list`, `broadcast`; `splits` (positions of a source's readers), `enumerator` (what
            a source has not handed out yet), `internal` (an operator's own).
        value_type: type of the elements, of broadcast state of the map; empty where the checkpoint does not say.
    """

    def __init__(
        self,
        full_name: str,
        parts: Sequence[ListPart],
        types: TypeReader,
    ) -> None:
        prefix = next((prefix for prefix in _KINDS if full_name.startswith(prefix)), "")
        self.full_name: Final = full_name
        self.name: Final = full_name.removeprefix(prefix)
        self.kind: Final = _KINDS.get(prefix) or (
            full_name if full_name in {SPLITS, ENUMERATOR} else "internal"
        )
        self.value_type: Final = next((part.value_type for part in parts if part.value_type), "")
        self._parts = parts
        self._types = types
        self._classes = OfflineClasses(types.classes)

    def size(self) -> TableSize:
        """Items, of broadcast state the entries of all copies, and encoded bytes."""
        size_bytes = sum(len(item) for part in self._parts for item in part.items)
        if self.kind == "broadcast":
            return TableSize(sum(1 for _ in self.items()), size_bytes)
        return TableSize(sum(len(part.items) for part in self._parts), size_bytes)

    def items(self) -> Iterator[OperatorStateItem]:
        """Every item, by subtask. Of broadcast state each subtask holds a copy.

        What connectors and operators encode on their own comes as the plain data it is made of (a version first), or as bytes.
        """
        for part in self._parts:
            for item in part.items:
                with without_program(self._classes):
                    decoded = self._decode(item, part.value_type)
                for map_key, value in decoded:
                    yield OperatorStateItem(part.subtask, map_key, value)

    @property
    def columns(self) -> dict[str, str]:
        """Columns of `rows` and their types."""
        if self.kind != "broadcast":
            return {"subtask": "LONG", "value": self.value_type}
        declared = self._types.read(self.value_type) if self.value_type else None
        if not isinstance(declared, MapTypeInfo):
            return {"subtask": "LONG", "map_key": "", "value": ""}
        return {"subtask": "LONG", "map_key": declared.key.name, "value": declared.value.name}

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every item by column."""
        names = tuple(self.columns)
        return ({name: getattr(item, name) for name in names} for item in self.items())

    def _type_reader(self) -> TypeReader:
        return self._types

    def _decode(self, item: bytes, type_name: str) -> list[tuple[Any, Any]]:
        match self.kind:
            case "broadcast":
                map_type = self._types.read(type_name) if type_name else None
                keys, values = msgspec.msgpack.decode(item, type=tuple[bytes, bytes])
                key_type, value_type = getattr(map_type, "key", GENERIC), getattr(map_type, "value", GENERIC)
                return list(
                    zip(
                        key_type.serializer().loads_batch(keys),
                        value_type.serializer().loads_batch(values),
                        strict=True,
                    )
                )
            case "operator-list" | "operator-union-list":
                element = self._types.read(type_name) if type_name else GENERIC
                return [(None, element.serializer().loads(item))]
            case _:
                return [(None, _plain(item))]

    def __repr__(self) -> str:
        return f"OperatorState({self.name!r}, {self.kind})"


def _plain(data: bytes) -> Any:
    """Msgpack as plain data, also where it holds more of it as bytes in lists; anything else as it is."""
    try:
        decoded = msgpack.unpackb(data, strict_map_key=False)
    except (ValueError, msgpack.UnpackException):
        return data
    return _inside(decoded) if isinstance(decoded, list | dict) else data


def _inside(decoded: Any) -> Any:
    match decoded:
        case list():
            return [_inside(item) for item in decoded]
        case dict():
            return {key: _inside(value) for key, value in decoded.items()}
        case bytes():
            return _plain(decoded)
    return decoded
