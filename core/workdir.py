"""Temporary folders that leave no litter, however their owner dies.

Sockets and local state of a cluster live in one folder, `millstream-<uid>-<random>`, readable by its owner alone. The owner
holds a lock on a file in it for as long as it lives; the kernel gives the lock up when the owner dies, even by kill -9, so
whoever comes next can tell which folders are stale and remove them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .errors import ConfigurationError

_LOCK_FILE: Final = "lock"


class WorkDir:
    """A folder of this process; `path` is there and empty but for the lock file.

    Not inherited: after a fork the lock stays with the parent for as long as either process keeps the descriptor open, so
    a forked worker calls `forget`.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @property
    def lock(self) -> int:
        """A descriptor that keeps the folder locked, also in another process that inherits it."""
        return self._lock

    def forget(self) -> None:
        """Close this process's share of the lock and leave the folder alone."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def remove(self) -> None:
        """Delete the folder with all that is in it. Idempotent."""
        remove_tree(self.path)
        self.forget()


def create_work_dir(parent: str | None = None) -> WorkDir:
    """A new locked folder under `parent` (`io.tmp.dirs`; the system's temporary folder if None).

    Raises:
        ConfigurationError: it cannot be made there.
    """
    base = Path(parent or tempfile.gettempdir()).expanduser().absolute()
    try:
        base.mkdir(parents=True, exist_ok=True)
        sweep_stale(str(base))
        path, lock = _locked_folder(base)
    except OSError as error:
        raise ConfigurationError(
            f"no temporary folder can be made: {error.strerror}",
            where=str(base),
            fix="point io.tmp.dirs (or TMPDIR) to a folder that can be written",
        ) from error
    return WorkDir(path, lock)


def sweep_stale(parent: str | None = None) -> list[Path]:
    """Remove folders whose owner is dead; which ones. Folders of living owners and of other users are left alone."""
    base = Path(parent or tempfile.gettempdir())
    return [path for path in _folders(base) if _remove_if_stale(path)]


def remove_tree(path: Path) -> None:
    """Delete a folder, also while another process deletes it too or still creates files in it."""
    for _ in range(10):  # a worker that is being killed may add a file between the listing and the removal
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return


def _locked_folder(base: Path) -> tuple[Path, int]:
    """A new folder, and the lock on it. Raises OSError."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=_prefix(), dir=base))
        lock = _locked(path / _LOCK_FILE)
        if lock is not None:
            return path, lock


def _locked(path: Path) -> int | None:
    """The lock on a new file; None if another process, which sweeps, was faster and took the folder for a stale one."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.stat().st_ino == os.fstat(lock).st_ino:
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(lock)
    return None


def _prefix() -> str:
    return f"millstream-{os.getuid()}-"


def _folders(base: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from sorted(
            path for path in base.glob(_prefix() + "*") if path.is_dir() and not path.is_symlink()
        )


def _remove_if_stale(path: Path) -> bool:
    try:
        lock = os.open(path / _LOCK_FILE, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        # Being made right now, or half removed: there is nothing in it that another run would trip over.
        with contextlib.suppress(OSError):
            path.rmdir()
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        remove_tree(path)
        return True
    finally:
        os.close(lock)
