"""Writes that are not in an outside store yet, in layers, each of which is written as a whole. Pure.

The newest layer takes writes; `freeze` puts a new one above it, and what is frozen stays readable until `drop_layers` says that it is
written. An entry is (key group and table, namespace, key), as `entry_keys` lays them out.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import Final, NamedTuple

from .entry_keys import PREFIX_BYTES, namespace_slice, split_prefix
from .table_registry import RESERVED_TABLE

_TABLE_ID_BYTES: Final = 2


class Place(NamedTuple):
    """A namespace of a table in a key group: its two parts of an entry's key."""

    prefix: bytes
    part: bytes


def split_key(db_key: bytes) -> tuple[Place, bytes]:
    """Where an entry belongs, and its key there. Blocks of canonical savepoints (`canonical`) have their table for a namespace."""
    if split_prefix(db_key)[1] == RESERVED_TABLE:
        part = db_key[PREFIX_BYTES : PREFIX_BYTES + _TABLE_ID_BYTES]
    else:
        part = namespace_slice(db_key)
    return Place(db_key[:PREFIX_BYTES], part), db_key[PREFIX_BYTES + len(part) :]


class Delta:
    """What happened to a namespace: first it was dropped, or not, then entries were set (or deleted, where None)."""

    __slots__ = ("dropped", "entries")

    def __init__(self) -> None:
        self.dropped = False
        self.entries: dict[bytes, bytes | None] = {}

    def add(self, later: Delta) -> None:
        """As if `later` had happened to this one."""
        if later.dropped:
            self.dropped = True
            self.entries.clear()
        self.entries.update(later.entries)


class Layer:
    """Changes by key group and table, then by namespace."""

    def __init__(self) -> None:
        self.deltas: Final[dict[bytes, dict[bytes, Delta]]] = {}
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self.deltas)

    def delta(self, place: Place) -> Delta | None:
        """The changes of a namespace, None when there are none."""
        deltas = self.deltas.get(place.prefix)
        return None if deltas is None else deltas.get(place.part)

    def set(self, place: Place, key: bytes, value: bytes | None) -> None:
        """An entry is written, or deleted (None)."""
        entries = self._made(place).entries
        before = len(entries)
        entries[key] = value
        self.size += len(entries) - before

    def drop(self, place: Place) -> None:
        """All entries of a namespace are deleted."""
        delta = self._made(place)
        self.size += (not delta.dropped) - len(delta.entries)
        delta.dropped = True
        delta.entries.clear()

    def changes(self) -> Iterator[tuple[Place, Delta]]:
        """Everything in it."""
        for prefix, deltas in self.deltas.items():
            for part, delta in deltas.items():
                yield Place(prefix, part), delta

    def within(self, groups: Container[int]) -> Layer:
        """The changes of these key groups alone; shares them."""
        result = Layer()
        result.deltas.update(
            (prefix, deltas) for prefix, deltas in self.deltas.items() if split_prefix(prefix)[0] in groups
        )
        result.size = sum(delta.dropped + len(delta.entries) for _, delta in result.changes())
        return result

    def _made(self, place: Place) -> Delta:
        deltas = self.deltas.setdefault(place.prefix, {})
        delta = deltas.get(place.part)
        if delta is None:
            delta = deltas[place.part] = Delta()
        return delta


def merged(layers: Iterable[Layer]) -> Layer:
    """One layer with the effect of all of them, oldest first; shares nothing with them."""
    result = Layer()
    for layer in layers:
        for place, delta in layer.changes():
            made = result._made(place)
            made.add(delta)
    result.size = sum(delta.dropped + len(delta.entries) for _, delta in result.changes())
    return result


class Overlay:
    """The layers, oldest first; the last one takes writes.

    Args:
        frozen: layers to begin with.

    INVARIANT O1: reading through the overlay gives what reading the store would give had all layers been written.
    Kept by: tests/state/test_overlay.py
    """

    def __init__(self, frozen: Iterable[Layer] = ()) -> None:
        self._layers: list[Layer] = [*frozen, Layer()]

    @property
    def top(self) -> Layer:
        """The layer that takes writes."""
        return self._layers[-1]

    @property
    def frozen(self) -> tuple[Layer, ...]:
        """Those below it."""
        return tuple(self._layers[:-1])

    @property
    def size(self) -> int:
        """Changes held in memory."""
        return sum(layer.size for layer in self._layers)

    def freeze(self) -> tuple[Layer, ...]:
        """From now on writes go to a new layer; all the layers below it, which never change again."""
        if self.top:
            self._layers.append(Layer())
        return self.frozen

    def drop_layers(self, written: Iterable[Layer]) -> None:
        """These are in the store now. They are the oldest."""
        gone = set(map(id, written))
        assert id(self.top) not in gone, "the layer that takes writes was not frozen"
        self._layers = [layer for layer in self._layers if id(layer) not in gone]

    def find(self, place: Place, key: bytes) -> tuple[bool, bytes | None]:
        """Whether it is known here what the entry is, and its value (None: deleted)."""
        for layer in reversed(self._layers):
            delta = layer.delta(place)
            if delta is not None:
                if key in delta.entries:
                    return True, delta.entries[key]
                if delta.dropped:
                    return True, None
        return False, None

    def changes(self, place: Place) -> Delta:
        """All that happened to a namespace, in one; a copy."""
        result = Delta()
        for layer in self._layers:
            delta = layer.delta(place)
            if delta is not None:
                result.add(delta)
        return result

    def parts(self, prefix: bytes) -> set[bytes]:
        """The namespaces of a table in a key group that something happened to."""
        return {part for layer in self._layers for part in layer.deltas.get(prefix, ())}
