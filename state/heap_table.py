"""Tables of the heap backend: dicts in layers, so that a snapshot freezes a table by moving one pointer.

Below `_live`, which holds what was touched since the last snapshot, lie the layers that snapshots have frozen, each map of one standing
before its map below. While a snapshot is pending nothing changes them. After `release` they are merged step by step, the upper
into the lower: the work follows what was touched, not what there is. A snapshot that comes before the merging has ended puts one layer
more on top, so it waits for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeVar, cast

from ..core.types import copy_value
from .backend import StateMap, TableDescriptor
from .handles import TableInfo

K = TypeVar("K")
V = TypeVar("V")

WHOLE_MAP_ENTRIES: Final = 4096
"""A map with at most this many touched entries is merged in one call of `dict.update`."""


_MOST_LAYERS: Final = 6
"""Below the live one. Each read of an entry that was not touched lately goes through all of them."""

_WALK_KEYS: Final = 64
"""How many steps of a walk may look at a layer that has been superseded meanwhile."""


class HeapStateMap(StateMap[K, V]):
    """One namespace: the dict is what was touched lately, `_base` the map below, which is never changed while shared.

    INVARIANT H1: keys in `_removed` are keys of the maps below; they count as deleted unless the dict has them again.
    Kept by: tests/state/backend_suite.py (the model machine).
    """

    __slots__ = ("_base", "_removed", "_table", "namespace")

    def __init__(self, table: HeapTable, namespace: Any, base: HeapStateMap[K, V] | None) -> None:
        self._table = table
        self._base = base
        self._removed: set[K] = set() if base is not None else _NOTHING
        self.namespace = namespace

    def __missing__(self, key: K) -> V | None:
        value = self._below(key)
        if value is None:
            return None
        if self._table.copies:
            value = cast("V", copy_value(value))  # copy_value keeps the type
        self[key] = value
        return value

    def peek(self, key: K) -> V | None:
        value = dict.get(self, key)
        return self._below(key) if value is None else value

    def remove(self, key: K) -> None:
        dict.pop(self, key, None)
        if self._base is None:
            if not self:
                self._table.maybe_empty[self.namespace] = None
        elif self._below(key) is not None:
            self._removed.add(key)

    def entries(self) -> Iterator[tuple[K, V]]:
        yield from self.items()
        if self._base is not None:
            removed = self._removed
            for key, value in self._base.entries():
                if not dict.__contains__(self, key) and key not in removed:
                    yield key, value

    def is_empty(self) -> bool:
        return not self and (self._base is None or next(self.entries(), None) is None)

    def all_keys(self) -> list[K]:
        """The keys as of now."""
        return list(self) if self._base is None else [key for key, _ in self.entries()]

    def size(self) -> int:
        """Entries held in this layer."""
        return dict.__len__(self)

    def flat(self) -> dict[K, V]:
        """All entries as one dict: the map itself where it stands before no other."""
        return self if self._base is None else dict(self.entries())

    def stands_before(self, other: HeapStateMap[K, V] | None) -> bool:
        """Whether `other` is the map below."""
        return self._base is not None and self._base is other

    def merge_down(self, budget: int) -> bool:
        """Move up to about `budget` entries into the map below, which nobody else reads any more; True when done."""
        base = self._base
        assert base is not None, "there is a map below"
        removed = self._removed
        while removed and budget > 0:
            base.remove(removed.pop())
            budget -= 1
        if removed:
            return False
        if len(self) <= max(budget, WHOLE_MAP_ENTRIES):
            base.update(self)
            return True
        for _ in range(budget):
            key, value = self.popitem()
            base[key] = value
        return False

    def _below(self, key: K) -> V | None:
        """The value in the layers below."""
        found: HeapStateMap[K, V] = self
        while found._base is not None:
            if key in found._removed:
                return None
            found = found._base
            value = dict.get(found, key)
            if value is not None:
                return value
        return None


_NOTHING: Final[set[Any]] = set()  # never added to: a map without a base has nothing to hide


class Layer(NamedTuple):
    """What a table held in one layer, by namespace, and the namespaces of the layers below that were dropped since."""

    maps: dict[Any, HeapStateMap[Any, Any]]
    dropped: set[Any]


def visible(layers: Sequence[Layer], namespace: Any) -> HeapStateMap[Any, Any] | None:
    """The map of a namespace in the uppermost layer that knows of it; the lowest layer is the first."""
    for layer in reversed(layers):
        found: HeapStateMap[Any, Any] | None = layer.maps.get(namespace)
        if found is not None or namespace in layer.dropped:
            return found
    return None


def visible_maps(layers: Sequence[Layer]) -> Iterator[tuple[Any, HeapStateMap[Any, Any]]]:
    """All namespaces that are not dropped, and their maps."""
    for namespace in dict.fromkeys(namespace for layer in layers for namespace in layer.maps):
        found = visible(layers, namespace)
        if found is not None:
            yield namespace, found


class HeapTable:
    """A `StateTable` in memory.

    Args:
        descriptor: as declared.
        info: how it is numbered and described in snapshots.
        entries: what was restored: runs of (namespace, keys, values).
    """

    def __init__(
        self,
        descriptor: TableDescriptor,
        info: TableInfo,
        entries: Iterable[tuple[Any, list[Any], list[Any]]] = (),
    ) -> None:
        self._descriptor = descriptor
        self.info: Final = info
        self.copies: Final = descriptor.mutable_values and not descriptor.value_type.immutable
        self.maybe_empty: Final[dict[Any, None]] = {}
        self._live: dict[Any, HeapStateMap[Any, Any]] = {}
        self._dropped: set[Any] = set()
        self._layers: list[Layer] = []  # below, the lowest first
        self._shared = False
        for namespace, keys, values in entries:
            self.namespace(namespace).update(zip(keys, values, strict=True))

    @property
    def descriptor(self) -> TableDescriptor:
        return self._descriptor

    def namespace(self, namespace: Any) -> StateMap[Any, Any]:
        found = self._live.get(namespace)
        return found if found is not None else self._open(namespace)

    def namespaces(self) -> Iterable[Any]:
        if not self._layers:
            return list(self._live)
        below = (namespace for namespace, _ in visible_maps(self._layers))
        return [*self._live, *(n for n in below if n not in self._live and n not in self._dropped)]

    def drop(self, namespace: Any) -> None:
        self._live.pop(namespace, None)
        if not self._layers:
            return
        if not self._shared:
            self._drop_from_top(namespace)
        elif visible(self._layers, namespace) is not None:
            self._dropped.add(namespace)

    def walk(self) -> Iterator[tuple[Any, Any, Any]]:
        for namespace in self.namespaces():
            found = self._find(namespace)
            # All keys at once: a dict that changes cannot be gone through, and copying references is cheap.
            keys = [] if found is None else found.all_keys()
            for start in range(0, len(keys), _WALK_KEYS):
                found = self._find(namespace)  # layers may have moved
                if found is None:
                    break
                peek = found.peek
                for key in keys[start : start + _WALK_KEYS]:
                    value = peek(key)
                    if value is not None:
                        yield namespace, key, value

    def freeze(self) -> tuple[Layer, ...]:
        """What is there now, unchanged until `thaw`.

        Costs nothing however much there is, and however much is left to merge; but for a job that has no time to merge
        between any two of many snapshots, where what was touched would be held over and over.
        """
        assert not self._shared, "one snapshot at a time"
        if len(self._layers) >= _MOST_LAYERS:
            while not self.merge(1 << 60):
                pass
        if self._live or self._dropped:
            self._layers.append(Layer(self._live, self._dropped))
            self._live, self._dropped = {}, set()
        self._shared = True
        return tuple(self._layers)

    def thaw(self) -> None:
        """The frozen layers are this table's alone again; merging may begin."""
        self._shared = False

    def merge(self, budget: int) -> bool:
        """Bring up to about `budget` touched entries one layer down; True when there is one layer only."""
        if not self._layers:
            return True
        if self._shared:
            return False
        while self._dropped and budget > 0:
            self._drop_from_top(next(iter(self._dropped)))
            budget -= 1
        top = self._layers[-1]
        while self._live and budget > 0:
            namespace, touched = self._live.popitem()
            budget -= 1 + touched.size()
            below = top.maps.get(namespace)
            if not touched.stands_before(below):
                if touched.is_empty():
                    self._drop_from_top(namespace)
                else:
                    top.maps[namespace] = touched
            elif not touched.merge_down(max(budget, WHOLE_MAP_ENTRIES)):
                self._live[namespace] = touched
            elif below is not None and below.is_empty():
                self._drop_from_top(namespace)
        if not (self._live or self._dropped):
            self._live, self._dropped = self._layers.pop()
        return not self._layers

    def forget_empty(self) -> None:
        """Let go of maps that have no entries: with a namespace for each key they would add up."""
        if self._layers:
            return
        for namespace in self.maybe_empty:
            found = self._live.get(namespace)
            if found is not None and not found:
                del self._live[namespace]
        self.maybe_empty.clear()

    def entries_in_memory(self) -> int:
        """Entries over all maps and layers; one that is in two layers counts twice."""
        layers = [self._live, *(layer.maps for layer in self._layers)]
        return sum(found.size() for layer in layers for found in layer.values())

    def _find(self, namespace: Any) -> HeapStateMap[Any, Any] | None:
        """The map of a namespace for reading; makes none."""
        found = self._live.get(namespace)
        if found is None and namespace not in self._dropped:
            found = visible(self._layers, namespace)
        return found

    def _open(self, namespace: Any) -> HeapStateMap[Any, Any]:
        if self._layers and not self._shared:
            return self._open_in_top(namespace)
        below = None if namespace in self._dropped else visible(self._layers, namespace)
        made = self._live[namespace] = HeapStateMap(self, namespace, below)
        if not self._layers:
            self.maybe_empty[namespace] = None
        return made

    def _open_in_top(self, namespace: Any) -> HeapStateMap[Any, Any]:
        """Nobody reads the layers below but we: use the upper one as it is, so that only the maps touched before are left to merge."""
        if namespace in self._dropped:
            self._drop_from_top(namespace)
        top = self._layers[-1]
        found = top.maps.get(namespace)
        if found is None:
            below = None if namespace in top.dropped else visible(self._layers[:-1], namespace)
            found = top.maps[namespace] = HeapStateMap(self, namespace, below)
            if below is None:
                self.maybe_empty[namespace] = None
        return found

    def _drop_from_top(self, namespace: Any) -> None:
        """Do in the uppermost layer below what was done to a namespace above it; nobody else reads it any more."""
        self._dropped.discard(namespace)
        top = self._layers[-1]
        top.maps.pop(namespace, None)
        if visible(self._layers[:-1], namespace) is not None:
            top.dropped.add(namespace)
