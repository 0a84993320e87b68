"""Goes through a cached table that may be changed meanwhile: what is in memory, then what is stored."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from .entry_keys import PREFIX_BYTES, namespace_slice

if TYPE_CHECKING:
    from .cached_table import CachedStateMap, CachedTable

_CHUNK: Final = 128
"""Entries read at once: no iterator of the store (which would keep old files of RocksDB alive) is left open between two steps."""


def walk(table: CachedTable) -> Iterator[tuple[Any, Any, Any]]:
    """As `StateTable.walk`."""
    for namespace, found in list(table.maps.items()):
        for key in [*found._old, *found._young, *found]:
            value = _held(found, key)
            if value is not None:
                yield namespace, key, value
    for prefix in table.layout.prefixes.values():
        yield from _walk_stored(table, prefix)


def _walk_stored(table: CachedTable, prefix: bytes) -> Iterator[tuple[Any, Any, Any]]:
    layout, start = table.layout, prefix
    while chunk := list(islice(table.store.scan(prefix, start), _CHUNK)):
        for db_key, raw in chunk:
            part = namespace_slice(db_key)
            namespace, key = layout.namespace_of(part), layout.decode(db_key[PREFIX_BYTES + len(part) :])
            # Also what is newer in memory: it may not have been there when the pass began.
            yield namespace, key, table.loads_value(raw)
        start = chunk[-1][0] + b"\0"


def _held(found: CachedStateMap[Any, Any], key: Any) -> Any:
    """The value in memory, for reading; the layers stay as they are."""
    for layer in (found, found._young, found._old):
        value = dict.get(layer, key)
        if value is not None:
            return value
    return None
