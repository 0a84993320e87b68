"""Tables above a store of entries, as sets of namespaces (`cached_map.py`): dicts of what was touched lately, before a cache of what
is known, before the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, Final, TypeVar

from ..core.types import TypeInformation, exact
from .backend import StateMap, TableDescriptor
from .cached_map import Address, CachedStateMap, Frozen, Places
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
        self.copies: Final = descriptor.mutable_values and not value_type.immutable
        self._frozen: list[Frozen] = []
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
        address = Address(self.layout, namespace) if found is None else found.address
        # What is being written may turn up in any key group.
        all_groups = found is not None and found.is_frozen
        prefixes = address.prefixes(self.layout.prefixes if all_groups else self._groups_of(namespace))
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
            self._add_groups(addresses, self._groups.setdefault(found.namespace, set()))

    def _add_groups(self, addresses: list[bytes], groups: set[int]) -> None:
        """The key groups of entries, where it matters which they are."""
        if self._groups is not None and len(groups) < len(self.layout.prefixes):
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

    def freeze(self) -> None:
        """All that is to be written counts as written from now on. `write_frozen` does it, in any thread, and `thawed` ends it."""
        assert not self._frozen, "one snapshot at a time"
        self.settle()
        for namespace, found in self._dirty_maps.items():
            self._frozen.append(found.freeze())
            self._count(found, found.size(), 0)
            if self._groups is not None:
                self._groups.setdefault(namespace, set())
        self._dirty_maps.clear()
        self._any_stored = self._any_stored or bool(self._frozen)

    @property
    def has_frozen(self) -> bool:
        """Whether there is anything for `write_frozen`."""
        return bool(self._frozen)

    def write_frozen(self) -> None:
        """Put what is frozen into the store. Any thread: reads nothing that the loop's thread changes. Doing it again does no harm.

        Raises:
            RecordSerializationError: as `dumps_values`.
        """
        batch = self.store.new_batch()
        # Windows have the same keys, one after the other.
        places = Places(self.layout) if self.layout.by_key and len(self._frozen) > 1 else None
        with naming_state(self.layout.operator, self._descriptor.name):
            for frozen in self._frozen:
                batch = self._write_frozen(frozen, places, batch)
        if batch.len():
            self.store.write(batch)

    def thawed(self, *, written: bool = True) -> None:
        """Deletions held back by the store are done.

        Args:
            written: `write_frozen` was done; otherwise what was frozen is to be written again.
        """
        self._dropped.clear()
        frozen_maps, self._frozen = self._frozen, []
        for frozen in frozen_maps:
            found = frozen.of
            found.thaw(written=written)
            if self.maps.get(found.namespace) is not found:  # dropped since
                continue
            self._count(found, found.size(), found.dirty())
            if written:
                self.flushed += len(frozen.entries)
                if self._groups is not None:
                    self._groups.setdefault(found.namespace, set()).update(frozen.groups)
            elif found.dirty():
                self._dirty_maps[found.namespace] = found

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

    def _write_frozen(self, frozen: Frozen, places: Places | None, batch: EntryBatch) -> EntryBatch:
        """Add to a batch; the one to go on with, as full ones are written. HOT: a snapshot's time of the interpreter is spent here."""
        address = frozen.of.address
        addresses_of = address.of_all if places is None else partial(address.of_places, places)
        for removed in addresses_of(key for key in frozen.removed if key not in frozen.entries):
            batch.delete(removed)
        keys, values = list(frozen.entries), list(frozen.entries.values())
        for start in range(0, len(keys), BATCH_ENTRIES):
            written = addresses_of(keys[start : start + BATCH_ENTRIES])
            put = batch.put
            for place, raw in zip(
                written, self.dumps_values(values[start : start + BATCH_ENTRIES]), strict=True
            ):
                put(place, raw)
            self._add_groups(written, frozen.groups)
            if batch.len() >= BATCH_ENTRIES:
                self.store.write(batch)
                batch = self.store.new_batch()
        return batch

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
    form = value_type.native_form
    return exact.dumps_each(values) if form is None else exact.dumps_each_as(form, values)
