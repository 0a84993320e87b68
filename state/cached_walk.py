"""Goes through a cached table that may be changed meanwhile: what is in memory, then what is stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .entry_keys import PREFIX_BYTES, namespace_slice

if TYPE_CHECKING:
    from .cached_map import CachedStateMap
    from .cached_table import CachedTable


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
    layout = table.layout
    for db_key, raw in table.store.walk(prefix):
        part = namespace_slice(db_key)
        namespace, key = layout.namespace_of(part), layout.decode(db_key[PREFIX_BYTES + len(part) :])
        # Also what is newer in memory: it may not have been there when the pass began.
        yield namespace, key, table.loads_value(raw)


def _held(found: CachedStateMap[Any, Any], key: Any) -> Any:
    """The value in memory, for reading; the layers stay as they are."""
    for layer in (found, found._young, found._old):
        value = dict.get(layer, key)
        if value is not None:
            return value
    return None
