"""Tables above a store of entries: dicts of what was touched lately, before a cache of what is known, before the store.

Per namespace there are five layers, read in this order: the dict itself (`CachedStateMap`: entries to be written), removed keys
(to be deleted), two generations of entries that equal what is stored, and the database. An entry moves from the dict to the young
generation when it is written, back when it is touched, and out of memory with the old generation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final, TypeVar
from zlib import crc32

from ..core.types import TypeInformation, exact
from .backend import StateMap, TableDescriptor
from .cached_walk import walk
from .entry_keys import PREFIX_BYTES, KeyLayout, split_prefix, successor
from .entry_store import BATCH_ENTRIES, EntryBatch, EntryStore
from .memory import entry_bytes
from .table_registry import naming_state

_WEIGHT: Final = 8
"""One over the weight of the latest entry in the average of their sizes."""

K = TypeVar("K")
V = TypeVar("V")

_RANGE_KEYS: Final = 4
"""A namespace is dropped by deleting a range in each key group once it has more than this many keys per group: deleted ranges
slow down every later read a little, deleted keys only their own."""


class CachedStateMap(StateMap[K, V]):
    """One namespace.

    INVARIANT R1: every stored entry of the namespace is in one of the layers above the database, unless `_partial`.
    INVARIANT R2: nothing of the namespace is stored, unless `_stored`.
    Kept by: tests/state/backend_suite.py (the model machine, with a cache of three entries).
    """

    __slots__ = (
        "_counted",
        "_dirty",
        "_old",
        "_partial",
        "_removed",
        "_stored",
        "_table",
        "_young",
        "address",
        "namespace",
    )

    def __init__(self, table: CachedTable, namespace: Any, *, stored: bool) -> None:
        self._table = table
        self.namespace = namespace
        self.address: Final = _Address(table.layout, namespace)
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._removed: dict[K, None] = {}
        self._stored = stored
        self._partial = stored
        self._counted = 0
        self._dirty = 0

    def __missing__(self, key: K) -> V | None:
        if not (self._young or self._old or self._partial):  # as with all new keys of a new window
            return None
        value = self._young.pop(key, None)
        if value is None:
            value = self._old.pop(key, None)
            if value is None:
                value = self._load(key) if self._partial else None
                if value is None:
                    return None
        self[key] = value
        return value

    def peek(self, key: K) -> V | None:
        value = dict.get(self, key)
        if value is not None:
            return value
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
        if value is None and self._partial:
            value = self._load(key)
            if value is not None:
                self._young[key] = value
        return value

    def remove(self, key: K) -> None:
        dict.pop(self, key, None)
        self._young.pop(key, None)
        self._old.pop(key, None)
        if self._stored:
            self._removed[key] = None

    def entries(self) -> Iterator[tuple[K, V]]:
        young, old = self._young, self._old
        yield from self.items()
        yield from ((k, v) for k, v in young.items() if not dict.__contains__(self, k))
        yield from ((k, v) for k, v in old.items() if not (dict.__contains__(self, k) or k in young))
        if self._partial:
            loads = self._table.loads_value
            for key, raw in self._table.stored_entries(self):
                if not self._in_memory(key) and key not in self._removed:
                    self._table.loaded += 1
                    yield key, loads(raw)

    def is_empty(self) -> bool:
        if self or self._young or self._old:
            return False
        if not self._partial:
            return True
        return all(key in self._removed for key, _ in self._table.stored_entries(self))

    def size(self) -> int:
        """Entries held in memory."""
        return len(self) + len(self._young) + len(self._old) + len(self._removed)

    def dirty(self) -> int:
        """Entries to be written or deleted."""
        return len(self) + len(self._removed)

    def flush(self, batch: EntryBatch, limit: int) -> int:
        """Put up to `limit` entries, oldest first, and all deletions into `batch`, which the caller writes before anything is
        read; returns how many entries."""
        table, addresses = self._table, self.address.of_all
        for address in addresses(key for key in self._removed if not dict.__contains__(self, key)):
            batch.delete(address)
        items = list(islice(self.items(), limit))
        values = [value for _, value in items]
        put, written = batch.put, addresses(key for key, _ in items)
        for address, raw in zip(written, table.dumps_values(values), strict=True):
            put(address, raw)
        self._removed.clear()
        if len(items) == len(self):
            self.clear()
        else:
            for key, _ in items:
                del self[key]
        self._young.update(items)
        if items:
            self._stored = True
            table.note_stored(self, written)
        return len(items)

    def evict(self) -> None:
        """Forget the old generation; the young one is now old."""
        if self._old:
            self._partial = True
        self._old, self._young = self._young, {}

    def known_keys(self) -> set[K] | None:
        """A superset of the stored keys, or None when that would need reading."""
        if self._partial:
            return None
        return {*self, *self._young, *self._old, *self._removed}

    def _in_memory(self, key: K) -> bool:
        return dict.__contains__(self, key) or key in self._young or key in self._old

    def _load(self, key: K) -> V | None:
        if key in self._removed:
            return None
        table = self._table
        raw = table.store.get(self.address.of(key))
        if raw is None:
            return None
        table.loaded += 1
        value: V = table.loads_value(raw)
        return value


class _Address:
    """Where the entries of a namespace stand."""

    __slots__ = ("_fixed", "_layout", "part")

    def __init__(self, layout: KeyLayout, namespace: Any) -> None:
        self._layout = layout
        self.part = layout.namespace_part(namespace)
        self._fixed: bytes | None = None
        if not layout.by_key:
            group = crc32(layout.routing_bytes(namespace)) % layout.max_parallelism
            self._fixed = layout.prefixes[group] + self.part

    def of(self, key: Any) -> bytes:
        """The database's key of an entry."""
        layout = self._layout
        encoded = layout.encode(key)
        if self._fixed is not None:
            return self._fixed + encoded
        return layout.prefixes[crc32(encoded) % layout.max_parallelism] + self.part + encoded

    def of_all(self, keys: Iterable[Any]) -> list[bytes]:
        """The same for many, without a call for each."""
        layout = self._layout
        encode, prefixes, max_parallelism, part = (
            layout.encode,
            layout.prefixes,
            layout.max_parallelism,
            self.part,
        )
        if self._fixed is not None:
            fixed = self._fixed
            return [fixed + encode(key) for key in keys]
        encoded = [encode(key) for key in keys]
        return [prefixes[crc32(key) % max_parallelism] + part + key for key in encoded]

    def prefixes(self, groups: Iterable[int]) -> list[bytes]:
        """What the stored entries begin with, given the key groups that have some."""
        if self._fixed is not None:
            return [self._fixed]
        return [self._layout.prefixes[group] + self.part for group in groups]


