"""Files that several checkpoints refer to, fetched once for all of them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..state.backend import CheckpointReader
from ..state.handles import FileRef


class KeptFiles:
    """Copies of shared files between two checkpoints: what one was read with need not be fetched for the next.

    A copy is known by name and checksum, so nothing else can be taken for it; whoever reads it gets a hard link.

    Args:
        folder: an own one, made when needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def reader(self, reader: CheckpointReader) -> CheckpointReader:
        """Reads a checkpoint's files as `reader` does, those that are here without asking it."""
        return _KeepingReader(self, reader)

    def place_of(self, ref: FileRef) -> Path:
        """Where the copy of a file is or goes."""
        return self._folder / f"{ref.checksum}-{ref.path.rpartition('/')[2]}"

    def retain_only(self, refs: Iterable[FileRef]) -> None:
        """Delete the copies of all other files."""
        kept = {self.place_of(ref).name for ref in refs}
        for path in self._folder.iterdir() if self._folder.exists() else ():
            if path.name not in kept:
                path.unlink()


class _KeepingReader:
    """Implements `CheckpointReader`."""

    def __init__(self, files: KeptFiles, reader: CheckpointReader) -> None:
        self._files = files
        self._reader = reader

    def read(self, ref: FileRef) -> bytes:
        return self._reader.read(ref)

    def download(self, ref: FileRef, local: Path) -> None:
        place = self._files.place_of(ref)
        if not ref.shared:
            self._reader.download(ref, local)
        elif place.exists():
            os.link(place, local)
        else:
            self._reader.download(ref, local)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(local, place)
