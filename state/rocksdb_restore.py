"""Brings restored handles into a backend's own database."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from .backend import BackendContext
from .entry_keys import PREFIX_BYTES, prefix_of, split_prefix
from .entry_store import BATCH_ENTRIES
from .handles import FileRef, KeyedStateHandle
from .rocksdb_snapshot import download_files
from .rocksdb_store import RocksStore, new_batch, open_read_only
from .table_registry import TableRegistry

_OWN_SHARED: Final = "shared/"
"""Where a job's own shared files are. Those of another job (absolute paths) may be deleted by that job at any time."""


def restore(context: BackendContext, store: RocksStore, registry: TableRegistry) -> dict[str, FileRef]:
    """Fill the store with the key groups of this subtask, table ids as `registry` numbers them.

    A single handle of exactly these key groups becomes the database file by file; otherwise entries are copied.

    Returns:
        The SST files that the database now consists of and that this job has stored already: none after copying, and none when
        the checkpoint is another job's.

    Raises:
        CheckpointError: CORRUPT, as the reader's.
    """
    handles = [handle for handle in context.restored if handle.files]
    if len(handles) == 1 and handles[0].key_groups == context.key_groups:
        download_files(handles[0], context.reader, store.folder)
        store.open()
        return {name: ref for name, ref in handles[0].files.items() if ref.path.startswith(_OWN_SHARED)}
    for index, handle in enumerate(handles):
        folder = context.local_dir / f"restored-{index}"
        download_files(handle, context.reader, folder)
        _copy(folder, handle, context.key_groups, store, registry)
        shutil.rmtree(folder)
    return {}


def _copy(
    folder: Path,
    handle: KeyedStateHandle,
    key_groups: tuple[int, int],
    store: RocksStore,
    registry: TableRegistry,
) -> None:
    first, last = key_groups
    renumbered = {info.table_id: registry.table_id(info) for info in handle.tables}
    target = store.open()
    batch = new_batch()
    source = open_read_only(folder)
    try:
        entry: tuple[bytes, bytes]
        for entry in source.items(from_key=prefix_of(first, 0)):  # type: ignore[assignment]  # raw mode: bytes
            group, table_id = split_prefix(entry[0])
            if group > last:
                break
            batch.put(prefix_of(group, renumbered[table_id]) + entry[0][PREFIX_BYTES:], entry[1])
            if batch.len() >= BATCH_ENTRIES:
                target.write(batch)
                batch = new_batch()
        target.write(batch)
    finally:
        source.close()
