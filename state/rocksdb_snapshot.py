"""Snapshots of RocksDB as a set of files: `rocksdb-1`.

`KeyedStateHandle.files` names each SST file (shared, uploaded once and referred to by later checkpoints) and `manifest`, an
exclusive file: msgpack {local name: content} of the small files that say which SST files there are.
Source: Flink's incremental RocksDB checkpoints.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from ..core.errors import CheckpointError, CheckpointFailureReason
from ..core.savepoints import SavepointFormatType
from .backend import BackendContext, CheckpointReader, CheckpointStreams
from .canonical import CanonicalTable, write_canonical
from .exclusive_names import exclusive_name
from .handles import FileRef, KeyedStateHandle, TableInfo
from .rocksdb_store import RocksStore, open_read_only
from .snapshot_format import FORMAT as CANONICAL

FORMAT: Final = "rocksdb-1"
"""`KeyedStateHandle.format` of this layout."""

MANIFEST: Final = "manifest"
"""The local name of the file that holds the small files."""

_SST: Final = ".sst"
_SMALL: Final = ("CURRENT", "MANIFEST-", "rocksdict-config.json")  # RocksDB can do without the others


class RocksSnapshot:
    """What was flushed at the barrier, to be linked and uploaded. Implements `PendingSnapshot`.

    The hard links are made by whoever comes first, the upload thread or the loop's (when it must write); until then the store
    is frozen.

    Args:
        store: frozen by the caller; None when nothing was ever written, so that there is nothing to upload.
        reusable: SST files that need no upload.
        canonical: of the opened tables, by table id.
        write_frozen: puts into the store what its caller has frozen.
        on_release: called once in the loop's thread, with the SST files if they were all written.
    """

    def __init__(
        self,
        context: BackendContext,
        checkpoint_id: int,
        store: RocksStore | None,
        tables: tuple[TableInfo, ...],
        reusable: Mapping[str, FileRef],
        canonical: Mapping[int, CanonicalTable],
        write_frozen: Callable[[], None],
        on_release: Callable[[dict[str, FileRef] | None], None],
    ) -> None:
        self._context = context
        self._checkpoint_id = checkpoint_id
        self._store = store
        self._tables = tables
        self._reusable = reusable
        self._canonical = canonical
        self._write_frozen = write_frozen
        self._on_release = on_release
        self._links = context.local_dir / f"chk-{checkpoint_id}"
        self._linking = threading.Lock()
        self._linked = store is None
        self._abandoned = False
        self._written: dict[str, FileRef] | None = None

    @property
    def linked(self) -> bool:
        """Whether the files stand apart from the live database, which may be written again."""
        return self._linked

    def link(self) -> None:
        """Write what was frozen and make the hard links, unless they are there. Any thread.

        Raises:
            CheckpointError: TASK_FAILED, when the backend was closed before.
            RecordSerializationError: a value is not of its declared type, or has no exact encoding.
        """
        with self._linking:
            if self._abandoned:
                raise self._closed()
            if not self._linked:
                assert self._store is not None, "without a store there is nothing to link"
                self._write_frozen()
                self._store.link_files(self._links)
                self._linked = True

    def write(self, streams: CheckpointStreams) -> KeyedStateHandle:
        files = self._with_links(lambda: self._upload(streams, self._reusable))
        self._written = {name: ref for name, ref in files.items() if name != MANIFEST}
        return KeyedStateHandle(FORMAT, self._context.key_groups, self._tables, files)

    def write_savepoint(self, streams: CheckpointStreams, kind: SavepointFormatType) -> KeyedStateHandle:
        if kind is SavepointFormatType.NATIVE:
            files = self._with_links(lambda: self._upload(streams, {}))
            return KeyedStateHandle(FORMAT, self._context.key_groups, self._tables, files)
        files = self._with_links(lambda: self._convert(streams))
        return KeyedStateHandle(CANONICAL, self._context.key_groups, self._tables, files)

    def _with_links(self, work: Callable[[], dict[str, FileRef]]) -> dict[str, FileRef]:
        self.link()
        try:
            return {} if self._store is None else work()
        except FileNotFoundError as error:
            if self._abandoned:  # closed in the middle
                raise self._closed() from error
            raise

    def release(self) -> None:
        # A later snapshot must not wait for links nobody needs any more.
        self.abandon()
        self._on_release(self._written)

    def abandon(self) -> None:
        """From now on no links are made; those there are go. Waits while they are being made."""
        with self._linking:
            self._abandoned = True
        shutil.rmtree(self._links, ignore_errors=True)

    def _closed(self) -> CheckpointError:
        return CheckpointError(
            CheckpointFailureReason.TASK_FAILED,
            f"checkpoint {self._checkpoint_id}: the state backend was closed before its files were written",
            where=f"operator '{self._context.operator}'",
        )

    def _convert(self, streams: CheckpointStreams) -> dict[str, FileRef]:
        """The canonical file, from a database of its own that is opened over the links."""
        source = open_read_only(self._links)
        try:
            entries: Iterator[tuple[bytes, bytes]] = source.items()  # type: ignore[assignment]  # raw mode: bytes
            return write_canonical(entries, self._canonical, self._tables, self._context, streams)
        finally:
            source.close()

    def _upload(self, streams: CheckpointStreams, reusable: Mapping[str, FileRef]) -> dict[str, FileRef]:
        small: dict[str, bytes] = {}
        files: dict[str, FileRef] = {}
        for path in sorted(self._links.iterdir()):
            if path.suffix == _SST:
                known = reusable.get(path.name)
                # A file never changes; the comparison holds off a name used twice (R3), at the price of one stat.
                fits = known is not None and known.size == path.stat().st_size
                files[path.name] = known if known is not None and fits else streams.upload_shared(path)
            elif path.name.startswith(_SMALL):
                small[path.name] = path.read_bytes()
        packed = msgspec.msgpack.encode(small)
        files[MANIFEST] = streams.write_exclusive(exclusive_name(self._context, MANIFEST), (packed,))
        return files


def download_files(handle: KeyedStateHandle, reader: CheckpointReader, folder: Path) -> None:
    """Lay the files of a handle out as a folder that RocksDB opens.

    Raises:
        CheckpointError: CORRUPT, as the reader's.
    """
    folder.mkdir(parents=True)
    for name, ref in handle.files.items():
        if name != MANIFEST:
            reader.download(ref, folder / name)
    for name, content in msgspec.msgpack.decode(
        reader.read(handle.files[MANIFEST]), type=dict[str, bytes]
    ).items():
        (folder / Path(name).name).write_bytes(content)
