"""A checkpoint store on a local folder, as small as tests need it: writes, reads with checks, deletes what nothing refers to."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

import xxhash

from millstream.core.errors import CheckpointError, CheckpointFailureReason
from millstream.state.handles import FileRef, KeyedStateHandle


class LocalCheckpoints:
    """All checkpoints of one job. `uploads` counts shared files written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uploads = 0
        self._shared = itertools.count()
        (folder / "shared").mkdir(parents=True)

    def streams(self, checkpoint_id: int) -> Streams:
        return Streams(self, checkpoint_id)

    def put(self, path: str, content: bytes, *, shared: bool) -> FileRef:
        target = self.folder / path
        target.parent.mkdir(exist_ok=True)
        with target.open("xb") as file:  # a name used twice is an error of the backend
            file.write(content)
        return FileRef(path, len(content), xxhash.xxh3_128_hexdigest(content), shared=shared)

    def put_shared(self, local: Path) -> FileRef:
        self.uploads += 1
        return self.put(f"shared/{next(self._shared)}-{local.name}", local.read_bytes(), shared=True)

    def read(self, ref: FileRef) -> bytes:
        path = self.folder / ref.path
        content = path.read_bytes() if path.exists() else b""
        if len(content) != ref.size or xxhash.xxh3_128_hexdigest(content) != ref.checksum:
            raise CheckpointError(CheckpointFailureReason.CORRUPT, "missing or altered", where=str(path))
        return content

    def download(self, ref: FileRef, local: Path) -> None:
        local.write_bytes(self.read(ref))

    def retain_only(self, handles: Iterable[KeyedStateHandle]) -> None:
        """Delete every shared file that these do not refer to."""
        kept = {self.folder / ref.path for handle in handles for ref in handle.files.values()}
        for path in (self.folder / "shared").iterdir():
            if path not in kept:
                path.unlink()


class Streams:
    """One checkpoint's files; safe to use from several threads."""

    def __init__(self, store: LocalCheckpoints, checkpoint_id: int) -> None:
        self._store = store
        self._checkpoint_id = checkpoint_id

    def write_exclusive(self, name: str, chunks: Iterable[bytes]) -> FileRef:
        return self._store.put(f"chk-{self._checkpoint_id}/{name}", b"".join(chunks), shared=False)

    def upload_shared(self, local: Path) -> FileRef:
        return self._store.put_shared(local)
