"""Brings restored handles into a backend's own database."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

from .backend import BackendContext
from .canonical import renumbered_key, restored_blocks, store_blocks
from .entry_keys import prefix_of, split_prefix
from .entry_store import BATCH_ENTRIES
from .handles import FileRef, KeyedStateHandle
from .rocksdb_snapshot import download_files
from .rocksdb_store import RocksStore, new_batch, open_read_only
from .snapshot_format import FORMAT as CANONICAL
from .table_registry import TableRegistry

_OWN_SHARED: Final = "shared/"
"""Where a job's own shared files are. Those of another job (absolute paths) may be deleted by that job at any time."""


def restore(context: BackendContext, store: RocksStore, registry: TableRegistry) -> dict[str, FileRef]:
    """Fill the store with the key groups of this subtask, table ids as `registry` numbers them.

    A single handle of exactly these key groups becomes the database file by file; otherwise entries are copied. Those of a
    canonical savepoint lie there as blocks until their tables are opened (`canonical`).

    Returns:
        The SST files that the database now consists of and that this job has stored already: none after copying, and none when
        the checkpoint is another job's.

    Raises:
        CheckpointError: CORRUPT, as the reader's.
    """
    handles = [handle for handle in context.restored if handle.files]
    canonical = [handle for handle in handles if handle.format == CANONICAL]
    if canonical:
        store_blocks(store, restored_blocks(context, canonical, registry))
        handles = [handle for handle in handles if handle.format != CANONICAL]
    elif len(handles) == 1 and handles[0].key_groups == context.key_groups:
        download_files(handles[0], context.reader, store.folder)
        store.open()
        return {name: ref for name, ref in handles[0].files.items() if ref.path.startswith(_OWN_SHARED)}
    numbers = count()
    for index, handle in enumerate(handles):
        folder = context.local_dir / f"restored-{index}"
        download_files(handle, context.reader, folder)
        renumbered = partial(renumbered_key, table_ids=_renumbered(handle, registry), numbers=numbers)
        _copy(folder, context.key_groups, store, renumbered)
        shutil.rmtree(folder)
    return {}


def _renumbered(handle: KeyedStateHandle, registry: TableRegistry) -> dict[int, int]:
    return {info.table_id: registry.table_id(info) for info in handle.tables}


def _copy(
    folder: Path, key_groups: tuple[int, int], store: RocksStore, renumbered: Callable[[bytes], bytes]
) -> None:
    first, last = key_groups
    target = store.open()
    batch = new_batch()
    source = open_read_only(folder)
    try:
        entry: tuple[bytes, bytes]
        for entry in source.items(from_key=prefix_of(first, 0)):  # type: ignore[assignment]  # raw mode: bytes
            if split_prefix(entry[0])[0] > last:
                break
            batch.put(renumbered(entry[0]), entry[1])
            if batch.len() >= BATCH_ENTRIES:
                target.write(batch)
                batch = new_batch()
        target.write(batch)
    finally:
        source.close()
