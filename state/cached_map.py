"""One namespace of a cached table: the layers of dicts that stand before a store of entries.

They are read in this order: the dict itself (`CachedStateMap`: entries to be written), removed keys (to be deleted), two
generations of entries that equal what is stored, and the store. An entry moves from the dict to the young generation when it is
written, back when it is touched, and out of memory with the old generation.

A snapshot may *freeze* what is to be written: it counts as written from then on, though another thread has still to do it.
Until it is done (`thaw`), nothing that is frozen leaves memory, and no value of it is changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast
from zlib import crc32

from ..core.types import copy_value
from .backend import StateMap
from .entry_keys import KeyLayout
from .entry_store import EntryBatch

if TYPE_CHECKING:
    from .cached_table import CachedTable

_FEW_ENTRIES: Final = 1_000
"""So many entries may stay in memory because all of a namespace were read."""

K = TypeVar("K")
V = TypeVar("V")


class Frozen(NamedTuple):
    """What was to be written of a namespace when a snapshot froze it."""

    of: CachedStateMap[Any, Any]
    entries: dict[Any, Any]
    removed: dict[Any, None]
    groups: set[int]  # in which entries were written, once they are


class CachedStateMap(StateMap[K, V]):
    """One namespace.

    INVARIANT R1: every stored entry of the namespace is in one of the layers above the database, unless `_partial`.
    INVARIANT R2: nothing of the namespace is stored, unless `_stored`.
    INVARIANT R4: what is frozen is in the dict, in a generation, or removed again, and its values are not changed.
    Kept by: tests/state/backend_suite.py (the model machine, with a cache of three entries).
    """

    __slots__ = (
        "_counted",
        "_dirty",
        "_frozen",
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
        self.address: Final = Address(table.layout, namespace)
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._removed: dict[K, None] = {}
        self._stored = stored
        self._partial = stored
        self._counted = 0
        self._dirty = 0
        self._frozen: Frozen | None = None

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
        if self._frozen is not None and self._table.copies and key in self._frozen.entries:
            value = cast("V", copy_value(value))  # copy_value keeps the type
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
            yield from self._stored_entries()

    def _stored_entries(self) -> Iterator[tuple[K, V]]:
        """Those that are not in memory. If they are few they are afterwards, so that nobody need look for them again."""
        table, loaded = self._table, dict[K, V]()
        few = True
        for key, raw in table.stored_entries(self):
            if not self._in_memory(key) and not self._is_removed(key):
                table.loaded += 1
                value: V = table.loads_value(raw)
                few = few and len(loaded) < _FEW_ENTRIES
                if few:
                    loaded[key] = value
                yield key, value
        if few:
            # What was changed meanwhile, though nobody should, stands.
            for key, value in loaded.items():
                if not (self._in_memory(key) or self._is_removed(key)):
                    self._young[key] = value
            self._partial = False

    def is_empty(self) -> bool:
        if self or self._young or self._old:
            return False
        if not self._partial:
            return True
        return all(self._is_removed(key) for key, _ in self._table.stored_entries(self))

    def size(self) -> int:
        """Entries held in memory."""
        frozen = 0 if self._frozen is None else len(self._frozen.removed)
        return len(self) + len(self._young) + len(self._old) + len(self._removed) + frozen

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
        """Forget the old generation, unless something is frozen; the young one is now old."""
        if self._frozen is not None:
            return
        if self._old:
            self._partial = True
        self._old, self._young = self._young, {}

    def known_keys(self) -> set[K] | None:
        """A superset of the stored keys, or None when that would need reading."""
        if self._partial:
            return None
        frozen = () if self._frozen is None else self._frozen.removed
        return {*self, *self._young, *self._old, *self._removed, *frozen}

    def freeze(self) -> Frozen:
        """What is to be written, for another thread to write; from now on it counts as written."""
        assert self._frozen is None, "one snapshot at a time"
        self._frozen = Frozen(self, dict(self), self._removed, set())
        self.clear()
        self._removed = {}
        self._young.update(self._frozen.entries)
        self._stored = True
        return self._frozen

    @property
    def is_frozen(self) -> bool:
        """Whether something of it is being written."""
        return self._frozen is not None

    def thaw(self, *, written: bool) -> None:
        """What was frozen is in the store; or it is not, and is to be written once more, where it was not changed since."""
        frozen, self._frozen = self._frozen, None
        assert frozen is not None, "it was frozen"
        if written:
            return
        for key, value in frozen.entries.items():
            if not (dict.__contains__(self, key) or key in self._removed):
                self._young.pop(key, None)
                self._old.pop(key, None)
                self[key] = value
        self._removed.update((key, None) for key in frozen.removed if not self._in_memory(key))

    def _in_memory(self, key: K) -> bool:
        return dict.__contains__(self, key) or key in self._young or key in self._old

    def _is_removed(self, key: K) -> bool:
        return key in self._removed or (self._frozen is not None and key in self._frozen.removed)

    def _load(self, key: K) -> V | None:
        if self._is_removed(key):
            return None
        table = self._table
        raw = table.store.get(self.address.of(key))
        if raw is None:
            return None
        table.loaded += 1
        value: V = table.loads_value(raw)
        return value


class Places(dict[Any, tuple[bytes, bytes]]):
    """Key -> the prefix of its key group, and its bytes, computed once a key: `places[key]`. Made for one pass over the namespaces of
    a table that is routed by key, then thrown away."""

    def __init__(self, layout: KeyLayout) -> None:
        super().__init__()
        self._layout = layout

    def __missing__(self, key: Any) -> tuple[bytes, bytes]:
        layout = self._layout
        encoded = layout.encode(key)
        place = self[key] = layout.prefixes[crc32(encoded) % layout.max_parallelism], encoded
        return place


class Address:
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

    def of_places(self, places: Places, keys: Iterable[Any]) -> list[bytes]:
        """The same, with what other namespaces have found out already."""
        part = self.part
        return [prefix + part + encoded for prefix, encoded in map(places.__getitem__, keys)]

    def prefixes(self, groups: Iterable[int]) -> list[bytes]:
        """What the stored entries begin with, given the key groups that have some."""
        if self._fixed is not None:
            return [self._fixed]
        return [self._layout.prefixes[group] + self.part for group in groups]
