"""Tables of the heap backend: dicts in layers, so that a snapshot freezes a table by moving one pointer.

While a snapshot is pending, `_frozen` holds everything as it was and `_live` what was touched since, each map of it standing
before its map below. After `release` the frozen layer becomes the main one again and the touched entries are merged into it
step by step: the work follows what was touched, not what there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeVar, cast

from ..core.types import copy_value
from .backend import StateMap, TableDescriptor
from .handles import TableInfo

K = TypeVar("K")
V = TypeVar("V")

WHOLE_MAP_ENTRIES: Final = 4096
"""A map with at most this many touched entries is merged in one call of `dict.update`."""


_WALK_KEYS: Final = 64
"""How many steps of a walk may look at a layer that has been superseded meanwhile."""


class HeapStateMap(StateMap[K, V]):
    """One namespace: the dict is what was touched lately, `_base` the map below, which is never changed while shared.

    INVARIANT H1: keys in `_removed` are keys of `_base`; they count as deleted unless the dict has them again.
    Kept by: tests/state/backend_suite.py (the model machine).
    """

    __slots__ = ("_base", "_removed", "_table", "namespace")

    def __init__(self, table: HeapTable, namespace: Any, base: HeapStateMap[K, V] | None) -> None:
        self._table = table
        self._base = base
        self._removed: set[K] = set() if base is not None else _NOTHING
        self.namespace = namespace

    def __missing__(self, key: K) -> V | None:
        base = self._base
        if base is None:
            return None
        value = dict.get(base, key)
        if value is None or key in self._removed:
            return None
        if self._table.copies:
            value = cast("V", copy_value(value))  # copy_value keeps the type
        self[key] = value
        return value

    def peek(self, key: K) -> V | None:
        value = dict.get(self, key)
        if value is None and self._base is not None and key not in self._removed:
            return dict.get(self._base, key)
        return value

    def remove(self, key: K) -> None:
        dict.pop(self, key, None)
        base = self._base
        if base is None:
            if not self:
                self._table.maybe_empty[self.namespace] = None
        elif dict.__contains__(base, key):
            self._removed.add(key)

    def entries(self) -> Iterator[tuple[K, V]]:
        yield from self.items()
        if self._base is not None:
            removed = self._removed
            for key, value in self._base.items():
                if not dict.__contains__(self, key) and key not in removed:
                    yield key, value

    def is_empty(self) -> bool:
        return not self and (self._base is None or len(self._base) == len(self._removed))

    def all_keys(self) -> list[K]:
        """The keys as of now."""
        keys = list(self)
        if self._base is not None:
            removed = self._removed
            keys += [key for key in self._base if not dict.__contains__(self, key) and key not in removed]
        return keys

    def size(self) -> int:
        """Entries held in this layer."""
        return dict.__len__(self)

    def merge_down(self, budget: int) -> bool:
        """Move up to about `budget` entries into the map below, which nobody else reads any more; True when done."""
        base = self._base
        if base is None:
            return True
        removed = self._removed
        while removed and budget > 0:
            dict.pop(base, removed.pop(), None)
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


_NOTHING: Final[set[Any]] = set()  # never added to: a map without a base has nothing to hide


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
        self._frozen: dict[Any, HeapStateMap[Any, Any]] | None = None
        self._dropped: set[Any] = set()
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
        if self._frozen is None:
            return list(self._live)
        return [*self._live, *(n for n in self._frozen if n not in self._live and n not in self._dropped)]

    def drop(self, namespace: Any) -> None:
        self._live.pop(namespace, None)
        if self._frozen is None:
            return
        if not self._shared:
            self._frozen.pop(namespace, None)
            self._dropped.discard(namespace)
        elif namespace in self._frozen:
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

    def freeze(self) -> dict[Any, HeapStateMap[Any, Any]]:
        """What is there now, by namespace, unchanged until `thaw`; none of its maps has a base.

        Costs nothing however much there is, unless the merging after the last one has not ended: then that ends first.
        """
        assert not self._shared, "one snapshot at a time"
        while not self.merge(1 << 60):
            pass
        self._frozen, self._live, self._dropped, self._shared = self._live, {}, set(), True
        return self._frozen

    def thaw(self) -> None:
        """The frozen layer is this table's alone again; merging may begin."""
        self._shared = False

    def merge(self, budget: int) -> bool:
        """Bring up to about `budget` touched entries into the main layer; True when there is one layer only."""
        frozen = self._frozen
        if frozen is None:
            return True
        if self._shared:
            return False
        while self._dropped and budget > 0:
            frozen.pop(self._dropped.pop(), None)
            budget -= 1
        while self._live and budget > 0:
            namespace, touched = self._live.popitem()
            budget -= 1 + touched.size()
            if touched._base is None:
                if touched:
                    frozen[namespace] = touched
            elif not touched.merge_down(max(budget, WHOLE_MAP_ENTRIES)):
                self._live[namespace] = touched
            elif not touched._base:
                del frozen[namespace]
        if self._live or self._dropped:
            return False
        self._live, self._frozen = frozen, None
        return True

    def forget_empty(self) -> None:
        """Let go of maps that have no entries: with a namespace for each key they would add up."""
        if self._frozen is not None:
            return
        for namespace in self.maybe_empty:
            found = self._live.get(namespace)
            if found is not None and not found:
                del self._live[namespace]
        self.maybe_empty.clear()

    def entries_in_memory(self) -> int:
        """Entries over all maps and layers; one that is in two layers counts twice."""
        layers = [self._live] if self._frozen is None else [self._live, self._frozen]
        return sum(found.size() for layer in layers for found in layer.values())

    def _find(self, namespace: Any) -> HeapStateMap[Any, Any] | None:
        """The map of a namespace for reading; makes none."""
        found = self._live.get(namespace)
        if found is None and self._frozen is not None and namespace not in self._dropped:
            found = self._frozen.get(namespace)
        return found

    def _open(self, namespace: Any) -> HeapStateMap[Any, Any]:
        frozen = self._frozen
        if frozen is None:
            made = self._live[namespace] = HeapStateMap(self, namespace, None)
            self.maybe_empty[namespace] = None
            return made
        if self._shared:
            below = None if namespace in self._dropped else frozen.get(namespace)
            made = self._live[namespace] = HeapStateMap(self, namespace, below)
            return made
        # Nobody reads the main layer but we: use it as it is, so that only the maps touched before are left to merge.
        if namespace in self._dropped:
            self._dropped.discard(namespace)
            frozen.pop(namespace, None)
        found = frozen.get(namespace)
        if found is None:
            found = frozen[namespace] = HeapStateMap(self, namespace, None)
            self.maybe_empty[namespace] = None
        return found
