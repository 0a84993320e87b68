"""One RocksDB instance of one backend: opened when first needed, its write-ahead log off, gone when closed.

Durability comes from checkpoints alone, so what is in memory of RocksDB may be lost with the process.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .entry_keys import namespace_slice, successor
from .memory import WorkerMemory

if TYPE_CHECKING:  # a native module of megabytes, loaded when a backend needs it
    import rocksdict

_COPYING_BYTES: Final = 32 << 20
_WRITE_BUFFER_BYTES: Final = 16 << 20
_BLOOM_BITS_PER_KEY: Final = 10
_BACKGROUND_JOBS: Final = 2
_WALK_ENTRIES: Final = 128
"""Entries read at once by a walk: no iterator of RocksDB, which would keep old files alive, is left open between two steps."""


class RocksStore:
    """Reads and writes of raw keys and values. Implements `EntryStore`.

    It is frozen while a snapshot is pending and its hard links are not made yet: `delete` keeps what it is asked for back until
    `thaw`.

    Args:
        folder: where the files go; made when needed.
        memory: what it shares with other databases.
    """

    def __init__(self, folder: Path, memory: WorkerMemory) -> None:
        self.folder: Final = folder
        self._memory: Final = memory
        self.frozen = False
        self._db: rocksdict.Rdict | None = None
        self._held_back: list[tuple[bytes, bytes | None]] = []

    @property
    def is_open(self) -> bool:
        """Whether anything was ever written or restored."""
        return self._db is not None

    def open(self) -> rocksdict.Rdict:
        """The database, opened now if it was not."""
        if self._db is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._db = _open(self.folder, self._memory)
        return self._db

    def get(self, key: bytes) -> bytes | None:
        """The value stored under a key."""
        if self._db is None:
            return None
        value: bytes | None = self._db.get(key)
        return value

    def scan(self, prefix: bytes, start: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """All entries whose key begins with `prefix`, in order; those from the key `start` on."""
        if self._db is None:
            return
        key: Any  # bytes, in raw mode
        for key, value in self._db.items(from_key=start or prefix):
            if not key.startswith(prefix):
                return
            yield key, value

    def walk(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        start = prefix
        while chunk := list(islice(self.scan(prefix, start), _WALK_ENTRIES)):
            yield from chunk
            start = chunk[-1][0] + b"\0"

    def namespace_parts(self, prefix: bytes) -> Iterator[bytes]:
        """The namespace parts of a table in a key group, each once: a seek for each, whatever the number of entries."""
        if self._db is None:
            return
        cursor = self._db.iter()
        cursor.seek(prefix)
        while cursor.valid():
            key: bytes = cursor.key()
            if not key.startswith(prefix):
                return
            part = namespace_slice(key)
            yield part
            cursor.seek(successor(prefix + part))

    def delete(self, ranges: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Delete single keys (where the end is None) and all keys from a begin to before its end; later, if frozen.

        All in one write: a write of RocksDB costs more than the deletions in it.
        """
        self._held_back.extend(ranges)
        if not self.frozen:
            self._delete_held_back()

    def new_batch(self) -> rocksdict.WriteBatch:
        return new_batch()

    def write(self, batch: rocksdict.WriteBatch) -> None:
        self.open().write(batch)

    def thaw(self) -> None:
        """Writing is allowed again."""
        self.frozen = False
        self._delete_held_back()

    def size_bytes(self) -> int:
        """Size of the files."""
        if self._db is None:
            return 0
        return sum(file["size"] for file in self._db.live_files())

    def link_files(self, target: Path) -> None:
        """Hard links of everything written so far, as a folder that can be opened. Blocks; may run in another thread.

        The memory of RocksDB is flushed first by a call that lets other threads run, which making the links does not.
        """
        from rocksdict import Checkpoint

        db = self.open()
        db.flush()
        Checkpoint(db).create_checkpoint(str(target))

    def close(self) -> None:
        """Close and delete the files. Idempotent."""
        if self._db is not None:
            self._db.close()
            self._db = None
        self._held_back.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _delete_held_back(self) -> None:
        if not self._held_back:
            return
        batch = new_batch()
        for begin, end in self._held_back:
            if end is None:
                batch.delete(begin)
            else:
                batch.delete_range(begin, end)
        self._held_back.clear()
        self.open().write(batch)


def new_batch() -> rocksdict.WriteBatch:
    """An empty batch for `Rdict.write`."""
    from rocksdict import WriteBatch

    return WriteBatch(raw_mode=True)


def open_read_only(folder: Path) -> rocksdict.Rdict:
    """A downloaded database, for copying from it."""
    from rocksdict import AccessType, Rdict

    return Rdict(str(folder), _options(WorkerMemory(_COPYING_BYTES)), access_type=AccessType.read_only())


def _open(folder: Path, memory: WorkerMemory) -> rocksdict.Rdict:
    from rocksdict import Rdict, WriteOptions

    db = Rdict(str(folder), _options(memory))
    write_options = WriteOptions()
    # An attribute, though the stub file shows a method.
    write_options.disable_wal = True  # type: ignore[method-assign,assignment]
    db.set_write_options(write_options)
    return db


def _options(memory: WorkerMemory) -> rocksdict.Options:
    from rocksdict import BlockBasedOptions, DBCompressionType, Options

    cache, write_buffers = memory.native()
    table = BlockBasedOptions()
    table.set_bloom_filter(_BLOOM_BITS_PER_KEY, block_based=False)
    table.set_block_cache(cache)
    # Else they would stand beside the cache, and grow with the state.
    table.set_cache_index_and_filter_blocks(v=True)
    table.set_pin_l0_filter_and_index_blocks_in_cache(v=True)
    options = Options(raw_mode=True)
    options.create_if_missing(create_if_missing=True)
    options.set_block_based_table_factory(table)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_write_buffer_manager(write_buffers)
    # A database that fills buffers faster than they are written has two of them.
    options.set_write_buffer_size(min(_WRITE_BUFFER_BYTES, memory.write_buffer_bytes // 4))
    options.set_max_background_jobs(_BACKGROUND_JOBS)
    # Its own log and statistics are of no use to anyone here.
    options.set_keep_log_file_num(1)
    options.set_stats_dump_period_sec(0)
    return options
