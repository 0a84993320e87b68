"""A checkpoint directory that can be full or read-only: a small file system of its own, where mounting is permitted."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path

from tests.integration.engine.harness import wait_until

SIZE_MB = 64


class SmallDisk:
    """A tmpfs at `folder`; `mounted` is False where this process may not mount, and then nothing can be done to it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._ballast = folder / ".ballast"
        self.mounted = _mount("-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(folder))

    def fill(self) -> None:
        """Until nothing fits any more."""
        with suppress(OSError), self._ballast.open("wb") as file:
            while True:
                file.write(b"\0" * (1 << 20))
                file.flush()
        with suppress(OSError), self._ballast.open("ab") as file:  # the last bytes, too
            while True:
                file.write(b"\0" * 512)
                file.flush()

    def empty(self) -> None:
        """Give back what `fill` took."""
        self._ballast.unlink(missing_ok=True)

    def read_only(self) -> None:
        """The kernel refuses while a file is open for writing, so it is asked until it agrees."""
        wait_until(lambda: self._remount("ro"), "a moment without an open file")

    def writable(self) -> None:
        """As before."""
        self._remount("rw")

    def unmount(self) -> None:
        """Its files are gone then."""
        if self.mounted:
            wait_until(lambda: _ran("umount", str(self._folder)), "the end of whoever uses the checkpoints")
            self.mounted = False

    def _remount(self, mode: str) -> bool:
        return _mount("-o", f"remount,{mode}", str(self._folder))


def _mount(*arguments: str) -> bool:
    return _ran("mount", *arguments)


def _ran(*command: str) -> bool:
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False
