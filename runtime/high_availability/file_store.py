"""The record on a shared file system.

    <storageDir>/<cluster-id>/record/<version>    each made exclusively; the highest one counts
    <storageDir>/<cluster-id>/sign-<epoch>        replaced again and again by that epoch's leader

Assumed of the file system (local disks, NFS from version 3 on, CephFS, Lustre, GPFS; not object stores, not HDFS by FUSE): a
hard link to a name that exists fails for everybody but one, and a listing after it shows the name to every host.

A version that a process wrote first stays for ever, its later ones go when the next one is there. A leader that was deposed
without knowing it last saw the version before its successor's first: the next name it may take exists, whatever has been
removed since. Who read the record so long ago that the next name is free again finds higher ones, and has taken nothing.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ...checkpoint.files import LocalFiles
from ...core.errors import ConfigurationError
from .store import RecordConflict, Versioned

_RECORDS = "record"


class FileStore:
    """See `RecordStore`; for one process.

    Raises:
        ConfigurationError: the folder cannot be written, or its file system has no hard links.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = LocalFiles(folder, lambda: os.urandom(8).hex())
        self._own: list[int] = []
        _check_file_system(folder)

    def read(self) -> Versioned:
        while True:
            version = max(self._versions(), default=0)
            if version == 0:
                return Versioned(0, b"")
            with contextlib.suppress(FileNotFoundError):  # replaced, and removed, since it was listed
                return Versioned(version, self._content(version))

    def replace(self, version: int, content: bytes) -> int:
        name = _name(version + 1)
        try:
            self._files.write(name, lambda: (content,), replace=False)
        except FileExistsError as error:
            if not self._holds(version + 1, content):
                raise RecordConflict(
                    "the record was replaced by another process", where=self._files.url(name)
                ) from error
        if max(self._versions()) > version + 1:
            raise RecordConflict("the record was replaced many times meanwhile", where=self._files.url(name))
        if version + 1 not in self._own:
            self._own.append(version + 1)
        for superseded in self._own[1:-1]:
            self._files.remove(_name(superseded))
            self._own.remove(superseded)
        return version + 1

    def read_sign(self, epoch: int) -> bytes:
        try:
            return (self._folder / _sign(epoch)).read_bytes()
        except FileNotFoundError:
            return b""

    def write_sign(self, epoch: int, sign: bytes) -> None:
        self._files.write(_sign(epoch), lambda: (sign,))

    def close(self) -> None:
        """Nothing is held."""

    def _holds(self, version: int, content: bytes) -> bool:
        """Whether that version is ours: one that is gone by now was replaced by another's."""
        try:
            return self._content(version) == content
        except FileNotFoundError:
            return False

    def _content(self, version: int) -> bytes:
        with self._files.open(_name(version)) as file:
            return file.read()

    def _versions(self) -> list[int]:
        return [int(entry.name) for entry in self._files.entries(_RECORDS) if entry.name.isdigit()]


def _name(version: int) -> str:
    return f"{_RECORDS}/{version:012d}"


def _sign(epoch: int) -> str:
    return f"sign-{epoch}"


def _check_file_system(folder: Path) -> None:
    """A hard link is made and removed again: without links two processes could take the same version."""
    probe = folder / f".probe-{os.urandom(8).hex()}"
    linked = probe.with_suffix(".linked")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe.touch()
        os.link(probe, linked)
    except OSError as error:
        raise ConfigurationError(
            f"the storage directory is of no use for electing a leader: {error.strerror or error}",
            where=f"high-availability.storageDir: {folder}",
            fix="use a folder that every job manager can write, on a file system with hard links, or ZooKeeper",
        ) from error
    finally:
        for path in (linked, probe):
            with contextlib.suppress(OSError):
                path.unlink()
