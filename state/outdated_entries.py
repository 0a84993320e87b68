"""Brings restored entries to the types of now: what the cached tables do where the heap decodes all anew anyway.

Source: Flink's RocksDB backend, which migrates a state with a compatible new serializer entry by entry when it is registered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from .backend import TableDescriptor
from .entry_keys import PREFIX_BYTES, prefix_of
from .entry_store import BATCH_ENTRIES, EntryStore
from .evolved_values import EvolvedValues
from .handles import TableInfo
from .table_registry import naming_state


def move_outdated(
    store: EntryStore,
    outdated: Iterable[TableInfo],
    descriptor: TableDescriptor,
    target: dict[int, bytes],
    dumps_values: Callable[[list[Any]], list[bytes]],
    operator: str,
) -> None:
    """Rewrite all entries of the outdated tables as the job declares them, under the number of the declared table.

    Takes memory for one batch; an attempt that dies meanwhile leaves nothing behind, because the next restores anew.

    Args:
        store: not frozen.
        outdated: fit the declaration.
        descriptor: the declaration.
        target: what entries of the declared table begin with, by key group.
        dumps_values: encodes values as declared.
        operator: name for error messages.

    Raises:
        RecordSerializationError: a value cannot be read, such as one of a subclass with a new field without default.
    """
    with naming_state(operator, descriptor.name):
        for info in outdated:
            values = EvolvedValues(info.value_schema, descriptor.value_type)
            for group, prefix in target.items():
                _move(store, prefix_of(group, info.table_id), prefix, values, dumps_values)


def _move(
    store: EntryStore,
    source: bytes,
    target: bytes,
    values: EvolvedValues,
    dumps_values: Callable[[list[Any]], list[bytes]],
) -> None:
    walk = store.walk(source)
    while chunk := list(islice(walk, BATCH_ENTRIES)):
        batch = store.new_batch()
        evolved = dumps_values([values.loads(raw) for _, raw in chunk])
        for (key, _), raw in zip(chunk, evolved, strict=True):
            batch.put(target + key[PREFIX_BYTES:], raw)
            batch.delete(key)
        store.write(batch)
