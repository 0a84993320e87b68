"""Operator state of one operator: lists, union lists, broadcast maps, positions of sources, and what operators keep for themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgpack  # type: ignore[import-untyped,unused-ignore]
import msgspec

from ..core.types import GENERIC, MapTypeInfo
from ..core.types.offline import OfflineClasses, without_program
from ..operators.operator_state import BROADCAST, LIST, UNION_LIST
from ..state.offline import TableSize
from ..state.type_names import TypeReader
from .entries import OperatorStateItem
from .frames import Columnar

_KINDS: Final = {LIST: "operator-list", UNION_LIST: "operator-union-list", BROADCAST: "broadcast"}
SPLITS: Final = "splits"
ENUMERATOR: Final = "enumerator"


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
        parts: Sequence[tuple[int | None, Sequence[bytes]]],
        value_type: str,
        types: TypeReader,
    ) -> None:
        prefix = next((prefix for prefix in _KINDS if full_name.startswith(prefix)), "")
        self.full_name: Final = full_name
        self.name: Final = full_name.removeprefix(prefix)
        self.kind: Final = _KINDS.get(prefix) or (
            full_name if full_name in {SPLITS, ENUMERATOR} else "internal"
        )
        self.value_type: Final = value_type
        self._parts = parts
        self._types = types
        self._classes = OfflineClasses(types.classes)

    def size(self) -> TableSize:
        """Items, of broadcast state the entries of all copies, and encoded bytes."""
        size_bytes = sum(len(item) for _, items in self._parts for item in items)
        if self.kind == "broadcast":
            return TableSize(sum(1 for _ in self.items()), size_bytes)
        return TableSize(sum(len(items) for _, items in self._parts), size_bytes)

    def items(self) -> Iterator[OperatorStateItem]:
        """Every item, by subtask. Of broadcast state each subtask holds a copy.

        What connectors and operators encode on their own comes as the plain data it is made of (a version first), or as bytes.
        """
        for subtask, encoded in self._parts:
            for item in encoded:
                with without_program(self._classes):
                    decoded = self._decode(item)
                for map_key, value in decoded:
                    yield OperatorStateItem(subtask, map_key, value)

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

    def _decode(self, item: bytes) -> list[tuple[Any, Any]]:
        match self.kind:
            case "broadcast":
                map_type = self._types.read(self.value_type) if self.value_type else None
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
                element = self._types.read(self.value_type) if self.value_type else GENERIC
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