class CachedTable:
    """A `StateTable` with its layers.

    Args:
        descriptor: as declared.
        layout: where its entries stand.
        store: the backend's database.
        restored: whether the database may hold entries of this table already.

    Attributes:
        entries, dirty: entries in memory, and those of them to be written, as of the last `settle`.
        entry_bytes: how much memory one takes, as a moving average over entries touched lately.
        maps: those that have something in memory, least recently used first.
        loaded, flushed: entries read from and written to the database since opening.
    """

    def __init__(
        self, descriptor: TableDescriptor, layout: KeyLayout, store: EntryStore, *, restored: bool
    ) -> None:
        self._descriptor = descriptor
        self.layout: Final = layout
        self.store: Final = store
        value_type: TypeInformation[Any] = descriptor.value_type
        self.loads_value: Final = value_type.serializer().loads
        self.entries = self.dirty = self.loaded = self.flushed = self.entry_bytes = 0
        self.maps: Final[dict[Any, CachedStateMap[Any, Any]]] = {}
        self._touched: dict[Any, CachedStateMap[Any, Any]] = {}  # since the last settle
        # Those to be written, as of the last settle.
        self._dirty_maps: dict[Any, CachedStateMap[Any, Any]] = {}
        # Few namespaces: exactly which key groups have entries of each. Many: only whether there may be any at all.
        self._groups: dict[Any, set[int]] | None = {} if descriptor.few_namespaces else None
        self._any_stored = restored
        self._dropped: set[Any] = set()  # while the store holds deletions back, for tables of many namespaces
        if restored and self._groups is not None:
            for group, prefix in layout.prefixes.items():
                for part in store.namespace_parts(prefix):
                    self._groups.setdefault(layout.namespace_of(part), set()).add(group)

    @property
    def descriptor(self) -> TableDescriptor:
        return self._descriptor

    def namespace(self, namespace: Any) -> StateMap[Any, Any]:
        found = self._touched.get(namespace)
        if found is None:
            found = self.maps.get(namespace)
            if found is None:
                found = CachedStateMap(self, namespace, stored=self._is_stored(namespace))
                self.maps[namespace] = found
            self._touched[namespace] = found
        return found

    def namespaces(self) -> Iterable[Any]:
        if self._groups is not None:
            return list({**self.maps, **self._groups})
        stored = {
            self.layout.namespace_of(part)
            for prefix in self.layout.prefixes.values()
            for part in self.store.namespace_parts(prefix)
        }
        return list((stored - self._dropped).union(self.maps))

    def drop(self, namespace: Any) -> None:
        found = self.maps.pop(namespace, None)
        self._touched.pop(namespace, None)
        self._dirty_maps.pop(namespace, None)
        if found is not None:
            self.entries -= found._counted
            self.dirty -= found._dirty
        if not self._is_stored(namespace) or (found is not None and not found._stored):
            return
        address = _Address(self.layout, namespace) if found is None else found.address
        prefixes = address.prefixes(self._groups_of(namespace))
        keys = None if found is None else found.known_keys()
        if keys is not None and len(keys) <= _RANGE_KEYS * len(prefixes):
            self.store.delete([(key, None) for key in address.of_all(keys)])
        else:
            self.store.delete([(prefix, successor(prefix)) for prefix in prefixes])
        if self._groups is not None:
            self._groups.pop(namespace, None)
        elif self.store.frozen:
            self._dropped.add(namespace)

    def walk(self) -> Iterator[tuple[Any, Any, Any]]:
        return walk(self)

    def dumps_values(self, values: list[Any]) -> list[bytes]:
        """Each encoded, as `dumps_each`."""
        return dumps_each(self._descriptor.value_type, values)

    def stored_entries(self, found: CachedStateMap[Any, Any]) -> Iterator[tuple[Any, bytes]]:
        """Keys and encoded values of a namespace in the database."""
        for prefix in found.address.prefixes(self._groups_of(found.namespace)):
            for db_key, raw in self.store.scan(prefix):
                yield self.layout.decode(db_key[len(prefix) :]), raw

    def note_stored(self, found: CachedStateMap[Any, Any], addresses: list[bytes]) -> None:
        """Entries of a namespace have been written."""
        self._any_stored = True
        if self._groups is not None:
            groups = self._groups.setdefault(found.namespace, set())
            if len(groups) < len(self.layout.prefixes):
                prefixes = {address[:PREFIX_BYTES] for address in addresses}
                groups.update(split_prefix(prefix)[0] for prefix in prefixes)

    def settle(self) -> None:
        """Count what the batch has changed, in the maps it fetched."""
        for found in islice(reversed(self._touched.values()), 1):
            self._weigh(found)
        for namespace, found in self._touched.items():
            size, dirty = found.size(), found.dirty()
            self._count(found, size, dirty)
            if size == 0:
                del self.maps[namespace]
            elif len(self._touched) < len(self.maps):  # keep the order of use
                self.maps[namespace] = self.maps.pop(namespace)
            if dirty:
                self._dirty_maps[namespace] = found
            else:
                self._dirty_maps.pop(namespace, None)
        self._touched.clear()

    def thawed(self) -> None:
        """Deletions held back by the store are done."""
        self._dropped.clear()

    def flush(self, limit: int) -> int:
        """Write up to about `limit` entries, those of the namespace that has waited longest first; returns how many."""
        with naming_state(self.layout.operator, self._descriptor.name):
            done = self._flush(limit)
        self.flushed += done
        return done

    def evict(self, excess: int) -> int:
        """Forget about `excess` entries that are stored, of the least recently used namespaces first; returns how many."""
        before = self.entries
        for namespace, found in list(self.maps.items()):
            if before - self.entries >= excess:
                break
            found.evict()
            self._count(found, found.size(), found.dirty())
            if found.size() == 0:
                del self.maps[namespace]
        return before - self.entries

    def _flush(self, limit: int) -> int:
        done = 0
        store, batch = self.store, self.store.new_batch()
        for namespace, found in list(self._dirty_maps.items()):
            while found.dirty() and done < limit:
                done += found.flush(batch, min(BATCH_ENTRIES, limit - done))
                if batch.len() >= BATCH_ENTRIES:
                    store.write(batch)
                    batch = store.new_batch()
            self._count(found, found.size(), found.dirty())
            if not found.dirty():
                del self._dirty_maps[namespace]
            if done >= limit:
                break
        store.write(batch)
        return done

    def _count(self, found: CachedStateMap[Any, Any], size: int, dirty: int) -> None:
        self.entries += size - found._counted
        self.dirty += dirty - found._dirty
        found._counted, found._dirty = size, dirty

    def _weigh(self, found: CachedStateMap[Any, Any]) -> None:
        """Correct the average by the entry of a map that was touched last."""
        for key, value in islice(reversed(found.items()), 1):
            change = entry_bytes(key, value) - self.entry_bytes
            self.entry_bytes += change // _WEIGHT if self.entry_bytes else change

    def _is_stored(self, namespace: Any) -> bool:
        if self._groups is not None:
            return namespace in self._groups
        return self._any_stored and namespace not in self._dropped

    def _groups_of(self, namespace: Any) -> Iterable[int]:
        if self._groups is not None:
            return sorted(self._groups.get(namespace, ()))
        return self.layout.prefixes.keys()


def dumps_each(value_type: TypeInformation[Any], values: list[Any]) -> list[bytes]:
    """Each encoded. Checking a type costs more than encoding: plain types check all values at once.

    Raises:
        RecordSerializationError: a value is not of the declared type, or has no exact encoding.
    """
    serializer = value_type.serializer()
    if not value_type.is_plain:
        return list(map(serializer.dumps, values))
    if value_type.mismatch(values) is not None:
        serializer.dumps_batch(values)  # raises, and tells which value
    return exact.dumps_each(values)
